# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Decode JPEG, PNG and TIFF files without loss, or refuse them."""

import io
from typing import NamedTuple

import numpy as np

from astro_morph.images.decoding.limits import claim_memory
from astro_morph.images.errors import (
    ImageError,
    NotAnImageError,
    TooLargeImageError,
    TruncatedImageError,
    UnsupportedImageError,
)
from astro_morph.utils.messages import naming_packages

__all__ = ['decode_picture']

# The first bytes of TIFF files, also of those beyond 4 GB.
_TIFF_SIGNATURES = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_PNG_SIGNATURE = b'\x89PNG'

# Memory of a pixel: 4 in Pillow, 4 more where its colours are converted, and 4 in the array. With
# the default limit, pictures of which Pillow warns are too large, too.
_BYTES_PER_PIXEL = 12

# More than any image has bands. A file of headers alone could go on for hours.
_MAX_PAGES = 1000

# Others of Pillow's formats run programs (EPS), or lose bits of deep colour (PPM, JPEG 2000).
_FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP')

# The first bytes of formats that Pillow may not recognise in a file that was cut off.
_SIGNATURES = (b'\xff\xd8\xff', _PNG_SIGNATURE, *_TIFF_SIGNATURES)

# Pillow's modes of one band that are not pictures: 16 or 32 bits, or floating point.
_FLUX_MODES = ('I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
_GREY_MODES = ('1', 'L', 'LA', 'La')
_PALETTE_MODES = ('P', 'PA')

# Bits and sample format (1 unsigned, 2 signed, 3 float) of grey TIFF files that Pillow reads
# without loss, beside unsigned integers of up to 8 bits. It misreads the sign of others.
_GREY_FORMS = {(16, 1), (16, 2), (32, 2), (32, 3)}

# Bits of the TIFF tag NewSubfileType: a smaller copy, or a transparency mask, of another page.
_REDUCED, _MASK = 1, 4


def decode_picture(data):
    """
    Return the pixels of a JPEG, PNG or TIFF file.

    These files begin with the highest row; it is the last of the array, as in FITS.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    pixels : `~numpy.ndarray`, shape (y, x) or (y, x, band)
        The pixels: red, green and blue, grey, or the grey pages of a TIFF file. Transparency is
        dropped.

    Raises
    ------
    ImageError
        If it is no picture, is truncated, or has more bits a pixel than Pillow reads.
    """
    with naming_packages():
        from PIL import Image, UnidentifiedImageError

    try:
        numbers = _find_pages(data)
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            pages = _read_pages(picture, numbers)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLargeImageError(str(error)) from error
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES):
            raise TruncatedImageError(str(error)) from error
        raise NotAnImageError(str(error)) from error
    # Pillow raises many kinds of errors for files that end too early.
    except Exception as error:
        raise TruncatedImageError(str(error)) from error
    if len({page.shape for page in pages}) > 1 or (len(pages) > 1 and pages[0].ndim > 2):
        msg = f'{len(pages)} pages, which are not grey images of one size'
        raise UnsupportedImageError(msg)
    return np.stack(pages, axis=-1) if len(pages) > 1 else pages[0]


def _read_pages(picture, numbers):
    pages, n_pixels = [], 0
    for number in numbers:
        picture.seek(number)
        n_pixels += picture.width * picture.height
        claim_memory(n_pixels * _BYTES_PER_PIXEL, 'the picture')
        pages.append(_read_page(picture))
    return pages


def _read_page(picture):
    if picture.mode in _FLUX_MODES:
        return np.asarray(picture)[::-1]
    if picture.mode in _PALETTE_MODES:  # a palette may have transparent colours
        picture = picture.convert('RGBA')
    return np.asarray(picture.convert('L' if picture.mode in _GREY_MODES else 'RGB'))[::-1]


def _find_pages(data):
    """Return the numbers of the pages to read; raise an error if Pillow would lose some bits."""
    # Pillow cuts PNG files of 16 bits to 8, but for plain grey, which is colour type 0.
    if data.startswith(_PNG_SIGNATURE) and data[24] == 16 and data[25] != 0:
        msg = 'a PNG file of 16 bits that is not plain grey'
        raise UnsupportedImageError(msg)
    if not data.startswith(_TIFF_SIGNATURES):
        return [0]
    pages = _read_tiff_headers(data)
    numbers = [number for number, page in enumerate(pages) if page.is_image]
    if not numbers or any(pages[number].end > len(data) for number in numbers):
        msg = 'the TIFF file ends before the last pixel'
        raise TruncatedImageError(msg)
    if not all(pages[number].is_lossless for number in numbers):
        msg = 'a TIFF file whose pixels Pillow does not read without loss'
        raise UnsupportedImageError(msg)
    return numbers


class _TiffPage(NamedTuple):
    is_lossless: bool  # whether Pillow reads all bits of the pixels
    is_image: bool  # neither a smaller copy nor a mask of another page
    end: int  # where the pixels end in the file


def _read_tiff_headers(data):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    file = io.BytesIO(data)
    is_big = 43 in data[2:4]
    tags = ImageFileDirectory_v2(file.read(16 if is_big else 8))
    pages = {}
    while tags.next and tags.next not in pages:
        if len(pages) == _MAX_PAGES:
            msg = f'more than {_MAX_PAGES} pages'
            raise UnsupportedImageError(msg)
        position = tags.next
        file.seek(position)
        tags.load(file)
        pages[position] = _describe_tiff_page(tags)
    return list(pages.values())


def _describe_tiff_page(tags):
    bits, formats = _as_tuple(tags.get(258, 1)), _as_tuple(tags.get(339, 1))
    is_picture = max(bits) <= 8 and set(formats) == {1}
    is_grey = tags.get(277, 1) == 1
    offsets = _as_tuple(tags.get(273, tags.get(324, 0)))
    lengths = _as_tuple(tags.get(279, tags.get(325, 0)))
    return _TiffPage(
        is_lossless=is_picture or (is_grey and (bits[0], formats[0]) in _GREY_FORMS),
        is_image=not tags.get(254, 0) & (_REDUCED | _MASK),
        end=max(map(sum, zip(offsets, lengths, strict=False)), default=0),
    )


def _as_tuple(value):
    return value if isinstance(value, tuple) else (value,)
