# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Vary the observing conditions of galaxies in flux: dust, seeing and noise, at random."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from astro_morph.catalog.bands import band_extinctions

__all__ = ['RandomConditions', 'smoothing_matrices']

# Full width at half maximum of most well-sampled images, in pixels.
TYPICAL_FWHM = 3.0

# Ratios of a Gaussian: full width at half maximum to standard deviation, and median absolute
# deviation to standard deviation.
FWHM_PER_SIGMA = 2.3548
MAD_PER_SIGMA = 0.6745

# Rows of pixels at the top and the bottom of an image that show mostly sky.
RIM = 4


@dataclass(frozen=True)
class RandomConditions:
    """
    Show galaxies as the same survey might have seen them: through other dust, seeing and noise.

    After Stein et al. (2021, arXiv:2110.13151). Each sample draws the dust in front of it, and for
    each band the width of the point-spread function and the noise, from log-normal distributions
    about the typical values of the survey. Blur and noise are added in quadrature where the image
    has less than the draw; an image is never sharpened. A pixel of zero is missing, and stays zero.

    Parameters
    ----------
    psf_fwhm : tuple of float
        Full width at half maximum of the point-spread function of the images, in pixels, one for
        each band.
    extinction : tuple of float
        Extinction of each band, in magnitudes per magnitude of E(B-V).
    psf_scatter : float, default=0.13
        Scatter of the natural logarithm of the width.
    noise_scatter : float, default=0.32
        Scatter of the natural logarithm of the noise.
    reddening : float, default=0.0345
        Median E(B-V), which the images are assumed to have.
    reddening_scatter : float, default=0.65
        Scatter of the natural logarithm of E(B-V).

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.training.conditions import RandomConditions
    >>> conditions = RandomConditions.of('gri')
    >>> conditions(torch.randn(5, 3, 64, 64), torch.Generator().manual_seed(0)).shape
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
        Return the conditions of images, as far as they are known.

        Parameters
        ----------
        bands : sequence of str
            Their bands. There is no reddening if one of them is unknown.
        survey : `~astro_morph.surveys.Survey`, default=None
            The survey that the images come from.
        pixel_scale : float, default=None
            Arcseconds per pixel. Without survey and scale the point-spread function is assumed to
            be 3 pixels wide.

        Returns
        -------
        conditions : `RandomConditions`
            The conditions.
        """
        widths = {}
        if survey is not None and survey.psf_fwhm is not None and pixel_scale is not None:
            in_pixels = survey.psf_fwhm.to_value('arcsec') / pixel_scale
            widths = {band: float(w) for band, w in zip(survey.bands, in_pixels, strict=True)}
        return cls(
            psf_fwhm=tuple(widths.get(band, TYPICAL_FWHM) for band in bands),
            extinction=band_extinctions(bands),
        )

    def __call__(self, images, generator):
        """
        Draw new conditions for each image.

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            Flux in units of the typical noise of the survey, with the sky at zero.
        generator : `torch.Generator`
            Source of all randomness, on the device of the images.

        Returns
        -------
        images : `torch.Tensor`, shape (n, band, y, x)
            The same galaxies in the conditions drawn.
        """
        # In bfloat16, a bright star would be rounded to stripes over the whole image.
        with torch.autocast(images.device.type, enabled=False):
            seen = self._blur(images, generator)
            seen *= self._transmission(images, generator)
            self._add_noise(seen, generator)
        return seen.masked_fill_(images == 0, 0)

    def _transmission(self, images, generator):
        """Draw the transmission of the dust relative to the median, shape (n, band, 1, 1)."""
        normal = torch.randn(len(images), 1, 1, 1, generator=generator, device=images.device)
        reddening = self.reddening * (torch.exp(self.reddening_scatter * normal) - 1)
        extinction = images.new_tensor(self.extinction)[:, None, None]
        return 10 ** (-0.4 * extinction * reddening)

    def _blur(self, images, generator):
        n, n_bands, ny, nx = images.shape
        normal = torch.randn(n, n_bands, generator=generator, device=images.device)
        variance = (images.new_tensor(self.psf_fwhm) / FWHM_PER_SIGMA) ** 2
        added = variance * (torch.exp(2 * self.psf_scatter * normal) - 1).clamp(min=0)
        along_y = smoothing_matrices(added, ny)
        along_x = along_y if nx == ny else smoothing_matrices(added, nx)
        return along_y @ images @ along_x

    def _add_noise(self, images, generator):
        normal = torch.randn(images.shape[:2], generator=generator, device=images.device)
        level = torch.exp(self.noise_scatter * normal)
        added = (level**2 - _rim_noise(images) ** 2).clamp(min=0).sqrt()
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        images.addcmul_(added[..., None, None], noise)


def smoothing_matrices(variance, side):
    """
    Compute matrices that smooth lines of pixels, with mirrored ends.

    Light diffuses from pixel to pixel, which is the Gaussian of discrete images (Lindeberg 1990,
    IEEE PAMI 12, 234): light is conserved and its second moment grows by exactly the variance, even
    where that is less than a pixel. Cosines solve the diffusion equation.

    Parameters
    ----------
    variance : `torch.Tensor`, shape (...)
        Variances of the Gaussians, in square pixels.
    side : int
        Number of pixels of a line.

    Returns
    -------
    matrices : `torch.Tensor`, shape (..., side, side)
        A matrix for each variance.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.training.conditions import smoothing_matrices
    >>> smoothing_matrices(torch.tensor(1.0), 5).sum(0)
    tensor([1., 1., 1., 1., 1.])
    """
    mode = torch.arange(side, device=variance.device)
    cosines = torch.cos(math.pi / side * mode[:, None] * (mode + 0.5))
    cosines = functional.normalize(cosines, dim=1)
    decay = torch.exp(-variance[..., None, None] * (1 - torch.cos(math.pi / side * mode)))
    return (cosines.T * decay) @ cosines


def _rim_noise(images):
    """Measure the noise of each band near the rim, by the median absolute deviation."""
    # A quarter of the pixels suffices: neighbours have similar noise, and medians take time.
    rim = torch.cat([images[..., :RIM, ::4], images[..., -RIM:, ::4]], -2).flatten(2)
    deviation = (rim - rim.median(-1, keepdim=True).values).abs()
    return deviation.median(-1).values / MAD_PER_SIGMA
