# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Predict: from samples to logits, novelty, flags and status."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from astro_morph.catalog.flags import BITS
from astro_morph.cutouts import CutoutSet, holds_images, stream_cutouts
from astro_morph.models.calibration import prediction_sets
from astro_morph.models.running import compute

__all__ = [
    'Predictions',
    'join_predictions',
    'most_probable',
    'predict',
    'predict_batch',
    'predict_logits',
    'predict_proba',
    'predict_set',
    'prepare',
    'request',
]

# One in a hundred galaxies like those known is flagged.
NOVEL_BELOW = 0.01


def request(spec, source):
    """
    Say what to ask a source for, so that a model gets what it was trained on.

    Parameters
    ----------
    spec : `ModelSpec`
        The model's specification.
    source : `~astro_morph.cutouts.CutoutSource` or str
        Where cutouts come from.

    Returns
    -------
    options : dict
        ``source``, ``size`` and ``bands`` for `~astro_morph.cutouts.as_cutouts`.
    """
    size = (spec.size, spec.framing) if spec.framing else spec.size
    return {'source': source, 'size': size, 'bands': spec.bands or None}


def prepare(spec, cutouts):
    """
    Make sure that a model can take some cutouts, and clean them as it knows them.

    Parameters
    ----------
    spec : `ModelSpec`
        The model's specification.
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, as they come from a source.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        The same rows, with what was found as flags.

    Raises
    ------
    ValueError
        If bands, size or kind are not those of the model.
    """
    from astro_morph.photometry.cleaning import preprocess

    if not cutouts.is_ok.any():
        return cutouts
    spec.check(cutouts)
    return preprocess(cutouts, spec.preprocessing)


class Predictions(NamedTuple):
    """
    What a model says of samples, a row each.

    Parameters
    ----------
    logits : ndarray, shape (n, n_classes)
        NaN in the rows without an image.
    novelty : ndarray, shape (n,)
        P-values, see `~astro_morph.models.novelty.Novelty`; NaN also where the model has none.
    features : ndarray, shape (n, d)
        None of them where they are not wanted.
    status : ndarray of str, shape (n,)
        ``'ok'``, or why there is no image.
    flags : ndarray of int32, shape (n,)
        Quality flags.
    """

    logits: np.ndarray
    novelty: np.ndarray
    features: np.ndarray
    status: np.ndarray
    flags: np.ndarray

    @property
    def probabilities(self):
        """Probability of each class, an ndarray of shape (n, n_classes)."""
        return softmax(self.logits, axis=1)

    @property
    def all_flags(self):
        """Quality flags with that of novelty, an ndarray of int32, shape (n,)."""
        return self.flags | np.where(self.novelty < NOVEL_BELOW, np.int32(BITS['novel']), 0)

    def __repr__(self):
        n, n_classes = self.logits.shape
        n_missing = np.sum(self.status != 'ok')
        return f'<Predictions: {n} rows, {n_classes} classes, {n_missing} without image>'


def predict(model, X, *, source='auto', bar=None, look=None, with_features=False):
    """
    Give all that a model says of samples.

    Parameters
    ----------
    model, X, source, bar, look
        As in `predict_logits`.
    with_features : bool, optional
        Whether the features are wanted.

    Returns
    -------
    predictions : `Predictions`
        A row a sample.
    """
    if not holds_images(X):
        return predict_batch(model, X, bar=bar, with_features=with_features)
    parts = []
    for cutouts in stream_cutouts(X, **request(model.spec, source)):
        if look is not None:
            look(cutouts)
        cutouts = prepare(model.spec, cutouts)
        parts.append(predict_batch(model, cutouts, bar=bar, with_features=with_features))
    return join_predictions(model.spec, parts, n_features=model.n_features if with_features else 0)


