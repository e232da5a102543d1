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
from astro_morph.photometry.wings import fit_wings, separate

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

# Sources are detected and masked twice, the second time above a better sky; a third time gains
# nothing. These are the numbers of fits to what is left, each with the outliers of the last one
# clipped.
FITS = (1, 2)

# Pixels by which masks of sources are grown: the seeing spreads light there.
GROWTH = 3

# Exponent of the light of a galaxy outside its mask: that of a de Vaucouleurs profile at six
# half-light radii; an exponential disc has little light there.
HALO_SLOPE = -3

# Threshold of sigma clipping in units of the noise.
CLIPPED = 3

# In nine of ten galaxies, the error of the level in units of the noise is below this number divided
# by the square of the fraction of sky. Most surveys publish sky-subtracted images, so a level
# smaller than its error is set to zero.
UNCERTAINTY = 0.06

# Smallest fraction of sky pixels to which the sky can be fitted.
LEAST_FITTED = 0.02

# Pixels further from the fit, in units of the noise, are no sky.
OUTLIER = 5

# In nine of ten normal variables, the error is below this number of standard errors.
NINE_OF_TEN = 1.64

# The level is uncertain if a smaller fraction of the cutout is sky, or if its standard error, in
# units of the noise, is larger.
LEAST_SKY = 0.3
LARGEST_ERROR = 0.1

# Largest brightness of a pixel in units of the noise: its square summed over a cutout is a float32.
BRIGHTEST = np.float32(1e12)

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
    is_uncertain : ndarray of bool, shape (n,)
        Whether the sources leave too little sky to measure its level well, or the light of the
        galaxy reaches the border.
    """

    level: np.ndarray
    noise: np.ndarray
    fraction: np.ndarray
    is_uncertain: np.ndarray


def measure_sky(images, *, half_light=None, variance=None):
    r"""
    Measure the level and the noise of the sky.

    The light of a galaxy has no edge, and the mean of the pixels outside its mask overestimates
    the sky. Therefore a plane and a halo,

    .. math:: a + b x + c y + d\, r^{-3}, \quad d \ge 0,

    are fitted to these pixels by least squares with sigma clipping. The constant :math:`a` is then
    measured together with the profile of the galaxy (`astro_morph.photometry.wings`). In cutouts
    with a side of at least ``MESH_FROM`` pixels, `photutils.background.Background2D` is fitted to
    the residuals and added.

    A level smaller than its error is set to zero. A positive level that is uncertain is lowered by
    its standard error, so that the light of the galaxy is kept.

    Where the variance of the pixels is known, the noise is that of a median sky pixel: pixels that
    were resampled scatter less than sums of them, and in a cutout that a galaxy fills none shows
    the noise.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux, of any unit; NaN where there is no pixel.
    half_light : array_like, shape (n,), default=None
        Half-light radius of each galaxy in pixels, NaN where it is not known. It makes the sky
        around large galaxies more certain.
    variance : array_like, shape (n, band, y, x), default=None
        Variance of each pixel in the squared unit of the images, NaN where it is not known; None to
        measure the noise from the scatter of the sky.

    Returns
    -------
    sky : `Sky`
        Its level and noise, the fraction of sky pixels, and whether it is uncertain.

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
    # In units of the noise, squares neither overflow nor vanish.
    light, dark, unit, noise = _in_units_of_noise(images, variance)
    level = np.zeros_like(light)
    for n_fits in FITS:
        signal = smooth(signal_to_noise(light - level, noise))
        is_source = detect(signal)
        is_covered = grow(is_source, GROWTH)
        is_sky = np.isfinite(images) & ~is_covered[:, np.newaxis]
        plane, halo, fitted_noise = _fit_plane(light - level, is_sky, n_fits)
        has_sky = is_sky.mean(axis=(2, 3)) > LEAST_FITTED
        noise = np.where(has_sky, fitted_noise, noise)
        noise = _known_noise(variance, is_sky, otherwise=noise * unit) / unit
        level += plane * has_sky[..., np.newaxis, np.newaxis]
    wings = _measure_wings(light - level, halo, noise, signal, is_source, half_light)
    level += wings.sky.astype(np.float32)[..., np.newaxis, np.newaxis]
    noise = np.where(wings.noise > 0, wings.noise, noise)
    noise = _known_noise(variance, is_sky, otherwise=noise * unit) / unit
    if min(images.shape[2:]) >= MESH_FROM:
        level = level + _measure_curve(light - level, noise, halo)
    fraction = 1 - is_covered.mean(axis=(1, 2))
    is_uncertain = (fraction < LEAST_SKY)[:, np.newaxis] | (wings.error > LARGEST_ERROR * noise)
    level += (dark / unit)[..., np.newaxis, np.newaxis]
    error = np.fmax(
        NINE_OF_TEN * wings.error,
        noise * UNCERTAINTY / fraction.clip(LEAST_FITTED)[:, np.newaxis] ** 2,
    )
    is_significant = np.mean(np.abs(level), axis=(2, 3), dtype=float) > error
    # Never subtract more than is known.
    excess = np.minimum(wings.error, level.mean(axis=(2, 3), dtype=float).clip(0))
    level -= np.where(is_uncertain, excess, 0).astype(np.float32)[..., np.newaxis, np.newaxis]
    level *= np.where(is_significant, unit, 0).astype(np.float32)[..., np.newaxis, np.newaxis]
    return Sky(
        level,
        (noise * unit).astype(np.float32),
        fraction,
        is_uncertain.any(axis=1),
    )


