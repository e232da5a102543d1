# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Sizes of cutouts: pixels, an angle, or an expression of catalogue columns."""

import astropy.units as u
import numpy as np
from astropy.table import Table

from astro_morph.catalog.sizes.reading import UNITS, read_expression, read_sizes
from astro_morph.utils.messages import as_written

__all__ = ['SAME_SCALE', 'columns_of', 'framing_of', 'grid_of']

#: Pixel scales with a smaller relative difference are taken as equal: projections change them
#: within a survey.
SAME_SCALE = 0.01

# Default side in pixels: an SDSS galaxy of the main sample and some sky.
DEFAULT_SIDE = 64

_ONE_ROW = Table({'row': [0]})


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
        ``(128, '4 * petroR90_r')`` has 128 pixels instead, and ``(128, 20 * u.arcsec)`` spans one
        angle in them. Numbers without a unit are arcseconds. Any expression of columns and units
        takes the place of the column, see `~astro_morph.catalog.read_sizes`.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel, unless ``size`` says what the cutouts span.

    Returns
    -------
    side : int
        Side of all cutouts in pixels.
    scale : `~astropy.units.Quantity`
        Angle a pixel in arcsec: one for all rows; or of shape (n,) if ``size`` names a column, NaN
        in rows without a size above zero, which get the status ``'no_size'``.

    Raises
    ------
    MissingColumnError
        If there is no such column.
    ValueError
        If ``size`` is none of these, or the column holds no angles.

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
    if not columns_of(framing):
        # One scale for all: images that have it are not resampled.
        return side, read_sizes(_ONE_ROW, framing)[0] / side
    return side, read_sizes(table, framing) / side


def framing_of(size):
    """
    Return what cutouts span, if their pixel scales follow from it.

    Parameters
    ----------
    size : object
        As in `grid_of`.

    Returns
    -------
    framing : str or None
        A column and a factor always in the form ``'4 * petroR90_r'``; None if the size is pixels or
        an angle.

    Raises
    ------
    ValueError
        If the size is text, but no expression.

    Examples
    --------
    >>> from astro_morph.cutouts.sizes import framing_of
    >>> framing_of('petroR90_r*4'), framing_of((64, 20 * u.arcsec)), framing_of(64)
    ('4 * petroR90_r', '20 * arcsec', None)
    """
    if isinstance(size, tuple) and len(size) == 2:
        size = size[1]
        if isinstance(size, u.Quantity):
            size = f'{size.to_value(u.arcsec):.12g} * arcsec'
    return str(read_expression(size)) if isinstance(size, str) else None


def columns_of(framing):
    """
    Return the columns that a framing names.

    Parameters
    ----------
    framing : str
        As `framing_of` returns it.

    Returns
    -------
    columns : list of str
        The names in it, without those of units.

    Examples
    --------
    >>> from astro_morph.cutouts.sizes import columns_of
    >>> columns_of('3 * a * 0.2 * arcsec / pix'), columns_of('20 * arcsec')
    (['a'], [])
    """
    return [name for name in read_expression(framing).names if name not in UNITS]


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
