# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MaskedImage: an image, or several of one shape, with their variance and mask."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from astro_morph.images.resampling import cut_stamps

__all__ = ['MaskedImage']


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
        True where a pixel must not be used; None if nothing is known of it.

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
    def of(cls, image):
        """Return an array as a masked image, and a masked image as it is."""
        return image if isinstance(image, cls) else cls(image)

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

    def cut(self, corners, size):
        """Return square stamps of all planes, as `~astro_morph.images.resampling.cut_stamps`."""
        cut = self.each(lambda plane: cut_stamps(plane, corners, size))
        # Outside the image there is nothing to mask.
        return cut if cut.mask is None else replace(cut, mask=cut.mask > 0)

    def each(self, function):
        """Return the masked image of a function of each plane that there is."""
        planes = (self.image, self.variance, self.mask)
        return MaskedImage(*(None if plane is None else function(plane) for plane in planes))
