# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the image in a cell of a table: an array, lists, or a structure with variance and mask."""

import math
from dataclasses import dataclass

import numpy as np

from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import to_mask, to_variance

__all__ = ['PIXELS', 'CellImage', 'count_pixel_axes', 'read_cell']

#: Where a structure has its pixels: in the Multimodal Universe, its first version, and others.
PIXELS = ('flux', 'array', 'image')

# The planes of a structure beside its pixels.
PLANES = ('ivar', 'mask')

# Scales of the bands of an image that differ by no more than rounding.
SAME_SCALE = 1e-3


@dataclass(frozen=True)
class CellImage:
    """
    The image in a cell.

    Parameters
    ----------
    planes : `~astro_morph.images.planes.masked_image.MaskedImage`
        Its pixels of shape (band, y, x), with variance and mask.
    bands : tuple of str, default=None
        The bands, if the cell names them.
    scale : float, default=nan
        Angle a pixel in arcsec.
    """

    planes: MaskedImage
    bands: tuple | None = None
    scale: float = math.nan

    def select(self, bands):
        """Return the planes of some bands, in order; a band that is missing is NaN."""
        if bands is None or self.bands == bands:
            return self.planes
        index = [self.bands.index(band) if band in self.bands else -1 for band in bands]
        # The last plane is blank: NaN, or not masked.
        return self.planes.each(
            lambda plane: np.concatenate([plane, np.full_like(plane[:1], _blank(plane))])[index]
        )


def count_pixel_axes(cell):
    """
    Count the axes of the pixels in a cell.

    Parameters
    ----------
    cell : object
        A value as in `read_cell`.

    Returns
    -------
    n_axes : int
        Their number; 0 if the cell holds anything else.
    is_structure : bool
        Whether the cell is a structure.

    Examples
    --------
    >>> from astro_morph.images.planes.cells import count_pixel_axes
    >>> count_pixel_axes([[1, 2], [3, 4]]), count_pixel_axes({'flux': [[[1, 2], [3, 4]]]})
    ((2, False), (3, True))
    """
    try:
        structure = _as_structure(cell)
        if structure is not None:
            return _stack(_find_pixels(structure)).ndim, True
        is_array = isinstance(cell, (list, tuple, np.ndarray))
        return (_stack(cell).ndim if is_array else 0), False
    except (TypeError, ValueError):
        return 0, False


def read_cell(cell):
    """
    Read the image in a cell of a table.

    Parameters
    ----------
    cell : object
        An array, or lists, nested or flat: of one band, (y, x) or the pixels of a square image in
        one row; or of several, of which the first or the last axis is the bands, whichever is
        shorter. Or a structure as the Multimodal Universe has it: a dictionary whose ``flux`` is
        of shape (band, y, x), with ``band``, ``ivar``, ``mask`` and ``scale``; or a list of one
        dictionary a band. There, a mask is true where a pixel is good.

    Returns
    -------
    image : `CellImage` or None
        None if the cell is null.

    Raises
    ------
    ValueError
        If the cell holds anything else.

    Examples
    --------
    >>> from astro_morph.images.planes.cells import read_cell
    >>> image = read_cell({'band': ['g'], 'flux': [[[1.0, 2.0]]], 'ivar': [[[4.0, 0.0]]]})
    >>> image.bands, image.planes.variance, image.planes.mask
    (('g',), array([[[0.25,  nan]]], dtype=float32), array([[[False,  True]]]))
    """
    structure = _as_structure(cell)
    if structure is not None:
        return _read_structure(structure)
    if isinstance(cell, (str, bytes, dict)):
        msg = f'{type(cell).__name__} is no image'
        raise ValueError(msg)
    if not isinstance(cell, (list, tuple, np.ndarray)):
        return None
    return CellImage(MaskedImage(_as_image(_stack(cell))))


def _as_structure(cell):
    """Return the fields of a structure, None for any other cell."""
    if isinstance(cell, dict) and any(name in cell for name in PIXELS):
        return cell
    is_list = isinstance(cell, (list, tuple)) and len(cell)
    if is_list and all(isinstance(band, dict) for band in cell):
        names = cell[0].keys()
        return _as_structure({name: [band.get(name) for band in cell] for name in names})
    return None


def _read_structure(cell):
    pixels = _find_pixels(cell)
    if pixels is None or len(pixels) == 0:
        return None
    bands = cell.get('band')
    bands = None if bands is None else tuple(map(str, np.atleast_1d(bands)))
    n_bands = None if bands is None else len(bands)
    image = _as_image(_stack(pixels), n_bands)
    planes = {
        name: _as_image(_stack(cell[name]), n_bands)
        for name in PLANES
        if cell.get(name) is not None
    }
    are_alike = all(plane.shape == image.shape for plane in planes.values())
    if not are_alike or len(image if bands is None else bands) != len(image):
        msg = 'pixels, planes and bands are of several shapes'
        raise ValueError(msg)
    variance = to_variance(planes['ivar'], 'inverse') if 'ivar' in planes else None
    mask = ~to_mask(planes['mask']) if 'mask' in planes else None
    settled = MaskedImage(image, variance, mask).settle()
    return CellImage(settled, bands, _read_scale(cell.get('scale')))


def _find_pixels(cell):
    return next(cell[name] for name in PIXELS if name in cell)


def _read_scale(scale):
    """Return the scale that all bands have, NaN if it is not known."""
    scales = np.atleast_1d(np.asarray(scale, float))
    scales = scales[scales > 0]
    if not len(scales) or np.ptp(scales) > SAME_SCALE * scales[0]:
        return math.nan
    return float(scales[0])


def _stack(cell):
    """Return arrays or lists as one array of numbers; None is a missing pixel, or band."""
    if isinstance(cell, np.ma.MaskedArray):
        return _as_floats(cell).filled(np.nan)
    if isinstance(cell, np.ndarray) and cell.dtype != object:
        array = cell
    elif len(cell) and any(isinstance(part, (list, tuple, np.ndarray)) for part in cell):
        parts = [None if part is None else _stack(part) for part in cell]
        known = [part for part in parts if part is not None]
        blank = np.full(known[0].shape, np.nan, np.float32)
        array = np.stack([blank if part is None else part for part in parts])
    else:
        array = np.asarray(cell, float if any(part is None for part in cell) else None)
    if array.dtype.kind not in 'biuf':
        msg = f'the type {array.dtype} is none of numbers'
        raise ValueError(msg)
    return array


def _as_floats(array):
    return array if array.dtype.kind == 'f' else array.astype(np.float32)


def _blank(plane):
    """Return the value of a pixel that is not there."""
    return np.nan if plane.dtype.kind == 'f' else 0


def _as_image(array, n_bands=None):
    """Return an array as an image of shape (band, y, x); the number of bands may be known."""
    if array.ndim == 1 or (array.ndim == 2 and len(array) == n_bands):
        side = math.isqrt(array.shape[-1])
        is_square = side**2 == array.shape[-1]
        array = array.reshape(*array.shape[:-1], side, side) if is_square else array
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or not array.size:
        msg = f'the shape {array.shape} is none of an image'
        raise ValueError(msg)
    is_first = len(array) == n_bands if n_bands else array.shape[0] <= array.shape[2]
    return array if is_first else array.transpose(2, 0, 1)
