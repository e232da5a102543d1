# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Kill runs of `annotate_file` at random moments, and start two at once.

A killed run is continued, or followed by one with another model or source. Each run must end in a
file that equals that of an undisturbed run, or be refused and change nothing. Half of the kills
come at a random operation on a file, half of these in the last operations, which tidy up; the
others come after a random time. Runs are forked from one process, on Linux or macOS.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from astro_morph.catalog.io.tables import read_table
from astro_morph.cutouts import CutoutSet, CutoutSource
from astro_morph.models.spec import ModelSpec
from astro_morph.prediction import streaming
from astro_morph.prediction.streaming import annotate_file

__all__ = ['main']

N_ROWS = 60
WINDOW, PART = 25, 6

# The kinds of operations on files at which a run is killed, as Python's audit events name them.
OPERATIONS = {'open', 'os.link', 'os.mkdir', 'os.remove', 'os.rename', 'os.rmdir'}
REFUSALS = BlockingIOError, FileExistsError, ValueError
REFUSED = 10

# Of these, a run that completes has so many: it writes the table, gives it its name, and tidies up.
LAST_OPERATIONS = 25

SUFFIXES = ['.csv', '.fits', '.ecsv']


class Model:
    """A model of no network, whose answer depends on a number."""

    n_features = 1

    def __init__(self, sign):
        self.sign = sign
        name = f'model {sign}'
        self.spec = ModelSpec(('bright', 'faint'), ('g',), 8, identifier=name, version='1')

    def run(self, samples):
        time.sleep(0.002)
        mean = self.sign * samples.mean(axis=(1, 2, 3))
        return np.stack([mean, -mean], axis=1), mean[:, np.newaxis], 1 / (1 + np.exp(mean))


class Rows(CutoutSource):
    """Images that hold the numbers of their rows, times a gain."""

    def __init__(self, gain):
        self._gain = gain

    def fetch(self, X, *, size=None):
        pixels = self._gain * np.reshape(X['id'], (-1, 1, 1, 1)) / N_ROWS
        return CutoutSet(np.broadcast_to(pixels, (len(X), 1, 8, 8)), bands='g', table=X)


class Run(NamedTuple):
    """What identifies a run."""

    sign: int
    gain: int

    def annotate(self, folder, output, **options):
        """Annotate the catalogue in a folder."""
        model, source = Model(self.sign), Rows(self.gain)
        annotate_file(model, folder / 'in.csv', output, source=source, verbose=False, **options)


RUNS = [Run(*numbers) for numbers in itertools.product((1, -1), (1, 2))]


