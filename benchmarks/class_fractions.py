# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Simulate how often intervals of class fractions hold the true fraction, and the error of it.

Probabilities of four classes are simulated, and no classifier is trained. Printed are, for each
fraction of one class in the new sample, the error (root of the mean square) of counting predicted
classes and of the corrected fraction, and how often the 90 % interval holds the truth.

    python benchmarks/class_fractions.py [--repetitions 400] [--evaluated 400] [--galaxies 2000]
"""

import argparse

import numpy as np
from scipy.special import softmax

from astro_morph.evaluation.fractions import class_fractions

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)

# Fractions of the classes among the evaluated galaxies, and their places among three features.
KNOWN = np.array([0.4, 0.3, 0.2, 0.1])
PLACES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])

# Distance of the places in standard deviations, which sets the accuracy, and the factor of the
# predicted logits.
CLASSIFIERS = {
    'accuracy 0.95, calibrated': (3.5, 1.0),
    'accuracy 0.83, calibrated': (2.0, 1.0),
    'accuracy 0.95, overconfident': (3.5, 1.3),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--repetitions', type=int, default=400)
    parser.add_argument('--evaluated', type=int, default=400)
    parser.add_argument('--galaxies', type=int, default=2000)
    options = parser.parse_args()
    for name, classifier in CLASSIFIERS.items():
        print(f'{name}\n  true     counted  corrected  interval holds it')
        held = []
        for fraction in FRACTIONS:
            counted, corrected, is_held = repeat(fraction, classifier, options)
            held.append(is_held)
            print(
                f'  {fraction:4.2f}   {rms(counted):8.4f}   {rms(corrected):8.4f}   '
                f'{is_held.mean():.3f} +- {is_held.std() / np.sqrt(is_held.size):.3f}',
                flush=True,
            )
        print(f'  all of them                  {np.mean(held):.3f}')


def repeat(fraction, classifier, options):
    """Return the errors of counting and of the correction, and whether the interval holds it."""
    results = []
    for seed in range(options.repetitions):
        k = seed % len(KNOWN)
        random = np.random.default_rng(seed)
        others = np.delete(KNOWN, k)
        mixture = np.insert((1 - fraction) * others / others.sum(), k, fraction)
        true, evaluated = draw(random, KNOWN, options.evaluated, *classifier)
        _, sample = draw(random, mixture, options.galaxies, *classifier)
        row = class_fractions(np.arange(len(KNOWN)), true, evaluated, sample)[k]
        is_held = row['low'] <= fraction <= row['high']
        results.append([row['counted'] - fraction, row['fraction'] - fraction, is_held])
    return np.transpose(results)


def draw(random, mixture, n, distance, sharpness):
    """Draw true classes and predicted probabilities."""
    true = random.choice(len(mixture), n, p=mixture)
    places = distance * PLACES
    features = places[true] + random.normal(size=(n, 3))
    logits = features @ places.T - np.sum(places**2, axis=1) / 2 + np.log(KNOWN)
    return true, softmax(sharpness * logits, axis=1)


def rms(errors):
    return np.sqrt(np.mean(np.square(errors)))


if __name__ == '__main__':
    main()
