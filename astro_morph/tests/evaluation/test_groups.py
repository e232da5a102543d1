# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Groups by a column: bins of numbers, kinds of text."""

import numpy as np
import pytest

from astro_morph.evaluation.groups import find_groups

NAN = float('nan')


@pytest.mark.parametrize(
    ('values', 'names', 'numbers'),
    [
        ([1.0, 2.0, 3.0, 4.0], ['1 to 2.5', '2.5 to 4'], [0, 0, 1, 1]),
        ([1.0, NAN, 3.0, 4.0], ['1 to 3', '3 to 4'], [0, -1, 1, 1]),
        (np.ma.array([5, 1, 2, 3], mask=[1, 0, 0, 0]), ['1 to 2', '2 to 3'], [-1, 0, 1, 1]),
        ([1, 1, 2, 2], ['1', '2'], [0, 0, 1, 1]),
        ([True, False, True, True], ['False', 'True'], [1, 0, 1, 1]),
        (['b', 'a', '', 'b'], ['a', 'b'], [1, 0, -1, 1]),
        (np.ma.array(['b', 'a', 'c', 'b'], mask=[0, 0, 1, 0]), ['a', 'b'], [1, 0, -1, 1]),
    ],
)
def test_values_are_grouped(values, names, numbers):
    groups = find_groups(values, n_bins=2)
    assert groups.names == names
    assert groups.assign(values).tolist() == numbers


def test_bins_have_equal_counts():
    values = np.random.default_rng(0).exponential(size=1000)
    assert np.bincount(find_groups(values).assign(values)).tolist() == [200] * 5


def test_other_values_are_in_no_group():
    assert find_groups([1.0, 2.0, 3.0], n_bins=2).assign([0.5, 3.5, NAN]).tolist() == [-1] * 3
    assert find_groups(['a', 'b']).assign(['c', '', 'a']).tolist() == [-1, -1, 0]


def test_column_without_values_is_an_error():
    with pytest.raises(ValueError, match='by has no known value'):
        find_groups(np.full(3, np.nan))
