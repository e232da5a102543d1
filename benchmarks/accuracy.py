# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Accuracy and calibration with few labels, by cross-validation, with and without clean-up.

With a FOLDER, on the real galaxies of the table ``kaggle4.csv`` in it, or of ``gz1.csv``, whose
classes are uneven, whose labels are noisy, and whose galaxies are in the central half of their
pictures. These are colour pictures, of which the clean-up fills missing pixels only. Without a
FOLDER, on simulated galaxies in crowded fields, with ten times as many stars and other galaxies
around them as at high galactic latitude.

Of the rows to learn from, so many keep their label as is asked for, and the rest is unlabelled.
``--encoder random`` gives the lines to compare with: with ``--strategy linear`` that of random
features, with ``--strategy fine-tune`` that of a network trained from scratch, which wants more
epochs than the default.

    python benchmarks/accuracy.py FOLDER --labels 50 100 200 560
    python benchmarks/accuracy.py FOLDER --labels 560 --encoder random --strategy fine-tune \\
        --epochs 60
    python benchmarks/accuracy.py FOLDER --table gz1 --size 64 --labels 1000 --class-weight balanced
    python benchmarks/accuracy.py FOLDER --strategy linear --cleanup none detached
    python benchmarks/accuracy.py --cleanup none detached all --folds 2 --epochs 15
"""

import argparse
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from joblib import Parallel, delayed
from sklearn.model_selection import StratifiedKFold, train_test_split

from astro_morph import MorphologyClassifier
from astro_morph.evaluation import Evaluation, evaluate
from astro_morph.photometry import Preprocessor
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


def read_galaxies(folder, name):
    """Read a table of real galaxies; its images are named in a column."""
    table = Table.read(folder / f'{name}.csv')
    table = table[~np.ma.getmaskarray(table['morphology'])]  # no class: no galaxy is seen
    table['image'] = [str(folder / path) for path in table['image']]
    return table, 'auto'


def simulate_crowded():
    """Give the catalogue of the simulated galaxies, and where their images are."""
    survey = SimulatedSurvey(n_galaxies=N_GALAXIES, crowding=CROWDING, random_state=11)
    return Table(survey.catalogue['ra', 'dec', 'morphology']), survey


def cross_validate(table, n_folds, n_labels, *, n_jobs, **parameters):
    """Fit and test on each fold; the folds are the same for all parameters."""
    labels = np.array(table['morphology'])
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    jobs = []
    for number, (train, test) in enumerate(folds.split(labels, labels), start=1):
        known = Table(table[train], masked=True)
        known['morphology'].mask = ~are_labelled(labels[train], n_labels)
        jobs.append(delayed(fit_and_test)(number, known, table[test], parameters))
    return Parallel(n_jobs)(jobs)


def fit_and_test(number, known, unseen, parameters):
    """Fit on the rows that are known, and evaluate on the others."""
    classifier = MorphologyClassifier(random_state=0, verbose=0, **parameters)
    start = time.perf_counter()
    classifier.fit(known)
    seconds = time.perf_counter() - start
    result = evaluate(classifier, unseen)
    print(
        f'fold {number}: accuracy {result.accuracy:.3f}, balanced {result.balanced_accuracy:.3f}, '
        f'{"frozen" if is_frozen(classifier) else "trained"} encoder, fitted in {seconds:.0f} s',
        flush=True,
    )
    return result


def is_frozen(classifier):
    return classifier.model_.spec.frozen


def are_labelled(labels, n_labels):
    """Choose the rows that keep their label, of all classes as frequent as they are."""
    rows = np.arange(len(labels))
    if n_labels is None or n_labels >= len(rows):
        return np.ones(len(rows), bool)
    chosen, _ = train_test_split(rows, train_size=n_labels, stratify=labels, random_state=0)
    return np.isin(rows, chosen)


def print_summary(results):
    """Print what is measured on all folds together, and the mean over the classes in the folds."""
    joined = Evaluation.joined(results)
    n = len(joined.true)
    error = np.sqrt(joined.accuracy * (1 - joined.accuracy) / n)
    print(f'accuracy                  {joined.accuracy:.3f} +- {error:.3f} (of {n} galaxies)')
    values = [result.balanced_accuracy for result in results]
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    print(f'mean balanced accuracy    {mean:.3f} +- {error:.3f} (of {len(values)} folds)')
    print(joined)
    return joined


def print_gain(name, first, second):
    """Print by how much the second evaluation of the same galaxies is better."""
    is_right = [np.array(result.predicted == result.true, float) for result in (first, second)]
    gain = 100 * (is_right[1] - is_right[0])
    print(f'{name}: {gain.mean():+.1f} +- {gain.std() / np.sqrt(len(gain)):.1f} points')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', nargs='?', type=Path, help='folder of the table and its images')
    parser.add_argument('--table', choices=['kaggle4', 'gz1'], default='kaggle4')
    parser.add_argument('--size', type=int, help='central pixels, instead of the whole pictures')
    parser.add_argument('--labels', nargs='+', type=int, default=[None], help='by default all')
    parser.add_argument('--encoder', default='auto', help="'auto', 'random', 'moco' or a file")
    parser.add_argument('--strategy', default='auto', help="'auto', 'linear', 'head', ...")
    parser.add_argument('--class-weight', help="'balanced', or none")
    parser.add_argument('--cleanup', nargs='+', choices=CLEANUP, default=['auto'])
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--jobs', type=int, default=1, help='folds at once, each a process')
    parser.add_argument('--epochs', type=int, help='of the fine-tuning, instead of the default')
    options = parser.parse_args()

    if options.folder:
        table, source = read_galaxies(options.folder, options.table)
    else:
        table, source = simulate_crowded()
    parameters = {
        'source': source,
        'size': options.size,
        'encoder': options.encoder,
        'strategy': options.strategy,
        'class_weight': options.class_weight,
        'epochs': options.epochs or 'auto',
    }
    for n_labels in options.labels:
        evaluations = {}
        for name in options.cleanup:
            print(f'\n{n_labels or "all"} labels, clean-up: {name}')
            results = cross_validate(
                table,
                options.folds,
                n_labels,
                n_jobs=options.jobs,
                preprocessing=CLEANUP[name],
                **parameters,
            )
            evaluations[name] = print_summary(results)
        first, *others = evaluations
        for name in others:
            print_gain(f'{name} instead of {first}', evaluations[first], evaluations[name])


if __name__ == '__main__':
    main()
