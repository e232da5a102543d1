# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Decode one image file of any format; errors set the status of its row: not_found, truncated..."""

import bz2
import functools
import gzip
import io
import re
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from astropy import log
from astropy.io import fits

__all__ = ['ImageError', 'TruncatedImageError', 'read_fits', 'read_image']

# A FITS file consists of blocks of this many bytes; any other length means that it was cut off.
_FITS_BLOCK = 2880

# The first bytes of compressed files.
_DECOMPRESSORS = {b'\x1f\x8b': gzip, b'BZ': bz2}

# The first bytes of formats that Pillow may not recognise in a file that was cut off.
_PICTURE_SIGNATURES = (b'\xff\xd8\xff', b'\x89PNG', b'II*\0', b'MM\0*')

# Pillow's modes of one band that are not pictures: 16 or 32 bits, or floating point.
_FLUX_MODES = ('I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
_GREY_MODES = ('1', 'L', 'LA', 'La')
_PALETTE_MODES = ('P', 'PA')

_LOG_LOCK = threading.Lock()


class ImageError(Exception):
    """An image can't be read; ``status`` is the status of its row in a cutout set."""

    status = 'unreadable'


class ImageNotFoundError(ImageError):
    """The file does not exist."""

    status = 'not_found'


class TruncatedImageError(ImageError):
    """The file ends before the image does."""

    status = 'truncated'


class NotAnImageError(ImageError):
    """The file is complete, but does not hold an image."""

    status = 'not_an_image'


@contextmanager
def image_errors():
    """Turn any error about a file into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageNotFoundError(str(error)) from error
    except EOFError as error:
        raise TruncatedImageError(str(error)) from error
    except Exception as error:
        raise ImageError(str(error)) from error


def read_image(path):
    """
    Read an image from a JPEG, PNG, TIFF, NumPy or FITS file.

    The format is recognised from the content of the file, not from its name.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file; the extension of a FITS file may be appended, as in ``'image.fits[SCI]'``.

    Returns
    -------
    image : `~numpy.ndarray`, shape (band, y, x)
        The pixels. In FITS and NumPy files of three axes, the bands are the first or the last axis,
        whichever is shorter (a message in Astropy's log reports the last). Transparency is dropped.

    Raises
    ------
    ImageError
        If no image can be read.
    """
    path, hdu = _split_hdu(path)
    data = _read_bytes(path)
    with image_errors():
        if data.startswith(b'SIMPLE'):
            return _bands_first(decode_fits(data, hdu).data, report=_log_bands_last)
        if data.startswith(b'\x93NUMPY'):
            return _bands_first(_decode_numpy(data), report=_log_bands_last)
        return _bands_first(decode_picture(data))


def read_fits(path, hdu=None):
    """
    Read the pixels of a FITS image, compressed or not.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file.
    hdu : int or str, default=None
        Number or name of the extension; None for the first that holds an image.

    Returns
    -------
    image : `~numpy.ndarray`
        The pixels, with the axes of the file.

    Raises
    ------
    ImageError
        If no image can be read.
    """
    data = _read_bytes(path)
    with image_errors():
        return decode_fits(data, hdu).data


def find_image_hdu(hdus, hdu=None):
    """Return the HDU asked for, or the first with an image; raise `NotAnImageError` if none has."""
    try:
        candidates = hdus if hdu is None else [hdus[hdu]]
    except (KeyError, IndexError) as error:
        raise NotAnImageError(str(error)) from error
    for candidate in candidates:
        if candidate.is_image and len(candidate.shape) > 1:
            return candidate
    msg = 'no HDU holds an image' if hdu is None else f'the HDU {hdu!r} holds no image'
    raise NotAnImageError(msg)


def read_pixels(hdu):
    """Return the pixels of an HDU; raise `TruncatedImageError` if the file ends before them."""
    try:
        return hdu.data
    except (TypeError, AttributeError) as error:  # the header announces more pixels than there are
        raise TruncatedImageError(str(error)) from error


def decode_fits_file(data):
    """Return the HDUs of a FITS file from its bytes, compressed or not; raise an `ImageError`."""
    with image_errors():
        data = _decompress(data)
        if not data.startswith(b'SIMPLE'):
            msg = f'not a FITS file: it begins with {data[:40]!r}'
            raise NotAnImageError(msg)
        return fits.HDUList.fromstring(data)


def _split_hdu(path):
    match = re.fullmatch(r'(.+)\[([^\[\]]+)\]', str(path))
    if match is None or Path(path).exists():
        return path, None
    path, hdu = match.groups()
    return path, int(hdu) if hdu.isdigit() else hdu


def open_fits(path):
    """Open a FITS file to read its headers, even if it is compressed and ends too early."""
    try:
        return fits.open(path)
    except (OSError, EOFError):
        decompressor = find_decompressor(path)
        if decompressor is None:
            raise
        return fits.open(_decompress_start(decompressor, path))


def find_decompressor(path):
    """Return the module that decompresses a file, None if the file is not compressed."""
    with Path(path).open('rb') as file:
        return _DECOMPRESSORS.get(file.read(2))


def _decompress_start(decompressor, path):
    """Return a file in memory with everything that can be decompressed."""
    start = io.BytesIO()
    with decompressor.open(path) as file, suppress(EOFError):
        while chunk := file.read(_FITS_BLOCK):
            start.write(chunk)
    start.seek(0)
    return start


def _read_bytes(path):
    with image_errors():
        data = _decompress(Path(path).read_bytes())
    if not data:
        msg = f'{path} is empty'
        raise TruncatedImageError(msg)
    return data


def _decompress(data):
    decompressor = _DECOMPRESSORS.get(data[:2])
    return data if decompressor is None else decompressor.open(io.BytesIO(data)).read()


def decode_fits(data, hdu=None):
    """Return the HDU of `find_image_hdu` from the bytes of a FITS file, with its pixels."""
    is_whole = len(data) % _FITS_BLOCK == 0
    try:
        with fits.HDUList.fromstring(data) as hdus:
            image = find_image_hdu(hdus, hdu)
            read_pixels(image)
            return image
    except TruncatedImageError:
        raise
    except Exception as error:
        if not is_whole:
            raise TruncatedImageError(str(error)) from error
        raise


def _decode_numpy(data):
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        if b"'|O'" in data[:256]:
            raise NotAnImageError(str(error)) from error
        raise TruncatedImageError(str(error)) from error


def decode_picture(data):
    """
    Return the pixels of a JPEG, PNG or TIFF file in memory, of shape (y, x) or (y, x, band).

    These files begin with the highest row; it is the last of the array, as in FITS.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.mode in _FLUX_MODES:
                return np.asarray(picture)[::-1]
            if picture.mode in _PALETTE_MODES:  # a palette may have transparent colours
                picture = picture.convert('RGBA')
            return np.asarray(picture.convert('L' if picture.mode in _GREY_MODES else 'RGB'))[::-1]
    except UnidentifiedImageError as error:
        if data.startswith(_PICTURE_SIGNATURES):
            raise TruncatedImageError(str(error)) from error
        raise NotAnImageError(str(error)) from error
    except Image.DecompressionBombError:
        raise
    # Pillow raises many kinds of errors for files that end too early.
    except Exception as error:
        raise TruncatedImageError(str(error)) from error


def _log_bands_last(shape):
    # One thread at a time, because threads that miss the cache together would each log it.
    with _LOG_LOCK:
        _log_bands_last_once(shape)


# Cached, because a catalogue has thousands of files of one shape.
@functools.cache
def _log_bands_last_once(shape):
    log.info(f'FITS and NumPy images of shape {shape}: the last axis is taken as the bands')


def _bands_first(pixels, *, report=lambda shape: None):
    shape = pixels.shape
    pixels = pixels.reshape([length for length in shape if length != 1])
    if pixels.ndim == 2:
        pixels = pixels[np.newaxis]
    if pixels.ndim != 3 or pixels.dtype.kind not in 'biuf' or pixels.size == 0:
        msg = f'an array of shape {shape} and type {pixels.dtype} is not an image'
        raise NotAnImageError(msg)
    if pixels.shape[0] <= pixels.shape[2]:
        return pixels
    report(shape)
    return pixels.transpose(2, 0, 1)
