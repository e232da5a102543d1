# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Segment cutouts into galaxy, neighbours and sky: detection and deblending of sources."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter, label, maximum_filter

__all__ = [
    'central_label',
    'detect',
    'grow',
    'quantiles',
    'segment',
    'signal_to_noise',
    'smooth',
]

# Standard deviation of the filter in pixels: a FWHM of 3, about that of ground-based seeing.
SMOOTHING = 1.27

# The noise after filtering is 0.22 of that before if pixels are independent, and up to all of it if
# resampling has correlated them. It is estimated from two quantiles of the pixels, so low that a
# galaxy over half of the cutout hardly changes them, and their positions in a standard normal
# distribution. The lower limit is for images without noise.
QUANTILES = (0.03, 0.1)
SIGMAS = (-1.8808, -1.2816)
LEAST_NOISE = 1e-3

# Signal-to-noise ratio of the pixels of a source; and of pixels that may connect two sources, so
# that the clumps of a halo are not separate sources.
THRESHOLD = 4.5
FAINT = 3.0

# Largest signal-to-noise ratio of a pixel: sums of its square over a cutout are float32 numbers.
BRIGHTEST = 1e12

# Number of pixels of the smallest source.
SMALLEST = 5

# The central source has a pixel within this fraction of the side of the centre: positions of
# galaxies with bright knots are off by a few pixels.
REACH = 1 / 16

# A peak is noise if it rises less than this, in units of the noise, above the saddle to a higher
# peak.
LEAST_RISE = 4.0

# Connects the pixels of one cutout, but not those of two.
IN_ONE_CUTOUT = np.zeros((3, 3, 3), bool)
IN_ONE_CUTOUT[1] = True

# Steps (y, x) to the eight neighbours of a pixel; the last four reach each pair of pixels once.
STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def signal_to_noise(images, noise):
    r"""
    Combine the bands into the image in which sources are detected.

    With flux :math:`x_b` and noise :math:`\sigma_b` in the B bands in which a pixel is known, it is
    :math:`\sum_b x_b / \sigma_b / \sqrt B`, which has unit noise.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Sky-subtracted cutouts in flux; NaN in missing pixels.
    noise : array_like, shape (n, band) or (band,)
        Noise of a pixel.

    Returns
    -------
    signal : ndarray of float32, shape (n, y, x)
        The image; zero where all bands are missing.
    """
    noise = np.asarray(noise, np.float32)[..., np.newaxis, np.newaxis]
    is_known = np.isfinite(images) & (noise > 0)
    with np.errstate(over='ignore', invalid='ignore'):
        signal = images / np.where(noise > 0, noise, 1)
    signal[~is_known] = 0
    signal = signal.clip(-BRIGHTEST, BRIGHTEST)
    n_bands = is_known.sum(axis=1, dtype=np.float32)
    return signal.sum(axis=1, dtype=np.float32) / np.sqrt(n_bands.clip(1))


def smooth(signal):
    """
    Smooth an image with a filter of the width of the seeing, to detect faint sources.

    Parameters
    ----------
    signal : ndarray of float32, shape (n, y, x)
        The image returned by `signal_to_noise`.

    Returns
    -------
    signal : ndarray of float32, shape (n, y, x)
        The smoothed image, in units of its noise.
    """
    signal = gaussian_filter(signal, (0, SMOOTHING, SMOOTHING))
    low, high = quantiles(signal.reshape(len(signal), math.prod(signal.shape[1:])), QUANTILES)
    noise = (high - low) / np.float32(SIGMAS[1] - SIGMAS[0])
    # Smoothing does not increase the noise.
    return signal / noise.clip(LEAST_NOISE, 1)[:, np.newaxis, np.newaxis]


def quantiles(values, probabilities):
    """
    Compute quantiles along the last axis.

    Parameters
    ----------
    values : ndarray, shape (..., n)
        The values; NaN where they are missing.
    probabilities : sequence of float
        Probabilities of the quantiles, from 0 to 1.

    Returns
    -------
    quantiles : ndarray, shape (n_probabilities, ...)
        The next higher values; NaN if all values are missing.
    """
    n_known = np.isfinite(values).sum(axis=-1, keepdims=True)
    rank = (np.asarray(probabilities) * n_known).astype(int)
    # Many times faster than numpy.nanquantile; NaNs come last.
    values = np.partition(values, np.unique(rank))
    return np.moveaxis(np.take_along_axis(values, rank, axis=-1), -1, 0)


def detect(signal):
    """
    Detect the pixels of all sources.

    Parameters
    ----------
    signal : ndarray of float32, shape (n, y, x)
        The image returned by `smooth`.

    Returns
    -------
    is_source : ndarray of bool, shape (n, y, x)
        Whether a pixel belongs to a source.
    """
    # All cutouts at once takes as long as one.
    labels, _ = label(signal > THRESHOLD, IN_ONE_CUTOUT)
    is_source = np.bincount(labels.ravel(), minlength=1) >= SMALLEST
    is_source[0] = False
    return is_source[labels]


