# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write Parquet tables, whole and in chunks of rows, and join the files of chunks."""

import contextlib

import numpy as np
from astropy.table import Column, MaskedColumn, Table, serialize
from astropy.table.meta import get_header_from_yaml, get_yaml_from_table
from astropy.utils.data_info import serialize_context_as

from astro_morph.catalog.cells import decode, kind_of
from astro_morph.catalog.io.arrow import ARROW_TYPE, from_arrow, to_arrow

__all__ = [
    'ParquetReader',
    'RowReader',
    'join_parquet',
    'read_parquet',
    'rows_from_table',
    'table_from_rows',
    'write_parquet',
]

# Where Astropy keeps units, descriptions and other metadata, and the length of text.
META = 'table_meta_yaml'
LENGTH = 'table::len::'

# Rows that are decoded together, at most, and the bytes that they take, about; and bytes of each
# column that are read from the file together.
BATCH = 1024
BATCH_BYTES = 2**24
BUFFER = 2**18


def read_parquet(path):
    """Read the table in a Parquet file, written by Astropy or by another program."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        return table_from_rows(file.read())


def write_parquet(table, path):
    """Write a table to a Parquet file as Astropy does, and its times and objects with nulls."""
    from pyarrow import parquet

    parquet.write_table(rows_from_table(table), path)


def rows_from_table(table, *, has_nulls=False):
    """
    Convert a table to one of Arrow, whose metadata have all that Astropy knows of columns.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table.
    has_nulls : bool, default=False
        Whether all masked values are null. If not, the masks of numbers and text are columns of
        their own, as Astropy has them.

    Returns
    -------
    rows : `pyarrow.Table`
        The rows.
    """
    import pyarrow as pa

    table = table.copy(copy_data=False)
    for column in table.columns.values():
        is_special = kind_of(column) in ('O', 'm', 'M') or ARROW_TYPE in (column.info.meta or {})
        is_null = has_nulls or is_special or _has_null_rows(column)
        if is_null and isinstance(column, MaskedColumn):
            # Others have their mask in a column of its own, as Astropy reads it.
            column.info.serialize_method['parquet'] = 'null_value'
    with serialize_context_as('parquet'):
        table = serialize.represent_mixins_as_columns(table)
    metadata = {META: '\n'.join(get_yaml_from_table(table))}
    for name, column in table.columns.items():
        if column.dtype.kind == 'U':
            metadata[f'{LENGTH}{name}'] = str(column.dtype.itemsize // 4)
    arrays = [to_arrow(column) for column in table.columns.values()]
    rows = pa.table(arrays, names=table.colnames)
    return rows.replace_schema_metadata(metadata)


class ParquetReader:
    """Read rows of a Parquet file, with a few pages of it in memory."""

    def __init__(self, path):
        from pyarrow import parquet

        self._file = parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
        about = self._file.metadata
        self.n_rows = about.num_rows
        groups = map(about.row_group, range(about.num_row_groups))
        self.row_bytes = sum(group.total_byte_size for group in groups) / max(1, self.n_rows)
        self._batch_size = max(1, min(BATCH, int(BATCH_BYTES / max(1, self.row_bytes))))
        self._position = None

    def read(self, start, stop):
        """Read some rows as a table."""
        import pyarrow

        if start != self._position:
            self._batches = self._read_batches(start)
            self._ready = self._file.schema_arrow.empty_table()
        while len(self._ready) < stop - start:
            batch = pyarrow.Table.from_batches([next(self._batches)])
            self._ready = pyarrow.concat_tables([self._ready, batch])
        table = table_from_rows(self._ready.slice(0, stop - start))
        self._ready = self._ready.slice(stop - start)
        self._position = stop
        _release_memory()
        return table

    def _read_batches(self, row):
        """Yield the rows from this one on in small batches."""
        for group in range(self._file.num_row_groups):
            n_rows = self._file.metadata.row_group(group).num_rows
            if row >= n_rows:
                row -= n_rows
                continue
            for batch in self._file.iter_batches(self._batch_size, row_groups=[group]):
                yield batch.slice(min(row, len(batch)))
                row = max(0, row - len(batch))


class RowReader:
    """
    Read some rows of a Parquet file, in any order.

    Parameters
    ----------
    path : path-like
        The file.
    """

    def __init__(self, path):
        from pyarrow import parquet

        self._file = parquet.ParquetFile(path, memory_map=True)
        about = self._file.metadata
        groups = map(about.row_group, range(about.num_row_groups))
        self._starts = np.cumsum([0, *(group.num_rows for group in groups)])

    def read(self, rows):
        """Read the rows of these numbers, in this order, as a table."""
        import pyarrow as pa

        rows = np.asarray(rows, int)
        groups = np.searchsorted(self._starts, rows, 'right') - 1
        parts = [self._file.schema_arrow.empty_table()]
        for group in np.unique(groups):
            local = rows[groups == group] - self._starts[group]
            parts.append(self._file.read_row_group(group, use_threads=False).take(local))
        order = np.argsort(np.argsort(groups, kind='stable'))
        return table_from_rows(pa.concat_tables(parts).take(order).combine_chunks())


def join_parquet(files, path, *, n_rows, n_skip):
    """Write the rows of Parquet files, but for the first ``n_skip`` of each, to one file."""
    from pyarrow import parquet

    with contextlib.ExitStack() as stack:
        for number, file in enumerate(files):
            rows = parquet.read_table(file)
            if number == 0:
                writer = parquet.ParquetWriter(path, rows.schema)
                stack.enter_context(writer)
            writer.write_table(rows.slice(n_skip))
            _release_memory()


def _has_null_rows(column):
    """Check whether the cells of a column are arrays, of which some are masked as a whole."""
    if column.ndim < 2 or not column.size:
        return False
    mask = np.ma.getmaskarray(column.data).reshape(len(column), -1)
    return bool((mask.any(axis=1) == mask.all(axis=1)).all())


def table_from_rows(rows):
    """Convert rows to a table, with what Astropy has written of its columns."""
    metadata = rows.schema.metadata or {}
    table = from_arrow(rows)
    for name, column in table.columns.items():
        if f'{LENGTH}{name}'.encode() in metadata and column.dtype.kind == 'O':
            # Text that Astropy had as bytes.
            text = [decode(value) if isinstance(value, bytes) else '' for value in column]
            table.replace_column(name, Column(text, dtype=str))
    if META.encode() not in metadata:
        return table
    header = get_header_from_yaml(metadata[META.encode()].decode().split('\n'))
    table.meta = header.get('meta', {})
    for about in header['datatype']:
        # Another program may have dropped the column.
        if about['name'] in table.colnames:
            for key in ('description', 'format', 'unit', 'meta'):
                if key in about:
                    setattr(table[about['name']], key, about[key])
    # What is one column in Astropy, and several in the file.
    return Table(serialize._construct_mixins_from_columns(table), copy=False)


def _release_memory():
    import pyarrow

    # Arrow would keep what a chunk took in each of its threads, some 30 MB in all.
    pyarrow.default_memory_pool().release_unused()
