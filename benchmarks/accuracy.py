# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Accuracy with few labels, by cross-validation, with and without clean-up.

With a FOLDER, on the real galaxies of the table ``kaggle4.csv`` in it; these are colour pictures,
of which the clean-up fills missing pixels only. Without one, on simulated galaxies in crowded
fields, with ten times as many stars and other galaxies around them as at high galactic latitude.

    python benchmarks/accuracy.py FOLDER
    python benchmarks/accuracy.py FOLDER --strategy linear --cleanup none detached
    python benchmarks/accuracy.py --cleanup none detached all --folds 2 --epochs 15
"""

import argparse
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from sklearn.model_selection import StratifiedKFold

from astro_morph import MorphologyClassifier
from astro_morph.evaluation import Evaluation, evaluate
from astro_morph.preprocessing import Preprocessor
from astro_morph.simulation import SimulatedSurvey

# The crowded survey.
N_GALAXIES = 800
CROWDING = 10

CLEANUP = {
    'auto': 'auto',
    'none': None,
    'detached': Preprocessor(),
    'all': Preprocessor(neighbours='all'),
}


def read_kaggle(folder):
    """Read the table of real galaxies; its images are named in a column."""
    table = Table.read(folder / 'kaggle4.csv')
    table['image'] = [str(folder / name) for name in table['image']]
    return table, 'auto'


def simulate_crowded():
    """Give the catalogue of the simulated galaxies, and where their images are."""
    survey = SimulatedSurvey(n_galaxies=N_GALAXIES, crowding=CROWDING, random_state=11)
    return Table(survey.catalogue['ra', 'dec', 'morphology']), survey


def cross_validate(table, n_folds, **parameters):
    """Fit and test on each fold; the folds are the same for all parameters."""
    labels = np.array(table['morphology'])
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    for number, (train, test) in enumerate(folds.split(labels, labels), start=1):
        start = time.perf_counter()
        classifier = MorphologyClassifier(random_state=0, verbose=0, **parameters)
        result = evaluate(classifier.fit(table[train]), table[test])
        print(
            f'fold {number}: accuracy {result.accuracy:.3f} with {len(train)} labels, '
            f'{time.perf_counter() - start:.0f} s',
            flush=True,
        )
        yield result


def print_gain(name, first, second):
    """Print by how much the second evaluation of the same galaxies is better."""
    is_right = [np.array(result.predicted == result.true, float) for result in (first, second)]
    gain = 100 * (is_right[1] - is_right[0])
    print(f'{name}: {gain.mean():+.1f} +- {gain.std() / np.sqrt(len(gain)):.1f} points')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', nargs='?', type=Path, help='folder of kaggle4.csv and its images')
    parser.add_argument('--encoder', default='auto', help="'auto', 'random', 'moco' or a file")
    parser.add_argument('--strategy', default='auto', help="'auto', 'linear' or 'fine-tune'")
    parser.add_argument('--cleanup', nargs='+', choices=CLEANUP, default=['auto'])
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--epochs', type=int, help='of the fine-tuning, instead of the default')
    options = parser.parse_args()

    table, source = read_kaggle(options.folder) if options.folder else simulate_crowded()
    parameters = {'source': source, 'encoder': options.encoder, 'strategy': options.strategy}
    if options.epochs:
        parameters['epochs'] = options.epochs
    evaluations = {}
    for name in options.cleanup:
        print(f'\nclean-up: {name}')
        folds = cross_validate(table, options.folds, preprocessing=CLEANUP[name], **parameters)
        results = list(folds)
        accuracies = [result.accuracy for result in results]
        error = np.std(accuracies, ddof=1) / np.sqrt(options.folds)
        print(f'\nmean accuracy {np.mean(accuracies):.3f} +- {error:.3f} (standard error)')
        evaluations[name] = Evaluation.joined(results)
        print(evaluations[name])
    first, *others = evaluations
    for name in others:
        print_gain(f'{name} instead of {first}', evaluations[first], evaluations[name])


if __name__ == '__main__':
    main()
