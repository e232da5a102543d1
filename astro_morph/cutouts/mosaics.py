# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cut sources out of FITS mosaics, on disk or at URLs, at the positions of a catalogue."""

import fnmatch
import itertools
import os
import re
import warnings
from collections.abc import Mapping
from functools import cached_property

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from scipy.spatial import cKDTree

from astro_morph.catalog import as_table, read_positions
from astro_morph.catalog.bands import sort_bands
from astro_morph.catalog.detections.tables import find_pixels
from astro_morph.catalog.positions import has_positions
from astro_morph.cutouts.cutout_set import PLANES, CutoutSet
from astro_morph.cutouts.sizes import SAME_SCALE, framing_of, grid_of
from astro_morph.cutouts.source import CutoutSource
from astro_morph.images.companions import keep_images, keep_one_a_place, rank_names
from astro_morph.images.errors import ImageError
from astro_morph.images.planes.tiling import PlaneFiles, make_tile
from astro_morph.images.remote.urls import RemoteImage, bracket_readings, find_files, is_url, locate
from astro_morph.images.stitching import (
    LATTICE,
    STENCIL,
    cut_tiles,
    find_near,
    locate_grids,
    north_up,
)
from astro_morph.images.tiles import SkyImage, TilePixels
from astro_morph.utils.messages import as_written, for_caller

__all__ = ['Mosaics']

# Zero points with a smaller difference are taken as equal.
_SAME_MAGNITUDE = 0.001


