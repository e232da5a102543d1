# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of how well scores rank the galaxies of a rare kind."""

import numpy as np
import pytest

from astro_morph.evaluation import Evaluation
from astro_morph.evaluation.ranking import ranking_measures


@pytest.mark.parametrize(
    ('scores', 'is_kind', 'expected'),
    [
        # In order: the last of the kind is number three.
        ([5, 4, 3, 2], [1, 0, 1, 0], ((1 + 2 / 3) / 2, 1, 3)),
        # 90 % of one galaxy is that galaxy.
        ([5, 4, 3, 2], [0, 0, 0, 1], (1 / 4, 0, 4)),
        # Of galaxies with one score, each may be the first, and all must be looked at.
        ([1, 1, 1, 1], [1, 0, 0, 0], (1 / 4, 1 / 4, 4)),
        ([1, 2], [0, 0], (np.nan, 0, np.nan)),
        ([1, 2], [1, 1], (1, 1, 2)),
    ],
)
def test_measures_of_few_galaxies(scores, is_kind, expected):
    np.testing.assert_allclose(ranking_measures(scores, is_kind), expected)


def test_measures_of_a_thousand_galaxies():
    # Of the first ten, seven are of the kind; the others of the kind are the last thirteen.
    is_kind = np.zeros(1000)
    is_kind[:7] = is_kind[-13:] = 1
    area, precision, n = ranking_measures(-np.arange(1000), is_kind)
    ranks = np.flatnonzero(is_kind) + 1
    assert area == pytest.approx(np.mean(np.arange(1, 21) / ranks))
    assert precision == pytest.approx(0.7)
    # The eighteenth of twenty.
    assert n == ranks[17]


def test_evaluation_has_a_row_for_each_class():
    evaluation = Evaluation(
        ['other', 'ring'], ['ring', 'other', 'other'], [[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]]
    )
    table = evaluation.ranking()
    assert table.colnames == ['class', 'n', 'pr_auc', 'precision_top', 'n_for_90']
    assert table['n'].tolist() == [2, 1]
    assert table['n_for_90'].tolist() == [3, 2]
    assert table['pr_auc'][1] == pytest.approx(1 / 2)
    assert 'n_for_90' in str(evaluation)
    assert 'n_for_90' in evaluation._repr_html_()
