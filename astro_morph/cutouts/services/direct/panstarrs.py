# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of the stacks of Pan-STARRS1, in linear flux, from their archive at STScI."""

from functools import cached_property, partial

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from astro_morph.cutouts.fetching.downloads import RecentDownloads, fetch_bytes, fetch_image
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.direct.source import DirectSource, make_image
from astro_morph.cutouts.services.reprojection import MARGIN, coords_of, cut_until_whole
from astro_morph.images.planes.finding import bad_bits
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import to_mask, to_variance
from astro_morph.images.reading import read_pixels

__all__ = ['PanStarrsCutouts']

# Kinds of files of a stack: its image, its variance, and its mask.
_IMAGE, _VARIANCE, _MASK = 'stack', 'stack.wt', 'stack.mask'

# Where the header of a mask does not name its bits: all but those of pixels that are only suspected
# to be bad, or poor, or marked
# (https://outerspace.stsci.edu/display/PANSTARRS/PS1+Pixel+flags+in+Image+Table+Data).
_BAD_BITS = 0xFFFF & ~(0x0080 | 0x4000 | 0x8000)

_DIAGONALS = [45, 135, 225, 315] * u.deg

# Lists of files are small; the bands of a source share one.
_LISTS_KEPT = 1000


class PanStarrsCutouts(DirectSource):
    """
    Cutouts of the stacks of Pan-STARRS1 from their archive, in linear flux.

    The archive lists the stacks at a position, and cuts them: one request for the list, and one for
    each band. The stacks are rotated; they are resampled to cutouts north up, in nanomaggies by the
    exposure time in their headers. A cutout on the edge of a stack is completed from the next.

    Stacks that are downloaded whole have an asinh stretch; the archive undoes it in the parts that
    it cuts, and this source does where a header still has it.

    With ``planes=True``, the variance and the mask are requested too. The mask has all pixels that
    are bad, and not those that are only suspected to be.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='panstarrs-dr1'
        The survey.
    bands, pixel_scale, coord_columns, cache, planes
        As in `~astro_morph.cutouts.RemoteSource`. There are no colour pictures.
    server : str, default=None
        Address of a mirror of https://ps1images.stsci.edu.

    Raises
    ------
    ValueError
        If the archive doesn't have the survey or one of the ``bands``, or these are ``'rgb'``.

    Examples
    --------
    >>> from astro_morph.cutouts import PanStarrsCutouts
    >>> PanStarrsCutouts(bands='gri', planes=True)
    <PanStarrsCutouts: panstarrs-dr1 in g, r, i>
    """

    _ids_key = 'panstarrs'
    _address = 'https://ps1images.stsci.edu'
    _has_other_bands = False

    def __init__(self, survey='panstarrs-dr1', **options):
        super().__init__(survey, **options)

    def _zero_point(self, pixel_scale):
        return 22.5  # nanomaggies

    def _answer(self, request, client):
        return cut_until_whole(self._download(request, client), request)

    def _requests(self, places, layers):
        return self._share_fields(places, layers)

    def _download(self, request, client):
        """Yield the parts of the stacks that show the sources of a field."""
        points = _points_of(request)
        is_done, names = np.zeros(points.shape, bool), set()
        for source, corner in np.ndindex(points.shape):
            if is_done[source, corner]:
                continue
            point = points[source, corner]
            at = point.ra.deg, point.dec.deg
            files = self._lists.get(at, partial(self._list, at, client))
            name = files.get((request.band, _IMAGE))
            if name is None and corner == 0:  # the source is outside the survey
                is_done[source] = True
            if name is not None and name not in names:
                names.add(name)
                part = self._fetch(files, request, client)
                yield part
                if _is_whole(part):
                    return
                is_done |= _shows(part, points)

    @cached_property
    def _lists(self):
        return RecentDownloads(_LISTS_KEPT)

    def _list(self, at, client):
        """Return the file of each band and kind that shows a position."""
        ra, dec = at
        kinds = ','.join([_IMAGE, *([_VARIANCE, _MASK] if self.planes else [])])
        bands = ''.join(self.bands)
        url = self._url('/cgi-bin/ps1filenames.py', ra=ra, dec=dec, filters=bands, type=kinds)
        return _read_list(fetch_bytes(url, client).decode('ascii', 'replace'))

    def _fetch(self, files, request, client):
        """Return the part of a stack around a field."""
        # The stack may be at any angle.
        width = np.sqrt(2) * max(request.shape) * request.scale
        side = int(np.ceil(width / self.survey.pixel_scale.to_value(u.arcsec))) + 2 * MARGIN

        def fetch(kind):
            name = files.get((request.band, kind))
            if name is None:
                return None
            where = {'ra': request.ra, 'dec': request.dec, 'size': side}
            url = self._url('/cgi-bin/fitscut.cgi', **where, format='fits', red=name)
            return fetch_image(url, client)

        image, variance, mask = map(fetch, (_IMAGE, _VARIANCE, _MASK))
        return make_image(
            _calibrate(image, 1),
            image.header,
            variance=None if variance is None else to_variance(_calibrate(variance, 2), 'variance'),
            mask=None if mask is None else _read_mask(mask),
        )


def _points_of(request):
    """Return the centre and the corners of each cutout, of shape (k, 5)."""
    centres = coords_of(request)[:, np.newaxis]
    distance = request.side * request.scale * u.arcsec / np.sqrt(2)
    corners = centres.directional_offset_by(_DIAGONALS, distance)
    return SkyCoord(
        np.concatenate([centres.ra, corners.ra], axis=1),
        np.concatenate([centres.dec, corners.dec], axis=1),
    )


def _shows(part, points):
    """Return at which points a part of a stack has a pixel."""
    hdu = MaskedImage.of(part).image
    pixels = np.stack(WCS(hdu.header).world_to_pixel(points), axis=-1)
    is_inside = ((pixels > -0.5) & (pixels < np.array(hdu.shape[::-1]) - 0.5)).all(axis=-1)
    x, y = np.where(is_inside[..., np.newaxis], np.rint(pixels), 0).astype(int).T
    return is_inside & np.isfinite(hdu.data[y, x]).T


def _read_mask(hdu):
    return to_mask(read_pixels(hdu), bad_bits(hdu.header) or _BAD_BITS)


def _is_whole(part):
    """Check that a stack does not end in a part of it; there, pixels are NaN and have no mask."""
    part = MaskedImage.of(part)
    is_end = np.isnan(part.image.data)
    return not (is_end if part.mask is None else is_end & ~part.mask).any()


def _read_list(text):
    """Return the files of a list, by band and kind."""
    names, *lines = [line.split() for line in text.splitlines() if line.strip()] or [[]]
    if 'filename' not in names:
        msg = f'no list of files: {text[:200]!r}'
        raise FetchError(status='not_an_image', message=msg)
    rows = [dict(zip(names, line, strict=False)) for line in lines]
    return {(row['filter'], row['type']): row['filename'] for row in rows}


def _calibrate(hdu, power):
    """
    Return fluxes, or variances if ``power`` is 2, in nanomaggies.

    The zero point of counts is 25 + 2.5 log10(exposure time)
    (https://outerspace.stsci.edu/display/PANSTARRS/PS1+Stack+images).
    """
    exposure = hdu.header.get('EXPTIME', 0)
    if not exposure > 0:
        msg = f'the exposure time is {exposure!r}'
        raise FetchError(status='no_zero_point', message=msg)
    # Those in an asinh stretch become nanomaggies when they are read.
    power -= 'BSOFTEN' in hdu.header
    return read_pixels(hdu) / (10 * exposure) ** power
