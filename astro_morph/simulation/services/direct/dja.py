# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the cutout service of the DAWN JWST Archive: images of all filters, with their weights.

As in its code (https://github.com/gbrammer/grizli, grizli/aws/api_cutout.py), the size is half the
width in arcsec; each filter is an HDU with a grid of its own, on the pixels of a common mosaic,
followed by its weights, and some have other names there; what was not exposed is zero; and where
there is nothing at all, a sentence says so. The first filter of the sky has pixels of half the
side.
"""

from copy import deepcopy

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NoOverlapError

from astro_morph.simulation.services.rendering import fits_bytes, true_planes
from astro_morph.simulation.services.server import Answer

__all__ = ['FILTERS', 'HANDLERS', 'ZERO_POINT']

#: Filter of the archive in place of each band of the sky.
FILTERS = {
    'g': 'f115w-clear',
    'r': 'f277w-clear',
    'i': 'f444w-clear',
    'z': 'f770w',
    'y': 'clearp-f277w',
    'u': 'f444w-f466n',
}

# Names in the answers that differ from those.
_RENAMED = {'clearp-f277w': 'f277w-clearp', 'f444w-f466n': 'f466n-clear'}

#: AB magnitude of the unit of the images, 10 nJy.
ZERO_POINT = 28.9

_SCALE = np.float32(10 ** (0.4 * (ZERO_POINT - 22.5)))


def send_thumb(sky, request):
    """Send the images of the filters that have pixels around a position."""
    params = request.params
    hdus = []
    for band, name in FILTERS.items():
        if band in sky.bands and name in params['filters'].split(','):
            hdus += _cut(sky, band, params)
    if not hdus:
        place = f'ra={params["ra"]}, dec={params["dec"]}'
        return Answer(f'No cutout found for {place}, filters={params["filters"].split(",")}')
    hdus[0] = fits.PrimaryHDU(hdus[0].data, hdus[0].header)
    return Answer(fits_bytes(hdus), 'image/fits')


HANDLERS = {'/thumb': send_thumb}


def _cut(sky, band, params):
    """Return the image of a band, and its weights if they are asked for; nothing outside."""
    # A copy, because wcslib modifies its structures during computations.
    wcs = deepcopy(sky.wcs)
    pixel = wcs.world_to_pixel(SkyCoord(params['ra'], params['dec'], unit='deg'))
    side = 2 * int(float(params['size']) / _pixel_scale(sky))
    if not np.isfinite(pixel).all():
        return []
    variance, is_bad = true_planes(sky, band)
    counts = sky.flux[sky.bands.index(band)] * _SCALE
    weights = np.where(is_bad, 0, 1 / (variance * _SCALE**2))
    try:
        cuts = [
            Cutout2D(plane.astype(np.float32), pixel, side, wcs, mode='partial', fill_value=0)
            for plane in (counts, weights)
        ]
    except NoOverlapError:
        return []
    kinds = ['SCI', 'WHT'] if params['output'] == 'fits_weight' else ['SCI']
    hdus = [_hdu(cut, band, kind) for cut, kind in zip(cuts, kinds, strict=False)]
    return [_refine(hdu) for hdu in hdus] if band == next(iter(FILTERS)) else hdus


def _hdu(cut, band, kind):
    hdu = fits.ImageHDU(cut.data, cut.wcs.to_header())
    name = _RENAMED.get(FILTERS[band], FILTERS[band]).upper()
    hdu.header.update(FILTER=name, EXTNAME=name, BUNIT='10.0*nanoJansky', PHOTFNU=1e-8)
    # A text, where the FITS standard has a number.
    hdu.header['EXTVER'] = kind
    return hdu


def _refine(hdu):
    """Return the same image with pixels of half the side: their variance is a quarter."""
    factor = 0.25 if hdu.header['EXTVER'] == 'SCI' else 4
    fine = fits.ImageHDU(np.kron(hdu.data, np.full((2, 2), factor, np.float32)), hdu.header)
    for axis in 1, 2:
        fine.header[f'CRPIX{axis}'] = 2 * hdu.header[f'CRPIX{axis}'] - 0.5
        fine.header[f'CDELT{axis}'] = hdu.header[f'CDELT{axis}'] / 2
    return fine


def _pixel_scale(sky):
    """Return the angle of a pixel of the sky in arcsec."""
    return sky.wcs.proj_plane_pixel_scales()[0].to_value('arcsec')