def predict_batch(model, samples, *, bar=None, with_features=False):
    """
    Give all that a model says of samples that are ready for it.

    Parameters
    ----------
    model, samples, bar
        As in `compute`.
    with_features : bool, optional
        Whether the features are wanted.

    Returns
    -------
    predictions : `Predictions`
        A row a sample.
    """
    logits, features, novelty = compute(model, samples, bar=bar)
    if novelty.ndim > 1:
        # What novelty is fitted on: the model has none.
        novelty = np.full(len(logits), np.nan, logits.dtype)
    is_image = isinstance(samples, CutoutSet)
    status = samples.status if is_image else np.full(len(samples), 'ok')
    flags = samples.flags if is_image else np.zeros(len(samples), np.int32)
    return Predictions(
        logits, novelty, features if with_features else features[:, :0], status, flags
    )


def join_predictions(spec, parts, *, n_features=0):
    """
    Put the predictions of some rows behind each other.

    Parameters
    ----------
    spec : `ModelSpec`
        The model's specification.
    parts : iterable of `Predictions`
        The predictions; there may be none.
    n_features : int, optional
        How many features an image has.

    Returns
    -------
    predictions : `Predictions`
        Those of all rows.
    """
    logits, features = (np.zeros((0, n), np.float32) for n in (len(spec.classes), n_features))
    status, flags = np.zeros(0, 'U20'), np.zeros(0, np.int32)
    nothing = Predictions(logits, np.zeros(0, np.float32), features, status, flags)
    return Predictions(*map(np.concatenate, zip(nothing, *parts, strict=True)))


def predict_logits(model, X, *, source='auto', bar=None, look=None):
    """
    Give the logits of samples.

    Parameters
    ----------
    model : object
        As in `compute`.
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`.
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from.
    bar : progress bar, optional
        Its ``update`` is called with the number of rows done.
    look : callable, optional
        Gets each batch of cutouts as it comes.

    Returns
    -------
    logits : ndarray of float32, shape (n, n_classes)
        NaN in the rows without an image.
    status : ndarray of str, shape (n,)
        ``'ok'``, or why there is no image.
    flags : ndarray of int32, shape (n,)
        Quality flags.
    """
    predictions = predict(model, X, source=source, bar=bar, look=look)
    return predictions.logits, predictions.status, predictions.flags


def predict_proba(model, X, *, source='auto', bar=None, look=None):
    """
    Give the probabilities of samples.

    Parameters
    ----------
    model, X, source, bar, look
        As in `predict_logits`.

    Returns
    -------
    probabilities : ndarray of float32, shape (n, n_classes)
        NaN in the rows without an image.
    status : ndarray of str, shape (n,)
        ``'ok'``, or why there is no image.
    flags : ndarray of int32, shape (n,)
        Quality flags.
    """
    logits, status, flags = predict_logits(model, X, source=source, bar=bar, look=look)
    return softmax(logits, axis=1), status, flags


def most_probable(classes, probabilities):
    """
    Give the class of the highest probability.

    Parameters
    ----------
    classes : ndarray, shape (n_classes,)
        The classes.
    probabilities : ndarray, shape (n, n_classes)
        Their probabilities; NaN in the rows without an image.

    Returns
    -------
    predicted : ndarray, shape (n,)
        A masked array, where rows without an image are masked, if there are any.
    """
    predicted = classes[np.argmax(probabilities, axis=1)]
    is_missing = np.isnan(probabilities).any(axis=1)
    return np.ma.array(predicted, mask=is_missing) if is_missing.any() else predicted


def predict_set(model, X, *, coverage=0.9, source='auto', bar=None):
    """
    Give sets of classes that hold the true one as often as is asked for.

    Parameters
    ----------
    model, X, source, bar
        As in `predict_logits`.
    coverage : float, optional
        The share of galaxies whose set is to hold the true class.

    Returns
    -------
    sets : ndarray of bool, shape (n, n_classes)
        As `~astro_morph.models.calibration.prediction_sets` gives them.
    """
    probabilities = predict_proba(model, X, source=source, bar=bar)[0]
    return prediction_sets(probabilities, model.spec.conformity, coverage=coverage)
