# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Convert columns to what a file format can hold, and refuse those that it cannot hold."""

import json
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn
from astropy.time import Time, TimeDelta
from astropy.units import Quantity
from astropy.utils.masked import get_data_and_mask

from astro_morph.catalog.cells import decode, split_mask
from astro_morph.catalog.io.arrow import ARROW_TYPE
from astro_morph.catalog.nested import to_python

__all__ = ['NAMES', 'advise', 'fit_columns', 'with_values']

#: The name of each format in messages.
NAMES = {
    'fits': 'FITS',
    'ascii.ecsv': 'ECSV',
    'ascii.csv': 'CSV',
    'hdf5': 'HDF5',
    'parquet': 'Parquet',
    'votable': 'VOTable',
}

# Types of numbers that a format lacks, and the type that holds their values. Astropy would write
# int8 to FITS as booleans.
_WIDER = {
    'fits': {'i1': 'i2', 'f2': 'f4'},
    'votable': {'i1': 'i2', 'u2': 'i4', 'u4': 'i8', 'u8': 'i8', 'f2': 'f4'},
}

# In FITS a value of its type stands for those that are missing: these types are too small to spare
# one.
_WIDER_IF_MASKED = {'fits': {'u1': 'i2', 'u2': 'i4', 'u4': 'i8'}}

# The standard has three digits for the number of a column.
MOST_FITS_COLUMNS = 999

# The formats that hold arrays of any length.
_WITH_ARRAYS = ('fits', 'ascii.ecsv', 'parquet', 'votable')

# The formats that hold only names and values, or no objects of Astropy but quantities.
_PLAIN = ('ascii.csv', 'votable')

# The UCDs of positions on the sky.
_SKY_UCDS = {'ra': 'pos.eq.ra', 'dec': 'pos.eq.dec'}

# Objects that text can stand for.
_SCALARS = (str, bool, int, float, Decimal, date, time, UUID, np.generic)


def fit_columns(table, file_format):
    """
    Return a table with columns that a file format can hold.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table; it is not changed.
    file_format : str
        Astropy's name of the format.

    Returns
    -------
    fitting : `~astropy.table.Table`
        Numbers have the next wider type that the format has. Where it has no times, they are text
        as in ISO 8601, and durations are seconds. Objects are the text, numbers or arrays that
        they hold. VOTable and CSV have no sky coordinates: such a column is right ascension and
        declination (ICRS, in degrees).

    Raises
    ------
    ValueError
        If the format cannot hold a column.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.formats import fit_columns
    >>> fit_columns(Table({'flag': np.array([0, -1], 'i1')}), 'fits')['flag'].dtype
    dtype('int16')
    """
    fitting = (_split_sky(table) if file_format in _PLAIN else table).copy(copy_data=False)
    for name, column in fitting.columns.items():
        try:
            fitted = _fit(column, file_format)
        except ValueError as error:
            msg = (
                f'the column {name!r} holds {error}, which {NAMES[file_format]} cannot hold; '
                f'{advise(file_format)}'
            )
            raise ValueError(msg) from error
        if fitted is not column:
            fitting.replace_column(name, fitted)
    if file_format == 'fits' and len(fitting.colnames) > MOST_FITS_COLUMNS:
        msg = (
            f'the table has {len(fitting.colnames)} columns, and FITS holds {MOST_FITS_COLUMNS} '
            'at most; write Parquet, or leave some out'
        )
        raise ValueError(msg)
    return fitting


def advise(file_format):
    """Return what to do about a column that a format cannot hold, for a message."""
    other = 'ECSV' if file_format == 'parquet' else 'Parquet'
    return f'write {other}, or leave the column out'


def with_values(column, values, mask, **changes):
    """Return a column with other values that is the same in all else."""
    info = column.info
    about = {'name': info.name, 'unit': info.unit, 'description': info.description}
    about |= {'meta': info.meta} | changes
    # Astropy writes objects in a MaskedColumn to few formats.
    if np.any(mask) or (isinstance(column, MaskedColumn) and values.dtype.kind != 'O'):
        return MaskedColumn(values, mask=mask, **about)
    return Column(values, **about)


