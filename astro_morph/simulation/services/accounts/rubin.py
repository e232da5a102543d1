# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the image services of the Rubin Science Platform: SIA 2, DataLink and SODA, with a token.

The answers follow sia, datalinker and vo-cutouts of https://github.com/lsst-sqre. As there, a
cutout is a redirection to a store of files elsewhere, which refuses requests that have a token. In
addition, links expire, where those of the platform only announce that they will.
"""

import time
from functools import partial
from urllib.parse import urlencode

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NoOverlapError

from astro_morph.simulation.services.accounts.lsst_files import masked_image_hdus
from astro_morph.simulation.services.rendering import fits_bytes
from astro_morph.simulation.services.server import Answer
from astro_morph.simulation.services.sia import find_tiles, send_table, tiles

__all__ = ['HANDLERS', 'KIND', 'LIFETIME', 'NANOMAGGY', 'TOKEN']

#: The token that is let in.
TOKEN = 'gt-simulated.token'  # noqa: S105

#: The kind of images that cutouts are for.
KIND = 'lsst.deep_coadd'

_KINDS = (KIND, 'lsst.template_coadd')

#: Nanojanskys in a nanomaggy.
NANOMAGGY = 3631.0

#: Seconds for which links are valid.
LIFETIME = 3600.0

# Ranges of wavelengths in nanometres.
_RANGES = {
    'u': (324, 395),
    'g': (403, 548),
    'r': (551, 689),
    'i': (694, 819),
    'z': (822, 909),
    'y': (912, 1060),
}

_LINKS = '/api/datalink/links'
_CUTOUTS = '/api/cutout/sync'
_STORE = '/store/cutout.fits'

_LINK_TABLE = """<?xml version="1.0" encoding="utf-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
  <RESOURCE type="results">
    <TABLE>
      <FIELD ID="ID" name="ID" arraysize="*" datatype="char" ucd="meta.id;meta.main"/>
      <FIELD name="access_url" arraysize="*" datatype="char" ucd="meta.ref.url"/>
      <FIELD name="service_def" arraysize="*" datatype="char" ucd="meta.ref"/>
      <FIELD name="semantics" arraysize="*" datatype="char" ucd="meta.code"/>
      <DATA><TABLEDATA>{rows}</TABLEDATA></DATA>
    </TABLE>
  </RESOURCE>
  {services}
</VOTABLE>
"""

_ROW = '<TR><TD>{image}</TD><TD/><TD>{service}</TD><TD>#cutout</TD></TR>'

_SERVICE = """
  <RESOURCE ID="{service}" type="meta" utype="adhoc:service">
    <GROUP name="inputParams">
      <PARAM name="ID" arraysize="*" datatype="char" value="{image}"/>
      <PARAM name="POLYGON" arraysize="*" datatype="double" unit="deg" xtype="polygon" value=""/>
      <PARAM name="CIRCLE" arraysize="3" datatype="double" unit="deg" xtype="circle" value=""/>
      <PARAM name="CUTOUTDETAIL" arraysize="*" datatype="char" value="{detail}"/>
    </GROUP>
    <PARAM name="accessURL" arraysize="*" datatype="char" value="{address}"/>
    <PARAM name="standardID" arraysize="*" datatype="char"
      value="ivo://ivoa.net/std/SODA#sync-1.0"/>
  </RESOURCE>
