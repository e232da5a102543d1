# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
A HATS catalogue annotated on a local Dask cluster: two workers beside one, and one that is killed.

Makes mosaics of a simulated survey, a catalogue of positions near its galaxies and a model in a
temporary folder. The catalogue is annotated by a single process; by one worker; by two; and by two
of which one is killed with SIGKILL in the middle. Each worker has one thread, and a core of its
own. All columns are compared with those of the single process.

It runs on Linux only, with at least two cores.

    python benchmarks/cluster.py
"""

import argparse
import logging
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import lsdb
import numpy as np
from astropy.table import Table
from dask.distributed import Client, LocalCluster

from astro_morph import MorphologyClassifier, OnnxClassifier
from astro_morph.prediction.lsdb import annotate
from astro_morph.simulation import SimulatedSurvey

SIZE = 32
N_LABELS = 100
JITTER = 1 / 3600  # degrees: every position has pixels of its own
ORDER = 10  # partitions of 3.4 arcmin: a worker that is killed loses little
SPEED_GOAL = 1.6

# Convolutions are summed in an order that depends on the size of the batch.
TOLERANCE = 1e-5


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


def write_model(survey, path):
    """Write a ResNet-18 of one view, fitted to few galaxies: what it says does not matter here."""
    classifier = MorphologyClassifier(
        survey, size=SIZE, encoder='random', strategy='linear', random_state=0, verbose=0
    )
    labelled = survey.catalogue[:N_LABELS]
    classifier.fit(labelled).to_onnx(path, labelled, views=1)


def annotate_by_workers(catalog, annotation, folder, *, n_workers, is_killed=False):
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
        start = time.perf_counter()
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
    frame = lsdb.open_catalog(folder).compute(progress_bar=False).sort_values('id')
    if frame.columns.tolist() != expected.colnames or len(frame) != len(expected):
        return np.inf
    largest = 0
    for name, column in expected.columns.items():
        mask = np.ma.getmaskarray(column.data)
        came, values = frame[name].to_numpy()[~mask], np.asarray(column)[~mask]
        if (frame[name].isna() != mask).any():
            return np.inf
        if values.dtype.kind == 'f':
            largest = max(largest, np.abs(came.astype(float) - values).max())
        elif (came != values).any():
            return np.inf
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--rows', type=int, default=200_000)
    parser.add_argument('--galaxies', type=int, default=2000, help='galaxies of the survey')
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        survey = SimulatedSurvey(n_galaxies=options.galaxies)
        survey.write(folder / 'images')
        table = make_catalogue(survey, options.rows)
        catalog = write_hats(table, folder / 'catalogue')
        write_model(survey, folder / 'morphology.onnx')
        annotation = {
            'model': folder / 'morphology.onnx',
            'source': f'{folder}/images/sdss-{{band}}.fits',
        }
        print(f'{options.rows} rows in {catalog.npartitions} partitions', flush=True)

        start = time.perf_counter()
        expected = OnnxClassifier(*annotation.values()).annotate(table)
        seconds = {'a single process': time.perf_counter() - start}
        print(f'a single process: {seconds["a single process"]:.1f} s', flush=True)

        are_same = True
        for name, settings in {
            'one worker': {'n_workers': 1},
            'two workers': {'n_workers': 2},
            'two workers, one killed': {'n_workers': 2, 'is_killed': True},
        }.items():
            result = folder / name
            seconds[name] = annotate_by_workers(catalog, annotation, result, **settings)
            difference = largest_difference(result, expected)
            are_same &= difference <= TOLERANCE
            rate = options.rows / seconds[name]
            print(f'{name}: {seconds[name]:.1f} s, {rate:.0f} rows/s', flush=True)
            print(f'  largest difference from the single process: {difference:.1e}', flush=True)

        ratio = seconds['one worker'] / seconds['two workers']
        reached = 'reached' if ratio >= SPEED_GOAL else 'missed'
        print(f'two workers are {ratio:.2f} times as fast as one; goal {SPEED_GOAL}, {reached}')
        print(f'the same columns each time: {"yes" if are_same else "no"}')


if __name__ == '__main__':
    main()
