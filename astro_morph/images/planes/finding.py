# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the variance and the mask of an image among the extensions of its file."""

import re
from typing import NamedTuple

from astro_morph.images.companions import find_form, split_name
from astro_morph.images.planes.plane import PlaneValues

__all__ = ['FoundPlane', 'bad_bits', 'choose_planes', 'find_planes']

# What the variance is taken from where there are several. Weights are last: those of JWST and of
# some stacks are relative.
_VARIANCES = ('variance', 'inverse', 'error', 'weight')

# Names of the bits of bad pixels where a header names all bits: HSC and LSST (MP_*, in new files
# MSKN*), Pan-STARRS (MSKNAM*). Others mark what detection found, neighbourhoods of stars and
# galaxies, or repaired pixels, such as those of LSST from which a cosmic ray was removed
# (https://dp1.lsst.io/products/images/mask_planes.html).
_OF_LSST = {'BAD', 'SAT', 'NO_DATA', 'UNMASKEDNAN'}
_OF_PAN_STARRS = {
    *('DETECTOR', 'FLAT', 'DARK', 'BLANK', 'CTE', 'SAT', 'CR', 'SPIKE', 'GHOST', 'STREAK'),
    *('STARCORE', 'CONV.BAD'),
}

# Bits of the largest integers in FITS files, but for the sign.
_N_BITS = 63

# Bits of bad pixels in one band of the Legacy Surveys' maskbits (legacysurvey.org/dr10/bitmasks):
# saturated, or bad in all exposures.
_MASKBITS = {'g': 0x24, 'r': 0x48, 'z': 0x90, 'i': 0xC000}

# The place of an image on the sky, in pixels and degrees; extensions of the same pixels repeat it.
_PLACE = ('CRPIX1', 'CRPIX2', 'CRVAL1', 'CRVAL2')
_SAME_PLACE = 1e-6


class FoundPlane(NamedTuple):
    """An extension that holds a plane of an image: its number, and what its values are."""

    number: int
    values: PlaneValues


def find_planes(hdus, number, band=None):
    """
    Find the planes of an image among the extensions of its file.

    They have its shape and its place on the sky, and are recognised by their names: ``VARIANCE``,
    ``VAR``; ``INVVAR``, ``IVAR``, ``IVM``; ``ERR``, ``RMS``, ``SIGMA``; ``WHT``, ``WGT``,
    ``WEIGHT``, taken as inverse variances; ``MASK``, ``DQ``, ``FLAG``, ``MASKBITS``. Weights of
    AstroDrizzle are exposure times, and not used.

    Parameters
    ----------
    hdus : sequence of HDU
        Those of the file.
    number : int
        Number of the image.
    band : str, default=None
        Its band, if a mask has bits for each.

    Returns
    -------
    planes : dict of str to `FoundPlane`
        ``'variance'`` and ``'mask'``, those that there are; none beside what is no image itself.
    """
    image, found = hdus[number], {}
    if split_name(_name(image))[0] is not None:
        return {}
    for other, hdu in enumerate(hdus):
        form = find_form(_name(hdu), _name(image)) if other != number else None
        if form and _is_on_pixels(hdu, image):
            found.setdefault(form, other)
    if _is_exposure_time(hdus[0].header):
        found.pop('weight', None)
    planes = {}
    for holds, form in choose_planes(found).items():
        hdu = hdus[found[form]]
        bits = bad_bits(hdu.header, _name(hdu), band) if holds == 'mask' else None
        planes[holds] = FoundPlane(found[form], PlaneValues(form, bits))
    return planes


def choose_planes(forms):
    """
    Choose from which companions to read variance and mask.

    Parameters
    ----------
    forms : collection of str
        What the companions of an image hold, as ``companions.find_form`` returns.

    Returns
    -------
    chosen : dict of str to str
        The form of ``'variance'`` and of ``'mask'``, those that there are.
    """
    variances = [form for form in _VARIANCES if form in forms]
    masks = [form for form in ('mask',) if form in forms]
    return {holds: some[0] for holds, some in (('variance', variances), ('mask', masks)) if some}


def bad_bits(header, name='', band=None):
    """
    Return the bits that mark bad pixels in a mask.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Its header, which may name the bits.
    name : str, default=''
        Name of its file or extension.
    band : str, default=None
        The band, if the mask has bits for each; those of all bands if None.

    Returns
    -------
    bits : int or None
        Their sum; None if any bit does.

    Examples
    --------
    >>> from astro_morph.images.planes.finding import bad_bits
    >>> bad_bits({'MP_BAD': 0, 'MP_SAT': 1, 'MP_DETECTED': 5})
    3
    """
    if any(key.startswith('MP_') for key in header):
        bad = (header[f'MP_{name}'] for name in _OF_LSST if f'MP_{name}' in header)
        return sum(1 << number for number in bad if number in range(_N_BITS))
    if 'MSKNAM00' in header:
        names = (key for key in header if key.startswith('MSKNAM'))
        return sum(
            _bits(header, f'MSKVAL{key[6:]}') for key in names if header[key] in _OF_PAN_STARRS
        )
    if names := [key for key in header if re.fullmatch(r'MSKN\d+', key)]:
        return sum(_bits(header, f'MSKM{key[4:]}') for key in names if header[key] in _OF_LSST)
    if 'maskbits' in name.lower():
        return _MASKBITS.get(band, sum(_MASKBITS.values()))
    # The first bit of JWST is DO_NOT_USE; others mark what was corrected.
    return 1 if header.get('TELESCOP') == 'JWST' else None


def _bits(header, key):
    """Return the bits in a header, 0 where it has none."""
    return header[key] if isinstance(header.get(key), int) else 0


def _name(hdu):
    # Old files of HSC have EXTTYPE instead of EXTNAME.
    return f'{hdu.name} {hdu.header.get("EXTTYPE", "")}'


def _is_on_pixels(hdu, image):
    """Check whether an extension is an image on the pixels of another."""
    if not hdu.is_image or hdu.shape[-2:] != image.shape[-2:] or hdu.ver != image.ver:
        return False
    both = [key for key in _PLACE if key in hdu.header and key in image.header]
    return all(abs(hdu.header[key] - image.header[key]) < _SAME_PLACE for key in both)


def _is_exposure_time(header):
    """Check whether AstroDrizzle wrote a file, whose weights are then seconds."""
    return 'NDRIZIM' in header
