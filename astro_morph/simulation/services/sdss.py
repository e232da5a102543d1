# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the SDSS archive: catalogue objects by position, and the frames of the camera.

Overlapping frames cover the sky. Like the real ones, they are rotated by 90 degrees and compressed,
and contain more than the image. The columns of the camera are numbered from 1 along the x axis of
the sky, the fields along its y axis.
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

from astro_morph.simulation.services.rendering import fits_bytes
from astro_morph.simulation.services.server import Answer

__all__ = ['FRAME', 'HANDLERS', 'OVERLAP', 'on_its_side']

#: Pixels (y, x) of a frame in the orientation of the sky, and pixels shared with the next frame.
FRAME, OVERLAP = (256, 320), 128

# Distance between objects of the catalogue in pixels, similar to the real one.
_SPACING = 16

_RUN, _RERUN = 94, 301

_COLUMNS = ('ra', 'dec', 'run', 'rerun', 'camcol', 'field')


def list_columns(sky, request):
    """List the columns of the catalogue."""
    rows = [{'name': name} for name in _COLUMNS]
    return Answer(json.dumps([{'TableName': 'Table1', 'Rows': rows}]), 'application/json')


def match_positions(sky, request):
    """List the object nearest to each uploaded position, if there is one."""
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
    """Send a frame by name."""
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
    content = fits_bytes([fits.PrimaryHDU(data, header), calibration])
    return Answer(bz2.compress(content), 'application/x-bzip2')


HANDLERS = {
    '/dr17/en/tools/search/x_results.aspx': list_columns,
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
    """Yield the object nearest to each position, with all columns that may be requested."""
    # A copy, because wcslib modifies its structures during computations.
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
    """Return the number, from 1, of the frame in which a pixel is farthest from the edges."""
    n_frames = max(1, -(-(length - OVERLAP) // (side - OVERLAP)))
    return int(np.clip((pixel - OVERLAP / 2) // (side - OVERLAP), 0, n_frames - 1)) + 1


def on_its_side(wcs):
    """Return world coordinates with the pixel axes swapped."""
    turned = WCS(naxis=2)
    turned.wcs.ctype, turned.wcs.crval = wcs.wcs.ctype, wcs.wcs.crval
    turned.wcs.crpix = wcs.wcs.crpix[::-1]
    turned.wcs.cd = wcs.pixel_scale_matrix[:, ::-1]
    return turned
