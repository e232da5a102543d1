# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Rows of table files, a class a format: cut out of one file, and put behind each other in another.

What is cut out is a small file of the same format, and what is put behind is read from one, so that
`astro_morph.catalog.io.tables` alone turns files into tables and tables into files.
"""

import gzip
import itertools
import re
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from astropy.io import ascii as text_io
from astropy.io import fits
from astropy.table import Table

from astro_morph.catalog.io.tables import find_format, read_table

__all__ = ['append_to', 'rows_of']

# FITS files are whole blocks of this many bytes.
_FITS_BLOCK = 2880

# Text files are read from the nearest of the places on that are remembered, so many records apart.
_RECORDS_APART = 1024

# Rows of a CSV file that are looked at together to find the types of its columns.
_CSV_ROWS = 65_536

# Types of CSV columns, from the strictest to the one that anything can be read as.
_CSV_TYPES = {'i': np.int64, 'f': np.float64, 'U': str}

# Bytes of each column that are read from a Parquet file at once.
_PARQUET_BUFFER = 2**18

# What astropy adds to the name of an HDF5 dataset for what is said of its columns.
_HDF5_META = '.__table_column_meta__'


def rows_of(path):
    """
    Give the rows of a table file.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file, of a format that `~astro_morph.catalog.io.tables.read_table` knows.

    Returns
    -------
    rows : object
        Has the number of rows, ``n_rows``; ``read(start, stop)`` reads some of them as a table.
    """
    return _ROWS[find_format(path)](path)


def append_to(path, n_rows):
    """
    Begin a table file that is filled from small files.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; it is replaced if it is there.
    n_rows : int
        How many rows it will have.

    Returns
    -------
    appender : object
        A context. Its attribute ``ending`` is that of the names of the small files, all of which
        must have the same columns of the same types; ``append(small, n_skip)`` adds their rows but
        for the first ones.
    """
    return _APPENDERS[find_format(path)](path, n_rows)


class _Rows:
    """Rows that ``cut(start, stop, small)`` writes to a small file as they are."""

    ending = None

    def __init__(self, path):
        self.path = path

    def read(self, start, stop):
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / f'rows{self.ending}'
            self.cut(start, stop, small)
            table = self._read_small(small)
        if len(table) != stop - start:
            msg = (
                f'{str(self.path)!r} has {len(table)} rows where {stop - start} were counted, '
                f'behind row {start}: quotation marks do not match; write it in another format'
            )
            raise ValueError(msg)
        return table

    def _read_small(self, small):
        return read_table(small)


class _Appender:
    """A file that is filled from small files; ``_begin`` and ``_add`` get the rows of each."""

    rows = None

    def __init__(self, path, n_rows):
        self.path = path
        self.n_rows = n_rows
        self._first = None

    @property
    def ending(self):
        return self.rows.ending

    def append(self, small, n_skip):
        rows = self.rows(small)
        if self._first is None:
            self._begin(rows)
            self._first = rows.head
        elif rows.head != self._first:
            msg = (
                f'{str(self.path)!r} cannot be written in chunks: the columns of one are of other '
                'types than those of the first; write Parquet, or read and write the table whole'
            )
            raise ValueError(msg)
        self._add(rows, n_skip)

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, traceback):
        self._end()


class _FitsRows(_Rows):
    """Rows of the first table of a FITS file; a compressed file is unpacked on disk."""

    ending = '.fits'

    def __init__(self, path):
        super().__init__(path)
        self._plain = _unpack(path, self) if path.name.lower().endswith('.gz') else path
        with fits.open(self._plain) as hdus:
            kinds = (fits.BinTableHDU, fits.TableHDU)
            hdu = next((hdu for hdu in hdus if isinstance(hdu, kinds)), None)
            if hdu is None:
                msg = 'no HDU holds a table'
                raise ValueError(msg)
            self.header = hdu.header.copy()
            self._offset = hdu.fileinfo()['datLoc']
        self.n_rows = self.header['NAXIS2']
        self._width = self.header['NAXIS1']

    @property
    def head(self):
        """What is said of the rows, but for their number."""
        return self.header_for(0, 0).tostring()

    def header_for(self, n_rows, n_heap):
        """Give the header of so many rows, and bytes of arrays behind them."""
        header = self.header.copy()
        header.update(NAXIS2=n_rows, PCOUNT=n_heap)
        header.remove('THEAP', ignore_missing=True)
        return header

    def bytes_of(self, start, stop):
        """Give the bytes of some rows."""
        return self._read(start * self._width, stop * self._width)

    def heap(self):
        """Give the bytes of the arrays of varying length that the rows point to."""
        n_bytes = self.n_rows * self._width
        return self._read(self.header.get('THEAP', n_bytes), n_bytes + self.header['PCOUNT'])

    def cut(self, start, stop, small):
        heap = self.heap()
        data = self.bytes_of(start, stop) + heap
        header = self.header_for(stop - start, len(heap))
        small.write_bytes(_fits_head(header) + data + _fits_padding(len(data)))

    def _read(self, start, stop):
        with self._plain.open('rb') as file:
            file.seek(self._offset + start)
            return file.read(stop - start)


class _FitsAppender(_Appender):
    rows = _FitsRows

    def _begin(self, rows):
        if rows.header['PCOUNT']:
            msg = f'{str(self.path)!r} cannot hold arrays of varying length; write Parquet'
            raise ValueError(msg)
        opener = gzip.open if self.path.name.lower().endswith('.gz') else open
        self._file = opener(self.path, 'wb')
        self._file.write(_fits_head(rows.header_for(self.n_rows, 0)))
        self._n_padding = len(_fits_padding(self.n_rows * rows.header['NAXIS1']))

    def _add(self, rows, n_skip):
        self._file.write(rows.bytes_of(n_skip, rows.n_rows))

    def _end(self):
        if self._first is not None:
            self._file.write(bytes(self._n_padding))
            self._file.close()


def _fits_head(header):
    return f'{fits.PrimaryHDU().header.tostring()}{header.tostring()}'.encode('ascii')


def _fits_padding(n_bytes):
    return bytes(-n_bytes % _FITS_BLOCK)


def _unpack(path, user):
    """Unpack a file by gzip into a temporary one, which ends with its user; give its path."""
    unpacked = tempfile.NamedTemporaryFile(suffix='.fits')  # noqa: SIM115 - closed by its user's end
    weakref.finalize(user, unpacked.close)
    with gzip.open(path) as file:
        shutil.copyfileobj(file, unpacked)
    unpacked.flush()
    return Path(unpacked.name)


class _Hdf5Rows(_Rows):
    """Rows of the first dataset of an HDF5 file that is a table."""

    ending = '.h5'

    def __init__(self, path):
        import h5py

        super().__init__(path)
        names = []

        def note(name, item):
            if isinstance(item, h5py.Dataset) and item.dtype.kind == 'V':
                names.append(name)

        self.file = h5py.File(path)
        self.file.visititems(note)
        if not names:
            msg = 'no dataset is a table'
            raise ValueError(msg)
        self.name = names[0]
        self.dataset = self.file[self.name]
        self.n_rows = len(self.dataset)

    @property
    def head(self):
        """What is said of the rows, but for their number."""
        meta = self.file.get(f'{self.name}{_HDF5_META}')
        return self.dataset.dtype, None if meta is None else meta[:].tolist()

    def copy_head(self, file, n_rows):
        """Make a dataset of so many rows in another file, with all that is said of these."""
        dataset = file.create_dataset(self.name, (n_rows,), self.dataset.dtype)
        dataset.attrs.update(self.dataset.attrs)
        meta = f'{self.name}{_HDF5_META}'
        if meta in self.file:
            self.file.copy(meta, file, meta)
        return dataset

    def cut(self, start, stop, small):
        import h5py

        with h5py.File(small, 'w') as file:
            self.copy_head(file, stop - start)[:] = self.dataset[start:stop]


class _Hdf5Appender(_Appender):
    rows = _Hdf5Rows

    def _begin(self, rows):
        import h5py

        self._file = h5py.File(self.path, 'w')
        self._dataset = rows.copy_head(self._file, self.n_rows)
        self._n_done = 0

    def _add(self, rows, n_skip):
        n_new = rows.n_rows - n_skip
        self._dataset[self._n_done : self._n_done + n_new] = rows.dataset[n_skip:]
        self._n_done += n_new
        rows.file.close()

    def _end(self):
        if self._first is not None:
            self._file.close()


class _ParquetRows(_Rows):
    """Rows of a Parquet file, which are read in one direction."""

    ending = '.parquet'

    def __init__(self, path):
        from pyarrow import parquet

        super().__init__(path)
        self._file = parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER, pre_buffer=False)
        self.n_rows = self._file.metadata.num_rows
        self.head = self._file.schema_arrow
        self._seek(0)

    def take(self, start, stop):
        """Give some rows as a table of pyarrow."""
        from pyarrow import Table

        if start != self._position:
            self._seek(start)
        while self._n_ready < stop - start:
            self._ready.append(next(self._batches))
            self._n_ready += len(self._ready[-1])
        ready = Table.from_batches(self._ready, self.head)
        self._ready = ready.slice(stop - start).to_batches()
        self._n_ready -= stop - start
        self._position = stop
        return ready.slice(0, stop - start)

    def cut(self, start, stop, small):
        from pyarrow import parquet

        parquet.write_table(self.take(start, stop), small)

    def _read_small(self, small):
        table = super()._read_small(small)
        _let_go_of_arrow_memory()
        return table

    def _seek(self, row):
        """Go to a row: to the group of rows that holds it, and over those before it."""
        metadata = self._file.metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        starts = np.cumsum([0, *counts])
        group = max(0, int(np.searchsorted(starts, row, side='right')) - 1)
        self._batches = self._file.iter_batches(
            _RECORDS_APART, row_groups=range(group, len(counts))
        )
        self._ready, self._n_ready, self._position = [], 0, int(starts[group])
        while self._position < row:
            self.take(self._position, min(row, self._position + _RECORDS_APART))


class _ParquetAppender(_Appender):
    rows = _ParquetRows

    def _begin(self, rows):
        from pyarrow import parquet

        # The version of astropy's own files.
        self._writer = parquet.ParquetWriter(self.path, rows.head, version='2.4')

    def _add(self, rows, n_skip):
        self._writer.write_table(rows.take(n_skip, rows.n_rows))
        _let_go_of_arrow_memory()

    def _end(self):
        if self._first is not None:
            self._writer.close()


def _let_go_of_arrow_memory():
    import pyarrow

    # It keeps for each of its threads what a chunk took: some 30 MB in all.
    pyarrow.default_memory_pool().release_unused()


class _TextRows(_Rows):
    """Records of a text file behind a header, ``_read_header``."""

    def __init__(self, path):
        super().__init__(path)
        self.n_rows = 0
        with path.open('rb') as file:
            self.head = self._read_header(file)
            file.seek(len(self.head))
            place = len(self.head)
            self._places = [place]
            for record in _records(file):
                place += len(record)
                if record.strip():
                    self.n_rows += 1
                    if self.n_rows % _RECORDS_APART == 0:
                        self._places.append(place)

    def records(self, start, stop):
        """Yield some records, as bytes; empty lines are none."""
        number, n_before = divmod(start, _RECORDS_APART)
        with self.path.open('rb') as file:
            file.seek(self._places[number])
            records = (record for record in _records(file) if record.strip())
            yield from itertools.islice(records, n_before, n_before + stop - start)

    def cut(self, start, stop, small):
        with small.open('wb') as file:
            file.write(self.head)
            file.writelines(self.records(start, stop))


class _EcsvRows(_TextRows):
    """Records of an ECSV file; the comments before them say what they hold."""

    ending = '.ecsv'

    @staticmethod
    def _read_header(file):
        # Comments are lines, whatever quotation marks are in them.
        comments = list(itertools.takewhile(_is_comment, file))
        file.seek(sum(map(len, comments)))
        return b''.join([*comments, next(_records(file), b'')])


class _CsvRows(_TextRows):
    """Records of a CSV file; the type of a column is the one that fits all of them."""

    ending = '.csv'

    def __init__(self, path):
        super().__init__(path)
        self._kinds = {}
        kinds = list(_CSV_TYPES)
        for start in range(0, self.n_rows, _CSV_ROWS):
            table = self.read(start, min(start + _CSV_ROWS, self.n_rows))
            for name, column in table.columns.items():
                # An empty column says nothing.
                if not np.all(getattr(column, 'mask', False)):
                    known = self._kinds.get(name, kinds[0])
                    self._kinds[name] = max(known, column.dtype.kind, key=kinds.index)

    @staticmethod
    def _read_header(file):
        return next(_records(file), b'')

    def _read_small(self, small):
        table = read_table(small)
        converters = {
            name: [text_io.convert_numpy(_CSV_TYPES[kind])]
            for name, kind in self._kinds.items()
            if table[name].dtype.kind != kind
        }
        if not converters:
            return table
        return Table.read(small, format='ascii.csv', converters=converters)


class _TextAppender(_Appender):
    def _begin(self, rows):
        self._file = self.path.open('wb')
        self._file.write(rows.head)

    def _add(self, rows, n_skip):
        self._file.writelines(rows.records(n_skip, rows.n_rows))

    def _end(self):
        if self._first is not None:
            self._file.close()


class _EcsvAppender(_TextAppender):
    rows = _EcsvRows


class _CsvAppender(_TextAppender):
    rows = _CsvRows


def _is_comment(line):
    return line.startswith(b'#') or not line.strip()


def _records(file):
    """Yield the records of a text file, as bytes: a line break between quotation marks is text."""
    record = b''
    for line in file:
        record += line
        if record.count(b'"') % 2 == 0:
            yield record
            record = b''
    if record:
        yield record


class _VotableRows:
    """Rows of the first table of a VOTable, which is read as a whole."""

    def __init__(self, path):
        self._table = read_table(path)
        self.n_rows = len(self._table)

    def read(self, start, stop):
        return self._table[start:stop]


class _VotableText:
    """The rows of a VOTable as astropy writes it, and what stands before and behind them."""

    ending = '.vot'

    def __init__(self, path):
        # A table without rows has no data either, and the head is all there is.
        head, begin, rest = path.read_bytes().partition(b'<TABLEDATA>')
        rows, end, behind = rest.partition(b'</TABLEDATA>')
        self.head = re.sub(rb' nrows="\d+"', b'', head) + begin
        self.tail = end + behind
        self.records = rows.split(b'</TR>')


class _VotableAppender(_Appender):
    rows = _VotableText

    def _begin(self, rows):
        self._tail = rows.tail
        self._file = self.path.open('wb')
        n_rows = b'<TABLE nrows="%d"' % self.n_rows
        self._file.write(re.sub(rb'<TABLE\b', n_rows, rows.head, count=1))

    def _add(self, rows, n_skip):
        *records, _ = rows.records[n_skip:]
        self._file.writelines(record + b'</TR>' for record in records)

    def _end(self):
        if self._first is not None:
            self._file.write(self._tail)
            self._file.close()


_ROWS = {
    'fits': _FitsRows,
    'hdf5': _Hdf5Rows,
    'parquet': _ParquetRows,
    'ascii.ecsv': _EcsvRows,
    'ascii.csv': _CsvRows,
    'votable': _VotableRows,
}

_APPENDERS = {
    'fits': _FitsAppender,
    'hdf5': _Hdf5Appender,
    'parquet': _ParquetAppender,
    'ascii.ecsv': _EcsvAppender,
    'ascii.csv': _CsvAppender,
    'votable': _VotableAppender,
}
