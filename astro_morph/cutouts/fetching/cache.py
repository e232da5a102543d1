# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""CutoutCache: keep fetched cutouts in one SQLite file."""

import os
import time
import warnings
import zlib
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.config import get_cache_dir
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import conf
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.utils.database import Database, transaction

__all__ = ['NO_COVERAGE', 'CacheSummary', 'CutoutCache', 'CutoutKey']

# These identify our files: the letters MRPH, the version of the schema, its table and two indices.
APPLICATION_ID, VERSION, N_OBJECTS = 0x4D525048, 1, 3

# Pragmas on the file's format must precede its tables. A file that can be vacuumed in steps shrinks
# without being copied.
SCHEMA = f"""
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    BEGIN;
    CREATE TABLE cutouts (
        id INTEGER PRIMARY KEY,
        survey TEXT NOT NULL,
        band TEXT NOT NULL,
        ra INTEGER NOT NULL,        -- 0.01 arcsec
        dec INTEGER NOT NULL,       -- 0.01 arcsec
        side INTEGER NOT NULL,      -- pixels
        scale INTEGER NOT NULL,     -- 0.0001 arcsec a pixel
        used INTEGER NOT NULL,      -- seconds since 1970
        checksum INTEGER NOT NULL,  -- CRC-32 of key and pixels
        pixels BLOB NOT NULL,       -- float32, or uint8 of a picture; empty if no coverage
        UNIQUE (survey, band, ra, dec, side, scale)
    );
    CREATE INDEX by_use ON cutouts (used);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
    COMMIT;
"""
# The casts are for damaged rows, which may hold values of any type.
GET = """
    SELECT id, used < ?, CAST(checksum AS INTEGER), CAST(IFNULL(pixels, '') AS BLOB) FROM cutouts
    WHERE survey = ? AND band = ? AND ra = ? AND dec = ? AND side = ? AND scale = ?
"""
PUT = """
    INSERT OR REPLACE INTO cutouts (survey, band, ra, dec, side, scale, used, checksum, pixels)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# A few rows at a time, so that other processes can write in between.
DROP_OLDEST = """
    DELETE FROM cutouts WHERE id IN (SELECT id FROM cutouts ORDER BY used, id LIMIT 32)
"""
CONTENTS = """
    SELECT survey, SUM(LENGTH(pixels) > 0), SUM(LENGTH(pixels) = 0),
        IFNULL(DATETIME(MIN(used), 'unixepoch'), ''), IFNULL(DATETIME(MAX(used), 'unixepoch'), '')
    FROM cutouts GROUP BY survey ORDER BY survey
"""
SIZE = """
    SELECT (page_count - freelist_count) * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""

# Types of an image and of its planes, which are stored one after the other. What is there follows
# from the number of bytes a pixel: 4 for the image, 4 more for a variance, 1 more for a mask.
_TYPES = '<f4', '<f4', bool
_PICTURE, _IMAGE = 3, 4

# The time of use has a resolution of an hour, so that reading writes very little.
USE_RESOLUTION = 3600  # seconds

# A full cache is reduced to this fraction, so that it is not pruned at every write.
FRACTION_KEPT = 0.9


class _Known(Enum):
    NO_COVERAGE = 'no_coverage'

    def __repr__(self):
        return self.name


NO_COVERAGE = _Known.NO_COVERAGE


class CutoutKey(NamedTuple):
    """
    Key of a cached cutout.

    Positions that agree to 0.01 arcsec, and scales that agree to 0.0001 arcsec, are the same.

    Parameters
    ----------
    survey : str
        Name of the survey and its service, because services resample differently.
    band : str
        Name of the band.
    ra, dec : float
        Position of the centre in degrees, ICRS.
    side : int
        Side in pixels.
    scale : float
        Arcseconds a pixel.
    """

    survey: str
    band: str
    ra: float
    dec: float
    side: int
    scale: float


class CacheSummary(NamedTuple):
    """
    The contents of a cache.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    size : int
        Bytes in use.
    n_images : int
        Number of images, one a band.
    n_no_coverage : int
        Number of cutouts known to lie outside their survey.
    oldest, newest : str
        Times at which the least and the most recently used cutouts were last used, UTC, to the
        hour; empty if there are none.
    surveys : dict
        Number of images of each survey.
    """

    path: Path
    size: int
    n_images: int
    n_no_coverage: int
    oldest: str
    newest: str
    surveys: dict

    def __str__(self):
        lines = [
            f'{self.path}: {self.n_images} images, {self.size / 1e6:.1f} MB',
            f'known to lie outside: {self.n_no_coverage}',
            f'last used: {self.oldest or "never"} to {self.newest or "never"}',
            *(f'{survey}: {n} images' for survey, n in self.surveys.items()),
        ]
        return '\n'.join(lines)


