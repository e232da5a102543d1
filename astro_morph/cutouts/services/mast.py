# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of images of the Hubble Space Telescope, from its archive MAST."""

import re
from collections import ChainMap

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area

from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.fields import share_fields
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.cutouts.services.reprojection import MARGIN, cut_for_request
from astro_morph.images.reading import read_pixels
from astro_morph.images.units import ImageUnit

__all__ = ['MastCutouts']

# A filter of the telescope, in a header or in the name of a file.
_FILTER = re.compile(r'(?<![a-z0-9])f\d{3,4}(?:lp|[wmnx])(?![a-z0-9])', re.IGNORECASE)
_FILTER_KEYWORDS = ('ORIG_FLE', 'FILTER', 'FILTER1', 'FILTER2')


class MastCutouts(RemoteSource):
    """
    Cutouts of images of the Hubble Space Telescope, from its archive MAST.

    The survey determines the service of MAST: `~astroquery.mast.HapcutClass` for the Hubble
    Advanced Products, `~astroquery.mast.ZcutClass` for deep fields such as CANDELS. One request
    returns all filters, of which the bands are chosen.

    The images have grids of their own, in electrons a second. They are resampled to cutouts
    north up, in nanomaggies by the calibration in their headers, so that images of different
    cameras through filters of one name can be joined. Pixels that were not exposed are NaN.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='hst-hap'
        ``'hst-hap'``, ``'candels'`` or another survey of MAST.
    **options
        As in `~astro_morph.cutouts.services.remote.RemoteSource`. The bands are filters, such as
        ``'F814W'``; there are no colour pictures.

    Examples
    --------
    >>> from astro_morph.cutouts import MastCutouts
    >>> MastCutouts('candels', bands=['F606W', 'F160W'])
    <MastCutouts: candels in F606W, F160W>
    """

    _has_pictures = False
    _ids_key = 'mast'

    def __init__(self, survey='hst-hap', **options):
        super().__init__(survey, **options)

    @property
    def _is_hap(self):
        return self.survey.ids['mast'] == 'hap'

    def _make_client(self):
        from astroquery.mast import HapcutClass, ZcutClass

        client = HapcutClass() if self._is_hap else ZcutClass()
        if self._servers:
            service = 'hapcut' if self._is_hap else 'zcut'
            client._service_api_connection.REQUEST_URL = f'{self._servers[0]}/{service}/api/v0.1/'
        return client

    def _requests(self, places, layers):
        return share_fields(places, [layers])

    def _answer(self, request, client):
        images = {band: [] for band in request.band}
        for file in self._download(request, client):
            for image in filter(_is_science, file):
                band = _find_filter(image.header, file[0].header, file.filename)
                if band in images:
                    images[band].append(_calibrate(image, file[0].header))
        return np.concatenate([self._cut(some, request) for some in images.values()])

    def _download(self, request, client):
        """Return the files of all filters, none if MAST has no images there."""
        from requests import JSONDecodeError

        size = max(request.shape) * request.scale * u.arcsec
        size += 2 * MARGIN * self.survey.pixel_scale
        try:
            files = client.get_cutouts(request.centre, size=size)
        except JSONDecodeError as error:  # neither a zip file nor a message
            status = 'truncated' if error.doc.startswith('PK') else 'not_an_image'
            raise FetchError(status, str(error)) from error
        own = '' if self._is_hap else self.survey.ids['mast']
        return [file for file in files if file.filename.startswith(own)]

    def _cut(self, images, request):
        # Of images with equal coverage, the first is used: the one nearest in scale.
        scale = self.pixel_scale.to_value(u.deg)
        images.sort(key=lambda image: abs(np.log(_scale_of(image) / scale)))
        return cut_for_request(images, request)


def _is_science(hdu):
    return hdu.is_image and hdu.header['NAXIS'] == 2 and hdu.name != 'WHT'


def _find_filter(*sources):
    """Return the first filter that headers or a file name mention, or None."""
    texts = []
    for source in sources:
        is_name = isinstance(source, str)
        texts += [source] if is_name else [str(source.get(key)) for key in _FILTER_KEYWORDS]
    match = _FILTER.search(' '.join(texts).replace('_', ' '))
    return match[0].upper() if match else None


def _scale_of(image):
    """Return the pixel scale in degrees."""
    return np.sqrt(proj_plane_pixel_area(WCS(image.header).celestial))


def _calibrate(image, primary_header):
    """
    Convert an image to nanomaggies per pixel, and the zeros of drizzling to NaN.

    The unit may be a flux density, such as MJy/sr of the James Webb Space Telescope.
    """
    header = ChainMap(image.header, primary_header)
    zero_point = ImageUnit(header.get('BUNIT', '')).zero_point(_scale_of(image) * u.deg)
    if np.isnan(zero_point):
        zero_point = _zero_point_of_electrons(header)
    counts = read_pixels(image)
    flux = counts * np.float32(10 ** (0.4 * (22.5 - zero_point)))
    calibrated = fits.ImageHDU(np.where(counts == 0, np.float32(np.nan), flux), image.header)
    calibrated.header['BUNIT'] = 'nanomaggy'
    return calibrated


def _zero_point_of_electrons(header):
    """
    Return the AB magnitude of one electron a second.

    It follows from the inverse sensitivity and the pivot wavelength (Sirianni et al. 2005, PASP
    117, 1049, with the zero point of ABmag in f_lambda).
    """
    try:
        inverse_sensitivity, pivot_wavelength = header['PHOTFLAM'], header['PHOTPLAM']
    except KeyError as error:
        raise FetchError(status='not_calibrated', message=str(error)) from error
    return -2.5 * np.log10(inverse_sensitivity) - 5 * np.log10(pivot_wavelength) - 2.408
