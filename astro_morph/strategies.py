# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How classes are learnt from few labels: a function a strategy."""

import dataclasses
import functools

import numpy as np
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from astro_morph.augmentation import CLASSIFICATION
from astro_morph.calibration import conformity_scores, fit_temperature
from astro_morph.fitting import training_images, training_views
from astro_morph.model import TorchModel, build_network
from astro_morph.novelty import MOST_KNOWN, fit_novelty
from astro_morph.prediction import ModelSpec, compute
from astro_morph.pretraining import Supervised
from astro_morph.training import progress_bar, sgd, train

__all__ = ['fine_tune', 'fit_features', 'fit_linear']

# Folds of the labels on whose held-out parts a linear head is calibrated.
FOLDS = 5

# How sure a network may be is told by labels it has not seen, and yet no label is to spare: the
# first half of the training is without this share of the labels, or as many as it needs. A shorter
# rehearsal says little: a network that has seen less is surer, or less sure, than it will be.
HELD_OUT = 0.2
MOST_HELD_OUT = 500

# Scores that a model keeps for its sets of classes.
MOST_SCORES = 1000

# Views of labelled galaxies that are enough on SDSS pictures: a few minutes on two cores.
VIEWS_WANTED = 18_000
EPOCHS_RANGE = (6, 60)

# Three times smaller, accuracy on SDSS pictures falls by two points.
LEARNING_RATE = 0.06

# Pooled features are hundreds of correlated numbers: a strong penalty is best on few labels.
FEATURE_PENALTY = 0.1


def fit_features(X, target, *, classes, sample_weight, random_state):
    """
    Fit a linear head on plain features.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        The features.
    target : ndarray of int, shape (n,)
        Index of the class of each row.
    classes : tuple
        The classes.
    sample_weight : ndarray, shape (n,)
        Weight of each row.
    random_state : int
        Seed of the folds.

    Returns
    -------
    model : `~astro_morph.model.TorchModel`
        The model, in double precision.
    history : list
        Empty: there are no epochs.
    """
    spec = ModelSpec(classes=classes, architecture='features', views=1)
    network = build_network(spec, n_features=X.shape[1])
    conformity = _set_head(network, X, target, sample_weight, random_state, penalty=1.0)
    network.novelty = fit_novelty(X, random_state=random_state)
    return TorchModel(dataclasses.replace(spec, conformity=conformity), network), []


def fit_linear(model, cutouts, target, *, classes, sample_weight, random_state, verbose):
    """
    Set a linear head on the frozen features of an encoder.

    Parameters
    ----------
    model : `~astro_morph.model.TorchModel`
        The encoder.
    cutouts : `~astro_morph.CutoutSet`
        The n labelled cutouts.
    target, classes, sample_weight, random_state
        As in `fit_features`.
    verbose : bool
        Whether to show progress.

    Returns
    -------
    model : `~astro_morph.model.TorchModel`
        The classifier.
    history : list
        Empty: there are no epochs.
    """
    with progress_bar(len(cutouts), 'encoding', verbose=verbose) as bar:
        _, features, texture = compute(model, cutouts, bar=bar)
    conformity = _set_head(
        model.network, features, target, sample_weight, random_state, penalty=FEATURE_PENALTY
    )
    model.network.novelty = fit_novelty(texture, random_state=random_state)
    spec = dataclasses.replace(model.spec, classes=classes, conformity=conformity)
    return TorchModel(spec, model.network, device=model.device), []


