# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Run a model on samples: logits, novelty, features, status and flags, a row a sample."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from astro_morph.catalog.flags import BITS
from astro_morph.cutouts import CutoutSet, holds_images
from astro_morph.models.running import run_batches
from astro_morph.photometry.cleaning import preprocess
from astro_morph.prediction.brightness import Brightness
from astro_morph.prediction.embedding import Embedding
from astro_morph.prediction.framing import stream_framed

__all__ = ['Predictions', 'predict', 'prepare', 'request']

# One in a hundred galaxies like those of the training is flagged as novel.
NOVEL_BELOW = 0.01


class Predictions(NamedTuple):
    """
    The predictions of a model, a row a sample.

    Parameters
    ----------
    logits : ndarray, shape (n, n_classes)
        NaN in the rows without a prediction.
    novelty : ndarray, shape (n,)
        P-values, see `~astro_morph.models.novelty.Novelty`; NaN also where the model has none.
    features : ndarray, shape (n, d)
        Without columns where they were not asked for.
    status : ndarray of str, shape (n,)
        ``'ok'``, or why there is no prediction: the status of the image, or ``'not_finite'`` if a
        number overflows in the model.
    flags : ndarray of int32, shape (n,)
        Quality flags of the image.
    """

    logits: np.ndarray
    novelty: np.ndarray
    features: np.ndarray
    status: np.ndarray
    flags: np.ndarray

    @classmethod
    def join(cls, parts, spec, *, n_features=0):
        """
        Concatenate the predictions of some rows.

        Parameters
        ----------
        parts : iterable of `Predictions`
            The predictions; there may be none.
        spec : `~astro_morph.models.spec.ModelSpec`
            The model's specification.
        n_features : int, default=0
            Number of features, in case there are no rows.

        Returns
        -------
        predictions : `Predictions`
            Those of all rows.
        """
        parts = list(parts)
        n_features = parts[0].features.shape[1] if parts else n_features
        logits, features = (np.zeros((0, n), np.float32) for n in (spec.n_outputs, n_features))
        status, flags = np.zeros(0, 'U20'), np.zeros(0, np.int32)
        nothing = cls(logits, np.zeros(0, np.float32), features, status, flags)
        return cls(*map(np.concatenate, zip(nothing, *parts, strict=True)))

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


def predict(
    model,
    X,
    *,
    source='auto',
    is_clean=False,
    with_features=False,
    embedding=None,
    callback=None,
    bar=None,
):
    """
    Run the model and return its predictions.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.run_batches`.
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`; or plain features.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from.
    is_clean : bool, default=False
        Whether X are cutouts that `prepare` has cleaned.
    with_features : bool, default=False
        Whether to return the features.
    embedding : int, default=None
        Number of principal components of the features, which are returned instead of these.
    callback : callable, default=None
        Called with each batch of cutouts as it comes from the source.
    bar : progress bar, default=None
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    predictions : `Predictions`
        A row a sample.
    """
    n_features = embedding or (model.n_features if with_features else 0)
    shorten = Embedding.of(model.spec, embedding) if embedding else lambda f: f[:, :n_features]
    brightness = Brightness(model.spec)
    if is_clean or not holds_images(X):
        batches = [X]
    else:
        batches = _clean_batches(model.spec, X, source, callback, brightness)
    parts = [_predict_batch(model, batch, shorten, bar) for batch in batches]
    brightness.warn()
    return Predictions.join(parts, model.spec, n_features=n_features)


def request(spec, source):
    """
    Return what to ask a source for, so that a model gets images like those of its training.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The model's specification.
    source : `~astro_morph.cutouts.CutoutSource` or str
        Where cutouts come from.

    Returns
    -------
    options : dict
        ``source``, ``size`` and ``bands`` for `~astro_morph.prediction.framing.fetch_framed`.
    """
    size = (spec.size, spec.framing) if spec.framing else spec.size
    return {'source': source, 'size': size, 'bands': spec.bands or None}


def prepare(spec, cutouts, *, brightness=None):
    """
    Check that a model can take the cutouts, and clean them as those of its training.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The model's specification.
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, as they come from a source.
    brightness : `~astro_morph.prediction.brightness.Brightness`, default=None
        Flags images as bright as none of the training, and counts them over the batches of a call.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        The same rows, with the flags of what was found.

    Raises
    ------
    ValueError
        If bands, size or kind are not those of the model.
    """
    if not cutouts.is_ok.any():
        return cutouts
    spec.check(cutouts)
    brightness = Brightness(spec) if brightness is None else brightness
    return brightness.flag(preprocess(cutouts, spec.preprocessing))


def _clean_batches(spec, X, source, callback, brightness):
    for cutouts in stream_framed(X, **request(spec, source)):
        if callback is not None:
            callback(cutouts)
        yield prepare(spec, cutouts, brightness=brightness)


def _predict_batch(model, samples, shorten, bar):
    logits, features, novelty = run_batches(model, samples, bar=bar)
    logits = logits[:, : model.spec.n_outputs]  # an encoder repeats its features
    if novelty.ndim > 1:
        # Until novelty is fitted, the model returns the features to fit it to, not p-values.
        novelty = np.full(len(logits), np.nan, logits.dtype)
    novelty = np.where(np.isfinite(novelty), novelty, np.nan)
    is_image = isinstance(samples, CutoutSet)
    status = samples.status if is_image else np.full(len(samples), 'ok')
    status = np.where((status == 'ok') & np.isnan(features).any(axis=1), 'not_finite', status)
    flags = samples.flags if is_image else np.zeros(len(samples), np.int32)
    return Predictions(logits, novelty, shorten(features), status, flags)
