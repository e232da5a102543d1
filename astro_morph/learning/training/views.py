# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Random views of a batch of galaxies, on the device, a fresh draw for each sample."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

__all__ = [
    'CLASSIFICATION',
    'CONTRAST',
    'EXTINCTION',
    'FluxViews',
    'RandomConditions',
    'RandomViews',
    'training_views',
]


@dataclass(frozen=True)
class RandomViews:
    """
    Draw random views of stretched images, each sample with its own draw.

    Rotation, reflection, zoom and shift are composed into one affine map, so that the pixels are
    interpolated once. A galaxy has no up: the angle is any, and half the views are mirrored.

    Parameters
    ----------
    size : int
        Side of the views in pixels.
    field : int, optional
        Side in pixels of the part of the input that a view shows at zoom 1; by default ``size``,
        so that pixels keep their size.
    zoom : tuple of float, optional
        Range of the magnification, drawn log-uniformly.
    shift : float, optional
        Largest shift along each axis, in pixels of the input.
    common_gain, band_gain : float, optional
        Scatter of the natural logarithm of the gain that all bands share, and of each band's own.
    grey : float, optional
        Share of the views whose bands are replaced by their mean: colour alone tells two galaxies
        apart, so that without it shape need not be learnt.
    noise : float, optional
        Largest rms of the Gaussian noise added, in units of the stretched image; each view draws
        its own rms between zero and this.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.training.views import RandomViews
    >>> draw = RandomViews(64, zoom=(0.9, 1.1), shift=2)
    >>> draw(torch.rand(5, 3, 96, 96), torch.Generator().manual_seed(0)).shape
    torch.Size([5, 3, 64, 64])
    """

    size: int
    field: int | None = None
    zoom: tuple = (1.0, 1.0)
    shift: float = 0.0
    common_gain: float = 0.0
    band_gain: float = 0.0
    grey: float = 0.0
    noise: float = 0.0

    def __call__(self, images, generator):
        """
        Draw one view of each image.

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            Stretched images, sky at zero; at least as large as the field, else the rim is mirrored.
        generator : `torch.Generator`
            All randomness comes from here; on the device of the images.

        Returns
        -------
        views : `torch.Tensor`, shape (n, band, size, size)
            The views.
        """
        views = self._warp(images, generator)
        return self._disturb(views, generator)

    def _warp(self, images, generator):
        n, _, ny, nx = images.shape
        options = {'generator': generator, 'device': images.device}
        angle = 2 * math.pi * torch.rand(n, **options)
        mirror = torch.where(torch.rand(n, **options) < 0.5, -1.0, 1.0)
        low, high = map(math.log, self.zoom)
        zoom = torch.exp(low + (high - low) * torch.rand(n, **options))
        shift = self.shift * (2 * torch.rand(n, 2, **options) - 1)
        # From output to input, both from -1 to 1.
        field = self.size if self.field is None else self.field
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        rows = [
            torch.stack([cos * mirror * field / nx, -sin * field / nx, 2 * shift[:, 0] / nx], 1),
            torch.stack([sin * mirror * field / ny, cos * field / ny, 2 * shift[:, 1] / ny], 1),
        ]
        # By hand: under autocast, affine_grid rounds positions to an eighth of a pixel.
        centre = (2 * torch.arange(self.size, device=images.device) + 1) / self.size - 1
        along_x, along_y, offset = torch.stack(rows, 1)[:, None, None].unbind(-1)
        grid = (along_x * centre[:, None] + offset) + along_y * centre[:, None, None]
        return functional.grid_sample(
            images, grid, mode='bilinear', padding_mode='reflection', align_corners=False
        )

    def _disturb(self, views, generator):
        # The views are ours: in place, because here memory is the bottleneck.
        n, n_bands = views.shape[:2]
        options = {'generator': generator, 'device': views.device}
        if self.common_gain or self.band_gain:
            gain = self.common_gain * torch.randn(n, 1, 1, 1, **options)
            gain = gain + self.band_gain * torch.randn(n, n_bands, 1, 1, **options)
            views *= gain.exp()
        if self.grey:
            is_grey = torch.rand(n, 1, 1, 1, **options) < self.grey
            views.lerp_(views.mean(1, keepdim=True), is_grey.to(views.dtype))
        if self.noise:
            rms = self.noise * torch.rand(n, 1, 1, 1, **options)
            views.addcmul_(rms, torch.randn(views.shape, **options))
        return views


