# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compare the measures of galaxies with those of statmorph: rank correlations, and the speed of both.

Needs statmorph, which the package itself does not: pip install statmorph

Both measure the same cutouts: 200 simulated galaxies; 60 close pairs, whose two galaxies belong
together; and, with a FOLDER, all sources, also stars, of the SDSS field in ``sdss_frame.py``.
`measure` runs with its defaults. statmorph needs an image without sky, its noise and the
segments, and runs three times:

- with the isophotes that `measure` finds, and the whole cutout (min_cutout_size), because in the
  stamps that it cuts by default it often finds only 16 pixels of empty sky, and its asymmetry is as
  uncertain as the noise in these. Bright cores are not masked as outliers (n_sigma_outlier).
- the same with segments as in its tutorial: photutils' detect_sources on the convolved image, at
  1.5 times the noise.
- with its other defaults. This run is timed, and shows how far statmorph agrees with itself.

Neighbours are replaced by noise before all of this, because statmorph treats masked pixels as dark
ones in the Gini coefficient. What is connected with the galaxy is no neighbour.

The correlations are printed for all sources, and for those that both packages trust: the measures
of faint sources depend on the noise, and on every detail.

    python benchmarks/measures.py [FOLDER]
"""

import argparse
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve
from astropy.modeling.models import Sersic2D
from astropy.table import vstack
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import FITSFixedWarning
from photutils.segmentation import detect_sources, detect_threshold
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from astro_morph import CutoutSet, decode_flags
from astro_morph.cutouts import Mosaics
from astro_morph.photometry import measure
from astro_morph.photometry.defects import find_cosmic_rays, find_missing
from astro_morph.photometry.measures import segment_sources
from astro_morph.photometry.sky import measure_sky
from astro_morph.simulation import SimulatedSurvey

try:
    import statmorph
except ImportError:
    sys.exit('statmorph is not installed; run: pip install statmorph')

BANDS = 'gri'
N_SIMULATED = 200
N_PAIRS = 60

# The default of `measure`.
SADDLE = 0

# Of a pair: separation, half-light radii and seeing (its sigma) in pixels, the flux of the second
# galaxy relative to the first, and the noise of a pixel relative to a flux of 1000.
SEPARATIONS, RADII, SEEING = (6, 24), (3, 7), 1.4
FLUX_RATIOS, NOISE = (0.25, 1), (0.05, 0.1, 0.2)

# Subpixels along the side of a pixel, to draw steep cores.
FINE = 3

# As in statmorph's tutorial: detection threshold in units of the noise, and smallest source.
TUTORIAL_SIGMA, TUTORIAL_PIXELS = 1.5, 5

# Cutouts that each side measures before it is the other's turn.
TURN = 20

# The lowest rank correlation that passes, where there is one.
GOALS = {'gini': 0.98, 'm20': 0.98, 'concentration': 0.98, 'asymmetry': 0.97}
GOAL_SPEED = 5

# What else is compared.
NAMES = (*GOALS, 'smoothness')

# statmorph returns -99 for what it cannot measure.
MISSING = -90

# Its authors trust a mean signal-to-noise ratio of a pixel above this.
LEAST_SNR = 2.5


def simulated_cutouts(size):
    survey = SimulatedSurvey('sdss', n_galaxies=N_SIMULATED, bands=BANDS)
    return survey.fetch(survey.catalogue, size=size)


def pair_cutouts(size):
    """Draw pairs of galaxies, the brighter one at the centre."""
    random = np.random.default_rng(1)
    images = np.empty((N_PAIRS, 1, size, size))
    for image in images[:, 0]:
        angle, separation = random.uniform(0, 2 * np.pi), random.uniform(*SEPARATIONS)
        offset = separation * np.cos(angle), separation * np.sin(angle)
        light = draw(random, size, (0, 0)) + random.uniform(*FLUX_RATIOS) * draw(
            random, size, offset
        )
        noise = random.normal(scale=random.choice(NOISE), size=light.shape)
        image[:] = gaussian_filter(1000 * light, SEEING) + noise
    return CutoutSet(images, bands='r', pixel_scale=0.4 * u.arcsec, zero_point=22.5)


def draw(random, size, offset):
    """Draw a galaxy of unit flux."""
    middle = (FINE * size - 1) / 2
    y, x = (np.indices((FINE * size, FINE * size)) - middle) / FINE
    galaxy = Sersic2D(
        1,
        r_eff=random.uniform(*RADII),
        n=random.uniform(0.7, 3),
        x_0=offset[0],
        y_0=offset[1],
        ellip=random.uniform(0, 0.6),
        theta=random.uniform(0, np.pi),
    )(x, y)
    galaxy = galaxy.reshape(size, FINE, size, FINE).mean(axis=(1, 3))
    return galaxy / galaxy.sum()


def real_cutouts(folder, size):
    from sdss_frame import find_sources, open_frames

    catalogue = find_sources(*open_frames(folder)['r'])
    return Mosaics(folder / 'frame-{band}-*.fits.bz2', bands='rgi').fetch(catalogue, size=size)


def find(images):
    """Return the images without sky and defects, and the noise and isophotes of `measure`."""
    sky = measure_sky(images)
    images = images - sky.level
    is_defect = find_missing(images) | find_cosmic_rays(images, sky.noise)
    images = np.where(is_defect, np.nan, images)
    segments, is_core, _ = segment_sources(images, sky.noise, SADDLE)
    return images, sky.noise, np.where((segments == 1) & ~is_core, 0, segments)


def replace_neighbours(cutouts):
    """Replace neighbours by noise."""
    images, noise, segments = find(cutouts.images)
    sky = np.random.default_rng(0).normal(size=images.shape) * noise[..., np.newaxis, np.newaxis]
    return cutouts.replace(images=np.where(segments[:, np.newaxis] > 1, sky, images))


def segment_as_tutorial(image):
    """Return the segments of statmorph's tutorial, that of the central source with the label 1."""
    convolved = convolve(image, Gaussian2DKernel(SEEING))
    sources = detect_sources(convolved, detect_threshold(image, TUTORIAL_SIGMA), TUTORIAL_PIXELS)
    if sources is None:
        return np.zeros(image.shape, int)
    y, x = np.indices(image.shape) - (len(image) - 1) / 2
    labels = sources.data
    central = labels.flat[np.argmin(np.where(labels > 0, np.hypot(x, y), np.inf))]
    return np.where(labels == central, 1, np.where(labels > 0, labels + 1, 0))


