# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Damaged files of every format that the package reads: what each ends in, and what must not happen.

Small valid files are damaged in four ways, one to three at a time: bits are flipped, the end is cut
off, pieces are swapped or repeated, fields get extreme values (cards of FITS, tokens of text,
chunks of PNG with a valid checksum, files inside a model with a valid checksum, other binary
numbers). A few processes read them as users do: images through `ImageFiles`, where a damaged file
is the status of its row; tables, cutouts and models through their readers, which may raise
`ValueError` or `OSError`. A failure is a process that ends, takes more than ten seconds or two
gigabytes, another exception, or a prediction with status 'ok' that is no number. The file of each
failure is kept, with its traceback beside it.

File number N of a format is the same whenever the seed is. The exit code is 1 if anything failed.

It runs on Linux only.

    python benchmarks/fuzz.py folder
    python benchmarks/fuzz.py folder --formats fits jpeg --files 2000 --seed 7
"""

import argparse
import contextlib
import faulthandler
import gzip
import io
import json
import os
import random
import re
import select
import shutil
import struct
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

# Memory that the process that reads a file may take, libraries included.
MOST_BYTES = 2_000_000_000

# Seconds between two looks at the memory of a process.
TICK = 0.02

# Seconds in which a process must have started, and read a valid file.
SECONDS_TO_START = 300

# Files that one process reads before a new one takes over.
FILES_A_PROCESS = 500

SIDE = 24

FORMATS = (
    'fits',
    'fits.gz',
    'fits.fz',
    'jpeg',
    'png',
    'tiff',
    'npy',
    'cutouts.h5',
    'table.h5',
    'table.fits',
    'parquet',
    'vot',
    'ecsv',
    'csv',
    'pt',
    'onnx',
)
IMAGES = ('fits', 'fits.gz', 'fits.fz', 'jpeg', 'png', 'tiff', 'npy')
MODELS = ('pt', 'onnx')

FAILURES = ('exception', 'crash', 'hang', 'memory', 'not a number')


# Valid files.


def write_samples(folder, formats):
    """Write small valid files; return their contents by format."""
    writers = {
        IMAGES: write_images,
        ('table.h5', 'table.fits', 'parquet', 'vot', 'ecsv', 'csv'): write_tables,
        ('cutouts.h5',): write_cutouts,
        MODELS: write_models,
    }
    for names, write in writers.items():
        if set(names) & set(formats):
            write(folder)
    samples = {name: [] for name in formats}
    for path in sorted(folder.iterdir()):
        samples.get(path.name.partition('.')[2], []).append(path.read_bytes())
        path.unlink()
    return samples


def write_images(folder):
    from astropy.io import fits
    from PIL import Image

    noise = np.random.default_rng(0)
    flux = noise.normal(100, 10, (SIDE, SIDE)).astype(np.float32)
    counts = flux.astype(np.int16)
    fits.PrimaryHDU(flux).writeto(folder / 'flux.fits')
    scaled = fits.PrimaryHDU(counts)
    scaled.scale('int16', bzero=32768)
    hdus = [
        scaled,
        fits.ImageHDU(np.stack([flux] * 3), name='SCI'),
        fits.ImageHDU(flux, name='WHT'),
    ]
    fits.HDUList(hdus).writeto(folder / 'many.fits')
    (folder / 'flux.fits.gz').write_bytes(gzip.compress((folder / 'flux.fits').read_bytes()))
    for name in ('RICE_1', 'GZIP_1', 'GZIP_2', 'HCOMPRESS_1', 'PLIO_1'):
        image = fits.CompImageHDU(np.abs(counts) if name == 'PLIO_1' else flux, None, name)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / f'{name}.fits.fz')
    colours = noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    picture, grey = Image.fromarray(colours), Image.fromarray(colours[..., 0])
    for name, image in {'colour': picture, 'grey': grey, 'cmyk': picture.convert('CMYK')}.items():
        image.save(folder / f'{name}.jpeg')
    picture.save(folder / 'progressive.jpeg', progressive=True)
    picture.save(folder / 'colour.png')
    picture.quantize(16).save(folder / 'palette.png')
    Image.fromarray(counts.astype(np.uint16)).save(folder / 'deep.png')
    picture.save(folder / 'plain.tiff')
    for name in ('tiff_lzw', 'tiff_adobe_deflate', 'jpeg', 'packbits'):
        picture.save(folder / f'{name}.tiff', compression=name)
    pages = [Image.fromarray(flux), Image.fromarray(flux.T)]
    pages[0].save(folder / 'pages.tiff', save_all=True, append_images=pages[1:])
    np.save(folder / 'flux.npy', flux)


def write_tables(folder):
    import astropy.units as u
    from astropy.table import MaskedColumn, Table

    from astro_morph.catalog.io.tables import write_table

    n = 20
    table = Table(
        {
            'id': np.arange(n),
            'ra': np.linspace(0, 359, n) * u.deg,
            'dec': np.linspace(-90, 90, n) * u.deg,
            'name': [f'galaxy {number}' for number in range(n)],
            'is_good': np.arange(n) % 2 == 0,
            'flux': MaskedColumn(np.ones(n, np.float32), mask=np.arange(n) % 3 == 0),
        },
        meta={'SURVEY': 'simulated'},
    )
    for name in ('table.h5', 'table.fits', 'parquet', 'vot', 'ecsv', 'csv'):
        write_table(table, folder / f'catalog.{name}')
    table.write(folder / 'binary.vot', format='votable', tabledata_format='binary')
    table.write(folder / 'binary2.vot', format='votable', tabledata_format='binary2')


def make_cutouts(n):
    from astropy.table import Table

    from astro_morph import CutoutSet

    noise = np.random.default_rng(1)
    images = noise.normal(size=(n, 2, SIDE, SIDE))
    images[::2, :, 8:16, 8:16] += 10
    table = Table({'id': np.arange(n), 'morphology': np.resize(['bright', 'faint'], n)})
    return CutoutSet(images, bands='gr', table=table)


def write_cutouts(folder):
    from astro_morph import CutoutSet

    make_cutouts(6).write(folder / 'flux.cutouts.h5')
    pictures = np.random.default_rng(2).integers(0, 256, (4, 3, SIDE, SIDE), np.uint8)
    CutoutSet(pictures, kind='picture').write(folder / 'picture.cutouts.h5')


def write_models(folder):
    from astro_morph import MorphologyClassifier

    options = {'random_state': 0, 'device': 'cpu', 'verbose': 0}
    cutouts = make_cutouts(60)
    of_images = MorphologyClassifier(encoder='random', strategy='linear', **options).fit(cutouts)
    features = cutouts.images.mean(axis=(2, 3))
    of_features = MorphologyClassifier(**options).fit(features, cutouts.table['morphology'])
    of_images.save(folder / 'images.pt')
    of_features.save(folder / 'features.pt')
    of_images.to_onnx(folder / 'images.onnx')


# Damage.

EXTREMES = (
    0,
    1,
    2,
    127,
    128,
    255,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
TEXTS = (
    *(
        '',
        '0',
        '-1',
        '2147483648',
        '1e999',
        'nan',
        '99999999999999999999',
        '*',
        'T',
        "''",
        'A' * 1000,
    ),
    *(
        '\x00',
        '\xff',
        '\u2028',
        '<',
        '"',
        ',',
        '{',
        '[',
        '!!python/object:os.system',
        '&x;',
        '1e-400',
    ),
)


def damage(content, name, chance):
    """Damage the content of a file once to three times; return it, and what was done."""
    done = []
    for _ in range(chance.randint(1, 3)):
        way = chance.choice([flip_bits, cut_off, swap_pieces, repeat_piece, *[change_field] * 4])
        content = inside(content, name, way, chance)
        done.append(way.__name__)
    return content, done


def inside(content, name, way, chance):
    """Damage the file, or what it holds under a compression or a checksum."""
    if name == 'fits.gz' and chance.random() < 0.7:
        with contextlib.suppress(OSError, EOFError, zlib.error):
            return gzip.compress(way(gzip.decompress(content), 'fits', chance), 1)
    if name == 'pt' and chance.random() < 0.7:
        with contextlib.suppress(zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
            return damage_member(content, way, chance)
    return way(content, name, chance)


def damage_member(content, way, chance):
    """Damage one file of an archive, mostly the one that describes the others."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    main = [name for name in members if name.endswith('data.pkl')]
    chosen = chance.choice(main if main and chance.random() < 0.7 else list(members))
    members[chosen] = way(members[chosen], 'member', chance)
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def place(content, chance):
    """Choose a position, mostly near the beginning or the end, where most fields are."""
    n = max(len(content), 1)
    near = min(n, 1000)
    return chance.choice(
        [chance.randrange(n), chance.randrange(near), n - 1 - chance.randrange(near)]
    )


