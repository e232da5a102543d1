# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
How well the sky is measured around galaxies that fill their cutouts.

Simulated galaxies have Sersic profiles, with and without three neighbours, and a sky that is
subtracted already (0) or is not (100 times its noise). Each line is the mean of some galaxies:

- flagged: fraction with the flag uncertain_sky
- bias: level of the sky minus the true one, in units of its noise
- kept: fraction of the light in the cutout that is left when the level is subtracted

bias and kept are given apart for galaxies without the flag and with it.

With a FOLDER that has a table flux.csv (file, survey, bands, height, width) and the FITS files in
flux/, the same for real galaxies. Their images are averaged in blocks, so that they are 3 and 1.5
times as wide as the cutout in their middle; the true sky is the median at the border of the image.
Noise is added, so that galaxies are as bright as the simulated ones, or less if their images are
noisier.

    python benchmarks/sky.py FOLDER --output pictures
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.modeling.models import Sersic2D
from astropy.nddata import block_reduce
from astropy.stats import mad_std, sigma_clipped_stats
from astropy.table import Table
from scipy.ndimage import gaussian_filter

from astro_morph import CutoutSet, plotting
from astro_morph.photometry.sky import measure_sky

SIDE = 64
INDICES = (1, 4)
HALF_LIGHT_RADII = (2, 3, 4, 6, 8, 12, 16, 24, 32, 40)

# Flux in the cutout and levels of the sky, in units of the noise of a pixel. In SDSS images of the
# r band, the fluxes are those of galaxies of about 17.7 and 15.2 mag.
FLUXES = (4000, 40000)
LEVELS = (0, 100)

# Neighbours of each galaxy: their number, and ranges of distance, half-light radius and flux.
N_NEIGHBOURS = 3
DISTANCES = (14, 30)
NEIGHBOUR_RADII = (0.7, 3)
NEIGHBOUR_FLUXES = (300, 3000)

# Standard deviation of the seeing in pixels, and subpixels along the side of a pixel.
SEEING = 1.27
SUBPIXELS = 3

# Images of real galaxies: widths in units of the cutout, smallest side, and fraction of the side
# that is their border.
WIDTHS = (3, 1.5)
SMALLEST = 144
BORDER = 0.05


def draw(random, flux, index, half_light, x=0, y=0):
    """Return the image of a galaxy with a random shape, at a position from the middle."""
    side = SIDE * SUBPIXELS
    rows, columns = (np.mgrid[:side, :side] + 0.5) / SUBPIXELS - SIDE / 2
    shape = random.uniform(0, 0.7), random.uniform(0, np.pi)
    image = Sersic2D.evaluate(columns, rows, 1, half_light, index, x, y, *shape)
    image = image.reshape(SIDE, SUBPIXELS, SIDE, SUBPIXELS).mean(axis=(1, 3))
    image = gaussian_filter(image, SEEING)
    return flux * image / image.sum()


def draw_neighbours(random):
    """Return an image of the neighbours."""
    image = np.zeros((SIDE, SIDE))
    for _ in range(N_NEIGHBOURS):
        distance, angle = random.uniform(*DISTANCES), random.uniform(0, 2 * np.pi)
        flux = np.exp(random.uniform(*np.log(NEIGHBOUR_FLUXES)))
        position = distance * np.cos(angle), distance * np.sin(angle)
        index, radius = random.choice(INDICES), random.uniform(*NEIGHBOUR_RADII)
        image += draw(random, flux, index, radius, *position)
    return image


def simulate(n, flux, index, half_light, has_neighbours):
    """Return n images without sky, and the light of their galaxies, in units of the noise."""
    random = np.random.default_rng(0)
    light = np.array(
        [draw(random, flux, index, half_light, *random.uniform(-1, 1, 2)) for _ in range(n)]
    )
    images = light + random.normal(size=light.shape)
    if has_neighbours:
        images += [draw_neighbours(random) for _ in range(n)]
    return images[:, np.newaxis], light.sum(axis=(1, 2))


def summary(bias, flux):
    """Describe the mean bias of the level of some galaxies, and the light that is kept."""
    if not len(bias):
        return f'{"-":>7s} {"-":>6s}'
    return f'{bias.mean():+7.3f} {1 - bias.mean() * SIDE**2 / flux.mean():6.3f}'


def describe(bias, flux, is_flagged):
    """Describe the errors of galaxies without the flag and of those with it."""
    parts = (summary(bias[rows], flux[rows]) for rows in (~is_flagged, is_flagged))
    return f'{is_flagged.mean():7.2f}  {"   ".join(parts)}'


