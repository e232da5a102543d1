# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read one image file of any format: FITS, NumPy, JPEG, PNG or TIFF."""

import bz2
import functools
import gzip
import io
import itertools
import math
import re
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from astropy import log
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.images.companions import rank_names
from astro_morph.images.errors import NotAnImageError, TruncatedImageError, image_errors
from astro_morph.images.picture_files import decode_picture
from astro_morph.images.units import linearise
from astro_morph.utils.messages import cut_list

__all__ = ['find_images', 'read_fits', 'read_image']

# A FITS file consists of blocks of this many bytes.
_FITS_BLOCK = 2880

# The first bytes of compressed files.
_DECOMPRESSORS = {b'\x1f\x8b': gzip, b'BZ': bz2}

_LOG_LOCK = threading.Lock()


def read_image(path):
    """
    Read an image from a JPEG, PNG, TIFF, NumPy or FITS file.

    The format is recognised from the content of the file, not from its name.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file; the extension of a FITS file may be appended, as in ``'image.fits[SCI]'``. If
        none is, the first image is read that is not a weight, a mask or the like by its name, and
        a warning names further ones.

    Returns
    -------
    image : `~numpy.ndarray`, shape (band, y, x)
        The pixels, the lowest row first. In FITS and NumPy files of three axes, the bands are the
        first or the last axis, whichever is shorter (a message in Astropy's log reports the last).
        The grey pages of a TIFF file are bands. Transparency is dropped.
    header : `~astropy.io.fits.Header` or None
        The header of a FITS image, None in other formats.

    Raises
    ------
    ImageError
        If no image can be read.
    """
    path, hdu = _split_hdu(path)
    data = _read_bytes(path)
    if data.startswith(b'SIMPLE'):
        with image_errors():
            images = _decode_images(data, hdu)
            image = _first(images)
            pixels = _bands_first(read_pixels(image), report=_log_bands_last)
        _warn_of_others(images)
        return pixels, image.header
    with image_errors():
        if data.startswith(b'\x93NUMPY'):
            return _bands_first(_decode_numpy(data), report=_log_bands_last), None
        return _bands_first(decode_picture(data)), None


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
        return read_pixels(decode_fits(data, hdu))


def find_images(hdus, hdu=None):
    """
    Find the images in a FITS file that show the sky.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file.
    hdu : int or str, default=None
        Number or name of the extension; None for all but weights, masks and the like, which are
        recognised by their names.

    Returns
    -------
    images : dict of int to HDU
        The images by number.

    Raises
    ------
    NotAnImageError
        If there is none.
    """
    asked = hdu.upper() if isinstance(hdu, str) else hdu
    images = {
        number: candidate
        for number, candidate in enumerate(_readable(hdus))
        if asked in (None, number, candidate.name, (candidate.name, candidate.ver))
        and candidate.is_image
        and len(candidate.shape) > 1
    }
    if not images:
        msg = 'no HDU holds an image' if hdu is None else f'no HDU {hdu!r} holds an image'
        raise NotAnImageError(msg)
    # Old files of HSC have EXTTYPE instead of EXTNAME.
    names = [f'{image.name} {image.header.get("EXTTYPE")}' for image in images.values()]
    ranks = dict(zip(images, rank_names(names), strict=True))
    return {number: images[number] for number in images if ranks[number] >= 0} or images


def find_image_hdu(hdus, hdu=None):
    """Return the first HDU of `find_images`."""
    return _first(find_images(hdus, hdu))


def _first(images):
    return next(iter(images.values()))


def _readable(hdus):
    """Yield the HDUs of a file; the bytes behind the last may be none."""
    for number in itertools.count():
        try:
            hdu = hdus[number]
        except IndexError:
            return
        except (OSError, EOFError) as error:
            # Astropy's own errors; those of a disk or a network are of other types.
            if number == 0 or type(error) not in (OSError, EOFError):
                raise
            return
        yield hdu


def read_pixels(hdu):
    """Return the linear pixels of an HDU; raise TruncatedImageError if the file ends before."""
    try:
        return linearise(hdu.data, hdu.header)
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
    return _first(_decode_images(data, hdu))


def _decode_images(data, hdu):
    """Return the images of `find_images` from the bytes of a FITS file, the first with pixels."""
    end = _find_end(data)
    try:
        images = find_images(fits.HDUList.fromstring(data[:end]), hdu)
        read_pixels(_first(images))
    except TruncatedImageError:
        raise
    except Exception as error:
        if end is None or end > len(data):
            raise TruncatedImageError(str(error)) from error
        raise
    return images


def _find_end(data):
    """Return where the last HDU in the bytes of a FITS file must end, None if a header is cut."""
    file = io.BytesIO(data)
    end = 0
    while data.startswith((b'SIMPLE', b'XTENSION'), end):
        file.seek(end)
        try:
            header = fits.Header.fromfile(file)
        except (OSError, EOFError, ValueError):
            return None
        shape = [header[f'NAXIS{axis}'] for axis in range(1, header['NAXIS'] + 1)]
        n_values = header.get('PCOUNT', 0) + math.prod(shape) if shape else 0
        n_bytes = n_values * header.get('GCOUNT', 1) * abs(header['BITPIX']) // 8
        end = file.tell() + math.ceil(n_bytes / _FITS_BLOCK) * _FITS_BLOCK
    return end


def _warn_of_others(images):
    """Name the images of a FITS file that are not read; a warning of one text is shown once."""
    if len(images) > 1:
        names = [f'{number} {image.name}'.strip() for number, image in images.items()]
        warnings.warn(
            f'FITS files have the images {cut_list(names)}, of which the first is read; name '
            f"another after the path, as in 'image.fits[{max(images)}]'",
            AstropyUserWarning,
            stacklevel=3,
        )


def _decode_numpy(data):
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        if b"'|O'" in data[:256]:
            raise NotAnImageError(str(error)) from error
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
