# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the variance and the mask of an image among the extensions of its file."""

from typing import NamedTuple

import numpy as np

from astro_morph.images.companions import find_form
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import Plane
from astro_morph.images.reading import find_images, list_hdus, read_pixels, with_pixels

__all__ = ['FoundPlane', 'bad_bits', 'find_planes', 'read_masked_image']

# What is taken first where a file has several. Weights are last: those of JWST and of some stacks
# are relative.
_FORMS = ('mask', 'variance', 'inverse', 'error', 'weight')

# Names of the bits of bad pixels where a header names all bits. Others mark what detection found,
# neighbourhoods of stars and galaxies, or repaired pixels: HSC and LSST (MP_*), Pan-STARRS
# (MSKNAM*).
_OF_LSST = 'BAD SAT CR NO_DATA UNMASKEDNAN CROSSTALK'
_OF_PAN_STARRS = 'DETECTOR FLAT DARK BLANK CTE SAT CR SPIKE GHOST STREAK STARCORE CONV.BAD'
_BAD = frozenset(f'{_OF_LSST} {_OF_PAN_STARRS}'.split())

# Bits of the largest integers in FITS files, but for the sign.
_N_BITS = 63

# Bits of bad pixels in one band of the Legacy Surveys' maskbits (legacysurvey.org/dr10/bitmasks):
# saturated, or bad in all exposures.
_MASKBITS = {'g': 0x24, 'r': 0x48, 'z': 0x90, 'i': 0xC000}

# The place of an image on the sky, in pixels and degrees; extensions of the same pixels repeat it.
_PLACE = ('CRPIX1', 'CRPIX2', 'CRVAL1', 'CRVAL2')
_SAME_PLACE = 1e-6


class FoundPlane(NamedTuple):
    """An extension that holds a plane of an image."""

    number: int
    form: str
    bits: int | None


def find_planes(hdus, number, band=None):
    """
    Find the planes of an image among the extensions of its file.

    They have its shape and its place on the sky, and are recognised by their names: ``VARIANCE``,
    ``VAR``; ``INVVAR``, ``IVAR``, ``IVM``; ``ERR``, ``RMS``, ``SIGMA``; ``WHT``, ``WGT``,
    ``WEIGHT``, taken as inverse variances; ``MASK``, ``DQ``, ``FLAG``, ``MASKBITS``. Weights of
    AstroDrizzle are exposure times, and not used.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file.
    number : int
        Number of the image.
    band : str, default=None
        Its band, if a mask has bits for each.

    Returns
    -------
    planes : dict of str to `FoundPlane`
        ``'variance'`` and ``'mask'``, those that there are.
    """
    found = {}
    for other, hdu in enumerate(list_hdus(hdus)):
        form = find_form(_name(hdu), _name(hdus[number])) if other != number else None
        if form and _is_on_pixels(hdu, hdus[number]):
            found.setdefault(form, (other, hdu))
    if _is_exposure_time(hdus[0].header):
        found.pop('weight', None)
    planes = {}
    for form in filter(found.__contains__, _FORMS):
        other, hdu = found[form]
        bits = bad_bits(hdu.header, _name(hdu), band) if form == 'mask' else None
        holds = 'mask' if form == 'mask' else 'variance'
        planes.setdefault(holds, FoundPlane(other, form, bits))
    return planes


def read_masked_image(hdus, hdu=None, band=None):
    """
    Read an image of a FITS file with its planes.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file, in memory.
    hdu : int or str, default=None
        Number or name of the extension; None for the first that holds an image.
    band : str, default=None
        Its band, if a mask has bits for each.

    Returns
    -------
    image : `~astro_morph.images.planes.masked_image.MaskedImage`
        The HDU, with its pixels read, and arrays of the planes that the file has.

    Raises
    ------
    ImageError
        If the file holds no image, or the image or a plane is truncated.
    """
    number, image = next(iter(find_images(hdus, hdu).items()))
    planes = {
        holds: Plane(None, 0, found.form, found.bits).to_values(
            np.asarray(read_pixels(hdus[found.number]))
        )
        for holds, found in find_planes(hdus, number, band).items()
    }
    image = with_pixels(image)
    read_pixels(image)
    return MaskedImage(image, **planes).settle()


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
        bad = (header[f'MP_{name}'] for name in _BAD if f'MP_{name}' in header)
        return sum(1 << number for number in bad if number in range(_N_BITS))
    if 'MSKNAM00' in header:
        names = (key for key in header if key.startswith('MSKNAM'))
        return sum(header[f'MSKVAL{key[6:]}'] for key in names if header[key] in _BAD)
    if 'maskbits' in name.lower():
        return _MASKBITS.get(band, sum(_MASKBITS.values()))
    # The first bit of JWST is DO_NOT_USE; others mark what was corrected.
    return 1 if header.get('TELESCOP') == 'JWST' else None


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
