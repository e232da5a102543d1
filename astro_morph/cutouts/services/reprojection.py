# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cut and resample sources out of downloaded images that have pixel grids of their own."""

import astropy.units as u
import numpy as np

from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.stitching import cut_tiles, north_up
from astro_morph.images.tiles import DownloadedImage, Tile, TilePixels

__all__ = ['MARGIN', 'coords_of', 'cut_for_request', 'cut_from_images', 'cut_until_whole']

#: Pixels of the survey beyond a cutout, on each side, that its resampling reads.
MARGIN = 8


def cut_from_images(images, coords, *, side, pixel_scale):
    """
    Cut sources out of the images of one band, each on a grid of its own.

    The cutouts are north up and east left, centred on the sources. As in
    `~astro_morph.cutouts.Mosaics`, they are resampled with conserved flux and joined where images
    overlap, and NaN where there is no pixel.

    Parameters
    ----------
    images : sequence of `~astropy.io.fits.PrimaryHDU` or `~astropy.io.fits.ImageHDU`
        The downloaded images, with a celestial WCS. One with planes is a
        `~astro_morph.images.planes.masked_image.MaskedImage` of the HDU and arrays.
    coords : `~astropy.coordinates.SkyCoord`, shape (n,)
        The sources.
    side : int
        Side of the cutouts in pixels.
    pixel_scale : `~astropy.units.Quantity`, scalar or shape (n,)
        Angle a pixel.

    Returns
    -------
    cutouts : `~numpy.ndarray` of float32 or MaskedImage, shape (n, y, x)
        The cutouts, in flux per pixel; all NaN if the source lies in no image. With planes if any
        image has them.

    Raises
    ------
    ImageError
        If an image has no celestial WCS, or is truncated.
    """
    tiles = [_as_tile(MaskedImage.of(image)) for image in images]
    stencils = north_up(coords, side * pixel_scale)
    cutouts, _, _ = cut_tiles([tiles], stencils, side, TilePixels())
    return cutouts[:, 0] if cutouts.has_planes else cutouts.image[:, 0]


def _as_tile(image):
    return Tile(DownloadedImage(image.image), 0, variance=image.variance, mask=image.mask)


def cut_for_request(images, request):
    """
    Cut the sources of a request out of images of its band, centred exactly.

    Parameters
    ----------
    images : sequence of image HDUs
        As in `cut_from_images`.
    request : `~astro_morph.cutouts.services.fields.Request`
        The request.

    Returns
    -------
    cutouts : `~numpy.ndarray` of float32 or MaskedImage, shape (k, y, x)
        One for each of ``request.rows``, as in `cut_from_images`.

    Raises
    ------
    ImageError
        As in `cut_from_images`.
    """
    coords, pixel_scale = coords_of(request), request.scale * u.arcsec
    return cut_from_images(images, coords, side=request.side, pixel_scale=pixel_scale)


def coords_of(request):
    """Return the positions of the sources of a request."""
    west, north = request.offsets.T * (request.scale * u.arcsec).to_value(u.rad)
    # Offsets in the tangential plane.
    distances = np.arctan(np.hypot(west, north)) * u.rad
    return request.centre.directional_offset_by(np.arctan2(-west, north) * u.rad, distances)


def cut_until_whole(images, request):
    """
    Cut the sources of a request, and take more images only while pixels are missing.

    Parameters
    ----------
    images : iterable of image HDUs
        The images in order of preference, such as a generator that downloads them.
    request : `~astro_morph.cutouts.services.fields.Request`
        The request.

    Returns
    -------
    cutouts : `~numpy.ndarray` of float32 or MaskedImage, shape (k, y, x)
        As in `cut_for_request`.

    Raises
    ------
    ImageError
        As in `cut_from_images`.
    """
    taken = []
    cutouts = cut_for_request(taken, request)
    for image in images:
        taken.append(image)
        cutouts = cut_for_request(taken, request)
        if not MaskedImage.of(cutouts).is_missing.any():
            break
    return cutouts