class CutoutCache:
    """
    Fetched cutouts, in one file that threads, processes and killed runs may share.

    The file is an SQLite database in write-ahead mode: cutouts are written atomically, also if the
    process is killed, and a damaged image counts as missing. It belongs on a local disk: SQLite
    cannot share a file between the machines of a network file system. A file that is damaged, not
    a cache or of an older version is renamed with a warning, and a new one created; one of a later
    version is left as it is.

    If the file can only be read, is locked by another program, or its disk is full, images that
    can't be read count as missing, and those that can't be written are not kept; the first time, a
    warning says so.

    Parameters
    ----------
    path : path-like, default=None
        The file; ``astro_morph.conf.cache_file`` if None, or if that is empty ``cutouts.sqlite``
        in Astropy's cache folder.
    max_size : int, default=None
        Size of the file in bytes above which the least recently used cutouts are dropped;
        ``astro_morph.conf.cache_size`` if None.

    Raises
    ------
    OSError
        If the file can be neither opened nor created, or is of a later version.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.cutouts.fetching.cache import NO_COVERAGE, CutoutCache, CutoutKey
    >>> cache = CutoutCache(getfixture('tmp_path') / 'cutouts.sqlite')
    >>> inside = CutoutKey('legacy-dr10', 'r', 150.1, 2.2, 64, 0.262)
    >>> outside = inside._replace(dec=89.0)
    >>> cache.put([(inside, np.ones((64, 64))), (outside, NO_COVERAGE)])
    >>> image, unknown, known = cache.get([inside, inside._replace(band='g'), outside])
    >>> image.shape, unknown, known
    ((64, 64), None, NO_COVERAGE)
    """

    def __init__(self, path=None, *, max_size=None):
        path = Path(os.path.expanduser(path or conf.cache_file or _default_path()))
        max_size = int(conf.cache_size * 1e9 if max_size is None else max_size)
        self.__setstate__({'path': path, 'max_size': max_size})
        self._database.do(lambda connection: None)

    def __repr__(self):
        return f'CutoutCache({str(self.path)!r}, max_size={self.max_size})'

    def __len__(self):
        """Return the number of images, and of cutouts known to lie outside their survey."""
        return self._database.do(
            lambda connection: _one(connection, 'SELECT COUNT(*) FROM cutouts')
        )

    def __getstate__(self):
        return {'path': self.path, 'max_size': self.max_size}

    def __setstate__(self, state):
        self.path, self.max_size = state['path'], state['max_size']
        marks = (APPLICATION_ID, VERSION, N_OBJECTS)
        self._database = Database(self.path, schema=SCHEMA, marks=marks)
        self._has_warned = False

    def get(self, keys):
        """
        Return cutouts by key.

        Parameters
        ----------
        keys : iterable of `~astro_morph.cutouts.fetching.cache.CutoutKey`
            The keys.

        Returns
        -------
        images : list
            For each key a read-only array, of float32 and shape (y, x) or of uint8 and shape
            (3, y, x) for a picture; ``NO_COVERAGE`` if the position is known to lie outside the
            survey; or None if nothing is known. An image that was stored with a variance or a mask
            is a `~astro_morph.images.planes.masked_image.MaskedImage` of such arrays.
        """
        rows = [_row(key) for key in keys]
        now = int(time.time())
        try:
            found = self._database.do(lambda connection: _look_up(connection, rows, now))
        except OSError as error:
            self._warn(error)
            return [None] * len(rows)
        self._note_use([entry[0] for entry in found if entry and entry[1]], now)
        found = [entry and entry[2:] for entry in found]
        return [entry and _decode(row, *entry) for row, entry in zip(rows, found, strict=True)]

    def put(self, items):
        """
        Store cutouts, all or none of them, and replace those with the same keys.

        Parameters
        ----------
        items : iterable of (`~astro_morph.cutouts.fetching.cache.CutoutKey`, image)
            The cutouts; an image is an array of shape (y, x), stored as float32, or a picture of
            shape (3, y, x), stored as uint8, or ``NO_COVERAGE``. An image with a variance or a mask
            is a `~astro_morph.images.planes.masked_image.MaskedImage`.

        Raises
        ------
        ValueError
            If the shape of an image differs from that in its key.
        """
        now = int(time.time())
        entries = [_encode(_row(key), image, now) for key, image in items]
        try:
            self._database.do(lambda connection: self._write(connection, entries))
        except OSError as error:
            self._warn(error)

    def describe(self):
        """
        Return the contents of the cache in numbers.

        Returns
        -------
        summary : `~astro_morph.cutouts.fetching.cache.CacheSummary`
            Print it, or read its fields.
        """
        size = self._database.do(lambda connection: _one(connection, SIZE))
        contents = self._database.do(lambda connection: connection.execute(CONTENTS).fetchall())
        columns = list(zip(*contents, strict=True)) or [()] * 5
        surveys, n_images, n_no_coverage, oldest, newest = columns
        return CacheSummary(
            path=self.path,
            size=size,
            n_images=sum(n_images),
            n_no_coverage=sum(n_no_coverage),
            oldest=min(oldest, default=''),
            newest=max(newest, default=''),
            surveys=dict(zip(surveys, n_images, strict=True)),
        )

    def prune(self, max_size):
        """
        Drop the least recently used cutouts, and shrink the file.

        Parameters
        ----------
        max_size : int
            Size of the file afterwards in bytes, at most.
        """

        def shrink(connection):
            _drop_oldest(connection, max_size)
            for _ in range(0, _one(connection, 'PRAGMA freelist_count'), 1000):
                # A script, because a query would stop after one page.
                connection.executescript('PRAGMA incremental_vacuum(1000)')
            connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')

        self._database.do(shrink)

    def clear(self):
        """Drop all cutouts."""
        self.prune(0)

    def close(self):
        """Close the file; the next use opens it again."""
        self._database.close()

    def _warn(self, error):
        """Warn once that the cache is of no use, or of less."""
        if not self._has_warned:
            self._has_warned = True
            msg = f'{error}; the images it lacks are fetched, and not kept'
            warnings.warn(msg, AstropyUserWarning, stacklevel=3)

    def _note_use(self, numbers, now):
        """Update the time of use of some images, if the file can be written at present."""
        if numbers:
            uses = [(now, number) for number in numbers]
            with suppress(OSError):
                self._database.do(lambda connection: _note(connection, uses))

    def _write(self, connection, entries):
        with transaction(connection, 'IMMEDIATE'):
            connection.executemany(PUT, entries)
        if _one(connection, SIZE) > self.max_size:
            _drop_oldest(connection, FRACTION_KEPT * self.max_size)


