# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts from any service of the Virtual Observatory, by Simple Image Access."""

import re
from functools import cached_property, partial
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_morph.cutouts.fetching.downloads import RecentDownloads, fetch_image
from astro_morph.cutouts.fetching.failures import FetchError, as_failure
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.cutouts.services.reprojection import MARGIN, cut_until_whole

__all__ = ['Place', 'SiaClient', 'SiaImages', 'read_columns']

# Lists are small; whole images may have 100 MB each.
_LISTS_KEPT = 1000
_IMAGES_KEPT = 16

# The tiles of a survey that meet around a place; if more images are listed, they are exposures of
# the same sky.
_MOST_IMAGES = 9

# Columns of a list of images, by name (version 2) or UCD (version 1).
_COLUMNS = {
    'url': ('access_url', 'VOX:Image_AccessReference'),
    'format': ('access_format', 'VOX:Image_Format'),
    'band': ('energy_bandpassname', 'VOX:BandPass_ID', 'instr.bandpass'),
    'subtype': ('dataproduct_subtype',),
    'facility': ('facility_name',),
    'cloud': ('cloud_access',),
    'ra': ('s_ra', 'POS_EQ_RA_MAIN'),
    'dec': ('s_dec', 'POS_EQ_DEC_MAIN'),
}

# Formats that can be read.
_FORMATS = re.compile('fits|datalink')

# An element of a VOTable that names a file or an address from which its data are to be read, and
# one that could hide it.
_ELSEWHERE = re.compile(rb'<(\w+:)?STREAM[^>]*\shref|<!ENTITY')

#: IRSA can cut images under this path (https://irsa.ipac.caltech.edu/ibe/cutouts.html).
IBE = '/ibe/data/'


class SiaImages(RemoteSource):
    """
    Cutouts of the images that a service offers by Simple Image Access.

    Any service of the Virtual Observatory with version 1 or 2 of this protocol can be used. It is
    queried for the images that show a source, and the nearest are downloaded and cut until no
    pixel is missing. IRSA cuts its images before it sends them; others are downloaded whole, once
    for all sources on them that are fetched at about the same time.

    Cutouts are north up, at the pixel scale of the survey. They are in the units of the images,
    as fluxes per pixel. A service that does not list the bands of its images must have only one.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`
        The survey. Its ``ids['sia']`` is a pair: the address of the service, and the collection of
        images in it, or None for all.
    server : str, default=None
        Another address of the service.
    bands, pixel_scale, coord_columns, cache
        As in `~astro_morph.cutouts.services.remote.RemoteSource`. There are no colour pictures.

    Raises
    ------
    ValueError
        If no service is known for the survey, or ``bands`` is ``'rgb'``.

    Examples
    --------
    >>> from astro_morph.cutouts import SiaImages
    >>> SiaImages('allwise', bands=['W1', 'W2'])
    <SiaImages: allwise in W1, W2>
    """

    _has_pictures = False
    _ids_key = 'sia'

    def _make_client(self):
        address, collection = self.survey.ids['sia']
        return SiaClient(self._servers[0] if self._servers else address, collection)

    def _origin(self, layer):
        return ' '.join([super()._origin(layer), *map(str, self.survey.ids['sia'])])

    def _answer(self, request, client):
        return cut_until_whole(self._download(request, client), request)

    def _download(self, request, client):
        """Yield the images of a band that overlap a field, the nearest first."""
        place = Place.around(request, self.survey)
        listed = self._lists.get(place, partial(client.list_images, place))
        offered = [image for image in listed if image.band in ('', request.band.lower())]
        refusals, n_sent = [], 0
        for image in offered[:_MOST_IMAGES]:
            try:
                yield self._fetch(image, place, client)
                n_sent += 1
            except FetchError as error:
                # A list may be too long: the server refuses to cut an image that is elsewhere.
                refusals.append(error)
                if error.is_network:
                    raise
        if refusals and not n_sent:
            raise refusals[0]

    @cached_property
    def _lists(self):
        return RecentDownloads(_LISTS_KEPT)

    @cached_property
    def _images(self):
        return RecentDownloads(_IMAGES_KEPT)

    def _fetch(self, image, place, client):
        """Fetch an image, cut to a place if its server can do that."""
        if IBE in image.url:
            query = f'center={place.ra},{place.dec}&size={place.size}&gzip=false'
            return fetch_image(f'{image.url}?{query}', client._session)
        return self._images.get(image, partial(client.fetch, image))


