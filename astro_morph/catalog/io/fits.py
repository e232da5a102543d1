# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write FITS tables, read them in chunks of rows, and join the files of chunks."""

import gzip
import io
import shutil
import tempfile
import weakref
from pathlib import Path

from astropy.io import fits
from astropy.table import MaskedColumn, Table

__all__ = ['FitsReader', 'join_fits', 'write_fits']

# Bytes of a block; a FITS file consists of whole blocks.
BLOCK = 2880


def write_fits(table, path):
    """Write a table to a FITS file."""
    table = table.copy(copy_data=False)
    for column in table.columns.values():
        # FITS has no null value for booleans: their mask becomes a column.
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


class FitsReader:
    """Read rows of the first table in a FITS file."""

    def __init__(self, path):
        self._path = _unpack(path, self) if _is_compressed(path) else path
        with fits.open(self._path) as hdus:
            kinds = (fits.BinTableHDU, fits.TableHDU)
            hdu = next((hdu for hdu in hdus if isinstance(hdu, kinds)), None)
            if hdu is None:
                msg = 'no HDU holds a table'
                raise ValueError(msg)
            self.header = hdu.header.copy()
            self._offset = hdu.fileinfo()['datLoc']
        self.n_rows = self.header['NAXIS2']

    def read(self, start, stop):
        """Read some rows as a table."""
        # The rows point into the heap, which holds the arrays of varying length.
        n_bytes = self.n_rows * self.header['NAXIS1']
        heap = self._read(self.header.get('THEAP', n_bytes), n_bytes + self.header['PCOUNT'])
        data = self.read_bytes(start, stop) + heap
        file = self.headers_for(stop - start, len(heap)) + data + _padding(len(data))
        return Table.read(io.BytesIO(file), format='fits')

    def read_bytes(self, start, stop):
        """Read some rows as bytes."""
        n_bytes = self.header['NAXIS1']
        return self._read(start * n_bytes, stop * n_bytes)

    def headers_for(self, n_rows, n_heap=0):
        """Return the headers of a file with these columns, so many rows and bytes of heap."""
        header = self.header.copy()
        header.update(NAXIS2=n_rows, PCOUNT=n_heap)
        header.remove('THEAP', ignore_missing=True)
        return f'{fits.PrimaryHDU().header.tostring()}{header.tostring()}'.encode('ascii')

    def _read(self, start, stop):
        with self._path.open('rb') as file:
            file.seek(self._offset + start)
            return file.read(stop - start)


def join_fits(files, path, *, n_rows, n_skip):
    """Write the rows of FITS files, but for the first ``n_skip`` of each, to one file."""
    n_bytes = 0
    with (gzip.open if _is_compressed(path) else open)(path, 'wb') as output:
        for number, reader in enumerate(map(FitsReader, files)):
            if reader.header['PCOUNT']:
                msg = 'FITS written in chunks cannot hold arrays of varying length; write Parquet'
                raise ValueError(msg)
            if number == 0:
                output.write(reader.headers_for(n_rows))
            n_bytes += output.write(reader.read_bytes(n_skip, reader.n_rows))
        output.write(_padding(n_bytes))


def _is_compressed(path):
    return path.name.lower().endswith('.gz')


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
