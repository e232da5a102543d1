# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find defects of images: missing pixels, cosmic rays, saturated cores; and fill small holes."""

import numpy as np
from scipy.ndimage import (
    binary_opening,
    binary_propagation,
    gaussian_filter,
    maximum_filter,
)

from astro_morph.images.resampling import find_missing
from astro_morph.photometry.segmentation import grow

__all__ = [
    'fill_small_holes',
    'find_cosmic_rays',
    'find_missing',
    'find_missing_in_pictures',
    'find_saturated',
]

# Shapes of the smallest black border, in pixels. With them, two of 560 pictures of six surveys have
# one by chance; of strips of 20 pixels that were painted black and compressed, 99 % are found.
BORDER_SHAPES = ((2, 12), (12, 2), (6, 6))
JPEG_BLOCK = 8

# Where a larger fraction of the other pixels is black, the sky is. Single bands are so more often.
MOST_BLACK = 0.3
MOST_BLACK_IN_A_BAND = 0.05

# Fractions that tell a black border from a black sky around an object: of a side of the image that
# other pixels reach; and of the box around these that is black.
LEAST_AT_EDGE = 0.25
MOST_BLACK_IN_BOX = 0.1

# A cosmic ray exceeds the noise, and the pixels on both sides, by these factors. The seeing spreads
# the light of stars: adjacent pixels differ at most by a factor of 2 for a FWHM of 2 pixels.
RAY_NOISE = 10
RAY_CONTRAST = 4

# A core is saturated if at least so many pixels share its highest value.
PLATEAU = 3

# Holes are filled with the mean of the pixels around, weighted by a Gaussian of this standard
# deviation in pixels, if they have at least this fraction of its weight: up to 5 pixels wide.
FILLING = 1.27
LEAST_WEIGHT = 0.04


def find_missing_in_pictures(pictures):
    """
    Find the missing pixels of pictures.

    Services and tools fill what they lack with zeros. The sky of a picture may be black too, but
    for missing pixels the black reaches the edge and ends in a straight line, and hardly any other
    pixel is black.

    Parameters
    ----------
    pictures : ndarray of float32, shape (n, band, y, x)
        Pictures from 0 to 255.

    Returns
    -------
    is_missing : ndarray of bool, shape (n, band, y, x)
        Pixels that are not finite, or lie in a black border of all bands or of one.
    """
    is_missing = ~np.isfinite(pictures)
    is_zero = pictures == 0
    for i in np.flatnonzero(is_zero.any(axis=(1, 2, 3))):
        is_missing[i] |= _find_black_border(is_zero[i].all(axis=0), MOST_BLACK)
        for band, its_zeros in enumerate(is_zero[i]):
            is_missing[i, band] |= _find_black_border(its_zeros, MOST_BLACK_IN_A_BAND)
    return is_missing


def _find_black_border(is_zero, most_black):
    """Return the black pixels that are a border, not a black sky; of one image."""
    solid = np.zeros_like(is_zero)
    for shape in BORDER_SHAPES:
        solid |= binary_opening(is_zero, np.ones(shape))
    rim = np.ones_like(is_zero)
    rim[1:-1, 1:-1] = False
    border = binary_propagation(solid & rim, mask=solid)
    if not border.any() or border.all():
        return border
    # JPEG compression blurs the edge of the border.
    is_far = ~maximum_filter(border, 2 * JPEG_BLOCK + 1)
    is_sky = not is_far.any() or is_zero[is_far].mean() > most_black
    return border & False if is_sky or _is_around_an_object(border) else border


def _is_around_an_object(border):
    """Check whether the other pixels are neither a box nor cut off by the edge of the image."""
    known = ~border
    at_edge = max(line.mean() for line in (known[0], known[-1], known[:, 0], known[:, -1]))
    y, x = np.nonzero(known)
    in_box = border[y.min() : y.max() + 1, x.min() : x.max() + 1]
    return at_edge < LEAST_AT_EDGE and in_box.mean() > MOST_BLACK_IN_BOX


def find_cosmic_rays(images, noise):
    """
    Find cosmic rays: single pixels and thin tracks that are sharper than any star.

    Cosmic rays hit a pixel in one band only; what is sharp in several bands is a source.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Sky-subtracted cutouts in flux.
    noise : ndarray, shape (n, band)
        Noise of a pixel.

    Returns
    -------
    is_ray : ndarray of bool, shape (n, band, y, x)
        The pixels hit.
    """
    noise = noise[..., np.newaxis, np.newaxis]
    inside = images[..., 1:-1, 1:-1]
    across = np.fmax(images[..., 1:-1, :-2], images[..., 1:-1, 2:])
    along = np.fmax(images[..., :-2, 1:-1], images[..., 2:, 1:-1])
    beside = np.fmax(np.fmin(across, along), noise)
    is_ray = np.zeros(images.shape, bool)
    is_ray[..., 1:-1, 1:-1] = (inside > RAY_NOISE * noise) & (inside / RAY_CONTRAST > beside)
    return is_ray & (is_ray.sum(axis=1, keepdims=True) == 1)


def find_saturated(images, is_bright, *, is_missing=False, level=None):
    """
    Find saturated pixels.

    Several of them share the highest value, or a pipeline has masked them in a bright core.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts in flux, with their sky.
    is_bright : ndarray of bool, shape (n, band, y, x)
        Pixels far above the noise.
    is_missing : ndarray of bool, shape (n, band, y, x), default=False
        Pixels that were missing before they were filled.
    level : float, default=None
        Saturation level in flux, used instead of the highest value.

    Returns
    -------
    is_saturated : ndarray of bool, shape (n, band, y, x)
        The saturated pixels.
    """
    if level is not None:
        return (images >= level) | (is_missing & is_bright)
    highest = np.fmax.reduce(images, axis=(2, 3), keepdims=True)
    is_plateau = (images == highest) & is_bright
    n_highest = is_plateau.sum(axis=(2, 3))
    for i in np.argwhere(n_highest >= PLATEAU):
        lower = images[*i][images[*i] < highest[*i]]
        # In an image enlarged by repeating pixels, every value occurs several times.
        n_next = np.count_nonzero(lower == lower.max(initial=-np.inf))
        is_plateau[*i] &= n_highest[*i] >= PLATEAU * n_next
    is_plateau[n_highest < PLATEAU] = False
    return is_plateau | (is_missing & is_bright)


def fill_small_holes(images, is_missing):
    """
    Fill small holes with the mean of the pixels around them.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts.
    is_missing : ndarray of bool, shape (n, band, y, x)
        The pixels to replace.

    Returns
    -------
    filled : ndarray of float32, shape (n, band, y, x)
        A copy of the images; NaN in large holes.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.defects import fill_small_holes
    >>> images = np.full((1, 1, 32, 32), 3.0)
    >>> images[0, 0, 4, 5] = np.nan
    >>> print(fill_small_holes(images, np.isnan(images))[0, 0, 4, 5])
    3.0
    """
    filled = np.where(is_missing, np.nan, images)
    rows, bands = np.nonzero(is_missing.any(axis=(2, 3)))
    holes = is_missing[rows, bands]
    width = (0, FILLING, FILLING)
    weight = gaussian_filter((~holes).astype(np.float32), width, mode='constant')
    known = gaussian_filter(np.nan_to_num(filled[rows, bands]), width, mode='constant')
    # Pixels next to one that can't be filled belong to the same large hole.
    is_small = holes & ~grow(holes & (weight < LEAST_WEIGHT), 3)
    patches = filled[rows, bands]
    patches[is_small] = known[is_small] / weight[is_small]
    filled[rows, bands] = patches
    return filled
