# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Temperature scaling finds the temperature that was put in."""

import numpy as np
import pytest
from scipy.special import softmax

from astro_morph.calibration import fit_temperature


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
