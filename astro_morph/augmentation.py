# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Random views of a batch of galaxies, on the device, a fresh draw for each sample."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

__all__ = ['CLASSIFICATION', 'CONTRAST', 'SQUARE_SYMMETRIES', 'RandomViews', 'square_views']

#: Rotations and reflections of the square: the views that a prediction averages.
SQUARE_SYMMETRIES = 8


def square_views(images):
    """
    Give the eight rotations and reflections of square images.

    Parameters
    ----------
    images : `torch.Tensor`, shape (n, band, y, x)
        The images.

    Returns
    -------
    views : list of `torch.Tensor`, each of shape (n, band, y, x)
        The first is the input.
    """
    mirrored = (images, images.flip(-1))
    return [torch.rot90(view, turns, (-2, -1)) for view in mirrored for turns in range(4)]


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
    >>> from astro_morph.augmentation import RandomViews
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
        n, n_bands, ny, nx = images.shape
        options = {'generator': generator, 'device': images.device}
        angle = 2 * math.pi * torch.rand(n, **options)
        mirror = torch.where(torch.rand(n, **options) < 0.5, -1.0, 1.0)
        low, high = map(math.log, self.zoom)
        zoom = torch.exp(low + (high - low) * torch.rand(n, **options))
        shift = self.shift * (2 * torch.rand(n, 2, **options) - 1)
        # affine_grid maps output to input, both from -1 to 1.
        field = self.size if self.field is None else self.field
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        rows = [
            torch.stack([cos * mirror * field / nx, -sin * field / nx, 2 * shift[:, 0] / nx], 1),
            torch.stack([sin * mirror * field / ny, cos * field / ny, 2 * shift[:, 1] / ny], 1),
        ]
        grid = functional.affine_grid(
            torch.stack(rows, 1), [n, n_bands, self.size, self.size], align_corners=False
        )
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
