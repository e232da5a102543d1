# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Measure the sky of cutouts: its level in each pixel, its noise, and the fraction of sky."""

import contextlib
import warnings
from typing import NamedTuple

import numpy as np
from astropy.stats import mad_std

from astro_morph.photometry.segmentation import (
    detect,
    grow,
    quantiles,
    segment,
    signal_to_noise,
    smooth,
)

__all__ = ['Sky', 'border_noise', 'measure_sky']

# Smallest side of cutouts, and largest fraction of them covered by the galaxy, for which a mesh
# (photutils' Background2D) is fitted too. If the sky varies by its noise over 300 pixels, the mesh
# halves the error of a plane; if it is flat, it adds none. In smaller cutouts, the boxes contain
# the halo of the galaxy: at 128 pixels, the error of the mesh is twice that of the plane.
MESH_FROM = 256
LARGEST_GALAXY = 0.1

# Side of a box in pixels, larger than most neighbours; and size of the median filter in boxes: the
# boxes are so few that a larger filter would flatten any variation.
BOX = 64
FILTER = 1

# A box needs at least this percentage of sky pixels.
LEAST_OF_BOX = 20

# First estimates. Level: a quantile so low that a galaxy over half of the cutout hardly changes it,
# and its position in a standard normal distribution. Noise: the median absolute difference of two
# pixels, here for unit noise; at this distance, resampling has not correlated them.
DARK, DARK_SIGMA = 0.1, -1.2816
MEDIAN_DIFFERENCE = 0.9539
LAG = 4

# Number of times that sources are detected and masked, each time above a better sky; a third time
# gains nothing.
ROUNDS = 2

# Pixels by which masks of sources are grown: the seeing spreads light there.
GROWTH = 3

# Exponent of the light of a galaxy outside its mask: that of a de Vaucouleurs profile at six
# half-light radii; an exponential disc has little light there.
HALO_SLOPE = -3

# Sigma clipping of the fit: threshold in units of the noise, and number of iterations.
CLIPPED = 3
CLIPPINGS = 2

# In nine of ten galaxies, the error of the level in units of the noise is below this number divided
# by the square of the fraction of sky. Most surveys publish sky-subtracted images, so a level
# smaller than its error is set to zero.
UNCERTAINTY = 0.06

# Smallest fraction of sky pixels to which the sky can be fitted.
LEAST_FITTED = 0.02

# Width in pixels of the border of a cutout, which is mostly sky.
BORDER = 4


class Sky(NamedTuple):
    """
    The sky of n cutouts, as returned by `measure_sky`.

    Parameters
    ----------
    level : ndarray of float32, shape (n, band, y, x)
        Flux of the sky in each pixel.
    noise : ndarray of float32, shape (n, band)
        Standard deviation of a sky pixel; NaN in a band without pixels.
    fraction : ndarray, shape (n,)
        Fraction of the pixels that are sky.
    """

    level: np.ndarray
    noise: np.ndarray
    fraction: np.ndarray


def measure_sky(images):
    r"""
    Measure the level and the noise of the sky.

    The light of a galaxy has no edge, and the mean of the pixels outside its mask overestimates
    the sky. Therefore a plane and a halo,

    .. math:: a + b x + c y + d\, r^{-3}, \quad d \ge 0,

    are fitted to these pixels by least squares with sigma clipping, and the plane is the sky. In
    cutouts with a side of at least ``MESH_FROM`` pixels, `photutils.background.Background2D` is
    fitted to the residuals and added. A level smaller than its error is set to zero.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux; NaN where there is no pixel.

    Returns
    -------
    sky : `Sky`
        Its level, its noise, and the fraction of sky pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.sky import measure_sky
    >>> images = np.random.default_rng(0).normal(100, 5, size=(1, 1, 64, 64))
    >>> images[0, 0, 26:38, 26:38] += 200
    >>> sky = measure_sky(images)
    >>> print(sky.level.mean().round(), sky.noise.round())
    100.0 [[5.]]
    """
    images = np.asarray(images, np.float32)
    level, noise = _first_estimate(images)
    for _ in range(ROUNDS):
        light = images - level
        is_source = grow(_find_sources(light, noise), GROWTH)
        is_sky = np.isfinite(images) & ~is_source[:, np.newaxis]
        plane, halo, fitted_noise = _fit_plane(light, is_sky)
        has_sky = is_sky.mean(axis=(2, 3)) > LEAST_FITTED
        noise = np.where(has_sky, fitted_noise, noise)
        level = level + np.where(has_sky[..., np.newaxis, np.newaxis], plane, 0)
    if min(images.shape[2:]) >= MESH_FROM:
        level = level + _measure_curve(images - level, noise, halo)
    fraction = 1 - is_source.mean(axis=(1, 2))
    error = noise * UNCERTAINTY / fraction.clip(LEAST_FITTED)[:, np.newaxis] ** 2
    is_significant = np.sqrt(np.mean(level**2, axis=(2, 3))) > error
    return Sky(np.where(is_significant[..., np.newaxis, np.newaxis], level, 0), noise, fraction)


