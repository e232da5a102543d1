# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Add variance and mask to the tiles of a mosaic, from the same file or from files beside it."""

import warnings

import astropy.units as u
from astropy.utils.exceptions import AstropyUserWarning
from scipy.spatial import cKDTree

from astro_morph.images.companions import split_name
from astro_morph.images.errors import ImageError
from astro_morph.images.planes.files import CompanionFiles, Siblings
from astro_morph.images.planes.finding import bad_bits, choose_planes
from astro_morph.images.planes.plane import Plane, PlaneValues
from astro_morph.images.tiles import Tile

__all__ = ['PlaneFiles', 'make_tile']


def make_tile(image, plane):
    """
    Return the tile of a plane of an image, with the variance and mask of its file.

    Parameters
    ----------
    image : `~astro_morph.images.tiles.SkyImage`
        The image.
    plane : int
        Number of the plane.

    Returns
    -------
    tile : `~astro_morph.images.tiles.Tile`
        The tile.
    """
    return _with_planes(Tile(image, plane), image.planes)


class PlaneFiles:
    """
    Files that hold the variance and the mask of images, beside those of the images.

    They are found by their names, see `~astro_morph.images.planes.files.CompanionFiles`; those that
    a pattern matched also by their place on the sky.

    Parameters
    ----------
    open_images : callable
        Returns the images of a file, see `~astro_morph.images.tiles.SkyImage.open_all`.
    """

    def __init__(self, open_images):
        self._open_images = open_images
        self._siblings = Siblings()
        self._images = {}

    def add_to(self, tiles, paths, band):
        """
        Return the tiles of a band with the planes that their own files lack.

        Parameters
        ----------
        tiles : list of `~astro_morph.images.tiles.Tile`
            The tiles.
        paths : list of str
            The files that the user named for the band, also those of weights and masks.
        band : str
            Its name.

        Returns
        -------
        tiles : list of `~astro_morph.images.tiles.Tile`
            In the same order.
        """
        named, used = CompanionFiles(paths), set()
        planes = []
        for tile in tiles:
            path = str(tile.image.path)
            files = self._siblings.find(path, band) | named.find(path, band)
            used.update(files.values())
            planes.append(self._open_beside(tile.image, files, band))
        for number, plane in self._find_by_place(tiles, set(paths) - used, band):
            planes[number].setdefault(plane.holds, plane)
        return [_with_planes(tile, some) for tile, some in zip(tiles, planes, strict=True)]

    def _open_beside(self, image, files, band):
        """Return the planes in files that are on the pixels of an image."""
        planes = {}
        for holds, form in choose_planes(files).items():
            for other in self._open(files[form]):
                if _shares_pixels(image, other):
                    planes[holds] = _make_plane(other, form, band)
        return planes

    def _find_by_place(self, tiles, paths, band):
        """Yield the planes in files that are on the pixels of a tile, and its number."""
        forms = {path: split_name(path)[0] for path in sorted(paths)}
        forms = {path: form for path, form in forms.items() if form is not None}
        if not forms:
            return
        centres = cKDTree([tile.image.centre for tile in tiles])
        for path, form in forms.items():
            for other in self._open(path):
                reach = other.pixel_scale.to_value(u.rad)
                for number in centres.query_ball_point(other.centre, reach):
                    if _shares_pixels(tiles[number].image, other):
                        yield number, _make_plane(other, form, band)

    def _open(self, path):
        """Return the images of a file; none, with a warning, if it has none."""
        if path not in self._images:
            try:
                self._images[path] = self._open_images(path)
            except ImageError as error:
                warnings.warn(
                    f'{path} is left out: {error}; repair or remove it',
                    AstropyUserWarning,
                    stacklevel=2,
                )
                self._images[path] = []
        return self._images[path]


def _make_plane(image, form, band):
    bits = bad_bits({}, image.name, band) if image.bits is None else image.bits
    return Plane(image, 0, PlaneValues(form, bits if form == 'mask' else None))


def _shares_pixels(image, other):
    return other is not image and image.shape == other.shape and image.shows_same_sky(other)


def _with_planes(tile, planes):
    """Return a tile with the planes that it lacks; of a cube, those of its own plane."""
    found = {}
    for holds, plane in planes.items():
        if getattr(tile, holds) is None:
            is_cube = plane.image.n_planes == tile.image.n_planes
            found[holds] = plane._replace(plane=tile.plane if is_cube else 0)
    return tile._replace(**found)
