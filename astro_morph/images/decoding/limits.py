# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read files into memory, compressed or not, within the limit of ``conf.max_image_size``."""

import bz2
import gzip
import io
import math
import os
import stat
import threading
from contextlib import contextmanager, suppress

from astropy.io import fits

from astro_morph import conf
from astro_morph.images.errors import ImageError, TooLargeImageError
from astro_morph.utils.fits_headers import size_of_data

__all__ = [
    'claim_memory',
    'claim_pixels',
    'decompress',
    'find_decompressor',
    'one_large_file',
    'open_file',
    'read_file',
]

# The first bytes of compressed files.
_DECOMPRESSORS = {b'\x1f\x8b': gzip, b'BZ': bz2}

# Bytes that are decompressed at a time. The first hold the header, which tells the size.
_CHUNK = 2**20

# Bytes from which files wait for each other in `one_large_file`: an image of 4000 x 4000 pixels.
_LARGE = 2**26

_LARGE_LOCK = threading.Lock()
_thread = threading.local()


@contextmanager
def one_large_file():
    """
    Read a file while no other thread reads a large one.

    Threads that read many files need the memory of one large file, not one a thread.
    """
    _thread.holds_lock = False
    try:
        yield
    finally:
        if _thread.holds_lock:
            _LARGE_LOCK.release()
        del _thread.holds_lock


def claim_memory(n_bytes, what):
    """
    Check that something fits into the memory that one image file may take.

    In `one_large_file`, wait until no other thread reads a large file.

    Parameters
    ----------
    n_bytes : int
        The memory that it takes.
    what : str
        What it is, for the message.

    Raises
    ------
    TooLargeImageError
        If it takes more than ``astro_morph.conf.max_image_size``.

    Examples
    --------
    >>> from astro_morph.images.decoding.limits import claim_memory
    >>> claim_memory(8 * 10**9, 'the image')
    Traceback (most recent call last):
    astro_morph.images.errors.TooLargeImageError: the image takes 8 GB of memory, expected at most
    1 GB; if the file can be trusted, raise astro_morph.conf.max_image_size
    """
    if n_bytes > conf.max_image_size * 1e9:
        msg = (
            f'{what} takes {n_bytes / 1e9:.3g} GB of memory, expected at most '
            f'{conf.max_image_size:.3g} GB; if the file can be trusted, raise '
            'astro_morph.conf.max_image_size'
        )
        raise TooLargeImageError(msg)
    if n_bytes > _LARGE and not getattr(_thread, 'holds_lock', True):
        _LARGE_LOCK.acquire()
        _thread.holds_lock = True


def claim_pixels(hdu):
    """
    Check that the pixels of an HDU fit into the memory that one image file may take.

    Parameters
    ----------
    hdu : `~astropy.io.fits.PrimaryHDU` or `~astropy.io.fits.ImageHDU`
        The image, whose pixels are not read.

    Returns
    -------
    n_bytes : int
        The memory that they take, scaled to floating point.

    Raises
    ------
    TooLargeImageError
        If it is more than ``astro_morph.conf.max_image_size``.
    """
    n_bytes = math.prod(hdu.shape) * (4 if hdu.header['BITPIX'] in (8, 16, -32) else 8)
    claim_memory(n_bytes, 'the FITS image')
    return n_bytes


def open_file(path):
    """
    Open a file to read its bytes.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file.

    Returns
    -------
    file : file object
        The open file.

    Raises
    ------
    ImageError
        If it is a folder, a pipe, a socket or a device, which could be read for ever.
    OSError, ValueError
        If there is no such file, or the system accepts no such path.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        msg = f'{path} is a folder, a pipe, a socket or a device, expected a file'
        raise ImageError(msg)
    return open(path, 'rb')


def read_file(path):
    """
    Read a file as `open_file` opens it, and decompress it.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file, compressed by gzip, bzip2 or not at all.

    Returns
    -------
    data : bytes
        Its content.

    Raises
    ------
    TooLargeImageError
        If the content takes more than ``astro_morph.conf.max_image_size``.
    EOFError
        If a compressed file ends too early.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        claim_memory(size, f'the file {path}')
        # No more, because a file may be written to without end.
        return decompress(file.read(size))


def find_decompressor(data):
    """Return the module that decompresses a file with this beginning, None if it is plain."""
    return _DECOMPRESSORS.get(data[:2])


def decompress(data, *, is_whole=True):
    """
    Decompress the content of a file.

    Parameters
    ----------
    data : bytes
        The content, compressed by gzip, bzip2 or not at all.
    is_whole : bool, default=True
        Whether a file that ends too early is an error; else what there is of it is returned.

    Returns
    -------
    data : bytes
        The content, decompressed.

    Raises
    ------
    TooLargeImageError
        If it takes more than ``astro_morph.conf.max_image_size``, according to the first header
        of a FITS file or in fact.
    EOFError
        If it ends too early.
    """
    decompressor = find_decompressor(data)
    if decompressor is None:
        return data
    content = io.BytesIO()
    errors = () if is_whole else EOFError
    with decompressor.open(io.BytesIO(data)) as file, suppress(errors):
        while chunk := file.read1(_CHUNK):
            if content.tell() == 0:
                claim_memory(_announced_size(chunk), 'the FITS image')
            content.write(chunk)
            claim_memory(content.tell(), 'the decompressed file')
    return content.getvalue()


def _announced_size(start):
    """Return the size of the first image of a FITS file, 0 if its beginning does not tell."""
    # Whatever else is wrong is reported when the whole file is read.
    with suppress(Exception):
        return size_of_data(fits.Header.fromfile(io.BytesIO(start)))
    return 0
