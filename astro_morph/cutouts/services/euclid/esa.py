# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of Euclid's mosaics from the archive of ESA, by astroquery.esa.euclid."""

import io
import socket
import tempfile
import threading
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import astropy.units as u
import numpy as np

from astro_morph import conf
from astro_morph.cutouts.fetching.downloads import RecentDownloads
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.euclid.source import EuclidSource
from astro_morph.cutouts.services.reprojection import cut_until_whole
from astro_morph.cutouts.services.sia import Place
from astro_morph.images.reading import decode_fits_file, find_image_hdu

__all__ = ['EsaEuclid']

# What is asked of the mosaics of one band that overlap a field.
_COLUMNS = ['file_path', 'file_name', 'tile_index', 'instrument_name']
_QUERY = (
    'SELECT file_path, file_name, tile_index, instrument_name FROM sedm.mosaic_product '
    "WHERE product_type = '{product}' AND technique = 'IMAGE' AND filter_name = '{filter}' "
    "AND INTERSECTS(CIRCLE('ICRS', {ra:.7f}, {dec:.7f}, {radius:.7f}), fov) = 1"
)

# Lists of mosaics to keep; they are small.
_LISTS_KEPT = 1000

# Beginnings of a FITS file, plain or compressed. Others, such as archives, would be unpacked.
_FITS_STARTS = b'SIMPLE', b'\x1f\x8b'

# astroquery sends a request when its module is imported, without a limit of time.
_IMPORT_LOCK = threading.Lock()


class EsaEuclid(EuclidSource):
    """
    Cutouts of the mosaics of Euclid from the archive of ESA.

    It is slower than `EuclidMosaics`, with a request for each source and band, and a second one for
    the list of mosaics there; use it where IRSA does not answer, as in ``FirstOf(EuclidMosaics(),
    EsaEuclid())``. The client, `astroquery.esa.euclid`, logs a failure and returns nothing: here
    the row gets a status, after the retries that ``astro_morph.conf`` allows.

    Cutouts have the grids, fluxes and pictures of `EuclidMosaics`, without variance and mask.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='euclid-q1'
        The survey. Its ``ids['esa']`` is a pair: the environment of the archive, and the type of
        product.
    **options
        As in `~astro_morph.cutouts.services.remote.RemoteSource`: ``bands``, ``pixel_scale``,
        ``coord_columns``, ``server``, ``cache``.

    Raises
    ------
    ValueError
        If no service is known for the survey, or it does not have one of the ``bands``.

    Examples
    --------
    >>> from astro_morph.cutouts import EsaEuclid
    >>> EsaEuclid(bands='rgb')
    <EsaEuclid: euclid-q1 in red, green, blue>
    """

    _ids_key = 'esa'

    def _make_client(self):
        environment, product = self.survey.ids['esa']
        return _Client(environment, product, *self._servers[:1])

    def _origin(self, layer):
        return ' '.join([super()._origin(layer), *self.survey.ids['esa']])

    def _cut(self, request, client):
        return cut_until_whole(self._download(request, client), request)

    def _download(self, request, client):
        """Yield the mosaics of a band that overlap a field, cut to it."""
        place = Place.around(request, self.survey)
        mosaics = self._lists.get(
            (place, request.band), partial(client.list_mosaics, place, request.band)
        )
        for mosaic in mosaics:
            yield self._calibrate(client.cut(mosaic, request.centre, place.size), request.band)

    @cached_property
    def _lists(self):
        return RecentDownloads(_LISTS_KEPT)


