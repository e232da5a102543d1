# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Errors of predicted numbers, beside those computed by hand."""

import astropy.units as u
import numpy as np
import pytest

from astro_morph.evaluation.numbers import compare_numbers


@pytest.fixture
def errors():
    """Of the first number, one is unknown, one not predicted, and one is an outlier."""
    random = np.random.default_rng(0)
    true = random.normal(size=(200, 2))
    predicted = true + 0.5 + 0.1 * random.normal(size=(200, 2))
    predicted[0, 0] += 100
    true[1, 0], predicted[2, 0] = np.nan, np.nan
    ends = predicted - 0.7, predicted + np.inf
    return compare_numbers(['bar', 'q'], true, predicted, ends, units=[u.kpc, None])


def test_each_number_has_a_row(errors):
    assert errors['name'].tolist() == ['bar', 'q']
    assert errors['unit'].tolist() == ['kpc', '']
    assert errors['n'].tolist() == [198, 200]


def test_one_wrong_prediction_changes_bias_and_rms_but_not_the_nmad(errors):
    assert errors['bias'][0] == pytest.approx(0.5 + 100 / 198, abs=0.02)
    assert errors['bias'][1] == pytest.approx(0.5, abs=0.02)
    assert errors['rms'][0] > 7
    np.testing.assert_allclose(errors['nmad'], 0.1, rtol=0.2)
    np.testing.assert_allclose(errors['outliers'], [1 / 198, 0])


def test_intervals_cover_what_lies_in_them(errors):
    # An error of 0.5 +- 0.1 is below 0.7 in 97.7 % of the galaxies.
    np.testing.assert_allclose(errors['coverage'], 0.977, atol=0.03)
    assert np.isinf(errors['width']).all()


def test_unknown_intervals_cover_nothing_and_a_number_without_galaxies_has_no_errors():
    true = np.array([[1.0, np.nan], [2.0, np.nan]])
    unknown = np.full((2, 2), np.nan)
    errors = compare_numbers(['a', 'b'], true, true, (unknown, unknown))
    assert errors['n'].tolist() == [2, 0]
    assert np.isnan(errors['coverage']).all()
    assert errors['rms'][0] == 0
    assert np.isnan(errors['rms'][1])


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match='no galaxy has both a known number and a prediction'):
        compare_numbers(['a'], np.full((3, 1), np.nan), np.zeros((3, 1)), (np.zeros((3, 1)),) * 2)
