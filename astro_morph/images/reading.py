# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read one image file of any format: FITS, NumPy, JPEG, PNG or TIFF."""

import contextlib
import functools
import io
import itertools
import re
import threading
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from astropy import log
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.images.companions import rank_names
from astro_morph.images.decoding.limits import (
    claim_pixels,
    decompress,
    find_decompressor,
    one_large_file,
    open_file,
    read_file,
)
from astro_morph.images.decoding.tiles import decode_tiles
from astro_morph.images.errors import (
    ImageError,
    NotAnImageError,
    TooLargeImageError,
    TruncatedImageError,
    image_errors,
)
from astro_morph.images.picture_files import decode_picture
from astro_morph.images.planes.finding import find_planes
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.units import linearise
from astro_morph.utils.fits_headers import find_end
from astro_morph.utils.messages import cut_list

__all__ = [
    'find_images',
    'list_hdus',
    'read_fits',
    'read_image',
    'read_masked_image',
    'with_pixels',
]

_LOG_LOCK = threading.Lock()


def read_image(path, *, with_planes=False):
    """
    Read an image from a JPEG, PNG, TIFF, NumPy or FITS file.

    The format is recognised from the content of the file, not from its name.

    Parameters
    ----------
    path : str or `~pathlib.Path`
        The file; the extension of a FITS file may be appended, as in ``'image.fits[SCI]'``. If
        none is, the first image is read that is not a weight, a mask or the like by its name, and
        a warning names further ones.
    with_planes : bool, default=False
        Whether to return the variance and the mask that the file has, too.

    Returns
    -------
    image : `~numpy.ndarray` or MaskedImage, shape (band, y, x)
        The pixels, the lowest row first. In FITS and NumPy files of three axes, the bands are the
        first or the last axis, whichever is shorter (a message in Astropy's log reports the last).
        The grey pages of a TIFF file are bands. Transparency is dropped. With ``with_planes`` a
        `~astro_morph.images.planes.masked_image.MaskedImage`.
    header : `~astropy.io.fits.Header` or None
        The header of a FITS image, None in other formats.

    Raises
    ------
    ImageError
        If no image can be read.
    """
    images = {}
    with image_errors(), one_large_file():
        path, hdu = _split_hdu(path)
        data = _read_bytes(path)
        if data.startswith(b'SIMPLE'):
            hdus, images = _decode_images(data, hdu)
            pixels, header = read_pixels(_first(images)), _first(images).header
            planes = _read_planes(hdus, next(iter(images)), pixels) if with_planes else {}
            image = MaskedImage(pixels, **planes)
        elif data.startswith(b'\x93NUMPY'):
            image, header = MaskedImage(_decode_numpy(data)), None
        else:
            pixels = _bands_first(decode_picture(data))
            return MaskedImage(pixels) if with_planes else pixels, None
        image = image.settle().each(partial(_bands_first, report=_log_bands_last))
    _warn_of_others(images)
    return image if with_planes else image.image, header


def read_masked_image(hdus, hdu=None, band=None):
    """
    Return an image of a FITS file in memory, with its planes.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file.
    hdu : int or str, default=None
        Number or name of the extension; None for the first that holds an image.
    band : str, default=None
        Its band, if a mask has bits for each.

    Returns
    -------
    image : `~astro_morph.images.planes.masked_image.MaskedImage`
        The HDU, with its pixels read, and arrays of the planes that the file has, see
        `~astro_morph.images.planes.finding.find_planes`.

    Raises
    ------
    ImageError
        If the file holds no image, or it is truncated.
    """
    number, image = next(iter(find_images(hdus, hdu).items()))
    image = with_pixels(image)
    planes = _read_planes(hdus, number, read_pixels(image), band)
    return MaskedImage(image, **planes).settle()