def run_statmorph(image, noise, segments, **options):
    """Measure one source; None where statmorph cannot."""
    is_missing = np.isnan(image)
    if not ((segments == 1) & ~is_missing).any():
        return None
    source = statmorph.SourceMorphology(
        np.nan_to_num(image),
        segments,
        label=1,
        mask=is_missing,
        weightmap=np.full(image.shape, noise),
        **options,
    )
    return source if source.flag < 4 else None


def measure_in_turn(cutouts):
    """Measure with both, some cutouts at a time; return the results and the seconds of each."""
    images, noise, segments = find(cutouts.images)
    band = cutouts.bands.index('r')
    images, noise = images[:, band].astype(float), noise[:, band].astype(float)
    seconds = Counter()
    ours, default = [], []
    for start in range(0, len(cutouts), TURN):
        rows = np.arange(start, min(start + TURN, len(cutouts)))
        begin = time.perf_counter()
        ours.append(measure(cutouts[rows], band='r'))
        middle = time.perf_counter()
        default += [run_statmorph(images[i], noise[i], segments[i]) for i in rows]
        seconds['ours'] += middle - begin
        seconds['statmorph'] += time.perf_counter() - middle
    # From wherever the source is, as far as the other end; the Sersic fit is not compared.
    options = {'min_cutout_size': 2 * max(cutouts.shape[2:]), 'n_sigma_outlier': 0}
    options |= {'sersic_fitting_args': {'maxiter': 1}}
    wide, tutorial = (
        [run_statmorph(*one, **options) for one in zip(images, noise, segments, strict=True)]
        for segments in (segments, map(segment_as_tutorial, images))
    )
    return vstack(ours), {'ours': wide, 'tutorial': tutorial, 'default': default}, seconds


def values_of(sources, name):
    """Return one measure of all sources of statmorph, NaN where it is missing."""
    values = np.array([getattr(source, name, np.nan) for source in sources], float)
    return np.where(values > MISSING, values, np.nan)


