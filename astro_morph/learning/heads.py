# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fit heads on features, choose the best one, and calibrate it; with the heads of classes."""

import warnings

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from astro_morph.models.calibration import conformity_scores, fit_temperature

__all__ = [
    'calibrate',
    'calibrated_losses',
    'fit_head',
    'linear_head',
    'set_best_head',
    'small_head',
]

# Folds of cross-validation, whose held-out predictions compare and calibrate the heads.
FOLDS = 5

# The confidence is calibrated on labels that the network has not learnt, but the final network is
# to learn from all: in the first half of a training, the rehearsal, this fraction of the labels is
# held out.
HELD_OUT = 0.2
MOST_HELD_OUT = 500

# Conformity scores that a model keeps for its prediction sets.
MOST_SCORES = 1000

# Pooled features are hundreds of correlated numbers: with few labels, strong penalties are best. Of
# the inverse strengths 1, 0.1, 0.03, 0.01 and so on, this or the next one predicts 50 to 1,000 SDSS
# galaxies best.
PENALTY = 0.03
DECAY = 10.0

# Wide enough for classes that are not convex regions of the features.
N_HIDDEN = 64

# Passes over the features; few are as good as a strong penalty against overfitting.
MOST_PASSES = 200


def linear_head(*, penalty=PENALTY):
    """
    Build a logistic regression on standardised features.

    Parameters
    ----------
    penalty : float, default=0.03
        Inverse strength of the penalty on the weights, ``C`` of scikit-learn.

    Returns
    -------
    head : `~sklearn.pipeline.Pipeline`
        The head, not fitted.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))


def small_head(*, random_state):
    """
    Build a network with one hidden layer on standardised features.

    Parameters
    ----------
    random_state : int
        Seed of the initial weights.

    Returns
    -------
    head : `~sklearn.pipeline.Pipeline`
        The head, not fitted.
    """
    perceptron = MLPClassifier(
        N_HIDDEN,
        alpha=DECAY,
        learning_rate_init=0.003,
        max_iter=MOST_PASSES,
        random_state=random_state,
    )
    return make_pipeline(StandardScaler(), perceptron)


def fit_head(head, features, target, sample_weight):
    """
    Fit a head, and convert it to layers that take the features without standardisation.

    Parameters
    ----------
    head : `~sklearn.pipeline.Pipeline`
        As from `linear_head` or `small_head`; a copy is fitted.
    features : ndarray, shape (n, d)
        The features.
    target : ndarray of int, shape (n,)
        Index of the class of each row.
    sample_weight : ndarray, shape (n,)
        Weight of each row.

    Returns
    -------
    layers : `torch.nn.Module`
        Maps features to logits, as `~astro_morph.models.networks.classification_head` does. Its
        parameters are frozen.
    """
    fitted = clone(head)
    weights = {f'{name}__sample_weight': sample_weight for name, _ in head.steps}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        fitted.fit(features, target, **weights)
    scaler, classifier = fitted
    if isinstance(classifier, LogisticRegression):
        layers = [(classifier.coef_, classifier.intercept_)]
    else:
        weights = (weight.T for weight in classifier.coefs_)
        layers = list(zip(weights, classifier.intercepts_, strict=True))
    weight, bias = layers[0]
    weight = weight / scaler.scale_
    layers[0] = weight, bias - weight @ scaler.mean_
    weight, bias = layers[-1]
    if len(weight) == 1:
        # Of two classes scikit-learn fits one logit: half of it is given to each, with its sign.
        layers[-1] = np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2
    dtype = getattr(torch, features.dtype.name)
    first, *others = (_linear(*layer, dtype=dtype) for layer in layers)
    return nn.Sequential(first, nn.ReLU(), *others) if others else first


def _linear(weight, bias, *, dtype):
    n_out, n_in = weight.shape
    layer = nn.Linear(n_in, n_out, dtype=dtype).requires_grad_(False)
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))
    return layer


def set_best_head(
    network, features, target, sample_weight, *, subject, heads, validation=None, random_state=None
):
    """
    Set the head of a network to the one that predicts held-out galaxies best, and calibrate it.

    Parameters
    ----------
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The network; its ``head`` and ``temperature`` are set.
    features : ndarray, shape (n, d)
        The features.
    target : ndarray, shape (n, n_targets)
        What the subject teaches of each galaxy, such as the probabilities of classes.
    sample_weight : ndarray, shape (n,)
        Weight of each row.
    subject : object
        `~astro_morph.learning.subjects.classes.Classes` or
        `~astro_morph.learning.subjects.numbers.Numbers`; what is learnt.
    heads : sequence of object
        The heads to choose from, as from the subject's ``heads``.
    validation : ndarray of bool, shape (n,), default=None
        Rows that are held out; by default the heads are cross-validated.
    random_state : int, default=None
        Seed of the folds.

    Returns
    -------
    conformity : tuple
        Conformity scores, as the subject's ``calibrate`` returns them. It is empty, and the head is
        the first one, if there are too few labels to hold some out: of classes, at least two must
        have several.
    """
    if validation is None:
        rows, folds = slice(None), subject.folds(target, random_state)
    else:
        rows = ~validation
        folds = [(np.flatnonzero(rows), np.flatnonzero(validation))]
    if not folds:
        network.head = subject.fit_head(heads[0], features, target, sample_weight)
        return ()
    held_out = np.sort(np.concatenate([part for _, part in folds]))
    truth = target[held_out], sample_weight[held_out]
    data = features, target, sample_weight
    logits = [_predict_held_out(subject, head, folds, *data)[held_out] for head in heads]
    losses = [subject.losses(candidate, *truth) for candidate in logits]
    best = int(np.argmin(np.average(losses, axis=1, weights=sample_weight[held_out])))
    network.head = subject.fit_head(heads[best], *(values[rows] for values in data))
    return subject.calibrate(network, logits[best], *truth)


def _predict_held_out(subject, head, folds, features, target, sample_weight):
    logits = np.zeros((len(features), subject.n_outputs))
    for rows, held_out in folds:
        layers = subject.fit_head(head, features[rows], target[rows], sample_weight[rows])
        logits[held_out] = layers(torch.from_numpy(features[held_out])).numpy()
    return logits


def calibrate(network, logits, target, sample_weight):
    """
    Set the temperature of a network to that of held-out logits.

    Parameters
    ----------
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The network; its ``temperature`` is set.
    logits : ndarray, shape (n, n_classes)
        Logits of galaxies held out, before the division by a temperature.
    target, sample_weight
        As for `fit_head`.

    Returns
    -------
    conformity : tuple of float
        Conformity scores of the true classes, at most 1000, for
        `~astro_morph.models.calibration.prediction_sets`.
    """
    temperature = fit_temperature(logits, target, sample_weight=sample_weight)
    network.temperature.fill_(temperature)
    scores = conformity_scores(softmax(logits / temperature, axis=1))
    of_truth = scores[np.arange(len(target)), target]
    return tuple(of_truth[:: -(-len(of_truth) // MOST_SCORES)].tolist())


def calibrated_losses(logits, target, sample_weight):
    """
    Compute the negative log-likelihood of each label, at the best temperature for all of them.

    Parameters
    ----------
    logits : ndarray, shape (n, n_classes)
        Logits of galaxies held out.
    target, sample_weight
        As for `fit_head`.

    Returns
    -------
    losses : ndarray, shape (n,)
        Negative natural logarithm of the probability of each true class.
    """
    temperature = fit_temperature(logits, target, sample_weight=sample_weight)
    log_p = log_softmax(np.asarray(logits, float) / temperature, axis=1)
    return -log_p[np.arange(len(target)), target]
