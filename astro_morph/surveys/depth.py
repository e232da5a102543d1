# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Convert between the noise of a pixel and the depth of a survey."""

import astropy.units as u
import numpy as np

__all__ = ['depth_of_noise', 'flux_of', 'noise_of_depth']


def flux_of(magnitude):
    """Return the flux of AB magnitudes in nanomaggies."""
    return 10 ** (-0.4 * (np.asarray(magnitude) - 22.5))


def noise_of_depth(depth, psf_fwhm, pixel_scale):
    """
    Return the noise of a pixel from the depth of point sources.

    The flux error of a point source is the pixel noise times the square root of the effective
    number of noise pixels, 4 pi sigma^2 for a Gaussian of standard deviation sigma pixels
    (King 1983, PASP 95, 163).

    Parameters
    ----------
    depth : float or array_like
        AB magnitude of a point source whose flux is 5 times its error.
    psf_fwhm : `~astropy.units.Quantity`
        Full width at half maximum of the point-spread function.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel.

    Returns
    -------
    noise : `~numpy.ndarray`
        Standard deviation of a pixel in nanomaggies.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_morph.surveys.depth import noise_of_depth
    >>> float(round(noise_of_depth(23.4, 1.18 * u.arcsec, 0.262 * u.arcsec), 4))
    0.0129
    """
    return flux_of(depth) / 5 / np.sqrt(_n_pixels(psf_fwhm, pixel_scale))


def depth_of_noise(noise, psf_fwhm, pixel_scale):
    """Return the 5 sigma depth of point sources in AB magnitudes, see `noise_of_depth`."""
    return 22.5 - 2.5 * np.log10(5 * noise * np.sqrt(_n_pixels(psf_fwhm, pixel_scale)))


def _n_pixels(psf_fwhm, pixel_scale):
    """Return the effective number of noise pixels of a Gaussian."""
    sigma = (psf_fwhm / pixel_scale).to_value(u.one) / np.sqrt(8 * np.log(2))
    return 4 * np.pi * sigma**2
