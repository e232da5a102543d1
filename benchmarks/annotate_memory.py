# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Memory that the annotation of a file takes, with many rows beside few.

The mosaics, the catalogues and a ResNet-18 of integers with one view are made in a temporary
folder; there is no clean-up, so that a million rows take minutes. Each annotation has a process of
its own, of which the largest resident memory is told.

It runs on Linux only.

    python benchmarks/annotate_memory.py
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from annotate import write_model, write_survey

from astro_morph import OnnxClassifier
from astro_morph.catalog.io.tables import read_table, write_table

SIZE = 32
MODEL = argparse.Namespace(size=SIZE, views=1, precision='int8')
GOAL = 1.1


def annotate(path):
    """Annotate a catalogue, and print the largest resident memory in kB."""
    classifier = OnnxClassifier(
        path.parent / 'model.onnx', str(path.parent / 'tile*-{band}.fits'), verbose=0
    )
    classifier.annotate_file(path, path.with_stem(f'{path.stem}-annotated'))
    # The largest since the start of this program, unlike what getrusage tells.
    print(re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1])


def peak(path):
    """Annotate in a process of its own; give the largest resident memory in MB."""
    command = [sys.executable, __file__, '--annotate', path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--few', type=int, default=10_000)
    parser.add_argument('--many', type=int, default=1_000_000)
    parser.add_argument('--tiles', type=int, default=8)
    parser.add_argument('--side', type=int, default=1000, help='side of the tiles in pixels')
    parser.add_argument(
        '--formats', nargs='+', default=['parquet'], help='fits, h5, ecsv, csv, vot'
    )
    parser.add_argument('--annotate', type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.annotate:
        annotate(options.annotate)
        return
    for file_format in options.formats:
        peaks = []
        for n_rows in (options.few, options.many):
            with tempfile.TemporaryDirectory() as folder:
                path = write_survey(Path(folder), n_rows, options.tiles, options.side, SIZE)
                write_model(Path(folder), path, MODEL, preprocessing=None)
                if file_format != 'parquet':
                    path = path.with_suffix(f'.{file_format}')
                    write_table(read_table(path.with_suffix('.parquet')), path)
                peaks.append(peak(path))
            print(f'{file_format}, {n_rows} rows: {peaks[-1]:.0f} MB', flush=True)
        ratio = peaks[1] / peaks[0]
        reached = 'reached' if ratio <= GOAL else 'missed'
        print(f'{file_format}: {ratio:.2f} of it; goal: at most {GOAL}, {reached}')


if __name__ == '__main__':
    main()
