# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Convert the columns of Arrow to those of Astropy and back, with their nulls."""

import base64

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.masked import get_data_and_mask

from astro_morph.catalog.cells import is_missing
from astro_morph.catalog.nested import (
    count_axes,
    is_array,
    is_text,
    read_array,
    read_objects,
    write_array,
    write_objects,
)
from astro_morph.utils.messages import cut_list

__all__ = [
    'ARROW_TYPE',
    'check_names',
    'find_type',
    'from_arrow',
    'to_arrow',
    'to_column',
]

# The entry of a column's meta that holds its type in Arrow, where NumPy has none like it: a list of
# any length, a structure, a decimal number. It can't be found from the values of a few rows.
ARROW_TYPE = 'arrow_type'

# Decimal digits that a double-precision number holds.
DIGITS = 15


def from_arrow(rows):
    """Convert a table of Arrow to one of Astropy; names that occur twice are refused."""
    check_names(rows.column_names)
    return Table({name: to_column(rows[name]) for name in rows.column_names})


def check_names(names):
    """Raise a ValueError if two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f'several columns have the name {cut_list(twice)}; rename them, or keep one of each'
        raise ValueError(msg)


def to_column(values):
    """
    Convert a column of Arrow to one of Astropy.

    Parameters
    ----------
    values : `pyarrow.ChunkedArray`
        The column.

    Returns
    -------
    column : `~astropy.table.Column`
        Nulls are masked. Numbers, text and times, those with a zone in UTC, are of NumPy's types;
        tensors and lists of fixed size are arrays with more axes; all else are objects, see
        `~astro_morph.catalog.nested.read_objects`.
    """
    import pyarrow as pa
    from pyarrow import types

    values = _unpack(values)
    kind = values.type
    mask = values.is_null().to_numpy()
    if types.is_null(kind):
        return MaskedColumn(np.zeros(len(values), 'U1'), mask=True)
    if is_text(kind):
        return _mask(np.array([value or '' for value in values.to_pylist()], dtype=str), mask)
    if types.is_boolean(kind) or types.is_integer(kind):
        return _mask(values.fill_null(False if types.is_boolean(kind) else 0).to_numpy(), mask)
    if types.is_floating(kind) or types.is_date(kind) or types.is_duration(kind):
        return _mask(values.to_numpy(), mask)
    if types.is_decimal(kind) and kind.precision <= DIGITS:
        # With so few digits, the conversion back is exact.
        number = pa.int64() if kind.scale <= 0 else pa.float64()
        return _mask(values.cast(number).fill_null(0).to_numpy(), mask, kind)
    if types.is_timestamp(kind):
        return _mask(values.to_numpy(), mask, None if kind.tz is None else kind)
    if is_array(kind):
        # Lists of fixed size are known by the shape of the column.
        return _mask(*read_array(values), kind if isinstance(kind, pa.BaseExtensionType) else None)
    return _mask(read_objects(values), mask, kind)


def to_arrow(column):
    """
    Convert a column of Astropy to an array of Arrow.

    Parameters
    ----------
    column : `~astropy.table.Column`
        The column. The meta of one with objects should name their type, see ``ARROW_TYPE``.

    Returns
    -------
    array : `pyarrow.Array`
        Masked and missing values are null.
    """
    import pyarrow as pa

    values, mask = get_data_and_mask(column)
    values = np.asarray(values)
    mask = np.zeros(values.shape, bool) if mask is None else np.asarray(mask)
    kind = find_type(column)
    if values.dtype.kind == 'O':
        is_null = [masked or is_missing(v) for v, masked in zip(values, mask, strict=True)]
        objects = [None if null else v for v, null in zip(values, is_null, strict=True)]
        kind = kind or _find_type_of_arrays([value for value in objects if value is not None])
        if kind is None:
            return pa.array([_as_lists(value) for value in objects])
        return write_objects(objects, kind)
    if values.ndim > 1:
        return write_array(to_arrow(MaskedColumn(values.ravel(), mask=mask.ravel())), mask, kind)
    if values.dtype.kind in 'US':
        return pa.array(values.tolist(), mask=mask)
    if values.dtype.kind in 'mM' and np.datetime_data(values.dtype)[0] in 'YMWhms':
        # Parquet has days, milliseconds, and fractions of them.
        values = values.astype(f'{values.dtype.kind}8[ms]')
    array = pa.array(values.astype(values.dtype.newbyteorder('='), copy=False), mask=mask)
    if kind is not None and pa.types.is_decimal(kind) and pa.types.is_integer(array.type):
        # Arrow takes an integer to have as many digits as its type may.
        array = array.cast(pa.decimal128(19))
    return array if kind is None else array.cast(kind)


def _unpack(values):
    """Return a column without the encodings that make it smaller, and without type extensions."""
    import pyarrow as pa
    from pyarrow import compute, types

    kind = values.type
    if isinstance(kind, pa.BaseExtensionType) and not count_axes(kind):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], kind.storage_type)
        return _unpack(values)
    if types.is_dictionary(kind):
        return _unpack(values.cast(kind.value_type))
    if types.is_float16(kind):
        # Of half precision, Arrow lacks most conversions.
        return values.cast(pa.float32())
    if types.is_run_end_encoded(kind):
        chunks = [compute.run_end_decode(chunk) for chunk in values.chunks]
        return _unpack(pa.chunked_array(chunks, kind.value_type))
    return values


def _mask(values, mask, kind=None):
    """Return a column, with a mask if a value is masked."""
    meta = None if kind is None else {ARROW_TYPE: _write_type(kind)}
    return MaskedColumn(values, mask=mask, meta=meta) if mask.any() else Column(values, meta=meta)


def _write_type(kind):
    """Return a type of Arrow as text."""
    import pyarrow as pa

    return base64.b64encode(pa.schema([('', kind)]).serialize().to_pybytes()).decode()


def find_type(column):
    """Return the type that the meta of a column names, None if it names none."""
    import pyarrow as pa

    text = (column.info.meta or {}).get(ARROW_TYPE)
    return text and pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text))).field(0).type


def _as_lists(value):
    """Return a value whose arrays of several axes are lists of arrays, as Arrow takes them."""
    if isinstance(value, dict):
        return {name: _as_lists(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)) or np.ndim(value) > 1:
        return [_as_lists(item) for item in value]
    return value


def _find_type_of_arrays(values):
    """Return the type of lists like some arrays of NumPy; None for other objects."""
    import pyarrow as pa

    if not values or not all(isinstance(value, np.ndarray) for value in values):
        return None
    types = {(value.dtype, value.ndim) for value in values}
    (dtype, depth), *others = types
    if others or depth == 0:
        return None
    kind = pa.from_numpy_dtype(dtype.newbyteorder('='))
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind
