# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The temperature that was put in is found, and sets hold what they promise."""

import numpy as np
import pytest
from scipy.special import softmax

from astro_morph.models.calibration import (
    conformity_scores,
    expected_calibration_error,
    fit_temperature,
    prediction_sets,
    reliability,
)


def calibrated(n=20_000, n_classes=4, random_state=0):
    """Draw logits and classes that have just the probabilities the logits claim."""
    random = np.random.default_rng(random_state)
    logits = random.normal(scale=2, size=(n, n_classes))
    cumulative = np.cumsum(softmax(logits, axis=1), axis=1)
    return logits, np.sum(random.uniform(size=(n, 1)) > cumulative, axis=1)


@pytest.mark.parametrize('temperature', [0.3, 1.0, 2.5])
def test_known_temperature_is_found(temperature):
    logits, target = calibrated()
    assert fit_temperature(logits * temperature, target) == pytest.approx(temperature, rel=0.04)


def test_rows_count_by_their_weight():
    logits, target = calibrated()
    wrong = np.roll(target, 1)
    weight = np.repeat([1.0, 0.0], len(target))
    found = fit_temperature(np.tile(logits, (2, 1)), np.append(target, wrong), sample_weight=weight)
    assert found == pytest.approx(fit_temperature(logits, target), rel=1e-4)


def test_few_labels_give_no_extreme_temperature():
    sure = [[1.0, 0.0], [0.0, 1.0]]
    assert fit_temperature(sure, [0, 1]) == pytest.approx(0.1, rel=0.05)
    assert fit_temperature(sure, [1, 0]) == pytest.approx(10, rel=0.05)


class TestSets:
    @pytest.mark.parametrize('coverage', [0.6, 0.9])
    @pytest.mark.parametrize('sharpness', [0.5, 1.0, 3.0])
    def test_coverage_is_what_was_asked_for_however_wrong_the_probabilities(
        self, coverage, sharpness
    ):
        n, repetitions = 100, 300
        logits, target = calibrated(2 * n * repetitions)
        probabilities = softmax(sharpness * logits, axis=1)
        scores = conformity_scores(probabilities)[np.arange(len(target)), target]
        covered = []
        for part in np.arange(len(target)).reshape(repetitions, 2, n):
            sets = prediction_sets(probabilities[part[0]], scores[part[1]], coverage=coverage)
            covered.append(sets[np.arange(n), target[part[0]]].mean())
        # Split conformal prediction promises this mean: the rank of the threshold in n + 1.
        expected = np.ceil((n + 1) * coverage) / (n + 1)
        error = np.std(covered) / np.sqrt(repetitions)
        assert np.mean(covered) == pytest.approx(expected, abs=4 * error)
        assert error < 0.005

    def test_sets_are_nested_and_hold_likelier_classes_first(self):
        logits, target = calibrated(2000)
        probabilities = softmax(logits, axis=1)
        held_out = conformity_scores(probabilities)[np.arange(1000), target[:1000]]
        small, large = (
            prediction_sets(probabilities[1000:], held_out, coverage=c) for c in (0.7, 0.95)
        )
        assert (small <= large).all()
        assert small.sum() < large.sum()
        least_inside = np.where(large, probabilities[1000:], 1).min(axis=1)
        most_outside = np.where(large, 0, probabilities[1000:]).max(axis=1)
        assert (least_inside >= most_outside).all()

    def test_sets_repeat_and_hardly_depend_on_rounding(self):
        logits, _ = calibrated(5000)
        probabilities = softmax(logits, axis=1)
        rounded = probabilities * (
            1 + np.random.default_rng(1).normal(0, 1e-6, probabilities.shape)
        )
        held_out = np.linspace(0, 1, 100)
        sets = prediction_sets(probabilities, held_out)
        np.testing.assert_array_equal(sets, prediction_sets(probabilities, held_out))
        assert np.mean(sets != prediction_sets(rounded, held_out)) < 1e-3

    def test_too_few_held_out_promise_only_all_classes(self):
        probabilities = [[0.98, 0.01, 0.01], [np.nan] * 3]
        sets = prediction_sets(probabilities, [0.1] * 8, coverage=0.9)
        assert sets.tolist() == [[True] * 3, [False] * 3]

    @pytest.mark.parametrize('coverage', [0, 1, 90])
    def test_impossible_coverage_is_an_error(self, coverage):
        with pytest.raises(ValueError, match=f'between 0 and 1, got {coverage}'):
            prediction_sets([[0.5, 0.5]], [0.1], coverage=coverage)


class TestReliability:
    CONFIDENCE = (0.55, 0.65, 0.95, 0.95, 1.0)
    IS_RIGHT = (True, False, True, True, False)

    def test_bins_are_counted(self):
        n, confidence, accuracy = reliability(self.CONFIDENCE, self.IS_RIGHT, n_bins=2)
        assert n.tolist() == [0, 5]
        np.testing.assert_allclose(confidence, [np.nan, 0.82])
        np.testing.assert_allclose(accuracy, [np.nan, 0.6])

    def test_error_is_the_mean_difference(self):
        # The bins from 0.5 to 0.6, 0.6 to 0.7, and 0.9 to 1.
        expected = (abs(0.55 - 1) + abs(0.65 - 0) + 3 * abs(2.9 / 3 - 2 / 3)) / 5
        found = expected_calibration_error(self.CONFIDENCE, self.IS_RIGHT, n_bins=10)
        assert found == pytest.approx(expected)

    def test_calibrated_probabilities_have_next_to_none(self):
        logits, target = calibrated()
        probabilities = softmax(logits, axis=1)
        is_right = probabilities.argmax(axis=1) == target
        assert expected_calibration_error(probabilities.max(axis=1), is_right) < 0.012
        sure = softmax(3 * logits, axis=1).max(axis=1)
        assert expected_calibration_error(sure, is_right) > 0.1
