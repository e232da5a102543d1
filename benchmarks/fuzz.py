# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Damaged files of every format that the package reads: what each ends in, and what must not happen.

Small valid files are damaged in four ways, one to three at a time: bits are flipped, the end is cut
off, pieces are swapped or repeated, fields get extreme values (cards of FITS, tokens of text,
chunks of PNG with a valid checksum, files inside a model with a valid checksum, other binary
numbers). A few processes read them as users do: images through `ImageFiles`, where a damaged file
is the status of its row; mosaics, tables, cutouts and models through their readers, which may raise
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
import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from damaged_files import (
    CUTOUTS,
    FORMATS,
    IMAGES,
    MODELS,
    MOSAICS,
    damage,
    make_cutouts,
    write_samples,
)

# Memory that the process that reads a file may take, libraries included.
MOST_BYTES = 2_000_000_000

# Seconds between two looks at the memory of a process.
TICK = 0.02

# Seconds in which a process must have started, and read a valid file.
SECONDS_TO_START = 300

# Files that one process reads before a new one takes over.
FILES_A_PROCESS = 500

FAILURES = ('exception', 'crash', 'hang', 'memory', 'not a number')


def read_image(path):
    """Return the status of an image file."""
    from astropy.table import Table

    from astro_morph.cutouts import ImageFiles

    (status,) = ImageFiles('image').fetch(Table({'image': [str(path)]})).status
    return str(status)


def read_mosaic(path):
    """Return the status of a cutout of a mosaic."""
    from astropy.coordinates import SkyCoord

    from astro_morph.cutouts import Mosaics

    (status,) = Mosaics(path).fetch(SkyCoord([150], [2], unit='deg'), size=8).status
    return str(status)


def read_table(path):
    """Read a table as a whole and in chunks."""
    from astro_morph.catalog.io import tables
    from astro_morph.catalog.io.chunks import TableChunks

    n_rows = len(tables.read_table(path))
    chunks = TableChunks(path, 8)
    for number in range(len(chunks)):
        chunks[number]
    return 'ok' if n_rows else 'no rows'


def read_cutouts(path):
    """Read all cutouts of a file."""
    from astro_morph import CutoutSet

    cutouts = CutoutSet.read(path)
    for row in range(len(cutouts)):
        cutouts[row : row + 1].images.sum()
    return 'ok' if len(cutouts) else 'no rows'


def read_model(path):
    """Load a model and predict: a number that is none must have a status."""
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
    """Return the function that reads a format, and the exceptions that its documentation names."""
    if name in IMAGES:
        return read_image, ()
    for names, read in {MOSAICS: read_mosaic, MODELS: read_model, CUTOUTS: read_cutouts}.items():
        if name in names:
            return read, (ValueError, OSError)
    return read_table, (ValueError, OSError)


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
        n_pages = int(Path(f'/proc/{process}/statm').read_text().split()[1])
        n_bytes = n_pages * os.sysconf('SC_PAGE_SIZE')
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


def fuzz_format(name, samples, numbers, options, folder):
    """Fuzz one format in several processes; count what its files end in."""
    n = options.processes
    with ThreadPoolExecutor(n) as pool:
        parts = [pool.submit(fuzz, name, samples, numbers[k::n], options, folder) for k in range(n)]
    return sum((part.result() for part in parts), Counter())


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
            counts = fuzz_format(name, samples[name], numbers, options, Path(folder))
            print_row(name, counts, (time.monotonic() - began) / 60)
            total += counts
    print_row('all', total)
    return int(any(total[outcome] for outcome in FAILURES))


def print_row(name, counts, minutes=None):
    """Print a row of the table, and what the files ended in."""
    n_failed = sum(counts[outcome] for outcome in FAILURES)
    n_refused = counts.total() - n_failed - counts['ok']
    numbers = f'{counts.total():6} {counts["ok"]:6} {n_refused:8} {n_failed:7}'
    taken = '' if minutes is None else f'{minutes:.1f}'
    details = ', '.join(f'{n} {outcome}' for outcome, n in counts.most_common() if outcome != 'ok')
    print(f'{name:11} {numbers} {taken:>8}  {details}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
