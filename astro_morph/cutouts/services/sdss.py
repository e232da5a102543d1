# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cut sources out of the frames of SDSS, downloaded whole, through `astroquery.sdss`."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_morph.cutouts.fetching.downloads import RecentDownloads, fetch_image
from astro_morph.cutouts.fetching.failures import FetchError, as_failure
from astro_morph.cutouts.services.fields import Places
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.cutouts.services.reprojection import cut_from_images
from astro_morph.utils.messages import as_written

__all__ = ['SdssFrames']

# The catalogue accepts lists of up to 80 kB, and a position is a line of some 45 characters.
POSITIONS_A_QUERY = 1000

# There are seven objects a square arcmin, so that every position of the survey has one this near.
_RADIUS = 1 * u.arcmin

# A frame shares 128 pixels with the next, and an object belongs to the frame in which it is farther
# from the edges: smaller cutouts lie in one frame.
_LARGE = 64 * 0.396 * u.arcsec

_DIAGONALS = [45, 135, 225, 315] * u.deg

_BANDS = ('u', 'g', 'r', 'i', 'z')

_NAME_OF_FRAME = ('run', 'rerun', 'camcol', 'field')

# A frame has 12 MB, 3 MB compressed.
_FRAME_SHAPE = (1489, 2048)
_FRAMES_KEPT = 32


class SdssFrames(RemoteSource):
    """
    Cutouts from the calibrated frames of SDSS, with the pixels and the noise of the camera.

    No service cuts frames. The survey's catalogue is queried for the frames that show the sources,
    a thousand sources a query, also by ``plan``. Then each frame is downloaded once for all sources
    on it. A frame has 3 MB: for sources far apart, `Hips2Fits` sends a hundredth of the data.

    Cutouts larger than 25 arcsec may need neighbouring frames, which are downloaded again unless
    they were used recently.

    Parameters
    ----------
    survey, bands, pixel_scale, coord_columns, cache
        As in `RemoteSource`. There are no colour pictures.
    server : str, default=None
        Address of a mirror of https://skyserver.sdss.org, and with ``/sas`` appended of
        https://data.sdss.org/sas.

    Raises
    ------
    ValueError
        If SDSS does not have one of the ``bands``, or these are ``'rgb'``.

    Examples
    --------
    >>> from astro_morph.cutouts import SdssFrames
    >>> SdssFrames(bands='gri')
    <SdssFrames: sdss-dr9 in g, r, i>
    """

    _has_pictures = False

    def __init__(self, survey='sdss-dr9', **options):
        super().__init__(survey, **options)
        unknown = [band for band in self.bands if band not in _BANDS]
        if unknown:
            msg = (
                f'{as_written("bands")}: SDSS has no {unknown}, only {list(_BANDS)}; name some of '
                'these, or choose the service of the survey'
            )
            raise ValueError(msg)

    def _zero_point(self, pixel_scale):
        return 22.5  # frames are in nanomaggies

    def _make_client(self):
        from astroquery.sdss import SDSSClass

        return SDSSClass()

    def _requests(self, places, layers):
        with self._pointed_at_server():
            frames, failure = self._find_frames(places)
            links = self._find_links(sorted(set().union(*frames)), layers)
        recent = RecentDownloads(_FRAMES_KEPT)
        requests = []
        for its_frames, rows in _group_equal(frames):
            for band in layers:
                its_links = [links[frame, band] for frame in its_frames]
                requests.append(_FrameRequest(band, places.select(rows), its_links, recent))
        rest = places.select(slice(len(frames), None))
        if len(rest):
            requests += [_FrameRequest(band, rest, failure=failure) for band in layers]
        return requests

    def _answer(self, request, client):
        if request.failure is not None:
            raise request.failure
        # The client would fetch them without its session, and so without our limits.
        fetch = partial(fetch_image, session=client._session)
        images = [request.recent.get(link, partial(fetch, link)) for link in request.links]
        places = request.places
        return cut_from_images(
            images,
            places.coords,
            side=places.side,
            pixel_scale=places.scale * u.arcsec,
        )

    @contextmanager
    def _pointed_at_server(self):
        """Point astroquery at the server in use, by its configuration: the client can't."""
        from astroquery import cache_conf
        from astroquery.sdss import conf

        server = self._servers[0] if self._servers else None
        with (
            cache_conf.set_temp('cache_active', False),
            conf.set_temp('skyserver_baseurl', server or conf.skyserver_baseurl),
            conf.set_temp('sas_baseurl', f'{server}/sas' if server else conf.sas_baseurl),
        ):
            yield

    def _find_frames(self, places):
        """
        Find the names of the frames that show each place.

        Return a list of tuples, and the failure because of which there are fewer than places.
        """
        from astro_morph.cutouts.fetching.http import be_polite

        client = self._make_client()
        adapter = be_polite(self._session_of(client), servers=self._servers)
        points, owners = _points_of_interest(places)
        frames = [() for _ in range(len(places))]
        for start in range(0, len(points), POSITIONS_A_QUERY):
            part = slice(start, start + POSITIONS_A_QUERY)
            try:
                found = _match(client, points[part])
            except Exception as error:
                # The other queries would fail too, each after all its tries.
                return frames[: owners[start]], as_failure(error, adapter.last_code)
            for owner, frame in zip(owners[part], found, strict=True):
                if frame is not None and frame not in frames[owner]:
                    frames[owner] += (frame,)
        return frames, None

    def _find_links(self, frames, bands):
        """Return the address of each frame in each band."""
        if not frames:
            return {}
        names = [(frame, band) for frame in frames for band in bands]
        # Files that are not downloaded yet, in this order.
        files = self._make_client().get_images_async(
            matches=Table(rows=frames, names=_NAME_OF_FRAME), band=bands
        )
        return {name: file._target for name, file in zip(names, files, strict=True)}


