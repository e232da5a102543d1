# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""FITS images on the sky: where they lie, and their pixels without reading more than is needed."""

import mmap
import os
import threading
import warnings
from collections import OrderedDict
from functools import cached_property
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area, wcs_to_celestial_frame

from astro_morph.images.reading import (
    ImageError,
    NotAnImageError,
    TruncatedImageError,
    find_decompressor,
    find_image_hdu,
    image_errors,
    open_fits,
    read_fits,
    read_pixels,
)

__all__ = ['DownloadedImage', 'SkyImage', 'Tile', 'TilePixels']

# wcslib changes its structures while it computes, with Python's lock released.
_WCS_LOCK = threading.Lock()

_BAND_KEYWORDS = ('FILTER', 'BAND', 'FILTNAM')


class SkyImage:
    """
    A FITS image with a celestial WCS; a cube counts as one plane a band.

    It holds what the header says, and opens no file after that.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file.
    hdu : int or str, optional
        Number or name of the extension; by default the first that holds an image.

    Raises
    ------
    ImageError
        If there is no image with a celestial WCS.
    """

    def __init__(self, path, hdu=None):
        self.path = path
        # astropy tells of every odd header; what matters here ends in an error.
        with image_errors(), warnings.catch_warnings():
            warnings.simplefilter('ignore', AstropyWarning)
            with self._open() as hdus:
                image = find_image_hdu(hdus, hdu)
                self._read_header(image, hdus)
                self._hdu = hdus.index_of(image)
                self._read_layout(image)

    def _open(self):
        return open_fits(self.path)

    def _read_layout(self, hdu):
        self._layout = None if find_decompressor(self.path) else _find_layout(hdu)

    def _read_header(self, hdu, hdus=None):
        wcs = WCS(hdu.header, hdus)
        if not wcs.has_celestial:
            msg = 'the image has no celestial WCS'
            raise NotAnImageError(msg)
        self.wcs = wcs.celestial
        self.frame = wcs_to_celestial_frame(self.wcs)
        self.pixel_scale = np.sqrt(proj_plane_pixel_area(self.wcs)) * u.deg
        self.shape = hdu.shape[-2:]
        self.n_planes = int(np.prod(hdu.shape[:-2]))
        self.bands = _read_bands(hdu.header, self.n_planes)
        self.zero_point = 22.5 if _is_in_nanomaggies(hdu.header) else np.nan

    def to_pixel(self, coords):
        """Turn ICRS positions of shape (...) into pixels (x, y) of shape (..., 2)."""
        sky = coords.transform_to(self.frame).spherical
        lonlat = np.stack([sky.lon.deg.ravel(), sky.lat.deg.ravel()])
        with _WCS_LOCK:
            # Far from the image a distortion may not converge; such pixels are outside anyway.
            xy = self.wcs.all_world2pix(*lonlat[self._world_order], 0, quiet=True)
        return np.stack(xy, axis=-1).reshape(*coords.shape, 2)

    def to_sky(self, xy):
        """Turn pixels (x, y) of shape (..., 2) into ICRS positions of shape (...)."""
        with _WCS_LOCK:
            world = self.wcs.all_pix2world(*xy.reshape(-1, 2).T, 0)
        lon, lat = np.stack(world)[self._world_order].reshape(2, *xy.shape[:-1])
        return SkyCoord(lon, lat, unit=u.deg, frame=self.frame).icrs

    @property
    def _world_order(self):
        return [self.wcs.wcs.lng, self.wcs.wcs.lat]

    def contains(self, xy):
        """Tell which pixels (x, y) of shape (..., 2) lie inside the image."""
        last = np.array(self.shape[::-1]) - 1
        # A hair less than half a pixel: on the very rim, round-off decides for either side.
        return ((xy > -0.499) & (xy < last + 0.499)).all(axis=-1)

    def find_near(self, directions, reach):
        """
        Find the positions that may be near the image.

        Parameters
        ----------
        directions : `~numpy.ndarray`, shape (n, 3)
            The positions as ICRS unit vectors.
        reach : float
            How near, in radians.

        Returns
        -------
        rows : `~numpy.ndarray` of int
            All positions within ``reach`` of the image, and some more.
        """
        centre, radius = self._circle
        return np.flatnonzero(directions @ centre >= np.cos(min(radius + reach, np.pi)))

    @property
    def centre(self):
        """The middle of the image as an ICRS unit vector."""
        return self._circle[0]

    @cached_property
    def _circle(self):
        """Centre of a circle around the image as a unit vector, and its radius in radians."""
        ny, nx = self.shape
        # The rim at nine points: half a turn of the sky has its corners nearer than its middle.
        rim = np.stack(np.meshgrid(np.linspace(0, nx, 3), np.linspace(0, ny, 3)), axis=-1) - 0.5
        sky = self.to_sky(rim)
        centre = sky[1, 1].cartesian.xyz.value
        radius = sky[1, 1].separation(sky).rad.max()
        # A projection of the whole sky may have no sky at its corners, or even in its middle.
        is_known = np.isfinite(radius) and np.isfinite(centre).all()
        return (centre, radius) if is_known else (np.array([0, 0, 1]), np.pi)

    def read(self):
        """Return the pixels of shape (plane, y, x), mapped into memory where the file allows it."""
        if self._layout is None:
            return read_fits(self.path, self._hdu).reshape(-1, *self.shape)
        shape = (self.n_planes, *self.shape)
        with image_errors():
            return self._layout.map(self.path, shape)

    @property
    def is_mapped(self):
        """Whether the pixels are read when they are asked for, not all at once."""
        return self._layout is not None


