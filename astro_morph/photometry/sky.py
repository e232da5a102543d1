# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The light of the sky in cutouts, and its noise."""

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

# Cutouts of this side or more have room for a mesh (photutils' Background2D), if the galaxy is no
# larger than this part of them: where the sky is curved, by its noise over 300 pixels, it halves
# the error of a plane, and adds none where it is flat. In smaller cutouts its boxes hold the
# galaxy's halo: of 128 pixels a side, the mesh errs twice as much as the plane.
MESH_FROM = 256
LARGEST_GALAXY = 0.1

# Side of a box in pixels, larger than most neighbours; and of how many boxes the median is taken:
# there are so few that it would flatten any wave.
BOX = 64
FILTER = 1

# A box with less sky than this percentage says nothing.
LEAST_OF_BOX = 20

# The sky is guessed from a quantile of all pixels, so low that a galaxy over half of the cutout
# hardly moves it, and where that lies in a Gaussian. The noise is guessed from the median of the
# absolute difference of two pixels, here in its units; they are so far apart that a resampling
# has not made them alike.
DARK, DARK_SIGMA = 0.1, -1.2816
MEDIAN_DIFFERENCE = 0.9539
LAG = 4

# Sources are searched, masked, and searched again above the better sky; a third round gains
# nothing.
ROUNDS = 2

# Pixels around a source that are no sky: the seeing spreads light there.
GROWTH = 3

# How a galaxy's light falls outside its mask: a de Vaucouleurs profile does so at six half-light
# radii, and there is little of an exponential disc.
HALO_SLOPE = -3

# Pixels further from the fit, in units of the noise, are left out, in so many turns.
CLIPPED = 3
TURNS = 2

# The error of the level, in units of the noise, that nine of ten galaxies stay below is this
# divided by the square of the share of sky. Surveys publish images from which the sky is
# subtracted already: a level that is smaller than its error is none.
UNCERTAINTY = 0.06

# Less than this share of the pixels, and nothing can be fitted.
LEAST_SKY = 0.02

# Pixels at the rim of a cutout where there is mostly sky.
BORDER = 4


class Sky(NamedTuple):
    """
    The sky of n cutouts.

    Parameters
    ----------
    level : ndarray of float32, shape (n, band, y, x)
        Flux of the sky in each pixel.
    noise : ndarray of float32, shape (n, band)
        Standard deviation of a pixel of sky; NaN in a band without pixels.
    share : ndarray, shape (n,)
        Part of the pixels that is sky.
    """

    level: np.ndarray
    noise: np.ndarray
    share: np.ndarray


def measure_sky(images):
    r"""
    Measure the sky of cutouts of galaxies.

    A galaxy's light has no edge: a fifth of the cutout from its centre it can still be brighter
    than the noise, and a mean of the pixels outside its mask is too high. To them is fitted, by
    least squares with clipping, a plane and a halo,

    .. math:: a + b x + c y + d\, r^{-3}, \quad d \ge 0,

    of which the plane is the sky. In cutouts of at least ``MESH_FROM`` pixels a side,
    `photutils.background.Background2D` then adds what is curved. A level that is smaller than its
    error is taken for none.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux; NaN where there is no pixel.

    Returns
    -------
    sky : `Sky`
        Its level, its noise, and how much of it there is.

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
    level, noise = _guess(images)
    for _ in range(ROUNDS):
        light = images - level
        is_source = grow(_find_sources(light, noise), GROWTH)
        is_sky = np.isfinite(images) & ~is_source[:, np.newaxis]
        plane, halo, fitted_noise = _fit_plane(light, is_sky)
        has_sky = is_sky.mean(axis=(2, 3)) > LEAST_SKY
        noise = np.where(has_sky, fitted_noise, noise)
        level = level + np.where(has_sky[..., np.newaxis, np.newaxis], plane, 0)
    if min(images.shape[2:]) >= MESH_FROM:
        level = level + _measure_curve(images - level, noise, halo)
    share = 1 - is_source.mean(axis=(1, 2))
    error = noise * UNCERTAINTY / share.clip(LEAST_SKY)[:, np.newaxis] ** 2
    is_found = np.sqrt(np.mean(level**2, axis=(2, 3))) > error
    return Sky(np.where(is_found[..., np.newaxis, np.newaxis], level, 0), noise, share)


def border_noise(images):
    """
    Estimate the noise of each band from the rims of the cutouts.

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
        # A band without a pixel at the rim says nothing about the noise, and need not.
        warnings.filterwarnings('ignore', 'All-NaN slice', RuntimeWarning)
        noise = np.nanmedian(mad_std(images[:, :, is_border], axis=2, ignore_nan=True), axis=0)
    return np.where(noise > 0, noise, 1.0)


