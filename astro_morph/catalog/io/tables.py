# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tables from and to files, so that what a catalogue says of itself survives in every format."""

import json
import os
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.masked import get_data_and_mask

__all__ = ['decode_text', 'find_format', 'read_table', 'write_table']

# Formats of astropy by the end of the file's name.
_FORMATS = {
    '.fits': 'fits',
    '.fit': 'fits',
    '.fits.gz': 'fits',
    '.ecsv': 'ascii.ecsv',
    '.csv': 'ascii.csv',
    '.hdf5': 'hdf5',
    '.h5': 'hdf5',
    '.parquet': 'parquet',
    '.pq': 'parquet',
    '.vot': 'votable',
    '.votable': 'votable',
    '.xml': 'votable',
}

# The UCDs by which a VOTable tells the position of its rows.
_SKY_UCDS = {'ra': 'pos.eq.ra', 'dec': 'pos.eq.dec'}

# Without a version, astropy takes an INFO element to be of the first.
_VOTABLE_CONFIG = {'version_1_2_or_later': True}


def read_table(path):
    """
    Read a table from a file.

    Parameters
    ----------
    path : path-like
        A FITS, ECSV, CSV, HDF5, Parquet or VOTable file, told by the end of its name.

    Returns
    -------
    table : `~astropy.table.Table`
        The first table of the file, with its text as `str`, and what the INFO
        elements of a VOTable's table say as ``meta``.

    Raises
    ------
    ValueError
        If the name of the file does not end as one of these formats does.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.tables import read_table, write_table
    >>> tmp_path = getfixture('tmp_path')
    >>> write_table(Table({'id': [1, 2]}, meta={'MORPHVER': '1.0'}), tmp_path / 'table.vot')
    >>> read_table(tmp_path / 'table.vot').meta
    {'MORPHVER': '1.0'}
    """
    path = Path(path)
    file_format = find_format(path)
    if file_format == 'votable':
        table = _read_votable(path)
    elif file_format == 'parquet' and not _is_parquet_of_astropy(path):
        table = _read_foreign_parquet(path)
    else:
        table = Table.read(path, format=file_format)
    decode_text(table)
    return table


def write_table(table, path, *, overwrite=False):
    """
    Write a table to a file, whole or not at all.

    CSV holds names and values only. VOTable and CSV have no sky coordinates: such a column is
    written as right ascension and declination (ICRS, in degrees).

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table; it stays as it is.
    path : path-like
        A FITS, ECSV, CSV, HDF5, Parquet or VOTable file, told by the end of its name.
    overwrite : bool, optional
        Whether a file that is there may be replaced.

    Raises
    ------
    ValueError
        If the name of the file does not end as one of these formats does, or if the table has
        text that FITS does not take.
    FileExistsError
        If the file is there and ``overwrite`` is false.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.tables import read_table, write_table
    >>> path = getfixture('tmp_path') / 'table.csv'
    >>> write_table(Table({'id': [1, 2]}), path)
    >>> read_table(path)['id'].tolist()
    [1, 2]
    """
    # A link stays a link, to the new file.
    path = Path(path).resolve()
    file_format = find_format(path)
    if path.exists() and not overwrite:
        msg = f'{path} is there already; use overwrite=True to replace it'
        raise FileExistsError(msg)
    # The end of the name stays, because it tells astropy to compress.
    part = path.with_name(f'.{os.getpid()}-{path.name}')
    try:
        _write(table, part, file_format)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def find_format(path):
    """
    Find the format of a file by its name.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    file_format : str
        As astropy calls it.

    Raises
    ------
    ValueError
        If the name of the file does not end as that of a table does.

    Examples
    --------
    >>> from astro_morph.catalog.io.tables import find_format
    >>> find_format('survey.FITS.gz')
    'fits'
    """
    name = Path(path).name
    for ending, file_format in _FORMATS.items():
        if name.lower().endswith(ending):
            return file_format
    msg = f'the file name {name!r} must end in one of {", ".join(_FORMATS)}'
    raise ValueError(msg)