class Laboratory:
    """
    Start runs in processes of their own, and compare what they write with undisturbed runs.

    Parameters
    ----------
    folder : `~pathlib.Path`
        An empty folder.
    seed : int
        Seed of the random moments.
    """

    def __init__(self, folder, seed):
        self._folder = folder
        self._random = random.Random(seed)
        self._fork = multiprocessing.get_context('fork')
        self._numbers = itertools.count()
        self.outcomes, self.faults = Counter(), []
        Table({'id': np.arange(N_ROWS)}).write(folder / 'in.csv')
        start = time.perf_counter()
        self._expected = {
            (run, suffix): self._undisturbed(run, suffix) for run in RUNS for suffix in SUFFIXES
        }
        self._seconds = (time.perf_counter() - start) / len(self._expected)
        for suffix in SUFFIXES:
            contents = [self._expected[run, suffix] for run in RUNS]
            assert all(one != other for one, other in itertools.combinations(contents, 2))

    def kill(self, n):
        """Kill that many runs at least, and let others come after them."""
        while self.outcomes['killed'] < n:
            run, output = self._random.choice(RUNS), self._new_output()
            options = {'overwrite': self._may_replace(output)}
            for _ in range(self._random.randint(1, 3)):
                self._kill(run, output, **options)
                options['resume'] = True
            # Perhaps other runs come, then the same again.
            for later in [*self._random.sample(RUNS, self._random.randint(0, 2)), run]:
                self._let_run([later], output, overwrite=self._random.random() < 0.5)

    def pair(self, n):
        """Start two runs at once, that many times."""
        for _ in range(n):
            output = self._new_output()
            overwrite = self._may_replace(output)
            self._let_run(self._random.choices(RUNS, k=2), output, overwrite=overwrite)

    def _new_output(self):
        folder = self._folder / f'{next(self._numbers)}'
        folder.mkdir()
        return folder / f'out{self._random.choice(SUFFIXES)}'

    def _may_replace(self, output):
        """Write an older file, which the run may then replace, in one case of three."""
        is_there = self._random.random() < 1 / 3
        if is_there:
            self._random.choice(RUNS).annotate(self._folder, output)
        return is_there

    def _undisturbed(self, run, suffix):
        """Return what an undisturbed run writes, and count its operations on files."""
        output = self._new_output().with_suffix(suffix)
        counter = self._fork.Value('i', 0)
        self._start(run, output, counter=counter).join()
        self._n_operations = counter.value
        return _read(output)

    def _start(self, run, output, *, counter=None, kill_at=None, **options):
        arguments = run, output, counter, kill_at, options
        process = self._fork.Process(target=self._work, args=arguments)
        process.start()
        return process

    def _work(self, run, output, counter, kill_at, options):
        """Work in a process of its own, and end it with an exit code."""
        killer = _Killer(kill_at)
        sys.addaudithook(killer)
        try:
            run.annotate(self._folder, output, **options)
        except REFUSALS:
            os._exit(REFUSED)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        if counter is not None:
            counter.value = killer.n_operations
        os._exit(0)

    def _kill(self, run, output, **options):
        """Start a run, and kill it at a random operation or moment, unless it ends before."""
        before = _read(output)
        is_timed = self._random.random() < 0.5
        first = self._random.choice([1, self._n_operations - LAST_OPERATIONS])
        kill_at = None if is_timed else self._random.randint(first, self._n_operations)
        process = self._start(run, output, kill_at=kill_at, **options)
        if is_timed:
            time.sleep(self._random.uniform(0, self._seconds))
            process.kill()
        process.join()
        was_killed = process.exitcode == -signal.SIGKILL
        self.outcomes['killed' if was_killed else 'ended before that'] += 1
        if _read(output) not in (before, self._expected[run, output.suffix]):
            self._report('the file is neither the old nor the new one', [run], output)

    def _let_run(self, runs, output, *, overwrite):
        """Let runs end that start nearly at once, and check what the file then is."""
        before, processes = _read(output), []
        for run in runs:
            resume = self._random.random() < 0.5
            processes.append(self._start(run, output, overwrite=overwrite, resume=resume))
            time.sleep(self._random.choice([0, self._random.uniform(0, self._seconds)]))
        for process in processes:
            process.join()
        codes = [process.exitcode for process in processes]
        for code in codes:
            self.outcomes[{0: 'complete', REFUSED: 'refused'}.get(code, 'failed')] += 1
        complete = [run for run, code in zip(runs, codes, strict=True) if code == 0]
        expected = [self._expected[run, output.suffix] for run in complete] or [before]
        if not set(codes) <= {0, REFUSED}:
            self._report(f'exit codes {codes}', runs, output)
        elif _read(output) not in expected:
            self._report('the file is not that of an undisturbed run', runs, output)
        elif complete and os.listdir(output.parent) != [output.name]:
            self._report(f'left behind: {os.listdir(output.parent)}', runs, output)

    def _report(self, fault, runs, output):
        self.faults.append(f'{output.parent.name}/{output.name}: {fault}; {runs}')


class _Killer:
    """An audit hook that kills this process as it is about to change a file."""

    def __init__(self, kill_at):
        self.n_operations = 0
        self._kill_at = kill_at

    def __call__(self, event, arguments):
        if event not in OPERATIONS or (event == 'open' and not _writes(*arguments)):
            return
        self.n_operations += 1
        if self.n_operations == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _writes(path, mode, flags):
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def _read(output):
    """Return the columns of a file and the model that it names; None if there is no file."""
    if not output.exists():
        return None
    table = read_table(output)
    columns = {name: np.ma.filled(column, 0).tolist() for name, column in table.columns.items()}
    return table.meta.get('MORPHMOD'), columns


def main(arguments=None):
    """
    Run the experiments, and print what came of them.

    Parameters
    ----------
    arguments : list of str, default=None
        The arguments; those of the command line if None.

    Returns
    -------
    code : int
        1 if any file was wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--pairs', type=int, default=20)
    parser.add_argument('--seed', type=int, default=random.randrange(10**6))
    arguments = parser.parse_args(arguments)
    print(f'seed {arguments.seed}', flush=True)
    streaming.WINDOW, streaming.PART = WINDOW, PART
    warnings.simplefilter('ignore', DeprecationWarning)  # of forks
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        laboratory = Laboratory(folder, arguments.seed)
        start = time.perf_counter()
        laboratory.kill(arguments.kills)
        laboratory.pair(arguments.pairs)
        print(f'{arguments.kills} kills and {arguments.pairs} pairs:', end=' ')
        print(', '.join(f'{n} {what}' for what, n in laboratory.outcomes.items()), end='; ')
        print(f'{time.perf_counter() - start:.0f} s')
        print(*laboratory.faults, f'{len(laboratory.faults)} wrong', sep='\n')
    return int(bool(laboratory.faults))


if __name__ == '__main__':
    sys.exit(main())
