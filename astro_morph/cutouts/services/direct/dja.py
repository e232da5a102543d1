# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of JWST and HST mosaics from the DAWN JWST Archive."""

import numpy as np

from astro_morph.cutouts.fetching.downloads import fetch_bytes
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.direct.source import DirectSource, make_image
from astro_morph.cutouts.services.reprojection import MARGIN, cut_for_request
from astro_morph.images.planes.plane import to_variance
from astro_morph.images.reading import decode_fits_file, read_pixels
from astro_morph.images.units import ImageUnit
from astro_morph.utils.messages import as_written

__all__ = ['DjaCutouts']

# How the service says that it has no image of a place.
_NOTHING_THERE = b'No cutout found'

# Filters behind others, and their names in the answers (grizli, grizli/aws/api_cutout.py).
_RENAMED = {
    'f444w-f466n': 'f466n-clear',
    'f150w2-f162m': 'f162m-clear',
    'f150w2-f164n': 'f164n-clear',
}

# Pixels of the coarsest images that the service cuts, in arcsec.
_COARSEST = 0.1


class DjaCutouts(DirectSource):
    """
    Cutouts of the mosaics of JWST and HST in the DAWN JWST Archive, with variances and masks.

    One request returns all filters, in pixels of 0.05 or 0.1 arcsec and in the calibrated unit of
    their header. They are resampled to cutouts north up, in nanomaggies. Pixels that were not
    exposed are NaN. The service is a small machine, and is sent one request at a time; for many
    sources of one field, download the mosaics (https://dawn-cph.github.io/dja) and use
    `~astro_morph.cutouts.Mosaics`.

    With ``planes=True``, the weights are requested, which are inverse variances; what has no weight
    is masked.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='jwst-dja'
        ``'jwst-dja'``, or a survey of your own, whose ``ids['dja']`` has the archive's name of each
        band, such as ``{'F814W': 'f814w', 'F444W': 'f444w-clear', 'F770W': 'f770w'}``.
    bands, pixel_scale, coord_columns, cache, planes
        As in `~astro_morph.cutouts.RemoteSource`. There are no colour pictures.
    server : str, default=None
        Address of a mirror of https://grizli-cutout.herokuapp.com.

    Raises
    ------
    ValueError
        If the archive's name of a band is not known, or ``bands`` is ``'rgb'``.

    Examples
    --------
    >>> from astro_morph.cutouts import DjaCutouts
    >>> DjaCutouts(bands=['F150W', 'F444W'])
    <DjaCutouts: jwst-dja in F150W, F444W>
    """

    _ids_key = 'dja'
    _address = 'https://grizli-cutout.herokuapp.com'
    _most_at_once = 1

    def __init__(self, survey='jwst-dja', **options):
        super().__init__(survey, **options)
        self._filters = self.survey.ids['dja']
        unknown = [band for band in self.bands if band not in self._filters]
        if unknown:
            msg = (
                f'{as_written("bands")}: the survey {self.survey.name} has no name of {unknown} in '
                f"ids['dja'], only of {list(self._filters)}; name these, or make a Survey with "
                'more'
            )
            raise ValueError(msg)

    def _zero_point(self, pixel_scale):
        return 22.5  # nanomaggies

    def _requests(self, places, layers):
        return self._share_fields(places, [layers])

    def _answer(self, request, client):
        images = self._download(request, client)
        cutouts = []
        for band in request.band:
            found = images.get(_name_in_answer(self._filters[band]))
            cutouts.extend(cut_for_request([] if found is None else [found], request))
        return cutouts

    def _download(self, request, client):
        """Return the image of each filter, none where the archive has no mosaic."""
        width = max(request.shape) * request.scale + 2 * MARGIN * _COARSEST
        url = self._url(
            '/thumb',
            ra=request.ra,
            dec=request.dec,
            size=width / 2,
            filters=','.join(self._filters[band] for band in request.band),
            output='fits_weight' if self.planes else 'fits',
        )
        content = fetch_bytes(url, client)
        if content.startswith(_NOTHING_THERE):
            return {}
        images = {}
        for hdu in decode_fits_file(content):
            images.setdefault(hdu.header['EXTNAME'].lower(), {})[hdu.header['EXTVER']] = hdu
        return {name: _make_image(planes) for name, planes in images.items()}


def _name_in_answer(name):
    """Return the name that the image of a filter has in an answer."""
    name = name.lower()
    if name.startswith('clearp-'):
        return f'{name.removeprefix("clearp-")}-clearp'
    return _RENAMED.get(name, name)


def _make_image(planes):
    """Return an image in nanomaggies, and the variance if its weights are known."""
    header = planes['SCI'].header
    factor = _nanomaggies(header)
    pixels = read_pixels(planes['SCI']) * factor
    if 'WHT' not in planes:
        return make_image(pixels, header)
    # Pixels of no weight get an infinite variance, and are masked when they are cut.
    variance = to_variance(read_pixels(planes['WHT']), 'inverse') * factor**2
    return make_image(pixels, header, variance=variance)


def _nanomaggies(header):
    """Return the flux of a value of one."""
    unit = ImageUnit(header.get('BUNIT', ''))
    zero_point = np.nan if unit.is_surface_brightness else unit.zero_point(None)
    if np.isnan(zero_point):
        msg = f'the unit is {header.get("BUNIT")!r}, expected a flux density'
        raise FetchError(status='not_calibrated', message=msg)
    return 10 ** (0.4 * (22.5 - zero_point))
