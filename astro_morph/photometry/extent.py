# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Measure flux, size and noise of galaxies, and find those outside the range of a training."""

import numpy as np

from astro_morph.photometry.brightness import measure_brightness
from astro_morph.photometry.segmentation import quantiles

__all__ = ['PROPERTIES', 'extent_of', 'find_outside', 'measure_extent']

#: The properties, in the order of the columns.
PROPERTIES = ('magnitude', 'size', 'noise')

# With fewer galaxies, the range is not known.
FEWEST = 100

# The range holds 99 % of the training galaxies, widened by a tenth of itself on both sides: beyond
# it are fewer than 1 in 100 galaxies like them.
ENDS = (0.005, 0.995)
MARGIN = 0.1

# Pixels at the border, as a fraction of the side, whose median is the sky.
BORDER = 0.1


def measure_extent(images):
    """
    Measure logarithms of flux, size and noise of galaxies in the middle of images.

    Flux is the light within the largest circle of the image, summed over the bands; size is the
    radius of half of it.

    Parameters
    ----------
    images : ndarray, shape (n, band, y, x)
        The images; NaN where there is no pixel.

    Returns
    -------
    extent : ndarray, shape (n, 3)
        Natural logarithms of ``PROPERTIES``: of flux in the unit of the images, of pixels, and of
        the noise of a pixel. NaN where one can't be measured, -inf for no flux.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.extent import measure_extent
    >>> y, x = np.mgrid[-20:21, -20:21]
    >>> disk = (np.hypot(x, y) < 8)[np.newaxis, np.newaxis].astype(float)
    >>> np.exp(measure_extent(disk))[0, :2].round()
    array([193.,   6.])
    """
    light = np.nansum(images, axis=1, dtype=float)
    ny, nx = light.shape[1:]
    y, x = np.indices((ny, nx))
    radius = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2)
    width = max(1, round(BORDER * min(ny, nx)))
    is_border = np.minimum(np.minimum(x, nx - 1 - x), np.minimum(y, ny - 1 - y)) < width
    light = light - np.median(light[:, is_border], axis=1)[:, np.newaxis, np.newaxis]
    rings = np.arange(1, min(ny, nx) // 2 + 1)
    is_inside = (radius.ravel()[:, np.newaxis] <= rings).astype(float)
    inside = light.reshape(len(light), -1) @ is_inside
    flux = inside[:, -1]
    is_half = inside >= flux[:, np.newaxis] / 2
    size = np.where(flux > 0, rings[is_half.argmax(axis=1)], np.nan)
    noise = quantiles(measure_brightness(images, 'flux'), [0.5])[0]
    flux = np.where(np.isfinite(images).any(axis=(1, 2, 3)), np.maximum(flux, 0), np.nan)
    with np.errstate(divide='ignore'):
        return np.log(np.transpose([flux, size, noise]))


def extent_of(extent):
    """
    Return the range of a training.

    Parameters
    ----------
    extent : ndarray, shape (n, 3)
        What `measure_extent` returned for its galaxies.

    Returns
    -------
    known : dict or None
        ``low`` and ``high``, each a list of the logarithms of ``PROPERTIES``, with None where not
        known; None if there are fewer than a hundred galaxies.
    """
    if len(extent) < FEWEST:
        return None
    # No flux is no number that says where the range ends.
    low, high = quantiles(np.where(np.isfinite(extent), extent, np.nan).T, ENDS)
    margin = MARGIN * (high - low)
    return {
        name: [float(value) if np.isfinite(value) else None for value in end]
        for name, end in (('low', low - margin), ('high', high + margin))
    }


def find_outside(images, known):
    """
    Find galaxies outside the range of a training.

    Parameters
    ----------
    images : ndarray, shape (n, band, y, x)
        The images.
    known : dict
        The range, as `extent_of` returns it.

    Returns
    -------
    is_outside : ndarray of bool, shape (n, 3)
        Whether each of ``PROPERTIES`` is outside.
    """
    extent = measure_extent(images)
    low, high = (np.array(known[end], float) for end in ('low', 'high'))
    return (extent < low) | (extent > high)