"""

_DETAILS = {'cutout-sync': 'Image', 'cutout-sync-maskedimage': 'MaskedImage'}


def ask_for_token(answer):
    """Return a handler that refuses requests without the token, and answers the others."""
    # Not a closure: a server in another process is pickled.
    return partial(_answer_with_token, answer)


def _answer_with_token(answer, sky, request):
    if request.headers.get('authorization') != f'Bearer {TOKEN}':
        challenge = {'WWW-Authenticate': 'Bearer realm="simulated"'}
        return Answer('{"detail": "not authenticated"}', 'application/json', 401, challenge)
    return answer(sky, request)


def list_images(sky, request):
    """List the images in a circle, in all bands, and of one kind if the request says which."""
    _, ra, dec, radius = request.params['POS'].split()
    rows = [
        (
            f'{request.url}{_LINKS}?ID=butler://dp1/{band}/{name}',
            'application/x-votable+xml;content=datalink',
            kind,
            ra,
            dec,
            *(1e-9 * np.array(_RANGES[band])),
        )
        for name, ra, dec in find_tiles(sky, ra, dec, radius)
        for band in sky.bands
        for kind in _KINDS
        if request.params.get('DPSUBTYPE') in (None, kind)
    ]
    names = 'access_url', 'access_format', 'dataproduct_subtype', 's_ra', 's_dec'
    return send_table(rows, (*names, 'em_min', 'em_max'))


def send_links(sky, request):
    """Send the cutout services of an image, at an address that expires."""
    image = request.params['ID']
    address = f'{request.url}{_CUTOUTS}?expires={clock() + LIFETIME}'
    rows = [_ROW.format(image=image, service=service) for service in _DETAILS]
    services = [
        _SERVICE.format(image=image, service=service, detail=detail, address=address)
        for service, detail in _DETAILS.items()
    ]
    table = _LINK_TABLE.format(rows=''.join(rows), services=''.join(services))
    return Answer(table, 'application/x-votable+xml')


def cut(sky, request):
    """Redirect to a cutout in a store at another host."""
    if float(request.params['expires']) < clock():
        return Answer('Link has expired', 'text/plain', 403)
    band, name = request.params['ID'].split('/')[-2:]
    if _cut_tile(sky, name, request.params['CIRCLE']) is None:
        text = 'UsageError No intersection between cutout and image\n'
        return Answer(text, 'text/plain', 400)
    query = {
        'band': band,
        'name': name,
        'circle': request.params['CIRCLE'],
        'detail': request.params['CUTOUTDETAIL'],
        'X-Goog-Signature': 'simulated-signature',
    }
    store = request.url.replace('127.0.0.1', 'localhost')
    return Answer('', status=303, headers={'Location': f'{store}{_STORE}?{urlencode(query)}'})


def send_file(sky, request):
    """Send a cutout from the store, to whom has its signed address, and no token."""
    if 'authorization' in request.headers:
        return Answer('only one way to authorise is allowed', 'text/plain', 400)
    if request.params.get('X-Goog-Signature') != 'simulated-signature':
        return Answer('no signature', 'text/plain', 403)
    tile = _cut_tile(sky, request.params['name'], request.params['circle'])
    hdus = masked_image_hdus(
        sky,
        tile.wcs,
        tile.shape,
        request.params['band'],
        factor=NANOMAGGY,
        image_class=partial(fits.CompImageHDU, compression_type='GZIP_2', quantize_level=0),
        BUNIT='nJy',
    )
    n_sent = 1 if request.params['detail'] == 'Image' else 3
    body = fits_bytes([fits.PrimaryHDU(), *hdus[:n_sent]])
    return Answer(body, 'application/fits')


def clock():
    """Return the time, which tests put forward."""
    return time.time()


def _cut_tile(sky, name, circle):
    """Return the part of a tile that surrounds a circle, None if they do not overlap."""
    ra, dec, radius = map(float, circle.split())
    tile = tiles(sky)[name]
    scale = tile.wcs.proj_plane_pixel_scales()[0].to_value('deg')
    side = int(np.ceil(2 * radius / scale))
    try:
        return Cutout2D(tile.data[0], SkyCoord(ra, dec, unit='deg'), side, tile.wcs)
    except NoOverlapError:
        return None


HANDLERS = {
    '/api/sia/dp1/query': ask_for_token(list_images),
    _LINKS: ask_for_token(send_links),
    _CUTOUTS: ask_for_token(cut),
    _STORE: send_file,
}
