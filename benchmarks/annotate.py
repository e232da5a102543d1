# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
A catalogue annotated from file to file, beside the bare rate of its model in ONNX Runtime.

The mosaics and the catalogue, in Parquet and in no order, are made in a temporary folder: tiles of
noise and Gaussian blobs in three bands. The model is a ResNet-18 with a linear head, of the
precision and views that are asked for; its accuracy does not matter here. The bare rate is that of
ONNX Runtime on cutouts in memory, in batches of the size that the package uses, before and after
the whole way, so that the machine is in the same state.

With ``--kills 20``, the annotation is killed so often by SIGKILL at random times, and resumed; then
its columns are compared, byte for byte, with those of an undisturbed run.

    python benchmarks/annotate.py
    python benchmarks/annotate.py --kills 20
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from astro_morph import CutoutSet, OnnxClassifier
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts import Mosaics
from astro_morph.models.running import BATCH_SIZE

BANDS = 'gri'
SCALE = 0.4  # arcsec a pixel
GOAL = 0.8


def write_survey(folder, n_rows, n_tiles, side, cutout_size):
    """Write tiles of sky and blobs, and a catalogue of the blobs."""
    rng = np.random.default_rng(0)
    blob = np.exp(-(np.linspace(-3, 3, 33) ** 2) / 2)
    blob = 20 * np.outer(blob, blob)
    rows_of_tiles = []
    for number in range(n_tiles):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
        wcs.wcs.crval = 150 + number, 2
        wcs.wcs.crpix = side / 2, side / 2
        wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
        n = n_rows // n_tiles + (number < n_rows % n_tiles)
        x, y = rng.uniform(cutout_size, side - cutout_size, (2, n))
        # More rows than there is room for share their blobs.
        shown = rng.permutation(n)[: side**2 // cutout_size**2]
        for band in BANDS:
            pixels = rng.normal(size=(side, side)).astype(np.float32)
            for i in shown:
                pixels[int(y[i]) - 16 : int(y[i]) + 17, int(x[i]) - 16 : int(x[i]) + 17] += blob
            fits.PrimaryHDU(pixels, wcs.to_header()).writeto(
                folder / f'tile{number:03d}-{band}.fits'
            )
        coords = wcs.pixel_to_world(x, y)
        rows_of_tiles.append(np.stack([coords.ra.deg, coords.dec.deg]))
    order = rng.permutation(n_rows)
    ra, dec = np.concatenate(rows_of_tiles, axis=1)[:, order]
    table = Table({'id': np.arange(n_rows), 'ra': ra, 'dec': dec})
    for name in BANDS:
        table[f'mag_{name}'] = rng.normal(20, 1, n_rows).astype(np.float32)
    table['name'] = np.char.add('galaxy ', table['id'].astype(str))
    write_table(table, folder / 'survey.parquet')
    return folder / 'survey.parquet'


def write_model(folder, path, options, **parameters):
    """Train a classifier on cutouts of the survey, and write it as ONNX."""
    from astro_morph import MorphologyClassifier

    rows = read_table(path)[:200]
    rows['morphology'] = np.resize(['disc', 'spheroid', 'irregular'], len(rows))
    classifier = MorphologyClassifier(
        Mosaics(str(folder / 'tile*-{band}.fits')),
        strategy='linear',
        encoder='random',
        size=options.size,
        random_state=0,
        verbose=0,
        **parameters,
    )
    keywords = {} if options.views is None else {'views': options.views}
    classifier.fit(rows)
    classifier.to_onnx(folder / 'model.onnx', rows, precision=options.precision, **keywords)


def bare_rate(model, images, seconds):
    """Give the images a second of the network alone."""
    n, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        batch = np.take(images, np.arange(n, n + BATCH_SIZE), axis=0, mode='wrap')
        model.run(batch)
        n += len(batch)
    return n / taken


def annotate(folder, path, output):
    """Give the command that annotates the catalogue, on a process of its own."""
    pattern = str(folder / 'tile*-{band}.fits')
    command = [
        '-m',
        'astro_morph',
        'annotate',
        '--model',
        folder / 'model.onnx',
        '--images',
        pattern,
    ]
    return list(map(str, [sys.executable, *command, path, output, '--resume']))


def compare_rates(folder, path, options):
    classifier = OnnxClassifier(folder / 'model.onnx', str(folder / 'tile*-{band}.fits'), verbose=0)
    cutouts = Mosaics(str(folder / 'tile*-{band}.fits')).fetch(
        read_table(path)[:1024], size=options.size
    )
    images = CutoutSet(cutouts.images).images
    bare_rate(classifier.model_, images, 1)  # warm
    before = bare_rate(classifier.model_, images, options.seconds)
    start = time.perf_counter()
    counts = classifier.annotate_file(path, folder / 'annotated.parquet')
    rate = counts.total() / (time.perf_counter() - start)
    after = bare_rate(classifier.model_, images, options.seconds)
    bare = (before + after) / 2
    print(f'{counts.total()} rows, {dict(counts)}')
    print(f'network alone: {before:.0f} and {after:.0f} images a second, before and after')
    reached = 'reached' if rate / bare >= GOAL else 'missed'
    print(f'from file to file: {rate:.0f} rows a second, {rate / bare:.2f} of it')
    print(f'goal: {GOAL}, {reached}')


def columns_of(path):
    """Give the bytes of each column, and of its mask."""
    table = read_table(path)
    return {
        name: (np.asarray(column).tobytes(), np.ma.getmaskarray(np.ma.asarray(column)).tobytes())
        for name, column in table.columns.items()
    }


def kill_and_resume(folder, path, options):
    start = time.perf_counter()
    subprocess.run(annotate(folder, path, folder / 'undisturbed.parquet'), check=True)
    whole = time.perf_counter() - start
    chance = random.Random(0)
    command = annotate(folder, path, folder / 'killed.parquet')
    n_killed = 0
    while n_killed < options.kills:
        process = subprocess.Popen(command)
        try:
            process.wait(chance.uniform(0, whole / 4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            n_killed += 1
            print(
                f'killed {n_killed} times, {len(list(folder.glob("killed*.parts/*.npz")))} parts',
                flush=True,
            )
            continue
        if process.returncode:
            sys.exit('the run that was resumed has failed')
        print('done; once more from the start')
        (folder / 'killed.parquet').unlink()
    subprocess.run(command, check=True)
    is_same = columns_of(folder / 'killed.parquet') == columns_of(folder / 'undisturbed.parquet')
    print(f'killed {n_killed} times; the columns are {"the same" if is_same else "DIFFERENT"}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--rows', type=int, default=20_000)
    parser.add_argument('--tiles', type=int, default=16)
    parser.add_argument('--side', type=int, default=1500, help='side of the tiles in pixels')
    parser.add_argument('--size', type=int, default=64, help='side of the cutouts in pixels')
    parser.add_argument('--precision', default='float32')
    parser.add_argument('--views', type=int)
    parser.add_argument('--seconds', type=float, default=20, help='time of each bare measurement')
    parser.add_argument('--kills', type=int, default=0)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = write_survey(folder, options.rows, options.tiles, options.side, options.size)
        write_model(folder, path, options)
        (kill_and_resume if options.kills else compare_rates)(folder, path, options)


if __name__ == '__main__':
    main()