class Mosaics(CutoutSource):
    """
    Cutouts from FITS images with a WCS.

    Each band may have many images (tiles) that differ in size, scale and angle, and that overlap or
    leave gaps; bands need not share a pixel grid. All bands of a cutout are on one grid, centred
    on the source. Without ``pixel_scale`` it is the pixel grid of the first band's image there, and
    images on that grid are cut without resampling, centred to half a pixel as in
    `~astropy.nddata.Cutout2D`. All others are resampled by cubic splines. Fluxes per pixel are
    multiplied by the ratio of the pixel areas, so that flux is conserved; surface brightness, which
    is recognised by the unit in BUNIT, such as MJy/sr, keeps its values.

    Where tiles overlap, a cutout is taken from the one that covers most of it, and its gaps are
    filled from the next. Pixels without any image are NaN, and flagged. A source whose centre lies
    in no image has the status ``'no_coverage'``, even if a corner of its cutout is covered. Rows
    whose only image can't be read get ``'truncated'`` or a similar status.

    Plain files are mapped into memory and read where they are cut; compressed files are read whole,
    once a call. Of files at URLs, in object storage or on a web server, only the blocks of the
    cutouts are read; this needs ``fsspec`` and its package for the service, and files that are
    plain or tile-compressed. The planes of a cube are bands.

    Weights, masks, models and the like, which are recognised by words such as ``invvar`` or ``wht``
    in the names of files and extensions, are left out where images are there. All other images of a
    file are used, such as those of several detectors.

    Variance and mask of an image are read from the extensions of its file, or from files beside it
    whose names differ by such a word, such as ``brick-invvar-r.fits`` and ``brick-maskbits.fits``
    beside ``brick-image-r.fits``. They must be on the same pixels. A masked pixel is taken from
    another tile that has a better one.

    Parameters
    ----------
    paths : str, `~pathlib.Path`, list of these, or dict
        The files of one band, or of cubes that hold all bands, as a path or URL, a pattern such as
        ``'tiles/*.fits'`` or ``'s3://bucket/tiles/*.fits'``, or a list; or a pattern with
        ``{band}`` in it; or a mapping of band names to the files of each.
    bands : sequence of str, default=None
        The bands in order. If None, the keys of the mapping, the bands found in place of
        ``{band}`` in order of wavelength, or those in the headers.
    pixel_scale : `~astropy.units.Quantity`, default=None
        Angle a pixel of the cutouts, which are then north up and east left. If None, that of the
        first image of the first band, to which images of another scale are resampled.
    zero_point : float or sequence of float, default=None
        AB magnitude of a value of one in a pixel of the images, for all bands or one a band. If
        None, it follows from the unit in the headers if that is a flux density, such as nanomaggies
        or MJy/sr, else it is not known. Cutouts in surface brightness have the zero point of their
        own pixels, NaN if these have several sizes.
    zero_point_scale : `~astropy.units.Quantity`, default=None
        Angle of the pixels that fluxes and ``zero_point`` refer to, for all bands or one a band;
        that of the images if None. Set it for images that another tool has reprojected to other
        pixels without conserving flux, to the pixel scale of the originals.
    coord_columns : str or (str, str), default=None
        The columns of the position, see `astro_morph.catalog.read_positions`.
    hdu : int or str, default=None
        Number or name of the extension with the image; all images of the sky if None.
    planes : bool, default=True
        Whether to read variance and mask where they are.

    Raises
    ------
    FileNotFoundError
        If no file matches.
    ValueError
        If no file is an image with a celestial WCS, if the bands don't fit the files, or if files
        of one band show exactly the same part of the sky and their names don't tell which is the
        image.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from astropy.coordinates import SkyCoord
    >>> from astropy.io import fits
    >>> from astropy.wcs import WCS
    >>> from astro_morph.cutouts import Mosaics
    >>> wcs = WCS(naxis=2)
    >>> wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    >>> wcs.wcs.crval = 150, 2
    >>> wcs.wcs.cdelt = -1e-4, 1e-4
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for band in 'gr':
    ...         hdu = fits.PrimaryHDU(np.ones((100, 100)), wcs.to_header())
    ...         hdu.writeto(f'{folder}/tile-{band}.fits')
    ...     mosaics = Mosaics(f'{folder}/tile-{{band}}.fits')
    ...     cutouts = mosaics.fetch(SkyCoord([149.998, 151], [2.002, 2], unit='deg'), size=32)
    >>> mosaics
    <Mosaics: 2 images, 2 bands (g, r), 0.36 arcsec pixels>
    >>> print(cutouts.status)
    ['ok' 'no_coverage']
    """

    def __init__(
        self,
        paths,
        *,
        bands=None,
        pixel_scale=None,
        zero_point=None,
        zero_point_scale=None,
        coord_columns=None,
        hdu=None,
        planes=True,
    ):
        files = _files_by_band(paths, bands)
        tiles = _find_tiles(files, bands, hdu, planes=planes)
        self._tiles = _set_flux_scale(tiles, zero_point_scale)
        self._own_grid = pixel_scale is None
        first_image = next(iter(self._tiles.values()))[0].image
        scale = first_image.pixel_scale if pixel_scale is None else u.Quantity(pixel_scale)
        self.pixel_scale = scale.to(u.arcsec)
        self.bands = tuple(self._tiles)
        self.zero_point = zero_point
        self.coord_columns = coord_columns
        self.planes = planes

    def __repr__(self):
        tiles = list(itertools.chain(*self._tiles.values()))
        n_images = len({tile.image for tile in tiles})
        planes = [name for name in PLANES if any(getattr(tile, name) for tile in tiles)]
        return (
            f'<Mosaics: {n_images} images, {len(self.bands)} bands ({", ".join(self.bands)}), '
            f'{self.pixel_scale:.4g} pixels{", with " if planes else ""}{" and ".join(planes)}>'
        )

    def fetch(self, X, *, size=None):
        return self._fetch(self.locate(as_table(X)), size, TilePixels())

    def stream(self, X, *, size=None, batch_size=1024):
        # Files stay open from batch to batch.
        table, pixels = self.locate(as_table(X)), TilePixels()
        for start in range(0, len(table), batch_size):
            yield self._fetch(table[start : start + batch_size], size, pixels)
            pixels.release()

    def order(self, X):
        # By image, and by declination within an image, so that each is opened once and read in one
        # direction; rows without a position come last.
        table = self.locate(as_table(X))
        coords, status = read_positions(table, coord_columns=self.coord_columns)
        has_position = status == 'ok'
        nearest = np.full(len(coords), self._centres.n)
        directions = coords[has_position].cartesian.xyz.value.T
        nearest[has_position] = self._centres.query(directions)[1]
        return np.lexsort((np.nan_to_num(coords.dec.deg), nearest))

    def locate(self, table):
        """
        Add the positions on the sky to a catalogue that was detected in the only frame.

        Parameters
        ----------
        table : `~astropy.table.Table`
            The catalogue.

        Returns
        -------
        table : `~astropy.table.Table`
            The catalogue itself if it has positions on the sky, or none in pixels. Otherwise a copy
            with the column ``sky_centroid``, by the WCS of the first band.

        Raises
        ------
        ValueError
            If the positions are in pixels, and the first band has several frames.
        """
        xy = None if self.coord_columns else find_pixels(table)
        if xy is None or has_positions(table):
            return table
        frames = self._tiles[self.bands[0]]
        if len(frames) > 1:
            msg = (
                f'{as_written("X")} has positions in pixels only, but {self!r} has {len(frames)} '
                f'images of {self.bands[0]}, expected one to which they belong; add positions on '
                "the sky, as in table['coord'] = wcs.pixel_to_world(x, y)"
            )
            raise ValueError(msg)
        located = table.copy(copy_data=False)
        located['sky_centroid'] = SkyCoord(frames[0].image.to_sky(xy))
        return located

    def settings(self):
        # The files themselves: a pattern may match others from another folder, or tomorrow.
        paths = {
            band: sorted({os.path.abspath(locate(tile.image.path)) for tile in tiles})
            for band, tiles in self._tiles.items()
        }
        return super().settings() | {'paths': paths}

    @cached_property
    def _centres(self):
        """A tree of the centres of the first band's images, as unit vectors."""
        return cKDTree([tile.image.centre for tile in self._tiles[self.bands[0]]])

    def _fetch(self, table, size, pixels):
        coords, status = read_positions(table, coord_columns=self.coord_columns)
        side, scale = grid_of(table, size, self.pixel_scale)
        status[(status == 'ok') & np.isnan(scale)] = 'no_size'
        rows = np.flatnonzero(status == 'ok')
        stencils = self._find_stencils(coords[rows], side, scale if scale.isscalar else scale[rows])
        images, status[rows], flags = cut_tiles(self._tiles.values(), stencils, side, pixels)
        rotation, parity, centers = locate_grids(stencils, coords[rows], side)
        planes = {name: getattr(images, name) for name in PLANES}
        return CutoutSet(
            _spread(images.image, rows, len(table), fill=np.nan),
            bands=self.bands,
            pixel_scale=scale,
            framing=framing_of(size),
            zero_point=self._find_zero_points(scale),
            status=status,
            flags=_spread(flags, rows, len(table), fill=0),
            table=table,
            rotation=_spread(rotation, rows, len(table), fill=np.nan),
            parity=_spread(parity, rows, len(table), fill=0),
            centers=_spread(centers, rows, len(table), fill=(side - 1) / 2),
            **{
                name: _spread(plane, rows, len(table), fill=PLANES[name])
                for name, plane in planes.items()
                if plane is not None
            },
        )

    def _find_zero_points(self, scale):
        """Return the zero point of each band, NaN if it is unknown or its images differ."""
        given = _each_band('zero_point', self.zero_point, len(self.bands))
        found = [
            [tile.zero_point(scale, of_band) for tile in tiles]
            for tiles, of_band in zip(self._tiles.values(), given, strict=True)
        ]
        return [points[0] if np.ptp(points) < _SAME_MAGNITUDE else np.nan for points in found]

    def _find_stencils(self, coords, side, scale):
        """Return five positions that define the grid of each cutout, of shape (n, 5)."""
        stencils = north_up(coords, side * scale)
        if self._own_grid and scale.isscalar:
            return self._snap_to_pixels(coords, stencils, side)
        return stencils

    def _snap_to_pixels(self, coords, stencils, size):
        """Align cutouts with the pixels of the first band's images of the right scale."""
        lonlat = np.stack([stencils.ra.deg, stencils.dec.deg], axis=-1)
        best = np.zeros(len(coords))
        for tile, rows in find_near(self._tiles[self.bands[0]], coords):
            image = tile.image
            if abs(image.pixel_scale / self.pixel_scale - 1) > SAME_SCALE:
                continue
            xy = image.to_pixel(coords[rows])
            # Cutout2D's way to centre a cutout on whole pixels.
            centres = np.ceil(xy - size / 2) + (size - 1) / 2
            fractions = image.contains(centres[:, np.newaxis] + LATTICE * (size - 1)).mean(axis=1)
            is_better = image.contains(xy) & (fractions > best[rows])
            rows, centres = rows[is_better], centres[is_better]
            best[rows] = fractions[is_better]
            sky = image.to_sky(centres[:, np.newaxis] + STENCIL * size)
            lonlat[rows] = np.stack([sky.ra.deg, sky.dec.deg], axis=-1)
        return SkyCoord(lonlat[..., 0], lonlat[..., 1], unit=u.deg)


