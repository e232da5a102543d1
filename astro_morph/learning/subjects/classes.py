# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Classes as what a lesson teaches: their heads, what is held out, calibration and loss."""

import dataclasses
from functools import partial

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from astro_morph.learning.heads import (
    FOLDS,
    HELD_OUT,
    MOST_HELD_OUT,
    calibrate,
    calibrated_losses,
    fit_head,
    linear_head,
    small_head,
)
from astro_morph.learning.objectives.supervised import cross_entropy
from astro_morph.utils.messages import for_caller

__all__ = ['Classes']

# Penalty of a logistic regression on plain features: scikit-learn's default.
FLAT_PENALTY = 1.0


class Classes:
    """
    Classes to be learnt; the target of a galaxy is the probability of each.

    Parameters
    ----------
    classes : tuple
        The classes.
    label_smoothing : float, default=0.1
        As in `~astro_morph.learning.objectives.supervised.cross_entropy`.

    Attributes
    ----------
    n_outputs : int
        Number of logits of a galaxy.
    compare : callable
        The loss of a training, as `~astro_morph.learning.objectives.Supervised` takes it.
    """

    def __init__(self, classes, *, label_smoothing=0.1):
        self.classes = classes
        self.n_outputs = len(classes)
        self.compare = partial(cross_entropy, label_smoothing=label_smoothing)

    def heads(self, seed):
        """Return the heads to choose from by name, not fitted."""
        return {'linear': linear_head(), 'head': small_head(random_state=seed)}

    def plain_head(self):
        """Return the head for plain features, not fitted."""
        return linear_head(penalty=FLAT_PENALTY)

    def fit_head(self, head, features, target, sample_weight):
        """Fit a head, see `~astro_morph.learning.heads.fit_head`."""
        return fit_head(head, features, target.argmax(axis=1), sample_weight)

    def losses(self, logits, target, sample_weight):
        """Compute the loss of each galaxy by `~astro_morph.learning.heads.calibrated_losses`."""
        return calibrated_losses(logits, target.argmax(axis=1), sample_weight)

    def calibrate(self, network, logits, target, sample_weight):
        """Calibrate a network by `~astro_morph.learning.heads.calibrate`."""
        return calibrate(network, logits, target.argmax(axis=1), sample_weight)

    def folds(self, target, random_state):
        """Split the rows into folds. The only label of a class is learnt from in all of them."""
        target = target.argmax(axis=1)
        counts = np.bincount(target)
        is_only = counts[target] == 1
        several, only = np.flatnonzero(~is_only), np.flatnonzero(is_only)
        if np.sum(counts > 1) < 2:
            return []
        n_folds = min(FOLDS, counts[counts > 1].min())
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
        return [
            (np.append(several[rows], only), several[held_out])
            for rows, held_out in folds.split(several, target[several])
        ]

    def hold_out(self, target, seed):
        """Split the rows into those to rehearse on and, if there are enough, to calibrate on."""
        target = target.argmax(axis=1)
        counts = np.bincount(target)
        n_held_out = int(np.clip(HELD_OUT * len(target), len(counts), MOST_HELD_OUT))
        # The only label of a class is needed for the rehearsal.
        is_only = counts[target] == 1
        several = np.flatnonzero(~is_only)
        if len(several) < 2 * n_held_out:
            return np.arange(len(target)), np.zeros(0, int)
        rows, held_out = train_test_split(
            several, test_size=n_held_out, random_state=seed, stratify=target[several]
        )
        return np.append(rows, np.flatnonzero(is_only)), held_out

    def without_held_out(self):
        """Return what a model lacks if no labels could be held out, and what to do."""
        return (
            'the probabilities are not calibrated'
            + for_caller(', and predict_set has no scores', '')
            + '; label more galaxies of each class'
        )

    def describe(self, spec, conformity):
        """Return the specification of a model of these classes, with its conformity scores."""
        return dataclasses.replace(spec, classes=self.classes, conformity=conformity)
