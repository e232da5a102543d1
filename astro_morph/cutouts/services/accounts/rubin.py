# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of images of the Vera C. Rubin Observatory, from its Science Platform."""

from functools import cached_property, partial

import numpy as np

from astro_morph.catalog.bands import band_wavelength
from astro_morph.cutouts.fetching.downloads import RecentDownloads
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.accounts.credentials import Credentials
from astro_morph.cutouts.services.accounts.lsst_files import read_lsst_image
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.cutouts.services.reprojection import cut_until_whole
from astro_morph.cutouts.services.sia import Place, SiaClient, read_columns

__all__ = ['RubinCutouts']

# Lists of the images around a place, and of the links to an image.
_LISTS_KEPT = 1000
_LINKS_KEPT = 200

# The patches of two tracts that meet around a place; rarely more than four.
_MOST_PATCHES = 9

# Names of the cutout services among the links, without and with variance and mask
# (https://rsp.lsst.io/guides/api/soda.html).
_SERVICES = {False: 'cutout-sync', True: 'cutout-sync-maskedimage'}

# Answers to links whose time is over.
_EXPIRED = ('http_403', 'http_404', 'http_410')

# In the texts of two errors, both of code 400.
_NO_OVERLAP, _TIME_OUT = 'No intersection', 'did not complete'


class RubinCutouts(RemoteSource):
    """
    Cutouts of the coadded images of the Vera C. Rubin Observatory.

    The Rubin Science Platform lists the images of a place by Simple Image Access and the services
    for each image by DataLink, and cuts it by SODA; pyvo is the client. Cutouts are north up, in
    nanojansky per pixel, and NaN where there is no image.

    The platform asks for the data rights and a token of the user: create one with the scope
    ``read:image`` in its settings, and hand it over, or set ``RSP_TOKEN`` in the environment. It is
    sent to the platform alone, that in the environment only to servers of lsst.cloud. No file,
    cache, log, representation or pickle has it: processes to which a source is sent read their
    environment.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='rubin-dp1'
        The data release. Its ``ids['rubin']`` is a pair: the address of the image list, and the
        kind of images in it.
    token : str, `requests.Session` or `pyvo.auth.AuthSession`, default=None
        The token, or a session that has it; that in the environment if None.
    **options
        As in `RemoteSource`. There are no colour pictures; with ``planes=True``, the variance and
        the mask come with the images.

    Raises
    ------
    ValueError
        If the survey is not Rubin's, or does not have one of the ``bands``.
    TypeError
        If ``token`` is neither text nor a session.

    Examples
    --------
    >>> from astro_morph.cutouts import RubinCutouts
    >>> RubinCutouts('rubin-dp1', bands='gri', token='gt-secret')
    <RubinCutouts: rubin-dp1 in g, r, i>
    """

    _has_pictures = False
    _has_planes = True
    _has_other_bands = False
    _ids_key = 'rubin'
    _secrets = ('token',)

    def __init__(self, survey='rubin-dp1', *, token=None, **options):
        super().__init__(survey, **options)
        self._credentials = Credentials(token, 'token', ['RSP_TOKEN'], 'lsst.cloud')

    def _make_client(self):
        address, kind = self.survey.ids['rubin']
        client = _Client(self._servers[0] if self._servers else address, kind, self.bands)
        self._credentials.authorise(client._session, client._address)
        return client

    def _origin(self, layer):
        return ' '.join([super()._origin(layer), *self.survey.ids['rubin']])

    def _answer(self, request, client):
        return cut_until_whole(self._download(request, client), request)

    def _download(self, request, client):
        """Yield the cutouts of a band around a field, from the nearest image first."""
        place = Place.around(request, self.survey)
        listed = self._lists.get(place, partial(client.list_images, place))
        offered = [image for image in listed if image.band == request.band.lower()]
        for image in offered[:_MOST_PATCHES]:
            cutout = self._cut(image.url, place, client)
            if cutout is not None:
                yield cutout

    def _cut(self, url, place, client):
        """Return a cutout by links that may be of earlier; if they have expired, by new ones."""
        asked = []

        def ask():
            asked.append(url)
            return client.find_links(url)

        links = self._links.get(url, ask)
        try:
            return client.cut(links, place, planes=self.planes)
        except FetchError as error:
            if asked or error.status not in _EXPIRED:
                raise
        self._links.forget(url, links)
        return client.cut(self._links.get(url, ask), place, planes=self.planes)

    @cached_property
    def _lists(self):
        return RecentDownloads(_LISTS_KEPT)

    @cached_property
    def _links(self):
        return RecentDownloads(_LINKS_KEPT)


class _Client(SiaClient):
    """
    Client of the services of the Rubin Science Platform.

    Parameters
    ----------
    address : str
        Address of the image list.
    kind : str
        The kind of images to list, such as ``'lsst.deep_coadd'``.
    bands : sequence of str
        The bands to recognise.
    """

    def __init__(self, address, kind, bands):
        super().__init__(address, collection=None)
        self.subtypes = (kind,)
        self._wavelengths = {band: band_wavelength(band) * 1e-6 for band in bands}

    @cached_property
    def _service(self):
        from pyvo.dal import SIA2Service

        # The address is that of the list itself.
        return SIA2Service(self._address, session=self._session, check_baseurl=False)

    def _query(self, place):
        circle = (*place[:2], place.size / np.sqrt(2))
        found = self._service.search(circle, DPSUBTYPE=self.subtypes[0]).to_table()
        images = read_columns(found)
        # The platform does not name the bands in all of its releases.
        images['band'] = [self._find_band(row['em_min'], row['em_max']) for row in found]
        return images

    def _find_band(self, shortest, longest):
        """Return the band between two wavelengths in metres."""
        is_inside = {band: shortest < wave < longest for band, wave in self._wavelengths.items()}
        return next((band for band in is_inside if is_inside[band]), 'another')

    def find_links(self, url):
        """Return the services for an image, from the address of its list of links."""
        from pyvo.dal.adhoc import DatalinkResults

        return DatalinkResults.from_result_url(url, session=self._session)

    def cut(self, links, place, *, planes):
        """Return the part of an image around a place, None if there is none."""
        from pyvo.dal.adhoc import SodaQuery

        service = links.get_adhocservice_by_id(_SERVICES[bool(planes)])
        query = SodaQuery.from_resource(links, service, session=self._session)
        query.circle = (*place[:2], place.size / np.sqrt(2))
        answer = query.submit()
        if answer.ok:
            return read_lsst_image(answer.content, planes=planes)
        if _NO_OVERLAP in answer.text:
            return None
        if _TIME_OUT in answer.text:
            raise FetchError(status='timeout', message=answer.text[:200], is_network=True)
        raise FetchError(status=f'http_{answer.status_code}', message=answer.text[:200])