def flip_bits(content, name, chance):
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 2, 8, 32]) if damaged else 0):
        damaged[place(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut_off(content, name, chance):
    return content[: place(content, chance)]


def swap_pieces(content, name, chance):
    length = chance.choice([1, 8, 80, 500])
    first, second = sorted([place(content, chance), place(content, chance)])
    if second - first < length:
        return content
    middle = content[first + length : second]
    pieces = content[second : second + length], middle, content[first : first + length]
    return content[:first] + b''.join(pieces) + content[second + length :]


def repeat_piece(content, name, chance):
    start, length = place(content, chance), chance.choice([1, 8, 80, 2880])
    piece = content[start : start + length]
    return content[:start] + piece * chance.choice([2, 3, 100]) + content[start + length :]


def change_field(content, name, chance):
    if name in ('fits', 'table.fits', 'fits.fz'):
        return change_card(content, chance)
    if name in ('vot', 'ecsv', 'csv'):
        return change_token(content, chance)
    if name == 'png':
        return change_chunk(content, chance)
    return change_number(content, chance)


def change_card(content, chance):
    cards = [
        m.start() for m in re.finditer(rb'[A-Z0-9_-]{1,8} *= ', content) if m.start() % 80 == 0
    ]
    if not cards:
        return change_number(content, chance)
    start = chance.choice(cards)
    value = chance.choice(
        [*TEXTS[:11], str(chance.choice(EXTREMES)), str(-chance.choice(EXTREMES))]
    )
    card = (content[start : start + 10] + value.encode('latin-1').rjust(20))[:80].ljust(80)
    return content[:start] + card + content[start + 80 :]


def change_token(content, chance):
    tokens = list(re.finditer(rb'[\w.+-]+', content))
    if not tokens:
        return content
    token = chance.choice(tokens)
    value = chance.choice([*TEXTS, chance.choice(tokens)[0].decode('latin-1')])
    return content[: token.start()] + value.encode() + content[token.end() :]


def change_chunk(content, chance):
    """Change a number in a chunk of a PNG file, and its checksum with it."""
    chunks, start = [], 8
    while start + 12 <= len(content):
        (length,) = struct.unpack('>I', content[start : start + 4])
        if start + 12 + length > len(content):
            break
        chunks.append((start, length))
        start += 12 + length
    if not chunks or chance.random() < 0.3:
        return change_number(content, chance)
    start, length = chance.choice(chunks)
    body = change_number(content[start + 4 : start + 8 + length], chance)
    return (
        content[: start + 4]
        + body
        + struct.pack('>I', zlib.crc32(body))
        + content[start + 12 + length :]
    )


def change_number(content, chance):
    width = chance.choice([1, 2, 4, 8])
    number = chance.choice(EXTREMES) % 256**width
    start = place(content, chance)
    order = chance.choice(['little', 'big'])
    return (content[:start] + number.to_bytes(width, order) + content[start + width :])[
        : len(content)
    ]


# The process that reads.


def read_image(path):
    from astropy.table import Table

    from astro_morph.cutouts import ImageFiles

    (status,) = ImageFiles('image').fetch(Table({'image': [str(path)]})).status
    return str(status)


def read_table(path):
    from astro_morph.catalog.io import tables
    from astro_morph.catalog.io.chunks import TableChunks

    n_rows = len(tables.read_table(path))
    chunks = TableChunks(path, 8)
    for number in range(len(chunks)):
        chunks[number]
    return 'ok' if n_rows else 'no rows'


def read_cutouts(path):
    from astro_morph import CutoutSet

    cutouts = CutoutSet.read(path)
    for row in range(len(cutouts)):
        cutouts[row : row + 1].images.sum()
    return 'ok' if len(cutouts) else 'no rows'


def read_model(path):
    from astro_morph import MorphologyClassifier, OnnxClassifier
    from astro_morph.prediction.predict import predict

    load = OnnxClassifier if path.suffix == '.onnx' else MorphologyClassifier.load
    classifier = load(path, **({} if path.suffix == '.onnx' else {'device': 'cpu'}))
    cutouts = make_cutouts(2)
    samples = cutouts if classifier.model_.spec.bands else cutouts.images.mean(axis=(2, 3))
    found = predict(classifier.model_, samples)
    is_number = np.isfinite(found.probabilities).all(axis=1)
    return 'ok' if is_number[found.status == 'ok'].all() else 'not a number'


def reader_of(name):
    if name in IMAGES:
        return read_image, ()
    if name in MODELS:
        return read_model, (ValueError, OSError)
    return (read_cutouts if name == 'cutouts.h5' else read_table), (ValueError, OSError)


def serve():
    """Read the files that standard input names; answer a line each."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    warnings.simplefilter('ignore')
    faulthandler.enable()
    for line in sys.stdin:
        name, path, seconds = json.loads(line)
        Path('/proc/self/clear_refs').write_text('5')  # sets the peak of memory back
        faulthandler.dump_traceback_later(seconds, exit=True)
        answer = read_one(name, Path(path))
        faulthandler.cancel_dump_traceback_later()
        peak = re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())
        print(json.dumps([*answer, int(peak[1]) * 1024]), file=answers, flush=True)


def read_one(name, path):
    """Return what a file ends in, and the traceback of an exception."""
    read, documented = reader_of(name)
    try:
        return read(path), ''
    except documented as error:
        return next(kind.__name__ for kind in documented if isinstance(error, kind)), ''
    except BaseException:
        return 'exception', traceback.format_exc()


# The process that watches.


class Reader:
    """A process that reads files of a format one after another, and is replaced when it must be."""

    def __init__(self, name, sample, folder):
        self._name = name
        self._sample = folder / f'sample-{id(self)}.{name}'
        self._sample.write_bytes(sample)
        self._errors = self._sample.with_suffix('.txt').open('w+')
        self._process, self._n_read = None, 0

    def read(self, path, seconds):
        """Return what a file ends in, and why, if it failed."""
        if self._process is None or self._n_read >= FILES_A_PROCESS:
            self._start()
        self._n_read += 1
        return self._ask(path, seconds)

    def close(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self):
        self.close()
        self._n_read = 0
        self._errors.truncate(0)
        self._process = subprocess.Popen(
            [sys.executable, __file__, '--serve'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        # It imports what it needs.
        outcome, details = self._ask(self._sample, SECONDS_TO_START)
        if outcome != 'ok':
            msg = f'a valid file of the format {self._name} ends in {outcome}: {details}'
            raise RuntimeError(msg)

    def _ask(self, path, seconds):
        process, began = self._process, time.monotonic()
        process.stdin.write(json.dumps([self._name, str(path), seconds]) + '\n')
        process.stdin.flush()
        while not select.select([process.stdout], [], [], TICK)[0]:
            if memory_of(process.pid) > MOST_BYTES:
                return self._end('memory')
            if time.monotonic() - began > seconds + 2:
                return self._end('hang')
        line = process.stdout.readline()
        if not line:
            is_late = time.monotonic() - began > seconds
            return self._end('hang' if is_late else 'crash')
        outcome, details, peak = json.loads(line)
        return ('memory', f'{peak} bytes') if peak > MOST_BYTES else (outcome, details)

    def _end(self, outcome):
        self._process.kill()
        code = self._process.wait()
        self.close()
        self._errors.seek(0)
        return outcome, f'exit code {code}\n{self._errors.read()[-6000:]}'


def memory_of(process):
    """Return the bytes that a process and its children have in memory."""
    n_bytes = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        n_bytes = int(Path(f'/proc/{process}/statm').read_text().split()[1]) * os.sysconf(
            'SC_PAGE_SIZE'
        )
        for thread in Path(f'/proc/{process}/task').iterdir():
            n_bytes += sum(map(memory_of, (thread / 'children').read_text().split()))
    return n_bytes


def fuzz(name, samples, numbers, options, folder):
    """Read some damaged files of a format; count what they end in, and keep those that failed."""
    counts = Counter()
    reader = Reader(name, samples[0], folder)
    for number in numbers:
        if time.monotonic() > options.deadline:
            break
        chance = random.Random(f'{options.seed} {name} {number}')
        content, done = damage(chance.choice(samples), name, chance)
        path = folder / f'{number}.{name}'
        path.write_bytes(content)
        outcome, details = reader.read(path, options.seconds)
        counts[outcome] += 1
        if outcome in FAILURES:
            kept = options.folder / f'{options.seed}-{path.name}'
            shutil.copy(path, kept)
            text = f'{outcome} after {", ".join(done)}\n{details}'
            kept.with_name(f'{kept.name}.txt').write_text(text)
        path.unlink()
    reader.close()
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('folder', nargs='?', type=Path, help='folder for the files that fail')
    parser.add_argument('--files', type=int, default=20_000, help='number of files in all')
    parser.add_argument('--formats', nargs='+', choices=FORMATS, default=FORMATS, metavar='FORMAT')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0, help='number of the first file')
    parser.add_argument('--processes', type=int, default=2, help='processes that read')
    parser.add_argument(
        '--seconds', type=float, default=10, help='time of a file; give more on a busy machine'
    )
    parser.add_argument('--minutes', type=float, default=180, help='time after which to stop')
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.folder is None:
        parser.error('name a folder for the files that fail')
    options.folder.mkdir(parents=True, exist_ok=True)
    options.deadline = time.monotonic() + 60 * options.minutes
    n_files = -(-options.files // len(options.formats))
    print(f'seed {options.seed}, {n_files} files of each format, from number {options.first} on')
    print(f'{"format":11} {"files":>6} {"read":>6} {"refused":>8} {"failed":>7} {"minutes":>8}')
    total = Counter()
    with TemporaryDirectory() as folder:
        samples = write_samples(Path(folder), options.formats)
        for name in options.formats:
            began = time.monotonic()
            numbers = range(options.first, options.first + n_files)
            parts = [numbers[k :: options.processes] for k in range(options.processes)]
            with ThreadPoolExecutor(options.processes) as pool:
                work = [
                    pool.submit(fuzz, name, samples[name], part, options, Path(folder))
                    for part in parts
                ]
            counts = sum((done.result() for done in work), Counter())
            print_row(name, counts, (time.monotonic() - began) / 60)
            total += counts
    print_row('all', total, None)
    return int(any(total[outcome] for outcome in FAILURES))


def print_row(name, counts, minutes):
    n_failed = sum(counts[outcome] for outcome in FAILURES)
    n_read = counts['ok']
    refused = {k: n for k, n in counts.items() if k != 'ok' and k not in FAILURES}
    failed = {k: n for k, n in counts.items() if k in FAILURES}
    details = ', '.join(f'{n} {k}' for k, n in sorted({**failed, **refused}.items()))
    time_taken = '' if minutes is None else f'{minutes:.1f}'
    numbers = (
        f'{counts.total():6} {n_read:6} {sum(refused.values()):8} {n_failed:7} {time_taken:>8}'
    )
    print(f'{name:11} {numbers}  {details}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