def _set_flux_scale(tiles, zero_point_scale):
    """Return the tiles of each band, with the pixel scale that their fluxes refer to."""
    scales = _each_band('zero_point_scale', zero_point_scale, len(tiles))
    return {
        band: [tile._replace(flux_scale=scale) for tile in its_tiles]
        for (band, its_tiles), scale in zip(tiles.items(), scales, strict=True)
    }


def _each_band(name, value, n_bands):
    """Return an argument that is None, one for all bands or one a band, as one a band."""
    if np.shape(value) not in ((), (n_bands,)):
        msg = (
            f'{as_written(name)} has {len(value)} values, expected one, or one for each of '
            f'{n_bands} bands; pass one of these'
        )
        raise ValueError(msg)
    return value if np.ndim(value) else [value] * n_bands


def _spread(values, rows, n, *, fill):
    """Return an array of n rows, with values for some of them."""
    if len(rows) == n:
        return values
    spread = np.full_like(values, fill, shape=(n, *values.shape[1:]))
    spread[rows] = values
    return spread


def _files_by_band(paths, bands):
    """Return the files of each band; under None those whose bands are in their headers."""
    if isinstance(paths, Mapping):
        names = tuple(paths) if bands is None else tuple(bands)
        unknown = [band for band in names if band not in paths]
        if unknown:
            msg = f'bands {unknown} are not among the keys of paths, {list(paths)}'
            raise ValueError(msg)
        return {band: _expand(paths[band]) for band in names}
    if isinstance(paths, (str, os.PathLike)) and '{band}' in os.fspath(paths):
        pattern = locate(paths)
        names = _find_bands(pattern) if bands is None else bands
        return {band: _expand(pattern.replace('{band}', band)) for band in names}
    return {None: _expand(paths)}


