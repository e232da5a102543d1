# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cutouts out of FITS mosaics on disk, at the positions of a catalogue."""

import fnmatch
import glob
import itertools
import os
import re
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog import as_table, read_positions
from astro_morph.cutouts.core import CutoutSet, CutoutSource, side_in_pixels
from astro_morph.cutouts.reading import ImageError
from astro_morph.cutouts.resampling import cut_stamps, resample_stamps, stamp_box
from astro_morph.cutouts.tiles import SkyImage, Tile, TilePixels
from astro_morph.flags import BITS

__all__ = ['Mosaics']

# Grids that agree to this part of a pixel are one: resampling would change noise, and no galaxy.
_SAME_GRID = 1e-3

# Pixel scales that agree to this part are one: tiles of one survey differ by less.
_SAME_SCALE = 0.01

# A cutout's centre, and half a cutout to either side in x and in y: they tell its local grid.
_STENCIL = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]) / 2
_STENCIL_ANGLES = np.array([0, 270, 90, 0, 180]) * u.deg  # north up, east to the left

# The share of a cutout that a tile covers is taken at 8 x 8 points, its corners among them.
_LATTICE = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 8)] * 2), axis=-1).reshape(-1, 2)

# Pixels that are resampled at a time, so that a call needs little memory beside its result.
_BATCH_PIXELS = 4_000_000

_WAVELENGTH_ORDER = 'ugrizyYJHK'


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
    once a call. The planes of a cube are bands.

    Parameters
    ----------
    paths : str, `~pathlib.Path`, list of these, or dict
        The files of one band, or of cubes that hold all bands, as a path, a pattern such as
        ``'tiles/*.fits'`` or a list; or a pattern with ``{band}`` in it; or a mapping of band names
        to the files of each.
    bands : sequence of str, optional
        The bands in order. By default the keys of the mapping, the bands found in place of
        ``{band}`` in the order of their wavelength, or what the headers say.
    pixel_scale : `~astropy.units.Quantity`, optional
        Angle a pixel of the cutouts, which are then north up and east left. By default that of the
        first image of the first band; images of another scale are resampled to it.
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

    def __init__(self, paths, *, bands=None, pixel_scale=None, coord_columns=None, hdu=None):
        files = _files_by_band(paths, bands)
        self._tiles = _find_tiles(files, bands, hdu)
        self._own_grid = pixel_scale is None
        first_image = next(iter(self._tiles.values()))[0].image
        scale = first_image.pixel_scale if pixel_scale is None else u.Quantity(pixel_scale)
        self.pixel_scale = scale.to(u.arcsec)
        self.bands = tuple(self._tiles)
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
        size : int or `~astropy.units.Quantity`, optional
            Side of the cutouts in pixels, or as an angle; 64 pixels by default.

        Returns
        -------
        cutouts : `CutoutSet`
            One row for each row of ``X``, in order.

        Raises
        ------
        ValueError
            If ``X`` has no positions or ``size`` is no size.
        """
        return self._fetch(as_table(X), side_in_pixels(size, self.pixel_scale), TilePixels())

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
        table, size, pixels = as_table(X), side_in_pixels(size, self.pixel_scale), TilePixels()
        for start in range(0, len(table), batch_size):
            yield self._fetch(table[start : start + batch_size], size, pixels)

    def _fetch(self, table, size, pixels):
        coords, status = read_positions(table, coord_columns=self.coord_columns)
        rows = np.flatnonzero(status == 'ok')
        images, status[rows], flags = self._cut(coords[rows], size, pixels)
        return CutoutSet(
            _spread(images, rows, len(table), fill=np.nan),
            bands=self.bands,
            pixel_scale=self.pixel_scale,
            status=status,
            flags=_spread(flags, rows, len(table), fill=0),
            table=table,
        )

    def _cut(self, coords, size, pixels):
        """Return the images, status and flags of n good positions."""
        images = np.full((len(coords), len(self.bands), size, size), np.nan, np.float32)
        status = np.full(len(coords), 'ok', 'U20')
        stencils = self._find_stencils(coords, size)
        # More than half the diagonal of a cutout.
        reach = size * self.pixel_scale
        mosaic = [_place(tiles, coords, stencils, reach, size) for tiles in self._tiles.values()]

        is_inside = np.zeros(len(coords), bool)
        for placement in itertools.chain(*mosaic):
            is_inside[placement.rows[placement.holds_centre]] = True
        status[~is_inside] = 'no_coverage'
        mosaic = [[placement.keep(is_inside) for placement in band] for band in mosaic]

        failures = [_fill(images[:, i], band, pixels) for i, band in enumerate(mosaic)]
        gaps = [_find_gaps(images[:, i], band) for i, band in enumerate(mosaic)]
        is_empty, is_partial, has_missing = np.stack(gaps, axis=-1)
        status[is_inside & is_empty.all(axis=1)] = 'all_nan'
        for failure in failures:
            status = np.where((status == 'all_nan') & (failure != ''), failure, status)
        flags = (
            is_partial.any(axis=1) * BITS['partial_coverage']
            | has_missing.any(axis=1) * BITS['missing_pixels']
            | is_empty.any(axis=1) * BITS['missing_band']
        )
        return images, status, flags * (status == 'ok')

    def _find_stencils(self, coords, size):
        """Return five positions that tell the grid of each cutout, of shape (n, 5)."""
        reach = np.arctan((self.pixel_scale * size / 2).to_value(u.rad)) * u.rad
        distances = np.hypot(*_STENCIL.T) * 2 * reach
        stencils = coords[:, np.newaxis].directional_offset_by(_STENCIL_ANGLES, distances)
        return self._snap_to_pixels(coords, stencils, size) if self._own_grid else stencils

    def _snap_to_pixels(self, coords, stencils, size):
        """Put cutouts on the pixels of the first band's images that have the right scale."""
        lonlat = np.stack([stencils.ra.deg, stencils.dec.deg], axis=-1)
        best = np.zeros(len(coords))
        for (image, _), rows in _find_near(self._tiles[self.bands[0]], coords, 0 * u.rad):
            if abs(image.pixel_scale / self.pixel_scale - 1) > _SAME_SCALE:
                continue
            xy = image.to_pixel(coords[rows])
            # Cutout2D's way to centre a cutout on whole pixels.
            centres = np.ceil(xy - size / 2) + (size - 1) / 2
            shares = image.contains(centres[:, np.newaxis] + _LATTICE * (size - 1)).mean(axis=1)
            is_better = image.contains(xy) & (shares > best[rows])
            rows, centres = rows[is_better], centres[is_better]
            best[rows] = shares[is_better]
            sky = image.to_sky(centres[:, np.newaxis] + _STENCIL * size)
            lonlat[rows] = np.stack([sky.ra.deg, sky.dec.deg], axis=-1)
        return SkyCoord(lonlat[..., 0], lonlat[..., 1], unit=u.deg)


