# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""PNG and TIFF files are read with all their bits, or refused; whole files are not 'truncated'."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from astro_morph.images.errors import ImageError
from astro_morph.images.reading import read_image

RNG = np.random.default_rng(0)
SHAPE = (12, 14)


def status_of(path):
    try:
        read_image(path)
    except ImageError as error:
        return error.status
    return 'ok'


def pixels_of(path):
    """Return the pixels, the highest row first, as they are in the file."""
    return read_image(path)[0][:, ::-1]


def png_of_16_bits(pixels, colour_type):
    """Return a PNG file, which Pillow can't write with 16 bits a colour."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', crc)

    ny, nx = pixels.shape[:2]
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', nx, ny, 16, colour_type, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def tiff_of(*pages, subfiles=None, is_big=False):
    """Return a TIFF file with pages of shape (y, x, band) of any type of pixels."""
    order, long = ('<Q', 'Q') if is_big else ('<I', 'I')
    file = b'II+\0\x08\0\0\0' if is_big else b'II*\0'
    pointer = len(file)
    file += struct.pack(order, 0)
    for page, subfile in zip(pages, subfiles or [0] * len(pages), strict=True):
        ny, nx, n_bands = page.shape
        strip, lists = len(file), {}
        file += page.tobytes()
        for tag, value in ((258, 8 * page.itemsize), (339, 'uif'.index(page.dtype.kind) + 1)):
            lists[tag] = len(file)
            file += struct.pack('<4H', *[value] * 4)
        # Tag, type (3 for 16 bits, 4 for 32), number of values, and value or where it is.
        entries = [
            (254, 4, 1, subfile),
            (256, 4, 1, nx),
            (257, 4, 1, ny),
            (258, 3, n_bands, lists[258]),
            (259, 3, 1, 1),
            (262, 3, 1, 2 if n_bands == 3 else 1),
            (273, 4, 1, strip),
            (277, 3, 1, n_bands),
            (278, 4, 1, ny),
            (279, 4, 1, page.nbytes),
            (284, 3, 1, 1),
            (339, 3, n_bands, lists[339]),
        ]
        if n_bands * 2 <= struct.calcsize(order):
            values = {tag: struct.unpack_from('<4H', file, lists[tag])[0] for tag in lists}
            packed = {tag: sum(v << 16 * i for i in range(n_bands)) for tag, v in values.items()}
            entries = [(*entry[:3], packed.get(entry[0], entry[3])) for entry in entries]
        place = len(file)
        file = file[:pointer] + struct.pack(order, place) + file[pointer + struct.calcsize(order) :]
        file += struct.pack('<Q' if is_big else '<H', len(entries))
        file += b''.join(struct.pack(f'<HH{long}{long}', *entry) for entry in entries)
        pointer = len(file)
        file += struct.pack(order, 0)
    return file


def draw(dtype, n_bands=1):
    return (RNG.random((*SHAPE, n_bands)) * 100).astype(dtype)


@pytest.mark.parametrize('dtype', ['u1', 'u2', 'i2', 'i4', 'f4'])
@pytest.mark.parametrize('is_big', [False, True])
def test_grey_tiff_keeps_its_pixels(tmp_path, dtype, is_big):
    pixels = draw(dtype)
    (tmp_path / 'a.tif').write_bytes(tiff_of(pixels, is_big=is_big))
    np.testing.assert_array_equal(pixels_of(tmp_path / 'a.tif'), pixels[np.newaxis, ..., 0])


@pytest.mark.parametrize('dtype', ['i1', 'u4', 'u8', 'f2', 'f8'])
def test_grey_tiff_that_pillow_misreads_is_unsupported(tmp_path, dtype):
    (tmp_path / 'a.tif').write_bytes(tiff_of(draw(dtype)))
    assert status_of(tmp_path / 'a.tif') == 'unsupported'


@pytest.mark.parametrize('dtype', ['i1', 'u2', 'i2', 'u4', 'i4', 'f4', 'f8'])
@pytest.mark.parametrize('n_bands', [2, 3, 5])
def test_deep_tiff_of_several_bands_is_unsupported(tmp_path, dtype, n_bands):
    file = tiff_of(draw(dtype, n_bands))
    (tmp_path / 'a.tif').write_bytes(file)
    assert status_of(tmp_path / 'a.tif') == 'unsupported'
    (tmp_path / 'a.tif').write_bytes(file[: len(file) // 2])
    assert status_of(tmp_path / 'a.tif') == 'truncated'


def test_tiff_of_colours_of_8_bits_is_a_picture(tmp_path):
    pixels = draw('u1', 3)
    (tmp_path / 'a.tif').write_bytes(tiff_of(pixels))
    image = pixels_of(tmp_path / 'a.tif')
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize('dtype', ['u1', 'u2', 'f4'])
def test_grey_pages_are_bands(tmp_path, dtype):
    pages = [draw(dtype) for _ in range(4)]
    (tmp_path / 'a.tif').write_bytes(tiff_of(*pages))
    np.testing.assert_array_equal(
        pixels_of(tmp_path / 'a.tif'), np.stack(pages)[..., 0].astype(dtype)
    )


def test_copies_and_masks_of_a_page_are_not_bands(tmp_path):
    page = draw('f4')
    others = [np.ascontiguousarray(page[::2, ::2]), draw('u1')]
    (tmp_path / 'a.tif').write_bytes(tiff_of(page, *others, subfiles=[0, 1, 4]))
    np.testing.assert_array_equal(pixels_of(tmp_path / 'a.tif'), page[np.newaxis, ..., 0])


@pytest.mark.parametrize(
    'pages',
    [
        [draw('u1', 3), draw('u1', 3)],
        [draw('u1'), draw('u1')[:-1]],
        [draw('f4'), draw('f8')],
    ],
)
def test_other_pages_are_unsupported(tmp_path, pages):
    (tmp_path / 'a.tif').write_bytes(tiff_of(*pages))
    assert status_of(tmp_path / 'a.tif') == 'unsupported'


def test_pages_that_go_round_in_a_circle_end(tmp_path):
    file = bytearray(tiff_of(draw('u2')))
    file[-4:] = file[4:8]
    (tmp_path / 'a.tif').write_bytes(file)
    assert status_of(tmp_path / 'a.tif') in ('ok', 'truncated')


def test_pages_without_end_are_not_counted(tmp_path):
    pages = [draw('u1')[:1, :1]] * 1001
    (tmp_path / 'a.tif').write_bytes(tiff_of(*pages))
    assert status_of(tmp_path / 'a.tif') == 'unsupported'


@pytest.mark.parametrize(('colour_type', 'n_bands'), [(2, 3), (4, 2), (6, 4)])
def test_deep_colour_png_is_unsupported(tmp_path, colour_type, n_bands):
    pixels = RNG.integers(0, 2**16, (*SHAPE, n_bands))
    (tmp_path / 'a.png').write_bytes(png_of_16_bits(pixels, colour_type))
    assert status_of(tmp_path / 'a.png') == 'unsupported'


def test_deep_grey_png_is_flux(tmp_path):
    pixels = RNG.integers(0, 2**16, SHAPE)
    (tmp_path / 'a.png').write_bytes(png_of_16_bits(pixels, 0))
    image = pixels_of(tmp_path / 'a.png')
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[0], pixels)


def test_other_formats_of_pillow_are_not_images(tmp_path):
    for name in ('a.eps', 'a.ppm', 'a.jp2'):
        Image.fromarray(draw('u1', 3)).save(tmp_path / name)
        assert status_of(tmp_path / name) == 'not_an_image'