def _fit(column, file_format):
    """Return a column that a format can hold; an error says only what the column holds."""
    if file_format in _PLAIN:
        column = _without_mixin(column)
    if not isinstance(column, Column):
        return column
    if column.dtype.kind == 'O':
        column = _fit_objects(column, file_format)
    if file_format != 'parquet':
        if column.dtype.kind in 'mM':
            column = _fit_times(column)
        column = _without_arrow_type(column)
    if column.dtype.kind == 'S' and file_format != 'fits':
        column = with_values(column, *_map(decode, column))
    if column.dtype.kind == 'U':
        _check_characters(column, file_format)
    _check_shape(column, file_format)
    return _widen(column, file_format)


def _without_mixin(column):
    """Return times as text and durations as seconds; other objects of Astropy are refused."""
    if isinstance(column, (Column, Quantity)):
        return column
    if isinstance(column, (Time, TimeDelta)):
        is_time = isinstance(column, Time)
        values, mask = get_data_and_mask(column.isot if is_time else column.sec)
        description = column.info.description
        unit = None if is_time else u.s
        return MaskedColumn(values, mask=mask, unit=unit, description=description)
    raise ValueError(_name_types([column]))


def _fit_objects(column, file_format):
    """Return objects as the text, numbers or arrays that they hold."""
    if file_format == 'parquet' and ARROW_TYPE in (column.info.meta or {}):
        return column
    values, mask = split_mask(column)
    if values.dtype.kind != 'O':
        return with_values(column, values, mask)
    known = values[~mask].tolist()
    if file_format == 'parquet':
        return column
    if all(isinstance(value, bytes) for value in known):
        return with_values(column, *_map(_decode_strictly, column))
    if all(isinstance(value, (list, np.ndarray)) for value in known):
        arrays = _to_arrays(values, mask)
        if arrays is not None and file_format in _WITH_ARRAYS:
            return with_values(column, arrays, mask & (file_format != 'fits'))
    if all(isinstance(value, _SCALARS) for value in known):
        has_numbers = any(isinstance(value, (int, float, np.generic)) for value in known)
        if file_format == 'ascii.csv' or not has_numbers:
            return with_values(column, *_map(_write_scalar, column))
    if file_format == 'ascii.ecsv' and (objects := _to_json(values)) is not None:
        return with_values(column, objects, mask)
    raise ValueError(_name_types(known))


def _to_arrays(values, mask):
    """Return lists of numbers as arrays of one type, empty where masked; None for other lists."""
    try:
        arrays = [np.ma.asarray(value) for value in values[~mask]]
    except ValueError:  # lists of lists of several lengths
        return None
    kinds = {array.dtype.kind for array in arrays if array.size}
    if not kinds <= set('iufb') or any(array.ndim != 1 for array in arrays):
        return None
    # A missing number in an array is NaN.
    dtype = np.result_type(
        *(array.dtype for array in arrays if array.size),
        *([float] if any(np.ma.is_masked(array) for array in arrays) else []),
    )
    objects = np.empty(values.shape, object)
    objects[:] = [np.zeros(0, dtype)] * len(objects)
    for row, array in zip(np.flatnonzero(~mask), arrays, strict=True):
        array = array.astype(dtype)
        objects[row] = array.filled(np.nan) if np.ma.is_masked(array) else array.data
    return objects


def _fit_times(column):
    """Return times as text, with a Z where they had a zone, and durations as seconds."""
    values, mask = split_mask(column)
    mask = mask | np.isnat(values)
    if values.dtype.kind == 'm':
        seconds = np.where(mask, np.nan, values / np.timedelta64(1, 's'))
        return with_values(column, seconds, mask, unit=u.s)
    zone = 'UTC' if ARROW_TYPE in (column.info.meta or {}) else 'naive'
    is_day = np.datetime_data(values.dtype)[0] in 'YMWD'
    text = np.datetime_as_string(values, timezone='naive' if is_day else zone)
    # Without the room that NumPy leaves for other times.
    text = np.array(np.where(mask, '', text).tolist(), dtype=str)
    return with_values(column, text, mask)


