# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cutouts out of FITS mosaics on disk, at the positions of a catalogue."""

import fnmatch
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
from astro_morph.cutouts.cutout_set import CutoutSet
from astro_morph.cutouts.sizes import framing_of, grid_of
from astro_morph.cutouts.source import CutoutSource
from astro_morph.images.reading import ImageError
from astro_morph.images.stitching import LATTICE, STENCIL, cut_tiles, find_near, north_up
from astro_morph.images.tiles import SkyImage, Tile, TilePixels
from astro_morph.images.urls import RemoteImage, find_files, is_url, locate

__all__ = ['Mosaics']

# Pixel scales that agree to this part are one: tiles of one survey differ by less.
_SAME_SCALE = 0.01


class Mosaics(CutoutSource):
    """
    Cutouts out of FITS images with a WCS.

    Each band may be many images (tiles) that differ in size, scale and angle, and that overlap or
    leave gaps; bands need not share a pixel grid. All bands of a cutout come out on one grid,
    centred on the source. Without ``pixel_scale`` it is the pixel grid of the first band's image
    there, and every image on that grid is cut without resampling, centred to half a pixel as
    `~astropy.nddata.Cutout2D` does. Everything else is resampled by cubic splines and keeps its
    flux: values are fluxes per pixel, and multiplied by the ratio of the pixel areas.

    Where tiles overlap, a cutout comes from the one that covers most of it, and its holes are
    filled from the next. Pixels that no image has are NaN, and said in the flags. A source whose
    centre lies in no image has the status ``'no_coverage'``, even if a corner of its cutout would
    be covered. Rows whose only image can't be read get ``'truncated'`` or another such status.

    Plain files are mapped into memory and read where they are cut; compressed files are read whole,
    once a call. Of files at URLs, in object storage or on a web server, only the blocks that the
    cutouts lie in are read; this needs ``fsspec`` and its package for the service, and files that
    are plain or tile-compressed. The planes of a cube are bands.

    Parameters
    ----------
    paths : str, `~pathlib.Path`, list of these, or dict
        The files of one band, or of cubes that hold all bands, as a path or URL, a pattern such as
        ``'tiles/*.fits'`` or ``'s3://bucket/tiles/*.fits'``, or a list; or a pattern with
        ``{band}`` in it; or a mapping of band names to the files of each.
    bands : sequence of str, optional
        The bands in order. By default the keys of the mapping, the bands found in place of
        ``{band}`` in the order of their wavelength, or what the headers say.
    pixel_scale : `~astropy.units.Quantity`, optional
        Angle a pixel of the cutouts, which are then north up and east left. By default that of the
        first image of the first band; images of another scale are resampled to it.
    zero_point : float or sequence of float, optional
        AB magnitude of a flux of one, for all bands or one a band. By default 22.5 where the
        headers say that the pixels are nanomaggies, else it is not known.
    coord_columns : str or (str, str), optional
        The columns of the position, see `astro_morph.catalog.read_positions`.
    hdu : int or str, optional
        Number or name of the extension that holds the image. By default the first that does.

    Raises
    ------
    FileNotFoundError
        If no file matches.
    ValueError
        If no file is an image with a celestial WCS, or the bands don't fit the files.

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
        coord_columns=None,
        hdu=None,
    ):
        files = _files_by_band(paths, bands)
        self._tiles = _find_tiles(files, bands, hdu)
        self._own_grid = pixel_scale is None
        first_image = next(iter(self._tiles.values()))[0].image
        scale = first_image.pixel_scale if pixel_scale is None else u.Quantity(pixel_scale)
        self.pixel_scale = scale.to(u.arcsec)
        self.bands = tuple(self._tiles)
        self.zero_point = _find_zero_points(self._tiles) if zero_point is None else zero_point
        self.coord_columns = coord_columns

    def __repr__(self):
        n_images = len({tile.image for tiles in self._tiles.values() for tile in tiles})
        return (
            f'<Mosaics: {n_images} images, {len(self.bands)} bands ({", ".join(self.bands)}), '
            f'{self.pixel_scale:.4g} pixels>'
        )

    def fetch(self, X, *, size=None):
        """
        Cut the sources of a catalogue out of the images.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        size : int, `~astropy.units.Quantity`, str or tuple, optional
            Side of the cutouts in pixels, or as an angle; 64 pixels by default. Or a column and a
            factor such as ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`.

        Returns
        -------
        cutouts : `CutoutSet`
            One row for each row of ``X``, in order.

        Raises
        ------
        ValueError
            If ``X`` has no positions or ``size`` is no size.
        """
        return self._fetch(as_table(X), size, TilePixels())

    def stream(self, X, *, size=None, batch_size=1024):
        """
        Cut the sources of a catalogue out of the images, batch after batch.

        Files stay open from batch to batch.

        Parameters
        ----------
        X, size, batch_size
            As in `fetch` and `CutoutSource.stream`.

        Yields
        ------
        cutouts : `CutoutSet`
            The next rows of ``X``.
        """
        table, pixels = as_table(X), TilePixels()
        for start in range(0, len(table), batch_size):
            yield self._fetch(table[start : start + batch_size], size, pixels)
            pixels.release()

    def order(self, X):
        """
        Sort the sources of a catalogue by image, and by declination within an image.

        In this order each image is opened once, and read in one direction.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.

        Returns
        -------
        rows : ndarray of int
            All row numbers; those without a position come last.
        """
        coords, status = read_positions(as_table(X), coord_columns=self.coord_columns)
        has_position = status == 'ok'
        nearest = np.full(len(coords), self._centres.n)
        directions = coords[has_position].cartesian.xyz.value.T
        nearest[has_position] = self._centres.query(directions)[1]
        return np.lexsort((np.nan_to_num(coords.dec.deg), nearest))

    @cached_property
    def _centres(self):
        """The centres of the first band's images, as unit vectors."""
        return cKDTree([tile.image.centre for tile in self._tiles[self.bands[0]]])

    def _fetch(self, table, size, pixels):
        coords, status = read_positions(table, coord_columns=self.coord_columns)
        side, scale = grid_of(table, size, self.pixel_scale)
        status[(status == 'ok') & np.isnan(scale)] = 'no_size'
        rows = np.flatnonzero(status == 'ok')
        stencils = self._find_stencils(coords[rows], side, scale if scale.isscalar else scale[rows])
        images, status[rows], flags = cut_tiles(self._tiles.values(), stencils, side, pixels)
        return CutoutSet(
            _spread(images, rows, len(table), fill=np.nan),
            bands=self.bands,
            pixel_scale=scale,
            framing=framing_of(size),
            zero_point=self.zero_point,
            status=status,
            flags=_spread(flags, rows, len(table), fill=0),
            table=table,
        )

    def _find_stencils(self, coords, side, scale):
        """Return five positions that tell the grid of each cutout, of shape (n, 5)."""
        stencils = north_up(coords, side * scale)
        if self._own_grid and scale.isscalar:
            return self._snap_to_pixels(coords, stencils, side)
        return stencils

    def _snap_to_pixels(self, coords, stencils, size):
        """Put cutouts on the pixels of the first band's images that have the right scale."""
        lonlat = np.stack([stencils.ra.deg, stencils.dec.deg], axis=-1)
        best = np.zeros(len(coords))
        for (image, _), rows in find_near(self._tiles[self.bands[0]], coords):
            if abs(image.pixel_scale / self.pixel_scale - 1) > _SAME_SCALE:
                continue
            xy = image.to_pixel(coords[rows])
            # Cutout2D's way to centre a cutout on whole pixels.
            centres = np.ceil(xy - size / 2) + (size - 1) / 2
            shares = image.contains(centres[:, np.newaxis] + LATTICE * (size - 1)).mean(axis=1)
            is_better = image.contains(xy) & (shares > best[rows])
            rows, centres = rows[is_better], centres[is_better]
            best[rows] = shares[is_better]
            sky = image.to_sky(centres[:, np.newaxis] + STENCIL * size)
            lonlat[rows] = np.stack([sky.ra.deg, sky.dec.deg], axis=-1)
        return SkyCoord(lonlat[..., 0], lonlat[..., 1], unit=u.deg)


def _find_zero_points(tiles):
    """Return the zero point of each band, NaN where its images do not tell, or differ."""
    found = [{tile.image.zero_point for tile in its_tiles} for its_tiles in tiles.values()]
    return [points.pop() if len(points) == 1 else np.nan for points in found]


def _spread(values, rows, n, *, fill):
    """Put values that belong to some of n rows into an array of all of them."""
    if len(rows) == n:
        return values
    spread = np.full((n, *values.shape[1:]), fill, values.dtype)
    spread[rows] = values
    return spread


def _files_by_band(paths, bands):
    """Return the files of each band; under None those whose headers must tell."""
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
    """Return the files that a path, a pattern or a list of these stands for."""
    if not isinstance(paths, (str, os.PathLike)):
        return [file for path in paths for file in _expand(path)]
    files = find_files(paths)
    if not files:
        msg = f'paths: no file matches {os.fspath(paths)!r}; check folder and pattern'
        raise FileNotFoundError(msg)
    return files


def _find_bands(pattern):
    """Return what stands in place of {band} in the files that match, in order of wavelength."""
    regex = fnmatch.translate(pattern.replace('{band}', 'BAND'))
    regex = regex.replace('BAND', r'(?P<band>\w+)', 1).replace('BAND', '(?P=band)')
    files = _expand(pattern.replace('{band}', '*'))
    found = {match['band'] for match in map(re.compile(regex).match, files) if match}
    if not found:
        msg = (
            f'paths: {files[0]!r} matches {pattern!r}, but what stands in place of {{band}} is no '
            'name of letters and digits; pass a mapping of bands to files'
        )
        raise ValueError(msg)
    return sort_bands(found)


def _find_tiles(files, bands, hdu):
    """Read the headers of all files, and return the tiles of each band."""
    tiles = {}
    for band, paths in files.items():
        for path in paths:
            try:
                image = (RemoteImage if is_url(path) else SkyImage)(path, hdu)
            except ImageError as error:
                warnings.warn(
                    f'{path} is left out: {error}; mend or remove it',
                    AstropyUserWarning,
                    stacklevel=3,
                )
                continue
            for plane, name in enumerate(_name_planes(image, band, bands)):
                tiles.setdefault(name, []).append(Tile(image, plane))
    lost = [band for band in files if band not in tiles] if None not in files else []
    if lost or not tiles:
        msg = (
            f'no file of {f"the bands {lost}" if lost else paths} is an image with a celestial WCS'
            '; check the files, and take ImageFiles for images of single galaxies'
        )
        raise ValueError(msg)
    return tiles


def _name_planes(image, band, bands):
    if band is not None:
        names = (band,)
    elif bands is not None:
        names = tuple(bands)
    else:
        names = image.bands or tuple(map(str, range(image.n_planes)))
    if len(names) != image.n_planes:
        msg = (
            f'{image.path} has {image.n_planes} planes, but bands names {len(names)}: {names}; '
            'name one a plane'
        )
        raise ValueError(msg)
    return names
