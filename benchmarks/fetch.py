# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Cutouts over the network: `Hips2Fits` beside the plain loop over `astroquery.hips2fits`.

A server in a process of its own answers as hips2fits does, each time after 50 ms. Most positions
are alone on a thousand square degrees, the others lie in crowded fields. The default limits are
lifted; how long the same call takes with them is said by the plan.

    python benchmarks/fetch.py

With ``--cloud``, it measures many sources on one mosaic in object storage instead, see `cloud`.
"""

import argparse
import asyncio
import multiprocessing
import resource
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import astropy.units as u
import cloud
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astroquery.hips2fits import hips2fitsClass

from astro_morph import conf
from astro_morph.cutouts import CutoutCache, Hips2Fits

SIZE = 64
LATENCY = 0.05
CROWDED_FIELD = 4 * u.arcmin  # across, with fifty positions
PER_FIELD = 50

# With --cloud: a mosaic of Euclid, and a small one for trying.
LARGE = {'side': 19_200, 'n': 2000, 'batch_size': 156, 'n_by_hand': 20}
SMALL = {'side': 2000, 'n': 100, 'batch_size': 50, 'n_by_hand': 3}


def serve_noise(connection, n_requests):
    """Answer as hips2fits does, in next to no time but for the latency: a large server."""
    noise = np.random.default_rng(0).normal(size=(1500, 1500)).astype('>f4')

    async def converse(reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b'\r\n\r\n')
                n_requests.value += 1
                await asyncio.sleep(LATENCY)
                query = urlsplit(head.split(b' ', 2)[1].decode()).query
                body = draw(noise, dict(parse_qsl(query)))
                lines = (
                    'HTTP/1.1 200 OK',
                    'Content-Type: image/fits',
                    f'Content-Length: {len(body)}',
                )
                writer.write('\r\n'.join([*lines, '', '']).encode() + body)
                await writer.drain()

    async def run():
        server = await asyncio.start_server(converse, '127.0.0.1', 0)
        connection.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


class ServerProcess:
    """The server in a process of its own, so that it takes no time from the client's."""

    def __enter__(self):
        context = multiprocessing.get_context('spawn')
        ours, theirs = context.Pipe()
        self._n_requests = context.Value('i', 0)
        self._process = context.Process(
            target=serve_noise, args=(theirs, self._n_requests), daemon=True
        )
        self._process.start()
        self.url = f'http://127.0.0.1:{ours.recv()}/hips-image-services/hips2fits'
        return self

    def __exit__(self, *_):
        self._process.terminate()

    @property
    def n_requests(self):
        return self._n_requests.value


def draw(noise, params):
    """Cut an image out of a square of noise that goes on and on."""
    nx, ny = int(params['width']), int(params['height'])
    x0, y0 = (int(abs(float(params[key])) * 10000) for key in ('ra', 'dec'))
    rows, columns = np.arange(y0, y0 + ny) % len(noise), np.arange(x0, x0 + nx) % len(noise)
    cards = {
        'SIMPLE': 'T',
        'BITPIX': -32,
        'NAXIS': 2,
        'NAXIS1': nx,
        'NAXIS2': ny,
        'CRPIX1': nx / 2,
        'CRPIX2': ny / 2,
        'CRVAL1': params['ra'],
        'CRVAL2': params['dec'],
    }
    header = ''.join(f'{key:8}= {value:>20}'.ljust(80) for key, value in cards.items()) + 'END'
    pixels = noise[rows[:, np.newaxis], columns].tobytes()
    return _pad(header.encode(), b' ') + _pad(pixels, b'\0')


def _pad(block, filler):
    return block + filler * (-len(block) % 2880)


