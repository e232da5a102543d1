# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Whether flux that is drawn looks like the pictures that models of SDSS have learnt from.

Galaxies and blank places of an SDSS frame are framed and drawn as pictures, and compared with those
of kaggle4.csv: level and noise of the sky, how much of the noise three colours have in common, and
the median brightness and colours of galaxies along the radius. The galaxies of the frame are the
fainter ones. The sheet has those of the frame in its first row, those of the table below.

    python benchmarks/look.py GALAXIES FRAME [--sheet look.png]
"""

import argparse
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.wcs import FITSFixedWarning
from novelty import FRAMING, SIZE, as_set, odd_pictures, read

from astro_morph import plotting

# Pixels of a corner; and of two pixels so far apart, interpolation does not make the noise alike.
CORNER = 10
APART = 5

# Of pictures with brighter corners, these are not all sky.
DARK = 8

# In units of the Petrosian radius, which is at SIZE / 3.28 pixels.
RADII = np.array([0, 0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5])

N_COLUMNS = 12


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('galaxies', type=Path, help='folder of kaggle4.csv')
    parser.add_argument('frame', type=Path, help='folder of an SDSS frame')
    parser.add_argument('--sheet', help='file of a sheet of both')
    options = parser.parse_args()
    warnings.simplefilter('ignore', FITSFixedWarning)

    _, cutouts = read(options.galaxies, 'kaggle4.csv')
    learnt = cutouts.images.astype(float)
    odd = odd_pictures(options.frame, np.random.default_rng(0))
    drawn, blank = odd['faint galaxy'], odd['blank sky']

    print('sky: mean level, noise and least correlation of the noise of two colours')
    for name, pictures in (('learnt', learnt), ('drawn', blank)):
        level, noise, correlation = measure_sky(pictures)
        print(f'  {name:8} {level.round(1)} {noise.round(1)} {correlation:.2f}')
    print(f'galaxies: median green, red / green and blue / green at {RADII[1:]} radii')
    for name, pictures in (('learnt', learnt), ('drawn', drawn)):
        red, green, blue = measure_profile(pictures)
        print(f'  {name:8} {green.round()}')
        for ratio in (red / green, blue / green):
            print(f'  {"":8} {ratio.round(2)}')
    if options.sheet:
        draw_sheet(drawn, learnt, options.sheet)


def measure_sky(pictures):
    """Measure mean, noise and least correlation in the corners of those that are dark there."""
    ends = slice(None, CORNER), slice(-CORNER, None)
    corners = np.concatenate([pictures[:, :, y, x] for y in ends for x in ends], axis=2)
    is_dark = np.median(corners, axis=(2, 3)).max(axis=1) < DARK
    values = corners[is_dark].transpose(1, 0, 2, 3)
    differences = (values[..., APART:] - values[..., :-APART]).reshape(3, -1)
    noise = 1.4826 * np.median(np.abs(differences), axis=1) / np.sqrt(2)
    return values.mean(axis=(1, 2, 3)), noise, np.corrcoef(differences).min()


def measure_profile(pictures):
    """Measure the median of the galaxies in rings, of shape (colour, ring)."""
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    radius = np.hypot(x, y) / SIZE * float(FRAMING.split()[0])
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(RADII)]
    brightness = [pictures[:, :, ring].mean(axis=2) for ring in rings]
    return np.median(brightness, axis=1).T


def draw_sheet(drawn, learnt, path):
    step = len(learnt) // (2 * N_COLUMNS)
    sheet = np.concatenate([drawn[:N_COLUMNS], learnt[step // 2 :: step][: 2 * N_COLUMNS]])
    titles = ['frame'] * len(drawn[:N_COLUMNS]) + ['table'] * (2 * N_COLUMNS)
    plotting.cutouts(as_set(sheet), titles=titles, n_columns=N_COLUMNS).savefig(path)


if __name__ == '__main__':
    main()
