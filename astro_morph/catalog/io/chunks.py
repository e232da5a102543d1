# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tables of any length, from and to files in chunks that fit into memory."""

import tempfile
from pathlib import Path

import numpy as np
from astropy.table import vstack

from astro_morph.catalog.io.rows import append_to, rows_of
from astro_morph.catalog.io.tables import write_table

__all__ = ['TableChunks', 'find_witnesses', 'write_chunks']


class TableChunks:
    """
    The table in a file, chunk by chunk.

    A chunk is what `~astro_morph.catalog.io.tables.read_table` would read from a file that has
    these rows only. FITS, Parquet, HDF5, ECSV and CSV files are read where the rows are; FITS
    files that are compressed are first unpacked on disk, and VOTables are read as a whole.

    Parameters
    ----------
    path : path-like
        The file, of a format that `~astro_morph.catalog.io.tables.read_table` knows.
    size : int
        Rows in a chunk; the last one may have fewer. A table without rows is one empty chunk.

    Raises
    ------
    ValueError
        If there is no table in the file.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.chunks import TableChunks
    >>> path = getfixture('tmp_path') / 'table.ecsv'
    >>> Table({'id': range(5)}).write(path)
    >>> [chunk['id'].tolist() for chunk in TableChunks(path, 2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, path, size):
        try:
            self._rows = rows_of(Path(path))
        except (OSError, ValueError) as error:
            msg = f'the catalogue {str(path)!r} cannot be read: {error}'
            raise ValueError(msg) from error
        self._size = size

    def __len__(self):
        return max(1, -(-self.n_rows // self._size))

    def __getitem__(self, number):
        if not 0 <= number < len(self):
            msg = f'there is no chunk {number}, there are {len(self)}'
            raise IndexError(msg)
        start = number * self._size
        return self._rows.read(start, min(start + self._size, self.n_rows))

    @property
    def n_rows(self):
        """Rows of the table."""
        return self._rows.n_rows


def find_witnesses(tables):
    """
    Find rows that together show all that the columns of a table hold.

    With them in front, every chunk of the table is written alike: with room for the longest text,
    and with a mask if a value is masked anywhere.

    Parameters
    ----------
    tables : iterable of `~astropy.table.Table`
        The chunks of the table.

    Returns
    -------
    witnesses : `~astropy.table.Table`
        For each column at most one row that is masked, one with the longest text, and one with the
        text furthest from ASCII; no row if the table has none.

    Examples
    --------
    >>> from astropy.table import MaskedColumn, Table
    >>> from astro_morph.catalog.io.chunks import find_witnesses
    >>> chunks = [
    ...     Table({'id': [1, 2], 'name': ['a', 'b']}),
    ...     Table({'id': MaskedColumn([3, 4], mask=[False, True]), 'name': ['long', 'c']}),
    ... ]
    >>> print(find_witnesses(chunks))
     id name
    --- ----
      1    a
      3 long
     --    c
    """
    # The first row of all has the names and types of the columns.
    best = {}
    for table in tables:
        best.setdefault('first', (0, table[:1]))
        for name, column in table.columns.items():
            for what, values in _measure(column).items():
                row = int(np.argmax(values))
                if values[row] > best.get((name, what), (0,))[0]:
                    best[name, what] = values[row], table[row : row + 1]
    return _stack([row for _, row in best.values()])


def write_chunks(tables, path, *, n_rows, witnesses):
    """
    Write a table that comes in chunks to a file.

    Parameters
    ----------
    tables : iterable of `~astropy.table.Table`
        The chunks, in order.
    path : path-like
        The file; it is replaced if it is there.
    n_rows : int
        Rows of all chunks together.
    witnesses : `~astropy.table.Table`
        What `find_witnesses` finds in the chunks.

    Raises
    ------
    ValueError
        If the format does not take what the table holds.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.io.chunks import find_witnesses, write_chunks
    >>> from astro_morph.catalog.io.tables import read_table
    >>> path = getfixture('tmp_path') / 'table.fits'
    >>> chunks = [Table({'name': ['a', 'b']}), Table({'name': ['long']})]
    >>> write_chunks(chunks, path, n_rows=3, witnesses=find_witnesses(chunks))
    >>> read_table(path)['name'].tolist()
    ['a', 'b', 'long']
    """
    with tempfile.TemporaryDirectory() as folder, append_to(Path(path), n_rows) as file:
        small = Path(folder) / f'chunk{file.ending}'
        for table in tables:
            write_table(_stack([witnesses, table]), small, overwrite=True)
            file.append(small, len(witnesses))


def _measure(column):
    """Measure how far the values of a column go in what a format must have room for, if at all."""
    measures = {'mask': np.broadcast_to(getattr(column, 'mask', False), len(column))}
    if getattr(getattr(column, 'dtype', None), 'kind', '') == 'U' and column.size:
        text = np.asarray(column).reshape(len(column), -1)
        measures['length'] = np.char.str_len(text).max(axis=1)
        codes = np.ascontiguousarray(text).view(np.uint32).reshape(len(text), -1).max(axis=1)
        measures['beyond ASCII'] = np.where(codes > 127, codes, 0)
    return {what: values for what, values in measures.items() if np.any(values)}


def _stack(tables):
    """Put tables with the same columns behind each other; what they say is what the last says."""
    last = tables[-1]
    stacked = vstack(
        [table for table in tables if len(table)] or [last],
        join_type='exact',
        metadata_conflicts='silent',
    )
    # Lists would be put behind each other too.
    stacked.meta = last.meta
    for name in last.colnames:
        stacked[name].info.meta = last[name].info.meta
    return stacked
