# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the archives of Euclid: IRSA, its copies in object storage, and that of ESA.

IRSA lists mosaics, maps of their noise and flags, and images from the ground on the same pixels
(https://irsa.ipac.caltech.edu/data/Euclid/docs/overview_q1.html); it cuts them, and tells in
``cloud_access`` where object storage sends ranges of them. The archive of ESA is asked in ADQL, and
cuts (https://astroquery.readthedocs.io/en/latest/esa/euclid/euclid.html).
"""

import csv
import io
import json
import re
from urllib.parse import parse_qs

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D, NoOverlapError

from astro_morph.simulation.services.rendering import fits_image, true_planes
from astro_morph.simulation.services.server import Answer, not_found, send_range
from astro_morph.simulation.services.sia import find_tiles, send_capabilities, send_table, tiles

__all__ = ['HANDLERS', 'STORE', 'ZERO_POINTS']

#: AB magnitude of a flux of one in the mosaics, in place of the bands of the sky in this order.
ZERO_POINTS = {'VIS': 24.6, 'Y': 29.9, 'J': 30.0, 'H': 30.1}

#: Pattern of the addresses in object storage, after that of the server.
STORE = '/{bucket_name}/{key}'

_BUCKET, _IBE_ROOT, _ESA_ROOT = 'euclid-q1', '/ibe/data/euclid', '/data/repository/MER'

# Kinds of mosaics in the names of files: the flux, its noise, and flags.
_KINDS = {'science': 'BGSUB-MOSAIC-{}', 'noise': 'MOSAIC-{}-RMS', 'mask': 'MOSAIC-{}-FLAG'}

# Images from the ground are brighter, so that tests see them.
_GROUND = 10

# The flags of a bad pixel, and of others, which can be used.
_BAD, _GOOD = 0b101, 0b100

_COLUMNS = (
    'access_url',
    'access_format',
    'dataproduct_subtype',
    'facility_name',
    'energy_bandpassname',
    'cloud_access',
    's_ra',
    's_dec',
)


def list_mosaics(sky, request):
    """List the mosaics that overlap a circle, their planes, and those from the ground."""
    _, ra, dec, radius = request.params['POS'].split()
    rows = []
    for tile, *centre in find_tiles(sky, ra, dec, radius):
        for band in _bands(sky):
            for facility in ('Subaru', 'Euclid'):
                for kind in _KINDS:
                    key = f'q1/MER/{_number(tile)}/{facility}/{_name(kind, band, tile)}'
                    cloud = {'aws': {'bucket_name': _BUCKET, 'key': key, 'region': 'us-east-1'}}
                    url = f'{request.url}{_IBE_ROOT}/{key}'
                    text = json.dumps(cloud)
                    rows.append((url, 'image/fits', kind, facility, band, text, *centre))
    return send_table(rows, _COLUMNS)


def cut_at_irsa(sky, request):
    """Send the part of a mosaic around ``center`` that is ``size`` degrees wide."""
    centre = SkyCoord(*map(float, request.params['center'].split(',')), unit='deg')
    return _cut(_open(sky, request.path), centre, float(request.params['size']))


def send_from_store(sky, request):
    """Send a mosaic, or a range of it."""
    try:
        data, wcs, cards = _open(sky, request.path)
    except KeyError:
        return not_found(sky, request)
    return send_range(fits_image(data, wcs, **cards), request)


def query_esa(sky, request):
    """List the mosaics of one filter that overlap a circle, as comma-separated values."""
    query = parse_qs(request.body.decode())['QUERY'][0]
    circle = re.search(r"CIRCLE\('ICRS', ([\d.]+), ([-\d.]+), ([\d.]+)\)", query).groups()
    band = re.search(r"filter_name = '(?:NIR_)?(\w+)'", query)[1]
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(['file_path', 'file_name', 'tile_index', 'instrument_name'])
    if band in _bands(sky):
        for tile, *_ in find_tiles(sky, *circle):
            name = _name('science', band, tile)
            instrument = 'VIS' if band == 'VIS' else 'NISP'
            rows.writerow([f'{_ESA_ROOT}/Euclid', name, _number(tile), instrument])
    return Answer(table.getvalue(), 'text/csv')


def cut_at_esa(sky, request):
    """Send the part of a mosaic in a square around a circle."""
    params = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    _, ra, dec, radius = params['POS'].split(',')
    centre = SkyCoord(float(ra), float(dec), unit='deg')
    return _cut(_open(sky, params['FILEPATH']), centre, 2 * float(radius))


def _bands(sky):
    """Return the band of the sky in place of each band of Euclid."""
    return dict(zip(ZERO_POINTS, sky.bands, strict=False))


def _number(tile):
    y, x = re.fullmatch(r'tile-(\d+)-(\d+)\.fits', tile).groups()
    return f'1{y:0>4}{x:0>4}'


def _name(kind, band, tile):
    """Return the name of a file, as in the release."""
    kind = _KINDS[kind].format(band if band == 'VIS' else f'NIR-{band}')
    return f'EUC_MER_{kind}_TILE{_number(tile)}-A1B2C3_20241018T142710.276838Z_00.00.fits'


def _open(sky, path):
    """Return the pixels, the WCS and further header cards of a file; KeyError if there is none."""
    *_, facility, name = path.split('/')
    files = {
        _name(kind, band, tile): (kind, band, tile)
        for tile in tiles(sky)
        for band in _bands(sky)
        for kind in _KINDS
    }
    kind, band, tile = files[name]
    image, zero_point, own_band = tiles(sky)[tile], ZERO_POINTS[band], _bands(sky)[band]
    ny, nx = image.data.shape[1:]
    y, x = map(int, re.findall(r'\d+', tile))
    part = np.s_[y : y + ny, x : x + nx]
    factor = np.float32(10 ** (0.4 * (zero_point - 22.5)))
    variance, is_bad = (plane[part] for plane in true_planes(sky, own_band))
    data = {
        'science': lambda: image.data[sky.bands.index(own_band)] * factor,
        'noise': lambda: np.sqrt(variance) * factor,
        'mask': lambda: np.where(is_bad, _BAD, _GOOD).astype(np.int32),
    }[kind]()
    if facility != 'Euclid':
        data = data * data.dtype.type(_GROUND)
    return data, image.wcs, {'MAGZERO': zero_point, 'FILTER': band}


def _cut(image, centre, size):
    data, wcs, cards = image
    try:
        cutout = Cutout2D(data, centre, size * u.deg, wcs)
    except NoOverlapError:
        return Answer('the cutout does not overlap the image', 'text/plain', 400)
    return Answer(fits_image(cutout.data, cutout.wcs, **cards), 'image/fits')


HANDLERS = {
    '/euclid/SIA': list_mosaics,
    '/euclid/SIA/capabilities': send_capabilities,
    _IBE_ROOT: cut_at_irsa,
    f'/{_BUCKET}': send_from_store,
    '/tap-server/tap/sync': query_esa,
    '/sas-cutout/cutout': cut_at_esa,
}