def print_header(first):
    """Print the names of the columns."""
    print(f'\n{"":{len(first)}s}          without flag     with flag')
    print(f'{first} flagged     bias   kept      bias   kept')


def print_simulated(n):
    """Print the errors of simulated galaxies."""
    for level in LEVELS:
        for flux in FLUXES:
            print(f'\nSimulated galaxies: flux {flux} and sky {level} times the noise', end='')
            print_header(' n  r_e  neighbours')
            for has_neighbours in (False, True):
                for index in INDICES:
                    for half_light in HALF_LIGHT_RADII:
                        images, light = simulate(n, flux, index, half_light, has_neighbours)
                        sky = measure_sky(images + level)
                        bias = sky.level.mean(axis=(1, 2, 3)) - level
                        name = 'yes' if has_neighbours else 'no'
                        errors = describe(bias, light, sky.is_uncertain)
                        print(f'{index:2d} {half_light:4d}  {name:10s} {errors}', flush=True)


def cut(image, width):
    """Return the middle of an image, averaged to a width in units of the cutout, and its sky."""
    block = max(round(min(image.shape) / (width * SIDE)), 1)
    image = block_reduce(image, block, func=np.mean)
    border = max(round(BORDER * min(image.shape)), 2)
    is_border = np.ones(image.shape, bool)
    is_border[border:-border, border:-border] = False
    _, sky, _ = sigma_clipped_stats(image[is_border & np.isfinite(image)])
    noise = mad_std(np.diff(image[is_border & np.isfinite(image)])) / np.sqrt(2)
    top, left = ((n - SIDE) // 2 for n in image.shape)
    return image[top : top + SIDE, left : left + SIDE], sky, noise


def read_galaxies(folder, width, flux):
    """Return names, surveys, cutouts, true skies, noise and fluxes of the real galaxies."""
    random = np.random.default_rng(0)
    table = Table.read(folder / 'flux.csv')
    rows = table[np.minimum(table['height'], table['width']) >= SMALLEST]
    galaxies = []
    for name, survey in rows.iterrows('file', 'survey'):
        with fits.open(folder / 'flux' / name) as units:
            bands = [unit.data for unit in units if unit.data is not None and unit.data.ndim == 2]
        image, sky, own_noise = cut(bands[len(bands) // 2].astype(float), width)
        total = np.nansum(image - sky)
        if image.shape != (SIDE, SIDE) or not total > 0:
            continue
        noise = max(total / flux, own_noise)
        image = image + random.normal(scale=np.sqrt(noise**2 - own_noise**2), size=image.shape)
        galaxies.append((name.split('.')[0], survey.split()[0], image, sky, noise, total))
    return [np.array(column) for column in zip(*galaxies, strict=True)]


def print_real(folder, output):
    """Print the errors of real galaxies, and draw them."""
    for width in WIDTHS:
        for flux in FLUXES:
            names, surveys, images, true_sky, noise, total = read_galaxies(folder, width, flux)
            sky = measure_sky(images[:, np.newaxis])
            bias = (sky.level.mean(axis=(1, 2, 3)) - true_sky) / noise
            title = f'{width} times as wide as the cutout, flux {flux} times the noise'
            print(f'\nReal galaxies in images {title}', end='')
            print_header(f'{"survey":28s} galaxies')
            for survey in np.unique(surveys):
                rows = surveys == survey
                errors = describe(bias[rows], (total / noise)[rows], sky.is_uncertain[rows])
                print(f'{survey:28s} {np.sum(rows):8d} {errors}', flush=True)
            worst = np.argsort(np.where(sky.is_uncertain, 0, -np.abs(bias)))[:3]
            print('largest without flag:', *(f'{names[i]} {bias[i]:+.2f};' for i in worst))
            if output is not None:
                is_legacy = surveys == 'Legacy'
                path = output / f'sky_{width}_{flux}.png'
                cutouts = CutoutSet(images[is_legacy, np.newaxis], bands='g')
                plotting.preprocessing(cutouts).savefig(path, dpi=100)
                print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', nargs='?', type=Path, help='images of large galaxies')
    parser.add_argument('--galaxies', type=int, default=40, help='simulated ones of each kind')
    parser.add_argument('--output', type=Path, help='where pictures of real galaxies go')
    args = parser.parse_args()
    print_simulated(args.galaxies)
    if args.folder is not None:
        print_real(args.folder, args.output)


if __name__ == '__main__':
    main()