class _Placement(NamedTuple):
    """Where some cutouts lie in a tile: to first order, pixel = centre + jacobian @ offset."""

    tile: Tile
    rows: np.ndarray  # (k,), the cutouts that the tile covers in part
    centres: np.ndarray  # (k, 2), pixels (x, y) of the tile
    jacobians: np.ndarray  # (k, 2, 2), of (x, y) of the tile by (x, y) of the cutout
    shares: np.ndarray  # (k,), how much of the cutout the tile covers

    @property
    def holds_centre(self):
        return self.tile.image.contains(self.centres)

    def select(self, index):
        return _Placement(self.tile, *(values[index] for values in self[1:]))

    def keep(self, is_wanted):
        return self.select(is_wanted[self.rows])

    def to_pixel(self, offsets):
        """Turn offsets (x, y) from the centre, of shape (p, 2), into pixels of shape (k, p, 2)."""
        return self.centres[:, np.newaxis] + offsets @ self.jacobians.swapaxes(1, 2)


def _place(tiles, coords, stencils, reach, size):
    """Find the cutouts that lie on each tile of a band, and where."""
    placements = []
    for tile, rows in _find_near(tiles, coords, reach):
        xy = tile.image.to_pixel(stencils[rows])
        jacobians = np.stack([xy[:, 1] - xy[:, 2], xy[:, 3] - xy[:, 4]], axis=-1) / size
        placement = _Placement(tile, rows, xy[:, 0], jacobians, None)
        shares = tile.image.contains(placement.to_pixel(_LATTICE * (size - 1))).mean(axis=1)
        placements.append(placement._replace(shares=shares).select(shares > 0))
    return placements


def _fill(images, placements, pixels):
    """
    Fill the images of one band, of shape (n, y, x), from the tiles that cover them.

    Return why no tile could be read, for each image; empty text where one could, or there is none.
    """
    failures = np.full(len(images), '', 'U20')
    ranks = _rank(placements)
    for rank in range(max((r.max(initial=-1) for r in ranks), default=-1) + 1):
        for placement, its_ranks in zip(placements, ranks, strict=True):
            turn = placement.select(its_ranks == rank)
            if rank > 0:
                turn = turn.select(np.isnan(images[turn.rows]).any(axis=(1, 2)))
            try:
                _fill_from_tile(images, turn, pixels)
            except ImageError as error:
                failures[turn.rows] = error.status
    return failures


