# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
What the clean-up of cutouts costs, step by step, and how real cutouts look before and after.

The speed is that of simulated SDSS cutouts, 64 x 64 pixels in 3 bands. With a FOLDER, pictures are
drawn of the galaxies of an SDSS field, as ``sdss_frame.py`` finds them, and of the DECaLS cubes
``zd_example_*.fits`` in it.

    python benchmarks/preprocessing.py FOLDER --output pictures
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import FITSFixedWarning
from sdss_frame import make_catalogue, open_frames
from threadpoolctl import threadpool_limits

from astro_morph import CutoutSet, decode_flags, plotting
from astro_morph.cutouts import Mosaics
from astro_morph.photometry import Preprocessor
from astro_morph.photometry.cleaning import CHUNK
from astro_morph.photometry.defects import (
    fill_small_holes,
    find_cosmic_rays,
    find_missing,
    find_saturated,
)
from astro_morph.photometry.segmentation import segment
from astro_morph.photometry.sky import measure_sky
from astro_morph.simulation import SimulatedSurvey

# Galaxies that are cleaned in each measurement, and how often it is repeated.
N_GALAXIES = 1024
REPEATS = 5

# Real galaxies of the SDSS field in one picture.
N_COLUMNS = 8

SETTINGS = {
    'default: sky, defects, detached neighbours': {},
    'no neighbours removed': {'neighbours': None},
    'all neighbours removed, by deblending': {'neighbours': 'all'},
    'default, recentred': {'recentre': 5},
    'default, recentred and turned': {'recentre': 5, 'rotate': True},
    "default, scale='kron'": {'scale': 'kron'},
    "default, scale='petrosian'": {'scale': 'petrosian'},
    'default, bands matched in seeing': {'psf_fwhm': [1.44, 1.32, 1.26]},
}


def best_of(task, repeats=REPEATS):
    """Give the shortest time of some, in seconds of the clock: others may be at work."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def print_steps(images):
    """Print the time that each step takes on one core."""
    images = images[:CHUNK]
    sky = measure_sky(images)
    flat = images - sky.level
    nothing = np.zeros(flat.shape, bool)
    holes = np.random.default_rng(0).random(flat.shape) < 1e-3
    steps = {
        'find missing pixels': lambda: find_missing(images),
        'sky and its noise': lambda: measure_sky(images),
        'find cosmic rays': lambda: find_cosmic_rays(flat, sky.noise),
        'find saturated cores': lambda: find_saturated(images, nothing),
        'fill pixels where there are none to fill': lambda: fill_small_holes(flat, nothing),
        'fill a pixel in a thousand': lambda: fill_small_holes(flat, holes),
        'segments, detached neighbours': lambda: segment(flat, sky.noise, saddle=0.4),
        'segments, deblended': lambda: segment(flat, sky.noise, saddle=0.8),
    }
    print(f'{"step":45s} microseconds a galaxy on one core')
    for name, step in steps.items():
        print(f'{name:45s} {1e6 * best_of(step, 10 * REPEATS) / len(images):8.0f}')


def print_settings(cutouts):
    """Print how fast cutouts are cleaned on all cores."""
    print(f'\n{"settings":45s} galaxies a second on {os.cpu_count()} cores')
    for name, settings in SETTINGS.items():
        preprocessor = Preprocessor(**settings)
        seconds = best_of(lambda preprocessor=preprocessor: preprocessor.transform(cutouts))
        print(f'{name:45s} {len(cutouts) / seconds:8.0f}', flush=True)


def sdss_cutouts(folder):
    """Cut the galaxies out of the field, brightest first, and some on its edge."""
    mosaic = Mosaics(str(folder / 'frame-{band}-*.fits.bz2'), bands='gri')
    return mosaic.fetch(make_catalogue(folder, open_frames(folder)), size=64)


def decals_cutouts(folder):
    """Read the cubes, with a row for each."""
    paths = sorted(folder.glob('zd_example_*.fits'))
    names = [path.stem.removeprefix('zd_example_') for path in paths]
    return names, CutoutSet(np.stack([fits.getdata(path) for path in paths]), bands='grz')


def draw(cutouts, path, preprocessor=None):
    """Write the picture, and print what was found."""
    plotting.preprocessing(cutouts, preprocessor).savefig(path, dpi=150)
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', nargs='?', type=Path, help='SDSS frames and DECaLS cubes')
    parser.add_argument('--output', type=Path, default=Path(), help='where pictures go')
    args = parser.parse_args()
    survey = SimulatedSurvey(n_galaxies=N_GALAXIES)
    cutouts = survey.fetch(survey.catalogue, size=64)
    with threadpool_limits(1):
        print_steps(cutouts.images)
        print_settings(cutouts)
    draw(cutouts[:N_COLUMNS], args.output / 'preprocessing_simulated.png')
    if args.folder is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FITSFixedWarning)
        real = sdss_cutouts(args.folder)
    real = real[real.is_ok]
    draw(real[:N_COLUMNS], args.output / 'preprocessing_sdss.png')
    draw(
        real[N_COLUMNS : 2 * N_COLUMNS],
        args.output / 'preprocessing_sdss_deblended.png',
        Preprocessor(neighbours='all', recentre=4),
    )
    names, cubes = decals_cutouts(args.folder)
    draw(cubes, args.output / 'preprocessing_decals.png')
    flags = decode_flags(Preprocessor().transform(cubes).flags)
    for name, found in zip(names, flags, strict=True):
        print(f'{name}: {", ".join(found) or "no flag"}')


if __name__ == '__main__':
    main()
