# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Numbers as what a lesson teaches: their heads, what is held out, conformity scores and loss."""

import dataclasses
import warnings

import numpy as np
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import GammaRegressor, Ridge, RidgeCV
from sklearn.model_selection import KFold, cross_val_predict, train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from astro_morph.learning.heads import FOLDS, HELD_OUT, MOST_HELD_OUT, MOST_SCORES
from astro_morph.learning.objectives.supervised import number_loss
from astro_morph.models.calibration import number_scores, split_outputs
from astro_morph.utils.messages import for_caller

__all__ = ['Numbers']

# Penalties of the ridge regression, of which leave-one-out errors select one.
PENALTIES = np.logspace(-2, 5, 15)

# The scale of the errors is a function of the first principal components of the features: errors
# tell much less than the numbers, and with more parameters the scales of few galaxies are random,
# and their intervals twice as wide as the errors.
GALAXIES_A_COMPONENT = 10
MOST_COMPONENTS = 32

# Penalty of its coefficients, which counts as many galaxies.
SCALE_PENALTY = 10

# Smaller errors, in standard deviations, count as these: a gamma distribution has no zeros.
SMALLEST_ERROR = 1e-6

# Galaxies with a number from which some are held out.
FEWEST_TO_HOLD_OUT = 2 * FOLDS


