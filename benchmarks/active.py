# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Accuracy against the number of labels, where each criterion chooses them, or chance does.

Frozen features of the bundled encoder with a linear head, on the table kaggle4.csv: from 20 labels
on, 20 are asked for at a time. Each repetition has its own 200 galaxies to test on and its own
first labels, the same for all criteria.

    python benchmarks/active.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.special import log_softmax
from sklearn.model_selection import train_test_split

from astro_morph import MorphologyClassifier
from astro_morph.cutouts import ImageFiles
from astro_morph.learning.active import CRITERIA, choose
from astro_morph.learning.strategies import fit_features
from astro_morph.learning.subjects.classes import Classes
from astro_morph.prediction.predict import Predictions, predict

STEP = 20
MOST = 260
N_TEST = 200


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('folder', type=Path, help='folder of kaggle4.csv and its images')
    parser.add_argument('--repetitions', type=int, default=20)
    options = parser.parse_args()

    table = Table.read(options.folder / 'kaggle4.csv')
    features, target = encode(table, options.folder)
    numbers = np.arange(STEP, MOST + 1, STEP)
    curves = {
        criterion: np.array(
            [run(criterion, features, target, numbers, seed) for seed in range(options.repetitions)]
        )
        for criterion in ('random', *CRITERIA)
    }
    print('labels      ', *(f'{n:>12}' for n in numbers))
    for criterion, accuracies in curves.items():
        errors = accuracies.std(axis=0, ddof=1) / np.sqrt(options.repetitions)
        figures = zip(accuracies.mean(axis=0), errors, strict=True)
        print(f'{criterion:12}', *(f'{mean:.3f}+-{error:.3f}' for mean, error in figures))
    print('\nlabels needed for the accuracy of so many random labels:')
    wanted = numbers[numbers > 4 * STEP]
    print(f'{"random":12}', *(f'{n:>5}' for n in wanted))
    for criterion in CRITERIA:
        needed = labels_needed(numbers, curves['random'], curves[criterion], wanted)
        print(
            f'{criterion:12}', *(f'{n:5.0f}' for n in needed), f'  {np.mean(needed / wanted):.0%}'
        )


def encode(table, folder):
    """Give frozen features of all galaxies, and their classes as numbers."""
    cutouts = ImageFiles(folder=folder).fetch(table)
    classifier = MorphologyClassifier(strategy='linear', random_state=0, verbose=0).fit(cutouts)
    features = predict(classifier.model_, cutouts, with_features=True).features
    return features.astype(float), np.unique(table['morphology'], return_inverse=True)[1]


def run(criterion, features, target, numbers, seed):
    """Give the accuracy after each number of labels."""
    pool, test = train_test_split(
        np.arange(len(target)), test_size=N_TEST, stratify=target, random_state=seed
    )
    random = np.random.default_rng(seed)
    labelled = first_labels(pool, target, random)
    accuracies = []
    for _ in numbers:
        model = learn(features[labelled], target[labelled])
        predicted = model.run(features[test])[0].argmax(axis=1)
        accuracies.append(np.mean(predicted == target[test]))
        rest = np.setdiff1d(pool, labelled)
        chosen = choose_from(criterion, model, features[rest], STEP, random)
        labelled = np.append(labelled, rest[chosen])
    return accuracies


def first_labels(pool, target, random):
    """Draw the first labels until all classes are among them."""
    while True:
        first = random.permutation(pool)[:STEP]
        if len(np.unique(target[first])) == len(np.unique(target)):
            return first


def learn(features, target):
    subject = Classes(tuple(range(target.max() + 1)))
    target = np.eye(subject.n_outputs)[target]
    return fit_features(features, target, subject, sample_weight=np.ones(len(target)), seed=0)


def choose_from(criterion, model, features, n, random):
    """Choose rows by a criterion, or at random."""
    if criterion == 'random':
        return random.permutation(len(features))[:n]
    logits, _, novelty = model.run(features)
    status, flags = np.full(len(features), 'ok'), np.zeros(len(features), int)
    predictions = Predictions(log_softmax(logits, axis=1), novelty, features, status, flags)
    return choose(predictions, n, criterion=criterion, random_state=int(random.integers(2**31)))


def labels_needed(numbers, of_chance, of_criterion, wanted):
    """Read off the mean curve, made monotonic, where it reaches that of chance."""
    chance, curve = (np.maximum.accumulate(c.mean(axis=0)) for c in (of_chance, of_criterion))
    # A curve that is flat over some numbers has reached its height at the first.
    curve += 1e-9 * np.arange(len(curve))
    return np.interp(np.interp(wanted, numbers, chance), curve, numbers)


if __name__ == '__main__':
    main()
