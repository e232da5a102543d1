# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Class fractions of a population: corrected for the confusion, with intervals."""

import numpy as np
import pytest

from astro_morph.evaluation.fractions import class_fractions

CLASSES = ['E', 'M', 'S']

# Mean probabilities, of which each galaxy has those of a predicted class.
PREDICTED = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
CONFUSION = np.array([[0.9, 0.05, 0.05], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])


def of_mixture(mixture, n):
    """Return probabilities of a sample whose predicted classes are exactly those expected."""
    return np.repeat(PREDICTED, np.rint(n * np.array(mixture) @ CONFUSION).astype(int), axis=0)


@pytest.fixture
def evaluated():
    true = np.repeat(CLASSES, 200)
    return true, np.concatenate([of_mixture(row, 200) for row in np.eye(3)])


@pytest.mark.parametrize('mixture', [(0.4, 0.2, 0.4), (0.01, 0.39, 0.6), (0.9, 0.1, 0.0)])
def test_confusion_is_corrected(evaluated, mixture):
    table = class_fractions(CLASSES, *evaluated, of_mixture(mixture, 20_000))
    np.testing.assert_allclose(table['fraction'], mixture, atol=1e-3)
    assert np.abs(table['counted'] - mixture).max() > 0.03
    assert (table['low'] <= mixture).all()
    assert (mixture <= table['high']).all()


def test_intervals_shrink_with_both_samples(evaluated):
    def width(times, n):
        true, known = (np.repeat(part, times, axis=0) for part in evaluated)
        table = class_fractions(CLASSES, true, known, of_mixture([0.3, 0.3, 0.4], n))
        return table['high'][0] - table['low'][0]

    assert width(1, 100) > 1.5 * width(1, 100_000) > 2 * width(16, 100_000)


def test_intervals_hold_the_truth_at_their_level():
    held = []
    for seed in range(300):
        random = np.random.default_rng(seed)

        def draw(mixture, n, random=random):
            true = random.choice(3, n, p=mixture)
            logits = 4 * (np.eye(3)[true] + random.normal(scale=0.5, size=(n, 3)))
            p = np.exp(logits)
            return np.array(CLASSES)[true], p / p.sum(axis=1, keepdims=True)

        table = class_fractions(CLASSES, *draw([1 / 3] * 3, 300), draw([0.05, 0.35, 0.6], 1000)[1])
        truth = np.array([0.05, 0.35, 0.6])
        held.append((table['low'] <= truth) & (truth <= table['high']))
    # The standard error of the mean is 0.017 for one class.
    np.testing.assert_allclose(np.mean(held, axis=0), 0.9, atol=0.05)


def test_rows_without_prediction_are_left_out(evaluated):
    sample = of_mixture([0.3, 0.3, 0.4], 100)
    with_nan = np.concatenate([sample, np.full((5, 3), np.nan)])
    table = class_fractions(CLASSES, *evaluated, with_nan)
    assert (table == class_fractions(CLASSES, *evaluated, sample)).all()


def test_classes_that_are_not_told_apart_may_have_any_fraction(evaluated):
    true, known = evaluated
    table = class_fractions(CLASSES, true, np.full_like(known, 1 / 3), np.full((9, 3), 1 / 3))
    assert np.isnan(table['fraction']).all()
    assert (table['low'] == 0).all()
    assert (table['high'] == 1).all()


def test_fractions_of_a_class_without_evaluated_galaxies_are_not_known(evaluated):
    true, known = evaluated
    with pytest.warns(match=r"\['S'\] have fewer than 2 evaluated galaxies"):
        table = class_fractions(CLASSES, true[:401], known[:401], known)
    assert np.isnan(table['fraction']).all()
    assert (table['high'] == 1).all()


def test_sample_without_predictions_is_an_error(evaluated):
    with pytest.raises(ValueError, match='no galaxy of the sample has probabilities'):
        class_fractions(CLASSES, *evaluated, np.full((2, 3), np.nan))