#: Extinction of the bands, in magnitudes per magnitude of E(B-V) (Schlafly & Finkbeiner 2011, ApJ
#: 737, 103, table 6, R_V = 3.1): those of SDSS, Pan-STARRS (y), DES (Y), UKIRT (J, H, K) and HST. A
#: band of another survey differs by a few per cent. WISE: Fitzpatrick (1999), as they recommend.
EXTINCTION = {
    'u': 4.239,
    'g': 3.303,
    'r': 2.285,
    'i': 1.698,
    'z': 1.263,
    'y': 1.087,
    'Y': 1.058,
    'J': 0.709,
    'H': 0.449,
    'K': 0.302,
    'Ks': 0.302,
    'F606W': 2.471,
    'F814W': 1.526,
    'F125W': 0.726,
    'F160W': 0.512,
    'W1': 0.184,
    'W2': 0.113,
}


# Full width at half maximum of most well-sampled images, in pixels.
TYPICAL_FWHM = 3.0


# Of a Gaussian: the full width at half maximum, and the median deviation, by which its standard
# deviation is measured.
FWHM_PER_SIGMA = 2.3548


MAD_PER_SIGMA = 0.6745


# Pixels at the top and the bottom of an image where there is mostly sky.
RIM = 4


@dataclass(frozen=True)
class RandomConditions:
    """
    Show galaxies as the same survey might have seen them: other dust, other seeing, other noise.

    After Stein et al. (2021, arXiv:2110.13151). Each sample draws the dust in front of it, and for
    each band the width of the point-spread function and the noise, from log-normal distributions
    about what is typical of the survey. What an image lacks to them is added in quadrature; none is
    ever sharpened. A pixel of zero is missing, and stays so.

    Parameters
    ----------
    psf_fwhm : tuple of float
        Full width at half maximum of the point-spread function of the images, in pixels, one a
        band.
    extinction : tuple of float
        Magnitudes by which a reddening E(B-V) of 1 dims each band.
    psf_scatter, noise_scatter : float, optional
        Scatter of the natural logarithm of width and noise.
    reddening, reddening_scatter : float, optional
        Median E(B-V), which the images are taken to have, and the scatter of its logarithm.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.training.views import RandomConditions
    >>> disturb = RandomConditions.of('gri')
    >>> disturb(torch.randn(5, 3, 64, 64), torch.Generator().manual_seed(0)).shape
    torch.Size([5, 3, 64, 64])
    """

    psf_fwhm: tuple
    extinction: tuple
    # Scatters and reddening: fits of Stein et al. to the Legacy Surveys, the mean of their bands.
    psf_scatter: float = 0.13
    noise_scatter: float = 0.32
    reddening: float = 0.0345
    reddening_scatter: float = 0.65

    @classmethod
    def of(cls, bands, *, survey=None, pixel_scale=None):
        """
        Give the conditions of images, as far as they are known.

        Parameters
        ----------
        bands : sequence of str
            Their bands. There is no reddening if ``EXTINCTION`` lacks one.
        survey : `~astro_morph.surveys.Survey`, optional
            Where they come from.
        pixel_scale : float, optional
            Arcseconds a pixel. Without survey and scale the point-spread function is taken to be
            3 pixels wide.

        Returns
        -------
        conditions : `RandomConditions`
            The conditions.
        """
        widths = {}
        if survey is not None and survey.psf_fwhm is not None and pixel_scale is not None:
            in_pixels = survey.psf_fwhm.to_value('arcsec') / pixel_scale
            widths = {band: float(w) for band, w in zip(survey.bands, in_pixels, strict=True)}
        is_known = all(band in EXTINCTION for band in bands)
        return cls(
            psf_fwhm=tuple(widths.get(band, TYPICAL_FWHM) for band in bands),
            extinction=tuple(EXTINCTION[band] if is_known else 0.0 for band in bands),
        )

    def __call__(self, images, generator):
        """
        Draw the conditions of each image.

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            Flux in units of the noise that is typical of the survey, sky at zero.
        generator : `torch.Generator`
            All randomness comes from here; on the device of the images.

        Returns
        -------
        images : `torch.Tensor`, shape (n, band, y, x)
            As they might have been seen.
        """
        # In bfloat16, a bright star would be rounded to stripes over the whole image.
        with torch.autocast(images.device.type, enabled=False):
            seen = self._blur(images, generator)
            seen *= self._dim(images, generator)
            self._add_noise(seen, generator)
        return seen.masked_fill_(images == 0, 0)

    def _dim(self, images, generator):
        """Draw the transmission of the dust, as much of it as there is more or less than usual."""
        normal = torch.randn(len(images), 1, 1, 1, generator=generator, device=images.device)
        reddening = self.reddening * (torch.exp(self.reddening_scatter * normal) - 1)
        extinction = images.new_tensor(self.extinction)[:, None, None]
        return 10 ** (-0.4 * extinction * reddening)

    def _blur(self, images, generator):
        n, n_bands, ny, nx = images.shape
        normal = torch.randn(n, n_bands, generator=generator, device=images.device)
        variance = (images.new_tensor(self.psf_fwhm) / FWHM_PER_SIGMA) ** 2
        added = variance * (torch.exp(2 * self.psf_scatter * normal) - 1).clamp(min=0)
        along_y = _smoothing(added, ny)
        along_x = along_y if nx == ny else _smoothing(added, nx)
        return along_y @ images @ along_x

    def _add_noise(self, images, generator):
        normal = torch.randn(images.shape[:2], generator=generator, device=images.device)
        level = torch.exp(self.noise_scatter * normal)
        added = (level**2 - _rim_noise(images) ** 2).clamp(min=0).sqrt()
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        images.addcmul_(added[..., None, None], noise)


