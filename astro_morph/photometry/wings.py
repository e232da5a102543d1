# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fit the level of the sky together with the profile of a galaxy, whose wings look like sky."""

import functools
from typing import NamedTuple

import numpy as np
from scipy.ndimage import label, maximum_filter
from scipy.special import erfcx, gammaincinv

from astro_morph.photometry.segmentation import IN_ONE_CUTOUT, REACH, central_label, detect, grow

__all__ = ['Wings', 'fit_wings', 'separate']

# Rings in which the light is averaged: their number, the inner radius of the first one in pixels,
# inside which the seeing changes the profile, and the outer radius of the last one, in sides.
RINGS = 24
INNER, OUTER = 2.5, 1.5

# The profiles: Sersic indices, and half-light radii from one pixel to twice the side of the cutout,
# in steps of a fifth; and the number of radii at which a ring averages a profile.
INDICES = (0.5, 0.75, 1.0, 1.5, 2.5, 4.0, 6.0)
SIZE_STEP = 1.2
LARGEST = 2
SUBSTEPS = 6

# Galaxies are no Sersic profiles: the light of a ring may differ from one by this fraction. The
# sky is not even: that of a ring may differ from the mean by this fraction of the noise of a pixel.
MISFIT = 0.2
UNEVEN = 0.03

# The sky may be off by this fraction of the light at the border: further out than it is detected, a
# galaxy may continue otherwise than any Sersic profile.
UNKNOWN = 0.3

# Scatter of the logarithm of catalogued half-light radii about those of the profiles.
SIZE_SCATTER = 0.3

# A source is lopsided if it is brighter than the opposite pixels by this factor. Errors of the
# centre change the light of a galaxy by less.
LOPSIDED = 2

# Smallest divisor.
TINY = np.finfo(float).tiny

# Pixels by which neighbours are grown: their wings look like those of the galaxy.
GROWTH = 5


class Wings(NamedTuple):
    """
    The sky of n cutouts and the wings of their galaxies, as returned by `fit_wings`.

    Parameters
    ----------
    sky : ndarray, shape (n, band)
        Level of the sky, in the unit of the images.
    error : ndarray, shape (n, band)
        Standard error of the level, which includes that the profile is not known.
    noise : ndarray, shape (n, band)
        Standard deviation of the pixels of the sky about the mean of their ring.
    """

    sky: np.ndarray
    error: np.ndarray
    noise: np.ndarray


def separate(signal, is_source):
    """
    Separate the galaxies at the centres of cutouts from their neighbours, and from those on them.

    Neighbours are sources that do not touch the centre, and those without a counterpart on the
    other side of the galaxy.

    Parameters
    ----------
    signal : ndarray of float32, shape (n, y, x)
        The image returned by `~astro_morph.photometry.segmentation.smooth`.
    is_source : ndarray of bool, shape (n, y, x)
        The pixels of all sources.

    Returns
    -------
    galaxy : ndarray of float32, shape (n, y, x)
        The signal in the pixels of the galaxy, that of the other side where a neighbour covers it.
    is_other : ndarray of bool, shape (n, y, x)
        The pixels of neighbours, and those around them.
    """
    labels, _ = label(is_source, IN_ONE_CUTOUT)
    is_central = is_source & (labels == central_label(labels))
    other_side = _other_side(signal)
    # The centre is off by up to a pixel.
    expected = maximum_filter(signal, (1, 3, 3))[other_side]
    excess = np.where(signal > LOPSIDED * expected, signal - expected, 0)
    is_lopsided = detect(excess / np.float32(np.sqrt(2)))
    is_other = grow(is_lopsided | (is_source & ~is_central), GROWTH)
    galaxy = np.where(is_central & ~is_other, signal, 0)
    return np.where(is_other, galaxy[other_side], galaxy), is_other


