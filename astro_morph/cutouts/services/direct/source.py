# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""DirectSource, the base class of the services that are sent plain HTTP requests."""

from urllib.parse import urlencode

import astropy.units as u
import numpy as np
from astropy.io import fits

from astro_morph.cutouts.services.fields import share_fields
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.images.planes.masked_image import MaskedImage

__all__ = ['DirectSource', 'make_image']

# Side of the fields that sources share, in pixels of the survey.
_WIDEST_FIELD = 1024


class DirectSource(RemoteSource):
    """
    Base class of the services that are sent plain HTTP requests, and have variances and masks.

    A service sets its address, and implements `_answer`, whose client is the session.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`
        The survey.
    **options
        As in `~astro_morph.cutouts.RemoteSource`. There are no colour pictures.
    """

    _has_pictures = False
    _has_planes = True

    # Address of the service, without a slash at the end.
    _address = ''

    def _make_client(self):
        from requests import Session

        return Session()

    def _session_of(self, client):
        return client

    def _share_fields(self, places, layers):
        """Return requests to a service that sends the pixels of the survey, not of the cutouts."""
        coarsest = places.scale.max() / self.survey.pixel_scale.to_value(u.arcsec)
        return share_fields(places, layers, max_side=int(_WIDEST_FIELD / max(coarsest, 1)))

    def _url(self, path, **params):
        """Return the address of a request."""
        server = self._servers[0] if self._servers else self._address
        return f'{server}{path}?{urlencode(params)}'


def make_image(pixels, header, *, variance=None, mask=None):
    """
    Return an image with its planes, each of shape (y, x).

    Parameters
    ----------
    pixels : `~numpy.ndarray`
        Flux, NaN or exactly zero where nothing was observed.
    header : `~astropy.io.fits.Header`
        The header with the WCS.
    variance, mask : `~numpy.ndarray`, default=None
        As in `~astro_morph.images.planes.masked_image.MaskedImage`.

    Returns
    -------
    image : HDU or `~astro_morph.images.planes.masked_image.MaskedImage`
        With NaN in place of zero; the image alone if it has no planes.
    """
    header = header.copy()
    # The pixels are linear, whatever the file has.
    header.remove('BSOFTEN', ignore_missing=True)
    pixels = np.where(pixels == 0, np.nan, pixels).astype(np.float32)
    hdu = fits.ImageHDU(pixels, header)
    return hdu if variance is mask is None else MaskedImage(hdu, variance, mask)
