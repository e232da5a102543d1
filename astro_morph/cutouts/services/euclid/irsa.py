# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of Euclid's mosaics from IRSA: from its cutout service, or from object storage."""

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, UnitSphericalRepresentation

from astro_morph.catalog import as_table, read_positions
from astro_morph.cutouts.fetching.downloads import RecentDownloads
from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.euclid.source import EuclidSource
from astro_morph.cutouts.services.fields import Places, share_fields
from astro_morph.cutouts.services.reprojection import MARGIN, cut_until_whole
from astro_morph.cutouts.services.sia import Place, SiaClient, SiaImages
from astro_morph.images.errors import ImageError
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import ConvertedPixels, to_mask, to_variance
from astro_morph.images.reading import read_pixels
from astro_morph.images.remote.stores import read_ranges
from astro_morph.images.remote.urls import RemoteImage
from astro_morph.images.stitching import cut_tiles, north_up
from astro_morph.images.tiles import Tile

__all__ = ['EuclidMosaics']

# Where a mosaic is in object storage, by its bucket and key; Amazon's, where IRSA keeps its copies.
_STORE = 'https://{bucket_name}.s3.{region}.amazonaws.com/{key}'
_REGION = 'us-east-1'

# Sources in a cell of the sky from which on the mosaics are read in ranges. With fewer, the cutout
# service answers sooner: it needs one request for each band and source.
_MANY = 10

# Degrees: the side of such a cell, about that of a mosaic.
_CELL = 0.5

# Pixels of one band that are read together, as many as `cut_tiles` resamples at a time.
_MOST_PIXELS = 4_000_000

# Headers of mosaics to keep, those of some 50 mosaics with their planes.
_HEADERS_KEPT = 600

# Band, plane and number of a mosaic in the name of its file.
_NAME = re.compile(r'MOSAIC-([A-Z]+(?:-[A-Z])?)(?:-(RMS|FLAG))?_TILE(\d+)')

# The bit of the flags of both instruments that marks pixels that must not be used.
_INVALID = 1


