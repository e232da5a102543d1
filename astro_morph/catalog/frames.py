# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Convert data frames of pandas, Polars and Arrow to tables, and add columns to them."""

import sys

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from astro_morph.catalog.cells import simplify
from astro_morph.catalog.io.arrow import check_names, from_arrow, to_arrow, to_column

__all__ = ['add_to_frame', 'from_frame', 'is_frame']

# The classes of data frames by module. Who passes one has imported its module.
_CLASSES = {'pandas': 'DataFrame', 'polars': 'DataFrame', 'pyarrow': 'Table'}


def is_frame(X):
    """
    Check whether an object is a data frame.

    Parameters
    ----------
    X : object
        Any object.

    Returns
    -------
    is_frame : bool
        Whether it is a data frame of pandas or Polars, or a table of Arrow.

    Examples
    --------
    >>> import pandas
    >>> from astro_morph.catalog.frames import is_frame
    >>> is_frame(pandas.DataFrame()), is_frame([])
    (True, False)
    """
    return _find_library(X) is not None


def from_frame(frame):
    """
    Convert a data frame to a table.

    Parameters
    ----------
    frame : DataFrame or `pyarrow.Table`
        The data frame.

    Returns
    -------
    table : `~astropy.table.Table`
        Missing values are masked. Names are text; those of several levels are joined by
        underscores. An index of pandas comes first, unless it is only a number without a name.

    Raises
    ------
    ValueError
        If two columns have the same name.

    Examples
    --------
    >>> import pandas
    >>> from astro_morph.catalog.frames import from_frame
    >>> frame = pandas.DataFrame({('sdss', 'r'): [17.5, 18.0]}, index=['NGC 1', 'NGC 2'])
    >>> from_frame(frame).colnames
    ['index', 'sdss_r']
    """
    library = _find_library(frame)
    if library == 'pandas':
        return _from_pandas(frame)
    return from_arrow(frame.to_arrow() if library == 'polars' else frame)


def add_to_frame(frame, columns, *, dropped=()):
    """
    Add columns to a copy of a data frame.

    Parameters
    ----------
    frame : DataFrame or `pyarrow.Table`
        The data frame, with n rows.
    columns : `~astropy.table.Table`
        The n rows of the new columns. Its ``meta`` becomes that of a data frame of pandas
        (``attrs``) or Arrow.
    dropped : collection of str, default=()
        Columns to leave out, as `from_frame` names them.

    Returns
    -------
    frame : DataFrame or `pyarrow.Table`
        A data frame of the same class, with the same index.

    Examples
    --------
    >>> import pandas
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.frames import add_to_frame
    >>> frame = pandas.DataFrame({'mag': [17.5, 18.0]}, index=['NGC 1', 'NGC 2'])
    >>> add_to_frame(frame, Table({'morph_class': ['E', 'S']}))
            mag morph_class
    NGC 1  17.5           E
    NGC 2  18.0           S
    """
    library = _find_library(frame)
    if library == 'pandas':
        return _add_to_pandas(frame, columns, dropped)
    names = frame.columns if library == 'polars' else frame.column_names
    kept = frame.drop([name for name in names if name in dropped])
    arrays = {name: to_arrow(column) for name, column in columns.columns.items()}
    if library == 'polars':
        convert = sys.modules['polars'].from_arrow
        return kept.with_columns(**{name: convert(array) for name, array in arrays.items()})
    for name, array in arrays.items():
        kept = kept.append_column(name, array)
    metadata = {name: str(value) for name, value in columns.meta.items()}
    return kept.replace_schema_metadata({**(kept.schema.metadata or {}), **metadata})


def _find_library(X):
    """Return the name of the module that a data frame is of, None for other objects."""
    for name, class_name in _CLASSES.items():
        module = sys.modules.get(name)
        if module is not None and isinstance(X, getattr(module, class_name)):
            return name
    return None


def _from_pandas(frame):
    """Convert a data frame of pandas, with its index."""
    pairs = [(_join_levels(name), frame.iloc[:, i]) for i, name in enumerate(frame.columns)]
    names = [name for name, _ in pairs]
    index = [series for series in _read_index(frame.index) if series.name not in names]
    pairs = [(series.name, series) for series in index] + pairs
    check_names([name for name, _ in pairs])
    return Table({name: _from_series(series) for name, series in pairs})


def _read_index(index):
    """List the columns of an index; an index that only counts rows has none."""
    if index.nlevels == 1 and index.name is None and index.dtype.kind in 'iu':
        return []
    stem = 'index' if index.nlevels == 1 else 'level_{}'
    names = [
        stem.format(level) if name is None else str(name) for level, name in enumerate(index.names)
    ]
    rows = range(len(index))
    return [
        index.get_level_values(level).to_series(index=rows, name=name)
        for level, name in enumerate(names)
    ]


def _add_to_pandas(frame, columns, dropped):
    """Add columns to a data frame of pandas."""
    pandas = sys.modules['pandas']
    kept = frame.loc[:, [_join_levels(name) not in dropped for name in frame.columns]]
    new = columns.to_pandas(index=False).set_axis(frame.index)
    if frame.columns.nlevels > 1:
        rest = [''] * (frame.columns.nlevels - 1)
        new.columns = pandas.MultiIndex.from_tuples([(name, *rest) for name in new.columns])
    together = pandas.concat([kept, new], axis=1)
    together.attrs = {**frame.attrs, **columns.meta}
    return together


def _join_levels(name):
    """Return the name of a column as text, its levels joined by underscores."""
    levels = name if isinstance(name, tuple) else (name,)
    return '_'.join(text for text in map(str, levels) if text)


def _from_series(series):
    """Convert a column of pandas, and its missing values to a mask."""
    dtype = series.dtype
    if hasattr(dtype, 'pyarrow_dtype'):
        import pyarrow

        # Nested columns of nested-pandas would be lists of structures.
        is_nested = pyarrow.types.is_struct(dtype.pyarrow_dtype)
        array = pyarrow.array(series, dtype.pyarrow_dtype if is_nested else None)
        is_chunked = isinstance(array, pyarrow.ChunkedArray)
        return to_column(array if is_chunked else pyarrow.chunked_array([array]))
    if hasattr(dtype, 'tz'):
        values = series.dt.tz_convert(None).to_numpy()
    elif isinstance(dtype, np.dtype):
        values = series.to_numpy()
    elif hasattr(dtype, 'numpy_dtype'):  # the nullable types
        values = series.to_numpy(dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
    else:
        values = series.to_numpy(object)
    mask = series.isna().to_numpy(bool)
    if values.dtype.kind == 'O':
        values, mask = simplify(values, mask)
    # NaN is a value of floating-point numbers.
    if values.dtype.kind in 'fc' and isinstance(dtype, np.dtype):
        return Column(values)
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)
