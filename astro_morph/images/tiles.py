# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""FITS images with a WCS: their place on the sky, and their pixels, read only where needed."""

import mmap
import os
import threading
import warnings
from collections import OrderedDict
from contextlib import suppress
from copy import copy
from functools import cached_property
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area, wcs_to_celestial_frame

from astro_morph.images.errors import (
    ImageError,
    NotAnImageError,
    TruncatedImageError,
    image_errors,
)
from astro_morph.images.planes.finding import bad_bits, find_planes
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import Plane
from astro_morph.images.reading import (
    find_image_hdu,
    find_images,
    is_compressed,
    list_hdus,
    open_fits,
    read_fits,
    read_pixels,
)
from astro_morph.images.units import ImageUnit

__all__ = ['DownloadedImage', 'Layout', 'SkyImage', 'Tile', 'TilePixels', 'find_layout']

# wcslib modifies its structures during computations, without holding Python's lock.
_WCS_LOCK = threading.Lock()

_BAND_KEYWORDS = ('FILTER', 'BAND', 'FILTNAM')

# Maps that repeat themselves after 360 degrees of longitude.
_PERIODIC_PROJECTIONS = ('CAR', 'CEA', 'CYP', 'HPX', 'MER')

# Images whose edges lie as close as this, in pixels, show the same part of the sky.
_SAME_PLACE = 0.1


class SkyImage:
    """
    A FITS image with a celestial WCS; each plane of a cube is a band.

    The file is closed again; the pixels are read later.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file.
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    number : int
        Number of the HDU.

    Raises
    ------
    NotAnImageError
        If the image has no celestial WCS.
    """

    def __init__(self, path, hdus, number):
        self.path = path
        self._read_header(hdus[number], hdus)
        self._choose(hdus[number], number)

    @classmethod
    def open_all(cls, path, hdu=None, *, with_planes=False):
        """
        Open the images of a file, such as those of the detectors of a camera.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            The file.
        hdu : int or str, default=None
            Number or name of the extension; None for all images of the sky, see
            `~astro_morph.images.reading.find_images`.
        with_planes : bool, default=False
            Whether to find the planes of each image among the others, see
            `~astro_morph.images.planes.finding.find_planes`.

        Returns
        -------
        images : list of `SkyImage`
            Those with a celestial WCS.

        Raises
        ------
        ImageError
            If there is no image with a celestial WCS.
        """
        images = []
        # Astropy warns of every unusual header; real problems raise an error here.
        with image_errors(), warnings.catch_warnings():
            warnings.simplefilter('ignore', AstropyWarning)
            with cls._open(path) as hdus:
                for number in find_images(hdus, hdu):
                    with suppress(NotAnImageError):
                        images.append(cls(path, hdus, number))
                        if with_planes:
                            images[-1]._find_planes(hdus)
        if not images:
            msg = 'the image has no celestial WCS'
            raise NotAnImageError(msg)
        return images

    @staticmethod
    def _open(path):
        return open_fits(path)

    def _find_planes(self, hdus):
        hdus = list(list_hdus(hdus))
        band = self.bands[0] if self.bands else None
        for holds, found in find_planes(hdus, self._hdu, band).items():
            # On the same pixels, and with the same WCS.
            image = copy(self)
            image._choose(hdus[found.number], found.number)
            self.planes[holds] = Plane(image, 0, found.values)

    def _choose(self, hdu, number):
        """Read the pixels of an HDU of the file."""
        self.name = f'{self.path}{_label(hdu, number)}'
        self.planes, self.bits = {}, bad_bits(hdu.header)
        self._hdu = number
        self.n_planes = int(np.prod(hdu.shape[:-2]))
        self._read_layout(hdu)

    def _read_layout(self, hdu):
        self._layout = None if is_compressed(self.path) else find_layout(hdu)

    def _read_header(self, hdu, hdus=None):
        wcs = WCS(hdu.header, hdus)
        if not wcs.has_celestial:
            msg = 'the image has no celestial WCS'
            raise NotAnImageError(msg)
        self.wcs = wcs.celestial
        self._period = _find_period(self.wcs)
        self.frame = wcs_to_celestial_frame(self.wcs)
        self.pixel_scale = np.sqrt(proj_plane_pixel_area(self.wcs)) * u.deg
        self.shape = hdu.shape[-2:]
        self.bands = _read_bands(hdu.header, int(np.prod(hdu.shape[:-2])))
        self.unit = ImageUnit.of(hdu.header)

    def to_pixel(self, coords):
        """Turn ICRS positions of shape (...) into pixels (x, y) of shape (..., 2)."""
        sky = coords.transform_to(self.frame).spherical
        lonlat = np.stack([sky.lon.deg.ravel(), sky.lat.deg.ravel()])
        with _WCS_LOCK:
            # Far from the image, where distortions may not converge, pixels are outside anyway.
            xy = self.wcs.all_world2pix(*lonlat[self._world_order], 0, quiet=True)
        xy = np.stack(xy, axis=-1).reshape(*coords.shape, 2)
        # In a map that repeats itself, those nearest to the centre are inside if any are.
        return self._repeat_near((np.array(self.shape[::-1]) - 1) / 2, xy)

    def place_grids(self, stencils):
        """
        Yield the places where the image may show small grids of positions.

        Parameters
        ----------
        stencils : `~astropy.coordinates.SkyCoord`, shape (n, p)
            ICRS positions, p for each grid.

        Yields
        ------
        xy : `~numpy.ndarray`, shape (n, p, 2)
            Their pixels (x, y), at one place; at three in a map that repeats itself, of which one
            edge continues at the other.
        """
        xy = self.to_pixel(stencils)
        if self._period is None:
            yield xy
            return
        xy = self._repeat_near(xy[:, :1], xy)
        for turn in (0, -1, 1):
            yield xy + turn * self._period

    def _repeat_near(self, place, xy):
        """Shift pixels by the period of the map, to be as near as possible to a place."""
        if self._period is None:
            return xy
        turns = np.round((place - xy) @ self._period / (self._period @ self._period))
        return xy + turns[..., np.newaxis] * self._period

    def to_sky(self, xy):
        """Turn pixels (x, y) of shape (..., 2) into ICRS positions of shape (...)."""
        # Projections end 180 degrees from their centre.
        xy = self._repeat_near(self.wcs.wcs.crpix - 1, xy)
        with _WCS_LOCK:
            world = self.wcs.all_pix2world(*xy.reshape(-1, 2).T, 0)
        lon, lat = np.stack(world)[self._world_order].reshape(2, *xy.shape[:-1])
        return SkyCoord(lon, lat, unit=u.deg, frame=self.frame).icrs

    @property
    def _world_order(self):
        return [self.wcs.wcs.lng, self.wcs.wcs.lat]

    def contains(self, xy):
        """Check which pixels (x, y) of shape (..., 2) lie inside the image."""
        last = np.array(self.shape[::-1]) - 1
        # Slightly less than half a pixel: exactly on the edge, round-off would decide.
        return ((xy > -0.499) & (xy < last + 0.499)).all(axis=-1)

    def find_near(self, directions, reach):
        """
        Return the positions that may be near the image.

        Parameters
        ----------
        directions : `~numpy.ndarray`, shape (n, 3)
            The positions as ICRS unit vectors.
        reach : float
            The distance in radians.

        Returns
        -------
        rows : `~numpy.ndarray` of int
            At least all positions within ``reach`` of the image.
        """
        centre, radius = self._circle
        return np.flatnonzero(directions @ centre >= np.cos(min(radius + reach, np.pi)))

    @property
    def centre(self):
        """The centre of the image as an ICRS unit vector."""
        return self._circle[0]

    @cached_property
    def _circle(self):
        """Centre of a circle around the image as a unit vector, and its radius in radians."""
        sky = self.to_sky(self._rim)
        centre = sky[1, 1].cartesian.xyz.value
        radius = sky[1, 1].separation(sky).rad.max()
        # The corners, or even the centre, of an all-sky projection may be off the sky.
        is_known = np.isfinite(radius) and np.isfinite(centre).all()
        return (centre, radius) if is_known else (np.array([0, 0, 1]), np.pi)

    @property
    def _rim(self):
        """Pixels of shape (3, 3, 2): centre, corners and middles of the sides."""
        # In an image of half the sky, the corners are nearer to the centre than the middles.
        ny, nx = self.shape
        return np.stack(np.meshgrid(np.linspace(0, nx, 3), np.linspace(0, ny, 3)), axis=-1) - 0.5

    def shows_same_sky(self, other):
        """Check whether another image has the same edges on the sky, to a tenth of a pixel."""
        distances = np.abs(self.to_pixel(other.to_sky(other._rim)) - self._rim)
        # Points off the sky, which are NaN, tell nothing.
        return np.isfinite(distances).any() and not (distances > _SAME_PLACE).any()

    def read(self):
        """Return the pixels of shape (plane, y, x), memory-mapped if the file allows it."""
        if self._layout is None:
            return read_fits(self.path, self._hdu).reshape(-1, *self.shape)
        shape = (self.n_planes, *self.shape)
        with image_errors():
            return self._layout.map(self.path, shape)

    @property
    def is_mapped(self):
        """Whether pixels are read on access, not all at once."""
        return self._layout is not None