def _check_characters(column, file_format):
    """Refuse text that a format cannot hold."""
    values, mask = split_mask(column)
    values = np.where(mask, '', values)
    if file_format not in ('fits', 'votable') or values.dtype.itemsize == 0 or values.size == 0:
        return
    codes = np.ascontiguousarray(values).view(np.uint32).reshape(values.size, -1)
    if file_format == 'fits':
        is_wrong, what = codes > 127, 'the text {!r} beyond ASCII'
    else:
        # NumPy fills the end of text with zeros.
        is_wrong = (codes < 32) & ~np.isin(codes, [0, 9, 10, 13]) | np.isin(codes, [0xFFFE, 0xFFFF])
        what = 'control characters in the text {!r}'
    if is_wrong.any():
        raise ValueError(what.format(str(values.flat[np.argmax(is_wrong.any(axis=1))])))


def _check_shape(column, file_format):
    """Refuse columns of arrays and structures where a format has only plain values."""
    if file_format in _PLAIN and column.dtype.kind == 'V':
        msg = 'structures'
        raise ValueError(msg)
    if file_format == 'ascii.csv' and column.ndim > 1:
        msg = f'arrays of the shape {column.shape[1:]}'
        raise ValueError(msg)
    if file_format == 'votable' and column.ndim > 1 and column.dtype.kind == 'U':
        msg = 'arrays of text'
        raise ValueError(msg)


def _widen(column, file_format):
    """Return numbers with the next wider type that a format has."""
    code = column.dtype.str[1:]
    wider = _WIDER.get(file_format, {}).get(code)
    if isinstance(column, MaskedColumn):
        wider = wider or _WIDER_IF_MASKED.get(file_format, {}).get(code)
    if wider is None:
        return column
    values, mask = split_mask(column)
    if code == 'u8' and np.any(values[~mask] > np.iinfo(wider).max):
        msg = f'integers beyond {np.iinfo(wider).max}'
        raise ValueError(msg)
    return with_values(column, np.where(mask, 0, values).astype(wider), mask)


def _without_arrow_type(column):
    """Return a column whose meta does not name its type in Arrow."""
    meta = column.info.meta or {}
    if ARROW_TYPE not in meta:
        return column
    column = column.copy(copy_data=False)
    column.info.meta = {key: value for key, value in meta.items() if key != ARROW_TYPE}
    return column


def _map(function, column):
    """Return text for each value of a column, empty where it is masked, and the mask."""
    values, mask = split_mask(column)
    text = [
        '' if masked else function(value)
        for value, masked in zip(values.flat, mask.flat, strict=True)
    ]
    return np.array(text, dtype=str).reshape(values.shape), mask


def _decode_strictly(value):
    """Decode bytes that are text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = '\0'
    if not text.replace('\n', '').replace('\t', '').isprintable():
        msg = 'binary data'
        raise ValueError(msg)
    return text


def _write_scalar(value):
    """Return a value as text, times as in ISO 8601."""
    return value.isoformat() if isinstance(value, (date, datetime, time)) else str(value)


def _to_json(values):
    """Return objects with lists for arrays, if JSON can hold them; else None."""
    objects = values.copy()
    for row, value in enumerate(values):
        objects[row] = to_python(value)
    try:
        json.dumps([value for value in objects if value is not np.ma.masked])
    except (TypeError, ValueError):
        return None
    return objects


def _name_types(values):
    """Name the types of objects, for a message."""
    types = dict.fromkeys([list, np.ndarray, np.ma.MaskedArray], 'lists') | {dict: 'structures'}
    kinds = {type(value) for value in values}
    names = {types.get(kind, f'objects of the type {kind.__name__}') for kind in kinds}
    return ' and '.join(sorted(names))


def _split_sky(table):
    """Return the table with right ascension and declination for each SkyCoord column."""
    sky = [name for name, column in table.columns.items() if isinstance(column, SkyCoord)]
    is_main = len(sky) == 1
    is_free = not {'ra', 'dec'} & set(table.colnames)
    split = table.copy(copy_data=False)
    for name in sky:
        coords = table[name].icrs
        for angle, ucd in _SKY_UCDS.items():
            degrees, mask = get_data_and_mask(getattr(coords, angle).deg)
            column = MaskedColumn(
                degrees,
                name=angle if is_main and is_free else f'{name}_{angle}',
                mask=mask,
                unit=u.deg,
                description=table[name].info.description,
                meta={'ucd': f'{ucd};meta.main' if is_main else ucd},
            )
            split.add_column(column, index=split.index_column(name))
        split.remove_column(name)
    return split
