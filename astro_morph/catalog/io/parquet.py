# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read Parquet tables, whole and in chunks of rows, and join the files of chunks."""

import contextlib
import io

import numpy as np
from astropy.table import Column, MaskedColumn, Table

__all__ = ['ParquetReader', 'join_parquet', 'read_parquet']

# Rows that are decoded together, and bytes of each column that are read from the file together.
BATCH = 1024
BUFFER = 2**18


def read_parquet(file):
    """Read the table in a Parquet file, written by Astropy or by another program."""
    from pyarrow import parquet

    if b'table_meta_yaml' in (parquet.read_schema(file).metadata or {}):
        return Table.read(file, format='parquet')
    # Astropy reads neither nulls nor text of unknown length.
    columns = parquet.read_table(file)
    return Table({name: _to_column(columns[name]) for name in columns.column_names})


class ParquetReader:
    """Read rows of a Parquet file, with a few pages of it in memory."""

    def __init__(self, path):
        from pyarrow import parquet

        self._file = parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
        self.n_rows = self._file.metadata.num_rows
        self._position = None

    def read(self, start, stop):
        """Read some rows as a table."""
        import pyarrow
        from pyarrow import parquet

        if start != self._position:
            self._batches = self._read_batches(start)
            self._ready = self._file.schema_arrow.empty_table()
        while len(self._ready) < stop - start:
            batch = pyarrow.Table.from_batches([next(self._batches)])
            self._ready = pyarrow.concat_tables([self._ready, batch])
        # A small file of these rows is read as any other.
        small = io.BytesIO()
        parquet.write_table(self._ready.slice(0, stop - start), small)
        self._ready = self._ready.slice(stop - start)
        self._position = stop
        table = read_parquet(small)
        _release_memory()
        return table

    def _read_batches(self, row):
        """Yield the rows from this one on in small batches."""
        for group in range(self._file.num_row_groups):
            n_rows = self._file.metadata.row_group(group).num_rows
            if row >= n_rows:
                row -= n_rows
                continue
            for batch in self._file.iter_batches(BATCH, row_groups=[group]):
                yield batch.slice(min(row, len(batch)))
                row = max(0, row - len(batch))


def join_parquet(files, path, *, n_rows, n_skip):
    """Write the rows of Parquet files, but for the first ``n_skip`` of each, to one file."""
    from pyarrow import parquet

    with contextlib.ExitStack() as stack:
        for number, file in enumerate(files):
            rows = parquet.read_table(file)
            if number == 0:
                # The version that astropy writes.
                writer = parquet.ParquetWriter(path, rows.schema, version='2.4')
                stack.enter_context(writer)
            writer.write_table(rows.slice(n_skip))
            _release_memory()


def _to_column(values):
    """Convert a column of pyarrow to one of Astropy, and its nulls to a mask."""
    from pyarrow import types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    mask = values.is_null().to_numpy()
    if types.is_string(values.type) or types.is_large_string(values.type):
        array = np.array(values.fill_null('').to_pylist(), dtype=str)
    elif types.is_integer(values.type) or types.is_boolean(values.type):
        array = values.fill_null(False if types.is_boolean(values.type) else 0).to_numpy()
    else:
        array = values.to_numpy()
    if types.is_fixed_size_list(values.type) and len(array):
        array = np.stack(array)
    return MaskedColumn(array, mask=mask) if mask.any() else Column(array)


def _release_memory():
    import pyarrow

    # Arrow would keep what a chunk took in each of its threads, some 30 MB in all.
    pyarrow.default_memory_pool().release_unused()
