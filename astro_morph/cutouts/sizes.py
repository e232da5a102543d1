# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Sizes of cutouts: pixels, an angle, or a multiple of a catalogue column."""

import re

import astropy.units as u
import numpy as np

from astro_morph.catalog import read_sizes
from astro_morph.utils.messages import as_written

__all__ = ['SAME_SCALE', 'framing_of', 'grid_of']

#: Pixel scales with a smaller relative difference are taken as equal: projections change them
#: within a survey.
SAME_SCALE = 0.01

# Default side in pixels: an SDSS galaxy of the main sample and some sky.
DEFAULT_SIDE = 64

# A column, and a factor on either side of it: '4 * petroR90_r', 'petroR90_r*4' or 'petroR90_r'.
_NUMBER = r'(?:\d+\.?\d*|\.\d+)'
_FRAMING = re.compile(
    rf'(?P<before>{_NUMBER})\s*\*\s*(?P<scaled>[^*]+)'
    rf'|(?P<plain>[^*]+?)(?:\s*\*\s*(?P<after>{_NUMBER}))?'
)


def grid_of(table, size, pixel_scale):
    """
    Return the side and the pixel scales of the cutouts of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    size : None, int, `~astropy.units.Quantity`, str or tuple
        Size of the cutouts: pixels or an angle; 64 pixels if None. Or a column of angular sizes
        and a factor, such as ``'4 * petroR90_r'``, so that large and small galaxies fill the frame
        alike: each cutout spans this angle in 64 pixels, and its pixel scale follows.
        ``(128, '4 * petroR90_r')`` has 128 pixels instead. Numbers without a unit are arcseconds.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel, unless ``size`` names a column.

    Returns
    -------
    side : int
        Side of all cutouts in pixels.
    scale : `~astropy.units.Quantity`
        Angle a pixel in arcsec: one for all rows; or of shape (n,) if ``size`` names a column, NaN
        in rows without a size above zero, which get the status ``'no_size'``.

    Raises
    ------
    ValueError
        If ``size`` is none of these, or the column is missing or holds no angles.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts import grid_of
    >>> table = Table({'radius': [4.0, 8.0, -1.0]})
    >>> grid_of(table, '4 * radius', 0.262 * u.arcsec)
    (64, <Quantity [0.25, 0.5 ,  nan] arcsec>)
    >>> grid_of(table, 1 * u.arcmin, 0.25 * u.arcsec)
    (240, <Quantity 0.25 arcsec>)
    """
    framing = framing_of(size)
    if framing is None:
        return _side_in_pixels(size, pixel_scale), u.Quantity(pixel_scale).to(u.arcsec)
    side = _side_in_pixels(size[0] if isinstance(size, tuple) else None, pixel_scale)
    factor, column = _read_framing(framing)
    return side, read_sizes(table, column) * factor / side


def framing_of(size):
    """
    Return the column and factor of a size.

    Parameters
    ----------
    size : object
        As in `grid_of`.

    Returns
    -------
    framing : str or None
        Always in the form ``'4 * petroR90_r'``; None if the size is pixels or an angle.

    Raises
    ------
    ValueError
        If the size is text, but not a column and a factor.
    """
    if isinstance(size, tuple) and len(size) == 2:
        size = size[1]
    if not isinstance(size, str):
        return None
    factor, column = _read_framing(size)
    return f'{factor:.12g} * {column}'


def _read_framing(text):
    """Return the factor and the column in a text."""
    match = _FRAMING.fullmatch(text.strip())
    factor = float(match['before'] or match['after'] or 1) if match else 0
    if factor == 0:
        msg = (
            f"{as_written('size')} must be a column and a factor, as in '4 * petroR90_r', got "
            f'{text!r}'
        )
        raise ValueError(msg)
    return factor, match['scaled'] or match['plain']


def _side_in_pixels(size, pixel_scale):
    """Return the number of pixels of a size that is a number of pixels, an angle or None."""
    if size is None:
        return DEFAULT_SIDE
    if isinstance(size, u.Quantity):
        size = round((size / pixel_scale).to_value(u.one))
    if not isinstance(size, int | np.integer) or size < 1:
        msg = (
            f'{as_written("size")} must be a number of pixels above zero or an angle, got {size!r}'
        )
        raise ValueError(msg)
    return int(size)
