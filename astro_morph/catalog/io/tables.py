# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a table from a file, and write one, in any of the formats, with all of its metadata."""

import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Column

from astro_morph.catalog.cells import decode, split_mask
from astro_morph.catalog.io.csv import read_csv
from astro_morph.catalog.io.fits import read_fits, write_fits
from astro_morph.catalog.io.formats import NAMES, advise, fit_columns, with_values
from astro_morph.catalog.io.hdf5 import read_hdf5, write_hdf5
from astro_morph.catalog.io.opening import check_content, refuse_damage
from astro_morph.catalog.io.parquet import read_parquet, write_parquet
from astro_morph.catalog.io.text import read_ecsv
from astro_morph.catalog.io.votable import read_votable, write_votable
from astro_morph.utils.files import atomic_file
from astro_morph.utils.messages import in_one_line, naming_packages

__all__ = ['decode_text', 'find_format', 'read_table', 'write_table']

# Astropy's names of the formats by the end of the file name.
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

_READERS = {
    'ascii.csv': read_csv,
    'ascii.ecsv': read_ecsv,
    'fits': read_fits,
    'hdf5': read_hdf5,
    'parquet': read_parquet,
    'votable': read_votable,
}

# The formats for which Table.write is not enough.
_WRITERS = {
    'fits': write_fits,
    'hdf5': write_hdf5,
    'parquet': write_parquet,
    'votable': write_votable,
}


@naming_packages()
def read_table(path):
    """
    Read a table from a file.

    Parameters
    ----------
    path : path-like
        A FITS, ECSV, CSV, HDF5, Parquet or VOTable file. The end of its name tells the format.

    Returns
    -------
    table : `~astropy.table.Table`
        The first table of the file, with its text as `str`. The INFO elements of a VOTable are
        in ``meta``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the end of the name is not that of a format, or the file is damaged, of another format,
        or holds no table.

    Warns
    -----
    AstropyUserWarning
        If a service has left out rows of a VOTable.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.tables import read_table, write_table
    >>> tmp_path = getfixture('tmp_path')
    >>> write_table(Table({'id': [1, 2]}, meta={'MORPHVER': '1.0'}), tmp_path / 'table.vot')
    >>> read_table(tmp_path / 'table.vot').meta
    {'MORPHVER': '1.0'}
    """
    file_format = find_format(path)
    with refuse_damage(path):
        check_content(path, file_format)
        table = _READERS[file_format](Path(path))
        decode_text(table)
    return table


@naming_packages()
def write_table(table, path, *, overwrite=False):
    """
    Write a table to a file, atomically.

    CSV holds names and values only. Columns are converted to what the format holds, see
    `~astro_morph.catalog.io.formats.fit_columns`.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table; it is not changed.
    path : path-like
        A FITS, ECSV, CSV, HDF5, Parquet or VOTable file. The end of its name tells the format.
    overwrite : bool, default=False
        Whether to replace an existing file.

    Raises
    ------
    ValueError
        If the end of the name is not that of a format, or the format cannot hold a column.
    FileExistsError
        If the file exists and ``overwrite`` is false.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.tables import read_table, write_table
    >>> path = getfixture('tmp_path') / 'table.csv'
    >>> write_table(Table({'id': [1, 2]}), path)
    >>> read_table(path)['id'].tolist()
    [1, 2]
    """
    file_format = find_format(path)
    table = fit_columns(table, file_format)
    with atomic_file(path, overwrite=overwrite) as aside:
        try:
            _write(table, aside, file_format)
        except (ImportError, MemoryError, OSError):
            raise
        except Exception as error:
            # Libraries raise errors of all kinds about types that they don't know.
            raise ValueError(_name_culprit(table, aside.name, file_format, error)) from error


def find_format(path):
    """
    Return the format of a file, according to the end of its name.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    file_format : str
        Astropy's name of the format.

    Raises
    ------
    ValueError
        If the end of the name is not that of a format.

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
    Convert columns of bytes to columns of text, in place.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table. It may have columns of sky coordinates, on which Astropy's own method fails.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.tables import decode_text
    >>> table = Table({'morphology': [b'spiral', b'round']})
    >>> decode_text(table)
    >>> table['morphology'].dtype.kind
    'U'
    """
    for name, column in table.columns.items():
        if isinstance(column, Column) and column.dtype.kind == 'S':
            values, mask = split_mask(column)
            table.replace_column(name, with_values(column, _decode_all(values), mask))


def _decode_all(values):
    """Decode an array of bytes; values that are not UTF-8 are Latin-1."""
    try:
        return np.char.decode(values, 'utf-8')
    except UnicodeDecodeError:
        return np.array([decode(value) for value in values.flat], dtype=str).reshape(values.shape)


def _write(table, path, file_format):
    if file_format in _WRITERS:
        _WRITERS[file_format](table, path)
    else:
        table.write(path, format=file_format)


def _name_culprit(table, file_name, file_format, error):
    """Name the column that cannot be written, if it is a single one."""
    what = 'the table'
    for name in table.colnames:
        with tempfile.TemporaryDirectory() as folder:
            alone = table[[name]]
            alone.meta = {}
            try:
                _write(alone, Path(folder) / file_name, file_format)
            except Exception as its_error:
                what, error = f'the column {name!r} of type {table[name].info.dtype}', its_error
                break
    return (
        f'{what} cannot be written as {NAMES[file_format]} ({in_one_line(error)}); '
        f'{advise(file_format)}'
    )
