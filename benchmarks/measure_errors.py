# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compare the errors of measures with their scatter, in images of one galaxy that differ in noise.

The galaxy has an exponential profile with an axis ratio of 0.7, no seeing, and a sky without level.
Each line is a measure: the standard deviation of its values, and the root mean square of its
errors.

    python benchmarks/measure_errors.py
"""

import argparse

import numpy as np

from astro_morph import CutoutSet
from astro_morph.photometry import measure

SIDE = 64

# Scale length in pixels, and axis ratio.
SCALE, AXIS_RATIO = 4.5, 0.7

# Measures whose values at both ends of their range are the same, or that need a WCS or zero point.
LEFT_OUT = ('orientation', 'orientation_image', 'segment_mag')


def main():
    """Measure the galaxy, and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--images', type=int, default=40, help='number of images')
    parser.add_argument('--draws', type=int, default=8, help='draws of noise for each image')
    parser.add_argument('--peak', type=float, default=200, help='of the galaxy, in units of noise')
    arguments = parser.parse_args()
    images = draw_images(arguments.images, arguments.peak)
    cutouts = CutoutSet(images, bands='r', variance=np.ones_like(images))
    measures = measure(cutouts, n_draws=arguments.draws)
    print(f'{"Measure":<20} {"Scatter":>9} {"Error":>9}')
    for name in measures.colnames:
        if f'{name}_err' in measures.colnames and name not in LEFT_OUT:
            columns = measures[name], measures[f'{name}_err']
            values, errors = (np.asarray(column.filled(np.nan)) for column in columns)
            scatter, error = np.nanstd(values), np.sqrt(np.nanmean(errors**2))
            print(f'{name:<20} {scatter:9.2g} {error:9.2g}')


def draw_images(n, peak):
    """Return images of one galaxy, of shape (n, 1, y, x), with a noise of 1."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    galaxy = peak * np.exp(-np.hypot(x, y / AXIS_RATIO) / SCALE)
    noise = np.random.default_rng(0).normal(size=(n, 1, SIDE, SIDE))
    return (galaxy + noise).astype(np.float32)


if __name__ == '__main__':
    main()
