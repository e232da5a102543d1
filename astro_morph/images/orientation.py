# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How images lie on the sky: rotation, parity, position angles, and which way up they are shown."""

import warnings

import astropy.units as u
import numpy as np
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord

__all__ = ['as_seen', 'orient', 'position_angle', 'read_jacobian', 'tangential_wcs']


def read_jacobian(header, pixel):
    """
    Return the change of the position on the sky by one pixel, from a FITS header.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The header of the image.
    pixel : (float, float)
        The pixel (x, y), counted from 0, at which it is needed.

    Returns
    -------
    jacobian : `~numpy.ndarray`, shape (2, 2)
        Derivatives of the offsets to the east and north, in degrees, by the pixels x and y; NaN
        without a celestial coordinate system that can be read.
    """
    x, y = pixel
    with warnings.catch_warnings():
        # Astropy warns of every unusual header.
        warnings.simplefilter('ignore', AstropyWarning)
        try:
            wcs = WCS(header).celestial
            sky = pixel_to_skycoord([x, x + 1, x], [y, y, y + 1], wcs).icrs
        except Exception:
            # What wcslib can't read it reports in many ways; the image is usable without.
            return np.full((2, 2), np.nan)
    ra, dec = sky.ra.deg, sky.dec.deg
    east = (ra[1:] - ra[0] + 180) % 360 - 180
    return np.stack([east * np.cos(np.radians(dec[0])), dec[1:] - dec[0]])


def orient(jacobians):
    """
    Return rotation, parity and pixel scale of pixel grids.

    Parameters
    ----------
    jacobians : `~numpy.ndarray`, shape (n, 2, 2)
        Derivatives of the offsets to the east and north, in degrees, by the pixels x and y.

    Returns
    -------
    rotation : `~astropy.units.Quantity`, shape (n,)
        Position angle, north through east, of the direction in which y increases.
    parity : `~numpy.ndarray` of int, shape (n,)
        1 where east is 90 degrees counterclockwise of north, as on the sky; -1 where the grid is
        mirrored; 0 where the jacobian is NaN, off the sky.
    pixel_scale : `~astropy.units.Quantity`, shape (n,)
        Square root of the area of a pixel.
    """
    (east_x, east_y), (north_x, north_y) = np.moveaxis(jacobians, 0, -1)
    determinant = east_x * north_y - east_y * north_x
    parity = -np.nan_to_num(np.sign(determinant)).astype(np.int8)
    # The nearest rotation of a grid that distortions shear.
    rotation = np.arctan2(east_y + parity * north_x, north_y - parity * east_x)
    return np.degrees(rotation) * u.deg, parity, np.sqrt(np.abs(determinant)) * u.deg


def position_angle(angle, rotation, parity):
    """
    Return the position angle of a direction in an image, north through east.

    Parameters
    ----------
    angle : `~astropy.units.Quantity`
        The direction, counterclockwise from that in which x increases to that in which y does.
    rotation, parity
        As in `~astro_morph.CutoutSet`.

    Returns
    -------
    position_angle : `~astropy.units.Quantity`
        NaN where rotation or parity are not known.
    """
    known = np.where(parity == 0, np.nan, parity)
    return rotation + known * (angle - 90 * u.deg)


def tangential_wcs(position, center, *, pixel_scale, rotation, parity):
    """
    Return the world coordinate system of one image.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord`
        A position.
    center : (float, float)
        The pixel (x, y) there, counted from 0.
    pixel_scale, rotation : `~astropy.units.Quantity`
        Angle a pixel, and position angle of the direction in which y increases.
    parity : int
        1 as on the sky, -1 for a mirrored image.

    Returns
    -------
    wcs : `~astropy.wcs.WCS`
        A tangential projection in ICRS.
    """
    sine, cosine = np.sin(rotation).value, np.cos(rotation).value
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = position.ra.deg, position.dec.deg
    wcs.wcs.crpix = np.asarray(center) + 1
    axes = np.array([[-parity * cosine, sine], [parity * sine, cosine]])
    wcs.wcs.cd = pixel_scale.to_value(u.deg) * axes
    wcs.wcs.set()
    return wcs


def as_seen(images, rotation, parity):
    """
    Return images as they are shown: the highest row first, as on the sky, north up.

    Mirrored images are turned over, and all are turned by quarters, so that their pixels stay as
    they are; north is up to 45 degrees. What is not known is left as it is.

    Parameters
    ----------
    images : `~numpy.ndarray`, shape (n, y, x, ...)
        Images, the lowest row first.
    rotation, parity
        As in `~astro_morph.CutoutSet`.

    Returns
    -------
    images : `~numpy.ndarray`, shape (n, y, x, ...)
        The images, the highest row first.
    """
    is_square = images.shape[1] == images.shape[2]
    # Images that are not square keep their sides.
    turn = 90 if is_square else 180
    quarters = np.rint(np.nan_to_num(rotation.to_value(u.deg)) / turn).astype(int) * turn // 90
    seen = images[:, ::-1].copy()
    for i in np.flatnonzero((parity == -1) | (quarters % 4 != 0)):
        image = seen[i, :, ::-1] if parity[i] == -1 else seen[i]
        seen[i] = np.rot90(image, quarters[i])
    return seen
