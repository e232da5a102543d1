# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What is measured on the training cutouts for the stretch that a model carries."""

import warnings

import numpy as np
from astropy.stats import mad_std

__all__ = ['border_noise']

# Pixels at the rim of a cutout where there is mostly sky.
BORDER = 4


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
    >>> from astro_morph.preprocessing import border_noise
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