def border_noise(images, variance=None):
    """
    Estimate the noise of each band from the border pixels of the cutouts.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux; NaN where there is no pixel.
    variance : array_like, shape (n, band, y, x), default=None
        Variance of each pixel, NaN where it is not known.

    Returns
    -------
    noise : ndarray, shape (band,)
        Median over the cutouts of the noise of the border pixels: the root of their median
        variance, or where it is not known their robust standard deviation (from the median absolute
        deviation); 1 for a band without noise.

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
        noise = mad_std(images[:, :, is_border], axis=2, ignore_nan=True)
        noise = np.nanmedian(_known_noise(variance, is_border, otherwise=noise), axis=0)
    return np.where(noise > 0, noise, 1.0)


def _known_noise(variance, is_used, *, otherwise):
    """
    Return the root of the median variance of some pixels, of shape (n, band).

    Where none of them has a variance it is that of the darkest pixels, to which the light of the
    galaxy adds the least noise, and ``otherwise`` where no pixel has one.
    """
    if variance is None:
        return otherwise
    known = np.where(np.isfinite(variance) & (variance > 0), variance, np.float32(np.nan))
    shape = (*known.shape[:2], -1)
    of_used = quantiles(np.where(is_used, known, np.float32(np.nan)).reshape(shape), [0.5])[0]
    of_dark = quantiles(known.reshape(shape), [DARK])[0]
    noise = np.sqrt(np.where(np.isnan(of_used), of_dark, of_used))
    return np.where(np.isnan(noise), otherwise, noise)


def _first_estimate(images, variance):
    """Estimate level and noise, both of shape (n, band), before any detection."""
    shape = (*images.shape[:2], -1)
    # Galaxies are smooth, so that nearby pixels differ by noise. A subset of the pairs is enough.
    with np.errstate(over='ignore'):
        difference = np.abs(images[..., ::2, LAG:] - images[..., ::2, :-LAG])[..., ::2]
    noise = quantiles(difference.reshape(shape), [0.5])[0] / np.float32(MEDIAN_DIFFERENCE)
    noise = _known_noise(variance, np.isfinite(images), otherwise=noise)
    dark = quantiles(images.reshape(shape), [DARK])[0]
    level = dark - np.float32(DARK_SIGMA) * noise
    return level, noise


def _in_units_of_noise(images, variance):
    """Return the light above a first level in units of the noise, level, unit and noise."""
    level, noise = _first_estimate(images, variance)
    with np.errstate(over='ignore'):
        light = images - level[..., np.newaxis, np.newaxis]
        # Without noise, the brightest pixel is the unit.
        brightest = np.fmax.reduce(np.abs(light), axis=(2, 3), initial=0)
        unit = np.where(noise > 0, noise, np.where(brightest > 0, brightest, 1))
        light = (light / unit[..., np.newaxis, np.newaxis]).clip(-BRIGHTEST, BRIGHTEST)
    return light, level, unit, np.where(noise > 0, 1, noise)


def _find_sources(images, noise):
    return detect(smooth(signal_to_noise(images, noise)))


def _measure_wings(light, halo, noise, signal, is_source, half_light):
    """Measure the sky that is left together with the wings of the galaxies."""
    galaxy, is_other = separate(signal, is_source)
    # Cosmic rays and faint neighbours are no sky.
    is_outlier = np.abs(light - halo) > OUTLIER * noise[..., np.newaxis, np.newaxis]
    is_used = ((galaxy > 0)[:, np.newaxis] | ~is_outlier) & ~is_other[:, np.newaxis]
    return fit_wings(light, noise, is_used, galaxy, half_light=half_light)


def _fit_plane(images, is_sky, n_fits):
    """Fit a plane and a halo to the sky of each band; return plane, halo and noise."""
    terms = _terms(*images.shape[2:])
    pixels = np.nan_to_num(images.reshape(*images.shape[:2], -1))
    weight = is_sky.reshape(pixels.shape).astype(np.float32)
    for _ in range(n_fits):
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
    # vecdot is three times as fast as a product of matrices, here with few rows.
    products = np.vecdot(weight[..., np.newaxis, :], terms[upper[0]] * terms[upper[1]])
    normal[..., *upper] = normal[..., *upper[::-1]] = products
    n_pixels = np.where(normal[..., 0, 0] > 0, normal[..., 0, 0], np.nan).astype(np.float32)
    # So small that it matters only in bands without pixels.
    normal += 1e-6 * np.eye(n_terms)
    moments = np.vecdot((weight * pixels)[..., np.newaxis, :], terms)[..., np.newaxis]
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
    for _ in FITS:
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
