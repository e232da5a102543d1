# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `find_end`: FITS headers that Astropy would read for ever are refused everywhere."""

import io
import re

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from astro_morph.catalog.io.tables import read_table
from astro_morph.cutouts import Mosaics
from astro_morph.images.errors import ImageError
from astro_morph.images.reading import read_image
from astro_morph.utils.fits_headers import find_end

SKY = fits.Header({'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN', 'CRVAL1': 150.0, 'CRVAL2': 2.0})
SKY.update(CRPIX1=10.0, CRPIX2=10.0, CDELT1=-1e-4, CDELT2=1e-4, OBJECT='nothing')


def image():
    return fits.PrimaryHDU(np.zeros((20, 20), np.int16), SKY)


def compressed():
    return fits.CompImageHDU(np.zeros((20, 20), np.int16), SKY)


def table():
    return fits.BinTableHDU(Table({'id': [1, 2], 'name': ['a', 'b']}))


def write(hdu):
    """Return the bytes of a file, as they are: the header is that of the HDU."""
    content = io.BytesIO()
    is_first = isinstance(hdu, fits.PrimaryHDU)
    fits.HDUList([hdu] if is_first else [fits.PrimaryHDU(), hdu]).writeto(content)
    return content.getvalue()


def change_card(content, key, value):
    """Change the last card of a key in the bytes of a file, or another card if there is none."""
    cards = list(re.finditer(f'{key:8}= '.encode(), content))
    start = (cards or list(re.finditer(b'OBJECT  = ', content)))[-1].start()
    return content[:start] + f'{key:8}= {value:>20}'.ljust(80).encode() + content[start + 80 :]


HUGE = 2**31 - 1
CARDS = [
    *((image, 'NAXIS', value) for value in (1000, HUGE, HUGE**4, -1, 1.5, "''")),
    *((image, 'NAXIS1', value) for value in (HUGE**4, -1, 1.5, "''")),
    *((image, key, value) for key in ('BSCALE', 'BZERO') for value in ('', "'one'")),
    *((compressed, 'ZNAXIS', value) for value in (1000, HUGE, -1, "''")),
    *((compressed, 'ZNAXIS2', value) for value in (HUGE**4, -1, "''")),
    *((compressed, key, 0) for key in ('NAXIS2', 'BITPIX', 'GCOUNT')),
    (compressed, 'TFIELDS', HUGE),
    (compressed, 'PCOUNT', -5000),
    *((make, 'NAXIS', value) for make in (table, compressed) for value in (0, 1, 3)),
    *((table, 'TFIELDS', value) for value in (1000, HUGE, -1)),
    *((table, key, -1) for key in ('NAXIS1', 'NAXIS2', 'PCOUNT', 'GCOUNT')),
]


@pytest.fixture(params=CARDS, ids=lambda card: f'{card[0].__name__} {card[1]} {card[2]}')
def bad(request, tmp_path):
    """A file with a bad card, and the kind of its HDU."""
    make, key, value = request.param
    path = tmp_path / 'bad.fits'
    path.write_bytes(change_card(write(make()), key, value))
    return path, make


def test_no_reader_believes_the_header(bad):
    path, make = bad
    with path.open('rb') as file, pytest.raises(ValueError, match='FITS header'):
        find_end(file)
    if make is table:
        with pytest.raises(ValueError, match='FITS header'):
            read_table(path)
        return
    with pytest.raises(ImageError, match='FITS header'):
        read_image(path)
    with pytest.raises(ValueError, match='FITS header'):
        Mosaics(path).fetch(SkyCoord([150], [2], unit='deg'), size=4)


@pytest.mark.parametrize('make', [image, compressed, table])
def test_the_end_is_that_of_the_file(make):
    content = write(make())
    file = io.BytesIO(content)
    assert find_end(file) == len(content)
    assert file.tell() == 0
    # What is announced, not what is there.
    assert find_end(io.BytesIO(content[:-2880])) == len(content)
    assert find_end(io.BytesIO(content + b'rest')) == len(content)


def test_a_header_behind_an_empty_card_is_checked_too():
    content = change_card(write(table()), 'TFIELDS', HUGE)
    start = content.index(b'XTENSION')
    with pytest.raises(ValueError, match='TFIELDS of the FITS header'):
        find_end(io.BytesIO(content[:start] + b' ' * 80 + content[start:]))


def test_bytes_behind_the_last_image_are_no_part_of_it():
    content = write(image())
    assert find_end(io.BytesIO(content + b'nothing of the kind')) == len(content)
    assert find_end(io.BytesIO(content + b'END'.ljust(2880))) == len(content)


def test_a_file_that_ends_in_a_header_has_no_end():
    assert find_end(io.BytesIO(write(image())[:1000])) is None


def test_a_header_without_end_is_not_read_for_ever():
    content = write(image())[:2880].replace(b'END     ', b'COMMENT ')
    content += b' ' * 2880 * 3000
    with pytest.raises(ValueError, match='no end within 7 MB'):
        find_end(io.BytesIO(content))
