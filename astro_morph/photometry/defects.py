# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pixels of a cutout that show no sky: missing ones, cosmic rays, saturated cores."""

import numpy as np
from scipy.ndimage import binary_opening, gaussian_filter

from astro_morph.photometry.segmentation import grow

__all__ = ['fill_small_holes', 'find_cosmic_rays', 'find_missing', 'find_saturated']

# Services write zeros where they have no data. In real numbers a pixel is exactly zero once in
# a million, and never in a square of this side.
ZEROS = 2

# A cosmic ray is this many times brighter than the noise, and than the pixels on both sides:
# the seeing spreads a star over its neighbours, in steps of at most 2 for a FWHM of 2 pixels.
RAY_NOISE = 10
RAY_CONTRAST = 4

# A core is saturated where so many pixels have one and the same value.
PLATEAU = 3

# Holes are filled by the mean of the pixels around, weighted by a Gaussian of this width, where
# these have at least so much of its weight: in gaps up to 5 pixels wide.
FILLING = 1.27
LEAST_WEIGHT = 0.04


def find_missing(images):
    """
    Find the pixels that hold no measurement.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts in flux.

    Returns
    -------
    is_missing : ndarray of bool, shape (n, band, y, x)
        Where a pixel is not finite, or lies in a block of zeros in an image that is not of counts.
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
    Find single pixels and thin tracks that are sharper than any star.

    A pixel is hit in one band only: what is sharp in several is in the sky.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts in flux, without sky.
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
    Find the pixels at which the detector was full.

    Several of them share the highest value, or a pipeline has cut them out of a bright core.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts in flux, with their sky.
    is_bright : ndarray of bool, shape (n, band, y, x)
        Where the light is far above the noise.
    is_missing : ndarray of bool, shape (n, band, y, x), optional
        Pixels that were missing, and are filled.
    level : float, optional
        Flux from which a pixel is saturated, instead of the highest value.

    Returns
    -------
    is_saturated : ndarray of bool, shape (n, band, y, x)
        The pixels.
    """
    if level is not None:
        return (images >= level) | (is_missing & is_bright)
    highest = np.fmax.reduce(images, axis=(2, 3), keepdims=True)
    is_plateau = (images == highest) & is_bright
    n_highest = is_plateau.sum(axis=(2, 3))
    for i in np.argwhere(n_highest >= PLATEAU):
        lower = images[*i][images[*i] < highest[*i]]
        # In an image that was enlarged by repeating pixels, every value is there several times.
        n_next = np.count_nonzero(lower == lower.max(initial=-np.inf))
        is_plateau[*i] &= n_highest[*i] >= PLATEAU * n_next
    is_plateau[n_highest < PLATEAU] = False
    return is_plateau | (is_missing & is_bright)


def fill_small_holes(images, is_missing):
    """
    Fill missing pixels from those around them, where the hole is small.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts.
    is_missing : ndarray of bool, shape (n, band, y, x)
        The pixels to replace.

    Returns
    -------
    filled : ndarray of float32, shape (n, band, y, x)
        A copy; NaN in the large holes.

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
    # What is next to a pixel that can't be filled belongs to the same large hole.
    is_small = holes & ~grow(holes & (weight < LEAST_WEIGHT), 3)
    patches = filled[rows, bands]
    patches[is_small] = known[is_small] / weight[is_small]
    filled[rows, bands] = patches
    return filled
