# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Classifiers of one survey applied to another, before and after adapting them without labels.

FOLDER has the folders ``galaxies`` and ``skies`` with the tables and pictures.

    python benchmarks/adapt.py FOLDER
"""

import argparse
import dataclasses
import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from skies import read_pictures
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from astro_morph import CutoutSet, MorphologyClassifier, surveys
from astro_morph.cutouts import ImageFiles
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.simulation import SimulatedSurvey

N_GALAXIES = 150
SIZE = 48

# The classes of Galaxy10 DECaLS in those of the bundled classifier; mergers have none.
CLASSES = {
    'round': 'round',
    'in_between': 'in_between',
    'cigar': 'edge_on',
    'edge_on_with_bulge': 'edge_on',
    'edge_on_without_bulge': 'edge_on',
    'barred_spiral': 'spiral',
    'unbarred_tight_spiral': 'spiral',
    'unbarred_loose_spiral': 'spiral',
}

# Half of the side of these pictures: galaxies are then as large as in those of the training.
DECALS_FIELD = 128

# By what factor the noise, the width of the point-spread function and the unit of flux change.
CONDITIONS = {
    'the same': (1, 1, 1),
    'flux in other units': (1, 1, 20),
    'noise 3 times higher': (3, 1, 1),
    'noise 3 times lower': (1 / 3, 1, 1),
    'seeing 1.6 times wider': (1, 1.6, 1),
    'seeing 1.6 times narrower': (1, 1 / 1.6, 1),
    'noise higher and seeing wider': (3, 1.6, 1),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'folder', type=Path, nargs='?', help='folder of the folders galaxies and skies'
    )
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--epochs', type=int, default=20)
    options = parser.parse_args()

    # What is refused is part of the result.
    warnings.filterwarnings('ignore', 'X: new statistics of the network', AstropyUserWarning)
    if options.folder:
        galaxy10(options.folder)
        rings(options.folder / 'galaxies')
    print(
        f'simulated SDSS, {N_GALAXIES} galaxies of five kinds to learn from, accuracy on as many '
        f'of another survey,\nmean of {options.seeds} seeds with standard error'
    )
    for strategy in ('linear', 'fine-tune'):
        results = [simulate(strategy, seed, epochs=options.epochs) for seed in range(options.seeds)]
        print(f'\n{strategy:32} before            after')
        for condition in results[0]:
            before, after = np.transpose([result[condition] for result in results])
            print(f'{condition:32} {with_error(before)}   {with_error(after)}')


def simulate(strategy, seed, *, epochs):
    """Train on one sky; give the accuracy before and after adapting to others."""
    survey = SimulatedSurvey(n_galaxies=N_GALAXIES, random_state=seed)
    classifier = MorphologyClassifier(
        survey, strategy=strategy, epochs=epochs, size=SIZE, random_state=seed, verbose=0
    ).fit(survey.catalogue)
    results = {}
    for condition, factors in CONDITIONS.items():
        cutouts = observe(*factors, seed=1000 + seed)
        results[condition] = compare(classifier, cutouts, cutouts)
    # What it costs to adapt to galaxies that are no fair sample.
    cutouts = observe(1, 1, 1, seed=1000 + seed)
    is_spiral = np.array(cutouts.table['morphology']) == 'spiral'
    results['the same, adapted to spirals'] = compare(classifier, cutouts[is_spiral], cutouts)
    return results


def observe(noise, seeing, unit, *, seed):
    """Give the cutouts of a sky as a changed SDSS would see it."""
    sdss = surveys.get('sdss')
    changed = dataclasses.replace(
        sdss, sky_noise=noise * np.array(sdss.sky_noise), psf_fwhm=seeing * sdss.psf_fwhm
    )
    survey = SimulatedSurvey(changed, n_galaxies=N_GALAXIES, random_state=seed)
    cutouts = survey.fetch(survey.catalogue, size=SIZE)
    return cutouts.replace(images=cutouts.images * np.float32(unit))


def compare(classifier, unlabelled, cutouts):
    return [c.score(cutouts) for c in (classifier, classifier.adapt(unlabelled))]


def galaxy10(folder):
    """Apply the bundled classifier of SDSS to pictures of DECaLS with known classes."""
    table = Table.read(folder / 'skies/galaxy10_decals.csv')
    names = np.array(table['image']).astype(str)
    images = read_pictures(folder, 'skies/galaxy10_decals', names, field=DECALS_FIELD, size=64)
    pictures = CutoutSet(images, bands=PICTURE_BANDS, kind='picture')
    truth = np.array([CLASSES.get(label, '') for label in table['label']])
    known = truth != ''
    classifier = MorphologyClassifier.from_pretrained('sdss-4class', verbose=0)
    before, after = (
        balanced_accuracy_score(truth[known], c.predict(pictures[known]))
        for c in (classifier, classifier.adapt(pictures))
    )
    print(
        f'{known.sum()} galaxies of DECaLS (Galaxy10) by the bundled classifier of SDSS: balanced '
        f'accuracy\n{before:.3f} before, {after:.3f} after adapting to them and '
        f'{np.sum(~known)} mergers\n'
    )


def rings(folder):
    """Learn rings from SDSS pictures of Galaxy Zoo 2, and look for them in pictures of DECaLS."""
    votes, decals = Table.read(folder / 'gz2_votes.csv'), Table.read(folder / 'rings.csv')
    source = ImageFiles('image', folder=folder)
    sdss, decals = (source.fetch(table, size=64) for table in (votes, decals))
    share = votes['t06_odd_a14_yes_debiased'] * votes['t08_odd_feature_a19_ring_debiased']
    classifier = MorphologyClassifier(strategy='linear', random_state=0, verbose=0)
    classifier.fit(sdss, np.array(share > 0.3))
    is_ring = np.array(decals.table['ring'])
    scores = [c.decision_function(decals) for c in (classifier, classifier.adapt(decals))]
    before, after, error, of_gain = bootstrap(is_ring, *scores)
    print(
        f'rings of DECaLS by a classifier of SDSS with {np.sum(share > 0.3)} rings: area under ROC '
        f'{before:.3f} before,\n{after:.3f} after, +- {error:.3f} each; gain '
        f'{after - before:.3f} +- {of_gain:.3f} (bootstrap)\n'
    )


def bootstrap(truth, before, after):
    """Give two areas under ROC, the standard error of one, and of their difference."""
    random = np.random.default_rng(0)
    areas = []
    for _ in range(1000):
        rows = random.integers(len(truth), size=len(truth))
        areas.append([roc_auc_score(truth[rows], scores[rows]) for scores in (before, after)])
    areas = np.array(areas)
    return (
        roc_auc_score(truth, before),
        roc_auc_score(truth, after),
        areas[:, 0].std(),
        (areas[:, 1] - areas[:, 0]).std(),
    )


def with_error(values):
    """Write a mean with its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f'{np.mean(values):.3f} +- {error:.3f}'


if __name__ == '__main__':
    main()
