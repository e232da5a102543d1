# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
What it takes to annotate a billion galaxies: bytes, requests, core-hours and money.

At the density of a billion galaxies in one of these surveys, their cutouts cover about as much sky
as the survey has, so that all of its images are read, once. They are read in blocks, as
`astro_morph.cutouts.Mosaics` reads files in object storage. How fast a core annotates is measured
by ``benchmarks/inference.py`` and ``benchmarks/annotate.py``, in rows a second on one core; give
each rate a name:

    python benchmarks/billion.py --rate 'float32, 8 views=50' --rate 'int8, 1 view=900'

The prices are assumptions of November 2026, in US dollars, and so are the areas of surveys that
are not finished. Pixels are counted as 4 bytes; tile-compressed images take less.
"""

import argparse
from typing import NamedTuple

BLOCK = 2**20  # bytes that are asked for at once, as in astro_morph.images.remote.urls
BYTES_PER_PIXEL = 4


class Survey(NamedTuple):
    """Area in square degrees, pixel scale in arcsec, and the bands that a model takes."""

    name: str
    area: float
    pixel_scale: float
    bands: str

    @property
    def n_pixels(self):
        return self.area * (3600 / self.pixel_scale) ** 2 * len(self.bands.split())


SURVEYS = [
    Survey('Legacy Surveys', 20_000, 0.262, 'g r z'),
    Survey('Rubin', 18_000, 0.2, 'g r i'),
    Survey('Euclid', 14_000, 0.1, 'VIS'),
]


def print_table(rows):
    """Print rows of text below each other, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print(first.ljust(widths[0]), *cells, sep='   ')


def describe_images(options):
    """Say what it takes to read the images of each survey."""
    yield (
        'images of',
        'bands',
        'cutouts / sky',
        'TB',
        'million requests',
        'USD for requests',
        'USD to leave the cloud',
    )
    for survey in SURVEYS:
        size = survey.n_pixels * BYTES_PER_PIXEL
        n_requests = size / BLOCK
        pixels_cut = options.galaxies * options.side**2 * len(survey.bands.split())
        yield (
            survey.name,
            survey.bands,
            f'{pixels_cut / survey.n_pixels:.1f}',
            f'{size / 1e12:.0f}',
            f'{n_requests / 1e6:.0f}',
            f'{n_requests / 1000 * options.usd_per_thousand_requests:.0f}',
            f'{size / 1e9 * options.usd_per_gigabyte:.0f}',
        )


def describe_computing(options):
    """Say what the computing takes at each rate."""
    yield 'model', 'rows/s a core', 'core-hours', f'days on {options.cores} cores', 'USD'
    for name, rate in options.rate:
        hours = options.galaxies / rate / 3600
        yield (
            name,
            f'{rate:g}',
            f'{hours:.0f}',
            f'{hours / options.cores / 24:.1f}',
            f'{hours * options.usd_per_core_hour:.0f}',
        )


def named_rate(text):
    name, _, rate = text.rpartition('=')
    return name, float(rate)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument(
        '--rate',
        type=named_rate,
        action='append',
        required=True,
        metavar='NAME=ROWS',
        help='a model, and how many rows a second one core annotates with it',
    )
    parser.add_argument('--galaxies', type=float, default=1e9)
    parser.add_argument('--side', type=int, default=64, help='pixels along a cutout')
    parser.add_argument('--cores', type=int, default=1000)
    parser.add_argument('--usd-per-core-hour', type=float, default=0.04)
    parser.add_argument('--usd-per-thousand-requests', type=float, default=0.0004)
    parser.add_argument('--usd-per-gigabyte', type=float, default=0.09, help='out of the cloud')
    options = parser.parse_args()

    print_table(list(describe_images(options)))
    print()
    print_table(list(describe_computing(options)))


if __name__ == '__main__':
    main()
