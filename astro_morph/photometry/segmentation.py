# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which pixels of a cutout belong to the galaxy, which to its neighbours, and which are sky."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter, label, maximum_filter

__all__ = ['detect', 'grow', 'quantiles', 'segment', 'signal_to_noise', 'smooth']

# Width of the filter in pixels: a FWHM of 3, near that of the seeing in ground-based images.
SMOOTHING = 1.27

# The noise that the filter leaves, 0.22 of that of a pixel where pixels are independent and up to
# all of it where a resampling has correlated them, is read from two quantiles of the pixels, so low
# that a galaxy over half of a cutout hardly moves them; and where they lie in a Gaussian. At least,
# it is that of images without any.
QUANTILES = (0.03, 0.1)
SIGMAS = (-1.8808, -1.2816)
LEAST_NOISE = 1e-3

# A source is so many times brighter than the noise, and what is fainter may still lead from one to
# the next: the lumps of a halo are no sources.
THRESHOLD = 4.5
FAINT = 3.0

# Pixels of the smallest source: fewer are noise.
SMALLEST = 5

# A source is central if it has a pixel as near to the centre as this part of the side: positions
# of galaxies with bright knots are off by a few pixels.
REACH = 1 / 16

# A peak that rises above the way to a higher one by less, in units of the noise, is noise.
LEAST_RISE = 4.0

# Connects the pixels of one cutout, and not those of the next.
IN_ONE_CUTOUT = np.zeros((3, 3, 3), bool)
IN_ONE_CUTOUT[1] = True

# Steps (y, x) to the eight neighbours of a pixel; the last four lead to each pair once.
STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def signal_to_noise(images, noise):
    r"""
    Sum the bands to the image in which sources are searched.

    With :math:`x_b` the flux and :math:`\sigma_b` the noise of the B bands that a pixel has, it is
    :math:`\sum_b x_b / \sigma_b / \sqrt B`, whose noise is 1.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux, without sky; NaN where there is no pixel.
    noise : array_like, shape (n, band) or (band,)
        Noise of a pixel.

    Returns
    -------
    signal : ndarray of float32, shape (n, y, x)
        The image; zero where no band has a pixel.
    """
    noise = np.asarray(noise, np.float32)[..., np.newaxis, np.newaxis]
    is_known = np.isfinite(images) & (noise > 0)
    signal = np.where(is_known, images, np.float32(0)) / np.where(noise > 0, noise, 1)
    n_bands = is_known.sum(axis=1, dtype=np.float32)
    return signal.sum(axis=1, dtype=np.float32) / np.sqrt(n_bands.clip(1))


def smooth(signal):
    """
    Smooth an image by the width of the seeing, so that faint sources stand out.

    Parameters
    ----------
    signal : ndarray of float32, shape (n, y, x)
        The image of `signal_to_noise`.

    Returns
    -------
    signal : ndarray of float32, shape (n, y, x)
        The smooth image, in units of the noise that is left in it.
    """
    signal = gaussian_filter(signal, (0, SMOOTHING, SMOOTHING))
    low, high = quantiles(signal.reshape(len(signal), math.prod(signal.shape[1:])), QUANTILES)
    noise = (high - low) / np.float32(SIGMAS[1] - SIGMAS[0])
    # No more than there was before.
    return signal / noise.clip(LEAST_NOISE, 1)[:, np.newaxis, np.newaxis]


def quantiles(values, probabilities):
    """
    Give quantiles of the last axis.

    Parameters
    ----------
    values : ndarray, shape (..., n)
        The values; NaN where there is none.
    probabilities : sequence of float
        Which quantiles.

    Returns
    -------
    quantiles : ndarray, shape (n_probabilities, ...)
        The values next above them; NaN where there is no value at all.
    """
    # Ten times as fast as numpy's; NaNs are sorted to the end.
    values = np.sort(values)
    n_known = np.isfinite(values).sum(axis=-1, keepdims=True)
    rank = (np.asarray(probabilities) * n_known).astype(int)
    return np.moveaxis(np.take_along_axis(values, rank, axis=-1), -1, 0)


def detect(signal):
    """
    Find the pixels of all sources.

    Parameters
    ----------
    signal : ndarray of float32, shape (n, y, x)
        The image of `smooth`.

    Returns
    -------
    is_source : ndarray of bool, shape (n, y, x)
        Where a source is.
    """
    # All cutouts at once, which is as fast as one.
    labels, _ = label(signal > THRESHOLD, IN_ONE_CUTOUT)
    is_source = np.bincount(labels.ravel(), minlength=1) >= SMALLEST
    is_source[0] = False
    return is_source[labels]


def grow(mask, pixels):
    """
    Enlarge the masks of cutouts.

    Parameters
    ----------
    mask : ndarray of bool, shape (n, y, x)
        The masks.
    pixels : int
        By how many pixels.

    Returns
    -------
    mask : ndarray of bool, shape (n, y, x)
        The larger masks.
    """
    return maximum_filter(mask.view(np.uint8), (1, 2 * pixels + 1, 2 * pixels + 1)).view(bool)


