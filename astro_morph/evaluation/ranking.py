# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Measure how well a score ranks the galaxies of one kind before all others."""

import math

import numpy as np
from sklearn.metrics import average_precision_score

__all__ = ['NAMES', 'ranking_measures']

# Part of the ranked list that someone looks at, and part of the galaxies of the kind to be found.
TOP = 0.01
FOUND = 0.9

NAMES = ('pr_auc', 'precision_top', 'n_for_90')


def ranking_measures(scores, is_kind):
    """
    Compute how well a score ranks the galaxies of one kind before all others.

    Galaxies of the same score are in random order in the expected precision, and are all looked at
    in the number to look at.

    Parameters
    ----------
    scores : array_like, shape (n,)
        The score of each galaxy, such as the probability of the kind.
    is_kind : array_like of bool, shape (n,)
        Whether it is of the kind.

    Returns
    -------
    pr_auc : float
        Area under the precision-recall curve, as the average precision; that of a random order is
        the fraction of the kind. NaN if there is no galaxy of the kind.
    precision_top : float
        Fraction of the kind among the 1 % of highest score, at least one galaxy.
    n_for_90 : float
        Number of galaxies of highest score to look at, to see 90 % of the kind. NaN if there is no
        galaxy of the kind.

    Examples
    --------
    >>> from astro_morph.evaluation.ranking import ranking_measures
    >>> area, precision, n = ranking_measures([0.9, 0.8, 0.7, 0.1], [True, False, True, False])
    >>> round(area, 3), precision, n
    (0.833, 1.0, 3.0)
    """
    scores, is_kind = np.asarray(scores, float), np.asarray(is_kind, bool)
    n_kind = int(is_kind.sum())
    if n_kind == 0:
        return math.nan, 0.0, math.nan
    n_top = math.ceil(TOP * len(scores))
    last = np.sort(scores)[-n_top]
    is_above, is_last = scores > last, scores == last
    expected = is_kind[is_above].sum() + (n_top - is_above.sum()) * is_kind[is_last].mean()
    needed = np.sort(scores[is_kind])[-math.ceil(FOUND * n_kind)]
    return (
        float(average_precision_score(is_kind, scores)),
        float(expected / n_top),
        float(np.sum(scores >= needed)),
    )