def doubts(ours, theirs):
    """Return, by reason, the rows whose measures one of the two does not trust."""
    flags = decode_flags(ours['measure_flags'])
    return {
        'measures_cut': np.array(['measures_cut' in names for names in flags]),
        'measures_noisy': np.array(['measures_noisy' in names for names in flags]),
        'flagged by statmorph': values_of(theirs, 'flag') > 1,
        'noisy for statmorph': values_of(theirs, 'sn_per_pixel') < LEAST_SNR,
    }


def compare(title, ours, theirs, *, goals_for='trusted by both'):
    """Print the correlations of all sources, and of those that both trust."""
    wide = theirs['ours']
    is_known = np.isfinite(ours['gini'].filled(np.nan)) & np.isfinite(values_of(wide, 'gini'))
    reasons = doubts(ours, wide)
    is_trusted = is_known & ~np.any(list(reasons.values()), axis=0)
    counts = {reason: int((is_known & rows).sum()) for reason, rows in reasons.items()}
    n_split = sum('companion_split' in names for names in decode_flags(ours['measure_flags']))
    print(f'\n{title}: {len(ours)} sources, a companion split off {n_split} of them')
    print('  our status:', dict(Counter(ours['measure_status'].tolist())))
    print(f'  {is_known.sum()} compared, of them {is_known.sum() - is_trusted.sum()} not trusted:')
    print(f'    {counts} (some for more than one reason)')
    for group, rows in {'all': is_known, 'trusted by both': is_trusted}.items():
        print(f'  {group:18s}{"":5s}{"rank correlation with statmorph":>33s}', end='')
        print(f'{"":20s}statmorph, itself')
        print(
            f'  {"":18s}{"n":>5s}{"our segments":>15s}{"its tutorial":>15s}{"goal":>6s}'
            f'{"median diff.":>14s}{"other defaults":>17s}'
        )
        for name in NAMES:
            columns = {'measure': ours[name].filled(np.nan)} | {
                run: values_of(sources, name) for run, sources in theirs.items()
            }
            both = rows & np.isfinite(list(columns.values())).all(axis=0)
            columns = {run: column[both] for run, column in columns.items()}

            def correlation(one, other, columns=columns):
                return spearmanr(columns[one], columns[other]).statistic

            difference = np.median(np.abs(columns['measure'] - columns['ours']))
            print(
                f'  {name:18s}{both.sum():5d}{correlation("measure", "ours"):15.4f}'
                f'{correlation("measure", "tutorial"):15.4f}'
                f'{GOALS.get(name, "") if group == goals_for else "":>6}'
                f'{difference:14.4f}{correlation("ours", "default"):17.4f}'
            )


def run(title, cutouts):
    """Measure cutouts with both packages, print the comparison, and return the results."""
    measure(cutouts[:2])  # imports
    ours, theirs, seconds = measure_in_turn(replace_neighbours(cutouts))
    compare(f'{title}, {cutouts}', ours, theirs)
    our_time, their_time = (1000 * seconds[side] / len(cutouts) for side in ('ours', 'statmorph'))
    print(
        f'  {our_time:.1f} ms a source, statmorph {their_time:.1f} ms: '
        f'{their_time / our_time:.1f} times as fast (goal {GOAL_SPEED})'
    )
    return ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('folder', nargs='?', type=Path, help='the frames of the SDSS field')
    parser.add_argument('--size', type=int, default=96, help='side of the cutouts in pixels')
    args = parser.parse_args()
    warnings.simplefilter('ignore', FITSFixedWarning)  # SDSS headers are of their time
    # statmorph reports each doubt in a warning, and in its flag.
    warnings.simplefilter('ignore', AstropyUserWarning)
    warnings.filterwarnings('ignore', 'overflow', RuntimeWarning)  # in its fits
    singles, pairs = (
        run(title, draw_cutouts(args.size))
        for title, draw_cutouts in (('Simulated', simulated_cutouts), ('Pairs', pair_cutouts))
    )
    both = vstack([singles[0], pairs[0]], metadata_conflicts='silent')
    compare(
        'Simulated galaxies and pairs',
        both,
        {name: singles[1][name] + pairs[1][name] for name in pairs[1]},
        goals_for='all',
    )
    if args.folder:
        run('Real', real_cutouts(args.folder, args.size))


if __name__ == '__main__':
    main()
