# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Files that are no files, too large, or hostile: a status each, in the memory and time of one."""

import bz2
import gzip
import io
import os
import socket
import struct
import threading
import zlib
from contextlib import nullcontext

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from PIL import Image

from astro_morph import conf
from astro_morph.cutouts import Mosaics
from astro_morph.images.decoding.limits import claim_memory, one_large_file
from astro_morph.images.decoding.tiles import is_fragile
from astro_morph.images.errors import ImageError, TooLargeImageError
from astro_morph.images.reading import read_image
from astro_morph.tests.cutouts.test_mosaics import make_noise, make_positions, make_wcs, write

FLUX = np.random.default_rng(0).normal(100, 10, (40, 48)).astype(np.float32)
COUNTS = np.random.default_rng(1).integers(0, 4, (40, 48)).astype(np.int32)
METHODS = ['RICE_1', 'GZIP_1', 'GZIP_2', 'HCOMPRESS_1', 'PLIO_1', 'NOCOMPRESS']


def status_of(path):
    try:
        read_image(path)
    except ImageError as error:
        return error.status
    return 'ok'


def fits_header(*shape, bitpix=-32):
    cards = [('SIMPLE', True), ('BITPIX', bitpix), ('NAXIS', len(shape))]
    cards += [(f'NAXIS{axis}', length) for axis, length in enumerate(shape, start=1)]
    return fits.Header(cards).tostring().encode()


def sky_of_many_axes(keyword):
    image = fits.PrimaryHDU(np.ones((9, 9), np.float32))
    image.header[keyword] = 10**5
    file = io.BytesIO()
    image.writeto(file)
    return file.getvalue()