@dataclass(frozen=True)
class FluxViews:
    """
    Draw random views of images in flux: first the conditions, then the stretch, then the view.

    Dust, seeing and noise belong to the pixels of the survey, and to flux; the stretched images
    are turned and zoomed as pictures are.

    Parameters
    ----------
    conditions : `RandomConditions`
        How the galaxies are seen.
    stretch : callable
        Compresses flux in units of the noise, as `astro_morph.models.stretch.FluxStretch.compress`
        does.
    views : `RandomViews`
        What is shown of them.
    """

    conditions: RandomConditions
    stretch: Callable
    views: RandomViews

    def __call__(self, images, generator):
        """
        Draw one view of each image.

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            Flux in units of the noise, sky at zero.
        generator : `torch.Generator`
            All randomness comes from here; on the device of the images.

        Returns
        -------
        views : `torch.Tensor`, shape (n, band, size, size)
            The stretched views.
        """
        return self.views(self.stretch(self.conditions(images, generator)), generator)


def _smoothing(variance, side):
    """
    Give the matrices that smooth lines of pixels, with mirrored ends.

    They let light diffuse from pixel to pixel, which is the Gaussian of discrete images (Lindeberg
    1990, IEEE PAMI 12, 234): light is kept and its second moment grows by the variance, exactly,
    also where it is less than a pixel. Cosines solve the diffusion.

    Parameters
    ----------
    variance : `torch.Tensor`, shape (...)
        In square pixels.
    side : int
        Pixels in a line.

    Returns
    -------
    matrices : `torch.Tensor`, shape (..., side, side)
        Symmetric.
    """
    mode = torch.arange(side, device=variance.device)
    cosines = torch.cos(math.pi / side * mode[:, None] * (mode + 0.5))
    cosines = functional.normalize(cosines, dim=1)
    decay = torch.exp(-variance[..., None, None] * (1 - torch.cos(math.pi / side * mode)))
    return (cosines.T * decay) @ cosines


def _rim_noise(images):
    """Measure the noise of each band where there is mostly sky, by the median deviation."""
    # A fourth of the pixels: neighbours have much the same noise, and medians take time.
    rim = torch.cat([images[..., :RIM, ::4], images[..., -RIM:, ::4]], -2).flatten(2)
    deviation = (rim - rim.median(-1, keepdim=True).values).abs()
    return deviation.median(-1).values / MAD_PER_SIGMA


# Wide zoom and strong gains break the shortcuts of size and colour.
CONTRAST = {
    'zoom': (0.59, 1.7),
    'shift': 4.0,
    'common_gain': 0.4,
    'band_gain': 0.3,
    'grey': 0.2,
    'noise': 0.03,
}


# Size and colour carry the class: they vary only as seeing, distance and calibration vary them.
CLASSIFICATION = {
    'zoom': (0.85, 1.18),
    'shift': 3.0,
    'common_gain': 0.15,
    'band_gain': 0.05,
    'noise': 0.02,
}


def training_views(network, spec, recipe, *, survey=None):
    """
    Make what draws the views that a network is trained on.

    Parameters
    ----------
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The network: its stretch is used.
    spec : `~astro_morph.models.spec.ModelSpec`
        What it takes.
    recipe : dict
        Options of `~astro_morph.learning.training.views.RandomViews`. Its noise is for pictures:
        the noise of flux is that of the survey.
    survey : `~astro_morph.surveys.Survey`, optional
        Whose images they are, where it is known.

    Returns
    -------
    views : RandomViews or FluxViews
        Takes what `training_images` gives.
    """
    views = RandomViews(spec.input_size or spec.size, field=spec.size, **recipe)
    if spec.kind == 'picture':
        return views
    conditions = RandomConditions.of(spec.bands, survey=survey, pixel_scale=spec.pixel_scale)
    return FluxViews(conditions, network.stretch.compress, dataclasses.replace(views, noise=0.0))
