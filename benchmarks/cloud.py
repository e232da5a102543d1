# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Many sources on one mosaic of Euclid in object storage, beside the loop over ``.section``.

A server in a process of its own sends the list of mosaics, and ranges of them as object storage
does, each time after 50 ms. The mosaics are noise that repeats itself in y, so that no files are
needed. `EuclidMosaics` fetches all sources, in batches, within its default limits; the loops are
those of the tutorials, one that opens the file for each source and one that keeps it open.

    python benchmarks/fetch.py --cloud
"""

import asyncio
import multiprocessing
import re
import resource
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import Table
from astropy.wcs import WCS

from astro_morph import surveys
from astro_morph.cutouts import EuclidMosaics
from astro_morph.cutouts.services.reprojection import cut_from_images
from astro_morph.simulation.services.rendering import fits_image
from astro_morph.simulation.services.server import Request
from astro_morph.simulation.services.sia import send_capabilities, send_table

EUCLID = surveys.get('euclid-q1')
CENTRE = 60.0, -48.5  # degrees, in the Deep Field South
PERIOD = 64  # rows
LATENCY = 0.05
NAME = 'EUC_MER_BGSUB-MOSAIC-{}_TILE102018211-A1B2C3_20241018T142710.276838Z_00.00.fits'
COLUMNS = (
    'access_url',
    'access_format',
    'dataproduct_subtype',
    'facility_name',
    'energy_bandpassname',
    'cloud_access',
    's_ra',
    's_dec',
)


class Mosaics:
    """The mosaics in the four bands, of which no more than a few rows are in memory."""

    def __init__(self, side):
        self.side = side
        self.wcs = WCS(naxis=2)
        self.wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
        self.wcs.wcs.crval = CENTRE
        self.wcs.wcs.crpix = (side + 1) / 2, (side + 1) / 2
        self.wcs.wcs.cdelt = np.array([-1, 1]) * 0.1 / 3600
        random = np.random.default_rng(0)
        self.rows = {
            band: random.normal(size=(PERIOD, side)).astype('>f4') for band in EUCLID.bands
        }
        pixels = np.broadcast_to(np.float32(0), (side, side))
        # The header of a file of this size, without its pixels.
        small = fits_image(np.zeros((1, 1), np.float32), self.wcs)
        header = fits.Header.fromstring(small[:2880].decode())
        header.update(NAXIS1=side, NAXIS2=side)
        self.header = header.tostring().encode()
        self.size = len(self.header) + -(-pixels.nbytes // 2880) * 2880

    def read(self, band, start, end):
        """Return a range of the bytes of a file."""
        end = min(end, self.size)
        head = self.header[start:end]
        start, end = (max(place - len(self.header), 0) for place in (start, end))
        rows = self.rows[band].view(np.uint8).ravel()
        first = start % rows.size
        turns = -(-(first + end - start) // rows.size)
        body = np.tile(rows, turns)[first : first + end - start] if turns > 1 else rows[first:]
        return head + body[: end - start].tobytes()

    def cut(self, band, centre, size):
        """Return the image around a position, ``size`` degrees wide, as an HDU."""
        x, y = self.wcs.world_to_pixel(SkyCoord(*centre, unit='deg'))
        n = int(np.ceil(size * 36000 / 2))
        x0, x1 = (int(np.clip(np.rint(x) + step, 0, self.side)) for step in (-n, n))
        y0, y1 = (int(np.clip(np.rint(y) + step, 0, self.side)) for step in (-n, n))
        pixels = self.rows[band][np.arange(y0, y1) % PERIOD, x0:x1].astype(np.float32)
        return fits.ImageHDU(pixels, self.wcs[y0:y1, x0:x1].to_header())


def answer(mosaics, url, path, headers):
    """Return the status, the type and the body of an answer, and the bytes of pixels in it."""
    parts = urlsplit(path)
    params = dict(parse_qsl(parts.query))
    band = re.search('MOSAIC-(?:NIR-)?([A-Z]+)_', path)
    if path.startswith('/euclid/SIA/capabilities'):
        request = Request('GET', url, parts.path, {}, b'', 0)
        return 200, send_capabilities(None, request).content, {}
    if path.startswith('/euclid/SIA'):
        return 200, list_mosaics(url), {}
    if path.startswith('/ibe/data'):
        centre = tuple(map(float, params['center'].split(',')))
        hdu = mosaics.cut(band[1], centre, float(params['size']))
        return 200, fits_image(hdu.data, WCS(hdu.header)), {}
    asked = re.search(r'range: bytes=(\d+)-(\d+)', headers, re.IGNORECASE)
    start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, mosaics.size)
    if headers.startswith('HEAD'):
        return 200, b'', {'Content-Length': mosaics.size, 'Accept-Ranges': 'bytes'}
    where = {'Content-Range': f'bytes {start}-{min(end, mosaics.size) - 1}/{mosaics.size}'}
    return 206 if asked else 200, mosaics.read(band[1], start, end), where


def list_mosaics(url):
    rows = []
    for band in EUCLID.bands:
        key = f'q1/MER/102018211/VIS/{NAME.format(band if band == "VIS" else f"NIR-{band}")}'
        cloud = f'{{"aws": {{"bucket_name": "euclid-q1", "key": "{key}"}}}}'
        address = f'{url}/ibe/data/euclid/{key}'
        rows.append((address, 'image/fits', 'science', 'Euclid', band, cloud, *CENTRE))
    return send_table(rows, COLUMNS).content


def serve(connection, counts, side):
    """Answer each request after the latency, in next to no time but for that."""
    mosaics = Mosaics(side)

    async def converse(reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b'\r\n\r\n')).decode()
                await asyncio.sleep(LATENCY)
                status, body, headers = answer(mosaics, url, head.split(' ', 2)[1], head)
                counts[0] += 1
                counts[1] += len(body)
                headers = {'Content-Length': len(body)} | headers
                lines = [f'HTTP/1.1 {status} OK', *(f'{k}: {v}' for k, v in headers.items())]
                writer.write('\r\n'.join([*lines, '', '']).encode() + body)
                await writer.drain()

    async def run():
        nonlocal url
        server = await asyncio.start_server(converse, '127.0.0.1', 0, backlog=512)
        url = f'http://127.0.0.1:{server.sockets[0].getsockname()[1]}'
        connection.send(url)
        await server.serve_forever()

    url = None
    asyncio.run(run())


class Store:
    """The server in a process of its own, and counts of its answers."""

    def __init__(self, side):
        self._side = side

    def __enter__(self):
        context = multiprocessing.get_context('spawn')
        ours, theirs = context.Pipe()
        self._counts = context.Array('q', 2, lock=False)
        arguments = theirs, self._counts, self._side
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        self.url = ours.recv()
        return self

    def __exit__(self, *_):
        self._process.terminate()

    def file(self, band):
        name = NAME.format(band if band == 'VIS' else f'NIR-{band}')
        return f'{self.url}/euclid-q1/q1/MER/102018211/VIS/{name}'

    def measure(self, work):
        """Return the result of some work, its time, and the requests and bytes it takes."""
        before, start = list(self._counts), time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        return result, seconds, *(np.array(self._counts) - before).tolist()


def make_positions(mosaics, n, size):
    """Draw positions whose cutouts lie on the mosaic."""
    xy = np.random.default_rng(1).uniform(size, mosaics.side - size, (n, 2))
    coords = SkyCoord(mosaics.wcs.pixel_to_world(*xy.T))
    return Table({'ra': coords.ra.deg, 'dec': coords.dec.deg})


def fetch(source, table, size, batch_size, mosaics):
    """Fetch all cutouts in batches, and compare some with the truth."""
    table = table[source.order(table)]
    n = 0
    for cutouts in source.stream(table, size=size, batch_size=batch_size):
        assert cutouts.is_ok.all(), set(cutouts.status)
        n += len(cutouts)
        row = cutouts.table[0]
        centre = SkyCoord([row['ra']], [row['dec']], unit='deg')
        for band, image in zip(cutouts.bands, cutouts.images[0], strict=True):
            field = mosaics.cut(band, (row['ra'], row['dec']), 2 * size / 36000)
            truth = cut_from_images([field], centre, side=size, pixel_scale=EUCLID.pixel_scale)
            np.testing.assert_allclose(image, truth[0], atol=1e-3)
    return n


def loop_that_opens(store, table, size):
    """Cut each source out of the file, which is opened for it, as the tutorials show."""
    for row in table:
        centre = SkyCoord(row['ra'], row['dec'], unit='deg')
        for band in EUCLID.bands:
            with fits.open(store.file(band), use_fsspec=True) as hdus:
                Cutout2D(hdus[0].section, centre, size, wcs=WCS(hdus[0].header))


def loop_of_sections(store, table, size):
    """Cut each source out of files that stay open."""
    for band in EUCLID.bands:
        with fits.open(store.file(band), use_fsspec=True) as hdus:
            wcs = WCS(hdus[0].header)
            for row in table:
                centre = SkyCoord(row['ra'], row['dec'], unit='deg')
                Cutout2D(hdus[0].section, centre, size, wcs=wcs)


def run(*, side, n, size, batch_size, n_by_hand):
    """Print what the ways to fetch sources cost, and the memory of the first."""
    mosaics = Mosaics(side)
    table = make_positions(mosaics, n, size)
    asked = n * len(EUCLID.bands) * size**2 * 4
    print(f'{n} sources of {size} x {size} pixels in {len(EUCLID.bands)} bands on one mosaic of')
    print(f'{side} x {side} pixels; {asked / 1e6:.0f} MB of pixels are asked for')
    with Store(side) as store:
        ids = {
            'sia': (f'{store.url}/euclid/SIA', 'mosaics'),
            'cloud': store.url + '/{bucket_name}/{key}',
        }
        source = EuclidMosaics(replace(EUCLID, ids=ids), cache=False)
        _, ours, *counts = store.measure(lambda: fetch(source, table, size, batch_size, mosaics))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        show('EuclidMosaics', ours, *counts, asked)
        print(f'  peak memory {memory:.0f} MB, in batches of {batch_size} sources')
        some = table[:n_by_hand]
        for name, loop in (('open, .section', loop_that_opens), ('.section', loop_of_sections)):
            _, *costs = store.measure(lambda loop=loop: loop(store, some, size))
            seconds, *counts = (cost * len(table) / len(some) for cost in costs)
            show(name, seconds, *counts, asked)
            print(f'  {len(some)} sources timed: {seconds / ours:.1f} times as long')


def show(name, seconds, n_requests, n_bytes, asked):
    print(
        f'{name:16}{seconds:8.1f} s, {n_requests:9.0f} requests, {n_bytes / 1e6:8.0f} MB, '
        f'{n_bytes / asked:.2f} times those of the pixels'
    )
