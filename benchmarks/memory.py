# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Memory that pretraining takes with a million pictures in a file, beside a thousand in memory.

The file, of 12 GB, is filled with random bytes and deleted at the end. Each training has a process
of its own, of which the largest resident memory is told; pages of a mapped file count. The network
and its activations are the same in both, so that the difference is what the pictures take.

It runs on Linux only.

    python benchmarks/memory.py folder
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from astro_morph import MorphologyEncoder

SHAPE = (3, 64, 64)
CHUNK = 10_000
GOAL = 2


def write(path, n):
    """Write random pictures; of zeros, the system would keep nothing."""
    random = np.random.default_rng(0)
    pictures = np.lib.format.open_memmap(path, 'w+', np.uint8, (n, *SHAPE))
    for start in range(0, n, CHUNK):
        pictures[start : start + CHUNK] = random.integers(
            0, 256, pictures[start : start + CHUNK].shape, np.uint8
        )


def train(path, seconds):
    """Pretrain for some time, and print the largest resident memory in kB."""
    pictures = np.load(path, mmap_mode='r')
    encoder = MorphologyEncoder(epochs=1000, max_time=seconds, random_state=0, verbose=0)
    encoder.fit(pictures)
    # The largest since the start of this program, unlike what getrusage tells.
    print(re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1])


def peak(path, seconds):
    """Pretrain in a process of its own; give the largest resident memory in GB."""
    command = [sys.executable, __file__, path.parent, '--train', path, '--seconds', seconds]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024 / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('folder', type=Path, help='folder with 12 GB of space')
    parser.add_argument('--pictures', type=int, default=1_000_000)
    parser.add_argument('--seconds', type=float, default=60, help='time of each training')
    parser.add_argument('--train', type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.train:
        train(options.train, options.seconds)
        return
    few, many = options.folder / 'few.npy', options.folder / 'many.npy'
    try:
        write(few, 1000)
        write(many, options.pictures)
        network = peak(few, options.seconds)
        print(f'the network, and 1000 pictures: {network:.2f} GB', flush=True)
        extra = peak(many, options.seconds) - network
        reached = 'reached' if extra < GOAL else 'missed'
        size = many.stat().st_size / 1e9
        print(f'{options.pictures} pictures, a file of {size:.1f} GB: {extra:.2f} GB more')
        print(f'goal: less than {GOAL} GB, {reached}')
    finally:
        few.unlink(missing_ok=True)
        many.unlink(missing_ok=True)


if __name__ == '__main__':
    main()