class EuclidMosaics(EuclidSource, SiaImages):
    """
    Cutouts of the mosaics of Euclid that IRSA has.

    IRSA is queried for the mosaics that show a source by Simple Image Access, and cuts them. Where
    many sources lie on a mosaic, it is read from object storage instead, where the service lists it
    there in ``cloud_access``: only the pixels of the cutouts, those of many sources at once, and at
    most twice as many. This needs ``fsspec`` and ``aiohttp``. A catalogue in the order that `order`
    returns needs the fewest requests; ``plan`` counts those for a group of sources as one.

    Cutouts are north up, at the pixel scale of the survey, as fluxes per pixel with the zero points
    of the survey. Pictures show Y, the mean of Y and VIS, and VIS as red, green and blue, in the
    stretch of the morphology catalogue of the release, see
    `~astro_morph.images.euclid_pictures.draw_euclid`. The variance is the square of the RMS map,
    and pixels are masked that the flag map calls invalid.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='euclid-q1'
        The survey. Its ``ids['sia']`` is as for `~astro_morph.cutouts.SiaImages`; ``ids['cloud']``,
        if there is one, is the pattern of addresses in object storage with ``{bucket_name}``,
        ``{region}`` and ``{key}``.
    **options
        As in `~astro_morph.cutouts.services.remote.RemoteSource`: ``bands`` ('VIS', 'Y', 'J', 'H',
        or ``'rgb'``), ``pixel_scale``, ``coord_columns``, ``server``, ``cache``, ``planes``.

    Raises
    ------
    ValueError
        If no service is known for the survey, or it does not have one of the ``bands``.

    Examples
    --------
    >>> from astro_morph.cutouts import EuclidMosaics
    >>> EuclidMosaics(bands=['VIS', 'Y'])
    <EuclidMosaics: euclid-q1 in VIS, Y>
    """

    _has_pictures = True
    _has_planes = True

    def order(self, X):
        coords, status = read_positions(as_table(X), coord_columns=self.coord_columns)
        ra, dec = (np.where(status == 'ok', angle.deg, np.nan) for angle in (coords.ra, coords.dec))
        return np.lexsort((dec, _cells(ra, dec)))

    def _make_client(self):
        address, collection = self.survey.ids['sia']
        address = self._servers[0] if self._servers else address
        return _Client(address, collection, self.survey.ids.get('cloud', _STORE))

    def _requests(self, places, layers):
        few, requests = [], []
        for rows in _split(_cells(places.ra, places.dec)):
            if len(rows) < _MANY or not _reads_ranges():
                few.append(rows)
                continue
            cell = places.select(rows[np.argsort(places.dec[rows], kind='stable')])
            field = _field_of(cell)
            length = max(1, _MOST_PIXELS // (places.side + 2 * MARGIN + 4) ** 2)
            for start in range(0, len(cell), length):
                part = cell.select(slice(start, start + length))
                requests += [_ManyRequest(layer, part, field) for layer in layers]
        if few:
            requests += share_fields(places.select(np.concatenate(few)), layers)
        return requests

    def _cut(self, request, client):
        if isinstance(request, _ManyRequest):
            return self._cut_from_store(request, client)
        return cut_until_whole(self._download(request, client), request)

    # From the cutout service, called by SiaImages.

    def _fetch(self, image, place, client):
        """Fetch the part of a mosaic at a place, with its planes if they are wanted."""
        fetch = super()._fetch
        band = next(band for band in self.survey.bands if band.lower() == image.band)
        hdu = fetch(image, place, client)
        factor = self._factor(hdu.header, band)
        calibrated = self._calibrate(hdu, band)
        if not self.planes:
            return calibrated
        rms, flags = (
            plane and read_pixels(fetch(plane, place, client)) for plane in (image.rms, image.flags)
        )
        return MaskedImage(
            calibrated,
            None if rms is None else to_variance(rms * factor, 'error'),
            None if flags is None else to_mask(flags, _INVALID),
        )

    # From object storage.

    def _cut_from_store(self, request, client):
        """Return the cutouts of many sources, of whose mosaics only the pixels needed are read."""
        places, field = request.places, request.field
        listed = self._lists.get(field, partial(client.list_images, field))
        tiles = [self._open(image) for image in listed if image.band == request.band.lower()]
        reader = _Reader(partial(self._factor, band=request.band))
        stencils = north_up(places.coords, places.side * places.scale * u.arcsec)
        cutouts, _, _ = cut_tiles([tiles], stencils, places.side, reader)
        # No part of a cutout is kept where the rest may come later.
        if reader.failure is not None:
            raise reader.failure
        return cutouts[:, 0] if cutouts.has_planes else cutouts.image[:, 0]

    def _open(self, image):
        """Return the tile of a mosaic, with the images of its planes if they are wanted."""
        planes = (image.rms, image.flags) if self.planes else (None, None)
        image, *planes = (
            part and self._headers.get(part.address, partial(_Mosaic.open, part.address))
            for part in (image, *planes)
        )
        return Tile(image, 0, variance=planes[0], mask=planes[1])

    @cached_property
    def _headers(self):
        return RecentDownloads(_HEADERS_KEPT)


@dataclass(frozen=True, eq=False)
class _ManyRequest:
    """Many sources in one cell of the sky, in one band, to be read from object storage."""

    band: str
    places: Places
    field: Place  # the cell, of which the mosaics are listed

    @property
    def rows(self):
        return self.places.rows

    @property
    def scale(self):
        return self.places.scale

    @property
    def shape(self):
        return len(self.places) * self.places.side, self.places.side

    def select(self, index):
        """Return the request for some of the sources."""
        return replace(self, places=self.places.select(index))


class _ListedMosaic(NamedTuple):
    """A mosaic, or a map of its noise or its flags."""

    url: str  # at IRSA, which can cut it
    band: str  # in lower case
    address: str  # of the copy to read in ranges
    is_link: bool = False
    rms: tuple | None = None  # a _ListedMosaic each
    flags: tuple | None = None


class _Client(SiaClient):
    """Client of IRSA's list, which tells where mosaics are in object storage."""

    def __init__(self, address, collection, store):
        super().__init__(address, collection)
        self._store = store

    def list_images(self, place):
        """Return the mosaics that may overlap a place, the nearest first, with their planes."""
        mosaics, planes = {}, {}
        for product in self.search(place):
            # Images of telescopes on the ground, on the same pixels, are listed too.
            if product['facility'].lower() not in ('', 'euclid'):
                continue
            found = _NAME.search(product['url'])
            band, kind, tile = found.groups() if found else ('', None, product['url'])
            listed = _ListedMosaic(
                product['url'], product['band'].lower(), self._find_copy(product)
            )
            if kind is not None:
                planes[kind, band, tile] = listed
            elif product['subtype'] in self.subtypes:
                mosaics[band, tile] = listed
        return [
            mosaic._replace(rms=planes.get(('RMS', *key)), flags=planes.get(('FLAG', *key)))
            for key, mosaic in mosaics.items()
        ]

    def _find_copy(self, product):
        """Return the address in object storage, or at IRSA if there is no copy."""
        try:
            place = json.loads(product['cloud'])['aws']
            return _check(self._store.format(**{'region': _REGION} | place))
        except (ValueError, KeyError, TypeError):
            return _check(product['url'])


def _check(address):
    """Return an address that a list sent, unless it leads to files of this machine."""
    if address.startswith('file:') or '::' in address or '://' not in address:
        msg = f'the list of mosaics has the address {address!r}, which is none of a server'
        raise FetchError(status='not_an_image', message=msg)
    return address


class _Mosaic(RemoteImage):
    """A mosaic in object storage, with the zero point in its header."""

    @classmethod
    def open(cls, address):
        return cls.open_all(address)[0]

    def _read_header(self, hdu, hdus=None):
        super()._read_header(hdu, hdus)
        self.header = {key: hdu.header[key] for key in ('MAGZERO',) if key in hdu.header}


class _Reader:
    """
    Reader of calibrated pixels, in place of `~astro_morph.images.tiles.TilePixels`.

    Parameters
    ----------
    factor_of : callable
        Returns the factor of the flux from the header of a mosaic.

    Attributes
    ----------
    failure : ImageError or None
        The first failure, after which nothing more is asked for.
    """

    def __init__(self, factor_of):
        self._factor_of = factor_of
        self.failure = None

    def get_planes(self, tile):
        """Return the pixels of a tile with its planes."""
        factor = self._factor_of(tile.image.header)
        return MaskedImage(
            self._open(tile.image, lambda flux: flux * factor),
            self._open(tile.variance, lambda rms: to_variance(rms * factor, 'error')),
            self._open(tile.mask, partial(to_mask, bits=_INVALID)),
        )

    def _open(self, image, convert):
        if image is None:
            return None
        with self._noting_failure():
            pixels = image.open_pixels(partial(self._read, image.path))[0]
        return ConvertedPixels(pixels, convert)

    def _read(self, path, starts, ends):
        with self._noting_failure():
            return read_ranges(path, starts, ends)

    @contextmanager
    def _noting_failure(self):
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except ImageError as error:
            self.failure = error
            raise


def _reads_ranges():
    return all(find_spec(name) for name in ('fsspec', 'aiohttp'))


def _cells(ra, dec):
    """Return the number of the cell of the sky in which each position lies."""
    stripe = np.floor(np.nan_to_num(dec) / _CELL)
    width = _CELL / np.cos(np.radians((stripe + 0.5) * _CELL))
    return (1000 * stripe + np.floor(np.nan_to_num(ra) / width)).astype(int)


def _split(cells):
    """Return the rows of each cell."""
    order = np.argsort(cells, kind='stable')
    return np.split(order, 1 + np.flatnonzero(np.diff(cells[order])))


def _field_of(places):
    """Return the square around some places and their cutouts."""
    coords = places.coords
    mean = coords.cartesian.mean().represent_as(UnitSphericalRepresentation)
    centre = SkyCoord(mean)
    reach = coords.separation(centre).deg.max() + places.side * places.scale.max() / 3600
    return Place(float(centre.ra.deg), float(centre.dec.deg), float(2 * reach))
