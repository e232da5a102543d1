# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Cutouts a second: `Mosaics` beside the loop over `Cutout2D` that one would write by hand.

Makes a mosaic of four bands in a temporary folder and cuts the same sources both ways: on the
images' own pixels, and resampled to another pixel scale. Where `reproject` is installed it is timed
as well; it gives the same pixels as the loop with `map_coordinates`.

    python benchmarks/cutouts.py
"""

import argparse
import tempfile
import time
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates

from astro_morph.cutouts import Mosaics

BANDS = 'griz'
SIZE = 64
NATIVE_SCALE = 0.396 * u.arcsec
OTHER_SCALE = 0.3 * u.arcsec


def make_wcs(centre, scale, shape):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = centre.ra.deg, centre.dec.deg
    wcs.wcs.cdelt = np.array([-1, 1]) * scale.to_value(u.deg)
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2
    return wcs


def write_mosaic(folder, side, rng):
    """Write one image a band: noise smoothed to the width of a star."""
    wcs = make_wcs(SkyCoord(150, 30, unit='deg'), NATIVE_SCALE, (side, side))
    sigma = 1.3 / 2.355 / NATIVE_SCALE.value
    frequency = np.fft.fftfreq(side)[:, np.newaxis], np.fft.rfftfreq(side)
    transfer = np.exp(-2 * (np.pi * sigma) ** 2 * (frequency[0] ** 2 + frequency[1] ** 2))
    for band in BANDS:
        noise = rng.normal(size=(side, side)).astype(np.float32)
        image = np.fft.irfft2(np.fft.rfft2(noise) * transfer, noise.shape).astype(np.float32)
        fits.PrimaryHDU(image, wcs.to_header()).writeto(folder / f'mosaic-{band}.fits')
    return wcs


def cut_by_hand(images, wcs, coords):
    """Cut as the documentation of Astropy shows."""
    cutouts = np.empty((len(coords), len(images), SIZE, SIZE), np.float32)
    for i, coord in enumerate(coords):
        for j, image in enumerate(images):
            cutout = Cutout2D(image, coord, SIZE, wcs=wcs, mode='partial', fill_value=np.nan)
            cutouts[i, j] = cutout.data
    return cutouts


def resample_by_hand(images, wcs, coords):
    """Cut, and interpolate where each new pixel lies by both WCS, as `reproject` does."""
    cutouts = np.empty((len(coords), len(images), SIZE, SIZE), np.float32)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    for i, coord in enumerate(coords):
        new_wcs = make_wcs(coord, OTHER_SCALE, (SIZE, SIZE))
        for j, image in enumerate(images):
            cutout = Cutout2D(image, coord, SIZE, wcs=wcs, mode='partial', fill_value=np.nan)
            xy = cutout.wcs.world_to_pixel_values(*new_wcs.pixel_to_world_values(x, y))
            cutouts[i, j] = map_coordinates(cutout.data, xy[::-1], order=3, cval=np.nan)
    return cutouts * (OTHER_SCALE / NATIVE_SCALE).value ** 2


def resample_by_reproject(images, wcs, coords):
    from reproject import reproject_interp

    cutouts = np.empty((len(coords), len(images), SIZE, SIZE), np.float32)
    for i, coord in enumerate(coords):
        new_wcs = make_wcs(coord, OTHER_SCALE, (SIZE, SIZE))
        for j, image in enumerate(images):
            cutout = Cutout2D(image, coord, SIZE, wcs=wcs, mode='partial', fill_value=np.nan)
            cutouts[i, j] = reproject_interp(
                (cutout.data, cutout.wcs),
                new_wcs,
                shape_out=(SIZE, SIZE),
                order='bicubic',
                return_footprint=False,
            )
    return cutouts * (OTHER_SCALE / NATIVE_SCALE).value ** 2


def time_in_turn(ways, repeats):
    """Run each way on its positions, in turn; return cutouts a second at best, and the results."""
    best, results = {}, {}
    for way, coords in ways.values():
        way(coords[:50])
    for repeat in range(repeats):
        names = list(ways)[:: (-1) ** repeat]
        for name in names:
            way, coords = ways[name]
            start = time.perf_counter()
            results[name] = way(coords)
            rate = len(coords) * len(BANDS) / (time.perf_counter() - start)
            best[name] = max(best.get(name, 0), rate)
    return best, results


def report(title, rates, results):
    ours, *others = rates
    print(f'\n{title}')
    for name, rate in rates.items():
        print(f'  {name:32s} {rate:10.0f} cutouts/s')
    for name in others:
        n = len(results[name])
        difference = np.nanmax(np.abs(results[ours][:n] - results[name]))
        spread = np.nanstd(results[name])
        print(
            f'  {ours} / {name}: {rates[ours] / rates[name]:.1f} times as fast, '
            f'largest difference {difference / spread:.1e} of the spread of the pixels'
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--side', type=int, default=6000, help='pixels along the mosaic')
    parser.add_argument('--sources', type=int, default=5000)
    parser.add_argument('--by-hand', type=int, default=300, help='sources for the loops')
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(0)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        wcs = write_mosaic(folder, args.side, rng)
        coords = wcs.pixel_to_world(*rng.uniform(0, args.side - 1, (2, args.sources)))
        few = coords[: args.by_hand]
        images = [fits.getdata(folder / f'mosaic-{band}.fits') for band in BANDS]
        pattern = str(folder / 'mosaic-{band}.fits')
        print(f'{len(BANDS)} bands of {args.side} x {args.side} pixels, {args.sources} sources')

        native = Mosaics(pattern, bands=BANDS)
        ways = {
            'Mosaics': (lambda c: native.fetch(c, size=SIZE).images, coords),
            'Cutout2D': (lambda c: cut_by_hand(images, wcs, c), few),
        }
        report('On the own pixels', *time_in_turn(ways, args.repeats))

        other = Mosaics(pattern, bands=BANDS, pixel_scale=OTHER_SCALE)
        ways = {
            'Mosaics': (lambda c: other.fetch(c, size=SIZE).images, coords),
            'Cutout2D + map_coordinates': (lambda c: resample_by_hand(images, wcs, c), few),
        }
        try:
            import reproject  # noqa: F401
        except ImportError:
            print('\nreproject is not installed: its way is not timed')
        else:
            ways['Cutout2D + reproject_interp'] = (
                lambda c: resample_by_reproject(images, wcs, c),
                few,
            )
        report(
            f'Resampled from {NATIVE_SCALE} to {OTHER_SCALE} pixels',
            *time_in_turn(ways, args.repeats),
        )


if __name__ == '__main__':
    main()
