# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Estimate by cross-validation how well the labels so far predict each other."""

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import PredefinedSplit

from astro_morph.evaluation.intervals import proportion_interval
from astro_morph.learning.heads import linear_head

__all__ = ['Progress', 'cross_validate']

# With five, a classifier of 30 labels would seem worse by 3 points than one fitted to all.
FOLDS = 10

# The predictions share most of their training labels, so their errors are correlated: they count as
# independent ones of this fraction (Bates, Hastie & Tibshirani 2021, arXiv:2104.00673). Otherwise
# the interval of 30 labels would hold the accuracy in 92 % of the cases (benchmarks/coverage.py).
INDEPENDENT = 0.85


class Progress(NamedTuple):
    """
    Accuracy that a number of labels has reached.

    Parameters
    ----------
    n_labels : int
        Number of labelled galaxies that have an image.
    accuracy : float
        Fraction of them whose label is predicted correctly from the labels of others.
    low, high : float
        Bounds of the 95 % confidence interval of the accuracy of a classifier that has learnt all
        of these labels (Wilson 1927, for 0.85 times as many galaxies).

    Examples
    --------
    >>> from astro_morph.labelling import Progress
    >>> Progress(n_labels=40, accuracy=0.9, low=0.77, high=0.96).accuracy
    0.9
    """

    n_labels: int
    accuracy: float
    low: float
    high: float


def cross_validate(features, labels):
    """
    Compute how often a linear classifier predicts a label from those of other galaxies.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Features of the labelled galaxies.
    labels : ndarray of int, shape (n,)
        Their labels.

    Returns
    -------
    progress : Progress or None
        None until two classes have two labels each. A class with a single galaxy is trained on,
        but not predicted.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.labelling import cross_validate
    >>> features = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> progress = cross_validate(features, np.array([0, 0, 0, 1, 1, 1]))
    >>> progress.n_labels, progress.accuracy
    (6, 1.0)
    """
    counts = np.bincount(labels)
    if np.sum(counts > 1) < 2:
        return None
    fold = np.full(len(labels), -1)
    for k in np.flatnonzero(counts > 1):
        fold[labels == k] = np.arange(counts[k]) % FOLDS
    is_right = np.concatenate(
        [
            linear_head().fit(features[known], labels[known]).predict(features[held_out])
            == labels[held_out]
            for known, held_out in PredefinedSplit(fold).split()
        ]
    )
    low, high = proportion_interval(is_right.mean(), INDEPENDENT * len(is_right))
    return Progress(len(labels), float(is_right.mean()), float(low), float(high))
