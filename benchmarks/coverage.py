# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Simulate how often intervals, sets of classes and p-values hold what they promise.

Everything is drawn from distributions whose truth is known: classifiers with known accuracy and
calibration for the 95 % intervals of an evaluation; features of four classes for the interval of
the labelling page, the 90 % sets of a linear classifier, whose scores are cross-fitted, and the
p-values of novelty. For sets and p-values, printed is the mean over many fits, and its standard
error.

    python benchmarks/coverage.py [--repetitions 2000] [--jobs 2]
"""

import argparse
import functools
import warnings

import numpy as np
import torch
from joblib import Parallel, delayed
from scipy.special import softmax

from astro_morph.evaluation import Evaluation
from astro_morph.evaluation.evaluation import METRICS
from astro_morph.labelling import cross_validate
from astro_morph.learning.heads import linear_head, set_best_head
from astro_morph.learning.subjects.classes import Classes
from astro_morph.models.calibration import conformity_scores, prediction_sets
from astro_morph.models.novelty import fit_novelty
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import build_network

SAMPLE_SIZES = (30, 100, 700)
N_CLASSES = 4
COVERAGE = 0.9

# Scatter of the true logits, which sets the accuracy, and the factor of the predicted ones.
CLASSIFIERS = {
    'accuracy 0.74, calibrated': (2.5, 1.0),
    'accuracy 0.90, calibrated': (7.0, 1.0),
    'accuracy 0.74, overconfident': (2.5, 1.8),
    'accuracy 0.74, underconfident': (2.5, 0.6),
}

# Features of galaxies, whose classes overlap, and the galaxies that each fit is tested on.
N_FEATURES = 16
N_TEST = 500

# One galaxy in a hundred, in twenty, in ten.
LEVELS = (0.01, 0.05, 0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--repetitions', type=int, default=2000)
    parser.add_argument('--jobs', type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = functools.partial(repeat, n_jobs=options.jobs)

    sizes = ''.join(f'{f"n = {n}":>16}' for n in SAMPLE_SIZES)
    print(f'95 % intervals of an evaluation: how often they hold the true value\n{"":32}{sizes}')
    for name, classifier in CLASSIFIERS.items():
        truth = true_metrics(*classifier)
        columns = [run(are_held, options.repetitions, n, *classifier, truth) for n in SAMPLE_SIZES]
        print(f'{name}; error of calibration {truth["calibration_error"]:.3f}')
        for i, metric in enumerate(METRICS):
            print_line(f'  {metric}', [column[:, i] for column in columns])

    print(f'\nthe same for the accuracy on the labelling page\n{"":32}{sizes}')
    columns = [run(is_progress_held, options.repetitions, n) for n in SAMPLE_SIZES]
    print_line('accuracy with all of the labels', columns)

    n_fits = options.repetitions // 5
    print(f'\nfraction of 90 % sets with the true class\n{"":32}{sizes}')
    for name, covered in {'held-out scores': by_split, 'cross-fitted scores': by_folds}.items():
        print_line(name, [run(covered, n_fits, n) for n in SAMPLE_SIZES])

    print(f'\nfraction of training-like galaxies with a p-value of novelty below p\n{"":32}{sizes}')
    for kind in ('normal', 'heavy-tailed', 'classes'):
        columns = [run(novel_fractions, n_fits, n, kind) for n in SAMPLE_SIZES]
        for i, level in enumerate(LEVELS):
            print_line(f'{kind}, p = {level}', [column[:, i] for column in columns])


def repeat(function, n, *arguments, n_jobs):
    """Call a function with so many generators of random numbers."""
    calls = (delayed(quietly)(function, seed, *arguments) for seed in range(n))
    return np.array(Parallel(n_jobs, batch_size=50)(calls), float)


def quietly(function, seed, *arguments):
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # of classes with few labels
        return function(np.random.default_rng(seed), *arguments)


def print_line(name, columns):
    """Print means over the repetitions with their standard errors."""
    texts = (f'{c.mean():.3f} +- {c.std() / np.sqrt(len(c)):.3f}' for c in columns)
    print(f'{name:32}' + ''.join(f'{text:>16}' for text in texts), flush=True)


def draw_classes(random, n, scatter, sharpness):
    """Draw predicted and true probabilities, and the classes."""
    logits = random.normal(scale=scatter, size=(n, N_CLASSES))
    true = softmax(logits, axis=1)
    target = np.sum(random.uniform(size=(n, 1)) > np.cumsum(true, axis=1), axis=1)
    return softmax(sharpness * logits, axis=1), true, target.clip(max=N_CLASSES - 1)


def evaluation_of(random, n, scatter, sharpness, threshold=0.85):
    """Draw an evaluation; its sets are the classes with scores below a threshold."""
    probabilities, true, target = draw_classes(random, n, scatter, sharpness)
    sets = conformity_scores(probabilities) <= threshold
    return Evaluation(np.arange(N_CLASSES), target, probabilities, sets=sets), true


def true_metrics(*classifier):
    """Compute the metrics of a great many galaxies."""
    evaluation, true = evaluation_of(np.random.default_rng(0), 1_000_000, *classifier)
    rows = np.arange(len(true)), evaluation.probabilities.argmax(axis=1)
    confidence = evaluation.probabilities[rows]
    bins = np.minimum((confidence * 15).astype(int), 14)
    error = np.abs(np.bincount(bins, confidence - true[rows])).sum() / len(true)
    others = [name for name in METRICS if name != 'calibration_error']
    return {name: getattr(evaluation, name) for name in others} | {'calibration_error': error}


def are_held(random, n, scatter, sharpness, truth):
    """Return for each metric whether the interval of n galaxies holds the true value."""
    evaluation, _ = evaluation_of(random, n, scatter, sharpness)
    intervals = (evaluation.interval(name) for name in METRICS)
    return [
        low - 1e-9 <= truth[name] <= high + 1e-9
        for name, (low, high) in zip(METRICS, intervals, strict=True)
    ]


def draw_features(random, n):
    """Draw features of classes that overlap, and the classes."""
    centres = np.random.default_rng(1).normal(size=(N_CLASSES, N_FEATURES))
    target = random.permutation(np.arange(n) % N_CLASSES)
    return 0.6 * centres[target] + random.normal(size=(n, N_FEATURES)), target


def is_progress_held(random, n):
    """Return whether the interval of the labelling page holds the accuracy on other galaxies."""
    features, target = draw_features(random, n)
    others, truth = draw_features(random, 4 * N_TEST)
    accuracy = np.mean(linear_head().fit(features, target).predict(others) == truth)
    progress = cross_validate(features, target)
    return progress.low <= accuracy <= progress.high


def by_split(random, n):
    """Return the coverage of sets from the scores of n galaxies held out."""
    probabilities, _, target = draw_classes(random, n + N_TEST, 2.5, 1.8)
    scores = conformity_scores(probabilities)[np.arange(n), target[:n]]
    sets = prediction_sets(probabilities[n:], scores, coverage=COVERAGE)
    return sets[np.arange(N_TEST), target[n:]].mean()


def by_folds(random, n):
    """Return the coverage of the sets of a linear classifier that is fitted to n galaxies."""
    features, target = draw_features(random, n)
    others, truth = draw_features(random, N_TEST)
    network = build_network(ModelSpec(architecture='features', views=1), n_features=N_FEATURES)
    subject = Classes(tuple(range(target.max() + 1)))
    conformity = set_best_head(
        network,
        features,
        np.eye(subject.n_outputs)[target],
        np.ones(n),
        subject=subject,
        heads=[linear_head()],
        random_state=0,
    )
    logits = network.head(torch.from_numpy(others)) / network.temperature
    sets = prediction_sets(softmax(logits.numpy(), axis=1), conformity, coverage=COVERAGE)
    return sets[np.arange(N_TEST), truth].mean()


def novel_fractions(random, n, kind):
    """Return the fraction of other galaxies with a p-value below each level."""
    known, others = (DRAW[kind](random, size) for size in (n, N_TEST))
    p = fit_novelty(known, random_state=0)(torch.from_numpy(others)).numpy()
    return [np.mean(p < level) for level in LEVELS]


DRAW = {
    'normal': lambda random, n: random.normal(size=(n, N_FEATURES)),
    'heavy-tailed': lambda random, n: random.standard_t(4, size=(n, N_FEATURES)),
    'classes': lambda random, n: draw_features(random, n)[0],
}


if __name__ == '__main__':
    main()
