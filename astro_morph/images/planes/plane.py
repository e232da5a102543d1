# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Planes of an image that other images hold, whose values are converted when they are read."""

from typing import Any, NamedTuple

import numpy as np

__all__ = ['ConvertedPixels', 'Plane', 'PlaneValues', 'to_mask', 'to_variance']


class PlaneValues(NamedTuple):
    """
    What the values of a plane are in its file.

    Parameters
    ----------
    form : {'variance', 'error', 'inverse', 'weight', 'mask'}
        See `to_variance` and `to_mask`.
    bits : int, default=None
        The bits that mark bad pixels of a mask; all if None.
    """

    form: str
    bits: int | None = None

    @property
    def holds(self):
        """What they are converted to, 'variance' or 'mask'."""
        return 'mask' if self.form == 'mask' else 'variance'

    def convert(self, values):
        """Return an array of values as variance or mask."""
        if self.holds == 'mask':
            return to_mask(values, self.bits)
        return to_variance(values, self.form)


class Plane(NamedTuple):
    """
    Variance or mask of an image, in another image on the same pixels.

    Parameters
    ----------
    image : `~astro_morph.images.tiles.SkyImage`
        The image with the values.
    plane : int
        Number of the plane in a cube.
    values : PlaneValues
        What they are.
    """

    image: Any
    plane: int
    values: PlaneValues

    @property
    def holds(self):
        """What it is read as, 'variance' or 'mask'."""
        return self.values.holds

    def convert(self, pixels):
        """Return pixels of the file as variance or mask; they are converted when sliced."""
        return ConvertedPixels(pixels, self.values.convert)


class ConvertedPixels:
    """
    Pixels that are converted when they are sliced.

    Parameters
    ----------
    pixels : array_like, shape (y, x)
        The pixels.
    convert : callable
        Converts an array of them.
    """

    def __init__(self, pixels, convert):
        self._pixels, self._convert = pixels, convert
        self.shape = pixels.shape

    def __getitem__(self, index):
        return self._convert(self._pixels[index])

    def read_boxes(self, corners, size, *, margin=0):
        """Read the boxes of `~astro_morph.images.resampling.cut_stamps` at once, if possible."""
        if not hasattr(self._pixels, 'read_boxes'):
            return self
        boxes = self._pixels.read_boxes(corners, size, margin=margin)
        return ConvertedPixels(boxes, self._convert)


def to_variance(values, form):
    """
    Convert what surveys publish beside their images to variance.

    Parameters
    ----------
    values : array_like
        The values of an image.
    form : {'variance', 'error', 'inverse', 'weight'}
        Whether they are variances, standard deviations, or inverse variances; weights are taken as
        these.

    Returns
    -------
    variance : ndarray of float32
        NaN where it is not known. Infinite where the inverse variance is 0: such a pixel must not
        be used, and `~astro_morph.images.planes.masked_image.MaskedImage.settle` masks it.

    Examples
    --------
    >>> from astro_morph.images.planes.plane import to_variance
    >>> to_variance([4, 0.25, 0], 'inverse')
    array([0.25, 4.  ,  inf], dtype=float32)
    >>> to_variance([4, 0, -1], 'error')
    array([16., nan, nan], dtype=float32)
    """
    values = np.asarray(values, np.float32)
    with np.errstate(divide='ignore', over='ignore'):
        if form in ('inverse', 'weight'):
            return 1 / np.where(values < 0, np.float32(0), values)
        values = np.where(values > 0, values, np.float32(np.nan))
        return values**2 if form == 'error' else values


def to_mask(values, bits=None):
    """
    Convert the numbers of a mask to bool.

    Parameters
    ----------
    values : array_like
        The numbers; each bit has a meaning.
    bits : int, default=None
        The bits that mark bad pixels; all if None.

    Returns
    -------
    mask : ndarray of bool
        True where any of the bits is set.

    Examples
    --------
    >>> from astro_morph.images.planes.plane import to_mask
    >>> to_mask([0, 1, 2, 6], bits=4)
    array([False, False, False,  True])
    """
    values = np.asarray(values)
    if bits is None:
        return values != 0
    return np.nan_to_num(values).astype(np.int64) & bits != 0
