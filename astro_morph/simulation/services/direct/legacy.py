# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the viewer of the Legacy Surveys: all bands on any grid, with inverse variance and mask.

As in its code (https://github.com/legacysurvey/imagine, map/views.py), all bands come in one image,
which is zero where there are no data and never larger than 3000 pixels; a band that the layer does
not have makes it send all of its bands. Values are interpolated, and stay fluxes per pixel of the
survey. Coarser images have no planes. A position outside the survey is an error of the server.
"""

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from astro_morph.simulation.services.rendering import fits_bytes, render, render_planes
from astro_morph.simulation.services.server import Answer

__all__ = ['HANDLERS', 'MASKBITS']

#: Bits of a bad pixel in each band: saturated, and masked in all exposures
#: (https://www.legacysurvey.org/dr10/bitmasks/).
MASKBITS = {'g': (2, 5), 'r': (3, 6), 'z': (4, 7), 'i': (14, 15)}

# A bit that every pixel has here: it lies on a large galaxy, which makes it no bad pixel.
_GALAXY = 1 << 12

_LARGEST = 3000


def send_cutout(sky, request):
    """Send a cube of the bands, and the planes that the request names."""
    params = request.params
    bands = params.get('bands', ''.join(sky.bands))
    if not set(bands) <= set(sky.bands):
        bands = sky.bands
    side = min(int(params.get('size', 256)), _LARGEST)
    ny, nx = (min(int(params.get(key, side)), _LARGEST) for key in ('height', 'width'))
    scale = float(params['pixscale'])
    wcs = _grid(float(params['ra']), float(params['dec']), scale, (ny, nx))
    images = np.stack([render(sky, wcs, (ny, nx), band) for band in bands])
    if np.isnan(images).all():
        return Answer('<h1>Server Error (500)</h1>', status=500)
    hdus = {'IMAGE': np.nan_to_num(images)}
    is_coarse = np.log2(scale / _pixel_scale(sky)) >= 0.5
    if not is_coarse:
        hdus |= _draw_planes(sky, wcs, images, bands)
    asked = ['IMAGE', *(name for name in ('INVVAR', 'MASKBITS') if name.lower() in params)]
    header = wcs.to_header()
    header['BANDS'] = ''.join(bands)
    return Answer(
        fits_bytes([_hdu(name, hdus[name], header) for name in asked if name in hdus]),
        'image/fits',
    )


HANDLERS = {'/viewer/fits-cutout': send_cutout}


def _grid(ra, dec, scale, shape):
    """Return the grid of a cutout, whose centre is the position."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    wcs.wcs.cdelt = np.array([-1, 1]) * scale / 3600
    return wcs


def _draw_planes(sky, wcs, images, bands):
    """Return the inverse variance of each band, and the bits of all."""
    inverse = np.zeros_like(images)
    bits = np.full(images.shape[1:], _GALAXY, np.int32)
    for i, (image, band) in enumerate(zip(images, bands, strict=True)):
        variance, is_bad = render_planes(sky, wcs, image.shape, band)
        is_known = np.isfinite(image) & np.isfinite(variance)
        inverse[i][is_known] = 1 / variance[is_known]
        # Every other bad row has no inverse variance, the rest only a bit.
        inverse[i, ::2][is_bad[::2]] = 0
        first, second = MASKBITS[band]
        bits[is_bad] |= 1 << first
        bits[::3][is_bad[::3]] |= 1 << second
    return {'INVVAR': inverse, 'MASKBITS': bits}


def _hdu(name, pixels, header):
    """Return the HDU of a plane; a cube of one band is an image."""
    pixels = pixels[0] if pixels.ndim == 3 and len(pixels) == 1 else pixels
    hdu_class = fits.PrimaryHDU if name == 'IMAGE' else fits.ImageHDU
    hdu = hdu_class(pixels, header)
    hdu.header['IMAGETYP'] = name
    return hdu


def _pixel_scale(sky):
    """Return the angle of a pixel of the sky in arcsec."""
    return sky.wcs.proj_plane_pixel_scales()[0].to_value('arcsec')