def _read_planes(hdus, number, pixels, band=None):
    """Return the planes of an image in a file; one that can't be read is left out."""
    hdus, planes = list(list_hdus(hdus)), {}
    for holds, found in find_planes(hdus, number, band).items():
        with suppress(ImageError), image_errors():
            values = found.values.convert(read_pixels(hdus[found.number]))
            # A mask may be that of all bands.
            planes[holds] = np.broadcast_to(values, pixels.shape)
    return planes


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
    with image_errors():
        return read_pixels(decode_fits(_read_bytes(path), hdu))


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
        for number, candidate in enumerate(list_hdus(hdus))
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
    """Return the first HDU of `find_images`, a tile-compressed one with its pixels."""
    return with_pixels(_first(find_images(hdus, hdu)))


def _first(images):
    return next(iter(images.values()))


def list_hdus(hdus):
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
        if (hdu.fileinfo() or {'datSpan': 0})['datSpan'] < 0:
            msg = f'HDU {number} announces a negative number of bytes'
            raise ImageError(msg)
        yield hdu


def read_pixels(hdu):
    """Return the linear pixels of an HDU; raise an `ImageError` if it is too large or truncated."""
    claim_pixels(hdu)
    with _truncation_errors():
        return linearise(with_pixels(hdu).data, hdu.header)


def with_pixels(hdu):
    """Return an HDU whose pixels can be read in this process."""
    if isinstance(hdu, fits.CompImageHDU):
        with _truncation_errors():
            return fits.ImageHDU(decode_tiles(hdu), hdu.header)
    return hdu


@contextlib.contextmanager
def _truncation_errors():
    """Name the errors of Astropy where a header announces more pixels than there are."""
    try:
        yield
    except (TypeError, AttributeError) as error:
        raise TruncatedImageError(str(error)) from error


def decode_fits_file(data):
    """Return the HDUs of a FITS file from its bytes, compressed or not; raise an `ImageError`."""
    with image_errors():
        data = decompress(data)
        if not data.startswith(b'SIMPLE'):
            msg = f'not a FITS file: it begins with {data[:40]!r}'
            raise NotAnImageError(msg)
        return fits.HDUList.fromstring(data[: find_end(io.BytesIO(data))])


def _split_hdu(path):
    match = re.fullmatch(r'(.+)\[([^\[\]]+)\]', str(path))
    if match is None or Path(path).exists():
        return path, None
    path, hdu = match.groups()
    return path, int(hdu) if hdu.isdecimal() and hdu.isascii() else hdu


def open_fits(path):
    """Open a FITS file to read its headers, even if it is compressed and ends too early."""
    with open_file(path) as file:
        if is_compressed(path):
            content = io.BytesIO(decompress(file.read(), is_whole=False))
            find_end(content)
            return fits.open(content)
        find_end(file)
    return fits.open(path)


def is_compressed(path):
    """Check whether a FITS file is compressed as a whole; raise an error if it is no FITS file."""
    with open_file(path) as file:
        start = file.read(6)
    if find_decompressor(start):
        return True
    if start and start != b'SIMPLE':
        msg = f'not a FITS file: it begins with {start!r}'
        raise NotAnImageError(msg)
    return False


def _read_bytes(path):
    data = read_file(path)
    if not data:
        msg = f'{path} is empty'
        raise TruncatedImageError(msg)
    return data


def decode_fits(data, hdu=None):
    """Return the HDU of `find_image_hdu` from the bytes of a FITS file, with its pixels."""
    return _first(_decode_images(data, hdu)[1])


def _decode_images(data, hdu):
    """Return the HDUs of a FITS file, and those of `find_images`, the first with pixels."""
    end = find_end(io.BytesIO(data))
    try:
        hdus = fits.HDUList.fromstring(data[:end])
        images = find_images(hdus, hdu)
        number, image = next(iter(images.items()))
        images[number] = with_pixels(image)
        read_pixels(images[number])
    except (TooLargeImageError, TruncatedImageError):
        raise
    except Exception as error:
        if end is None or end > len(data):
            raise TruncatedImageError(str(error)) from error
        raise
    return hdus, images


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