class DownloadedImage(SkyImage):
    """
    A FITS image in memory, with a celestial WCS.

    Parameters
    ----------
    hdu : `~astropy.io.fits.PrimaryHDU` or `~astropy.io.fits.ImageHDU`
        What was downloaded.

    Raises
    ------
    ImageError
        If it is no image with a celestial WCS, or its pixels are not all there.
    """

    is_mapped = False

    def __init__(self, hdu):
        with image_errors(), warnings.catch_warnings():
            warnings.simplefilter('ignore', AstropyWarning)
            self._read_header(find_image_hdu([hdu]))
            self._pixels = read_pixels(hdu).reshape(-1, *self.shape)

    def read(self):
        """Return the pixels of shape (plane, y, x)."""
        return self._pixels


class Tile(NamedTuple):
    """The part of a mosaic that one plane of one image covers, in one band."""

    image: SkyImage
    plane: int


class TilePixels:
    """
    Keeps images open for the time of a call.

    Few files are open at any time, and few pixels of compressed files are held.
    """

    _MAX_MAPPED = 64  # far below the 256 open files that a process may have on some systems
    _MAX_READ_BYTES = 2**30

    def __init__(self):
        self._open = OrderedDict()
        self._failures = {}

    def get(self, tile):
        """Return the pixels of a tile, of shape (y, x); raise ImageError if there are none."""
        image = tile.image
        if image in self._failures:
            raise self._failures[image]
        # Tiles come sorted by file: what another one holds in memory is not read again soon.
        if next(reversed(self._open), image) is not image:
            self.release()
        if image not in self._open:
            self._make_room(image)
            try:
                self._open[image] = image.read()
            except ImageError as error:
                warnings.warn(
                    f'{image.path} is {error.status}: {error}; its galaxies have no image until it '
                    'is replaced',
                    AstropyUserWarning,
                    stacklevel=2,
                )
                self._failures[image] = error
                raise
        self._open.move_to_end(image)
        return self._open[image][tile.plane]

    def release(self):
        """Let go of what was read of the mapped file used last: it counts as memory of ours."""
        file = _mapped_file(next(reversed(self._open.values()), None))
        # Not every system can be told so.
        if file is not None and hasattr(mmap, 'MADV_DONTNEED'):
            file.madvise(mmap.MADV_DONTNEED)

    def _make_room(self, image):
        def is_alike(other):
            return other.is_mapped == image.is_mapped

        def room_taken():
            alike = [self._open[other] for other in self._open if is_alike(other)]
            return len(alike) if image.is_mapped else sum(array.nbytes for array in alike)

        limit = self._MAX_MAPPED - 1 if image.is_mapped else self._MAX_READ_BYTES
        while room_taken() > limit:
            del self._open[next(filter(is_alike, self._open))]


class _Layout(NamedTuple):
    """Where the pixels lie in a file that is not compressed, and what their numbers mean."""

    offset: int
    dtype: np.dtype
    scale: float
    zero: float
    blank: int | None

    def map(self, path, shape):
        if os.stat(path).st_size < self.offset + np.prod(shape) * self.dtype.itemsize:
            msg = 'the file ends before the last pixel'
            raise TruncatedImageError(msg)
        # A plain view: slices of numpy.memmap itself are several times slower.
        raw = np.asarray(np.memmap(path, self.dtype, 'r', self.offset, shape))
        is_plain = (self.scale, self.zero, self.blank) == (1, 0, None)
        return raw if is_plain else _ScaledPixels(raw, self)


class _ScaledPixels:
    """Mapped integers that become physical values when they are sliced."""

    def __init__(self, raw, layout):
        self.raw = raw
        self._layout = layout
        self.shape = raw.shape

    def __getitem__(self, index):
        raw = self.raw[index]
        if isinstance(index, (int, np.integer)):
            return _ScaledPixels(raw, self._layout)
        values = raw * float(self._layout.scale) + self._layout.zero
        if self._layout.blank is not None:
            values = np.where(raw == self._layout.blank, np.nan, values)
        return values


def _mapped_file(pixels):
    """Give the map of the file under some pixels, None if they are in memory."""
    under = pixels.raw if isinstance(pixels, _ScaledPixels) else pixels
    while isinstance(under, np.ndarray):
        under = under.base
    return under if isinstance(under, mmap.mmap) else None


def _find_layout(hdu):
    """Return where the pixels lie in the file, None if they can't be mapped."""
    if isinstance(hdu, fits.CompImageHDU):
        return None
    header = hdu.header
    bitpix = header['BITPIX']
    return _Layout(
        offset=hdu.fileinfo()['datLoc'],
        dtype=np.dtype(fits.BITPIX2DTYPE[bitpix]).newbyteorder('>'),
        scale=header.get('BSCALE', 1),
        zero=header.get('BZERO', 0),
        blank=header.get('BLANK') if bitpix > 0 else None,
    )


def _is_in_nanomaggies(header):
    return 'nanomaggy' in str(header.get('BUNIT')).lower()


def _read_bands(header, n_planes):
    """Return the names of the bands of the planes as the header has them, or None."""
    names = (header.get('BANDS') or '').replace(',', ' ').split()
    names = list(names[0]) if len(names) == 1 else names
    if n_planes == 1:
        names = [str(header[key]).strip() for key in _BAND_KEYWORDS if key in header][:1]
    return tuple(names) if len(names) == n_planes else None