def border_noise(images):
    """
    Estimate the noise of each band from the border pixels of the cutouts.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux; NaN where there is no pixel.

    Returns
    -------
    noise : ndarray, shape (band,)
        Median over the cutouts of the robust standard deviation (from the median absolute
        deviation) of the border pixels; 1 for a band without noise.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.sky import border_noise
    >>> images = np.random.default_rng(0).normal(scale=[[[1]], [[3]]], size=(50, 2, 32, 32))
    >>> print(border_noise(images).round(1))
    [1. 3.]
    """
    is_border = np.ones(images.shape[2:], bool)
    is_border[BORDER:-BORDER, BORDER:-BORDER] = False
    with warnings.catch_warnings():
        # A band may have no pixels at the border of a cutout.
        warnings.filterwarnings('ignore', 'All-NaN slice', RuntimeWarning)
        noise = np.nanmedian(mad_std(images[:, :, is_border], axis=2, ignore_nan=True), axis=0)
    return np.where(noise > 0, noise, 1.0)


def _first_estimate(images):
    """Estimate level, shape (n, band, 1, 1), and noise, shape (n, band), before any detection."""
    shape = (*images.shape[:2], -1)
    # Galaxies are smooth, so that nearby pixels differ by noise. A subset of the pairs is enough.
    difference = np.abs(images[..., ::2, LAG:] - images[..., ::2, :-LAG])[..., ::2]
    noise = quantiles(difference.reshape(shape), [0.5])[0] / np.float32(MEDIAN_DIFFERENCE)
    dark = quantiles(images.reshape(shape), [DARK])[0]
    level = dark - np.float32(DARK_SIGMA) * noise
    return level[..., np.newaxis, np.newaxis], noise


def _find_sources(images, noise):
    return detect(smooth(signal_to_noise(images, noise)))


def _fit_plane(images, is_sky):
    """Fit a plane and a halo to the sky of each band; return plane, halo and noise."""
    terms = _terms(*images.shape[2:])
    pixels = np.nan_to_num(images.reshape(*images.shape[:2], -1))
    weight = is_sky.reshape(pixels.shape).astype(np.float32)
    for _ in range(CLIPPINGS):
        coefficients, n_pixels = _least_squares(pixels, weight, terms)
        residual = pixels - coefficients @ terms
        noise = np.sqrt(np.vecdot(weight * residual, residual) / n_pixels)
        weight *= np.abs(residual) <= CLIPPED * noise[..., np.newaxis]
    plane, halo = (
        (coefficients[..., part] @ terms[part]).reshape(images.shape)
        for part in (np.s_[:-1], np.s_[-1:])
    )
    return plane, halo, noise


def _terms(ny, nx):
    """Return the terms of the fit, one per row and the halo last, in the flattened pixels."""
    y, x = np.indices((ny, nx), np.float32)
    y, x = 2 * y / (ny - 1) - 1, 2 * x / (nx - 1) - 1
    radius = np.hypot(y, x).clip(2 / ny)
    terms = np.stack([np.ones_like(x), x, y, radius**HALO_SLOPE])
    return terms.reshape(len(terms), -1)


def _least_squares(pixels, weight, terms):
    """Return the coefficients, with the halo at zero if negative, and the number of pixels."""
    n_terms = len(terms)
    upper = np.triu_indices(n_terms)
    normal = np.zeros((*weight.shape[:2], n_terms, n_terms))
    normal[..., *upper] = normal[..., *upper[::-1]] = weight @ (terms[upper[0]] * terms[upper[1]]).T
    n_pixels = np.where(normal[..., 0, 0] > 0, normal[..., 0, 0], np.nan).astype(np.float32)
    # So small that it matters only in bands without pixels.
    normal += 1e-6 * np.eye(n_terms)
    moments = ((weight * pixels) @ terms.T)[..., np.newaxis]
    full = np.linalg.solve(normal, moments)[..., 0]
    plane = np.linalg.solve(normal[..., :-1, :-1], moments[..., :-1, :])[..., 0]
    plane = np.pad(plane, [(0, 0), (0, 0), (0, 1)])
    return np.where(full[..., -1:] < 0, plane, full).astype(np.float32), n_pixels


def _measure_curve(light, noise, halo):
    """Measure the residual sky after the plane, around galaxies that are small enough."""
    is_galaxy = grow(segment(light, noise, saddle=0) == 1, GROWTH)
    rows = np.flatnonzero(is_galaxy.mean(axis=(1, 2)) < LARGEST_GALAXY)
    curve = np.zeros_like(light)
    known = np.isfinite(light[rows])
    # At first only the galaxy is masked: a varying sky can be detected as sources.
    is_source = is_galaxy[rows]
    for _ in range(ROUNDS):
        is_sky = known & ~is_source[:, np.newaxis]
        curve[rows] = _fit_mesh((light - halo)[rows], is_sky)
        others = _find_sources((light - curve)[rows], noise[rows])
        is_source = is_galaxy[rows] | grow(others, GROWTH)
    return curve


def _fit_mesh(images, is_sky):
    """Interpolate the sky between the boxes of a mesh."""
    from photutils.background import Background2D

    level = np.zeros(images.shape, np.float32)
    for i in np.ndindex(images.shape[:2]):
        # Background2D raises an error if no box has enough sky.
        with contextlib.suppress(ValueError):
            level[i] = Background2D(
                np.nan_to_num(images[i]),
                BOX,
                filter_size=FILTER,
                mask=~is_sky[i],
                exclude_percentile=100 - LEAST_OF_BOX,
            ).background
    return level
