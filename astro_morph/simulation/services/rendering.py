# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Render the simulated sky on any pixel grid, as FITS images and as pictures."""

import io
import threading

import numpy as np
from astropy.coordinates import ICRS, SkyCoord
from astropy.io import fits
from astropy.wcs import WCSHDO_P14, WCSHDO_safe
from astropy.wcs.utils import wcs_to_celestial_frame
from scipy import ndimage

from astro_morph.images.resampling import count_subpixels

__all__ = [
    'fits_bytes',
    'fits_image',
    'header_text',
    'render',
    'render_picture',
    'render_planes',
    'true_planes',
]

# wcslib modifies its structures during computations, without holding Python's lock.
_WCS_LOCK = threading.Lock()

# Positions that agree to this fraction of a pixel are the same: far above round-off, and far below
# what is visible.
_SAME_PIXEL = 1e-4

# The weight of a pixel in a cubic spline falls with its distance d as 0.27**d: 3e-5 at this margin.
_MARGIN = 8

# Bytes in a block of a FITS file.
_BLOCK = 2880

# One column of the sky in so many is bad: every cutout of a test has some.
_BAD_COLUMN = 12


def render(sky, wcs, shape, band):
    """
    Render the sky on a pixel grid.

    As in image services, values are interpolated, here by a cubic spline, and stay fluxes per pixel
    of the *sky*. Larger pixels show the average of the sky. Where the grid coincides with that of
    the sky, the values are exactly the same.

    Parameters
    ----------
    sky : `~astro_morph.simulation.SimulatedSurvey`
        The sky.
    wcs : `~astropy.wcs.WCS`
        World coordinates of the grid, in any projection and frame.
    shape : (int, int)
        Pixels (y, x) of the grid.
    band : str
        One of the bands of the sky.

    Returns
    -------
    image : `~numpy.ndarray` of float32, shape (y, x)
        Fluxes in nanomaggies; NaN outside the sky.
    """
    flux = sky.flux[sky.bands.index(band)]
    jacobian = np.linalg.inv(sky.wcs.pixel_scale_matrix) @ wcs.pixel_scale_matrix
    n_sub = int(count_subpixels(jacobian))
    fine = _sample(flux, _find_pixels(sky.wcs, wcs, shape, n_sub))
    return fine.reshape(shape[0], n_sub, shape[1], n_sub).mean(axis=(1, 3))


def _find_pixels(sky_wcs, wcs, shape, n_sub):
    """Return the pixels (y, x) of the sky at the sub-pixels of a grid, of shape (2, y, x)."""
    y, x = [(np.arange(n * n_sub) + 0.5) / n_sub - 0.5 for n in shape]
    x, y = np.meshgrid(x, y)
    frame = wcs_to_celestial_frame(wcs)
    lonlat = wcs.wcs_pix2world(x.ravel(), y.ravel(), 0)
    if not isinstance(frame, ICRS):
        sky = SkyCoord(*lonlat, unit='deg', frame=frame).icrs
        lonlat = sky.ra.deg, sky.dec.deg
    with _WCS_LOCK:
        x, y = sky_wcs.wcs_world2pix(*lonlat, 0)
    return np.stack([y, x]).reshape(2, shape[0] * n_sub, shape[1] * n_sub)


def _sample(flux, pixels):
    """Interpolate an image at pixels (y, x), of shape (2, ...); NaN outside."""
    limits = np.array(flux.shape).reshape(2, 1, 1)
    # Far from the sky, its projection has no pixels.
    is_inside = ((pixels > -0.5) & (pixels < limits - 0.5)).all(axis=0)
    values = np.full(is_inside.shape, np.nan, np.float32)
    if not is_inside.any():
        return values
    pixels = pixels[:, is_inside]
    whole = np.rint(pixels)
    if np.abs(pixels - whole).max() < _SAME_PIXEL:
        values[is_inside] = flux[tuple(whole.astype(int))]
        return values
    first = np.maximum(whole.min(axis=1).astype(int) - _MARGIN, 0)
    last = whole.max(axis=1).astype(int) + _MARGIN
    part = flux[first[0] : last[0] + 1, first[1] : last[1] + 1]
    values[is_inside] = ndimage.map_coordinates(part, pixels - first[:, np.newaxis], mode='mirror')
    return values


