# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cut square stamps out of a large image, and resample them to another scale and angle."""

import numpy as np
from scipy import ndimage

__all__ = [
    'MARGIN',
    'count_subpixels',
    'cut_stamps',
    'find_missing',
    'resample_mask',
    'resample_stamps',
    'stamp_box',
]

#: Pixels around a stamp that its resampling reads. The weight of a pixel in a cubic spline falls
#: with its distance d as 0.27**d: 3e-5 at this margin.
MARGIN = 8

# Fraction of a new pixel that must be masked for it to be: the rest then determines its value.
_MASKED_PART = 0.5

# Side of the smallest block of zeros that is missing data, as some services write it. Single pixels
# of real numbers are exactly zero once in a million; such a block never is.
_ZEROS = 2

# Counts in another unit are multiples of a number up to the rounding of float32.
_ROUNDING = 1e-6

# If more of the other pixels are zero, zeros are measured: single photons are rare in such images.
_MOST_ZEROS = 0.05


def cut_stamps(image, corners, size, *, margin=0):
    """
    Cut square stamps of whole pixels.

    Parameters
    ----------
    image : array_like, shape (y, x)
        The image, or any object that returns arrays for pairs of slices; of one that has a method
        ``read_boxes``, all stamps are read at once.
    corners : `~numpy.ndarray` of int, shape (n, 2)
        The first pixel (x, y) of each stamp, which may lie outside the image.
    size : int
        Side of the stamps in pixels.
    margin : int, default=0
        Pixels on each side of the stamps that only their resampling needs.

    Returns
    -------
    stamps : `~numpy.ndarray` of float32, shape (n, y, x)
        The pixels; NaN outside the image.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.images.resampling import cut_stamps
    >>> cut_stamps(np.arange(12).reshape(3, 4), np.array([[2, 1]]), 2)
    array([[[ 6.,  7.],
            [10., 11.]]], dtype=float32)
    """
    if hasattr(image, 'read_boxes'):
        image = image.read_boxes(corners, size, margin=margin)
    ny, nx = image.shape
    stamps = np.empty((len(corners), size, size), np.float32)
    for stamp, (x, y) in zip(stamps, corners.tolist(), strict=True):
        if 0 <= x <= nx - size and 0 <= y <= ny - size:
            stamp[:] = image[y : y + size, x : x + size]
            continue
        stamp[:] = np.nan
        inside = image[max(y, 0) : max(y + size, 0), max(x, 0) : max(x + size, 0)]
        y, x = max(-y, 0), max(-x, 0)
        stamp[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return stamps


def stamp_box(jacobians, centres, size):
    """
    Return the stamps of an image that contain everything `resample_stamps` needs.

    Parameters
    ----------
    jacobians : `~numpy.ndarray`, shape (n, 2, 2)
        Derivative of the pixel (x, y) of the image by the pixel (x, y) of the new grid.
    centres : `~numpy.ndarray`, shape (n, 2)
        The pixel (x, y) of the image at the centre of the new grid.
    size : int
        Side of the new grid.

    Returns
    -------
    corners : `~numpy.ndarray` of int, shape (n, 2)
        The first pixel (x, y) of each stamp.
    box_size : int
        Side of the stamps.
    """
    reach = int(np.ceil(np.abs(jacobians).sum(axis=2).max() * size / 2)) + MARGIN
    return np.floor(centres).astype(int) - reach, 2 * reach + 2


def count_subpixels(jacobians):
    """Return the sub-pixels per side of a new pixel that are needed to sample all old pixels."""
    areas = np.abs(np.linalg.det(jacobians))
    # A tenth of an old pixel does not justify four times the work.
    return np.maximum(1, np.ceil(np.sqrt(areas) - 0.1)).astype(int)


def resample_stamps(stamps, jacobians, centres, size, *, conserve_flux=True, order=3):
    """
    Resample stamps to a grid of another scale, angle or parity.

    The pixels are interpolated by a cubic spline, which is averaged over a new pixel that is larger
    than the old ones. A new pixel is NaN if the old pixel at its centre is.

    Parameters
    ----------
    stamps : `~numpy.ndarray` of float32, shape (n, y, x)
        The pixels.
    jacobians : `~numpy.ndarray`, shape (n, 2, 2)
        Derivative of the pixel (x, y) of a stamp by the pixel (x, y) of the new grid.
    centres : `~numpy.ndarray`, shape (n, 2)
        The pixel (x, y) of the stamp at the centre of the new grid.
    size : int
        Side of the new grid.
    conserve_flux : bool, default=True
        Whether the values are fluxes per pixel, to be multiplied by the ratio of the pixel areas;
        surface brightness keeps its values.
    order : int, default=3
        Order of the spline; with 0 and 1 the values stay within those of the old pixels.

    Returns
    -------
    images : `~numpy.ndarray` of float32, shape (n, y, x)
        The stamps on the new grid.
    """
    factors = np.abs(np.linalg.det(jacobians)) if conserve_flux else np.ones(len(stamps))
    n_sub, matrices, offsets = _fine_grids(jacobians, centres, size)
    images = np.empty((len(stamps), size, size), np.float32)
    for i, stamp in enumerate(stamps):
        is_missing = np.isnan(stamp)
        if is_missing.all():
            images[i] = np.nan
            continue
        has_gaps = is_missing.any()
        if has_gaps:
            stamp = _fill_from_nearest(stamp, is_missing)
        fine = _sample(stamp, matrices[i], offsets[i], n_sub * size, order=order)
        images[i] = fine.reshape(size, n_sub, size, n_sub).mean(axis=(1, 3)) * factors[i]
        if has_gaps:
            matrix, offset = matrices[i] * n_sub, offsets[i] + matrices[i].sum(1) * (n_sub - 1) / 2
            missing = _sample(is_missing.astype(np.float32), matrix, offset, size, order=0)
            images[i][missing > 0] = np.nan
    return images


def resample_mask(masks, jacobians, centres, size):
    """
    Resample masks to a grid of another scale, angle or parity.

    Parameters
    ----------
    masks : `~numpy.ndarray` of bool, shape (n, y, x)
        Stamps of masks.
    jacobians, centres, size
        As in `resample_stamps`.

    Returns
    -------
    masks : `~numpy.ndarray` of bool, shape (n, y, x)
        Whether half of a new pixel or more is masked.
    """
    n_sub, matrices, offsets = _fine_grids(jacobians, centres, size)
    resampled = np.zeros((len(masks), size, size), bool)
    for i in np.flatnonzero(masks.any(axis=(1, 2))):
        fine = _sample(masks[i].astype(np.float32), matrices[i], offsets[i], n_sub * size, order=0)
        resampled[i] = fine.reshape(size, n_sub, size, n_sub).mean(axis=(1, 3)) >= _MASKED_PART
    return resampled


def _fine_grids(jacobians, centres, size):
    """Return the sub-pixels a side of a new pixel, and the matrices and offsets of their grids."""
    n_sub = count_subpixels(jacobians).max()
    # SciPy's order is (y, x), and its origin the centre of the first sub-pixel.
    matrices = jacobians[:, ::-1, ::-1] / n_sub
    return n_sub, matrices, centres[:, ::-1] - matrices.sum(axis=2) * (n_sub * size - 1) / 2


def find_missing(images):
    """
    Find the missing pixels.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts in flux.

    Returns
    -------
    is_missing : ndarray of bool, shape (n, band, y, x)
        Pixels that are not finite, or lie in a block of zeros in an image that is not of counts.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.images.resampling import find_missing
    >>> images = np.random.default_rng(0).normal(size=(1, 1, 16, 16))
    >>> images[0, 0, :, :3] = 0
    >>> find_missing(images).sum()
    np.int64(48)
    """
    is_missing = ~np.isfinite(images)
    is_zero = images == 0
    rows = np.flatnonzero(is_zero.any(axis=(1, 2, 3)))
    for i in rows:
        known = images[i][~is_missing[i] & ~is_zero[i]]
        if _has_counts(known):
            continue
        is_block = ndimage.binary_opening(is_zero[i], np.ones((1, _ZEROS, _ZEROS)))
        if np.sum(is_zero[i] & ~is_block) <= _MOST_ZEROS * np.sum(~is_block):
            is_missing[i] |= is_block
    return is_missing


def _has_counts(pixels):
    """Check whether pixels are counts, multiples of the faintest one in any unit of flux."""
    if not pixels.size:
        return False
    counts = pixels.astype(float) / np.abs(pixels).min()
    return np.allclose(counts, np.round(counts), rtol=_ROUNDING, atol=0)


def _sample(stamp, matrix, offset, size, *, order):
    return ndimage.affine_transform(
        stamp, matrix, offset, output_shape=(size, size), order=order, mode='mirror'
    )


def _fill_from_nearest(stamp, is_missing):
    """Fill gaps with the nearest pixels: a spline would spread a step over its neighbours."""
    nearest = ndimage.distance_transform_edt(
        is_missing, return_distances=False, return_indices=True
    )
    return stamp[tuple(nearest)]
