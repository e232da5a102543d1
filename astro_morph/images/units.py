# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Understand the unit of an image: flux or surface brightness, AB zero point, asinh scaling."""

import re
import warnings
from functools import cache

import astropy.units as u
import numpy as np

__all__ = ['ImageUnit', 'linearise']

# Words in headers that astropy.units spells differently.
_SPELLINGS = {
    'MJY': 'MJy',
    'JY': 'Jy',
    'UJY': 'uJy',
    'NJY': 'nJy',
    'STERAD': 'sr',
    'STERADIAN': 'sr',
    'NANOMAGGIES': 'nmgy',
    'MAGGIES': 'mgy',
    'ANG': 'Angstrom',
    'SEC': 's',
    'ARCSECOND': 'arcsec',
}

# What a unit that can't be read is divided by.
_PER_ANGLE = re.compile(r'/ *(?:sr|arcsec|arcmin|beam)|(?:sr|arcsec|arcmin|beam) *\^?[{(]?-')

_AB_FLUX = (0 * u.ABmag).to(u.Jy)


class ImageUnit:
    """
    The unit of the pixels of an image.

    Flux per pixel grows with the area of the pixels. Surface brightness does not: flux per solid
    angle or per beam of a radio telescope, and brightness temperature.

    Parameters
    ----------
    text : str, default=''
        The unit, as BUNIT in a FITS header. A unit that is not known is flux per pixel.

    Attributes
    ----------
    is_surface_brightness : bool
        Whether it is surface brightness.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_morph.images.units import ImageUnit
    >>> ImageUnit('MJy/sr').is_surface_brightness
    True
    >>> round(ImageUnit('MJy/sr').zero_point(0.031 * u.arcsec), 2)
    28.02
    >>> ImageUnit('nanomaggy').zero_point(0.396 * u.arcsec)
    22.5
    """

    def __init__(self, text=''):
        self._unit = _parse(str(text))
        bases = self._unit.decompose()
        powers = dict(zip(bases.bases, bases.powers, strict=True))
        is_shared = powers.get(u.rad, 0) < 0 or powers.get(u.beam, 0) < 0
        self.is_surface_brightness = is_shared or powers.get(u.K, 0) == 1

    def zero_point(self, pixel_scale):
        """
        Return the AB magnitude of a value of one.

        Parameters
        ----------
        pixel_scale : `~astropy.units.Quantity`
            Angle a pixel, for all images or one each.

        Returns
        -------
        zero_point : float
            NaN if the unit is no flux density, or if it is surface brightness and the images have
            pixels of several sizes.
        """
        flux = 1 * self._unit
        if self.is_surface_brightness:
            scales = np.unique(pixel_scale[np.isfinite(pixel_scale)])
            flux = flux * scales[0] ** 2 if len(scales) == 1 else np.nan * u.Jy
        try:
            flux = flux.to(u.Jy, u.zero_point_flux(_AB_FLUX))
        except u.UnitConversionError:
            return np.nan
        # Without the round-off of conversions, nanomaggies have 22.5.
        return float(np.round(flux.to_value(u.ABmag), 9))

    @classmethod
    def of(cls, header):
        """Return the unit of the pixels of a FITS header after `linearise`."""
        is_calibrated = 'BSOFTEN' in header and 'EXPTIME' in header
        return cls('nanomaggy' if is_calibrated else header.get('BUNIT', ''))


def linearise(pixels, header):
    """
    Convert the asinh scaling of stacked Pan-STARRS images to flux; others are returned unchanged.

    With the keywords BSOFTEN and BOFFSET, a value v stands for the flux BOFFSET + 2 BSOFTEN sinh(v
    ln(10) / 2.5), whose zero point is 25 + 2.5 log10(EXPTIME)
    (https://outerspace.stsci.edu/display/PANSTARRS/PS1+Stack+images). Cutouts of the archive's own
    service have linear values, and no such keywords.

    Parameters
    ----------
    pixels : ndarray
        The values in the file.
    header : `~astropy.io.fits.Header`
        Its header.

    Returns
    -------
    pixels : ndarray
        Flux, in nanomaggies if the exposure time is known.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.images.units import linearise
    >>> header = {'BSOFTEN': 20.0, 'BOFFSET': 3.0, 'EXPTIME': 10.0}
    >>> linearise(np.array([0.0, 2.5]), header)  # fluxes of 3 and 201
    array([0.03, 2.01])
    """
    if 'BSOFTEN' not in header:
        return pixels
    with np.errstate(over='ignore'):
        sinh = np.sinh(np.asarray(pixels) * (np.log(10) / 2.5))
    flux = header.get('BOFFSET', 0) + 2 * header['BSOFTEN'] * sinh
    # Of the zero point 25 + 2.5 log10(EXPTIME), to that of nanomaggies.
    return flux / (10 * header['EXPTIME']) if header.get('EXPTIME') else flux


@cache
def _parse(text):
    """Return a unit; words that are not known, such as 'counts', are numbers."""
    text = text.replace('**', '^')
    text = re.sub(r'\b(?:sq|square)[. ]+([a-z]+)', r'\1^2', text, flags=re.IGNORECASE)
    text = re.sub(r'\bper\b', '/', text, flags=re.IGNORECASE)
    text = re.sub(r'[/.* ]*\bpix(?:el)?s?\b(?:\^?-1)?', '', text, flags=re.IGNORECASE)
    text = re.sub(r'\be-(?=[\s/]|$)', 'electron', text, flags=re.IGNORECASE)
    # Not the exponent of a number.
    text = re.sub(r'(?<![\d.a-z])[a-z]+', lambda word: _spell(word[0]), text, flags=re.IGNORECASE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', u.UnitsWarning)
            return u.Unit(text)
    except (ValueError, TypeError):
        return u.ct / u.sr if _PER_ANGLE.search(text) else u.ct


def _spell(word):
    if word != 'mjy':  # milli or mega
        lower = word.lower()
        for spelling in (word, _SPELLINGS.get(word.upper(), ''), lower, lower.removesuffix('s')):
            unit = u.Unit(spelling, parse_strict='silent')
            if isinstance(unit, u.NamedUnit) and not isinstance(unit, u.UnrecognizedUnit):
                return spelling
    return 'count'
