# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cut cutouts out of overlapping tiles of different pixel grids, each on a grid of its own."""

import itertools
from typing import NamedTuple

import astropy.units as u
import numpy as np

from astro_morph.catalog.flags import BITS
from astro_morph.images.errors import ImageError
from astro_morph.images.orientation import orient
from astro_morph.images.planes.masked_image import MaskedImage, resample_planes
from astro_morph.images.resampling import MARGIN, count_subpixels, find_missing, stamp_box
from astro_morph.images.tiles import Tile

__all__ = ['LATTICE', 'STENCIL', 'cut_tiles', 'find_near', 'locate_grids', 'north_up']

# Grids that agree to this fraction of a pixel are the same: resampling would only change the noise.
_SAME_GRID = 1e-3

#: The centre of a cutout, and half a cutout to either side in x and y: they define its local grid.
STENCIL = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]) / 2
_STENCIL_ANGLES = np.array([0, 270, 90, 0, 180]) * u.deg  # north up, east to the left

#: The 8 x 8 points, corners included, at which the coverage of a cutout by a tile is measured.
LATTICE = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 8)] * 2), axis=-1).reshape(-1, 2)

# Least fraction of pixels that are known around missing ones, of those that noise makes negative,
# and of the median that the lowest one has in a sky that was not subtracted.
_LEAST_SKY = 0.05

# Pixels resampled at a time, which limits the memory beside the result.
_BATCH_PIXELS = 4_000_000


def north_up(coords, extent):
    """
    Return a tangential grid around each position, north up and east to the left.

    Parameters
    ----------
    coords : `~astropy.coordinates.SkyCoord`, shape (n,)
        The centres.
    extent : `~astropy.units.Quantity`, scalar or shape (n,)
        Side of the grids on the sky.

    Returns
    -------
    stencils : `~astropy.coordinates.SkyCoord`, shape (n, 5)
        The positions of ``STENCIL`` on each grid.
    """
    reach = np.arctan((extent / 2).to_value(u.rad)) * u.rad
    distances = np.hypot(*STENCIL.T) * 2 * reach[..., np.newaxis]
    return coords[:, np.newaxis].directional_offset_by(_STENCIL_ANGLES, distances)


def locate_grids(stencils, coords, size):
    """
    Return how grids lie on the sky, and where some positions lie on them.

    Parameters
    ----------
    stencils : `~astropy.coordinates.SkyCoord`, shape (n, 5)
        The positions of ``STENCIL`` on each grid.
    coords : `~astropy.coordinates.SkyCoord`, shape (n,)
        A position near the centre of each grid.
    size : int
        Side of the grids in pixels.

    Returns
    -------
    rotation, parity
        As `~astro_morph.images.orientation.orient` returns them.
    centers : `~numpy.ndarray`, shape (n, 2)
        The pixels (x, y) of the positions.
    """
    right, left, up, down = np.moveaxis(_offsets(stencils[:, :1], stencils[:, 1:]), 1, 0)
    jacobians = np.stack([right - left, up - down], axis=-1) / size
    offsets = _offsets(stencils[:, 0], coords)[..., np.newaxis]
    centers = (size - 1) / 2 + np.linalg.solve(jacobians, offsets)[..., 0]
    rotation, parity, _ = orient(jacobians)
    return rotation, parity, centers


def _offsets(origins, coords):
    """Return the angles in degrees to the east and north from origins to positions near them."""
    angles, distances = origins.position_angle(coords).rad, origins.separation(coords).deg
    return np.stack([distances * np.sin(angles), distances * np.cos(angles)], axis=-1)