def grow(mask, pixels):
    """
    Grow masks by a number of pixels.

    Parameters
    ----------
    mask : ndarray of bool, shape (n, y, x)
        The masks.
    pixels : int
        Number of pixels on each side.

    Returns
    -------
    mask : ndarray of bool, shape (n, y, x)
        The grown masks.
    """
    return maximum_filter(mask.view(np.uint8), (1, 2 * pixels + 1, 2 * pixels + 1)).view(bool)


def segment(images, noise, *, saddle=0.8, isophote=0):
    """
    Segment each cutout into the galaxy at its centre, neighbours and sky.

    Two connected peaks are two sources if the light at the saddle between them is below a fraction
    of the fainter peak, or below an isophote. The other pixels belong to the peak to which the
    steepest ascent leads. Compared with deblending by multiple thresholds, this detaches fewer
    spiral arms, and finds faint galaxies beside bright stars as well as faint stars beside bright
    galaxies.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Sky-subtracted cutouts in flux; NaN in missing pixels.
    noise : array_like, shape (n, band) or (band,)
        Noise of a pixel.
    saddle : float, default=0.8
        The fraction of the peak. With 0.8, half of all mergers are separated. With 0.4, hardly any
        merger is, but stars are separated only if they are bright or in the outskirts of the
        galaxy. With 0, connected sources are never separated.
    isophote : float, default=0
        Least signal-to-noise ratio, in the smoothed image, of the saddle between the peaks of one
        source.

    Returns
    -------
    segments : ndarray of int, shape (n, y, x)
        0 for sky, 1 for the central source, 2 and more for the others; all zero in cutouts
        without a central source.

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
    peaks = _climb(signal, is_source | (signal > FAINT))
    peaks = _merge(signal, peaks, saddle, isophote)
    return _central_first(_number(np.where(is_source, peaks, -1)))


def _climb(signal, is_light):
    """Return the flat index of the peak to which the steepest ascent leads, -1 for sky."""
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
    # Each iteration doubles the distance climbed.
    while not np.array_equal(above, further := above[above]):
        above = further
    return np.where(is_light, above.reshape(signal.shape), -1)


def _merge(signal, peaks, saddle, isophote):
    """Merge peaks into higher ones, from the highest saddle between two of them down."""
    first, second, height = _saddles(signal, peaks)
    flat = signal.ravel()
    joined = np.arange(signal.size)

    def top(peak):
        while joined[peak] != peak:
            peak = joined[peak]
        return peak

    for one, other, saddle_height in zip(first, second, height, strict=True):
        high, low = sorted((top(one), top(other)), key=flat.__getitem__, reverse=True)
        rise = flat[low] - saddle_height
        if saddle_height > max(saddle * flat[low], isophote) or rise < LEAST_RISE:
            joined[low] = high
    # As many iterations as the longest chain of merged peaks needs.
    while not np.array_equal(joined, further := joined[joined]):
        joined = further
    return np.where(peaks >= 0, joined[peaks], -1)


def _saddles(signal, peaks):
    """Return the pairs of connected peaks and the height of their saddles, highest first."""
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
    _, first = np.unique(pair[highest_first], return_index=True)
    rows = highest_first[np.sort(first)]
    return one[rows].tolist(), other[rows].tolist(), height[rows].tolist()


def _number(peaks):
    """Renumber the sources of each cutout from 1; the sky is 0."""
    is_top = np.zeros(peaks.size + 1, int)
    is_top[peaks[peaks >= 0]] = 1
    labels = np.where(peaks >= 0, np.cumsum(is_top)[peaks], 0)
    last = np.maximum.accumulate(labels.max(axis=(1, 2), initial=0))
    before = np.append(0, last)[:-1, np.newaxis, np.newaxis]
    return np.where(labels > 0, labels - before, 0)


def central_label(labels):
    """
    Return the label of the source nearest to the centre of each cutout.

    Parameters
    ----------
    labels : ndarray of int, shape (n, y, x)
        The label of the source that each pixel belongs to; 0 for sky.

    Returns
    -------
    label : ndarray of int, shape (n, 1, 1)
        The label; 0 in cutouts without a source near the centre.
    """
    n, ny, nx = labels.shape
    y, x = np.ogrid[:ny, :nx]
    distance = np.hypot(y - (ny - 1) / 2, x - (nx - 1) / 2)
    is_near = distance <= max(REACH * min(ny, nx), 1)
    nearest_first = np.argsort(distance[is_near], kind='stable')
    near = labels[:, is_near][:, nearest_first]
    return near[np.arange(n), np.argmax(near > 0, axis=1)][:, np.newaxis, np.newaxis]


def _central_first(labels):
    """Move the label 1 to the central source, and shift those of the others."""
    central = central_label(labels)
    others = labels + ((labels > 0) & (labels < central))
    return np.where(central > 0, np.where(labels == central, labels > 0, others), 0)
