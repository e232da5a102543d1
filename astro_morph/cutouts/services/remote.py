# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""RemoteSource, the base class of a new image service: requests, cache, failures and plans."""

import random
import threading
import warnings
from abc import abstractmethod
from contextlib import closing
from functools import cached_property, partial
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy import log
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning

from astro_morph import conf, surveys
from astro_morph.catalog import as_table, read_positions
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.cutouts.fetching.builder import CutoutBuilder
from astro_morph.cutouts.fetching.cache import NO_COVERAGE, CutoutCache, CutoutKey
from astro_morph.cutouts.fetching.failures import FetchError, OutageError, as_failure
from astro_morph.cutouts.services.fields import Places, share_fields
from astro_morph.cutouts.sizes import framing_of, grid_of
from astro_morph.cutouts.source import CutoutSource
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.units import ImageUnit
from astro_morph.utils.identity import describe, fingerprint
from astro_morph.utils.messages import as_written, for_caller, naming_packages
from astro_morph.utils.threads import work_in_threads

__all__ = ['Plan', 'RemoteSource']

# Consecutive failures that count as an outage: if one request in two fails, that happens once in a
# million.
OUTAGE = 20

# A call that sends more requests logs its plan first.
MANY_REQUESTS = 1000

# Images to read from the cache at a time, so that a call needs little memory beside its result.
BATCH = 1024

# Speed of services; see `astro_morph.cutouts.services.fields`.
PIXELS_A_SECOND = 500_000

# Version of the cutouts in the cache, part of their key. Raise it when requests are answered with
# other pixels: cutouts that were cached before are then not mixed with new ones.
PIXELS_VERSION = 2

# Size of a pixel on the network: a float, or a part of a colour JPEG.
BYTES_A_PIXEL = {'flux': 4, 'picture': 0.5}


class Plan(NamedTuple):
    """
    The requests of a call of `~astro_morph.cutouts.RemoteSource.fetch`.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_cached : int
        Number of rows that need no request.
    n_requests : int
        Number of requests for the others.
    megabytes : float
        Approximate size of the answers.
    seconds : float
        Approximate duration.

    Examples
    --------
    >>> from astro_morph.cutouts.services.remote import Plan
    >>> print(Plan(n_rows=10, n_cached=4, n_requests=18, megabytes=0.9, seconds=12).times(2))
    20 rows, 8 of them without a request; 36 requests, about 1.8 MB and 0.4 minutes
    """

    n_rows: int
    n_cached: int
    n_requests: int
    megabytes: float
    seconds: float

    def times(self, factor):
        """Return the plan of that many calls like this."""
        counts = (round(value * factor) for value in self[:3])
        return Plan(*counts, self.megabytes * factor, self.seconds * factor)

    def __str__(self):
        return (
            f'{self.n_rows} rows, {self.n_cached} of them without a request; '
            f'{self.n_requests} requests, about {self.megabytes:.3g} MB and '
            f'{self.seconds / 60:.2g} minutes'
        )


