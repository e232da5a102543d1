# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of the Legacy Surveys from their own viewer."""

from dataclasses import replace

import astropy.units as u

from astro_morph.cutouts.fetching.downloads import fetch_fits
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.direct.source import DirectSource, make_image
from astro_morph.cutouts.services.fields import share_fields
from astro_morph.cutouts.services.reprojection import cut_for_request
from astro_morph.images.errors import NotAnImageError
from astro_morph.images.planes.finding import bad_bits
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import to_mask, to_variance
from astro_morph.images.reading import read_pixels
from astro_morph.utils.messages import as_written

__all__ = ['LegacyCutouts']

# The server fails at a position outside the layer: it draws nothing.
_NOTHING_THERE = ('http_404', 'http_500')

# Kinds of images in an answer.
_KINDS = {'image', 'invvar', 'maskbits'}


class LegacyCutouts(DirectSource):
    """
    Cutouts of the Legacy Surveys from their own viewer, with variances and masks.

    The viewer draws all bands of a field in one answer, on the grid of the cutout: north up, at any
    pixel scale. It interpolates the survey's pixels of 0.262 arcsec; at 0.37 arcsec a pixel and
    more, it has no planes. Fluxes are in nanomaggies. It is sent one request at a time.

    With ``planes=True``, the mask has the pixels that are saturated or bad in all exposures of the
    band, and those of no weight. The variances of interpolated pixels are such that a sum over many
    keeps its error.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='legacy-dr10'
        ``'legacy-dr10'``, ``'legacy-dr9'``, or a survey of your own whose ``ids['legacy']`` is
        a layer of https://www.legacysurvey.org/viewer, such as ``'ls-dr9-north'``.
    bands, pixel_scale, coord_columns, cache, planes
        As in `~astro_morph.cutouts.RemoteSource`. There are no colour pictures.
    server : str, default=None
        Address of another viewer; https://www.legacysurvey.org if None.

    Raises
    ------
    ValueError
        If the survey is no layer of the viewer or does not have one of the ``bands``, or these are
        ``'rgb'``.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.cutouts import LegacyCutouts
    >>> source = LegacyCutouts('legacy-dr9', planes=True, cache=False)
    >>> source
    <LegacyCutouts: legacy-dr9 in g, r, z>
    >>> source.plan(SkyCoord([150.1, 210.2], [2.2, 5.5], unit='deg')).n_requests
    2
    """

    _ids_key = 'legacy'
    _address = 'https://www.legacysurvey.org'
    _most_at_once = 1
    _has_other_bands = False
    # An error in its code, as at a position outside the layer, happens each time.
    _final_codes = (500,)

    def __init__(self, survey='legacy-dr10', **options):
        super().__init__(survey, **options)
        long = [band for band in self.bands if len(band) != 1]
        if long:
            msg = (
                f'{as_written("bands")} has {long}, expected names of one letter, as the viewer '
                'has them; name the bands of the survey so'
            )
            raise ValueError(msg)

    def _zero_point(self, pixel_scale):
        known = super()._zero_point(pixel_scale)
        return 22.5 if known is None else known  # nanomaggies, but for layers of others

    def _requests(self, places, layers):
        return share_fields(places, [layers])

    def _answer(self, request, client):
        images = self._download(request, client)
        cutouts = []
        for band in request.band:
            some = cut_for_request([images[band]] if band in images else [], request)
            cutouts.extend(self._convert(some, request))
        return cutouts

    def _convert(self, images, request):
        """Return images with fluxes and variances of the pixels of the cutouts."""
        images = MaskedImage.of(self._per_new_pixel(images, request))
        if images.variance is None:
            return images
        area = (request.scale / self.survey.pixel_scale.to_value(u.arcsec)) ** 2
        # The noise of finer pixels is correlated, see `resample_planes`.
        return replace(images, variance=images.variance / min(area, 1))

    def _download(self, request, client):
        """Return the image of each band, none outside the survey."""
        ny, nx = request.shape
        params = {'ra': request.ra, 'dec': request.dec, 'layer': self.survey.ids['legacy']}
        params |= {'pixscale': request.scale, 'width': nx, 'height': ny}
        params |= {'bands': ''.join(request.band)}
        params |= {'invvar': 1, 'maskbits': 1} if self.planes else {}
        try:
            hdus = fetch_fits(self._url('/viewer/fits-cutout', **params), client)
        except FetchError as error:
            if error.status in _NOTHING_THERE and not self.survey.covers(request.centre):
                return {}
            raise
        return _read_bands(hdus, (ny, nx))


def _read_bands(hdus, shape):
    """Return the image of each band, with what planes there are, from the answer."""
    kinds = {}
    for hdu in hdus:
        kinds.setdefault(str(hdu.header.get('IMAGETYP', 'image')).lower(), hdu)
    if 'image' not in kinds:
        msg = f'the answer has {list(kinds)}, no image'
        raise NotAnImageError(msg)
    header = kinds['image'].header
    planes = {
        kind: read_pixels(kinds[kind]).reshape(-1, *kinds[kind].shape[-2:])
        for kind in _KINDS & kinds.keys()
    }
    shapes = {kind: plane.shape for kind, plane in planes.items()}
    if {got[1:] for got in shapes.values()} != {shape}:
        msg = f'asked for {shape} pixels, got {shapes}'
        raise FetchError(status='wrong_size', message=msg)
    bands = str(header.get('BANDS', '')).strip()
    if len(bands) != len(planes['image']):
        msg = f'the bands are {bands!r}, and the image has the shape {shapes["image"]}'
        raise NotAnImageError(msg)
    return {band: _make_image(planes, i, band, header) for i, band in enumerate(bands)}


def _make_image(planes, i, band, header):
    variance = mask = None
    if 'invvar' in planes:
        variance = to_variance(planes['invvar'][i], 'inverse')
    if 'maskbits' in planes:
        mask = to_mask(planes['maskbits'][0], bad_bits(header, 'maskbits', band))
    return make_image(planes['image'][i], header, variance=variance, mask=mask)