def true_planes(sky, band):
    """
    Return the variance of the sky's pixels, and which of them are bad.

    Both are made up, so that tests can tell where a pixel comes from: from the first column to the
    last, the variance grows to twice that of the survey, and one column in twelve is bad.

    Parameters
    ----------
    sky : `~astro_morph.simulation.SimulatedSurvey`
        The sky.
    band : str
        One of its bands.

    Returns
    -------
    variance : `~numpy.ndarray` of float32, shape (y, x)
        In nanomaggies squared.
    is_bad : `~numpy.ndarray` of bool, shape (y, x)
        The bad pixels.
    """
    ny, nx = sky.flux.shape[1:]
    noise = sky.survey.sky_noise[sky.survey.bands.index(band)]
    columns = np.arange(nx)
    variance = (noise**2 * (1 + columns / nx)).astype(np.float32)
    is_bad = columns % _BAD_COLUMN == _BAD_COLUMN // 2
    return np.tile(variance, (ny, 1)), np.tile(is_bad, (ny, 1))


def render_planes(sky, wcs, shape, band):
    """
    Render `true_planes` on a pixel grid, each pixel from the nearest of the sky.

    Parameters
    ----------
    sky, wcs, shape, band
        As in `render`.

    Returns
    -------
    variance : `~numpy.ndarray` of float32, shape (y, x)
        In nanomaggies squared; NaN outside the sky.
    is_bad : `~numpy.ndarray` of bool, shape (y, x)
        The bad pixels; none outside the sky.
    """
    pixels = np.nan_to_num(_find_pixels(sky.wcs, wcs, shape, 1), nan=-1e9)
    row, column = np.rint(pixels).astype(int)
    ny, nx = sky.flux.shape[1:]
    is_inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
    variance, is_bad = np.full(shape, np.nan, np.float32), np.zeros(shape, bool)
    for plane, truth in zip((variance, is_bad), true_planes(sky, band), strict=True):
        plane[is_inside] = truth[row[is_inside], column[is_inside]]
    return variance, is_bad


def render_picture(sky, wcs, shape):
    """
    Render the sky in colour, as in Lupton et al. (2004, PASP 116, 133).

    Parameters
    ----------
    sky, wcs, shape
        As in `render`.

    Returns
    -------
    picture : `~numpy.ndarray` of uint8, shape (y, x, 3)
        Red, green and blue, in the row order of the grid; black outside the sky.
    """
    # These import Matplotlib.
    from astropy.visualization import make_lupton_rgb

    from astro_morph.images.pictures import SOFTENING, STRETCH

    bands = sky.bands[-1], sky.bands[len(sky.bands) // 2], sky.bands[0]
    # One scale for the whole sky, so that a galaxy looks the same in every picture.
    noise = sky.survey.sky_noise[sky.survey.bands.index(bands[1])]
    signal = [np.nan_to_num(render(sky, wcs, shape, band) / noise) for band in bands]
    # Astropy divides by the brightness of each pixel before it excludes zeros.
    with np.errstate(invalid='ignore'):
        return make_lupton_rgb(*signal, Q=SOFTENING, stretch=STRETCH)


def fits_image(data, wcs, **cards):
    """
    Return an image as a FITS file.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (..., y, x)
        The pixels.
    wcs : `~astropy.wcs.WCS`
        Their world coordinates.
    **cards
        Further header cards.

    Returns
    -------
    content : bytes
        The file.
    """
    axes = {f'NAXIS{i}': n for i, n in enumerate(data.shape[::-1], start=1)}
    bitpix = fits.DTYPE2BITPIX[data.dtype.name]
    text = (
        header_text({'SIMPLE': True, 'BITPIX': bitpix, 'NAXIS': data.ndim, **axes})
        + wcs.wcs.to_header(WCSHDO_safe | WCSHDO_P14)
        + header_text(cards)
        + 'END'
    )
    pixels = data.astype(data.dtype.newbyteorder('>')).tobytes()
    return _whole_blocks(text.encode(), b' ') + _whole_blocks(pixels, b'\0')


def fits_bytes(hdus):
    """Return HDUs as the content of a FITS file."""
    content = io.BytesIO()
    fits.HDUList(hdus).writeto(content)
    return content.getvalue()


def header_text(cards):
    """
    Return the cards of a FITS header, ten times faster than `~astropy.io.fits.Header`.

    Parameters
    ----------
    cards : dict
        Values by keyword: text, numbers or bool.

    Returns
    -------
    text : str
        80 characters per card.
    """
    return ''.join(f'{key:<8}= {_card_value(value):>20}'.ljust(80) for key, value in cards.items())


def _card_value(value):
    if isinstance(value, bool):
        return 'T' if value else 'F'
    return f"'{value}'" if isinstance(value, str) else str(value).upper()


def _whole_blocks(content, filling):
    return content + filling * (-len(content) % _BLOCK)