class DownloadedImage(SkyImage):
    """
    A FITS image in memory, with a celestial WCS.

    Parameters
    ----------
    hdu : `~astropy.io.fits.PrimaryHDU` or `~astropy.io.fits.ImageHDU`
        The downloaded image.

    Raises
    ------
    ImageError
        If it is not an image with a celestial WCS, or some of its pixels are missing.
    """

    is_mapped = False

    def __init__(self, hdu):
        with image_errors(), warnings.catch_warnings():
            warnings.simplefilter('ignore', AstropyWarning)
            image = find_image_hdu([hdu])
            self._read_header(image)
            self._pixels = read_pixels(image).reshape(-1, *self.shape)

    def read(self):
        """Return the pixels of shape (plane, y, x)."""
        return self._pixels


class Tile(NamedTuple):
    """The part of a mosaic that one plane of one image covers, in one band."""

    image: SkyImage
    plane: int
    flux_scale: u.Quantity | None = None  # of the pixels that fluxes are per, if not its own
    # Arrays, or a `Plane` each, on the pixels of the image; None where there is none.
    variance: object = None
    mask: object = None

    # What its pixels are, for messages.
    holds = 'image'

    @property
    def n_flux_pixels(self):
        """Number of pixels that fluxes are per in a pixel of the image; 1 of surface brightness."""
        if self.flux_scale is None or self.image.unit.is_surface_brightness:
            return 1
        return float((self.image.pixel_scale / self.flux_scale).to_value(u.one)) ** 2

    def zero_point(self, pixel_scale, given=None):
        """
        Return the AB magnitude of a value of one in cutouts of a pixel scale.

        Parameters
        ----------
        pixel_scale : `~astropy.units.Quantity`
            Angle a pixel of the cutouts, for all or one each.
        given : float, default=None
            That of a value of one in a pixel of the image; from its unit if None.

        Returns
        -------
        zero_point : float
            NaN if it is not known, or if it differs between cutouts in surface brightness.
        """
        unit = self.image.unit
        if given is None:
            return unit.zero_point(pixel_scale)
        if not unit.is_surface_brightness:
            return given
        own_scale = self.image.pixel_scale if self.flux_scale is None else self.flux_scale
        ratios = np.unique((pixel_scale / own_scale).to_value(u.one))
        return given - 5 * np.log10(ratios[0]) if len(ratios) == 1 else np.nan


class TilePixels:
    """
    Reader for tile pixels, which keeps images open during a call.

    It limits the number of open files, and the memory for pixels of compressed files.
    """

    _MAX_MAPPED = 64  # some systems allow a process 256 open files
    _MAX_READ_BYTES = 2**30

    def __init__(self):
        self._open = OrderedDict()
        self._failures = {}

    def get(self, tile):
        """Return the pixels of a tile, of shape (y, x); raise ImageError if they can't be read."""
        image = tile.image
        if image in self._failures:
            raise self._failures[image]
        # Tiles are requested file by file: pixels of another file are not needed again soon.
        if next(reversed(self._open), image) is not image:
            self.release()
        if image not in self._open:
            self._make_room(image)
            try:
                self._open[image] = image.read()
            except ImageError as error:
                warnings.warn(
                    f'{image.name} is {error.status}: {error}; its galaxies have no '
                    f'{tile.holds} until it is replaced',
                    AstropyUserWarning,
                    stacklevel=2,
                )
                self._failures[image] = error
                raise
        self._open.move_to_end(image)
        return self._open[image][tile.plane]

    def get_planes(self, tile):
        """
        Return the pixels of a tile with its planes.

        Parameters
        ----------
        tile : Tile
            The tile.

        Returns
        -------
        image : `~astro_morph.images.planes.masked_image.MaskedImage`
            The pixels. A plane that can't be read is left out, with a warning.

        Raises
        ------
        ImageError
            If the pixels can't be read.
        """
        planes = map(self._get_plane, (tile.variance, tile.mask))
        return MaskedImage(self.get(tile), *planes)

    def _get_plane(self, plane):
        if not isinstance(plane, Plane):
            return plane
        try:
            return plane.convert(self.get(plane))
        except ImageError:
            return None

    def release(self):
        """Free the pages that were read of the last mapped file, which count as used memory."""
        file = _mapped_file(next(reversed(self._open.values()), None))
        # Not available on every system.
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