class Numbers:
    """
    Numbers to be learnt, such as bulge fractions; the targets are in standard deviations.

    Each number has two outputs: its prediction, and the logarithm of the scale of its error, so
    that intervals are wide where predictions are bad.

    Parameters
    ----------
    names, units : sequence of str
        Names and units of the k numbers; a unit is empty if there is none.
    values : ndarray, shape (n, k)
        The numbers of the labelled galaxies, NaN where unknown.

    Attributes
    ----------
    n_outputs : int
        Number of outputs for a galaxy.
    compare : callable
        The loss of a training, as `~astro_morph.learning.objectives.Supervised` takes it.
    """

    compare = staticmethod(number_loss)

    def __init__(self, names, units, values):
        self.names = tuple(names)
        self.units = tuple(units)
        self.n_outputs = 2 * len(self.names)
        self.mean = np.nanmean(values, axis=0)
        std = np.nanstd(values, axis=0)
        # Equal numbers are predicted as they are, whatever the outputs.
        self.std = np.where(std > 0, std, np.finfo(float).tiny)

    def standardised(self, values):
        """Return numbers in standard deviations from the mean."""
        return (values - self.mean) / self.std

    def heads(self, seed):
        """Return the heads to choose from by name, not fitted."""
        return {'linear': self.plain_head()}

    def plain_head(self):
        """Return the head for plain features, not fitted."""
        return RidgeCV(PENALTIES)

    def fit_head(self, head, features, target, sample_weight):
        """
        Fit a linear head to each number and to the scale of its error.

        Parameters
        ----------
        head : `~sklearn.linear_model.RidgeCV`
            As from `heads`.
        features : ndarray, shape (n, d)
            The features.
        target : ndarray, shape (n, k)
            The numbers, NaN where unknown.
        sample_weight : ndarray, shape (n,)
            Weight of each row.

        Returns
        -------
        layer : `torch.nn.Linear`
            Maps features to the predictions and the logarithms of their scales. Its parameters are
            frozen.
        """
        d = features.shape[1]
        weight, bias = np.zeros((self.n_outputs, d)), np.zeros(self.n_outputs)
        for k, column in enumerate(target.T):
            known = np.isfinite(column)
            if known.any():
                outputs = [k, len(self.names) + k]
                data = features[known], column[known], sample_weight[known]
                weight[outputs], bias[outputs] = _fit_number(head, *data)
        layer = nn.Linear(d, self.n_outputs, dtype=getattr(torch, features.dtype.name))
        layer.requires_grad_(False)
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
        return layer

    def losses(self, outputs, target, sample_weight):
        """
        Compute the negative log-likelihood of each galaxy, at the best factor of all scales.

        Parameters
        ----------
        outputs : ndarray, shape (n, 2 k)
            Predictions and logarithms of scales of galaxies held out.
        target, sample_weight
            As for `fit_head`.

        Returns
        -------
        losses : ndarray, shape (n,)
            Of Laplace distributions, the mean over the known numbers of each galaxy.
        """
        predicted, scale = split_outputs(outputs)
        is_known = np.isfinite(target)
        ratio = np.abs(np.where(is_known, target - predicted, 0)) / scale
        weight = sample_weight[:, np.newaxis] * is_known
        # The scale that maximises the likelihood of a Laplace distribution.
        total = np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
        factor = np.maximum((weight * ratio).sum(axis=0) / total, SMALLEST_ERROR)
        losses = np.log(scale * factor) + ratio / factor
        return (losses * is_known).sum(axis=1) / np.maximum(is_known.sum(axis=1), 1)

    def calibrate(self, network, outputs, target, sample_weight):
        """
        Compute the conformity scores of galaxies held out; the network stays as it is.

        Parameters
        ----------
        network : `~astro_morph.models.networks.MorphologyNetwork`
            The network.
        outputs, target, sample_weight
            As for `losses`.

        Returns
        -------
        conformity : tuple of list of float
            The scores of each number, at most 1000.
        """
        scores = number_scores(outputs, target)
        known = (column[np.isfinite(column)] for column in scores.T)
        return tuple(column[:: -(-len(column) // MOST_SCORES) or 1].tolist() for column in known)

    def folds(self, target, random_state):
        """Split the rows into folds; there are none if there are too few rows."""
        if len(target) < FEWEST_TO_HOLD_OUT:
            return []
        return [*KFold(FOLDS, shuffle=True, random_state=random_state).split(target)]

    def hold_out(self, target, seed):
        """Split the rows into those to rehearse on and, if there are enough, to calibrate on."""
        rows = np.arange(len(target))
        if len(rows) < FEWEST_TO_HOLD_OUT:
            return rows, rows[:0]
        n_held_out = min(round(HELD_OUT * len(rows)), MOST_HELD_OUT)
        return train_test_split(rows, test_size=n_held_out, random_state=seed)

    def without_held_out(self):
        """Return what a model lacks if no labels could be held out, and what to do."""
        intervals = for_caller('predict_interval has no scores', 'there are no intervals')
        return f'{intervals}; label at least {FEWEST_TO_HOLD_OUT} galaxies'

    def describe(self, spec, conformity):
        """Return the specification of a model of these numbers, with their conformity scores."""
        scores = conformity or [[] for _ in self.names]
        numbers = {
            name: {'unit': unit, 'mean': float(mean), 'std': float(std), 'scores': its_scores}
            for name, unit, mean, std, its_scores in zip(
                self.names, self.units, self.mean, self.std, scores, strict=True
            )
        }
        return dataclasses.replace(spec, classes=self.names, numbers=numbers)


def _fit_number(head, features, target, sample_weight):
    """Return the weights (2, d) and biases (2,) of a number and of the logarithm of its scale."""
    scaler = StandardScaler().fit(features, sample_weight=sample_weight)
    inputs = scaler.transform(features).astype(float)
    if len(target) == 1:
        return np.zeros((2, inputs.shape[1])), np.array([target[0], 0.0])
    ridge = clone(head).fit(inputs, target, sample_weight=sample_weight)
    folds = KFold(min(FOLDS, len(target)), shuffle=True, random_state=0)
    held_out = cross_val_predict(
        Ridge(ridge.alpha_), inputs, target, cv=folds, params={'sample_weight': sample_weight}
    )
    errors = np.maximum(np.abs(target - held_out), SMALLEST_ERROR)
    scale_weight, scale_bias = _fit_scale(inputs, errors, sample_weight)
    weight = np.stack([ridge.coef_, scale_weight]) / scaler.scale_
    return weight, np.array([ridge.intercept_, scale_bias]) - weight @ scaler.mean_


def _fit_scale(inputs, errors, sample_weight):
    """Return the weights (d,) and the bias of the logarithm of the scale of errors."""
    n, d = inputs.shape
    n_components = min(n // GALAXIES_A_COMPONENT, d, MOST_COMPONENTS)
    if n_components == 0:
        return np.zeros(d), np.log(np.average(errors, weights=sample_weight))
    components = PCA(n_components, svd_solver='full').fit(inputs)
    coordinates = components.transform(inputs)
    spread = StandardScaler().fit(coordinates).scale_
    # With the logarithm as its link, this is the likelihood of a Laplace distribution.
    scale = GammaRegressor(alpha=SCALE_PENALTY / n, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        scale.fit(coordinates / spread, errors, sample_weight=sample_weight)
    weight = (scale.coef_ / spread) @ components.components_
    return weight, scale.intercept_ - weight @ components.mean_
