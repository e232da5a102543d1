# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
All galaxies of one SDSS field: find them, cut them out of five frames, check, annotate, draw.

The folder holds the frames of field 2820-3-122 in five bands, ``frame-[ugriz]-*.fits.bz2``, as SDSS
publishes them, and the Galaxy Zoo 2 galaxies among them, ``gz2_table5_in_frame_*.csv``. The
classifier learns from simulated galaxies, seen as SDSS sees them: no label of a real one is used.

    python benchmarks/sdss_frame.py FOLDER --output sheet.png
"""

import argparse
import time
import warnings
from collections import Counter
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.convolution import convolve
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.stats import sigma_clipped_stats
from astropy.table import QTable, Table, vstack
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_area
from matplotlib.figure import Figure
from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel
from scipy.ndimage import map_coordinates

from astro_morph import MorphologyClassifier, decode_flags
from astro_morph.cutouts import Mosaics, as_pictures
from astro_morph.simulation import SimulatedSurvey

# The r band first: its pixels are the grid of all cutouts, as it is the deepest.
BANDS = 'rugiz'
SIZE = 64

# Brighter stars are saturated, and as wide as galaxies.
BRIGHTEST = 15 * u.ABmag

# Half-light radii of fainter sources are too noisy to tell a galaxy from a star: at this ratio of
# flux to noise, they scatter by about a tenth.
LEAST_SNR = 20

# Stars of one field differ by a few per cent in half-light radius.
LEAST_EXTENT = 1.2

EDGE = 8

# Simulated galaxies to learn from.
N_SIMULATED = 800


def open_frames(folder):
    """Read the image and the WCS of each band, for the checks."""
    frames = {}
    for band in BANDS:
        (path,) = Path(folder).glob(f'frame-{band}-*.fits.bz2')
        with fits.open(path) as hdus:
            frames[band] = hdus[0].data.astype(np.float32), WCS(hdus[0].header)
    return frames


def find_sources(image, wcs):
    """Find the sources of a frame, galaxies and stars, brightest first."""
    _, sky, noise = sigma_clipped_stats(image)
    smooth = convolve(image - sky, make_2dgaussian_kernel(3, size=7))
    segments = SourceFinder(10, progress_bar=False)(smooth, 1.5 * noise)
    error = np.full(image.shape, noise)
    sources = SourceCatalog(image - sky, segments, convolved_data=smooth, error=error, wcs=wcs)
    table = QTable(
        {
            'coord': sources.sky_centroid_icrs,
            'magnitude': (22.5 - 2.5 * np.log10(sources.kron_flux)) * u.ABmag,
            'radius': u.Quantity(sources.flux_radius(0.5), u.pix),
            'snr': sources.kron_flux / sources.kron_flux_err,
        }
    )
    table.sort('magnitude')
    return table


def find_galaxies(image, wcs):
    """
    Find the extended sources of a frame.

    Extended means a half-light radius 1.2 times that of the stars, which are a narrow locus: of
    the sources with a flux of 100 times its noise, the first quartile of the half-light radii.
    """
    table = find_sources(image, wcs)
    star_radius = np.percentile(table['radius'][table['snr'] > 100], 25)
    is_extended = table['radius'] > LEAST_EXTENT * star_radius
    galaxies = table[is_extended & (table['snr'] > LEAST_SNR) & (table['magnitude'] > BRIGHTEST)]
    print(
        f'{len(table)} sources in r; the half-light radius of stars is {star_radius:.2f}; '
        f'{len(galaxies)} are extended, of {LEAST_SNR} sigma and fainter than {BRIGHTEST}'
    )
    galaxies['name'] = [f'r = {magnitude.value:.1f}' for magnitude in galaxies['magnitude']]
    return galaxies['name', 'coord']


def make_catalogue(folder, frames):
    """Put the galaxies of Galaxy Zoo 2 before those that photutils finds."""
    (path,) = Path(folder).glob('gz2_table5_in_frame_*.csv')
    zoo = Table.read(path)
    zoo = QTable(
        {
            'name': ['Galaxy Zoo 2'] * len(zoo),
            'coord': SkyCoord(zoo['ra'], zoo['dec'], unit=u.deg),
        }
    )
    found = find_galaxies(*frames['r'])
    _, separation, _ = found['coord'].match_to_catalog_sky(zoo['coord'])
    return vstack([zoo, found[separation > 2 * u.arcsec]], metadata_conflicts='silent')


def check_cutouts(cutouts, frames):
    """
    Compare the cutouts with Cutout2D in r, and elsewhere with an interpolation by the full WCS.

    The reference draws one spline through the whole frame, and computes where each pixel lies by
    both WCS. Near the frame's edge two splines may differ in how they end: that is told apart.
    """
    references = [
        Cutout2D(frames['r'][0], coord, SIZE, frames['r'][1], mode='partial', fill_value=np.nan)
        for coord in cutouts.table['coord']
    ]
    pixels = np.indices((SIZE, SIZE))[::-1]
    sky = SkyCoord([reference.wcs.pixel_to_world(*pixels) for reference in references])
    sky = sky.reshape(-1, SIZE, SIZE)
    r_area = proj_plane_pixel_area(frames['r'][1])
    print('largest difference from the reference, as a part of the noise:')
    for band, (image, wcs) in frames.items():
        x, y = wcs.world_to_pixel(sky)
        if band == 'r':
            expected = np.array([reference.data for reference in references])
        else:
            expected = map_coordinates(image.astype(float), [y, x], order=3, cval=np.nan)
            expected *= r_area / proj_plane_pixel_area(wcs)
        found = cutouts.select_bands([band]).images[:, 0]
        difference = np.abs(found - expected) / sigma_clipped_stats(image)[2]
        ny, nx = image.shape
        to_edge = np.min([x, nx - 1 - x, y, ny - 1 - y], axis=0)
        inside, edge = (np.nanmax(difference[part]) for part in (to_edge > EDGE, to_edge <= EDGE))
        print(f'  {band}: {inside:.1e}, and {edge:.1e} within {EDGE} pixels of the edge')


def annotate(catalogue, mosaics):
    """Classify the galaxies by what simulated ones look like in g, r and i."""
    simulated = SimulatedSurvey('sdss', n_galaxies=N_SIMULATED)
    classifier = MorphologyClassifier(simulated, random_state=0)
    classifier.fit(simulated.catalogue)
    return classifier.set_params(source=mosaics).annotate(catalogue)


def draw_sheet(cutouts, path, *, captions=None, n_columns=12, limit=144):
    """Draw the cutouts in i, r and g as red, green and blue."""
    pictures = as_pictures(cutouts[:limit])
    # What is missing is black.
    images = np.moveaxis(np.nan_to_num(pictures.images), 1, -1).astype(np.uint8)
    captions = pictures.table['name'] if captions is None else captions
    n_rows = -(-len(pictures) // n_columns)
    figure = Figure(figsize=(n_columns, 1.15 * n_rows), dpi=120)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, caption in zip(axes, images, captions, strict=False):
        axis.imshow(image, origin='lower')
        axis.set_title(caption, fontsize=6, pad=2)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.98, wspace=0.03, hspace=0.15)
    figure.savefig(path)
    print(f'{len(pictures)} galaxies drawn in {path}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--output', default='sdss_frame.png', help='file of the pictures')
    args = parser.parse_args()
    warnings.simplefilter('ignore', FITSFixedWarning)  # SDSS headers are of their time

    frames = open_frames(args.folder)
    catalogue = make_catalogue(args.folder, frames)
    mosaics = Mosaics(args.folder / 'frame-{band}-*.fits.bz2', bands=BANDS)
    print(mosaics)
    start = time.perf_counter()
    cutouts = mosaics.fetch(catalogue, size=SIZE)
    print(f'{cutouts} in {time.perf_counter() - start:.1f} s, decompression included')
    print('flags:', dict(Counter(', '.join(names) for names in decode_flags(cutouts.flags))))
    check_cutouts(cutouts, frames)
    annotated = annotate(catalogue, mosaics)
    annotated['morph_class', 'morph_confidence', 'morph_flags', 'morph_status'].pprint(max_lines=20)
    print('classes:', dict(Counter(annotated['morph_class'].filled('none').tolist())))
    captions = [f'{row["morph_class"]} {row["morph_confidence"]:.2f}' for row in annotated]
    draw_sheet(cutouts, args.output, captions=captions)


if __name__ == '__main__':
    main()
