# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Draw random views of a batch of galaxies (turned, zoomed, shifted), and the recipes for them."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from astro_morph.learning.training.conditions import RandomConditions, smoothing_matrices
from astro_morph.models.networks import ROTATIONS

__all__ = ['CLASSIFICATION', 'CONTRAST', 'FluxViews', 'RandomViews', 'training_views']

#: Options of `RandomViews` for contrastive pretraining: wide zoom and strong gains break the
#: shortcuts of size and colour.
CONTRAST = {
    'zoom': (0.59, 1.7),
    'shift': 4.0,
    'common_gain': 0.4,
    'band_gain': 0.3,
    'grey': 0.2,
    'noise': 0.03,
}

#: Options of `RandomViews` for contrastive pretraining on the pictures of many surveys: a factor of
#: four in pixel scale, any bands or one, another stretch, seeing and noise.
MANY_SKIES = {
    'zoom': (0.6, 2.4),
    'shift': 4.0,
    'common_gain': 0.4,
    'band_gain': 0.3,
    'stretch': 0.25,
    'swap': 0.3,
    'grey': 0.2,
    'seeing': 1.5,
    'noise': 0.08,
}

#: Options of `RandomViews` for classification: size and colour carry the class, so they vary only
#: as much as seeing, distance and calibration vary them.
CLASSIFICATION = {
    'zoom': (0.85, 1.18),
    'shift': 3.0,
    'common_gain': 0.15,
    'band_gain': 0.05,
    'noise': 0.02,
}


@dataclass(frozen=True)
class RandomViews:
    """
    Draw random views of stretched images, each sample with its own draw.

    Rotation, reflection, zoom and shift are composed into one affine map, so that the pixels are
    interpolated once. A galaxy has no up: all angles are equally likely.

    Parameters
    ----------
    size : int
        Side of the views in pixels.
    field : int, default=None
        Side in pixels of the part of the input that a view shows at zoom 1; by default ``size``,
        so that pixels keep their size.
    mirrored : float, default=0.5
        Fraction of the views that are mirrored; 0 where handedness is to be learnt.
    zoom : tuple of float, default=(1.0, 1.0)
        Range of the magnification, drawn log-uniformly.
    shift : float, default=0.0
        Largest shift along each axis, in pixels of the input.
    common_gain, band_gain : float, default=0.0
        Scatter of the natural logarithm of the gain that all bands share, and of each band's own.
    stretch : float, default=0.0
        Scatter of the natural logarithm of the exponent that pixels are raised to, as if the
        picture had been drawn by another stretch.
    swap : float, default=0.0
        Fraction of the views that show in each band a random one of the bands, so that bands are
        in another order, repeated or missing.
    grey : float, default=0.0
        Fraction of the views whose bands are replaced by their mean. Colour alone can tell two
        galaxies apart; without it, shape has to be learnt.
    seeing : float, default=0.0
        Largest standard deviation, in pixels of the view, of the Gaussian that views are smoothed
        with; half the views are not smoothed.
    noise : float, default=0.0
        Largest rms of the Gaussian noise added, in units of the stretched image; each view draws
        its own rms between zero and this.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.training.views import RandomViews
    >>> views = RandomViews(64, zoom=(0.9, 1.1), shift=2)
    >>> views(torch.rand(5, 3, 96, 96), torch.Generator().manual_seed(0)).shape
    torch.Size([5, 3, 64, 64])
    """

    size: int
    field: int | None = None
    mirrored: float = 0.5
    zoom: tuple = (1.0, 1.0)
    shift: float = 0.0
    common_gain: float = 0.0
    band_gain: float = 0.0
    stretch: float = 0.0
    swap: float = 0.0
    grey: float = 0.0
    seeing: float = 0.0
    noise: float = 0.0

    def __call__(self, images, generator):
        """
        Draw one view of each image.

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            Stretched images with the sky at zero. Where a view reaches beyond an image, the image
            is mirrored at its rim.
        generator : `torch.Generator`
            Source of all randomness, on the device of the images.

        Returns
        -------
        views : `torch.Tensor`, shape (n, band, size, size)
            The views.
        """
        return self._disturb(self._warp(images, generator), generator)

    def _warp(self, images, generator):
        n, _, ny, nx = images.shape
        options = {'generator': generator, 'device': images.device}
        angle = 2 * math.pi * torch.rand(n, **options)
        mirror = torch.where(torch.rand(n, **options) < self.mirrored, -1.0, 1.0)
        low, high = map(math.log, self.zoom)
        zoom = torch.exp(low + (high - low) * torch.rand(n, **options))
        shift = self.shift * (2 * torch.rand(n, 2, **options) - 1)
        # The affine map (n, 2, 3) from output to input, both from -1 to 1.
        field = self.size if self.field is None else self.field
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        rows = [
            torch.stack([cos * mirror * field / nx, -sin * field / nx, 2 * shift[:, 0] / nx], 1),
            torch.stack([sin * mirror * field / ny, cos * field / ny, 2 * shift[:, 1] / ny], 1),
        ]
        # Not affine_grid: under autocast, it rounds positions to an eighth of a pixel.
        centre = (2 * torch.arange(self.size, device=images.device) + 1) / self.size - 1
        along_x, along_y, offset = torch.stack(rows, 1)[:, None, None].unbind(-1)
        grid = (along_x * centre[:, None] + offset) + along_y * centre[:, None, None]
        return functional.grid_sample(
            images, grid, mode='bilinear', padding_mode='reflection', align_corners=False
        )

    def _disturb(self, views, generator):
        # In place, as the views are no one else's: memory bandwidth is the bottleneck here.
        n, n_bands = views.shape[:2]
        options = {'generator': generator, 'device': views.device}
        if self.common_gain or self.band_gain:
            gain = self.common_gain * torch.randn(n, 1, 1, 1, **options)
            gain = gain + self.band_gain * torch.randn(n, n_bands, 1, 1, **options)
            views *= gain.exp()
        if self.stretch:
            exponent = torch.exp(self.stretch * torch.randn(n, 1, 1, 1, **options))
            views = views.abs().pow_(exponent).copysign_(views)
        if self.swap:
            views = self._swapped(views, generator)
        if self.grey:
            is_grey = torch.rand(n, 1, 1, 1, **options) < self.grey
            views.lerp_(views.mean(1, keepdim=True), is_grey.to(views.dtype))
        if self.seeing:
            views = self._smoothed(views, generator)
        if self.noise:
            rms = self.noise * torch.rand(n, 1, 1, 1, **options)
            views.addcmul_(rms, torch.randn(views.shape, **options))
        return views

    def _swapped(self, views, generator):
        n, n_bands = views.shape[:2]
        options = {'generator': generator, 'device': views.device}
        shown = torch.randint(n_bands, (n, n_bands), **options)
        is_kept = torch.rand(n, 1, **options) >= self.swap
        shown = torch.where(is_kept, torch.arange(n_bands, device=views.device), shown)
        return views[torch.arange(n, device=views.device)[:, None], shown]

    def _smoothed(self, views, generator):
        n, _, side, _ = views.shape
        width = 2 * torch.rand(n, generator=generator, device=views.device) - 1
        variance = (self.seeing * width.clamp(min=0)) ** 2
        along = smoothing_matrices(variance, side)[:, None]
        return along @ views @ along


