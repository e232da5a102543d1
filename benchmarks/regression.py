# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Measure predicted numbers by cross-validation: errors, and coverage of the 90 % intervals.

FOLDER has the folders ``galaxies`` and ``skies`` with the tables and pictures. The numbers are
fractions of votes of Galaxy Zoo 2, for pictures of SDSS, and T types of experts, for pictures of
the Legacy Surveys. The first line of each number is linear regression on features of random
weights, the others are those of MorphologyRegressor: ``linear`` on the features of the bundled
encoder, and ``fine-tune`` if ``--fine-tune`` is given, which takes long without a GPU.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from skies import read_pictures
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from astro_morph import CutoutSet, MorphologyRegressor
from astro_morph.evaluation.numbers import compare_numbers
from astro_morph.learning.subjects.numbers import PENALTIES
from astro_morph.models.running import run_batches

N_FOLDS = 5

# Questions that are asked of all galaxies, or of many: smooth, edge-on, odd, completely round.
FRACTIONS = {
    'Class1.1': 'smooth',
    'Class2.1': 'edge_on',
    'Class6.1': 'odd',
    'Class7.1': 'round',
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of galaxies and skies')
    parser.add_argument('--most', type=int, help='galaxies of each survey (default: all)')
    parser.add_argument('--fine-tune', action='store_true', help='train encoders too')
    options = parser.parse_args()

    for name, read in (
        ('SDSS, vote fractions', read_votes),
        ('Legacy Surveys, T type', read_types),
    ):
        images, numbers = read(options.folder, options.most)
        cutouts = CutoutSet(images, kind='picture')
        print(f'{name}: {len(images)} galaxies, {N_FOLDS} folds')
        table = compare(cutouts, numbers, with_fine_tuning=options.fine_tune)
        print('\n'.join(table.pformat(max_lines=-1, max_width=-1)), flush=True)
        covered = table['coverage'][table['by'] != 'random, linear'].astype(float)
        print(f'mean coverage of the 90 % intervals {np.mean(covered):.3f}\n', flush=True)


def read_votes(folder, most):
    """Return pictures of SDSS galaxies, and fractions of votes."""
    votes = Table.read(folder / 'skies' / 'kaggle_votes.csv')
    fractions = {int(row['GalaxyID']): [row[name] for name in FRACTIONS] for row in votes}
    images, numbers = [], []
    for table, identifier in (('skies/sdss_pool2', 'id'), ('galaxies/pool', 'galaxy_id')):
        rows = Table.read(folder / f'{table}.csv')
        names = {
            int(number): str(image)
            for number, image in zip(rows[identifier], rows['image'], strict=True)
            if 'kaggle/' in str(image) and int(number) in fractions
        }
        images.append(read_pictures(folder, table, names.values(), field=64))
        numbers += [fractions[number] for number in names]
    images, numbers = np.concatenate(images), np.array(numbers, float)
    chosen = np.random.default_rng(0).permutation(len(images))[:most]
    return images[chosen], Table(numbers[chosen], names=[*FRACTIONS.values()])


def read_types(folder, most):
    """Return pictures of the Legacy Surveys, and T types."""
    rows = Table.read(folder / 'skies' / 'legacy_ttype.csv')[:most]
    images = read_pictures(folder, 'skies/legacy_ttype', rows['image'])
    return images, Table({'t_type': np.array(rows['label'], float)})


def compare(cutouts, numbers, *, with_fine_tuning):
    """Return the errors of each number by each method, an astropy Table."""
    folds = KFold(N_FOLDS, shuffle=True, random_state=0)
    true = np.column_stack([*numbers.itercols()])
    plain = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    predicted = cross_val_predict(plain, encode('random', cutouts), true, cv=folds)
    predicted = predicted.reshape(true.shape)
    unknown = np.full_like(true, np.nan)
    methods = {'random, linear': (predicted, (unknown, unknown))}
    features = encode('auto', cutouts)
    methods['linear'] = in_folds({'random_state': 0}, features, true, folds)
    if with_fine_tuning:
        parameters = {'strategy': 'fine-tune', 'random_state': 0}
        methods['fine-tune'] = in_folds(parameters, cutouts, true, folds)
    tables = []
    for by, (predicted, intervals) in methods.items():
        table = compare_numbers(numbers.colnames, true, predicted, intervals)
        table.add_column(by, index=1, name='by')
        table.remove_column('unit')
        tables.append(table)
    table = vstack(tables)
    return table[np.argsort(np.tile(np.arange(true.shape[1]), len(tables)), kind='stable')]


def encode(encoder, cutouts):
    """Return the frozen features that MorphologyRegressor takes from an encoder."""
    regressor = MorphologyRegressor(encoder=encoder, strategy='linear', random_state=0, verbose=0)
    # Only the encoder counts here, which learns nothing: a few galaxies are enough.
    model = regressor.fit(cutouts[:50], np.arange(50.0)).model_
    return run_batches(model, cutouts)[1].astype(float)


def in_folds(parameters, X, true, folds):
    """Predict each fold from the others; return numbers, and lower and upper ends."""
    predicted, low, high = (np.full_like(true, np.nan) for _ in range(3))
    for train, test in folds.split(true):
        regressor = MorphologyRegressor(verbose=0, **parameters).fit(X[train], true[train])
        shape = len(test), -1
        predicted[test] = regressor.predict(X[test]).reshape(shape)
        ends = regressor.predict_interval(X[test])
        low[test], high[test] = (end.reshape(shape) for end in ends)
    return predicted, (low, high)


if __name__ == '__main__':
    main()