class Layout(NamedTuple):
    """Position and encoding of the pixels in an uncompressed file."""

    offset: int
    dtype: np.dtype
    scale: float
    zero: float
    blank: int | None

    def map(self, path, shape):
        if os.stat(path).st_size < self.offset + np.prod(shape) * self.dtype.itemsize:
            msg = 'the file ends before the last pixel'
            raise TruncatedImageError(msg)
        # A plain view, because slicing a numpy.memmap is several times slower.
        raw = np.asarray(np.memmap(path, self.dtype, 'r', self.offset, shape))
        return raw if self.is_plain else _ScaledPixels(raw, self)

    @property
    def is_plain(self):
        """Whether the numbers in the file are the physical values."""
        return (self.scale, self.zero, self.blank) == (1, 0, None)

    def to_values(self, raw):
        """Turn numbers in the file into physical values; blank pixels become NaN."""
        if self.is_plain:
            return raw
        values = raw * float(self.scale) + self.zero
        return values if self.blank is None else np.where(raw == self.blank, np.nan, values)


class _ScaledPixels:
    """Mapped integers, converted to physical values when sliced."""

    def __init__(self, raw, layout):
        self.raw = raw
        self._layout = layout
        self.shape = raw.shape

    def __getitem__(self, index):
        raw = self.raw[index]
        if isinstance(index, (int, np.integer)):
            return _ScaledPixels(raw, self._layout)
        return self._layout.to_values(raw)


def _mapped_file(pixels):
    """Return the map of the file that pixels lie in, None if they are in memory."""
    base = pixels.raw if isinstance(pixels, _ScaledPixels) else pixels
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def find_layout(hdu):
    """Return the `Layout` of the pixels in the file, None if they can't be mapped."""
    header = hdu.header
    if isinstance(hdu, fits.CompImageHDU) or 'BSOFTEN' in header:
        return None
    bitpix = header['BITPIX']
    return Layout(
        offset=hdu.fileinfo()['datLoc'],
        dtype=np.dtype(fits.BITPIX2DTYPE[bitpix]).newbyteorder('>'),
        scale=header.get('BSCALE', 1),
        zero=header.get('BZERO', 0),
        blank=header.get('BLANK') if bitpix > 0 else None,
    )


def _label(hdu, number):
    """Return number, name and version of an extension in brackets; nothing for the primary HDU."""
    name = f' {hdu.name}' if hdu.name else ''
    version = f',{hdu.ver}' if hdu.ver > 1 else ''
    return f'[{number}{name}{version}]' if number else ''


def _find_period(wcs):
    """Return the shift (x, y) in pixels after which a map repeats itself, None if it does not."""
    axis = wcs.wcs.lng
    if wcs.wcs.ctype[axis][5:8] not in _PERIODIC_PROJECTIONS:
        return None
    return np.linalg.solve(wcs.pixel_scale_matrix, 360 * np.eye(2)[axis])


def _read_bands(header, n_planes):
    """Return the band of each plane from the header, None if it does not name them."""
    names = (header.get('BANDS') or '').replace(',', ' ').split()
    names = list(names[0]) if len(names) == 1 else names
    if n_planes == 1:
        names = [str(header[key]).strip() for key in _BAND_KEYWORDS if key in header][:1]
    return tuple(names) if len(names) == n_planes else None