def npy_header(shape):
    file = io.BytesIO()
    header = {'descr': '<f8', 'fortran_order': False, 'shape': shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def png_header(width, height):
    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', crc)

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


def jpeg_of(width, height):
    """Return a small picture that announces another size."""
    file = io.BytesIO()
    Image.new('RGB', (8, 8)).save(file, 'JPEG')
    return file.getvalue().replace(struct.pack('>HH', 8, 8), struct.pack('>HH', height, width), 1)


def compressed(method, pixels=None, *, header=None, **options):
    """Return a tile-compressed FITS file; the cards of the header replace those of its table."""
    pixels = COUNTS if method == 'PLIO_1' else FLUX if pixels is None else pixels
    image = fits.CompImageHDU(pixels, compression_type=method, **options)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(file)
    hdus = fits.HDUList.fromstring(file.getvalue(), disable_image_compression=True)
    hdus[1].header.update(header or {})
    changed = io.BytesIO()
    hdus.writeto(changed, output_verify='ignore')
    return changed.getvalue()


def damaged_hcompress():
    """Return an image whose only tile says that it is far larger than the room for it."""
    content = bytearray(compressed('HCOMPRESS_1', tile_shape=FLUX.shape))
    tile = content.index(b'\xdd\x99')
    content[tile + 2 : tile + 10] = struct.pack('>ii', 3000, 3000)
    return bytes(content)


def gzip_bomb_in_a_tile():
    """Return an image of 4 x 4 pixels, of which the tile decompresses to 256 MB."""
    bomb = zlib.compressobj(1, wbits=31)
    zeros = bytes(2**24)
    stream = b''.join([bomb.compress(zeros) for _ in range(16)] + [bomb.flush()])
    table = fits.BinTableHDU.from_columns(
        [fits.Column('COMPRESSED_DATA', '1PB()', array=[np.frombuffer(stream, np.uint8)])]
    )
    cards = {'ZIMAGE': True, 'ZCMPTYPE': 'GZIP_1', 'ZBITPIX': 8, 'ZNAXIS': 2}
    table.header.update({**cards, 'ZNAXIS1': 4, 'ZNAXIS2': 4, 'ZTILE1': 4, 'ZTILE2': 4})
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    return file.getvalue()


@pytest.fixture
def no_program_runs(tmp_path_factory, monkeypatch):
    """Put a program named gs first on the PATH, and check that nothing starts it."""
    folder = tmp_path_factory.mktemp('bin')
    for name in ('gs', 'gswin64c', 'rsvg-convert', 'inkscape'):
        program = folder / name
        program.write_text(f'#!/bin/sh\ntouch {folder}/has_run\necho 10.0\n')
        program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    yield
    assert not (folder / 'has_run').exists()


@pytest.mark.parametrize('name', ['a.jpg', 'a.fits', 'a.png', 'a.npy', 'a.fits.gz'])
@pytest.mark.parametrize(
    ('start', 'status'),
    [
        (b'', 'truncated'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'not_an_image'),
        (b'%PDF-1.7\n', 'not_an_image'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'not_an_image'),
        (b'<!DOCTYPE html><html>404 not found</html>', 'not_an_image'),
        (b'P6 4 4 255\n' + bytes(48), 'not_an_image'),
        (b'PK\x03\x04' + bytes(60), 'not_an_image'),
        (b'\xfd7zXZ\0' + bytes(60), 'not_an_image'),
        (b'\x89HDF\r\n\x1a\n' + bytes(60), 'not_an_image'),
        (b'\x80\x04\x95' + bytes(60), 'not_an_image'),
    ],
    ids=['empty', 'EPS', 'PDF', 'SVG', 'HTML', 'PPM', 'zip', 'xz', 'HDF5', 'pickle'],
)
def test_files_of_other_formats(tmp_path, name, start, status, no_program_runs):
    (tmp_path / name).write_bytes(start)
    assert status_of(tmp_path / name) == status


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='the system has no pipes in folders')
@pytest.mark.parametrize('is_mosaic', [False, True])
@pytest.mark.parametrize('kind', ['pipe', 'link to a pipe', 'socket', 'folder', 'device'])
def test_what_is_no_file(tmp_path, monkeypatch, kind, is_mosaic):
    monkeypatch.chdir(tmp_path)
    path, server = tmp_path / 'a.fits', nullcontext()
    if kind == 'socket':
        server = socket.socket(socket.AF_UNIX)
        server.bind(path.name)
    elif kind == 'folder':
        path.mkdir()
    elif kind == 'device':
        path.symlink_to('/dev/zero')
    else:
        os.mkfifo(tmp_path / 'pipe')
        (tmp_path / 'pipe').rename(path) if kind == 'pipe' else path.symlink_to('pipe')
    with server:
        if not is_mosaic:
            assert status_of(path) == 'unreadable'
            return
        write(tmp_path / 'b.fits', make_noise((50, 50)), make_wcs(shape=(50, 50)))
        with pytest.warns(AstropyUserWarning, match=r'a\.fits is left out: .* expected a file'):
            mosaics = Mosaics(tmp_path / '*.fits')
        assert '1 images' in repr(mosaics)


ZEROS = bytes(10**7)


LARGE = [
    ('plain FITS', fits_header(900, 900) + ZEROS, {'too_large'}),
    ('gzip', gzip.compress(fits_header(900, 900) + ZEROS), {'too_large'}),
    ('bzip2', bz2.compress(fits_header(900, 900) + ZEROS), {'too_large'}),
    ('gzip, more than announced', gzip.compress(fits_header(9, 9) + ZEROS), {'too_large'}),
    ('gzip, no FITS', gzip.compress(ZEROS), {'too_large'}),
    ('many members', gzip.compress(bytes(10**5)) * 100, {'too_large'}),
    ('announced', fits_header(10**6, 10**6), {'too_large', 'truncated'}),
    ('many axes', fits_header(*[2] * 40), {'too_large', 'truncated'}),
    ('beyond floats', fits_header(*[10**17] * 20), {'too_large', 'truncated', 'unreadable'}),
    ('axes on the sky', sky_of_many_axes('WCSAXES'), {'unreadable'}),
    ('axes of another sky', sky_of_many_axes('WCSAXESB'), {'unreadable'}),
    ('negative', fits_header(-(10**6), 1), {'truncated', 'unreadable', 'not_an_image'}),
    ('back to the start', fits_header(-720, 1) * 2, {'truncated', 'unreadable'}),
    ('compressed zeros', compressed('GZIP_1', np.zeros((900, 900))), {'too_large'}),
    ('NumPy', npy_header((900, 900)) + ZEROS, {'too_large'}),
    ('NumPy, announced', npy_header((10**8, 10**8)), {'too_large', 'truncated'}),
    ('NumPy, overflow', npy_header((2**62, 8)), {'truncated', 'not_an_image'}),
    ('NumPy, negative', npy_header((-4, 4)), {'truncated'}),
    ('PNG', png_header(900, 900), {'too_large'}),
    ('PNG beyond the limit of Pillow', png_header(20_000, 20_000), {'too_large'}),
    ('JPEG', jpeg_of(900, 900), {'too_large'}),
]


