# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Turn tables, positions and data frames into an Astropy table, and read its columns."""

import sys

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Column, QTable, Table
from astropy.utils.masked import get_data_and_mask

from astro_morph.utils.messages import as_written, cut_list

__all__ = ['as_table']


def as_table(X):
    """
    Return a catalogue as a table.

    Parameters
    ----------
    X : `~astropy.table.Table`, `~astropy.coordinates.SkyCoord` or `pandas.DataFrame`
        A table is returned unchanged; positions become the column ``coord``.

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
    # If X is a data frame, pandas has been imported.
    pandas = sys.modules.get('pandas')
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return Table.from_pandas(X.rename(columns=str))
    msg = f'X must be a Table, a SkyCoord or a pandas DataFrame, got {type(X).__name__}'
    raise TypeError(msg)


def get_column(table, name, argument):
    """Return the column of a table that an argument names, one value per row."""
    if name not in table.colnames:
        msg = (
            f'{as_written(argument)} names {name!r}, which is not among the columns '
            f'{cut_list(table.colnames)}; name one of them'
        )
        raise ValueError(msg)
    column = table[name]
    if len(column.shape) > 1:
        msg = (
            f'{as_written(argument)} names the column {name!r} of shape {column.shape}, expected '
            'one value per row'
        )
        raise ValueError(msg)
    return column


def get_ucd(column):
    """Return the UCD of a column, None if it has none."""
    return (column.info.meta or {}).get('ucd')


def split_mask(column):
    """Return the values of a column without its mask, and the mask."""
    values, mask = get_data_and_mask(column)
    values = np.asarray(values)
    return values, np.zeros(values.shape, dtype=bool) if mask is None else mask


def normalize_name(name):
    """Return a column name in the form in which names are compared."""
    return name.lower().replace('_', '')


def is_text(column):
    """Check whether a column holds text."""
    if not isinstance(column, Column):
        return False
    if column.dtype.kind == 'O':
        return any(isinstance(value, str) for value in column)
    return column.dtype.kind in 'SU'


def as_text(value):
    """Decode bytes and strip text; return any other value unchanged."""
    if isinstance(value, bytes):
        value = value.decode()
    return value.strip() if isinstance(value, str) else value


def is_blank(value):
    """Check whether a value is None, NaN or empty text."""
    return value is None or value == '' or value != value