@dataclass(frozen=True, eq=False)
class _FrameRequest:
    """Frames of one band, and the places to cut out of them; or why the frames are unknown."""

    band: str
    places: Places
    links: list = ()
    recent: RecentDownloads | None = None
    failure: FetchError | None = None

    @property
    def rows(self):
        return self.places.rows

    @property
    def shape(self):
        ny, nx = _FRAME_SHAPE
        return len(self.links) * ny, nx

    def select(self, index):
        return replace(self, places=self.places.select(index))


def _points_of_interest(places):
    """Return the centres of all cutouts and the corners of large ones, and the places' numbers."""
    centres = places.coords
    extents = places.scale * places.side * u.arcsec
    large = np.flatnonzero(extents > _LARGE)
    distances = extents[large, np.newaxis] / np.sqrt(2)
    corners = centres[large, np.newaxis].directional_offset_by(_DIAGONALS, distances)
    owners = np.concatenate([np.arange(len(places)), np.repeat(large, len(_DIAGONALS))])
    # Each centre before its corners.
    order = np.argsort(owners, kind='stable')
    return SkyCoord([centres, corners.ravel()])[order], owners[order]


def _match(client, coords):
    """Return the name of the best frame for each position, None outside the survey."""
    objects = client.query_crossid(
        coords, radius=_RADIUS, fields=['ra', 'dec', *_NAME_OF_FRAME], cache=False
    )
    if objects is None:
        return [None] * len(coords)
    found = SkyCoord(objects['ra'], objects['dec'], unit='deg')
    nearest, distances, _ = coords.match_to_catalog_sky(found)
    names = zip(*(objects[name][nearest].tolist() for name in _NAME_OF_FRAME), strict=True)
    is_near = distances <= _RADIUS
    return [name if near else None for name, near in zip(names, is_near, strict=True)]


def _group_equal(items):
    """Return pairs of an item and all its indices."""
    groups = {}
    for index, item in enumerate(items):
        groups.setdefault(item, []).append(index)
    return groups.items()
