# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""FITS images at URLs, on a web server or in object storage, read only where needed."""

import glob
import os
import warnings
from functools import partial

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.images.decoding.tiles import is_fragile
from astro_morph.images.errors import ImageError, NotAnImageError, TruncatedImageError
from astro_morph.images.reading import read_pixels
from astro_morph.images.remote.ranges import RangePixels
from astro_morph.images.remote.stores import (
    MAX_BLOCKS,
    find_store,
    open_in_blocks,
    read_ranges,
    remote_errors,
    try_often,
)
from astro_morph.images.tiles import SkyImage, find_layout
from astro_morph.images.units import linearise
from astro_morph.utils.fits_headers import find_end

__all__ = ['RemoteImage', 'bracket_readings', 'find_files', 'is_url', 'locate']

# Bytes requested at a time to read headers; most are shorter.
_HEADER_BLOCK = 2**16

# Bytes requested at a time to read the pixels of compressed images.
_BLOCK = 2**20


def is_url(path):
    """Check for a URL such as ``'s3://bucket/tiles/*.fits'``, as opposed to a local path."""
    return '://' in os.fspath(path)


def locate(path):
    """Return a path without ``~``, or a URL as in `find_files`; a ``file://`` URL is a path."""
    if not is_url(path):
        return os.path.expanduser(os.fspath(path))
    from fsspec.implementations.local import LocalFileSystem

    store, place = find_store(path)
    # A local file can be mapped into memory.
    return place if isinstance(store, LocalFileSystem) else store.unstrip_protocol(place)


def bracket_readings(pattern):
    """
    Return what a pattern with brackets may mean.

    Parameters
    ----------
    pattern : str
        The pattern of a path.

    Returns
    -------
    readings : list of str
        Patterns in which brackets are parts of names, parts of the names of folders, and sets of
        characters; in the order in which they are tried.
    """
    folder, name = os.path.split(pattern)
    plain_folder = glob.escape(folder) if os.path.isdir(folder) else folder.replace('[', '[[]')
    readings = [(plain_folder, name.replace('[', '[[]')), (plain_folder, name), (folder, name)]
    return list(dict.fromkeys(os.path.join(*reading) for reading in readings))


def find_files(pattern):
    """
    Return the files that match a path, a URL or a pattern.

    Parameters
    ----------
    pattern : str or `~pathlib.Path`
        The pattern; on a web server it requires a page that lists the files of the folder.
        Brackets are taken as parts of names where there are such names, else as sets of characters.

    Returns
    -------
    files : list of str
        Their sorted paths or URLs; empty if nothing matches.
    """
    pattern = locate(pattern)
    if not is_url(pattern):
        if os.path.exists(pattern):
            return [pattern]
        found = (glob.glob(reading, recursive=True) for reading in bracket_readings(pattern))
        return sorted(next(filter(None, found), []))
    store, place = find_store(pattern)
    places = [place] if _is_there(store, place) else sorted(store.glob(place))
    return [store.unstrip_protocol(place) for place in places]


def _is_there(store, place):
    """Check that a file exists by its headers; ``exists`` would start to download it."""
    try:
        store.info(place)
    except FileNotFoundError:
        return False
    return True


class RemoteImage(SkyImage):
    """
    A FITS image at a URL, with a celestial WCS; see `~astro_morph.images.tiles.SkyImage`.

    Of a plain image, the rows of each cutout are read, those of many cutouts at once. The image may
    be tile-compressed, but the file must not be compressed as a whole. Of images compressed by RICE
    or gzip, the tiles of the cutouts are read, of others all.

    Parameters
    ----------
    path : str
        A URL that ``fsspec`` can open: ``https://``, ``s3://``, ``gs://``...
    hdus, number
        As in `~astro_morph.images.tiles.SkyImage`.
    """

    # Its blocks count towards the memory limit of TilePixels.
    is_mapped = False

    @staticmethod
    def _open(path):
        return try_often(partial(_open_fits, path))

    def _read_layout(self, hdu):
        info = hdu.fileinfo()
        self._end = info['datLoc'] + info['datSpan']
        self._layout = find_layout(hdu)

    def read(self):
        """Return an array-like of shape (plane, y, x) that reads the pixels when it is sliced."""
        return self.open_pixels(_Reader(self).read)

    def open_pixels(self, read):
        """
        Return the pixels, see `read`.

        Parameters
        ----------
        read : callable
            ``read(starts, ends)`` reads ranges of the file, see
            `~astro_morph.images.remote.stores.read_ranges`; used for an image that is plain.

        Returns
        -------
        pixels : array_like, shape (plane, y, x)
            They are read when they are sliced.

        Raises
        ------
        ImageError
            If the file can't be opened, or is truncated.
        """
        with remote_errors():
            file = try_often(partial(open_in_blocks, self.path, _BLOCK))
            if file.size < self._end:
                msg = 'the file ends before the last pixel'
                raise TruncatedImageError(msg)
            if self._layout is not None:
                shape = (self.n_planes, *self.shape)
                return RangePixels(read, self._layout, shape)
            hdu = fits.open(file)[self._hdu]
            if isinstance(hdu, fits.CompImageHDU):
                file.seek(0)
                table = fits.open(file, disable_image_compression=True)[self._hdu]
                if is_fragile(table.header):
                    return read_pixels(hdu).reshape(-1, *self.shape)
            return _RemotePixels(hdu, self.shape)


def _open_fits(path):
    """Open a FITS file, whose headers are then in its blocks."""
    file = open_in_blocks(path, _HEADER_BLOCK)
    start = file.read(6)
    if start and start != b'SIMPLE':
        msg = f'not a FITS file: it begins with {start!r}'
        raise NotAnImageError(msg)
    find_end(file)
    return fits.open(file)


class _Reader:
    """Reader of an image's file; once it has failed, it warns, and asks for nothing more."""

    def __init__(self, image):
        self._image = image
        self._failure = None

    def read(self, starts, ends):
        if self._failure is not None:
            raise self._failure
        try:
            return read_ranges(self._image.path, starts, ends)
        except ImageError as error:
            self._failure = error
            warnings.warn(
                f'{self._image.name} is {error.status}: {error}; galaxies have no image of it in '
                'this call',
                AstropyUserWarning,
                stacklevel=2,
            )
            raise


class _RemotePixels:
    """Compressed pixels of shape (plane, y, x), or of one plane, that are read when sliced."""

    nbytes = _BLOCK * MAX_BLOCKS

    def __init__(self, hdu, shape, plane=()):
        self._hdu = hdu
        self._plane = plane
        self.shape = shape

    def __getitem__(self, index):
        if isinstance(index, (int, np.integer)):
            plane = map(int, np.unravel_index(index, self._hdu.shape[:-2]))
            return _RemotePixels(self._hdu, self.shape, tuple(plane))
        with remote_errors():
            return linearise(self._read(*index), self._hdu.header)

    def _read(self, rows, columns):
        return self._hdu.section[(*self._plane, rows, columns)]