def decode_text(table):
    """
    Turn the columns of bytes of a table into columns of text, in place.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table; unlike astropy's own, it may have columns of sky coordinates.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.tables import decode_text
    >>> table = Table({'morphology': [b'spiral', b'round']})
    >>> decode_text(table)
    >>> table['morphology'].dtype.kind
    'U'
    """
    names = [
        name
        for name, column in table.columns.items()
        if isinstance(column, Column) and column.dtype.kind == 'S'
    ]
    # The table itself could not do so if it had a column of sky coordinates.
    text = Table([table[name] for name in names], copy=False)
    text.convert_bytestring_to_unicode()
    for name in names:
        table.replace_column(name, text[name])


def _write(table, path, file_format):
    """Write with what astropy leaves to its caller in each format."""
    if file_format == 'fits':
        _write_fits(table, path)
    elif file_format == 'votable':
        _write_votable(table, path)
    elif file_format == 'ascii.csv':
        _split_sky(table).write(path, format=file_format)
    elif file_format == 'hdf5':
        # Without serialize_meta, units and descriptions would be dropped.
        table.write(path, format=file_format, path='data', serialize_meta=True)
    else:
        table.write(path, format=file_format)


def _write_fits(table, path):
    """Write FITS; a mask of booleans, which FITS has no value for, becomes a column."""
    table = table.copy(copy_data=False)
    for column in table.columns.values():
        if isinstance(column, MaskedColumn) and column.dtype.kind == 'b':
            column.info.serialize_method['fits'] = 'data_mask'
    try:
        table.write(path, format='fits')
    except UnicodeEncodeError as error:
        msg = (
            f'the table has the text {error.object!r}, and FITS takes ASCII text only; '
            f'write ECSV, HDF5, Parquet or VOTable'
        )
        raise ValueError(msg) from error


def _write_votable(table, path):
    """Write VOTable, with the table's meta as INFO elements."""
    from astropy.io.votable import from_table
    from astropy.io.votable.exceptions import W03
    from astropy.io.votable.tree import Info

    with warnings.catch_warnings():
        # A name that XML would not take as an id gets another id, and stays the name.
        warnings.simplefilter('ignore', W03)
        votable = from_table(_split_sky(table))
        votable.get_first_table().infos.extend(
            Info(name=name, config=_VOTABLE_CONFIG, **_as_info(value))
            for name, value in table.meta.items()
        )
    votable.to_xml(str(path))


def _as_info(value):
    """Describe a value of meta as INFO can hold it: one line of text, else JSON."""
    if isinstance(value, str) and value.isprintable():
        return {'value': value}
    return {'value': json.dumps(value, default=_as_json), 'xtype': 'json'}


def _as_json(value):
    """Turn into something that JSON has what is not: NumPy's numbers, or anything as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _read_votable(path):
    """Read the first table of a VOTable."""
    from astropy.io.votable import parse

    element = parse(str(path)).get_first_table()
    # The ids that astropy takes by default are the names with what XML forbids left out.
    table = element.to_table(use_names_over_ids=True)
    for info in element.infos:
        table.meta[info.name] = json.loads(info.value) if info.xtype == 'json' else info.value
    # Text has no other missing value than the empty one; FITS and ECSV are read likewise.
    for column in table.columns.values():
        if column.dtype.kind in 'SUO':
            column.mask |= column == ''
    return table


def _is_parquet_of_astropy(path):
    from pyarrow import parquet

    return b'table_meta_yaml' in (parquet.read_schema(path).metadata or {})


def _read_foreign_parquet(path):
    """Read what another program has written: it may have nulls, and text of any length."""
    from pyarrow import parquet

    columns = parquet.read_table(path)
    return Table({name: _read_arrow(columns[name]) for name in columns.column_names})


def _read_arrow(column):
    """Turn a column of pyarrow into one of astropy, and its nulls into a mask."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    mask = column.is_null().to_numpy()
    if types.is_string(column.type) or types.is_large_string(column.type):
        values = np.array(column.fill_null('').to_pylist(), dtype=str)
    elif types.is_integer(column.type) or types.is_boolean(column.type):
        values = column.fill_null(False if types.is_boolean(column.type) else 0).to_numpy()
    else:
        values = column.to_numpy()
    if types.is_fixed_size_list(column.type) and len(values):
        values = np.stack(values)
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)


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
