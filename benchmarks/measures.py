# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The measures of galaxies beside those of statmorph: rank correlations, and how fast both are.

Needs statmorph (pip install statmorph), as the package itself does not. Both get the same cutouts:
200 simulated galaxies, and all sources, stars too, of an SDSS field that ``sdss_frame.py`` finds in
the same FOLDER. Neighbours are replaced by noise, because statmorph takes the Gini coefficient of
masked pixels as if they were dark. statmorph needs an image without sky, its noise and the
segments: it is handed those that `measure` finds, whose time is in that of `measure` only.

statmorph is run twice. With its defaults it is timed. To be compared, it is let see the whole
cutout (min_cutout_size): in the stamps that it cuts by default it often finds but 16 pixels of
empty sky, and its asymmetry is as uncertain as the noise measured there; and it is kept from
masking bright cores as outliers (n_sigma_outlier). The two runs side by side show how far
statmorph agrees with itself.

The goals are for sources that both trust. What is left out is counted, and stands in the first of
the two tables: the measures of faint sources depend on the noise, and on each detail.

    python benchmarks/measures.py FOLDER
"""

import argparse
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import statmorph
from astropy.table import vstack
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import FITSFixedWarning
from scipy.stats import spearmanr
from sdss_frame import find_sources, open_frames

from astro_morph import decode_flags
from astro_morph.cutouts import Mosaics
from astro_morph.photometry import measure
from astro_morph.photometry.defects import find_cosmic_rays, find_missing
from astro_morph.photometry.segmentation import segment
from astro_morph.photometry.sky import measure_sky
from astro_morph.simulation import SimulatedSurvey

BANDS = 'gri'
N_SIMULATED = 200

# Cutouts that each side measures before it is the other's turn.
TURN = 20

# The lowest rank correlation that passes, where there is one.
GOALS = {'gini': 0.98, 'm20': 0.98, 'concentration': 0.98, 'asymmetry': 0.95}
GOAL_SPEED = 5

# What else is compared.
NAMES = (*GOALS, 'smoothness')

# statmorph gives -99 for what it can't measure.
MISSING = -90

# Its authors trust a mean signal-to-noise ratio of a pixel above this.
LEAST_SNR = 2.5


def simulated_cutouts(size):
    survey = SimulatedSurvey('sdss', n_galaxies=N_SIMULATED, bands=BANDS)
    return survey.fetch(survey.catalogue, size=size)


def real_cutouts(folder, size):
    catalogue = find_sources(*open_frames(folder)['r'])
    return Mosaics(folder / 'frame-{band}-*.fits.bz2', bands='rgi').fetch(catalogue, size=size)


def find(images):
    """Give the images without sky and defects, the noise and the segments that `measure` finds."""
    sky = measure_sky(images)
    images = images - sky.level
    is_defect = find_missing(images) | find_cosmic_rays(images, sky.noise)
    images = np.where(is_defect, np.nan, images)
    return images, sky.noise, segment(images, sky.noise)


def replace_neighbours(cutouts):
    """Put noise in the place of neighbours."""
    images, noise, segments = find(cutouts.images)
    sky = np.random.default_rng(0).normal(size=images.shape) * noise[..., np.newaxis, np.newaxis]
    return cutouts.replace(images=np.where(segments[:, np.newaxis] > 1, sky, images))


def run_statmorph(image, noise, segments, **options):
    """Measure one source; None where statmorph can't."""
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
    """Measure with both, some cutouts at a time; give the results and the seconds of each."""
    images, noise, segments = find(cutouts.images)
    band = cutouts.bands.index('r')
    images, noise = images[:, band].astype(float), noise[:, band].astype(float)
    seconds = Counter()
    ours, theirs = [], []
    for start in range(0, len(cutouts), TURN):
        rows = np.arange(start, min(start + TURN, len(cutouts)))
        begin = time.perf_counter()
        ours.append(measure(cutouts[rows], band='r'))
        middle = time.perf_counter()
        theirs += [run_statmorph(images[i], noise[i], segments[i]) for i in rows]
        seconds['ours'] += middle - begin
        seconds['statmorph'] += time.perf_counter() - middle
    # From wherever the source is, as far as the other end.
    wide = {'min_cutout_size': 2 * max(cutouts.shape[2:]), 'n_sigma_outlier': 0}
    wide = [run_statmorph(*one, **wide) for one in zip(images, noise, segments, strict=True)]
    return vstack(ours), theirs, wide, seconds


def values_of(sources, name):
    """Give one measure of all sources of statmorph, NaN where it is missing."""
    values = np.array([getattr(source, name, np.nan) for source in sources], float)
    return np.where(values > MISSING, values, np.nan)


def doubts(ours, theirs):
    """Give, by reason, the rows whose measures one of the two does not trust."""
    flags = decode_flags(ours['measure_flags'])
    return {
        'measures_cut': np.array(['measures_cut' in names for names in flags]),
        'measures_noisy': np.array(['measures_noisy' in names for names in flags]),
        'flagged by statmorph': values_of(theirs, 'flag') > 1,
        'noisy for statmorph': values_of(theirs, 'sn_per_pixel') < LEAST_SNR,
    }


def compare(title, cutouts):
    """Print the correlations of all sources, and of those that both trust."""
    measure(cutouts[:2])  # imports
    cutouts = replace_neighbours(cutouts)
    ours, theirs, wide, seconds = measure_in_turn(cutouts)
    is_known = np.isfinite(ours['gini'].filled(np.nan)) & np.isfinite(values_of(wide, 'gini'))
    reasons = doubts(ours, wide)
    is_trusted = is_known & ~np.any(list(reasons.values()), axis=0)
    counts = {reason: int((is_known & rows).sum()) for reason, rows in reasons.items()}
    print(f'\n{title}: {cutouts}')
    print('  our status:', dict(Counter(ours['measure_status'].tolist())))
    print(f'  {is_known.sum()} compared, of them {is_known.sum() - is_trusted.sum()} not trusted:')
    print(f'    {counts} (some for more than one reason)')
    for group, rows in {'all': is_known, 'trusted by both': is_trusted}.items():
        print(
            f'  {group:18s}{"n":>5s}{"correlation":>13s}{"goal":>6s}{"median diff.":>14s}', end=''
        )
        print(f'{"statmorph, itself":>19s}')
        for name in NAMES:
            values = ours[name].filled(np.nan), values_of(wide, name), values_of(theirs, name)
            both = rows & np.isfinite(values).all(axis=0)
            our, their, their_default = (column[both] for column in values)
            print(
                f'  {name:18s}{both.sum():5d}{spearmanr(our, their).statistic:13.4f}'
                f'{GOALS.get(name, "") if rows is is_trusted else "":>6}'
                f'{np.median(np.abs(our - their)):14.4f}'
                f'{spearmanr(their, their_default).statistic:19.4f}'
            )
    our_time, their_time = (1000 * seconds[side] / len(cutouts) for side in ('ours', 'statmorph'))
    print(
        f'  {our_time:.1f} ms a source, statmorph {their_time:.1f} ms: '
        f'{their_time / our_time:.1f} times as fast (goal {GOAL_SPEED})'
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--size', type=int, default=96, help='side of the cutouts in pixels')
    args = parser.parse_args()
    warnings.simplefilter('ignore', FITSFixedWarning)  # SDSS headers are of their time
    # statmorph tells of each doubt in a warning, and in its flag.
    warnings.simplefilter('ignore', AstropyUserWarning)
    compare('Simulated', simulated_cutouts(args.size))
    compare('Real', real_cutouts(args.folder, args.size))


if __name__ == '__main__':
    main()
