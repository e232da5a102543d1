# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Check the headers of a FITS file before Astropy believes the numbers in them."""

import math
import re
from numbers import Real
from string import ascii_uppercase

from astropy.io.fits import Header

__all__ = ['find_end', 'size_of_data']

# A FITS file consists of blocks of this many bytes, and a header of cards.
BLOCK, CARD = 2880, 80

# Most blocks of a header: 7 MB. Those of cameras and of reduced images have up to 1 MB.
MOST_BLOCKS = 2500

# The standard allows no more axes, nor columns of a table. Astropy would count to any number.
MOST_AXES = 999

# Larger than any disk, and small enough for NumPy.
MOST_BYTES = 2**60

# The last card, as Astropy accepts it.
_ENDS = re.compile(rb'END[^A-Z0-9_-]')

# wcslib takes memory for the square of the axes, of each coordinate system.
_COUNTS = ('NAXIS', 'ZNAXIS', 'TFIELDS', *(f'WCSAXES{system}' for system in ['', *ascii_uppercase]))
_TABLES = ('BINTABLE', 'TABLE', 'A3DTABLE')
_FACTORS = ('BSCALE', 'BZERO')


def find_end(file):
    """
    Return where the last HDU of a FITS file must end, and check all headers.

    Parameters
    ----------
    file : file object
        The file, open to read bytes; it is left at its beginning.

    Returns
    -------
    end : int or None
        The position in bytes, which may lie behind the end of the file; None if the file ends
        within a header.

    Raises
    ------
    ValueError
        If a header has no end, or announces what no image or table has.
    """
    end = 0
    while True:
        file.seek(end)
        start = file.read(8)
        file.seek(end)
        header = _read_header(file) if start else None
        end_of_header = file.tell()
        is_hdu = start.startswith((b'SIMPLE', b'XTENSION'))
        if header is not None and not is_hdu:
            # Astropy believes its numbers all the same.
            size_of_data(header)
        if header is None or not is_hdu:
            file.seek(0)
            return None if is_hdu else end
        end = end_of_header + size_of_data(header)


def size_of_data(header):
    """
    Return the bytes of the data behind a FITS header, padded to whole blocks.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The header.

    Returns
    -------
    n_bytes : int
        The number of bytes.

    Raises
    ------
    ValueError
        If the standard does not allow so many axes or columns, if a size is negative or no integer,
        if a compressed image has none, or if the factors of the pixels are no numbers.
    """
    for key in _COUNTS:
        if not _is_integer(header.get(key, 0), MOST_AXES):
            msg = f'{key} of the FITS header is {header[key]}, expected up to {MOST_AXES}'
            raise ValueError(msg)
    if str(header.get('XTENSION')).strip() in _TABLES and header['NAXIS'] != 2:
        # Astropy ends the process.
        msg = f'NAXIS of the FITS header is {header["NAXIS"]}, expected 2 of a table'
        raise ValueError(msg)
    for key in _FACTORS:
        if not isinstance(header.get(key, 0), Real):
            msg = f'{key} of the FITS header is {header[key]!r}, expected a number'
            raise ValueError(msg)
    shape = _shape(header, 'NAXIS')
    extra, n_groups = header.get('PCOUNT', 0), header.get('GCOUNT', 1)
    for size in (*shape, *_shape(header, 'ZNAXIS'), extra, n_groups):
        if not _is_integer(size, MOST_BYTES):
            msg = f'a size in the FITS header is {size!r}, expected an integer from 0 on'
            raise ValueError(msg)
    n_values = extra + math.prod(shape) if shape else 0
    n_bytes = n_values * n_groups * abs(header.get('BITPIX', 8)) // 8
    if 'ZCMPTYPE' in header and (n_bytes == 0 or math.prod(shape) == 0):
        # Astropy ends the process.
        msg = 'the FITS header announces a compressed image without data'
        raise ValueError(msg)
    return -(-n_bytes // BLOCK) * BLOCK


def _shape(header, key):
    return [header[f'{key}{axis}'] for axis in range(1, header.get(key, 0) + 1)]


def _is_integer(value, most):
    return isinstance(value, int) and 0 <= value <= most


def _read_header(file):
    """Read a header, None if the file ends before."""
    blocks = []
    while len(blocks) < MOST_BLOCKS:
        block = file.read(BLOCK)
        blocks.append(block)
        if len(block) < BLOCK:
            return None
        if any(map(_ENDS.match, (block[start : start + 4] for start in range(0, BLOCK, CARD)))):
            return Header.fromstring(b''.join(blocks))
    msg = f'a FITS header has no end within {MOST_BLOCKS * BLOCK / 1e6:.0f} MB'
    raise ValueError(msg)
