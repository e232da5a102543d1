# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the archives of UKIDSS and VISTA: lists of stacks at a position, and parts of stacks.

Two multiframes of detectors without overlap cover the sky, the second shifted by half a detector.
They differ in zero point and sky level, and are rotated by 90 degrees. The first bands of the sky
are served as Y, J, H and K.
"""

from copy import deepcopy

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astro_morph.simulation.services.rendering import fits_bytes
from astro_morph.simulation.services.sdss import on_its_side
from astro_morph.simulation.services.server import Answer

__all__ = ['DETECTOR', 'HANDLERS', 'ZERO_POINTS']

#: Side of a detector in pixels.
DETECTOR = 200

#: AB magnitude of one count in the images of each multiframe.
ZERO_POINTS = (25.5, 26.2)

_FIRST_FILTER = 2  # Y

_EXPOSURE, _AIRMASS, _EXTINCTION = 10.0, 1.3, 0.05

# AB magnitude of Vega through each filter, by archive.
_VEGA = {'wsa': (0.634, 0.938, 1.379, 1.900), 'vdfs': (0.600, 0.916, 1.366, 1.827)}

_PAGE = """<HTML><HEAD></HEAD><h3>GetImage cut-out results</h3>
<table border="1"><tr><td><b>Link</b></td><td><b>multiframeID</b></td>
{rows}</table>
{n} rows returned.
"""
_ROW = """<tr>
<td><a href="{link}" target=show>show</a></td>
<td nowrap>{mfid}</td>
"""


def list_images(sky, request):
    """List the images that contain a position."""
    params = request.params
    archive = request.path.split('/')[1]
    band = int(params['filterID']) - _FIRST_FILTER
    position = SkyCoord(params['ra'], params['dec'], unit='deg')
    # A copy, because wcslib modifies its structures during computations.
    x, y = np.nan_to_num(deepcopy(sky.wcs).world_to_pixel(position), nan=-1e9)
    half = float(params['xsize']) / 2 / sky.pixel_scale.to_value('arcmin')
    rows = ''
    for mfid in range(len(ZERO_POINTS)):
        corner = _find_detector(sky, mfid, x, y)
        if corner is None or not 0 <= band < len(sky.bands):
            continue
        lows = [max(int(centre - half), low) for centre, low in zip((x, y), corner, strict=True)]
        highs = [
            min(int(centre + half), low + DETECTOR)
            for centre, low in zip((x, y), corner, strict=True)
        ]
        question = f'mfid={mfid}&band={band}&lx={lows[0]}&hx={highs[0]}&ly={lows[1]}&hy={highs[1]}'
        link = f'{request.url}/{archive}/cgi-bin/getImage.cgi?{question}'
        rows += _ROW.format(link=link, mfid=mfid)
    return Answer(_PAGE.format(rows=rows, n=rows.count('show>')))


def send_image(sky, request):
    """Send a part of a detector image."""
    archive = request.path.split('/')[1]
    numbers = {name: int(value) for name, value in request.params.items()}
    mfid, band = numbers['mfid'], numbers['band']
    part = slice(numbers['ly'], numbers['hy']), slice(numbers['lx'], numbers['hx'])
    zero_point, level = ZERO_POINTS[mfid], 1000.0 * (1 + mfid)
    counts = sky.flux[band][part].T * 10 ** (0.4 * (zero_point - 22.5)) + level
    header = on_its_side(deepcopy(sky.wcs)[part]).to_header()
    vega = zero_point - _VEGA[archive][band] - 2.5 * np.log10(_EXPOSURE)
    header.update(MAGZPT=vega + _EXTINCTION * (_AIRMASS - 1), EXTINCT=_EXTINCTION, SKYLEVEL=level)
    primary = fits.PrimaryHDU()
    primary.header.update(EXP_TIME=_EXPOSURE, AMSTART=_AIRMASS - 0.1, AMEND=_AIRMASS + 0.1)
    image = fits.ImageHDU(counts.astype(np.float32), header, name=f'{archive}IMAGE')
    return Answer(fits_bytes([primary, image]), 'image/fits')


HANDLERS = {
    f'/{archive}/{path}': handler
    for archive in _VEGA
    for path, handler in (('GetImage', list_images), ('cgi-bin/getFImage.cgi', send_image))
}


def _find_detector(sky, mfid, x, y):
    """Return the first pixel (x, y) of the detector that contains a pixel, None without one."""
    ny, nx = sky.flux.shape[1:]
    if not (-0.5 < x < nx - 0.5 and -0.5 < y < ny - 0.5):
        return None
    shift = mfid * DETECTOR // 2
    corner = [int((pixel + shift) // DETECTOR) * DETECTOR - shift for pixel in (x, y)]
    return [max(pixel, 0) for pixel in corner]