class _Client:
    """
    Client of the archive.

    Parameters
    ----------
    environment, product : str
        The environment, and the type of product.
    server : str, default=None
        Address of the server; that of the environment if None.
    """

    def __init__(self, environment, product, server=None):
        from requests import Session

        client_class, tap_class, environments = _import_client()
        server = (server or environments[environment]['url_server']).rstrip('/')
        self._session = Session()
        self._connections = _Connections(self._session, server)
        tap, cutout = (
            tap_class(
                url=server,
                connhandler=self._connections.to_handler(context, part),
                client_id='ASTROQUERY',
            )
            for context, part in (('tap-server', 'tap'), ('sas-cutout', 'cutout'))
        )
        self._archive = client_class(
            environment=environment,
            tap_plus_conn_handler=tap._TapPlus__getconnhandler(),
            datalink_handler=tap,
            cutout_handler=cutout,
            show_server_messages=False,
        )
        self._product = product

    def list_mosaics(self, place, band):
        """Return the rows of the mosaics of a band that overlap a place."""
        query = _QUERY.format(
            product=self._product,
            filter=band if band == 'VIS' else f'NIR_{band}',
            ra=place.ra,
            dec=place.dec,
            radius=place.size / 2,
        )
        job = self._archive.launch_job(query)
        self._raise_failure(job)
        mosaics = job.get_results()
        # A page, or a part of the list, may be read as a table too.
        if mosaics.colnames != _COLUMNS or any(np.ma.is_masked(mosaics[name]) for name in _COLUMNS):
            msg = f'the archive lists {mosaics.colnames}, expected whole rows of {_COLUMNS}'
            raise FetchError(status='not_an_image', message=msg)
        return list(mosaics)

    def cut(self, mosaic, centre, size):
        """Return the square of a mosaic around a position as an image HDU, with a WCS."""
        with tempfile.TemporaryDirectory() as folder:
            paths = self._archive.get_cutout(
                file_path=f'{mosaic["file_path"]}/{mosaic["file_name"]}',
                instrument=str(mosaic['instrument_name']),
                id=str(mosaic['tile_index']),
                coordinate=centre,
                radius=size / 2 * u.deg,
                output_file=str(Path(folder) / 'cutout.fits'),
            )
            self._raise_failure(paths)
            return find_image_hdu(decode_fits_file(Path(paths[0]).read_bytes()))

    def _raise_failure(self, result):
        if not result:
            msg = 'the archive sent nothing that its client can read'
            raise self._connections.failure or FetchError(status='not_an_image', message=msg)


class _Connections:
    """
    HTTP connections of astroquery's TAP client, which a session makes, within limits.

    Parameters
    ----------
    session : `requests.Session`
        The session.
    server : str
        Address of the server.

    Attributes
    ----------
    failure : Exception or None
        The error of the last request, which the client only logs.
    """

    def __init__(self, session, server):
        self._session = session
        self._server = server
        self.failure = None
        parts = urlsplit(server)
        self.host, self.port = parts.hostname, parts.port

    def to_handler(self, context, part):
        """Return the handler of one part of the server, for the client."""
        from astroquery.utils.tap.conn.tapconn import TapConn

        return TapConn(
            ishttps=False,
            host=self.host,
            server_context=context,
            tap_context=part,
            data_context=part,
            connhandler=self,
        )

    def get_connection(self, **options):
        """Return a connection: this object, which has the methods of one."""
        return self

    def request(self, method, path, body, headers):
        """Send a request."""
        self.failure = None
        try:
            self._response = self._send(method, path, body, headers)
        except Exception as error:
            self.failure = error
            raise

    def getresponse(self):
        """Return the answer as `http.client.HTTPResponse` does."""
        return self._response

    def _send(self, method, path, body, headers):
        response = self._session.request(method, self._server + path, data=body, headers=headers)
        code, content = response.status_code, response.content
        if not response.ok:
            msg = f'{response.url} answers {code}: {content[:500]}'
            raise FetchError(status=f'http_{code}', message=msg)
        if 'cutout' in path and not content.startswith(_FITS_STARTS):
            msg = f'{response.url} answers {content[:100]}'
            raise FetchError(status='not_an_image', message=msg)
        return SimpleNamespace(
            status=code,
            reason=response.reason,
            read=io.BytesIO(content).read,
            getheaders=lambda: list(response.headers.items()),
        )


def _import_client():
    """Return the classes of the client, and the environments of the archive."""
    with _IMPORT_LOCK:
        limit = socket.getdefaulttimeout()
        socket.setdefaulttimeout(conf.timeout)
        try:
            from astroquery.esa.euclid import EuclidClass
            from astroquery.esa.euclid import conf as archive
            from astroquery.utils.tap import TapPlus
        finally:
            socket.setdefaulttimeout(limit)
    return EuclidClass, TapPlus, archive.ENVIRONMENTS