def cut_tiles(tiles, stencils, size, pixels):
    """
    Cut sources out of the tiles of some bands, with their planes.

    Pixels that are missing or masked in one tile are taken from the next that has better ones.

    Parameters
    ----------
    tiles : sequence of list of `~astro_morph.images.tiles.Tile`
        The tiles of each band.
    stencils : `~astropy.coordinates.SkyCoord`, shape (n, 5)
        The grid of each cutout: the sky positions of the points of ``STENCIL``.
    size : int
        Side of the cutouts in pixels.
    pixels : `~astro_morph.images.tiles.TilePixels`
        Reader for tile pixels.

    Returns
    -------
    images : `~astro_morph.images.planes.masked_image.MaskedImage`, shape (n, band, y, x)
        The cutouts; NaN where no tile has a pixel. They have a variance and a mask if any tile has
        one.
    status : `~numpy.ndarray` of str, shape (n,)
        ``'ok'``, or the reason why there is no image.
    flags : `~numpy.ndarray` of int, shape (n,)
        Quality flags, see `astro_morph.decode_flags`.
    """
    n = len(stencils)
    images = _allocate((n, len(tiles), size, size), list(itertools.chain(*tiles)))
    status = np.full(n, 'ok', 'U20')
    mosaic = [_place(tiles_of_band, stencils, size) for tiles_of_band in tiles]

    is_inside = np.zeros(n, bool)
    for placement in itertools.chain(*mosaic):
        is_inside[placement.rows[placement.holds_centre]] = True
    status[~is_inside] = 'no_coverage'
    mosaic = [[placement.keep(is_inside) for placement in band] for band in mosaic]

    failures = [_fill(images[:, i], band, pixels) for i, band in enumerate(mosaic)]
    gaps = [_find_gaps(images[:, i].is_missing, band) for i, band in enumerate(mosaic)]
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


def _allocate(shape, tiles):
    """Return images without pixels, with the planes that any tile has."""
    has_variance = any(tile.variance is not None for tile in tiles)
    # An inverse variance of 0 masks a pixel.
    has_mask = has_variance or any(tile.mask is not None for tile in tiles)
    return MaskedImage.blank(shape, has_variance=has_variance, has_mask=has_mask)


def find_near(tiles, coords, reach=0 * u.rad):
    """Yield each tile that may lie within reach of some positions, and their rows."""
    directions = coords.cartesian.xyz.value.T
    for tile in tiles:
        rows = tile.image.find_near(directions, reach.to_value(u.rad))
        if len(rows):
            yield tile, rows


class _Placement(NamedTuple):
    """Where some cutouts lie in a tile: to first order, pixel = centre + jacobian @ offset."""

    tile: Tile
    rows: np.ndarray  # (k,), the cutouts that the tile covers in part
    centres: np.ndarray  # (k, 2), pixels (x, y) of the tile
    jacobians: np.ndarray  # (k, 2, 2), of (x, y) of the tile by (x, y) of the cutout
    coverage: np.ndarray  # (k,), fraction of the cutout that the tile covers

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


def _place(tiles, stencils, size):
    """Return the cutouts that lie on each tile of a band, and where."""
    # The side of the largest cutout: more than half its diagonal.
    reach = 2 * stencils[:, 0].separation(stencils[:, 1]).max(initial=0 * u.rad)
    placements = []
    for tile, rows in find_near(tiles, stencils[:, 0], reach):
        for xy in tile.image.place_grids(stencils[rows]):
            jacobians = np.stack([xy[:, 1] - xy[:, 2], xy[:, 3] - xy[:, 4]], axis=-1) / size
            placement = _Placement(tile, rows, xy[:, 0], jacobians, None)
            coverage = tile.image.contains(placement.to_pixel(LATTICE * (size - 1))).mean(axis=1)
            placements.append(placement._replace(coverage=coverage).select(coverage > 0))
    return placements


def _fill(images, placements, pixels):
    """
    Fill the images of one band, of shape (n, y, x), from the tiles that cover them.

    Return the status of each image that no tile could be read for, else empty text.
    """
    failures = np.full(len(images), '', 'U20')
    ranks = _rank(placements)
    for rank in range(max((r.max(initial=-1) for r in ranks), default=-1) + 1):
        for placement, its_ranks in zip(placements, ranks, strict=True):
            turn = placement.select(its_ranks == rank)
            if rank > 0:
                turn = turn.select(images[turn.rows].is_missing.any(axis=(1, 2)))
            try:
                _fill_from_tile(images, turn, pixels)
            except ImageError as error:
                failures[turn.rows] = error.status
    return failures


def _fill_from_tile(images, placement, pixels):
    if len(placement.rows) == 0:
        return
    tile = pixels.get_planes(placement.tile)
    size = images.shape[-1]
    for batch in _split(placement, size):
        old = images[batch.rows]
        new = _cut_from_tile(tile, batch, size, like=old)
        is_kept = ~np.isnan(old.image)
        if old.mask is not None:
            is_kept = _rank_pixels(new) <= _rank_pixels(old)
        new[is_kept] = old[is_kept]
        images[batch.rows] = new