@pytest.mark.parametrize(
    ('content', 'statuses'), [row[1:] for row in LARGE], ids=[row[0] for row in LARGE]
)
def test_large_files_and_small_ones_that_announce_much(tmp_path, content, statuses):
    (tmp_path / 'a').write_bytes(content)
    with conf.set_temp('max_image_size', 0.003):
        assert status_of(tmp_path / 'a') in statuses


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    'content', [png_header(9500, 9500), jpeg_of(9500, 9500)], ids=['PNG', 'JPEG']
)
def test_warnings_of_pillow_as_errors_are_a_status_too(tmp_path, content):
    (tmp_path / 'a').write_bytes(content)
    assert status_of(tmp_path / 'a') == 'too_large'


def test_pages_are_limited_together(tmp_path):
    pages = [Image.fromarray(np.zeros((50, 50), np.uint8)) for _ in range(4)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    for limit, status in ((0.00013, 'ok'), (0.00011, 'too_large')):
        with conf.set_temp('max_image_size', limit):
            assert status_of(tmp_path / 'a.tif') == status


def test_the_message_says_what_to_do(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros((900, 900)))
    with (
        conf.set_temp('max_image_size', 0.001),
        pytest.raises(TooLargeImageError, match=r'0\.00648 GB.* at most 0\.001 GB; .*max_image_s'),
    ):
        read_image(tmp_path / 'a.npy')


def test_bomb_takes_no_memory(tmp_path):
    resource = pytest.importorskip('resource')
    compressor = bz2.BZ2Compressor()
    zeros = [compressor.compress(bytes(2**24)) for _ in range(16)]
    start = compressor.compress(b'') + b''.join([*zeros, compressor.flush()])
    (tmp_path / 'a.fits.bz2').write_bytes(start)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with conf.set_temp('max_image_size', 0.01):
        assert status_of(tmp_path / 'a.fits.bz2') == 'too_large'
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_threads_read_one_large_file_at_a_time():
    running, most = [], []

    def read(n_bytes):
        with one_large_file():
            claim_memory(n_bytes, 'a file')
            claim_memory(n_bytes, 'its image')
            running.append(n_bytes)
            most.append(sum(size > 10**8 for size in running))
            threading.Event().wait(0.01)
            running.remove(n_bytes)

    threads = [threading.Thread(target=read, args=(size,)) for size in [5 * 10**8, 10] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_mosaics_that_are_mapped_have_any_size(tmp_path):
    shape, noise = (300, 200), make_noise((300, 200))
    positions = make_positions(make_wcs(shape=shape), shape, n=5, margin=9)
    write(tmp_path / 'a.fits', noise, make_wcs(shape=shape))
    expected = Mosaics(tmp_path / 'a.fits').fetch(positions, size=9).images
    (tmp_path / 'b.fits').write_bytes(gzip.compress((tmp_path / 'a.fits').read_bytes()))
    with conf.set_temp('max_image_size', 0.0011):
        np.testing.assert_array_equal(
            Mosaics(tmp_path / 'b.fits').fetch(positions, size=9).images, expected
        )
    big = np.tile(noise, (5, 5))
    write(tmp_path / 'big.fits', big, make_wcs(shape=shape))
    (tmp_path / 'small.fits').write_bytes(gzip.compress((tmp_path / 'big.fits').read_bytes()))
    with conf.set_temp('max_image_size', 0.001):
        assert Mosaics(tmp_path / 'big.fits').fetch(positions, size=9).is_ok.all()
        with pytest.raises(ValueError, match=r'small\.fits is left out: .*max_image_size'):
            Mosaics(tmp_path / 'small.fits')


@pytest.mark.parametrize('method', METHODS)
def test_compressed_tiles_are_those_of_astropy(tmp_path, method):
    content = compressed(method)
    (tmp_path / 'a.fits').write_bytes(content)
    expected = fits.HDUList.fromstring(content)[1].data
    image, header = read_image(tmp_path / 'a.fits')
    np.testing.assert_array_equal(image[0], expected)
    assert image.dtype == expected.dtype
    assert header['NAXIS1'] == 48


@pytest.mark.parametrize(
    'content',
    [
        damaged_hcompress(),
        compressed('RICE_1', header={'ZVAL2': 2**20}),
        compressed('RICE_1', header={'ZTILE1': -48}),
        compressed('RICE_1', header={'ZTILE1': 0}),
        compressed('PLIO_1', header={'ZNAXIS1': 40000}),
        compressed('RICE_1', header={'ZCMPTYPE': 'NOVEL_9'}),
    ],
    ids=['overflow', 'BYTEPIX', 'negative tiles', 'empty tiles', 'too few tiles', 'unknown'],
)
def test_damaged_tiles_cost_one_image(tmp_path, content):
    (tmp_path / 'damaged.fits').write_bytes(content)
    (tmp_path / 'whole.fits').write_bytes(compressed('HCOMPRESS_1'))
    for _ in range(3):
        assert status_of(tmp_path / 'damaged.fits') in ('unreadable', 'truncated', 'not_an_image')
        assert status_of(tmp_path / 'whole.fits') == 'ok'


def test_tiles_that_decompress_to_much_more_than_the_image(tmp_path):
    (tmp_path / 'a.fits').write_bytes(gzip_bomb_in_a_tile())
    assert status_of(tmp_path / 'a.fits') == 'unreadable'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='the system has no fork')
def test_forks_have_decoders_of_their_own(tmp_path):
    (tmp_path / 'a.fits').write_bytes(compressed('RICE_1'))
    assert status_of(tmp_path / 'a.fits') == 'ok'
    forks = []
    for _ in range(2):
        fork = os.fork()
        if not fork:
            os._exit(status_of(tmp_path / 'a.fits') != 'ok')
        forks.append(fork)
    assert status_of(tmp_path / 'a.fits') == 'ok'
    assert [os.waitpid(fork, 0)[1] for fork in forks] == [0, 0]


@pytest.mark.parametrize(
    ('header', 'expected'),
    [
        ({}, False),
        ({'ZCMPTYPE': 'RICE_1'}, False),
        ({'ZCMPTYPE': 'GZIP_2'}, False),
        ({'ZCMPTYPE': 'RICE_1', 'ZNAME1': 'BLOCKSIZE', 'ZVAL1': 32}, False),
        ({'ZCMPTYPE': 'HCOMPRESS_1'}, True),
        ({'ZCMPTYPE': 'PLIO_1'}, True),
        ({'ZCMPTYPE': 'RICE_1', 'ZNAME2': 'BYTEPIX', 'ZVAL2': 8}, True),
        ({'ZCMPTYPE': 'RICE_1', 'ZNAME2': 'bytepix', 'ZVAL2': 8}, True),
        ({'ZCMPTYPE': 'RICE_1', 'ZNAME1': 'BLOCKSIZE', 'ZVAL1': 10**6}, True),
        ({'ZCMPTYPE': 'RICE_1', 'ZDITHER0': -5}, True),
    ],
)
def test_images_that_only_another_process_may_decode(header, expected):
    assert is_fragile(fits.Header(header)) is expected
