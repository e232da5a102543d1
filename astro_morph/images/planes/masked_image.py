# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MaskedImage: an image, or several of one shape, with their variance and mask."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from astro_morph.images.resampling import cut_stamps, resample_mask, resample_stamps

__all__ = ['MaskedImage', 'resample_planes']


@dataclass(frozen=True, eq=False)
class MaskedImage:
    """
    Pixels with their variance and mask.

    Indexing, also by iteration, takes the same part of all planes.

    Parameters
    ----------
    image : ndarray, or an image HDU
        The pixels, NaN where there is none. An HDU has the WCS of all planes.
    variance : ndarray, default=None
        Variance of each pixel in the squared unit of the image, NaN where it is not known; None if
        it is not known at all.
    mask : ndarray of bool, default=None
        True where a pixel must not be used; None if none is known to be bad.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.images.planes.masked_image import MaskedImage
    >>> images = MaskedImage(np.ones((5, 8, 8)), variance=np.full((5, 8, 8), 4.0))
    >>> len(images), images[2].variance.shape
    (5, (8, 8))
    >>> (images * 3).variance[0, 0, 0]
    np.float64(36.0)
    """

    image: Any
    variance: np.ndarray | None = None
    mask: np.ndarray | None = None

    @classmethod
    def blank(cls, shape, *, has_variance, has_mask):
        """Return images without any pixel: NaN, and not masked."""
        nothing = np.full(shape, np.nan, np.float32)
        return cls(
            nothing,
            nothing.copy() if has_variance else None,
            np.zeros(shape, bool) if has_mask else None,
        )

    @classmethod
    def of(cls, image):
        """Return an array as a masked image, and a masked image as it is."""
        return image if isinstance(image, cls) else cls(image)

    def __setitem__(self, index, images):
        for name in ('image', 'variance', 'mask'):
            plane, values = getattr(self, name), getattr(images, name)
            if plane is not None and values is not None:
                plane[index] = values

    def __len__(self):
        return len(self.image)

    def __getitem__(self, index):
        return self.each(lambda plane: plane[index])

    def __mul__(self, factor):
        variance = None if self.variance is None else self.variance * factor**2
        return MaskedImage(self.image * factor, variance, self.mask)

    @property
    def shape(self):
        """Shape of the pixels."""
        return self.image.shape

    @property
    def has_planes(self):
        """Whether there is more than the image."""
        return self.variance is not None or self.mask is not None

    @property
    def is_missing(self):
        """Whether each pixel cannot be used: it is NaN or masked."""
        is_nan = np.isnan(self.image)
        return is_nan if self.mask is None else is_nan | self.mask

    def cut(self, corners, size, *, margin=0):
        """Return square stamps of all planes, as `~astro_morph.images.resampling.cut_stamps`."""
        cut = self.each(lambda plane: cut_stamps(plane, corners, size, margin=margin))
        # Outside the image there is nothing to mask.
        return replace(cut, mask=None if cut.mask is None else cut.mask > 0).settle()

    def settle(self):
        """Mask the pixels of infinite variance, whose inverse is 0 in the file."""
        if self.variance is None:
            return self
        is_bad = np.isinf(self.variance)
        variance = np.where(is_bad, np.float32(np.nan), self.variance)
        mask = is_bad if self.mask is None else self.mask | is_bad
        return MaskedImage(self.image, variance, mask)

    def each(self, function):
        """Return the masked image of a function of each plane that there is."""
        planes = (self.image, self.variance, self.mask)
        return MaskedImage(*(None if plane is None else function(plane) for plane in planes))


def resample_planes(stamps, jacobians, centres, size, *, conserve_flux=True):
    """
    Resample stamps and their planes to a grid of another scale, angle or parity.

    Masked pixels are not interpolated: they count as missing, and a new pixel is masked if half of
    it is. The new variance is such that a sum over many pixels keeps its error, as if the noise of
    the new pixels were independent. Interpolation correlates it: where new pixels are not larger
    than the old ones, single pixels scatter less.

    Parameters
    ----------
    stamps : MaskedImage of float32, shape (n, y, x)
        The pixels.
    jacobians, centres, size, conserve_flux
        As in `~astro_morph.images.resampling.resample_stamps`.

    Returns
    -------
    images : MaskedImage of float32, shape (n, y, x)
        The stamps on the new grid, with the same planes.
    """
    image, variance, mask = stamps.image, stamps.variance, stamps.mask
    grid = jacobians, centres, size
    if mask is not None:
        image = np.where(mask, np.float32(np.nan), image)
        mask = resample_mask(mask, *grid)
    image = resample_stamps(image, *grid, conserve_flux=conserve_flux)
    if variance is not None:
        # Flux is spread over 1 / area new pixels, and so is its variance.
        variance = resample_stamps(variance, *grid, order=1)
        if not conserve_flux:
            area = np.abs(np.linalg.det(jacobians)).astype(np.float32)
            variance /= area[:, np.newaxis, np.newaxis] ** 2
    return MaskedImage(image, variance, mask)
