# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate Simple Image Access, versions 2 (https://www.ivoa.net/documents/SIA/20151223/) and 1.

Overlapping tiles cover the sky. The server of version 2 can send parts of them, as that of IRSA
(https://irsa.ipac.caltech.edu/ibe/cutouts.html); the server of version 1 can't.
"""

import io
from copy import deepcopy
from itertools import product
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import votable
from astropy.nddata import Cutout2D, NoOverlapError
from astropy.table import Table
from astropy.wcs import WCS

from astro_morph.simulation.services.rendering import fits_image
from astro_morph.simulation.services.server import Answer, not_found

__all__ = ['HANDLERS', 'LINKED_COLLECTION', 'TILE']

#: Side of a tile, and overlap with the next one, in pixels.
TILE, _OVERLAP = 256, 64

#: The collection that lists its images by DataLink (https://www.ivoa.net/documents/DataLink).
LINKED_COLLECTION = 'linked'

_IMAGE_ROOT, _CUTOUT_ROOT, _LINK_ROOT = '/images', '/ibe/data/simulated', '/links'
_LINK_FORMAT = 'application/x-votable+xml;content=datalink'

_CAPABILITIES = """<?xml version="1.0" encoding="UTF-8"?>
<vosi:capabilities xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0"
    xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <capability standardID="ivo://ivoa.net/std/SIA#query-2.0">
    <interface xsi:type="vs:ParamHTTP" role="std" version="2.0">
      <accessURL use="base">{url}</accessURL>
    </interface>
  </capability>
</vosi:capabilities>
"""

# How the names of columns of numbers end.
_NUMBERS = ('ra', 'dec', 'em_min', 'em_max')

# UCDs of the columns of version 1, whose names are free.
_UCDS = {
    'download': 'VOX:Image_AccessReference',
    'format': 'VOX:Image_Format',
    'band': 'VOX:BandPass_ID',
    'center_ra': 'POS_EQ_RA_MAIN',
    'center_dec': 'POS_EQ_DEC_MAIN',
}


def send_capabilities(sky, request):
    """Send the version and the address of the service."""
    url = request.url + request.path.removesuffix('/capabilities')
    return Answer(_CAPABILITIES.format(url=url), 'text/xml')


def query_version_2(sky, request):
    """List the tiles that overlap a circle, images and noise maps."""
    _, ra, dec, radius = request.params['POS'].split()
    is_linked = request.params.get('COLLECTION') == LINKED_COLLECTION
    root = _LINK_ROOT if is_linked else _CUTOUT_ROOT
    image_format = _LINK_FORMAT if is_linked else 'image/fits'
    rows = [
        (f'{request.url}{root}/{band}/{name}', image_format, subtype, band, ra, dec)
        for name, ra, dec in find_tiles(sky, ra, dec, radius)
        for band in sky.bands
        for subtype in ('noise', 'science')
    ]
    names = 'access_url', 'access_format', 'dataproduct_subtype', 'energy_bandpassname'
    return send_table(rows, (*names, 's_ra', 's_dec'))


def send_links(sky, request):
    """Send the addresses of a picture and of the image of a tile, in DataLink's format."""
    name = request.path.removeprefix(_LINK_ROOT)
    rows = [
        (name, f'{request.url}/picture{name}', '#preview', 'image/jpeg'),
        (name, f'{request.url}{_IMAGE_ROOT}{name}', '#this', 'image/fits'),
    ]
    return send_table(rows, ('ID', 'access_url', 'semantics', 'content_type'))


def query_version_1(sky, request):
    """List the tiles that overlap a square, as FITS images and as pictures."""
    ra, dec = request.params['POS'].split(',')
    rows = [
        (f'{request.url}{_IMAGE_ROOT}/{band}/{name}', image_format, band, ra, dec)
        for name, ra, dec in find_tiles(sky, ra, dec, float(request.params['SIZE']) / 2)
        for band in sky.bands
        for image_format in ('image/jpeg', 'image/fits')
    ]
    return send_table(rows, tuple(_UCDS))


def send_image(sky, request):
    """Send a tile, or the part of it around ``center`` that is ``size`` degrees wide."""
    *_, band, name = request.path.split('/')
    tile = tiles(sky)[name]
    image = _Image(tile.data[sky.bands.index(band)], tile.wcs)
    if 'center' in request.params:
        ra, dec = request.params['center'].split(',')
        size = float(request.params['size'].removesuffix('deg')) * u.deg
        try:
            image = Cutout2D(image.data, SkyCoord(ra, dec, unit='deg'), size, image.wcs)
        except NoOverlapError:
            return Answer('the cutout does not overlap the image', 'text/plain', 400)
    return Answer(fits_image(image.data, image.wcs, FILTER=band, BUNIT='nanomaggy'), 'image/fits')


class _Image(NamedTuple):
    data: np.ndarray  # (..., y, x)
    wcs: WCS


def tiles(sky):
    """Return the tiles of the sky in all bands, by name."""
    # A copy, because wcslib modifies its structures during computations.
    wcs = deepcopy(sky.wcs)
    ny, nx = sky.flux.shape[1:]
    step = TILE - _OVERLAP
    return {
        f'tile-{y}-{x}.fits': _Image(sky.flux[:, y : y + TILE, x : x + TILE], wcs[y:, x:])
        for y, x in product(range(0, ny - _OVERLAP, step), range(0, nx - _OVERLAP, step))
    }


def find_tiles(sky, ra, dec, radius):
    """Yield the name and the centre of each tile that may overlap a circle."""
    position = SkyCoord(ra, dec, unit='deg')
    for name, tile in tiles(sky).items():
        ny, nx = tile.data.shape[1:]
        centre = tile.wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
        reach = np.hypot(ny, nx) / 2 * tile.wcs.proj_plane_pixel_scales()[0]
        if position.separation(centre) < reach + float(radius) * u.deg:
            yield name, centre.ra.deg, centre.dec.deg


def send_table(rows, names):
    """Send a table of images or links, whose columns have names of ObsCore or of version 1."""
    dtype = [float if name.endswith(_NUMBERS) else str for name in names]
    table = Table(rows=rows or None, names=names, dtype=dtype)
    table.convert_unicode_to_bytestring()  # as char, not as unicodeChar
    for name, ucd in _UCDS.items():
        if name in names:
            table[name].meta['ucd'] = ucd
    content = votable.from_table(table)
    content.resources[0].infos.append(votable.tree.Info(name='QUERY_STATUS', value='OK'))
    body = io.BytesIO()
    content.to_xml(body)
    return Answer(body.getvalue(), 'application/x-votable+xml')


HANDLERS = {
    '/SIA': query_version_2,
    '/SIA/capabilities': send_capabilities,
    '/sia1': query_version_1,
    '/sia1/capabilities': not_found,  # as services of version 1 answer
    _CUTOUT_ROOT: send_image,
    _IMAGE_ROOT: send_image,
    _LINK_ROOT: send_links,
}
