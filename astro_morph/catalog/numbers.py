# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read angular sizes and other numbers from the columns of a catalogue."""

from decimal import Decimal

import astropy.units as u
import numpy as np

from astro_morph.catalog.cells import split_mask
from astro_morph.catalog.tables import get_column
from astro_morph.utils.messages import as_written

__all__ = ['read_numbers', 'read_sizes']


def read_sizes(table, name):
    """
    Read the angular size of each row.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    name : str
        The column of sizes, in arcsec if it has no unit.

    Returns
    -------
    sizes : `~astropy.units.Quantity`, shape (n,)
        The sizes in arcsec; NaN where a size is masked, infinite or not positive.

    Raises
    ------
    ValueError
        If there is no such column, or it does not hold angles.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import read_sizes
    >>> read_sizes(Table({'radius': [0.1, -9.0]}, units=['arcmin']), 'radius')
    <Quantity [ 6., nan] arcsec>
    """
    column = get_column(table, name, 'size')
    values, mask = _split_numbers(column)
    unit = getattr(column, 'unit', None)
    if unit is None or unit == u.dimensionless_unscaled:
        unit = u.arcsec
    if values.dtype.kind not in 'iuf' or not unit.is_equivalent(u.arcsec):
        msg = (
            f'{as_written("size")} names the column {name!r} of type {values.dtype} and unit '
            f'{str(unit)!r}, expected angles as numbers, in arcsec if there is no unit; name '
            'another column'
        )
        raise ValueError(msg)
    sizes = unit.to(u.arcsec, values.astype(float))
    is_size = (sizes > 0) & np.isfinite(sizes) & ~mask
    return np.where(is_size, sizes, np.nan) * u.arcsec


def read_numbers(table, names, argument):
    """
    Read columns of numbers.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    names : sequence of str
        The columns.
    argument : str
        The argument that names them, for the error message.

    Returns
    -------
    numbers : ndarray of float, shape (n, len(names))
        NaN where a value is masked.

    Raises
    ------
    ValueError
        If there is no such column, or it does not hold numbers.

    Examples
    --------
    >>> from astropy.table import MaskedColumn, Table
    >>> from astro_morph.catalog.numbers import read_numbers
    >>> table = Table([MaskedColumn([1, 2], mask=[False, True]), [3.5, 4.5]], names=['a', 'b'])
    >>> read_numbers(table, ['a', 'b'], 'columns')
    array([[1. , 3.5],
           [nan, 4.5]])
    """
    numbers = np.full((len(table), len(names)), np.nan)
    for column, name in enumerate(names):
        values, mask = _split_numbers(get_column(table, name, argument))
        if values.dtype.kind not in 'iufb':
            msg = (
                f'{as_written(argument)} names the column {name!r} of type {values.dtype}, '
                'expected numbers; convert it, or name another'
            )
            raise ValueError(msg)
        numbers[~mask, column] = values[~mask]
    return numbers


def _split_numbers(column):
    """Return the values of a column, decimal numbers as floating-point numbers, and the mask."""
    values, mask = split_mask(column)
    if values.dtype.kind == 'O' and all(isinstance(value, Decimal) for value in values[~mask]):
        return np.where(mask, np.nan, values).astype(float), mask
    return values, mask
