# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts from the archives of UKIDSS and VISTA, by `astroquery.ukidss` and `.vsa`."""

import re
from collections import ChainMap

import astropy.units as u
import numpy as np
from astropy.io import fits

from astro_morph.cutouts.fetching.downloads import fetch_fits
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.fields import share_fields
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.cutouts.services.reprojection import MARGIN, cut_until_whole
from astro_morph.images.reading import find_image_hdu, read_pixels

__all__ = ['WfauImages']

# The widest image that the archives cut out.
_WIDEST = 15 * u.arcmin

# Stacks of exposures; those of VISTA have gaps between the detectors unless they are tiled.
_FRAME_TYPES = {'Ukidss': 'stack', 'Vsa': 'tilestack'}

# AB magnitude of Vega: Hewett et al. (2006, MNRAS 367, 454) for UKIDSS, and Gonzalez-Fernandez et
# al. (2018, MNRAS 474, 5459) for VISTA.
_VEGA = {
    'Ukidss': {'Z': 0.528, 'Y': 0.634, 'J': 0.938, 'H': 1.379, 'K': 1.900},
    'Vsa': {'Z': 0.502, 'Y': 0.600, 'J': 0.916, 'H': 1.366, 'Ks': 1.827},
}

# At the beginning and the end of an exposure, of UKIDSS and of VISTA.
_AIRMASS = ('AMSTART', 'AMEND', 'ESO TEL AIRM START', 'ESO TEL AIRM END')


class WfauImages(RemoteSource):
    """
    Cutouts from the archives of the Wide Field Astronomy Unit: UKIDSS and the surveys of VISTA.

    The archives cut images out of the stacks of each detector. Each image is calibrated by its own
    header; its flux is in nanomaggies above the sky.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='ukidss-las'
        ``'ukidss-las'``, ``'vhs'``, or your own survey whose ``ids['wfau']`` names a database and a
        programme of `astroquery.ukidss` or `astroquery.vsa`.
    bands, pixel_scale, coord_columns, cache
        As in `RemoteSource`. There are no colour pictures.
    server : str, default=None
        Address of a mirror of http://surveys.roe.ac.uk:8080/wsa.

    Raises
    ------
    ValueError
        If the archives don't have the survey, or ``bands`` is ``'rgb'``.

    Examples
    --------
    >>> from astro_morph.cutouts import WfauImages
    >>> WfauImages('vhs', bands=['J', 'Ks'])
    <WfauImages: vhs in J, Ks>
    """

    _has_pictures = False
    _ids_key = 'wfau'

    def __init__(self, survey='ukidss-las', **options):
        super().__init__(survey, **options)

    def _make_client(self):
        from astroquery.ukidss import UkidssClass
        from astroquery.vsa import VsaClass

        database, programme = self.survey.ids['wfau']
        client_class = UkidssClass if database in UkidssClass.all_databases else VsaClass
        client = client_class(database=database, programme_id=programme)
        if self._servers:
            client.IMAGE_URL = f'{self._servers[0]}/GetImage'
        return client

    def _requests(self, places, layers):
        # One for each source, because an image ends where its detector does.
        return share_fields(places, layers, max_side=0)

    def _answer(self, request, client):
        links = self._find_links(request, client)
        vega = _VEGA[client.name][request.band]
        images = (_calibrate(fetch_fits(link, client._session), vega) for link in links)
        return cut_until_whole(images, request)

    def _find_links(self, request, client):
        """Return the addresses of the images that show a source."""
        # The detector may be at any angle.
        width = np.sqrt(2) * (request.side + 2 * MARGIN) * request.scale * u.arcsec
        question = client.get_image_list(
            request.centre,
            waveband=request.band,
            frame_type=_FRAME_TYPES[client.name],
            image_width=min(width, _WIDEST),
            get_query_payload=True,
        )
        # The client would send two requests, one without its session, and sleep for a second.
        response = client._session.get(client.IMAGE_URL, params=question)
        response.raise_for_status()
        page = response.text
        if re.search('error', page, re.IGNORECASE) or 'row' not in page:
            msg = f'no list of images: {page[:200]!r}'
            raise FetchError(status='not_an_image', message=msg)
        return [link.replace('getImage', 'getFImage') for link in client.extract_urls(page)]


def _calibrate(hdus, vega):
    """Return the image of a file in nanomaggies above the sky; ``vega`` is Vega's AB magnitude."""
    image = find_image_hdu(hdus)
    header = ChainMap(image.header, hdus[0].header)
    airmass = np.mean([header[key] for key in _AIRMASS if key in header] or [1])
    try:
        exposure = header['EXP_TIME'] if 'EXP_TIME' in header else header['EXPTIME']
        zero_point = header['MAGZPT'] + 2.5 * np.log10(exposure) + vega
    except KeyError as error:
        msg = f'the header has no {error}'
        raise FetchError(status='no_zero_point', message=msg) from error
    zero_point -= header.get('EXTINCT', 0) * (airmass - 1)
    flux = (read_pixels(image) - header.get('SKYLEVEL', 0)) * 10 ** (0.4 * (22.5 - zero_point))
    return fits.ImageHDU(flux.astype(np.float32), image.header)