def fit_wings(images, noise, is_used, galaxy, *, half_light=None):
    r"""
    Fit a constant sky and the profile of a galaxy to the light in rings around it.

    The rings are ellipses of the shape of the galaxy. For each of many Sersic profiles
    :math:`f(r)`, a sky and an amplitude, :math:`a + d f(r), d \ge 0`, are fitted by least squares.
    The sky and its error are the mean and the standard deviation of :math:`a` over all profiles,
    weighted by their likelihoods. If the wings of the galaxy reach the border of the cutout,
    several profiles fit with different skies, and the error is large. A fraction of their light at
    half a side from the centre is added to the error.

    Parameters
    ----------
    images : ndarray of float32, shape (n, band, y, x)
        Cutouts, roughly sky-subtracted.
    noise : ndarray, shape (n, band)
        Noise of a pixel.
    is_used : ndarray of bool, shape (n, band, y, x)
        Pixels of the sky and of the galaxy.
    galaxy : ndarray of float32, shape (n, y, x)
        Light in the pixels of the galaxy, 0 in others. It gives the shape of the rings.
    half_light : ndarray, shape (n,), default=None
        Half-light radius of each galaxy in pixels; NaN where it is not known.

    Returns
    -------
    wings : `Wings`
        The sky and the wings.
    """
    unit = np.where(noise > 0, noise, 1)
    n_pixels, mean, scatter = _ring_statistics(images, is_used, galaxy > 0, _rings(galaxy))
    light = mean / unit[..., np.newaxis]
    variance = 1 / n_pixels.clip(1) + UNEVEN**2 + (MISFIT * light.clip(0)) ** 2
    profiles, at_border, sizes = _profiles(min(images.shape[2:]))
    weight = np.where(n_pixels > 0, 1 / variance, 0)
    sky, amplitude, variance, chi2 = _fit_profiles(light, weight, profiles)
    # A galaxy has one profile in all bands.
    chi2 = chi2.sum(axis=1, keepdims=True)
    least = chi2.min(axis=-1, keepdims=True)
    # Two parameters of the profile and two of each band; errors grow if no profile fits.
    is_seen = n_pixels > 0
    n_free = (is_seen.sum(axis=2) - 2 * is_seen.any(axis=2)).sum(axis=1)[:, None, None] - 2
    misfit = np.maximum(least / n_free.clip(1), 1)
    log_chance = -(chi2 - least) / misfit / 2
    if half_light is not None:
        offset = np.log(sizes / half_light[:, np.newaxis, np.newaxis]) / SIZE_SCATTER
        log_chance = log_chance - np.nan_to_num(offset) ** 2 / 2
    chance = np.exp(log_chance - log_chance.max(axis=-1, keepdims=True))
    chance /= chance.sum(axis=-1, keepdims=True)
    best = np.vecdot(chance, sky)
    spread = np.vecdot(chance, (sky - best[..., np.newaxis]) ** 2 + misfit * variance)
    error = np.hypot(np.sqrt(spread), UNKNOWN * np.vecdot(chance, amplitude * at_border))
    # Without noise there is nothing to tell apart.
    return Wings(*(np.where(noise > 0, noise * value, 0) for value in (best, error)), scatter)


def _other_side(signal):
    """Return the indices that turn images by 180 degrees about the peak near the centre."""
    n, ny, nx = signal.shape
    reach = max(int(REACH * min(ny, nx)), 1)
    bottom, left = (ny - 1) // 2 - reach, (nx - 1) // 2 - reach
    width = 2 * reach + 2
    near = signal[:, bottom : bottom + width, left : left + width]
    peak = near.reshape(n, -1).argmax(axis=1)
    y, x = np.unravel_index(peak, near.shape[1:])
    rows = (2 * (y + bottom)[:, np.newaxis] - np.arange(ny)).clip(0, ny - 1)
    columns = (2 * (x + left)[:, np.newaxis] - np.arange(nx)).clip(0, nx - 1)
    return np.arange(n)[:, np.newaxis, np.newaxis], rows[:, :, np.newaxis], columns[:, np.newaxis]


def _rings(light):
    """Return the number of the ring in which each pixel lies, RINGS for none."""
    y, x = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in light.shape[1:])
    total = light.sum(axis=(1, 2))
    is_seen = total > 0
    light = light / np.where(is_seen, total, 1)[:, np.newaxis, np.newaxis]
    rows, columns = light.sum(axis=2), light.sum(axis=1)
    # Unlike a product of matrices, vecdot gives the same result in any batch.
    centre_x, centre_y = np.vecdot(columns, x), np.vecdot(rows, y)
    # A single pixel has the moment 1 / 12.
    xx = np.where(is_seen, np.vecdot(columns, x**2) - centre_x**2, 0) + 1 / 12
    yy = np.where(is_seen, np.vecdot(rows, y**2) - centre_y**2, 0) + 1 / 12
    xy = np.vecdot(np.vecdot(light, x), y) - centre_x * centre_y
    area = np.sqrt(np.maximum(xx * yy - xy**2, 1 / 144))
    xx, yy, xy = (np.expand_dims(moment / area, (1, 2)) for moment in (xx, yy, xy))
    x, y = x - centre_x[:, np.newaxis, np.newaxis], y[:, np.newaxis] - centre_y[:, None, None]
    squared = yy * x**2 + xx * y**2 - 2 * xy * x * y
    ring_of = _ring_of_squared_radius(min(light.shape[1:]))
    return ring_of[squared.clip(0, len(ring_of) - 1).astype(np.intp)]


