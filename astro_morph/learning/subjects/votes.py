# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fit a head that predicts votes: a linear layer to the concentrations of each question."""

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.preprocessing import StandardScaler
from torch import nn

from astro_morph.models.dirichlet import (
    concentrations,
    log_likelihood,
    log_likelihood_gradient,
)

__all__ = ['fit_votes_head']

# Weight of the squared coefficients against the likelihood of all galaxies: with hundreds of
# correlated features it is best when strong. Between half and three times of it, the likelihood of
# held-out Galaxy Zoo 2 votes changes little.
PENALTY = 80.0

# On Galaxy Zoo 2 the search converges in fewer.
MOST_STEPS = 300


def fit_votes_head(features, counts, tree, *, sample_weight, penalty=PENALTY):
    """
    Fit a linear head whose concentrations maximise the likelihood of the votes.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        The features.
    counts : ndarray, shape (n, n_answers)
        The votes.
    tree : `~astro_morph.catalog.vote_tree.VoteTree`
        The questions.
    sample_weight : ndarray, shape (n,)
        Weight of each galaxy.
    penalty : float, default=80.0
        Weight of the squared coefficients of the standardised features.

    Returns
    -------
    head : `torch.nn.Linear`
        Takes the features as they are.
    """
    scaler = StandardScaler().fit(features, sample_weight=sample_weight)
    # In double precision: the search for the optimum follows small differences.
    inputs = scaler.transform(features).astype(float)
    d, n_answers = inputs.shape[1], len(tree.names)
    total_weight = sample_weight.sum()

    def loss(parameters):
        weight, bias = np.split(parameters.reshape(n_answers, d + 1), [d], axis=1)
        logits = inputs @ weight.T + bias.T
        of_galaxy = log_likelihood(counts, concentrations(logits), tree).sum(axis=1)
        value = penalty * np.sum(weight**2) - sample_weight @ of_galaxy
        by_logits = -sample_weight[:, None] * log_likelihood_gradient(counts, logits, tree)
        by_weight = by_logits.T @ inputs + 2 * penalty * weight
        gradient = np.column_stack([by_weight, by_logits.sum(axis=0)])
        # A mean, so that the tolerances of the search don't depend on the number of galaxies, and
        # a weight of two is the same as two galaxies.
        return value / total_weight, gradient.ravel() / total_weight

    start = np.zeros(n_answers * (d + 1))
    # With the default memory of ten steps, the search needs several times as many.
    options = {'maxiter': MOST_STEPS, 'maxcor': 30, 'ftol': 0, 'gtol': 1e-7}
    best = minimize(loss, start, jac=True, method='L-BFGS-B', options=options).x
    weight, bias = np.split(best.reshape(n_answers, d + 1), [d], axis=1)
    weight = weight / scaler.scale_
    head = nn.Linear(d, n_answers, dtype=getattr(torch, features.dtype.name))
    head.weight.data.copy_(torch.from_numpy(weight))
    head.bias.data.copy_(torch.from_numpy(bias[:, 0] - weight @ scaler.mean_))
    return head.requires_grad_(False)
