# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Seconds from nothing to the first prediction of the bundled classifier, and those of bare imports.

Each is measured in interpreters of its own, by turns, after a first that fills the disk's cache.
The pictures are noise, which takes as long as galaxies do.

    python benchmarks/first_prediction.py
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

N_PICTURES = 8

IMPORTS = 'import astropy.coordinates, astropy.table, sklearn.base, torch, torchvision'

PREDICTION = """
from astropy.table import Table
from astro_morph import MorphologyClassifier
classifier = MorphologyClassifier.from_pretrained('sdss-4class')
classifier.predict(Table({'image': [f'%s/{number}.png' for number in range(%d)]}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--repetitions', type=int, default=5)
    options = parser.parse_args()

    with TemporaryDirectory() as folder:
        draw_noise(Path(folder))
        programs = {
            'bare imports': IMPORTS,
            f'predictions of {N_PICTURES} pictures': PREDICTION % (folder, N_PICTURES),
        }
        rounds = [[run(p) for p in programs.values()] for _ in range(1 + options.repetitions)]
    medians = np.median(rounds[1:], axis=0)
    for name, seconds in zip(programs, medians, strict=True):
        print(f'{name:26}  {seconds:.2f} s')
    print(f'{"ratio":26}  {medians[1] / medians[0]:.2f}')


def draw_noise(folder):
    noise = np.random.default_rng(0)
    for number in range(N_PICTURES):
        pixels = noise.integers(256, size=(128, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')


def run(program):
    """Give the seconds from the start of an interpreter to the end of its program, not its exit."""
    command = [sys.executable, '-c', f'{program}\nimport time\nprint(time.time())']
    start = time.time()
    return float(subprocess.run(command, check=True, capture_output=True).stdout) - start


if __name__ == '__main__':
    main()
