# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the hips2fits service of CDS: any HiPS on any pixel grid.

Like the code published by CDS (https://github.com/cds-astro/hips2fits-cutout), it centres a field
of view on the pixel (width / 2, height / 2), counted from one, which is half a pixel off. Values
are interpolated, and stay fluxes per pixel of the survey. A colour HiPS as FITS is a cube of 8-bit
planes.
"""

import io
import json

import numpy as np
from astropy.wcs import WCS, Wcsprm

from astro_morph.simulation.services.rendering import (
    fits_image,
    header_text,
    render,
    render_picture,
)
from astro_morph.simulation.services.server import Answer

__all__ = ['HANDLERS']

_PICTURE_FORMATS = {'jpg': 'jpeg', 'png': 'png'}


def _answer(sky, request):
    params = request.params
    band = params.get('hips', '').rpartition('/')[2]
    is_colour = 'color' in band.lower()
    if not is_colour and band not in sky.bands:
        return _refuse(f'Unknown HiPS {params.get("hips")}')
    try:
        wcs, shape = _read_grid(params)
    except (KeyError, ValueError) as error:
        return _refuse(f'Wrong parameter: {error}')
    if params['format'] == 'fits':
        return _send_fits(sky, wcs, shape, None if is_colour else band)
    if is_colour and params['format'] in _PICTURE_FORMATS:
        return _send_picture(sky, wcs, shape, _PICTURE_FORMATS[params['format']])
    return _refuse(f'{params["hips"]} as {params["format"]} is not simulated')


HANDLERS = {'/hips-image-services/hips2fits': _answer}


def _refuse(description):
    body = {'title': 'Bad Request', 'description': description}
    return Answer(body, 'application/json', 400)


def _read_grid(params):
    """Return the world coordinates and the shape (y, x) of the requested grid."""
    if 'wcs' in params:
        cards = json.loads(params['wcs'])
        wcs = WCS(naxis=2)
        # Forty times faster than reading a header with WCS.
        wcs.wcs = Wcsprm(header_text(cards).encode())
        return wcs, (int(cards['NAXIS2']), int(cards['NAXIS1']))
    nx, ny = int(params['width']), int(params['height'])
    is_galactic = params['coordsys'] == 'galactic'
    axes = ('GLON', 'GLAT') if is_galactic else ('RA--', 'DEC-')
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f'{axis}-{params["projection"]}' for axis in axes]
    wcs.wcs.crval = float(params['ra']), float(params['dec'])
    wcs.wcs.crpix = nx / 2, ny / 2
    wcs.wcs.cdelt = (
        np.array([-1, 1]) * _flat_width(wcs.wcs.ctype, float(params['fov'])) / max(nx, ny)
    )
    angle = np.radians(float(params['rotation_angle']))
    wcs.wcs.pc = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return wcs, (ny, nx)


def _flat_width(axes, fov):
    """Return the width of a field of view in the plane of a projection, in degrees."""
    flat = WCS(naxis=2)
    flat.wcs.ctype = axes
    return 2 * abs(float(flat.wcs_world2pix(fov / 2, 0, 0)[0] - flat.wcs_world2pix(0, 0, 0)[0]))


def _send_fits(sky, wcs, shape, band):
    if band is None:
        planes = np.moveaxis(render_picture(sky, wcs, shape), -1, 0)
        return Answer(fits_image(planes, wcs), 'image/fits')
    return Answer(fits_image(render(sky, wcs, shape, band), wcs), 'image/fits')


def _send_picture(sky, wcs, shape, image_format):
    from PIL import Image

    content = io.BytesIO()
    # The first row of a picture is at the top.
    Image.fromarray(render_picture(sky, wcs, shape)[::-1]).save(content, image_format)
    return Answer(content.getvalue(), f'image/{image_format}')
