# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read numbers from the columns of a catalogue."""

from decimal import Decimal

import numpy as np

from astro_morph.catalog.cells import split_mask
from astro_morph.catalog.tables import get_column
from astro_morph.utils.messages import as_written

__all__ = ['read_numbers', 'split_numbers']


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
        values, mask = split_numbers(get_column(table, name, argument))
        if values.dtype.kind not in 'iufb':
            msg = (
                f'{as_written(argument)} names the column {name!r} of type {values.dtype}, '
                'expected numbers; convert it, or name another'
            )
            raise ValueError(msg)
        numbers[~mask, column] = values[~mask]
    return numbers


def split_numbers(column):
    """
    Return the values and the mask of a column of numbers.

    Parameters
    ----------
    column : `~astropy.table.Column` or `~astropy.units.Quantity`
        The column.

    Returns
    -------
    values : ndarray
        The values; decimal numbers of Python as floating-point numbers.
    mask : ndarray of bool
        True where a value is masked or missing.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from astropy.table import Column
    >>> from astro_morph.catalog.numbers import split_numbers
    >>> split_numbers(Column([Decimal('0.5'), None]))
    (array([0.5, nan]), array([False,  True]))
    """
    values, mask = split_mask(column)
    if values.dtype.kind == 'O' and all(isinstance(value, Decimal) for value in values[~mask]):
        return np.where(mask, np.nan, values).astype(float), mask
    return values, mask