def _fill_from_tile(images, placement, pixels):
    if len(placement.rows) == 0:
        return
    tile = pixels.get(placement.tile)
    size = images.shape[-1]
    _, box_size = stamp_box(placement.jacobians, placement.centres, size)
    length = max(1, _BATCH_PIXELS // box_size**2)
    for start in range(0, len(placement.rows), length):
        batch = placement.select(slice(start, start + length))
        old, new = images[batch.rows], _cut_from_tile(tile, batch, size)
        images[batch.rows] = np.where(np.isnan(old), new, old)


def _cut_from_tile(tile, placement, size):
    """Cut whole pixels where the tile is on the cutout's grid, and resample elsewhere."""
    corners = placement.centres - (size - 1) / 2
    whole = np.rint(corners)
    shift = placement.to_pixel(_STENCIL * size) - (whole + (size - 1) / 2)[:, np.newaxis]
    is_aligned = (np.abs(shift - _STENCIL * size) < _SAME_GRID).all(axis=(1, 2))
    images = np.empty((len(corners), size, size), np.float32)
    images[is_aligned] = cut_stamps(tile, whole[is_aligned].astype(int), size)
    if not is_aligned.all():
        rest = placement.select(~is_aligned)
        corners, box_size = stamp_box(rest.jacobians, rest.centres, size)
        stamps = cut_stamps(tile, corners, box_size)
        images[~is_aligned] = resample_stamps(stamps, rest.jacobians, rest.centres - corners, size)
    return images


def _find_gaps(images, placements):
    """
    Look for gaps in the images of one band, of shape (n, y, x).

    Return three arrays of bool: whether there is no pixel at all, or, where there is one, whether
    some lie outside all tiles, and whether some are missing inside a tile.
    """
    is_nan = np.isnan(images)
    is_empty = is_nan.all(axis=(1, 2))
    is_partial, has_missing = np.zeros(len(images), bool), is_nan.any(axis=(1, 2))
    for row, is_covered in _find_edges(placements, images.shape):
        is_partial[row] = not is_covered.all()
        has_missing[row] = (is_nan[row] & is_covered).any()
    return is_empty, is_partial & ~is_empty, has_missing & ~is_empty


def _find_edges(placements, shape):
    """Yield each row that no tile covers as a whole, and which pixels any tile covers."""
    n, *shape = shape
    is_whole = np.zeros(n, bool)
    for placement in placements:
        is_whole[placement.rows[placement.shares == 1]] = True
    offsets = np.stack(np.meshgrid(*[np.arange(shape[0]) - (shape[0] - 1) / 2] * 2), axis=-1)
    covered = {}
    for placement in placements:
        edge = placement.keep(~is_whole)
        for i, row in enumerate(edge.rows):
            xy = edge.select([i]).to_pixel(offsets.reshape(-1, 2))
            is_inside = placement.tile.image.contains(xy).reshape(shape)
            covered[row] = covered.get(row, False) | is_inside
    yield from covered.items()


def _rank(placements):
    """Rank the tiles under each cutout: 0 for the one that covers most of it."""
    if not placements:
        return []
    rows = np.concatenate([placement.rows for placement in placements])
    shares = np.concatenate([placement.shares for placement in placements])
    order = np.lexsort((-shares, rows))
    ranks = np.empty(len(rows), int)
    ranks[order] = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
    return np.split(ranks, np.cumsum([len(placement.rows) for placement in placements])[:-1])


def _find_near(tiles, coords, reach):
    """Yield each tile that some cutouts may touch, and their rows."""
    directions = coords.cartesian.xyz.value.T
    for tile in tiles:
        rows = tile.image.find_near(directions, reach.to_value(u.rad))
        if len(rows):
            yield tile, rows


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
        pattern = os.fspath(paths)
        names = _find_bands(pattern) if bands is None else bands
        return {band: _expand(pattern.replace('{band}', band)) for band in names}
    return {None: _expand(paths)}


def _expand(paths):
    """Return the files that a path, a pattern or a list of these stands for."""
    if not isinstance(paths, (str, os.PathLike)):
        return [file for path in paths for file in _expand(path)]
    path = os.fspath(paths)
    files = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
    if not files:
        msg = f'paths: no file matches {path!r}'
        raise FileNotFoundError(msg)
    return files


def _find_bands(pattern):
    """Return what stands in place of {band} in the files that match, in order of wavelength."""
    regex = fnmatch.translate(pattern.replace('{band}', 'BAND'))
    regex = regex.replace('BAND', r'(?P<band>\w+)', 1).replace('BAND', '(?P=band)')
    files = _expand(pattern.replace('{band}', '*'))
    found = {match['band'] for match in map(re.compile(regex).match, files) if match}
    return sorted(found, key=lambda band: (_WAVELENGTH_ORDER.find(band), band))


def _find_tiles(files, bands, hdu):
    """Read the headers of all files, and return the tiles of each band."""
    tiles = {}
    for band, paths in files.items():
        for path in paths:
            try:
                image = SkyImage(path, hdu)
            except ImageError as error:
                warnings.warn(f'{path} is left out: {error}', AstropyUserWarning, stacklevel=3)
                continue
            for plane, name in enumerate(_name_planes(image, band, bands)):
                tiles.setdefault(name, []).append(Tile(image, plane))
    lost = [band for band in files if band not in tiles] if None not in files else []
    if lost or not tiles:
        msg = (
            f'no file of {f"the bands {lost}" if lost else paths} is an image with a celestial WCS'
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
        msg = f'{image.path} has {image.n_planes} planes, but bands names {len(names)}: {names}'
        raise ValueError(msg)
    return names