@functools.cache
def _ring_edges(side):
    return np.geomspace(INNER, OUTER * side, RINGS + 1)


@functools.cache
def _ring_of_squared_radius(side):
    """Return the ring of each squared radius in pixels, RINGS if there is none."""
    radius = np.sqrt(np.arange(np.ceil((OUTER * side) ** 2) + 1) + 0.5)
    ring = np.searchsorted(_ring_edges(side), radius) - 1
    return np.where((ring >= 0) & (ring < RINGS), ring, RINGS)


@functools.cache
def _profiles(side):
    """
    Compute the profiles in cutouts of a side.

    Returns
    -------
    profiles : ndarray, shape (n_profiles, RINGS)
        Their means in the rings, 1 in the first one.
    at_border : ndarray, shape (n_profiles,)
        Their values at half a side.
    sizes : ndarray, shape (n_profiles,)
        Their half-light radii.
    """
    edges = _ring_edges(side)[:, np.newaxis]
    # Radii in the middle of parts of a ring that have the same area.
    part = (np.arange(SUBSTEPS) + 0.5) / SUBSTEPS
    radius = np.sqrt(edges[:-1] ** 2 * (1 - part) + edges[1:] ** 2 * part)
    sizes = np.exp(np.arange(0, np.log(LARGEST * side), np.log(SIZE_STEP)))
    index = np.repeat(INDICES, len(sizes))
    sizes = np.tile(sizes, len(INDICES))

    def sersic(radius):
        index_, sizes_ = (np.expand_dims(value, axis=(1, 2)) for value in (index, sizes))
        return np.exp(-gammaincinv(2 * index_, 0.5) * (radius / sizes_) ** (1 / index_))

    profiles = sersic(radius).mean(axis=2)
    at_border = sersic(np.full((1, 1), side / 2))[:, 0, 0]
    first = profiles[:, 0].clip(TINY)
    return profiles / first[:, np.newaxis], at_border / first, sizes


def _ring_statistics(images, is_used, is_galaxy, rings):
    """Return number and mean of the pixels in each ring, and the scatter of the sky in them."""
    n, n_bands = images.shape[:2]
    # For each image, first the rings of the sky, then those of the galaxy, then all other pixels.
    n_bins = 2 * RINGS + 1
    bins = np.where(rings < RINGS, rings + RINGS * is_galaxy, 2 * RINGS)[:, np.newaxis]
    bins = np.where(is_used, bins, 2 * RINGS)
    bins += n_bins * np.arange(n * n_bands).reshape(n, n_bands, 1, 1)
    pixels = np.nan_to_num(images).ravel().astype(float)
    n_pixels, total, squares = (
        np.bincount(bins.ravel(), weights, minlength=n * n_bands * n_bins)
        .reshape(n, n_bands, n_bins)[..., :-1]
        .reshape(n, n_bands, 2, RINGS)
        for weights in (None, pixels, pixels**2)
    )
    sky = n_pixels[:, :, 0], total[:, :, 0], squares[:, :, 0]
    residual = np.sum(sky[2] - sky[1] ** 2 / sky[0].clip(1), axis=-1)
    n_free = np.sum((sky[0] - 1).clip(0), axis=-1)
    scatter = np.sqrt(residual.clip(0) / np.where(n_free > 0, n_free, np.nan))
    n_pixels = n_pixels.sum(axis=2)
    return n_pixels, total.sum(axis=2) / n_pixels.clip(1), scatter


def _fit_profiles(light, weight, profiles):
    """Return sky, amplitude, variance of the sky and chi squared of each profile."""
    ones, square = np.ones_like(profiles[:1]), profiles**2
    w, wy, wyy = ((weight * power) @ ones.T for power in (1, light, light**2))
    wf, wff, wfy = weight @ profiles.T, weight @ square.T, (weight * light) @ profiles.T
    w = w.clip(TINY)
    determinant = (w * wff - wf**2).clip(TINY)
    # The amplitude is a normal variable of which the negative part is cut off.
    free, scale = (w * wfy - wf * wy) / determinant, np.sqrt(w / determinant)
    ratio = free / scale
    hazard = np.sqrt(2 / np.pi) / erfcx(-ratio / np.sqrt(2))
    amplitude = free + scale * hazard
    kept = 1 - hazard * (hazard + ratio)
    sky = (wy - amplitude * wf) / w
    variance = 1 / w + (wf / w * scale) ** 2 * kept.clip(0)
    best = np.maximum(free, 0)
    best_sky = (wy - best * wf) / w
    chi2 = wyy - best_sky * wy - best * wfy
    return sky, amplitude, variance, chi2
