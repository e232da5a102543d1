# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cutouts out of downloaded images that lie on grids of their service's choice."""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from astro_morph.images.stitching import cut_tiles, north_up
from astro_morph.images.tiles import DownloadedImage, Tile, TilePixels

__all__ = ['cut_for_request', 'cut_from_images']


def cut_from_images(images, coords, *, side, pixel_scale):
    """
    Cut sources out of the images of one band, each on a grid of its own.

    The cutouts are north up and east left, with the source at their centre. They are made as
    `~astro_morph.cutouts.Mosaics` makes them: resampled so that the flux is kept, joined where
    images overlap, and NaN where there is no pixel.

    Parameters
    ----------
    images : sequence of `~astropy.io.fits.PrimaryHDU` or `~astropy.io.fits.ImageHDU`
        What was downloaded: images with a celestial WCS.
    coords : `~astropy.coordinates.SkyCoord`, shape (n,)
        The sources.
    side : int
        Side of the cutouts in pixels.
    pixel_scale : `~astropy.units.Quantity`, scalar or shape (n,)
        Angle a pixel.

    Returns
    -------
    cutouts : `~numpy.ndarray` of float32, shape (n, y, x)
        The cutouts, in flux per pixel. One whose centre lies in no image is NaN as a whole.

    Raises
    ------
    ImageError
        If something downloaded is no image with a celestial WCS, or is not whole.
    """
    tiles = [Tile(DownloadedImage(image), plane=0) for image in images]
    stencils = north_up(coords, side * pixel_scale)
    cutouts, _, _ = cut_tiles([tiles], stencils, side, TilePixels())
    return cutouts[:, 0]


def cut_for_request(images, request):
    """
    Cut the sources of a request out of images of its band, each exactly at its centre.

    Parameters
    ----------
    images : sequence of image HDUs
        As in `cut_from_images`.
    request : `~astro_morph.cutouts.services.fields.Request`
        The request that brought them.

    Returns
    -------
    cutouts : `~numpy.ndarray` of float32, shape (k, y, x)
        One for each of ``request.rows``, as in `cut_from_images`.

    Raises
    ------
    ImageError
        As in `cut_from_images`.
    """
    pixel_scale = request.scale * u.arcsec
    west, north = request.offsets.T * pixel_scale.to_value(u.rad)
    # Offsets in the tangential plane.
    distances = np.arctan(np.hypot(west, north)) * u.rad
    centre = SkyCoord(request.ra, request.dec, unit='deg')
    coords = centre.directional_offset_by(np.arctan2(-west, north) * u.rad, distances)
    return cut_from_images(images, coords, side=request.side, pixel_scale=pixel_scale)
