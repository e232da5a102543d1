# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a table from a file, and write one, in any of the formats, with all of its metadata."""

from pathlib import Path

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.masked import get_data_and_mask

from astro_morph.catalog.io.fits import write_fits
from astro_morph.catalog.io.parquet import read_parquet
from astro_morph.catalog.io.votable import read_votable, write_votable
from astro_morph.utils.files import atomic_file

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

# The formats for which Table.read or Table.write is not enough.
_READERS = {'parquet': read_parquet, 'votable': read_votable}
_WRITERS = {'fits': write_fits, 'votable': write_votable}

# Without serialize_meta, units and descriptions would be lost.
_WRITE_OPTIONS = {'hdf5': {'path': 'data', 'serialize_meta': True}}

# The UCDs of positions on the sky.
_SKY_UCDS = {'ra': 'pos.eq.ra', 'dec': 'pos.eq.dec'}


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
    ValueError
        If the end of the name is not that of a format.

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
    if file_format in _READERS:
        table = _READERS[file_format](path)
    else:
        table = Table.read(path, format=file_format)
    decode_text(table)
    return table


def write_table(table, path, *, overwrite=False):
    """
    Write a table to a file, atomically.

    CSV holds names and values only. VOTable and CSV have no sky coordinates: such a column is
    written as right ascension and declination (ICRS, in degrees).

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
        If the end of the name is not that of a format, or if the file is FITS and the table has
        text beyond ASCII.
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
    if file_format in ('ascii.csv', 'votable'):
        table = _split_sky(table)
    with atomic_file(path, overwrite=overwrite) as aside:
        if file_format in _WRITERS:
            _WRITERS[file_format](table, aside)
        else:
            table.write(aside, format=file_format, **_WRITE_OPTIONS.get(file_format, {}))


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
    names = [
        name
        for name, column in table.columns.items()
        if isinstance(column, Column) and column.dtype.kind == 'S'
    ]
    text = Table([table[name] for name in names], copy=False)
    text.convert_bytestring_to_unicode()
    for name in names:
        table.replace_column(name, text[name])


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