def _default_path():
    return Path(get_cache_dir()) / 'astro_morph' / 'cutouts.sqlite'


def _row(key):
    """Return the columns of a key; equal positions have equal numbers."""
    survey, band, ra, dec, side, scale = key
    return (
        str(survey),
        str(band),
        round(float(ra) * 360_000) % 129_600_000,
        round(float(dec) * 360_000),
        int(side),
        round(float(scale) * 10_000),
    )


def _encode(row, image, now):
    pixels = b'' if image is NO_COVERAGE else _pixels(row, MaskedImage.of(image))
    return *row, now, _checksum(row, pixels), pixels


def _pixels(row, image):
    side = row[4]
    image = image.each(np.asarray)
    if image.shape == (side, side):
        planes = zip((image.image, image.variance, image.mask), _TYPES, strict=True)
        return b''.join(plane.astype(kind).tobytes() for plane, kind in planes if plane is not None)
    if image.shape == (3, side, side):
        return image.image.astype(np.uint8).tobytes()
    msg = f'an image has the shape {image.shape}, its key {side} x {side} pixels'
    raise ValueError(msg)


def _decode(row, checksum, pixels):
    """Return a stored image, None if it does not match its checksum."""
    side = row[4]
    if _checksum(row, pixels) != checksum:
        return None
    if not pixels:
        return NO_COVERAGE
    n_pixels = side**2
    n_bytes = len(pixels) // n_pixels
    if n_bytes == _PICTURE:
        return np.frombuffer(pixels, np.uint8).reshape(3, side, side)
    image = np.frombuffer(pixels, '<f4', n_pixels).reshape(side, side)
    if n_bytes == _IMAGE:
        return image
    variance = np.frombuffer(pixels, '<f4', n_pixels, 4 * n_pixels) if n_bytes >= 8 else None
    mask = np.frombuffer(pixels, bool, n_pixels, len(pixels) - n_pixels) if n_bytes % 4 else None
    return MaskedImage(image, variance, mask).each(lambda plane: plane.reshape(side, side))


def _checksum(row, pixels):
    return zlib.crc32(pixels, zlib.crc32(repr(row).encode()))


def _look_up(connection, rows, now):
    """Return what is stored for some rows."""
    with transaction(connection, 'DEFERRED'):
        return [connection.execute(GET, (now - USE_RESOLUTION, *row)).fetchone() for row in rows]


def _note(connection, uses):
    with transaction(connection, 'IMMEDIATE'):
        connection.executemany('UPDATE cutouts SET used = ? WHERE id = ?', uses)


def _drop_oldest(connection, size):
    while _one(connection, SIZE) > size and connection.execute(DROP_OLDEST).rowcount:
        pass


def _one(connection, query):
    return connection.execute(query).fetchone()[0]