class Place(NamedTuple):
    """A square on the sky, in degrees."""

    ra: float
    dec: float
    size: float

    @classmethod
    def around(cls, request, survey):
        """Return the field of a request, and the margin around it that resampling reads."""
        margin = 2 * MARGIN * survey.pixel_scale.to_value(u.deg)
        return cls(request.ra, request.dec, max(request.shape) * request.scale / 3600 + margin)


class ListedImage(NamedTuple):
    """A FITS image that a service offers."""

    url: str
    band: str  # in lower case, empty if the service does not list it
    is_link: bool  # whether the address is that of a list of links, in the protocol DataLink


class SiaClient:
    """
    Client of one service, in its version of the protocol.

    Parameters
    ----------
    address : str
        Address of the service.
    collection : str or None
        The collection to list, in version 2.

    Attributes
    ----------
    subtypes : tuple of str
        The kinds of data products that are images of the sky; empty if the service lists no kinds.
    """

    subtypes = ('', 'science')

    def __init__(self, address, collection):
        from pyvo.utils.http import create_session

        self._session = create_session()
        self._session.hooks['response'].append(_refuse_data_elsewhere)
        self._address = address
        self._collection = collection

    def list_images(self, place):
        """Return the images that may overlap a place, the nearest first."""
        return [
            ListedImage(image['url'], image['band'].lower(), 'datalink' in image['format'])
            for image in self.search(place)
            if image['subtype'] in self.subtypes and _FORMATS.search(image['format'])
        ]

    def search(self, place):
        """
        Return the data products that may overlap a place.

        Parameters
        ----------
        place : Place
            The square on the sky.

        Returns
        -------
        products : `~astropy.table.Table`
            The nearest first, with the columns ``url``, ``format``, ``band``, ``subtype``,
            ``facility``, ``cloud``, ``ra`` and ``dec``, empty where the service lists none.

        Raises
        ------
        FetchError
            If the service sends no list.
        """
        try:
            products = self._query(place)
        except Exception as error:
            # pyvo replaces the errors of the session with its own.
            raise self._adapter.last_failure or as_failure(
                error, self._adapter.last_code
            ) from error
        centres = SkyCoord(products['ra'], products['dec'], unit='deg')
        return products[centres.separation(SkyCoord(*place[:2], unit='deg')).argsort()]

    def fetch(self, image):
        """Return an image as a whole."""
        from pyvo.dal.adhoc import DatalinkResults

        url = image.url
        if image.is_link:
            links = DatalinkResults.from_result_url(url, session=self._session)
            # Narrower terms, which pyvo would look up elsewhere, are not needed.
            url = next(links.bysemantics('#this', include_narrower=False))['access_url']
        return fetch_image(url, self._session)

    @property
    def _adapter(self):
        return self._session.get_adapter(self._address)

    def _query(self, place):
        """Return the service's table of images, with the columns of ``_COLUMNS``."""
        from pyvo.dal import SIAService

        if isinstance(self._service, SIAService):
            found = self._service.search(place[:2], place.size, format='image/fits')
        else:
            circle = (*place[:2], place.size / np.sqrt(2))
            found = self._service.search(circle, collection=self._collection)
        return read_columns(found.to_table())

    @cached_property
    def _service(self):
        from pyvo.dal import DALServiceError, SIA2Service, SIAService

        try:
            return SIA2Service(self._address, session=self._session)
        except DALServiceError:
            if self._adapter.last_failure is not None:
                raise
            # It does not offer version 2.
            return SIAService(self._address, session=self._session)


def _refuse_data_elsewhere(response, **options):
    """Refuse a table whose data are elsewhere: pyvo would open any file of this machine."""
    # In UTF-16, every other byte of a name is a zero.
    if not response.content.startswith(b'SIMPLE') and _ELSEWHERE.search(
        response.content.replace(b'\0', b'')
    ):
        msg = f'the table of {response.url} has its data elsewhere'
        raise FetchError(status='not_an_image', message=msg)


def read_columns(table):
    """Return a table with the columns of ``_COLUMNS``, empty where they are missing."""
    columns = {}
    for name, known_as in _COLUMNS.items():
        found = [c for c in table.itercols() if {c.name, c.meta.get('ucd')} & set(known_as)]
        column = found[0] if found else np.full(len(table), '')
        columns[name] = np.ma.filled(column, '' if column.dtype.kind in 'OU' else np.nan)
    return Table(columns)
