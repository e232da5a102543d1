# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `astro_morph.images.remote.urls`: mosaics at URLs give the same cutouts as on disk."""

import contextlib
import functools
import gzip
import re
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import conf
from astro_morph.cutouts import Mosaics, as_source
from astro_morph.images.remote import stores
from astro_morph.tests.cutouts.test_mosaics import make_noise, make_positions, make_wcs, write

fsspec = pytest.importorskip('fsspec')

# A megapixel takes four blocks.
SHAPE = (1500, 1000)


class RangeHandler(SimpleHTTPRequestHandler):
    """Answers like object storage, with a part of a file, and counts the bytes."""

    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def do_GET(self):
        bounds = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range', ''))
        if bounds is None:
            super().do_GET()
            return
        if self.server.is_hostile is not None:
            with contextlib.suppress(ConnectionError):
                self.server.is_hostile(self)
            return
        start, last = map(int, bounds.groups())
        with open(self.translate_path(self.path), 'rb') as file:
            size = file.seek(0, 2)
            file.seek(start)
            part = file.read(last + 1 - start)
        self.server.parts.append((start, len(part)))
        self.send_response(206)
        self.send_header('Content-Range', f'bytes {start}-{start + len(part) - 1}/{size}')
        self.send_header('Content-Length', str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def send_head(self):
        file = super().send_head()
        if self.command == 'GET' and self.path.endswith('.fits'):
            self.server.parts.append((0, file.seek(0, 2)))
            file.seek(0)
        return file

    def end_headers(self):
        self.send_header('Accept-Ranges', 'bytes')
        super().end_headers()


class Store(ThreadingHTTPServer):
    """A server that is not overwhelmed by a hundred connections at once."""

    request_queue_size = 256
    daemon_threads = True
    block_on_close = False


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of one sky as floats, as scaled integers, compressed, as a cube, in extensions."""
    folder = tmp_path_factory.mktemp('urls')
    noise, wcs = make_noise(SHAPE), make_wcs(shape=SHAPE)
    write(folder / 'tile-g.fits', noise, wcs)
    scaled = fits.PrimaryHDU((1000 * noise).astype(np.int16), wcs.to_header())
    scaled.header.update(BSCALE=0.001, BZERO=1.0, BLANK=-32768)
    scaled.writeto(folder / 'tile-r.fits')
    compressed = fits.CompImageHDU(noise, wcs.to_header(), tile_shape=(100, 100))
    compressed.writeto(folder / 'tile-i.fits')
    write(folder / 'cube.fits', np.stack([noise, noise + 1])[:, :300], wcs)
    camera = [fits.PrimaryHDU()]
    for part in (np.s_[:, :600], np.s_[:, 500:]):
        for name, pixels in (('SCI', noise), ('ERR', noise + 9)):
            camera.append(fits.ImageHDU(pixels[part], wcs[part].to_header(), name=name))
    fits.HDUList(camera).writeto(folder / 'camera.fits')
    return folder


@pytest.fixture
def server(folder):
    pytest.importorskip('aiohttp')
    handler = functools.partial(RangeHandler, directory=str(folder))
    with Store(('127.0.0.1', 0), handler) as server:
        server.parts, server.is_hostile = [], None
        server.url = f'http://127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def memory(folder):
    store = fsspec.filesystem('memory')
    store.put(f'{folder}/', '/tiles/', recursive=True)
    yield 'memory://tiles'
    store.rm('/tiles', recursive=True)


def make_coords(n=10):
    return make_positions(make_wcs(shape=SHAPE), SHAPE, n=n)


def assert_same_as_on_disk(url, folder, pattern):
    expected = Mosaics(f'{folder}/{pattern}').fetch(make_coords(), size=24)
    came = Mosaics(f'{url}/{pattern}').fetch(make_coords(), size=24)
    assert came.bands == expected.bands
    # The readers add the zero point of integers in different precision.
    np.testing.assert_allclose(came.images, expected.images, atol=1e-6)
    np.testing.assert_array_equal(came.status, expected.status)


@pytest.mark.parametrize('pattern', ['tile-{band}.fits', 'cub*.fits', 'camera.fits'])
def test_in_memory_as_on_disk(memory, folder, pattern):
    assert_same_as_on_disk(memory, folder, pattern)


@pytest.mark.parametrize('pattern', ['tile-{band}.fits', 'cube.fits', 'camera.fits'])
def test_on_a_web_server_as_on_disk(server, folder, pattern):
    assert_same_as_on_disk(server.url, folder, pattern)


def test_url_of_this_machine_is_as_its_path(folder):
    assert_same_as_on_disk(f'file://{folder}', folder, 'tile-{band}.fits')


def test_only_some_bytes_are_read_and_each_once(server, folder):
    shape = (8000, 500)
    path = write(folder / 'large.fits', np.zeros(shape, np.float32), make_wcs(shape=shape))
    mosaics = Mosaics(f'{server.url}/large.fits')
    assert sum(length for _, length in server.parts) < 100_000
    server.parts.clear()
    coords = make_positions(make_wcs(shape=shape), shape, n=2)
    assert mosaics.fetch(coords, size=24).is_ok.all()
    starts, lengths = zip(*server.parts, strict=True)
    assert sum(lengths) < path.stat().st_size / 2
    assert len(set(starts)) == len(starts)


def test_source_by_its_url(memory):
    assert isinstance(as_source(f'{memory}/tile-{{band}}.fits', None), Mosaics)
    with pytest.raises(ValueError, match='matches no file'):
        as_source('memory://elsewhere/*.fits', None)


def test_no_file_at_the_url():
    with pytest.raises(FileNotFoundError, match=r"no file matches 'memory://elsewhere/a\.fits'"):
        Mosaics('memory://elsewhere/a.fits')


def test_file_that_is_no_image_is_left_out(memory):
    fsspec.filesystem('memory').pipe('/tiles/other-g.fits', b'SIMPLE or not')
    with pytest.warns(AstropyUserWarning, match='left out'):
        mosaics = Mosaics({'g': f'{memory}/*-g.fits'})
    assert mosaics.fetch(make_coords(), size=24).is_ok.all()


def send_without_end(handler):
    handler.send_response(206)
    handler.send_header('Connection', 'close')
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))


def send_bomb(handler):
    body = gzip.compress(bytes(30_000_000))
    handler.send_response(206)
    handler.send_header('Content-Encoding', 'gzip')
    handler.send_header('Content-Length', str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def send_slowly(handler):
    handler.send_response(206)
    handler.send_header('Content-Length', '100000')
    handler.end_headers()
    while True:
        handler.wfile.write(b' ')
        time.sleep(0.05)


def send_half(handler):
    handler.send_response(206)
    handler.send_header('Content-Length', '100')
    handler.end_headers()
    handler.wfile.write(bytes(50))
    handler.close_connection = True


def send_error(handler):
    handler.send_error(503)


def send_nothing(handler):
    handler.send_error(404)


def send_all(handler):
    SimpleHTTPRequestHandler.do_GET(handler)


@pytest.mark.parametrize(
    ('answer', 'reason'),
    [
        (send_without_end, 'too_large'),
        (send_bomb, 'too_large'),
        (send_all, 'too_large'),
        (send_slowly, 'timeout'),
        (send_half, 'connection'),
        (send_error, 'http_503'),
        (send_nothing, 'not_found'),
    ],
)
def test_answer_of_a_hostile_web_server_is_a_status(server, answer, reason, monkeypatch):
    monkeypatch.setattr(stores, 'BACK_OFF', 0.01)
    source = Mosaics(f'{server.url}/tile-g.fits')
    server.is_hostile = answer
    slow = conf.set_temp('max_answer_time', 0.5 if reason == 'timeout' else 60)
    with slow, conf.set_temp('tries', 2), pytest.warns(AstropyUserWarning, match=reason):
        cutouts = source.fetch(make_coords(2), size=24)
    assert list(cutouts.status) == [reason] * 2


def test_file_that_is_gone_is_a_status(memory):
    mosaics = Mosaics(f'{memory}/tile-g.fits')
    fsspec.filesystem('memory').rm('/tiles/tile-g.fits')
    with pytest.warns(AstropyUserWarning, match='not_found'):
        cutouts = mosaics.fetch(make_coords(), size=24)
    assert set(cutouts.status) == {'not_found'}


def test_file_that_ends_too_early_is_a_status(memory):
    store = fsspec.filesystem('memory')
    mosaics = Mosaics(f'{memory}/tile-g.fits')
    store.pipe('/tiles/tile-g.fits', store.cat('/tiles/tile-g.fits')[:30_000])
    with pytest.warns(AstropyUserWarning, match='truncated'):
        cutouts = mosaics.fetch(make_coords(), size=24)
    assert set(cutouts.status) == {'truncated'}


@pytest.mark.parametrize('method', ['HCOMPRESS_1', 'PLIO_1', 'GZIP_2'])
def test_other_compressed_images(memory, folder, method):
    pixels = (100 * make_noise(SHAPE) % 50).astype(np.int32)
    image = fits.CompImageHDU(pixels, make_wcs(shape=SHAPE).to_header(), compression_type=method)
    image.writeto(folder / f'{method}.fits')
    store = fsspec.filesystem('memory')
    store.put(f'{folder}/{method}.fits', f'/tiles/{method}.fits')
    assert_same_as_on_disk(memory, folder, f'{method}.fits')
