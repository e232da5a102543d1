# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Named sky surveys: their bands, pixel scale, zero point, seeing and noise."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

__all__ = ['SURVEYS', 'Survey', 'get']


@dataclass(frozen=True, eq=False)
class Survey:
    """
    What the images of a survey are like.

    Fluxes are in nanomaggies: a source of AB magnitude ``zero_point`` has flux 1.

    Parameters
    ----------
    name : str
        Name of the survey.
    bands : tuple of str
        The bands, from blue to red.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel.
    psf_fwhm : `~astropy.units.Quantity`
        Full width at half maximum of the point-spread function, one a band.
    sky_noise : `~numpy.ndarray`
        Standard deviation of one pixel of empty sky in nanomaggies, one a band.
    rgb : tuple of str
        The three bands of a colour picture, red first.
    zero_point : float, optional
        AB magnitude of a flux of one.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> sdss = surveys.get('sdss')
    >>> sdss.bands
    ('u', 'g', 'r', 'i', 'z')
    >>> sdss.pixel_scale
    <Quantity 0.396 arcsec>
    """

    name: str
    bands: tuple
    pixel_scale: u.Quantity
    psf_fwhm: u.Quantity
    sky_noise: np.ndarray
    rgb: tuple
    zero_point: float = 22.5


def get(name):
    """
    Look up a survey by name.

    Parameters
    ----------
    name : str or `Survey`
        One of the names in ``SURVEYS``, in any case; a `Survey` is given back as it is.

    Returns
    -------
    survey : `Survey`
        The survey.

    Raises
    ------
    ValueError
        If no survey has this name.
    """
    if isinstance(name, Survey):
        return name
    try:
        return SURVEYS[name.lower()]
    except (AttributeError, KeyError):
        msg = f'survey must be a Survey or one of {sorted(SURVEYS)}, got {name!r}'
        raise ValueError(msg) from None


def _sky_noise(depth, psf_fwhm, pixel_scale, zero_point=22.5):
    """
    Noise of one pixel from the 5 sigma depth of a point source.

    The flux error of a point source is the pixel noise times the square root of the effective
    number of noise pixels, 4 pi sigma^2 for a Gaussian of standard deviation sigma pixels
    (King 1983, PASP 95, 163).
    """
    sigma = (psf_fwhm / pixel_scale).to_value(u.one) / np.sqrt(8 * np.log(2))
    flux_error = 10 ** (-0.4 * (np.asarray(depth) - zero_point)) / 5
    return flux_error / np.sqrt(4 * np.pi * sigma**2)


# Noise: standard deviation of the sky-subtracted field 2820-3-122, sources clipped. Seeing: the
# medians of the imaging, Data Release 12 (Alam et al. 2015, ApJS 219, 12).
_SDSS = Survey(
    name='sdss',
    bands=('u', 'g', 'r', 'i', 'z'),
    pixel_scale=0.396 * u.arcsec,
    psf_fwhm=[1.53, 1.44, 1.32, 1.26, 1.29] * u.arcsec,
    sky_noise=np.array([0.042, 0.016, 0.026, 0.040, 0.163]),
    rgb=('i', 'r', 'g'),
)

# Design depths in g, r, z (Dey et al. 2019, AJ 157, 168), taken as those of point sources; their
# median seeing for DECaLS. The i band, added in Data Release 10, is put half-way from r to z.
_LEGACY_FWHM = [1.29, 1.18, 1.15, 1.11] * u.arcsec
_LEGACY = Survey(
    name='legacy',
    bands=('g', 'r', 'i', 'z'),
    pixel_scale=0.262 * u.arcsec,
    psf_fwhm=_LEGACY_FWHM,
    sky_noise=_sky_noise([24.0, 23.4, 23.0, 22.5], _LEGACY_FWHM, 0.262 * u.arcsec),
    rgb=('z', 'r', 'g'),
)

# Mean depths of point sources in the 3 pi stacks, and median seeing (Chambers et al. 2016,
# arXiv:1612.05560).
_PANSTARRS_FWHM = [1.31, 1.19, 1.11, 1.07, 1.02] * u.arcsec
_PANSTARRS = Survey(
    name='panstarrs',
    bands=('g', 'r', 'i', 'z', 'y'),
    pixel_scale=0.25 * u.arcsec,
    psf_fwhm=_PANSTARRS_FWHM,
    sky_noise=_sky_noise([23.3, 23.2, 23.1, 22.3, 21.4], _PANSTARRS_FWHM, 0.25 * u.arcsec),
    rgb=('i', 'r', 'g'),
)

#: The surveys that are known by name.
SURVEYS = {survey.name: survey for survey in (_SDSS, _LEGACY, _PANSTARRS)}