def _expand(paths):
    """Return the files of a path, a pattern or a list of these."""
    if not isinstance(paths, (str, os.PathLike)):
        return list(dict.fromkeys(file for path in paths for file in _expand(path)))
    files = find_files(paths)
    if not files:
        msg = (
            f'{as_written("paths")}: no file matches {os.fspath(paths)!r}; check folder and pattern'
        )
        raise FileNotFoundError(msg)
    return files


def _find_bands(pattern):
    """Return the bands in place of {band} in the files that match, in order of wavelength."""
    files = _expand(pattern.replace('{band}', '*'))
    regexes = [_band_regex(reading) for reading in bracket_readings(pattern)]
    matches = (regex.match(file) for regex in regexes for file in files)
    found = list({match['band'] for match in matches if match})
    if not found:
        msg = (
            f'{as_written("paths")}: {files[0]!r} matches {pattern!r}, but a name of letters and '
            'digits is expected in place of {band}; '
            + for_caller('pass a mapping of bands to files', 'rename the files')
        )
        raise ValueError(msg)
    ranks = dict(zip(found, rank_names(found), strict=True))
    return sort_bands([band for band in found if ranks[band] >= 0] or found)


def _band_regex(pattern):
    regex = fnmatch.translate(pattern.replace('{band}', 'BAND'))
    return re.compile(regex.replace('BAND', r'(?P<band>\w+)', 1).replace('BAND', '(?P=band)'))


def _find_tiles(files, bands, hdu, *, planes):
    """Read the headers of all files, and return the tiles of each band."""
    tiles, left_out = {}, []
    for band, paths in files.items():
        for path in keep_images(paths):
            try:
                images = _open_images(path, hdu, with_planes=planes)
            except ImageError as error:
                left_out.append(f'{path} is left out: {error}; repair or remove it')
                continue
            for image in images:
                for plane, name in enumerate(_name_planes(image, band, bands)):
                    tiles.setdefault(name, []).append(make_tile(image, plane))
    lost = [band for band in files if band not in tiles] if None not in files else []
    if lost or not tiles:
        msg = (
            f'no file of {f"the bands {lost}" if lost else paths} is an image with a celestial WCS'
            '; check the files, and use '
            + for_caller('ImageFiles', 'a column of image paths')
            + f' for images of single galaxies ({left_out[0]})'
        )
        raise ValueError(msg)
    for text in left_out:
        warnings.warn(text, AstropyUserWarning, stacklevel=3)
    tiles = {name: keep_one_a_place(its_tiles, name) for name, its_tiles in tiles.items()}
    if not planes:
        return tiles
    beside = PlaneFiles(_open_images)
    return {
        name: beside.add_to(its_tiles, files.get(name) or files[None], name)
        for name, its_tiles in tiles.items()
    }


def _open_images(path, hdu=None, **options):
    return (RemoteImage if is_url(path) else SkyImage).open_all(path, hdu, **options)


def _name_planes(image, band, bands):
    if band is not None:
        names = (band,)
    elif bands is not None:
        names = tuple(bands)
    else:
        names = image.bands or tuple(map(str, range(image.n_planes)))
    if len(names) != image.n_planes:
        msg = (
            f'{as_written("bands")} names {len(names)} bands, {names}, but {image.path} has '
            f'{image.n_planes} planes; name one a plane'
        )
        raise ValueError(msg)
    return names
