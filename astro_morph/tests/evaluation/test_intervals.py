# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Intervals hold the true value as often as they promise, also near 0 and 1."""

import numpy as np
import pytest
from scipy.special import softmax

from astro_morph.evaluation import Evaluation
from astro_morph.evaluation.evaluation import METRICS
from astro_morph.evaluation.intervals import (
    brier_interval,
    calibration_interval,
    combine_intervals,
    proportion_interval,
    roc_area_interval,
    set_size_interval,
)
from astro_morph.models.calibration import conformity_scores, expected_calibration_error

N_CLASSES = 3
REPETITIONS = 200


def draw(random, n, sharpness=1.0):
    """Return the evaluation of a classifier whose confidence is too high by a known factor."""
    logits = random.normal(scale=3, size=(n, N_CLASSES))
    cumulated = np.cumsum(softmax(logits, axis=1), axis=1)
    target = (random.uniform(size=(n, 1)) > cumulated).sum(axis=1).clip(max=N_CLASSES - 1)
    probabilities = softmax(sharpness * logits, axis=1)
    sets = conformity_scores(probabilities) <= 0.9
    return Evaluation(np.arange(N_CLASSES), target, probabilities, sets=sets)


@pytest.fixture(scope='module')
def intervals():
    """Intervals of many small samples of a calibrated classifier, by metric."""
    random = np.random.default_rng(0)
    samples = [draw(random, 40) for _ in range(REPETITIONS)]
    return {name: np.array([sample.interval(name) for sample in samples]) for name in METRICS}


@pytest.fixture(scope='module')
def truth():
    sample = draw(np.random.default_rng(1), 200_000)
    metrics = {name: getattr(sample, name) for name in METRICS if name != 'calibration_error'}
    return metrics | {'calibration_error': 0.0}


@pytest.mark.parametrize('metric', METRICS)
def test_small_samples_hold_the_true_value_as_often_as_promised(metric, intervals, truth):
    low, high = intervals[metric].T
    held = np.mean((low <= truth[metric]) & (truth[metric] <= high))
    # 95 %, with three standard errors of 200 repetitions.
    assert 0.9 <= held <= 1
    assert (high > low).all()


def test_calibration_error_is_not_that_of_chance():
    random = np.random.default_rng(0)
    calibrated = [draw(random, 140) for _ in range(40)]
    plain = [
        expected_calibration_error(np.max(e.probabilities, axis=1), e.is_right) for e in calibrated
    ]
    assert np.mean(plain) > 0.03  # by chance alone
    errors = np.array([e.calibration_error for e in calibrated])
    assert np.mean(errors == 0) > 0.25
    assert errors.mean() < 0.7 * np.mean(plain)
    sharp = draw(np.random.default_rng(1), 200_000, sharpness=2)
    error = expected_calibration_error(np.max(sharp.probabilities, axis=1), sharp.is_right)
    found = [draw(random, 700, sharpness=2).calibration_error for _ in range(20)]
    assert np.mean(found) == pytest.approx(error, abs=0.01)


def test_intervals_of_perfect_results_have_a_width():
    perfect = Evaluation(['a', 'b'], ['a', 'b'] * 10, np.tile(np.eye(2), (10, 1)))
    assert perfect.interval('accuracy') == pytest.approx((0.839, 1), abs=0.001)
    for metric in ('balanced_accuracy', 'roc_auc', 'brier_score'):
        low, high = perfect.interval(metric)
        assert low <= getattr(perfect, metric) <= high
        assert high - low > 0.05
    table = perfect.to_table()
    assert (table['recall_low'] < 0.8).all()
    assert (table['precision_high'] == 1).all()


def test_proportions_are_those_of_wilson():
    from astropy.stats import binom_conf_interval

    for k, n in ((0, 10), (3, 10), (99, 100)):
        expected = binom_conf_interval(k, n, 0.95, 'wilson')
        np.testing.assert_allclose(proportion_interval(k / n, n), expected, atol=1e-6)
    assert np.isnan(proportion_interval(0.5, 0)).all()


def test_a_higher_level_is_wider():
    evaluation = draw(np.random.default_rng(0), 100)
    for metric in METRICS:
        widths = [np.ptp(evaluation.interval(metric, level=level)) for level in (0.5, 0.95, 0.99)]
        assert widths == sorted(widths)


def test_metric_without_an_interval_is_an_error():
    evaluation = draw(np.random.default_rng(0), 20)
    with pytest.raises(ValueError, match=r"metric is 'confusion', expected one of \('accuracy'"):
        evaluation.interval('confusion')


def test_sums_of_terms_that_are_correlated():
    low, high = combine_intervals([1, 1], [0, 0], [2, 2], correlation=np.ones((2, 2)))
    assert (low, high) == (0, 4)


@pytest.mark.parametrize('n', [1, 2, 5])
def test_very_few_galaxies(n):
    probabilities = np.tile([0.7, 0.3], (n, 1))
    is_true = np.tile([True, False], (n, 1))
    bounds = [
        brier_interval(probabilities, is_true),
        calibration_interval(probabilities[:, 0], is_true[:, 0])[1:],
        set_size_interval(np.ones(n, int)),
    ]
    assert np.isfinite(bounds).all()
    if n > 1:
        is_true[0] = [False, True]
        assert np.isfinite(roc_area_interval(probabilities, is_true)).all()