def fine_tune(
    model,
    cutouts,
    target,
    *,
    classes,
    sample_weight,
    random_state,
    verbose,
    epochs='auto',
    batch_size=64,
    max_time=None,
    survey=None,
):
    """
    Train encoder and head together: first without some labels, to calibrate them, then on all.

    Parameters
    ----------
    model : `~astro_morph.model.TorchModel`
        The encoder to start from.
    cutouts : `~astro_morph.CutoutSet`
        The n labelled cutouts.
    target, classes, sample_weight, random_state, verbose
        As in `fit_linear`.
    epochs : int or 'auto', optional
        Passes over the images, in each of the two parts.
    batch_size : int, optional
        Images a step.
    max_time : float, optional
        Seconds after which training ends.
    survey : `~astro_morph.surveys.Survey`, optional
        Whose images they are, where it is known.

    Returns
    -------
    model : `~astro_morph.model.TorchModel`
        The classifier.
    history : list of dict
        A record an epoch.
    """
    if epochs == 'auto':
        epochs = int(np.clip(VIEWS_WANTED // len(target), *EPOCHS_RANGE))
    model.network.head = nn.Linear(model.network.encoder.n_features, len(classes))
    learn = functools.partial(
        _train_network,
        cutouts=cutouts,
        target=target,
        sample_weight=sample_weight,
        batch_size=batch_size,
        survey=survey,
        epochs=epochs,
        max_time=max_time and max_time / 2,
        random_state=random_state,
        verbose=verbose,
    )
    rows, held_out = _hold_out(target, random_state)
    learn(model, rows, description='rehearsal')
    conformity = ()
    if len(held_out):
        logits = compute(model, cutouts[held_out])[0]
        conformity = _calibrate(model.network, logits, target[held_out], sample_weight[held_out])
    history = learn(model, np.arange(len(target)), description='training')
    known = cutouts[:: -(-len(cutouts) // MOST_KNOWN)]
    texture = compute(model, known)[2]
    model.network.novelty = fit_novelty(texture, random_state=random_state)
    spec = dataclasses.replace(model.spec, classes=classes, conformity=conformity)
    return TorchModel(spec, model.network, device=model.device), history


def _train_network(model, rows, *, cutouts, target, sample_weight, batch_size, survey, **options):
    """Train encoder and head on some rows."""
    network, spec = model.network, model.spec
    weight = sample_weight[rows] / sample_weight[rows].mean()
    images = training_images(network.cpu(), cutouts[rows])
    objective = Supervised(
        network.encoder,
        network.head,
        training_views(network, spec, CLASSIFICATION, survey=survey),
        target=torch.from_numpy(target[rows]),
        weight=torch.from_numpy(weight).float(),
    ).to(model.device, memory_format=torch.channels_last)
    history = train(
        objective,
        images,
        sgd(objective, learning_rate=LEARNING_RATE),
        batch_size=batch_size,
        device=model.device,
        **options,
    )
    network.to(model.device)
    return history


def _hold_out(target, random_state):
    """Split the rows into those to rehearse on and, if they suffice, those to calibrate on."""
    counts = np.bincount(target)
    n_held_out = int(np.clip(HELD_OUT * len(target), len(counts), MOST_HELD_OUT))
    # The only label of a class is needed for training.
    is_only = counts[target] == 1
    several = np.flatnonzero(~is_only)
    if len(several) < 2 * n_held_out:
        return np.arange(len(target)), np.zeros(0, int)
    rows, held_out = train_test_split(
        several, test_size=n_held_out, random_state=random_state, stratify=target[several]
    )
    return np.append(rows, np.flatnonzero(is_only)), held_out


def _set_head(network, features, target, sample_weight, random_state, *, penalty):
    """Give the network a linear head, calibrated on held-out logits; give their scores."""
    network.head = _fit_head(features, target, sample_weight, penalty)
    n_folds = min(FOLDS, np.bincount(target).min())
    if n_folds < 2:
        # A class with a single label can't be held out.
        return ()
    logits = np.zeros((len(features), target.max() + 1))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    for rows, held_out in folds.split(features, target):
        head = _fit_head(features[rows], target[rows], sample_weight[rows], penalty)
        logits[held_out] = head(torch.from_numpy(features[held_out])).numpy()
    return _calibrate(network, logits, target, sample_weight)


def _calibrate(network, logits, target, sample_weight):
    """Give the network the temperature of held-out logits; give their conformity scores."""
    temperature = fit_temperature(logits, target, sample_weight=sample_weight)
    network.temperature.fill_(temperature)
    scores = conformity_scores(softmax(logits / temperature, axis=1))
    of_truth = scores[np.arange(len(target)), target]
    return tuple(of_truth[:: -(-len(of_truth) // MOST_SCORES)].tolist())


def _fit_head(features, target, sample_weight, penalty):
    """Fit a logistic regression on standardised features, as one linear layer on raw ones."""
    scaler = StandardScaler().fit(features, sample_weight=sample_weight)
    regression = LogisticRegression(C=penalty, max_iter=1000)
    regression.fit(scaler.transform(features), target, sample_weight)
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        # Two classes have one margin: half of it speaks for one, half against the other.
        weight, bias = np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2
    weight = weight / scaler.scale_
    bias = bias - weight @ scaler.mean_
    n_classes, n_features = weight.shape
    head = nn.Linear(n_features, n_classes, dtype=getattr(torch, features.dtype.name))
    head.requires_grad_(False)
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(bias))
    return head