def _rank_pixels(image):
    """Return 3 for a good pixel, 2 for a masked one with a value, 1 for one without, 0 for none."""
    has_value = ~np.isnan(image.image)
    return np.uint8(2) * has_value + (has_value ^ image.mask)


def _split(placement, size):
    """Yield cutouts in batches of similar scale, so that coarse ones don't slow down fine ones."""
    # Those of a batch that lie in the same rows share what is read of a file elsewhere.
    placement = placement.select(np.argsort(placement.centres[:, 1], kind='stable'))
    n_sub = count_subpixels(placement.jacobians)
    for number in np.unique(n_sub):
        alike = placement.select(n_sub == number)
        _, box_size = stamp_box(alike.jacobians, alike.centres, size)
        length = max(1, _BATCH_PIXELS // box_size**2)
        for start in range(0, len(alike.rows), length):
            yield alike.select(slice(start, start + length))


def _cut_from_tile(tile, placement, size, *, like):
    """
    Cut whole pixels where the tile shares the cutout's grid, and resample elsewhere.

    The result has the planes of ``like``; where the tile lacks one, nothing is known.
    """
    corners = placement.centres - (size - 1) / 2
    whole = np.rint(corners)
    shift = placement.to_pixel(STENCIL * size) - (whole + (size - 1) / 2)[:, np.newaxis]
    is_aligned = (np.abs(shift - STENCIL * size) < _SAME_GRID).all(axis=(1, 2))
    images = MaskedImage.blank(
        like.shape, has_variance=like.variance is not None, has_mask=like.mask is not None
    )
    images[is_aligned] = tile.cut(whole[is_aligned].astype(int), size)
    if not is_aligned.all():
        rest = placement.select(~is_aligned)
        corners, box_size = stamp_box(rest.jacobians, rest.centres, size)
        stamps = tile.cut(corners, box_size, margin=MARGIN)
        _remove_zeros(stamps.image)
        images[~is_aligned] = resample_planes(
            stamps,
            rest.jacobians,
            rest.centres - corners,
            size,
            conserve_flux=not placement.tile.image.unit.is_surface_brightness,
        )
    return images * np.float32(placement.tile.n_flux_pixels)


def _remove_zeros(stamps):
    """Replace missing pixels that are zero by NaN: a spline would turn them into small numbers."""
    is_missing = find_missing(stamps[:, np.newaxis])[:, 0]
    for stamp, is_zero in zip(stamps, is_missing, strict=True):
        if is_zero.any() and _has_sky(stamp[~is_zero], stamp.size):
            stamp[is_zero] = np.nan


def _has_sky(known, n_pixels):
    """Check for a sky with noise or a level; that of a drawing is zero, not missing."""
    if known.size < _LEAST_SKY * n_pixels:
        return False
    return np.mean(known < 0) > _LEAST_SKY or np.min(known) > _LEAST_SKY * np.median(known)


def _find_gaps(is_missing, placements):
    """
    Find the gaps in the images of one band from their missing pixels, of shape (n, y, x).

    Return three arrays of bool: whether an image has no pixels; and for the others, whether some
    pixels lie outside all tiles, and whether some inside a tile are missing.
    """
    is_empty = is_missing.all(axis=(1, 2))
    is_partial, has_missing = np.zeros(len(is_missing), bool), is_missing.any(axis=(1, 2))
    for row, is_covered in _find_edges(placements, is_missing.shape):
        is_partial[row] = not is_covered.all()
        has_missing[row] = (is_missing[row] & is_covered).any()
    return is_empty, is_partial & ~is_empty, has_missing & ~is_empty


def _find_edges(placements, shape):
    """Yield each row that no tile covers completely, and which of its pixels are covered."""
    n, *shape = shape
    is_whole = np.zeros(n, bool)
    for placement in placements:
        is_whole[placement.rows[placement.coverage == 1]] = True
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
    """Rank the tiles of each cutout by coverage; 0 is the highest."""
    if not placements:
        return []
    rows = np.concatenate([placement.rows for placement in placements])
    coverage = np.concatenate([placement.coverage for placement in placements])
    order = np.lexsort((-coverage, rows))
    ranks = np.empty(len(rows), int)
    ranks[order] = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
    return np.split(ranks, np.cumsum([len(placement.rows) for placement in placements])[:-1])
