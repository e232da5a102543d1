# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write FITS tables, read them in chunks of rows, and join the files of chunks."""

import contextlib
import gzip
import io
import shutil
import tempfile
import warnings
import weakref
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog.cells import kind_of
from astro_morph.catalog.io.arrow import check_names
from astro_morph.catalog.io.formats import with_values
from astro_morph.utils.fits_headers import find_end

__all__ = ['FitsReader', 'join_fits', 'read_fits', 'write_fits']

# Extension of FITS_LDAC in front of the table: the header of the frame, as a table of one cell.
LDAC_HEADER = 'LDAC_IMHEAD'

# Bytes of a block; a FITS file consists of whole blocks.
BLOCK = 2880


def read_fits(path):
    """Read the first table in a FITS file."""
    reader = FitsReader(path)
    return _join_characters(Table.read(reader.path, format='fits', hdu=reader.number))


def write_fits(table, path):
    """Write a table to a FITS file."""
    table = table.copy(copy_data=False)
    for column in table.columns.values():
        if not isinstance(column, MaskedColumn):
            continue
        if column.dtype.kind == 'b' or column.dtype == np.uint64:
            # FITS has no null value for these: their mask becomes a column.
            column.info.serialize_method['fits'] = 'data_mask'
        elif column.dtype.kind == 'i':
            # Astropy would take 999999, which may be a value.
            column.fill_value = np.iinfo(column.dtype).min
    table.write(path, format='fits')


class FitsReader:
    """Read rows of the first table in a FITS file."""

    def __init__(self, path):
        self.path = _unpack(path, self) if _is_packed(path) else path
        with self.path.open('rb') as file:
            find_end(file)
        with contextlib.ExitStack() as stack:
            # Astropy warns of a file that is not complete, which is refused below, and leaves one
            # that it can't read open.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter('ignore', AstropyUserWarning)
            hdus = stack.enter_context(fits.open(stack.enter_context(self.path.open('rb'))))
            kinds = (fits.BinTableHDU, fits.TableHDU)
            tables = (
                (number, hdu)
                for number, hdu in enumerate(hdus)
                if isinstance(hdu, kinds) and hdu.name != LDAC_HEADER
            )
            self.number, hdu = next(tables, (None, None))
            if hdu is None:
                msg = 'no HDU holds a table'
                raise ValueError(msg)
            self.header = hdu.header.copy()
            self._offset = hdu.fileinfo()['datLoc']
            check_names(hdu.columns.names)
            self._descriptors = list(_find_descriptors(hdu.columns))
        self.n_rows = self.header['NAXIS2']
        n_bytes = self.header['NAXIS1'] * self.n_rows + self.header['PCOUNT']
        if self.path.stat().st_size < self._offset + n_bytes:
            raise EOFError

    def read(self, start, stop):
        """Read some rows as a table."""
        heap = self.read_heap()
        data = self.read_bytes(start, stop) + heap
        file = self.headers_for(stop - start, len(heap)) + data + _padding(len(data))
        return _join_characters(Table.read(io.BytesIO(file), format='fits'))

    def read_bytes(self, start, stop):
        """Read some rows as bytes."""
        n_bytes = self.header['NAXIS1']
        return self._read(start * n_bytes, stop * n_bytes)

    def read_heap(self):
        """Read the heap, which holds the arrays of varying length."""
        n_bytes = self.n_rows * self.header['NAXIS1']
        return self._read(self.header.get('THEAP', n_bytes), n_bytes + self.header['PCOUNT'])

    def move_arrays(self, rows, n_bytes):
        """Return the bytes of rows whose arrays are so many bytes further back in a heap."""
        if not n_bytes or not self._descriptors:
            return rows
        rows = np.frombuffer(rows, np.uint8).reshape(-1, self.header['NAXIS1']).copy()
        for start, stop, dtype in self._descriptors:
            positions = rows[:, start:stop].view(dtype)
            if positions.max(initial=0) > np.iinfo(dtype).max - n_bytes:
                msg = 'the arrays of varying length take more than 2 GB; write Parquet'
                raise ValueError(msg)
            positions += n_bytes
        return rows.tobytes()

    def headers_for(self, n_rows, n_heap=0):
        """Return the headers of a file with these columns, so many rows and bytes of heap."""
        header = self.header.copy()
        header.update(NAXIS2=n_rows, PCOUNT=n_heap)
        header.remove('THEAP', ignore_missing=True)
        return f'{fits.PrimaryHDU().header.tostring()}{header.tostring()}'.encode('ascii')

    def _read(self, start, stop):
        with self.path.open('rb') as file:
            file.seek(self._offset + start)
            return file.read(stop - start)


def join_fits(files, path, *, n_rows, n_skip):
    """Write the rows of FITS files, but for the first ``n_skip`` of each, to one file."""
    n_bytes = 0
    with _open_output(path) as output, tempfile.TemporaryFile(dir=path.parent) as heap:
        for number, reader in enumerate(map(FitsReader, files)):
            if number == 0:
                first = reader
                output.write(first.headers_for(n_rows))
            rows = reader.read_bytes(n_skip, reader.n_rows)
            n_bytes += output.write(reader.move_arrays(rows, heap.tell()))
            heap.write(reader.read_heap())
        n_heap = heap.tell()
        heap.seek(0)
        shutil.copyfileobj(heap, output)
        output.write(_padding(n_bytes + n_heap))
        # Only now the size of the heap is known.
        output.seek(0)
        output.write(first.headers_for(n_rows, n_heap))


@contextlib.contextmanager
def _open_output(path):
    """Open a file in which one can go back, which is compressed at the end if its name says so."""
    if not path.name.lower().endswith('.gz'):
        with path.open('wb') as output:
            yield output
        return
    with tempfile.TemporaryFile(dir=path.parent) as output:
        yield output
        output.seek(0)
        with gzip.open(path, 'wb') as packed:
            shutil.copyfileobj(output, packed)


def _is_packed(path):
    with path.open('rb') as file:
        return file.read(2) == b'\x1f\x8b'


def _padding(n_bytes):
    return bytes(-n_bytes % BLOCK)


def _unpack(path, user):
    """Unpack a file to a temporary one, which is removed with its user, and return its path."""
    unpacked = tempfile.NamedTemporaryFile(suffix='.fits')  # noqa: SIM115 - closed with its user
    weakref.finalize(user, unpacked.close)
    with gzip.open(path) as file:
        shutil.copyfileobj(file, unpacked)
    unpacked.flush()
    return Path(unpacked.name)


def _join_characters(table):
    """Return a table with text where Astropy has arrays of single characters."""
    for name, column in table.columns.items():
        if kind_of(column) == 'O' and all(isinstance(value, np.char.chararray) for value in column):
            text = [''.join(value.tolist()) for value in column]
            table.replace_column(name, with_values(column, np.array(text, dtype=str), False))
    return table


def _find_descriptors(columns):
    """Yield where in a row the position of each array of varying length is, and its type."""
    for column, name in zip(columns, columns.dtype.names, strict=True):
        code = column.format.lstrip('0123456789')[:1]
        if code in 'PQ':
            # A number of values, and their position in the heap.
            dtype, size = ('>i4', 4) if code == 'P' else ('>i8', 8)
            offset = columns.dtype.fields[name][1]
            yield offset + size, offset + 2 * size, np.dtype(dtype)
