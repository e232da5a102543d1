# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Imitate the cutout services of MAST: zip files of FITS images on the pixels of the survey."""

import io
import json
import zipfile
from contextlib import suppress
from copy import deepcopy
from urllib.parse import parse_qs

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NoOverlapError

from astro_morph.simulation.services.rendering import fits_bytes
from astro_morph.simulation.services.server import Answer

__all__ = ['FILTERS', 'HANDLERS', 'ZERO_POINT']

#: Filter of the Hubble Space Telescope in place of each band of the sky.
FILTERS = {'u': 'F336W', 'g': 'F475W', 'r': 'F606W', 'i': 'F814W', 'z': 'F850LP', 'y': 'F105W'}

#: AB magnitude of one electron per second.
ZERO_POINT = 26.0

# Pivot wavelength of all images in Angstrom, and the PHOTFLAM that results in the zero point above.
_PHOTPLAM = 6000.0
_PHOTFLAM = 10 ** (-0.4 * (ZERO_POINT + 2.408 + 5 * np.log10(_PHOTPLAM)))


def answer_hapcut(sky, request):
    """Send one file per filter, with the image and its weights."""
    params = json.loads(request.body)
    files = {}
    for band, cutout in _cut(sky, params):
        name = f'hst_skycell-p0001x01y01_acs_wfc_{FILTERS[band].lower()}_all_drc_astrocut.fits'
        image = _image(cutout, name='SCI')
        weight = fits.ImageHDU((image.data != 0).astype(np.float32), image.header, name='WHT')
        primary = fits.PrimaryHDU()
        primary.header.update(FILENAME=name, FILTER1=FILTERS[band], FILTER2='CLEAR2L')
        files[name] = [primary, image, weight]
    return _zip(files, 'Missing HAP files for input target. Cutout not performed.')


def answer_zcut(sky, request):
    """Send one file per survey, with the images in all filters."""
    params = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    surveys = {'goods_north': _brighten, 'candels_gn_30mas': _refine, 'candels_gn_60mas': _keep}
    files = {}
    for band, cutout in _cut(sky, params):
        for survey, change in surveys.items():
            image = change(_image(cutout, name='CUTOUT'))
            original = f'hlsp_{survey}_hst_acs_{FILTERS[band].lower()}_v1.0_drz.fits'
            image.header['ORIG_FLE'] = original
            name = f'{survey}_astrocut.fits'
            files.setdefault(name, [fits.PrimaryHDU()]).append(image)
    return _zip(files, 'No files found for input target. Cutout not performed.')


def _brighten(image):
    """Return a brighter image, so that tests see which survey was used."""
    return fits.ImageHDU(2 * image.data, image.header)


def _refine(image):
    """Return the same image at half the pixel scale."""
    fine = fits.ImageHDU(np.kron(image.data, np.full((2, 2), 0.25, np.float32)), image.header)
    for axis in 1, 2:
        fine.header[f'CRPIX{axis}'] = 2 * image.header[f'CRPIX{axis}'] - 0.5
        fine.header[f'CDELT{axis}'] = image.header[f'CDELT{axis}'] / 2
    return fine


def _keep(image):
    return image


def _cut(sky, params):
    """Yield each band and its cutout, on the pixels of the sky; nothing outside the sky."""
    centre = SkyCoord(params['ra'], params['dec'], unit='deg')
    # A copy, because wcslib modifies its structures during computations.
    wcs = deepcopy(sky.wcs)
    pixel = wcs.world_to_pixel(centre)
    scale = 1 if params['units'] == 'px' else wcs.proj_plane_pixel_scales()[0].value
    size = [round(float(params[axis]) / scale) for axis in 'yx']
    # The opposite hemisphere has no pixels.
    bands = sky.bands if np.isfinite(pixel).all() else ()
    for band in bands:
        flux = sky.flux[sky.bands.index(band)]
        # Pixels without exposure are zero.
        with suppress(NoOverlapError):
            yield band, Cutout2D(flux, pixel, size, wcs, mode='partial', fill_value=0)


def _image(cutout, name):
    counts = cutout.data * np.float32(10 ** (0.4 * (ZERO_POINT - 22.5)))
    image = fits.ImageHDU(counts, cutout.wcs.to_header(), name=name)
    image.header.update(BUNIT='ELECTRONS/S', PHOTFLAM=_PHOTFLAM, PHOTPLAM=_PHOTPLAM)
    return image


def _zip(files, message_if_none):
    if not files:
        return Answer({'msg': message_if_none, 'results': []}, 'application/json')
    body = io.BytesIO()
    with zipfile.ZipFile(body, 'w') as archive:
        for name, hdus in files.items():
            with archive.open(name, 'w') as file:
                file.write(fits_bytes(hdus))
    return Answer(body.getvalue(), 'application/zip')


HANDLERS = {
    '/hapcut/api/v0.1/astrocut': answer_hapcut,
    '/zcut/api/v0.1/astrocut': answer_zcut,
}
