# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Measure the brightness of images, and compare it with that of the images of a training."""

import warnings

import numpy as np

from astro_morph.photometry.segmentation import quantiles

__all__ = ['brightness_range', 'compare_brightness', 'measure_brightness', 'range_around']

# Nearby pixels differ by noise, and less by light. Where a galaxy fills the image, it is the
# quietest pairs that show the noise: this quantile of the differences, in units of the noise.
QUANTILE = 0.25
OF_NOISE = 0.4506

# The range of a training holds at least this on both sides of the median, and 98 % of the images;
# beyond it, images are as bright as known up to the margin. Both are natural logarithms, of the
# noise of flux or of the odds of a mean pixel of a picture. In 11 sets of pictures of the sky, 99 %
# are within 2.4 of the median. Together they are a factor of 13: depth varies less within a survey,
# and units differ by more.
SPREAD = 1.5
MARGIN = 1.1

# Largest pixel value of a picture.
WHITE = 255


def measure_brightness(images, kind):
    """
    Measure the brightness of images, by which another unit shows.

    Parameters
    ----------
    images : ndarray, shape (n, band, y, x)
        The images; NaN where there is no pixel.
    kind : {'flux', 'picture'}
        Whether they are linear in flux or pictures.

    Returns
    -------
    brightness : ndarray, shape (n, n_bands) or (n, 1)
        For flux the noise of a pixel in each band, for pictures the mean of all pixels. NaN if it
        can't be measured.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.brightness import measure_brightness
    >>> images = np.random.default_rng(0).normal(scale=0.1, size=(1, 2, 64, 64))
    >>> measure_brightness(images, 'flux').round(1)
    array([[0.1, 0.1]])
    """
    if kind == 'picture':
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Mean of empty slice', RuntimeWarning)
            return np.nanmean(images, axis=(1, 2, 3), dtype=float)[:, np.newaxis]
    with np.errstate(over='ignore', invalid='ignore'):
        difference = np.abs(images[..., ::2, 2:] - images[..., ::2, :-2])[..., ::2]
    # Equal pixels are padding, or rounded.
    difference = np.where(difference > 0, difference, np.nan)
    return quantiles(difference.reshape(*images.shape[:2], -1), [QUANTILE])[0] / OF_NOISE


def brightness_range(brightness, kind):
    """
    Return the range of brightness that a training knows.

    Parameters
    ----------
    brightness : ndarray, shape (n, m)
        The brightness of the training images, as `measure_brightness` returns it.
    kind : {'flux', 'picture'}
        The kind of the images.

    Returns
    -------
    known : dict
        ``low`` and ``high``, each a list of m floats; None where it is not known.
    """
    position = _scale(brightness, kind)
    low, middle, high = quantiles(position.T, [0.01, 0.5, 0.99])
    ends = np.minimum(low, middle - SPREAD), np.maximum(high, middle + SPREAD)
    return _as_dict(ends, kind)


def range_around(brightness, kind):
    """Return the range of a training of which only the typical brightness, shape (m,), is known."""
    middle = _scale(brightness, kind)
    return _as_dict((middle - SPREAD, middle + SPREAD), kind)


def compare_brightness(images, kind, known):
    """
    Compare the brightness of images with that of a training.

    Parameters
    ----------
    images : ndarray, shape (n, band, y, x)
        The images.
    kind : {'flux', 'picture'}
        Their kind.
    known : dict
        The range of the training, as `brightness_range` returns it.

    Returns
    -------
    ratio : ndarray, shape (n,)
        Median over the bands of the brightness, in units of the middle of the range.
    is_other : ndarray of bool, shape (n,)
        Whether a band is far outside the range.
    """
    brightness = measure_brightness(images, kind)
    low, high = (np.array(known[end], float) for end in ('low', 'high'))
    position, low_end, high_end = (_scale(values, kind) for values in (brightness, low, high))
    is_other = (position < low_end - MARGIN) | (position > high_end + MARGIN)
    middle = _unscale((low_end + high_end) / 2, kind)
    return quantiles(brightness / middle, [0.5])[0], is_other.any(axis=1)


def _scale(brightness, kind):
    """Return the logarithm of the noise, or of the odds of a mean pixel."""
    brightness = np.asarray(brightness, float)
    with np.errstate(divide='ignore'):
        if kind == 'flux':
            return np.log(brightness)
        fraction = np.clip(brightness / WHITE, 0, 1)
        return np.log(fraction) - np.log1p(-fraction)


def _unscale(position, kind):
    with np.errstate(over='ignore'):
        return np.exp(position) if kind == 'flux' else WHITE / (1 + np.exp(-position))


def _as_dict(ends, kind):
    values = (_unscale(end, kind) for end in ends)
    return {
        name: [float(v) if np.isfinite(v) else None for v in end]
        for name, end in zip(('low', 'high'), values, strict=True)
    }
