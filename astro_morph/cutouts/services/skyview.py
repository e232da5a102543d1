# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts from SkyView of NASA, through `astroquery.skyview`."""

from functools import cache

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astro_morph.cutouts.fetching.downloads import fetch_image
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.fields import share_fields
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.images.errors import NotAnImageError
from astro_morph.utils.messages import as_written

__all__ = ['SkyView']

# Cubic splines: by default SkyView takes the nearest pixel, which moves light by up to half of one.
SAMPLER = 'Spline'


class SkyView(RemoteSource):
    """
    Cutouts of a survey that SkyView has.

    All bands of a cutout are on one grid, north up and east left, centred on the source. The
    service interpolates the survey's pixels, whose noise is then correlated, and cutouts from a
    shared field are interpolated once more; their fluxes are multiplied by the ratio of the pixel
    areas. SkyView draws the images of all bands in answer to one form, and links to each; if
    one can't be read, the others are not used. Publications acknowledge SkyView
    (https://skyview.gsfc.nasa.gov) as well as the survey.

    Parameters
    ----------
    survey, bands, pixel_scale, coord_columns, cache
        As in `~astro_morph.cutouts.services.remote.RemoteSource`; there are no colour pictures.
        SkyView's names of the bands are in ``ids['skyview']`` of the survey.
    server : str or sequence of str, default=None
        Address of SkyView's form; the one that astroquery knows if None.

    Raises
    ------
    ValueError
        If SkyView does not have a band.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.cutouts import SkyView
    >>> source = SkyView('2mass')
    >>> source
    <SkyView: 2mass in J, H, K>
    >>> source.plan(SkyCoord([150.1, 210.2], [2.2, 5.5], unit='deg')).n_requests
    2
    """

    _has_pictures = False

    def __init__(self, survey, **options):
        super().__init__(survey, **options)
        names = self.survey.ids.get('skyview', {})
        missing = [band for band in self.bands if band not in names]
        if missing:
            msg = (
                f'{as_written("bands")}: SkyView has no {missing} of {self.survey.name}, only '
                f'{list(names)}; name these'
            )
            raise ValueError(msg)

    def _make_client(self):
        client = _client_class()()
        if self._servers:
            client.URL = self._servers[0]
        return client

    def _requests(self, places, layers):
        return share_fields(places, [layers])

    def _answer(self, request, client):
        ny, nx = request.shape
        names = self.survey.ids['skyview']
        urls = client.get_image_list(
            _ExactCoord(request.ra, request.dec, unit=u.deg),
            [names[band] for band in request.band],
            projection='Tan',
            pixels=f'{nx},{ny}',
            width=nx * request.scale * u.arcsec,
            height=ny * request.scale * u.arcsec,
            sampler=SAMPLER,
            cache=False,
        )
        if len(urls) != len(request.band):
            msg = f'asked for {len(request.band)} images, got links to {len(urls)}'
            raise NotAnImageError(msg)
        images = [self._cut(_download(url, request, client), request) for url in urls]
        return np.concatenate(images)

    def _cut(self, image, request):
        unit = image.header.get('BUNIT', '')
        return self._per_new_pixel(request.cut(image.data), request, unit)


def _download(url, request, client):
    """Return the HDU of an image of the shape of the request."""
    try:
        # Without the session, the client would download files to its own cache for ever.
        image = fetch_image(url, client._session)
    except FetchError as error:
        if error.status != 'http_404':
            raise
        # SkyView links to an image also where the survey has none (astroquery #572).
        return fits.ImageHDU(np.full(request.shape, np.nan))
    if image.data.shape != request.shape:
        msg = f'asked for an image of shape {request.shape}, got {image.data.shape}'
        raise NotAnImageError(msg)
    return image


class _ExactCoord(SkyCoord):
    """A position written in full; the client writes others with six digits."""

    def to_string(self, *args, **options):
        return super().to_string('decimal', precision=8)


@cache
def _client_class():
    from astroquery.skyview import SkyViewClass

    class Client(SkyViewClass):
        """Astroquery's client, reading the form once instead of before each query."""

        _form = None

        def _request(self, method, url, **options):
            if url != self.URL:
                return super()._request(method, url, **options)
            if self._form is None:
                form = super()._request(method, url, cache=False)
                form.raise_for_status()
                if b'<form' not in form.content:
                    msg = f'{url} has no form'
                    raise NotAnImageError(msg)
                self._form = form
            return self._form

    return Client
