# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tables, positions and data frames as one Astropy table, and the values of its columns."""

import sys

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Column, QTable, Table
from astropy.utils.masked import get_data_and_mask

from astro_morph.utils.messages import as_written

__all__ = ['as_table']


def as_table(X):
    """
    Turn what a user calls a catalogue into a table.

    Parameters
    ----------
    X : `~astropy.table.Table`, `~astropy.coordinates.SkyCoord` or `pandas.DataFrame`
        A table is handed back as it is, positions become the column ``coord``.

    Returns
    -------
    table : `~astropy.table.Table`
        One row for each row or position.

    Raises
    ------
    TypeError
        If ``X`` is none of these.
    ValueError
        If the positions have more than one axis.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.catalog import as_table
    >>> as_table(SkyCoord([10.0, 20.0], [0.0, 5.0], unit='deg')).colnames
    ['coord']
    """
    if isinstance(X, Table):
        return X
    if isinstance(X, SkyCoord):
        if X.ndim > 1:
            msg = f'X holds positions of shape {X.shape}, expected one axis; use X.ravel()'
            raise ValueError(msg)
        return QTable({'coord': X.reshape(-1)})
    # A data frame can only come from a pandas that was imported already.
    pandas = sys.modules.get('pandas')
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return Table.from_pandas(X.rename(columns=str))
    msg = f'X must be a Table, a SkyCoord or a pandas DataFrame, got {type(X).__name__}'
    raise TypeError(msg)


def _column(table, name, argument):
    """Get the column that an argument names, which has one value a row."""
    if name not in table.colnames:
        msg = (
            f'{as_written(argument)} names {name!r}, which is not among the columns '
            f'{table.colnames}; name one of them'
        )
        raise ValueError(msg)
    column = table[name]
    if len(column.shape) > 1:
        msg = (
            f'{as_written(argument)} is the column {name!r} of shape {column.shape}, expected one '
            'value a row'
        )
        raise ValueError(msg)
    return column


def _ucd(column):
    """Get the UCD of a column, None if it has none."""
    return (column.info.meta or {}).get('ucd')


def _split_mask(column):
    """Get the plain values of a column, and its mask."""
    values, mask = get_data_and_mask(column)
    values = np.asarray(values)
    return values, np.zeros(values.shape, dtype=bool) if mask is None else mask


def _plain(name):
    """Write a column name as it is compared with others."""
    return name.lower().replace('_', '')


def _is_text(column):
    """Whether a column holds text."""
    if not isinstance(column, Column):
        return False
    if column.dtype.kind == 'O':
        return any(isinstance(value, str) for value in column)
    return column.dtype.kind in 'SU'


def _as_text(value):
    """Decode bytes and strip text; leave any other value as it is."""
    if isinstance(value, bytes):
        value = value.decode()
    return value.strip() if isinstance(value, str) else value


def _is_empty(value):
    """Whether a value is None, NaN or empty text."""
    return value is None or value == '' or value != value
