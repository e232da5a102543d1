# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
A HATS catalogue annotated on a local Dask cluster: two workers beside one, and one that is killed.

Makes mosaics of a simulated survey, a catalogue of positions near its galaxies and a model in a
temporary folder. The catalogue is annotated by a single process; by one worker; by two; and by two
of which one is killed with SIGKILL in the middle. Each worker has one thread, and a core of its
own. All columns are compared with those of the single process.

With ``--images``, the catalogue has the images in a column, as the Multimodal Universe has them. It
is annotated by a single process, and by two workers, and the memory of each process is drawn.

It runs on Linux only, with at least two cores.

    python -P benchmarks/cluster.py
    python -P benchmarks/cluster.py --images --rows 100000 --picture cluster_memory.png

With ``-P``, coverage.py beside this script does not hide the package of this name from numba.
"""

import argparse
import contextlib
import logging
import os
import re
import signal
import tempfile
import threading
import time
from pathlib import Path

import lsdb
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from dask.distributed import Client, LocalCluster

from astro_morph import CutoutSet, MorphologyClassifier, OnnxClassifier
from astro_morph.cutouts import stream_cutouts
from astro_morph.cutouts.storage import write_batches
from astro_morph.prediction.lsdb import annotate
from astro_morph.simulation import SimulatedSurvey

SIZE = 32
N_LABELS = 100
JITTER = 1 / 3600  # degrees: every position has pixels of its own
ORDER = 10  # partitions of 3.4 arcmin: a worker that is killed loses little
SPEED_GOAL = 1.6

# Convolutions are summed in an order that depends on the size of the batch.
TOLERANCE = 1e-5

# Columns of a catalogue of images that stand for no column of the table.
BESIDE = re.compile('image|cutout_(?!row).*')

SAMPLING = 0.2  # seconds between two samples of the memory


class Memory:
    """Resident memory of processes in MB, sampled over the time of a block."""

    def __init__(self):
        self.curves = {}

    @contextlib.contextmanager
    def watch(self, pids):
        """Sample the memory of processes, by name, until the block ends."""
        is_done, start = threading.Event(), time.perf_counter()
        curves = {name: [] for name in pids}

        def sample():
            while not is_done.wait(SAMPLING):
                for name, pid in pids.items():
                    with contextlib.suppress(OSError, TypeError):
                        text = Path(f'/proc/{pid}/status').read_text()
                        size = int(re.search(r'VmRSS:\s+(\d+) kB', text)[1]) / 1024
                        curves[name].append((time.perf_counter() - start, size))

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_done.set()
            thread.join()
            self.curves |= curves

    def draw(self, path):
        """Draw the curves, and print the largest value of each."""
        figure, axes = plt.subplots(figsize=(7, 4), layout='constrained')
        for name, curve in self.curves.items():
            seconds, sizes = np.transpose(curve)
            print(f'{name}: at most {sizes.max():.0f} MB', flush=True)
            axes.plot(seconds, sizes, label=name)
        axes.set(xlabel='Time (s)', ylabel='Resident memory (MB)', ylim=(0, None))
        axes.legend()
        figure.savefig(path, dpi=150)
        print(f'the memory is drawn in {path}')


def make_catalogue(survey, n_rows):
    """Draw positions near the galaxies of a survey, some of them outside of its images."""
    random = np.random.default_rng(0)
    rows = random.integers(len(survey.catalogue), size=n_rows)
    ra, dec = (survey.catalogue[name].value[rows] for name in ('ra', 'dec'))
    table = Table({'id': np.arange(n_rows), 'ra': ra, 'dec': dec})
    for name in ('ra', 'dec'):
        table[name] += random.uniform(-JITTER, JITTER, n_rows)
    table['dec'][::1000] += 1
    return table


def write_hats(table, folder):
    """Write a table as HATS, and open it as a catalogue."""
    catalog = lsdb.from_astropy(
        table, lowest_order=ORDER, highest_order=ORDER, margin_threshold=None
    )
    catalog.write_catalog(folder, progress_bar=False)
    return lsdb.open_catalog(folder)


def write_images(table, source, folder):
    """Write the cutouts of a table as a HATS catalogue of images, batch by batch."""
    batches = stream_cutouts(table, source=source, size=SIZE, batch_size=256)
    write_batches(batches, folder, table=table, n_rows=len(table))
    return lsdb.open_catalog(folder)


def write_model(survey, path):
    """Write a ResNet-18 of one view, fitted to few galaxies: what it says does not matter here."""
    classifier = MorphologyClassifier(
        survey, size=SIZE, encoder='random', strategy='linear', random_state=0, verbose=0
    )
    labelled = survey.catalogue[:N_LABELS]
    classifier.fit(labelled).to_onnx(path, labelled, views=1)


def annotate_by_workers(catalog, annotation, folder, memory, *, n_workers, is_killed=False):
    """Annotate on a cluster of its own, write the result, and give the seconds it took."""
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        for core, worker in zip(sorted(os.sched_getaffinity(0)), pids, strict=False):
            client.run(os.sched_setaffinity, 0, {core}, workers=[worker])
        # What a worker does once, it does before the time is taken.
        client.run(annotate, catalog, **annotation)
        if is_killed:
            arguments = next(iter(pids.values())), folder, catalog.npartitions // 3
            threading.Thread(target=kill_in_the_middle, args=arguments, daemon=True).start()
        names = {f'worker {i + 1} of {n_workers}': pid for i, pid in enumerate(pids.values())}
        start = time.perf_counter()
        with memory.watch(names):
            annotate(catalog, **annotation).write_catalog(folder, progress_bar=False)
        return time.perf_counter() - start


def kill_in_the_middle(pid, folder, n_done):
    """Kill a process when some partitions are written, each of which LSDB marks by a file."""
    while len(list(folder.glob('**/*_done'))) < n_done:
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    print('  a worker was killed', flush=True)


def largest_difference(folder, expected):
    """Compare all columns of a HATS catalogue with a table; give infinity where one differs."""
    names = lsdb.open_catalog(folder).columns
    names = [name for name in names if not BESIDE.fullmatch(name)]
    catalog = lsdb.open_catalog(folder, columns=names)
    # LSDB reads the positions too.
    frame = catalog.compute(progress_bar=False)[names].sort_values('id')
    if {*frame.columns} != {*expected.colnames} or len(frame) != len(expected):
        found = {*frame.columns} ^ {*expected.colnames}, len(frame), len(expected)
        print(f'  columns that one lacks, rows of both: {found}', flush=True)
        return np.inf
    largest = 0
    for name, column in expected.columns.items():
        mask = np.ma.getmaskarray(column.data)
        came, values = frame[name].to_numpy()[~mask], np.asarray(column)[~mask]
        if (frame[name].isna().to_numpy() != mask).any():
            print(f'  {name} is null in other rows', flush=True)
            return np.inf
        if values.dtype.kind == 'f':
            largest = max(largest, np.abs(came.astype(float) - values).max())
        elif (came != values).any():
            print(f'  {name} differs', flush=True)
            return np.inf
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--rows', type=int, default=200_000)
    parser.add_argument('--galaxies', type=int, default=2000, help='galaxies of the survey')
    parser.add_argument('--images', action='store_true', help='images in the catalogue')
    parser.add_argument('--picture', default='cluster_memory.png', help='with --images')
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        survey = SimulatedSurvey(n_galaxies=options.galaxies)
        survey.write(folder / 'images')
        table = make_catalogue(survey, options.rows)
        write_model(survey, folder / 'morphology.onnx')
        source = f'{folder}/images/sdss-{{band}}.fits'
        annotation = {'model': folder / 'morphology.onnx'}
        if options.images:
            catalog = write_images(table, source, folder / 'catalogue.hats')
            table = CutoutSet.read(folder / 'catalogue.hats')
        else:
            catalog = write_hats(table, folder / 'catalogue')
            annotation['source'] = source
        print(f'{options.rows} rows in {catalog.npartitions} partitions', flush=True)

        memory = Memory()
        start = time.perf_counter()
        with memory.watch({'a single process': os.getpid()}):
            expected = OnnxClassifier(*annotation.values()).annotate(table)
        expected.sort('id')
        seconds = {'a single process': time.perf_counter() - start}
        print(f'a single process: {seconds["a single process"]:.1f} s', flush=True)

        runs = {
            'one worker': {'n_workers': 1},
            'two workers': {'n_workers': 2},
            'two workers, one killed': {'n_workers': 2, 'is_killed': True},
        }
        if options.images:
            runs = {'two workers': runs['two workers']}
        are_same = True
        for name, settings in runs.items():
            result = folder / name
            seconds[name] = annotate_by_workers(catalog, annotation, result, memory, **settings)
            difference = largest_difference(result, expected)
            are_same &= difference <= TOLERANCE
            rate = options.rows / seconds[name]
            print(f'{name}: {seconds[name]:.1f} s, {rate:.0f} rows/s', flush=True)
            print(f'  largest difference from the single process: {difference:.1e}', flush=True)

        if options.images:
            memory.draw(options.picture)
        else:
            ratio = seconds['one worker'] / seconds['two workers']
            reached = 'reached' if ratio >= SPEED_GOAL else 'missed'
            print(f'two workers are {ratio:.2f} times as fast as one; goal {SPEED_GOAL}, {reached}')
        print(f'the same columns each time: {"yes" if are_same else "no"}')


if __name__ == '__main__':
    main()