class RemoteSource(CutoutSource):
    """
    Base class of the services that send cutouts over the network.

    It groups sources into requests, sends several at once within the limits of each host, caches
    the images, and gives the rows of a failed request a status. A service implements
    `_make_client` and `_answer`; one that can't draw images on any grid also `_requests`.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`
        The survey.
    bands : sequence of str or 'rgb', default=None
        The bands; all of the survey if None. ``'rgb'`` requests the service's colour picture
        instead of flux.
    pixel_scale : `~astropy.units.Quantity`, default=None
        Angle a pixel; that of the survey if None.
    coord_columns : str or (str, str), default=None
        The columns of the position, see `astro_morph.catalog.read_positions`.
    server : str or sequence of str, default=None
        Base address to use instead of the service's own, or those of several mirrors.
    cache : None, str, path-like, `CutoutCache` or False, default=None
        Where to keep the images: in the cache file of the package if None, in another file, or
        nowhere if False.
    planes : bool, default=False
        Whether to request the variance and the mask too, from services that have them: these are
        two to three times the bytes.

    Raises
    ------
    ValueError
        If the service has no colour pictures and ``bands`` is ``'rgb'``, has neither variance nor
        mask and ``planes`` is true, does not know the survey or one of the bands, or its images in
        one of the bands are not linear in flux.

    Examples
    --------
    All services are used in the same way, here one of CDS, to which nothing is sent yet:

    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.cutouts import Hips2Fits, RemoteSource
    >>> source = Hips2Fits('sdss-dr9', bands=['r'], cache=False)
    >>> isinstance(source, RemoteSource)
    True
    >>> source.plan(SkyCoord([150.1, 210.2], [2.2, 5.5], unit='deg')).n_requests
    2
    """

    # Whether the service has colour pictures, and the variance or the mask of its images; and the
    # key in ``survey.ids`` that it needs.
    _has_pictures = True
    _has_planes = False
    _ids_key = None

    # Whether there may be images in bands that the survey does not name.
    _has_other_bands = True

    # The requests at once that the service wants at most, if ``astro_morph.conf`` allows more; and
    # the codes of 5xx that are no passing fault of it.
    _most_at_once = None
    _final_codes = ()

    def __init__(
        self,
        survey,
        *,
        bands=None,
        pixel_scale=None,
        coord_columns=None,
        server=None,
        cache=None,
        planes=False,
    ):
        self.survey = surveys.get(survey)
        service = type(self).__name__
        if self._ids_key not in (None, *self.survey.ids):
            msg = (
                f'survey {self.survey.name!r} has no {self._ids_key!r} in its ids, which {service} '
                f'needs; choose another survey, or set ids[{self._ids_key!r}] in your own: '
                f'ids.{self._ids_key} in a TOML file'
            )
            raise ValueError(msg)
        if bands == 'rgb' and not self._has_pictures:
            msg = (
                f'{as_written("bands", "rgb")}: {service} has no colour pictures; name bands, such '
                f'as {list(self.survey.bands)}'
            )
            raise ValueError(msg)
        self.kind = 'picture' if bands == 'rgb' else 'flux'
        self.bands = PICTURE_BANDS if bands == 'rgb' else tuple(bands or self.survey.bands)
        self._refuse_unknown()
        self._refuse_nonlinear()
        self.pixel_scale = u.Quantity(
            self.survey.pixel_scale if pixel_scale is None else pixel_scale
        )
        self.coord_columns = coord_columns
        self.server = server
        self.cache = cache
        self.planes = planes
        if planes and (self.kind == 'picture' or not self._has_planes):
            what = 'pictures have' if self.kind == 'picture' else f'{service} has'
            msg = (
                f'{as_written("planes", True)}: {what} neither variance nor mask; leave it out, or '
                'choose flux from another service'
            )
            raise ValueError(msg)

    def __repr__(self):
        return f'<{type(self).__name__}: {self.survey.name} in {", ".join(self.bands)}>'

    def settings(self):
        # Where images are kept does not change them.
        return super().settings() | {'cache': None}

    # To be implemented by a service.

    @abstractmethod
    def _make_client(self):
        """
        Return a new client of the service; each thread has its own.

        Import astroquery here, not at the top of the module. Point the client at the first of
        ``self._servers``, if there are any.
        """

    @abstractmethod
    def _answer(self, request, client):
        """
        Send a request to the service, and cut the sources out of the answer.

        Parameters
        ----------
        request : `~astro_morph.cutouts.services.fields.Request`
            The request: ``band``, ``ra``, ``dec``, ``scale``, ``shape``, ``side``.
            ``request.cut(image)`` cuts the sources out of an image of that grid.
        client : object
            The client of this thread.

        Returns
        -------
        images : sequence of `~numpy.ndarray`
            One for each of ``request.rows``, of shape (side, side), or (3, side, side) and from 0
            to 255 for a colour picture. If ``request.band`` is a tuple of bands, all of the first
            band, then all of the next. NaN where there is no pixel; all NaN outside the survey,
            which is cached. If ``self.planes``, each is a
            `~astro_morph.images.planes.masked_image.MaskedImage`, or all together are one.

        Raises
        ------
        FetchError
            If there is no image for any row. The session raises it for time-outs, broken
            connections, 429 and 5xx once all tries have failed. Any other exception of a client
            becomes ``http_<code>`` if the last answer was an error, or ``not_an_image``.
        """

    def _requests(self, places, layers):
        """
        Group places into requests.

        Parameters
        ----------
        places : `~astro_morph.cutouts.services.fields.Places`
            The cutouts: arrays ``rows``, ``ra``, ``dec``, ``scale``, and ``side``.
        layers : tuple of str
            The bands, or ``('rgb',)`` for the colour picture.

        Returns
        -------
        requests : list of `~astro_morph.cutouts.services.fields.Request`
            By default rows that lie close together share one. Other requests need ``band``,
            ``rows``, ``shape`` and ``select(index)``.
        """
        return share_fields(places, layers)

    def _session_of(self, client):
        """Return the `requests.Session` of a client."""
        return client._session

    def _origin(self, layer):
        """Return the text that identifies the source of a layer's images in the cache."""
        return ' '.join([type(self).__name__, self.survey.name, *self._changes, *self._servers])

    @property
    def _changes(self):
        """Fingerprint of what decides the pixels, unless it is that of the survey of this name."""
        deciding = _describe_pixels(self.survey)
        ours = surveys.SURVEYS.get(self.survey.name)
        is_ours = ours is not None and deciding == _describe_pixels(ours)
        return () if is_ours else (fingerprint(deciding),)

    def _per_new_pixel(self, images, request, unit=''):
        """
        Convert fluxes per pixel of the survey to fluxes per pixel of the cutout.

        Surface brightness stays as it is. ``unit`` is the BUNIT of the images, if they have it.
        """
        if ImageUnit(unit or self.survey.unit).is_surface_brightness:
            return images
        return images * (request.scale / self.survey.pixel_scale.to_value(u.arcsec)) ** 2

    @property
    def _servers(self):
        """Base addresses of mirrors, in order; the client's own server if there are none."""
        return (self.server,) if isinstance(self.server, str) else tuple(self.server or ())

    # Called by users.

    def fetch(self, X, *, size=None):
        """
        Fetch the cutouts of a catalogue, from the cache or over the network.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        size : int, `~astropy.units.Quantity`, str or tuple, default=None
            Side of the cutouts in pixels or as an angle; or a column and a factor such as
            ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`; 64 pixels if None.

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            One row for each row of ``X``, in order.

        Raises
        ------
        ValueError
            If ``X`` has no positions, or ``size`` is not valid.
        OutageError
            If the service does not answer at all; its ``cutouts`` are those fetched before.
        """
        table = as_table(X)
        return next(self._fetch_batches(table, size, len(table)))

    def stream(self, X, *, size=None, batch_size=1024):
        """
        Fetch the cutouts of a catalogue in batches, so that memory stays bounded.

        Only sources of one batch share a field: a catalogue that is sorted by position needs the
        fewest requests.

        Parameters
        ----------
        X, size, batch_size
            As in `fetch` and `CutoutSource.stream`.

        Yields
        ------
        cutouts : `~astro_morph.CutoutSet`
            The next rows of ``X``.
        """
        table = as_table(X)
        if len(table):
            yield from self._fetch_batches(table, size, batch_size)

    def plan(self, X, *, size=None):
        """
        Count the requests that `fetch` would send.

        Parameters
        ----------
        X, size
            As in `fetch`.

        Returns
        -------
        plan : `~astro_morph.cutouts.services.remote.Plan`
            With fields ``n_rows``, ``n_cached``, ``n_requests``, ``megabytes`` and ``seconds``.
        """
        builder, places = self._start(as_table(X), size)
        self._read_cache(places, builder, builder.note)
        return self._make_plan(places, self._find_missing(places, builder))

    # The implementation.

    def _refuse_unknown(self):
        unknown = [band for band in self.bands if band not in self.survey.bands]
        if unknown and self.kind == 'flux' and not self._has_other_bands:
            msg = (
                f'{as_written("bands")}: {self.survey.name} has no {unknown}, only '
                f'{list(self.survey.bands)}; name some of these'
            )
            raise ValueError(msg)

    def _refuse_nonlinear(self):
        service = type(self).__name__
        nonlinear = self.survey.nonlinear.get(service, ())
        refused = [band for band in self.bands if band in nonlinear]
        if not refused or self.kind == 'picture':
            return
        ways = []
        if self._has_pictures and self.survey.hips_color:
            ways.append(f'{as_written("bands", "rgb")} for colour pictures')
        if self.survey.service != service:
            ways.append(f'{self.survey.service}, whose images are linear')
        msg = (
            f'{as_written("bands")}: {service} has images of {self.survey.name} in {refused} that '
            'are not linear in flux, so that they can be neither measured nor cleaned; use '
            f'{" or ".join([*ways, "another survey"])}'
        )
        raise ValueError(msg)

    @property
    def _n_at_once(self):
        return min(conf.requests_at_once, self._most_at_once or conf.requests_at_once)

    @property
    def _layers(self):
        return ('rgb',) if self.kind == 'picture' else self.bands

    @property
    def _is_calibrated(self):
        """Whether the zero points of the survey are those of the service's images."""
        return self.survey.service == type(self).__name__

    def _zero_point(self, pixel_scale):
        """AB magnitude of a value of one in each band, None if it is not known."""
        zero_point = self.survey.zero_point
        if zero_point is None and self.survey.unit:
            zero_point = ImageUnit(self.survey.unit).zero_point(pixel_scale)
        is_known = zero_point is not None and self._is_calibrated
        # A service may have filters that the survey does not name.
        is_named = set(self.bands) <= set(self.survey.bands)
        if self.kind == 'picture' or not (is_known and is_named):
            return None
        of_all = np.broadcast_to(zero_point, len(self.survey.bands))
        return of_all[[self.survey.bands.index(band) for band in self.bands]]

    @cached_property
    def _cache(self):
        if self.cache is False:
            return _NoCache()
        if isinstance(self.cache, CutoutCache):
            return self.cache
        try:
            return CutoutCache(self.cache)
        except OSError as error:
            msg = f'{error}; images are fetched without a cache, and not kept'
            warnings.warn(msg, AstropyUserWarning, stacklevel=2)
            return _NoCache()

    def _fetch_batches(self, table, size, batch_size):
        """Yield the cutouts of batches; the plan of all is logged before the first requests."""
        is_logged = False
        for start in range(0, max(len(table), 1), max(batch_size, 1)):
            batch = table[start : start + batch_size]
            builder, places = self._start(batch, size)
            self._read_cache(places, builder, builder.fill)
            requests = self._find_missing(places, builder)
            if requests and not is_logged:
                is_logged = True
                plan = self._make_plan(places, requests).times((len(table) - start) / len(batch))
                if plan.n_requests > MANY_REQUESTS:
                    log.info(f'{self!r}: {plan}')
            if requests:
                self._send(requests, places, builder)
            yield builder.to_cutouts()

    def _start(self, table, size):
        """Return a builder without images, and the places of all rows."""
        coords, status = read_positions(table, coord_columns=self.coord_columns)
        side, pixel_scale = grid_of(table, size, self.pixel_scale)
        scale = np.broadcast_to(pixel_scale.to_value(u.arcsec), len(table))
        status[(status == 'ok') & ~np.isfinite(scale)] = 'no_size'
        builder = CutoutBuilder(
            table,
            status,
            layers=self._layers,
            side=side,
            pixel_scale=pixel_scale,
            framing=framing_of(size),
            zero_point=self._zero_point(pixel_scale),
            rotation=0 * u.deg,
            parity=1,
        )
        return builder, Places(np.arange(len(table)), coords.ra.deg, coords.dec.deg, scale, side)

    def _keys(self, layer, places):
        origin = f'{self._origin(layer)} v{PIXELS_VERSION}{" planes" * self.planes}'
        positions = zip(*(a.tolist() for a in (places.ra, places.dec, places.scale)), strict=True)
        return [
            CutoutKey(origin, layer, ra, dec, places.side, scale) for ra, dec, scale in positions
        ]

    def _read_cache(self, places, builder, take):
        """Call ``take``, a method of the builder, with the content of the cache."""
        for layer in self._layers:
            rows = np.flatnonzero(builder.missing(layer))
            for some in np.split(rows, range(BATCH, len(rows), BATCH)):
                take(layer, some, self._cache.get(self._keys(layer, places.select(some))))

    def _find_missing(self, places, builder):
        """Return the requests for all images that the builder lacks."""
        is_missing = {layer: builder.missing(layer) for layer in self._layers}
        rows = np.flatnonzero(np.any(list(is_missing.values()), axis=0))
        if len(rows) == 0:
            return []
        requests = []
        # Fields are chosen for all layers of a row, which some services send in one answer.
        for request in self._requests(places.select(rows), self._layers):
            wanted = [is_missing[band][request.rows] for band in _bands_of(request)]
            is_wanted = np.any(wanted, axis=0)
            if is_wanted.any():
                requests.append(request if is_wanted.all() else request.select(is_wanted))
        return requests

    def _make_plan(self, places, requests):
        n_pixels = sum(np.prod(request.shape) for request in requests)
        asked = {row for request in requests for row in request.rows.tolist()}
        return Plan(
            n_rows=len(places),
            n_cached=len(places) - len(asked),
            n_requests=len(requests),
            megabytes=n_pixels * BYTES_A_PIXEL[self.kind] * (3 if self.planes else 1) / 1e6,
            seconds=max(
                len(requests) / conf.requests_per_second,
                n_pixels / PIXELS_A_SECOND / self._n_at_once,
            ),
        )

    def _send(self, requests, places, builder):
        """Send the requests, and store the answers in the builder and the cache."""
        with naming_packages():
            from astroquery import cache_conf

        # In random order, so that two processes that share a cache send different requests.
        random.shuffle(requests)
        n_threads = min(len(requests), self._n_at_once)
        is_over = threading.Event()
        arrivals = work_in_threads(
            partial(self._begin, places, is_over), requests, n_threads, is_over=is_over
        )
        n_failed = 0
        # Clients switch astroquery's cache off and on again, and readers do so with warnings, for
        # all threads at once. Whatever they warn of ends in a status.
        with (
            warnings.catch_warnings(),
            cache_conf.set_temp('cache_active', False),
            closing(arrivals),
        ):
            # Warnings of our own cache are shown.
            others = r'(astropy|astroquery|pyvo)\b'
            warnings.filterwarnings('ignore', category=AstropyWarning, module=others)
            for some in arrivals:
                self._cache.put([item for arrival in some for item in arrival.news])
                for arrival in some:
                    arrival.put_into(builder)
                    failure = arrival.failure
                    n_failed = n_failed + 1 if failure and failure.is_network else 0
                if n_failed >= OUTAGE:
                    self._raise_outage(failure, n_failed, builder)

    def _begin(self, places, is_over):
        """Return a function that turns a request into an arrival, for one thread."""
        from astro_morph.cutouts.fetching.http import be_polite

        client = self._make_client()
        adapter = be_polite(
            self._session_of(client),
            servers=self._servers,
            is_over=is_over,
            at_once=self._most_at_once,
            final_codes=self._final_codes,
        )

        def work(request):
            asked = places.select(request.rows)
            keys = [key for band in _bands_of(request) for key in self._keys(band, asked)]
            # Another process may have fetched them meanwhile.
            known = self._cache.get(keys)
            if all(image is not None for image in known):
                return _Arrival(request, known)
            try:
                images = self._answer(request, client)
            except Exception as error:
                return _Arrival(request, failure=as_failure(error, adapter.last_code))
            images = [NO_COVERAGE if _is_empty(image) else image for image in images]
            return _Arrival(request, images, news=tuple(zip(keys, images, strict=True)))

        return work

    def _raise_outage(self, failure, n_failed, builder):
        for layer in self._layers:
            builder.fail(layer, builder.missing(layer), 'outage')
        cutouts = builder.to_cutouts()
        msg = (
            f'{type(self).__name__} does not answer: the last {n_failed} requests failed, the very '
            f'last with {failure.status} ({failure}). The {np.sum(cutouts.is_ok)} rows fetched so '
            'far are in '
            + for_caller('the attribute cutouts of this error and in the cache', 'the cache')
            + f'; {for_caller("make the same call", "run the same command")} again to continue'
        )
        raise OutageError(msg, cutouts)


def _describe_pixels(survey):
    """Return what decides the pixels of the images of a survey."""
    return describe([survey.ids, survey.unit, survey.pixel_scale])


class _Arrival(NamedTuple):
    """The answer to a request, or its failure."""

    request: object
    images: list = ()
    failure: FetchError | None = None
    news: tuple = ()  # pairs of key and image for the cache

    def put_into(self, builder):
        rows = self.request.rows
        for i, band in enumerate(_bands_of(self.request)):
            if self.failure is None:
                builder.fill(band, rows, self.images[i * len(rows) : (i + 1) * len(rows)])
            else:
                builder.fail(band, rows, self.failure.status)


def _is_empty(image):
    return np.isnan(MaskedImage.of(image).image).all()


def _bands_of(request):
    return (request.band,) if isinstance(request.band, str) else request.band


class _NoCache:
    """A cache that keeps nothing."""

    def get(self, keys):
        return [None] * len(keys)

    def put(self, items):
        pass