def _guess(images):
    """Guess level and noise, whatever the galaxy: shape (n, band, 1, 1) and (n, band)."""
    shape = (*images.shape[:2], -1)
    # A galaxy is smooth: what near pixels differ by is noise. Some of the pairs are enough.
    difference = np.abs(images[..., ::2, LAG:] - images[..., ::2, :-LAG])[..., ::2]
    noise = quantiles(difference.reshape(shape), [0.5])[0] / np.float32(MEDIAN_DIFFERENCE)
    dark = quantiles(images.reshape(shape), [DARK])[0]
    level = dark - np.float32(DARK_SIGMA) * noise
    return level[..., np.newaxis, np.newaxis], noise


def _find_sources(images, noise):
    return detect(smooth(signal_to_noise(images, noise)))


def _fit_plane(images, is_sky):
    """Fit a plane and a halo to the sky of each band; give the plane and the noise."""
    terms = _terms(*images.shape[2:])
    pixels = np.nan_to_num(images.reshape(*images.shape[:2], -1))
    weight = is_sky.reshape(pixels.shape).astype(np.float32)
    for _ in range(TURNS):
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
    """Give what is fitted, one term a row and the halo last, over the flat pixels."""
    y, x = np.indices((ny, nx), np.float32)
    y, x = 2 * y / (ny - 1) - 1, 2 * x / (nx - 1) - 1
    radius = np.hypot(y, x).clip(2 / ny)
    terms = np.stack([np.ones_like(x), x, y, radius**HALO_SLOPE])
    return terms.reshape(len(terms), -1)


def _least_squares(pixels, weight, terms):
    """Fit the terms, without the halo where it is negative; give also the number of pixels."""
    n_terms = len(terms)
    upper = np.triu_indices(n_terms)
    normal = np.zeros((*weight.shape[:2], n_terms, n_terms))
    normal[..., *upper] = normal[..., *upper[::-1]] = weight @ (terms[upper[0]] * terms[upper[1]]).T
    n_pixels = np.where(normal[..., 0, 0] > 0, normal[..., 0, 0], np.nan).astype(np.float32)
    # So little that it changes nothing but in bands without pixels.
    normal += 1e-6 * np.eye(n_terms)
    moments = ((weight * pixels) @ terms.T)[..., np.newaxis]
    full = np.linalg.solve(normal, moments)[..., 0]
    plane = np.linalg.solve(normal[..., :-1, :-1], moments[..., :-1, :])[..., 0]
    plane = np.pad(plane, [(0, 0), (0, 0), (0, 1)])
    return np.where(full[..., -1:] < 0, plane, full).astype(np.float32), n_pixels


def _measure_curve(light, noise, halo):
    """Measure what a plane leaves of a curved sky, around galaxies that are small enough."""
    is_galaxy = grow(segment(light, noise, saddle=0) == 1, GROWTH)
    rows = np.flatnonzero(is_galaxy.mean(axis=(1, 2)) < LARGEST_GALAXY)
    curve = np.zeros_like(light)
    known = np.isfinite(light[rows])
    # At first with all but the galaxy: a wave in the sky can't be told from sources.
    is_source = is_galaxy[rows]
    for _ in range(ROUNDS):
        is_sky = known & ~is_source[:, np.newaxis]
        curve[rows] = _fit_mesh((light - halo)[rows], is_sky)
        others = _find_sources((light - curve)[rows], noise[rows])
        is_source = is_galaxy[rows] | grow(others, GROWTH)
    return curve


def _fit_mesh(images, is_sky):
    """Draw a smooth surface through the sky in the boxes of a mesh."""
    from photutils.background import Background2D

    level = np.zeros(images.shape, np.float32)
    for i in np.ndindex(images.shape[:2]):
        # Where no box has enough sky there is nothing to measure.
        with contextlib.suppress(ValueError):
            level[i] = Background2D(
                np.nan_to_num(images[i]),
                BOX,
                filter_size=FILTER,
                mask=~is_sky[i],
                exclude_percentile=100 - LEAST_OF_BOX,
            ).background
    return level
