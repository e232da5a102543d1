# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The Sloan Digital Sky Survey: objects of its catalogue by position, and the frames of its camera.

The sky is seen in frames that overlap. As the real ones they lie on their side, are compressed,
and hold more than the image. The columns of the camera are numbered from 1 on along the sky's
x axis, the fields along its y axis.
"""

import bz2
import csv
import email
import io
import json
import re
from copy import deepcopy

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from astro_morph.simulation.services.server import Answer

__all__ = ['FRAME', 'HANDLERS', 'OVERLAP', 'on_its_side']

#: Pixels (y, x) of a frame as the sky has them, and how many it shares with the next.
FRAME, OVERLAP = (256, 320), 128

# Pixels from one object of the catalogue to the next; real ones lie about as close.
_SPACING = 16

_RUN, _RERUN = 94, 301

_COLUMNS = ('ra', 'dec', 'run', 'rerun', 'camcol', 'field')


def describe_columns(sky, request):
    """Name the columns of the catalogue."""
    rows = [{'name': name} for name in _COLUMNS]
    return Answer(json.dumps([{'TableName': 'Table1', 'Rows': rows}]), 'application/json')


def match_positions(sky, request):
    """List the object nearest to each position that was uploaded, where the sky has one."""
    form = _read_form(request.body)
    _, *lines = form['upload'].splitlines()
    positions = SkyCoord([line.split()[1:] for line in lines], unit='deg')
    names = re.findall(r'p\.(\w+)', form['uquery'].partition('FROM')[0])
    table = io.StringIO()
    table.write('#Table1\n')
    writer = csv.DictWriter(table, names, extrasaction='ignore')
    writer.writeheader()
    writer.writerows(_find_objects(sky, positions, float(form['radius']) * u.arcmin))
    return Answer(table.getvalue(), 'text/csv')


def send_frame(sky, request):
    """Send a frame by its name."""
    name = request.path.rpartition('/')[2]
    band, _, camcol, field = re.fullmatch(r'frame-(\w)-(\d+)-(\d)-(\d+)\.fits\.bz2', name).groups()
    corner = [
        (int(number) - 1) * (side - OVERLAP)
        for number, side in zip((field, camcol), FRAME, strict=True)
    ]
    part = tuple(slice(start, start + side) for start, side in zip(corner, FRAME, strict=True))
    data = sky.flux[sky.bands.index(band)][part].T
    header = on_its_side(deepcopy(sky.wcs)[part]).to_header()
    header.update(BUNIT='nanomaggy', FILTER=band, RUN=_RUN, CAMCOL=int(camcol))
    calibration = fits.ImageHDU(np.ones(data.shape[1], np.float32))
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(data, header), calibration]).writeto(content)
    return Answer(bz2.compress(content.getvalue()), 'application/x-bzip2')


HANDLERS = {
    '/dr17/en/tools/search/x_results.aspx': describe_columns,
    '/dr17/en/tools/search/X_Results.aspx': match_positions,
    '/sas/dr17/eboss/photoObj/frames': send_frame,
}


def _read_form(body):
    boundary = body.partition(b'\r\n')[0].removeprefix(b'--')
    head = b'Content-Type: multipart/form-data; boundary=' + boundary + b'\r\n\r\n'
    return {
        part.get_param('name', header='Content-Disposition'): part.get_payload().strip()
        for part in email.message_from_bytes(head + body).get_payload()
    }


def _find_objects(sky, positions, radius):
    """Yield the object nearest to each position, as many columns as may be asked for."""
    # A copy, because wcslib changes its structures while it computes.
    wcs = deepcopy(sky.wcs)
    xy = np.transpose(wcs.world_to_pixel(positions))
    last = np.array(sky.flux.shape[:0:-1]) - 1
    xy = np.clip(np.round(np.nan_to_num(xy) / _SPACING) * _SPACING, 0, last)
    objects = wcs.pixel_to_world(*xy.T)
    is_near = objects.separation(positions) < radius
    for (x, y), coord in zip(xy[is_near], objects[is_near], strict=True):
        camcol, field = (
            _index(*axis) for axis in zip((x, y), sky.flux.shape[:0:-1], FRAME[::-1], strict=True)
        )
        names = {'run': _RUN, 'rerun': _RERUN, 'camcol': camcol, 'field': field}
        yield {'ra': coord.ra.deg, 'dec': coord.dec.deg} | names


def _index(pixel, length, side):
    """Count, from 1, the frames up to the one that has a pixel farthest from its edges."""
    n_frames = max(1, -(-(length - OVERLAP) // (side - OVERLAP)))
    return int(np.clip((pixel - OVERLAP / 2) // (side - OVERLAP), 0, n_frames - 1)) + 1


def on_its_side(wcs):
    """Swap the pixel axes of world coordinates."""
    turned = WCS(naxis=2)
    turned.wcs.ctype, turned.wcs.crval = wcs.wcs.ctype, wcs.wcs.crval
    turned.wcs.crpix = wcs.wcs.crpix[::-1]
    turned.wcs.cd = wcs.pixel_scale_matrix[:, ::-1]
    return turned
