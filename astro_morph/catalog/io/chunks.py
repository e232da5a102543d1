# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write tables of any length in chunks that fit into memory."""

import copy
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import vstack

from astro_morph.catalog.cells import kind_of
from astro_morph.catalog.io.csv import CsvReader, join_csv
from astro_morph.catalog.io.fits import FitsReader, join_fits
from astro_morph.catalog.io.hdf5 import Hdf5Reader, join_hdf5
from astro_morph.catalog.io.opening import check_content, refuse_damage
from astro_morph.catalog.io.parquet import ParquetReader, join_parquet
from astro_morph.catalog.io.tables import decode_text, find_format, read_table, write_table
from astro_morph.utils.files import atomic_file
from astro_morph.utils.messages import naming_packages

__all__ = ['TableChunks', 'find_representatives', 'write_chunks']

# The formats that are read and written in chunks. A reader has `n_rows` and `read(start, stop)`. A
# joiner writes the rows of many files to one; it reads each file before it asks for the next one.
_STREAMED = {
    'ascii.csv': (CsvReader, join_csv),
    'fits': (FitsReader, join_fits),
    'hdf5': (Hdf5Reader, join_hdf5),
    'parquet': (ParquetReader, join_parquet),
}


class TableChunks:
    """
    Read the table in a file chunk by chunk.

    A chunk is what `~astro_morph.catalog.io.tables.read_table` would read from a file with these
    rows only, but for the text of FITS, which stays bytes: if it is not ASCII, FITS can hold it
    only unchanged. Of FITS, Parquet, HDF5 and CSV files, only the rows of the chunk are read into
    memory; compressed FITS files are first unpacked on disk. ECSV and VOTable files are read
    whole.

    Parameters
    ----------
    path : path-like
        The file, in a format that `~astro_morph.catalog.io.tables.read_table` knows.
    size : int
        Rows in a chunk; the last one may have fewer. A table without rows is one empty chunk.
    most_bytes : int, default=None
        Memory that the values of a chunk may take, about. Chunks have fewer rows if these take
        more, but at least one.

    Raises
    ------
    ValueError
        If there is no table in the file, or it cannot be parsed.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.chunks import TableChunks
    >>> path = getfixture('tmp_path') / 'table.csv'
    >>> Table({'id': range(5)}).write(path)
    >>> [chunk['id'].tolist() for chunk in TableChunks(path, 2)]
    [[0, 1], [2, 3], [4]]
    """

    @naming_packages()
    def __init__(self, path, size, *, most_bytes=None):
        file_format = find_format(path)
        reader_class, _ = _STREAMED.get(file_format, (_WholeReader, None))
        self._path = Path(path)
        self.size = size
        if reader_class is _WholeReader:
            self._reader = _WholeReader(path)
            return
        with refuse_damage(path):
            check_content(path, file_format)
            self._reader = reader_class(self._path)
            if most_bytes is not None:
                self.size = max(1, min(size, int(most_bytes / _bytes_of_row(self._reader))))

    def __len__(self):
        return max(1, -(-self.n_rows // self.size))

    def __getitem__(self, number):
        if not 0 <= number < len(self):
            msg = f'there is no chunk {number}, there are {len(self)}'
            raise IndexError(msg)
        start = number * self.size
        with refuse_damage(self._path):
            chunk = self._reader.read(start, min(start + self.size, self.n_rows))
            if not isinstance(self._reader, FitsReader):
                decode_text(chunk)
        return chunk

    @property
    def n_rows(self):
        """Number of rows of the table."""
        return self._reader.n_rows


def find_representatives(tables):
    """
    Find representative rows: together they show all that the columns of a table hold.

    With these rows in front, every chunk of the table is written with the same columns: with room
    for the longest text, and with a mask if a value is masked anywhere.

    Parameters
    ----------
    tables : iterable of `~astropy.table.Table`
        The chunks of the table.

    Returns
    -------
    representatives : `~astropy.table.Table`
        The first row, and of each column at most one row that is masked, one with the longest
        text, and one with text beyond ASCII; no row if the table has none.

    Examples
    --------
    >>> from astropy.table import MaskedColumn, Table
    >>> from astro_morph.catalog.io.chunks import find_representatives
    >>> chunks = [
    ...     Table({'id': [1, 2], 'name': ['a', 'b']}),
    ...     Table({'id': MaskedColumn([3, 4], mask=[False, True]), 'name': ['long', 'c']}),
    ... ]
    >>> print(find_representatives(chunks))
     id name
    --- ----
      1    a
      3 long
     --    c
    """
    # The first row of all shows the names and types of the columns.
    best = {}
    for table in tables:
        best.setdefault('first', (0, _take(table, 0)))
        for name, column in table.columns.items():
            for what, values in _measure(column).items():
                row = int(np.argmax(values))
                if values[row] > best.get((name, what), (0,))[0]:
                    best[name, what] = values[row], _take(table, row)
    return _stack([row for _, row in best.values()])


@naming_packages()
def write_chunks(tables, path, *, n_rows, representatives, overwrite=False):
    """
    Write a table that comes in chunks to a file.

    FITS, Parquet, HDF5 and CSV are written chunk by chunk. ECSV and VOTable are written whole.

    Parameters
    ----------
    tables : iterable of `~astropy.table.Table`
        The chunks, in order.
    path : path-like
        The file.
    n_rows : int
        Number of rows of all chunks together.
    representatives : `~astropy.table.Table`
        The rows that `find_representatives` finds in the chunks.
    overwrite : bool, default=False
        Whether to replace an existing file.

    Raises
    ------
    ValueError
        If the format cannot hold the table, or the columns of the chunks are of different types.
    FileExistsError
        If the file exists and ``overwrite`` is false.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.chunks import find_representatives, write_chunks
    >>> from astro_morph.catalog.io.tables import read_table
    >>> path = getfixture('tmp_path') / 'table.fits'
    >>> chunks = [Table({'name': ['a', 'b']}), Table({'name': ['long']})]
    >>> write_chunks(chunks, path, n_rows=3, representatives=find_representatives(chunks))
    >>> read_table(path)['name'].tolist()
    ['a', 'b', 'long']
    """
    file_format = find_format(path)
    if file_format not in _STREAMED:
        write_table(_stack(list(tables)), path, overwrite=overwrite)
        return
    _, join = _STREAMED[file_format]
    with atomic_file(path, overwrite=overwrite) as aside, tempfile.TemporaryDirectory() as folder:
        files = _write_small(tables, representatives, Path(folder) / aside.name)
        join(files, aside, n_rows=n_rows, n_skip=len(representatives))


def _bytes_of_row(reader):
    """Return the memory that the values of a row take, at least 1."""
    if hasattr(reader, 'row_bytes'):
        return max(1, reader.row_bytes)
    row = reader.read(0, min(1, reader.n_rows))
    return max(1, sum(getattr(column, 'nbytes', 0) for column in row.columns.values()))


class _WholeReader:
    """Rows of a file that is read whole."""

    def __init__(self, path):
        self._table = read_table(path)
        self.n_rows = len(self._table)

    def read(self, start, stop):
        return self._table[start:stop]


def _write_small(tables, representatives, path):
    """Write each chunk, behind the representative rows, to a small file, and yield its path."""
    first = None
    for chunk in tables:
        table = _stack([representatives, chunk])
        first = first or table.dtype
        if table.dtype != first:
            msg = (
                'the table cannot be written in chunks: the columns of one are of other types than '
                'those of the first; write ECSV, or read and write the table whole'
            )
            raise ValueError(msg)
        write_table(table, path, overwrite=True)
        yield path


def _take(table, row):
    """Return a row as a table of its own, which does not keep the others in memory; or no row."""
    taken = table[row : row + 1].copy()
    for column in taken.columns.values():
        if kind_of(column) == 'O':
            objects = np.asarray(column)
            objects[:] = copy.deepcopy(objects)
    return taken


def _measure(column):
    """Measure what a file must have room for: masked values, and those of the extremes."""
    mask = np.broadcast_to(getattr(column, 'mask', False), column.shape)
    measures = {'mask': mask.any(axis=tuple(range(1, mask.ndim)))}
    kind = kind_of(column)
    if kind in ('U', 'S') and column.size:
        text = np.ascontiguousarray(column).reshape(len(column), -1)
        measures['length'] = np.char.str_len(text).max(axis=1)
        codes = text.view(np.uint32 if kind == 'U' else np.uint8).reshape(len(text), -1)
        measures['last character'] = np.where(codes > 127, codes, 0).max(axis=1)
        # Characters that XML lacks.
        measures['control'] = ((codes > 0) & (codes < 32)).any(axis=1)
    if kind == 'u' and column.ndim == 1:
        measures['number'] = np.where(mask, 0, column)
    if kind == 'O':
        known = np.where(mask, None, np.asarray(column))
        measures['length'] = [len(value) if hasattr(value, '__len__') else 0 for value in known]
        measures['binary'] = [isinstance(value, bytes) and not value.isascii() for value in known]
    return {what: values for what, values in measures.items() if np.any(values)}


def _stack(tables):
    """Stack tables with the same columns; the metadata is that of the last one."""
    last = tables[-1]
    stacked = vstack(
        [table for table in tables if len(table)] or [last],
        join_type='exact',
        metadata_conflicts='silent',
    )
    # Lists in the metadata would be joined too.
    stacked.meta = last.meta
    for name in last.colnames:
        stacked[name].info.meta = last[name].info.meta
    return stacked