@dataclass(frozen=True)
class FluxViews:
    """
    Draw random views of images in flux: first the conditions, then the stretch, then the view.

    Dust, seeing and noise act on the flux in the pixels of the survey, so they come before the
    stretch. The stretched images are turned and zoomed as pictures are.

    Parameters
    ----------
    conditions : `~astro_morph.learning.training.conditions.RandomConditions`
        Draws dust, seeing and noise.
    stretch : callable
        Compresses flux in units of the noise, as `astro_morph.models.stretch.FluxStretch.compress`
        does.
    views : `RandomViews`
        Draws the views of the stretched images.
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
            Flux in units of the noise, with the sky at zero.
        generator : `torch.Generator`
            Source of all randomness, on the device of the images.

        Returns
        -------
        views : `torch.Tensor`, shape (n, band, size, size)
            The stretched views.
        """
        return self.views(self.stretch(self.conditions(images, generator)), generator)


def training_views(network, spec, recipe, *, survey=None):
    """
    Build the object that draws the views a network is trained on.

    Parameters
    ----------
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The network, whose stretch is applied to flux.
    spec : `~astro_morph.models.spec.ModelSpec`
        Specification of the model. Views are mirrored unless it averages rotations alone.
    recipe : dict
        Options of `RandomViews`, such as ``CONTRAST``. Its noise is added to pictures only: the
        noise of flux is that of the survey.
    survey : `~astro_morph.surveys.Survey`, default=None
        The survey that the images come from, where it is known.

    Returns
    -------
    views : RandomViews or FluxViews
        Takes the images of `~astro_morph.learning.training.batches.training_images`.
    """
    mirrored = 0.0 if spec.views == ROTATIONS else 0.5
    side = spec.input_size or spec.size
    views = RandomViews(side, field=spec.field, mirrored=mirrored, **recipe)
    if spec.kind == 'picture':
        return views
    conditions = RandomConditions.of(spec.bands, survey=survey, pixel_scale=spec.pixel_scale)
    return FluxViews(conditions, network.stretch.compress, dataclasses.replace(views, noise=0.0))