def segment(images, noise, *, saddle=0.8):
    """
    Tell the galaxy at the centre of each cutout from its neighbours and from the sky.

    Two peaks that touch are two sources if the light falls, on the brightest way from one to the
    other, below a share of the fainter peak. What is between belongs to the peak to which the
    steepest ascent leads. This finds faint galaxies beside bright stars as it finds faint stars
    beside bright galaxies, and takes fewer arms off spirals than deblending by levels does.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux, without sky; NaN where there is no pixel.
    noise : array_like, shape (n, band) or (band,)
        Noise of a pixel.
    saddle : float, optional
        The share of the peak: at 0.8, half of all mergers are taken apart; at 0.4 hardly one, but
        only stars that are bright or outside of the galaxy's body are told from it; at 0 nothing
        that touches is.

    Returns
    -------
    segments : ndarray of int, shape (n, y, x)
        0 for sky, 1 for the central source, 2 and more for the others; all zero in cutouts
        without a source at the centre.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.segmentation import segment
    >>> images = np.random.default_rng(0).normal(size=(1, 2, 32, 32))
    >>> images[0, :, 13:18, 12:19] += 5
    >>> images[0, :, 24:28, 2:6] += 9
    >>> segments = segment(images, noise=[1, 1])
    >>> print(segments[0, 16, 16], segments[0, 26, 4], segments[0, 5, 5])
    1 2 0
    """
    signal = smooth(signal_to_noise(images, noise))
    is_source = detect(signal)
    peaks = _merge(signal, _climb(signal, is_source | (signal > FAINT)), saddle)
    return _central_first(_number(np.where(is_source, peaks, -1)))


def _climb(signal, is_light):
    """Follow the steepest ascent; give the flat index of the peak it leads to, -1 for sky."""
    n, ny, nx = signal.shape
    framed = np.full((n, ny + 2, nx + 2), -np.inf, np.float32)
    framed[:, 1:-1, 1:-1] = np.where(is_light, signal, -np.inf)
    highest = framed[:, 1:-1, 1:-1].copy()
    step = np.zeros(signal.shape, int)
    for dy, dx in STEPS:
        beside = framed[:, 1 + dy : 1 + dy + ny, 1 + dx : 1 + dx + nx]
        step[beside > highest] = dy * nx + dx
        np.maximum(highest, beside, out=highest)
    above = np.arange(signal.size) + step.ravel()
    # Each turn doubles the distance that is climbed.
    while not np.array_equal(above, further := above[above]):
        above = further
    return np.where(is_light, above.reshape(signal.shape), -1)


def _merge(signal, peaks, saddle):
    """Join peaks to higher ones, from the highest pass between two of them down."""
    first, second, height = _passes(signal, peaks)
    flat = signal.ravel()
    joined = np.arange(signal.size)

    def top(peak):
        while joined[peak] != peak:
            peak = joined[peak]
        return peak

    for one, other, pass_height in zip(first, second, height, strict=True):
        high, low = sorted((top(one), top(other)), key=flat.__getitem__, reverse=True)
        rise = flat[low] - pass_height
        if pass_height > saddle * flat[low] or rise < LEAST_RISE:
            joined[low] = high
    # As deep as the longest row of peaks that were joined to each other.
    while not np.array_equal(joined, further := joined[joined]):
        joined = further
    return np.where(peaks >= 0, joined[peaks], -1)


def _passes(signal, peaks):
    """Give the pairs of peaks that touch and the height of the pass between, highest first."""
    ny, nx = signal.shape[1:]
    pairs = []
    for dy, dx in STEPS[4:]:
        here = np.s_[:, : ny - dy, max(-dx, 0) : nx - max(dx, 0)]
        there = np.s_[:, dy:, max(dx, 0) : nx + min(dx, 0)]
        touch = (peaks[here] != peaks[there]) & (peaks[here] >= 0) & (peaks[there] >= 0)
        height = np.minimum(signal[here][touch], signal[there][touch])
        pairs.append((peaks[here][touch], peaks[there][touch], height))
    one, other, height = map(np.concatenate, zip(*pairs, strict=True))
    highest_first = np.argsort(-height, kind='stable')
    pair = np.minimum(one, other) * signal.size + np.maximum(one, other)
    _, is_pass = np.unique(pair[highest_first], return_index=True)
    rows = highest_first[np.sort(is_pass)]
    return one[rows].tolist(), other[rows].tolist(), height[rows].tolist()


def _number(peaks):
    """Give the sources of each cutout the numbers from 1 on, and the sky 0."""
    is_top = np.zeros(peaks.size + 1, int)
    is_top[peaks[peaks >= 0]] = 1
    labels = np.where(peaks >= 0, np.cumsum(is_top)[peaks], 0)
    last = np.maximum.accumulate(labels.max(axis=(1, 2), initial=0))
    before = np.append(0, last)[:-1, np.newaxis, np.newaxis]
    return np.where(labels > 0, labels - before, 0)


def _central_first(labels):
    """Give the label 1 to the source at the centre, and shift those of the others."""
    n, ny, nx = labels.shape
    y, x = np.ogrid[:ny, :nx]
    distance = np.hypot(y - (ny - 1) / 2, x - (nx - 1) / 2)
    is_near = distance <= max(REACH * min(ny, nx), 1)
    nearest_first = np.argsort(distance[is_near], kind='stable')
    near = labels[:, is_near][:, nearest_first]
    central = near[np.arange(n), np.argmax(near > 0, axis=1)][:, np.newaxis, np.newaxis]
    others = labels + ((labels > 0) & (labels < central))
    return np.where(central > 0, np.where(labels == central, labels > 0, others), 0)