def make_positions(n_alone, n_crowded, rng):
    """Draw positions alone on the sky, and in crowded fields; in no order."""
    alone = np.stack([rng.uniform(150, 190, n_alone), rng.uniform(-15, 15, n_alone)])
    n_fields = n_crowded // PER_FIELD
    centres = np.stack([rng.uniform(150, 190, n_fields), rng.uniform(-15, 15, n_fields)])
    half = CROWDED_FIELD.to_value(u.deg) / 2
    crowded = np.repeat(centres, PER_FIELD, axis=1) + rng.uniform(-half, half, (2, n_crowded))
    ra, dec = rng.permutation(np.hstack([alone, crowded]), axis=1)
    return Table({'ra': ra, 'dec': dec})


def fetch_by_hand(server, source, table):
    """Fetch as the documentation of astroquery shows."""
    client = hips2fitsClass()
    client.server = server
    extent = SIZE * source.pixel_scale
    images = np.empty((len(table), len(source.bands), SIZE, SIZE), np.float32)
    for i, coord in enumerate(SkyCoord(table['ra'], table['dec'], unit='deg')):
        for j, band in enumerate(source.bands):
            hdus = client.query(
                source.survey.hips[band], SIZE, SIZE, 'TAN', coord.ra, coord.dec, extent
            )
            images[i, j] = hdus[0].data
    return images


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def compare_speed(server, table, bands, n_by_hand, cache):
    source = Hips2Fits('sdss-dr9', bands=bands, server=server.url, cache=cache)
    print(f'{len(table)} positions in {len(bands)} bands; default limits: {source.plan(table)}')
    with lifted_limits():
        n_before = server.n_requests
        cutouts, ours = timed(lambda: source.fetch(table, size=SIZE))
        n_requests = server.n_requests - n_before
        assert cutouts.is_ok.all()
        _, again = timed(lambda: source.fetch(table, size=SIZE))
        n_again = server.n_requests - n_before - n_requests
    some = table[:n_by_hand]
    _, by_hand = timed(lambda: fetch_by_hand(server.url, source, some))
    by_hand *= len(table) / len(some)
    n_images = len(table) * len(bands)
    print(f'  plain loop      {by_hand:7.1f} s, {n_images} requests ({len(some)} positions timed)')
    print(f'  Hips2Fits       {ours:7.1f} s, {n_requests} requests: {by_hand / ours:.1f} times')
    print(f'  the same again  {again:7.2f} s, {n_again} requests: {n_images / again:.0f} cutouts/s')


@contextmanager
def lifted_limits():
    with conf.set_temp('requests_at_once', 32), conf.set_temp('requests_per_second', 1e6):
        yield


def show_memory(server, table, cache):
    source = Hips2Fits('sdss-dr9', bands='r', server=server.url, cache=cache)
    n = 0
    print(f'peak memory while {len(table)} cutouts stream by')
    with lifted_limits():
        for i, cutouts in enumerate(source.stream(table, size=SIZE)):
            n += len(cutouts)
            if i % 4 == 1:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f'  {n:6d} cutouts {peak:7.0f} MB')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--alone', type=int, default=1500, help='positions alone on the sky')
    parser.add_argument('--crowded', type=int, default=500, help='positions in crowded fields')
    parser.add_argument('--bands', default='gri')
    parser.add_argument('--by-hand', type=int, default=2000, help='positions for the loop')
    parser.add_argument('--stream', type=int, default=20_000, help='cutouts for the memory')
    parser.add_argument('--cloud', action='store_true', help='one mosaic in object storage')
    parser.add_argument('--small', action='store_true', help='with --cloud: a small mosaic')
    parser.add_argument('--size', type=int, default=256, help='with --cloud: side of the cutouts')
    args = parser.parse_args()
    if args.cloud:
        options = SMALL if args.small else LARGE
        cloud.run(size=args.size // 4 if args.small else args.size, **options)
        return
    rng = np.random.default_rng(0)
    table = make_positions(args.alone, args.crowded, rng)
    many = make_positions(args.stream, 0, rng)
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess() as server,
    ):
        cache = CutoutCache(Path(folder) / 'cutouts.sqlite')
        compare_speed(server, table, args.bands, args.by_hand, cache)
        show_memory(server, many, cache)


if __name__ == '__main__':
    main()
