# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find defects of images: missing pixels, cosmic rays, saturated cores; and fill small holes."""

import numpy as np
from scipy.ndimage import binary_opening, gaussian_filter

from astro_morph.photometry.segmentation import grow

__all__ = ['fill_small_holes', 'find_cosmic_rays', 'find_missing', 'find_saturated']

# Side of the smallest block of zeros that is missing data, as some services write it. Single pixels
# of real numbers are exactly zero once in a million; such a block never is.
ZEROS = 2

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
    """
    is_missing = ~np.isfinite(images)
    is_zero = images == 0
    rows = np.flatnonzero(is_zero.any(axis=(1, 2, 3)))
    for i in rows:
        known = images[i][~is_missing[i] & ~is_zero[i]]
        has_counts = known.size and np.array_equal(known, np.round(known))
        if not has_counts:
            is_missing[i] |= binary_opening(is_zero[i], np.ones((1, ZEROS, ZEROS)))
    return is_missing


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
    is_ray[..., 1:-1, 1:-1] = (inside > RAY_NOISE * noise) & (inside > RAY_CONTRAST * beside)
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
