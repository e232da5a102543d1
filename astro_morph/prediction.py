# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From a model, whoever computes it, to probabilities and catalogue columns: written once."""

import dataclasses
import json
import warnings
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import softmax

from astro_morph.calibration import prediction_sets
from astro_morph.catalog import write_predictions
from astro_morph.cutouts import CutoutSet, catalogue_of, holds_images, stream_cutouts
from astro_morph.cutouts.core import PICTURE_BANDS
from astro_morph.flags import BITS

__all__ = [
    'ModelSpec',
    'Predictions',
    'add_columns',
    'annotate',
    'compute',
    'join_predictions',
    'most_probable',
    'predict',
    'predict_batch',
    'predict_logits',
    'predict_proba',
    'predict_set',
    'prepare',
    'provenance',
    'request',
    'rows_of',
]

# Images at once: eight views of 96 pixels at this number stay below a gigabyte.
BATCH_SIZE = 128

# One in a hundred galaxies like those known is flagged.
NOVEL_BELOW = 0.01

# A model is used at the pixel scale it has learnt; a ratio within this is the same scale.
SCALE_TOLERANCE = 0.02

_KINDS = {'flux': 'images linear in flux', 'picture': 'pictures stretched for the eye'}


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """
    What a model takes and gives, beside its weights.

    Parameters
    ----------
    classes : tuple of str or int, optional
        The classes, in the order of the logits; none for an encoder.
    bands : tuple of str, optional
        The bands, in order; none for a model of plain features.
    size : int or None, optional
        Side of the images in pixels.
    input_size : int or None, optional
        Side to which they are enlarged before the encoder; None for as they are.
    pixel_scale : float or None, optional
        Arcseconds a pixel, where it is known and the same for all images.
    framing : str or None, optional
        The column and factor that the field of view follows, such as ``'4 * petroR90_r'``.
    kind : {'flux', 'picture'}, optional
        Whether the images are linear in flux or pictures.
    preprocessing : dict or None, optional
        Settings of the `~astro_morph.preprocessing.Preprocessor` that cleans the images.
    architecture : str, optional
        The encoder.
    views : int, optional
        Rotations and reflections that a prediction averages.
    stages : tuple of int, optional
        Stages of the encoder whose scatter the features hold beside the mean of the last one.
    hidden : int, optional
        Width of the hidden layer of the head; 0 for none.
    frozen : bool, optional
        Whether the encoder was left as it was when the head was learnt.
    tree : dict or None, optional
        The questions of a model of votes, see `~astro_morph.vote_tree.VoteTree`; its classes are
        the answers.
    conformity : tuple of float, optional
        Scores of galaxies held out, see `~astro_morph.calibration.prediction_sets`.
    identifier : str, optional
        Fingerprint of the weights.
    version : str, optional
        Version of astro_morph that made the model.
    """

    classes: tuple = ()
    bands: tuple = ()
    size: int | None = None
    input_size: int | None = None
    pixel_scale: float | None = None
    framing: str | None = None
    kind: str = 'flux'
    preprocessing: dict | None = None
    architecture: str = 'resnet18'
    views: int = 8
    stages: tuple = ()
    hidden: int = 0
    frozen: bool = False
    tree: dict | None = None
    conformity: tuple = ()
    identifier: str = ''
    version: str = ''

    def __str__(self):
        what = ', '.join(map(str, self.classes)) or 'features'
        if not self.bands:
            return f'{what} from plain features'
        return f'{what} from images of {", ".join(self.bands)}, {self.size} x {self.size} pixels'

    def to_json(self):
        """Write the specification as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        """Read the specification from JSON."""
        fields = json.loads(text)
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**fields)

    def check(self, cutouts):
        """
        Make sure that the model can take these cutouts.

        Parameters
        ----------
        cutouts : `~astro_morph.CutoutSet`
            The cutouts.

        Raises
        ------
        ValueError
            If bands, size or kind are not those of the model.
        """
        if cutouts.kind != self.kind:
            remedy = 'take them from a source of those'
            if self.bands == PICTURE_BANDS:
                remedy = (
                    'a CutoutSet of flux in g, r and i, with pixel_scale and zero_point, is drawn '
                    'as pictures'
                )
            msg = (
                f'X holds {_KINDS[cutouts.kind]}, the model was trained on {_KINDS[self.kind]}; '
                f'{remedy}'
            )
            raise ValueError(msg)
        expected = {'bands': self.bands, 'pixels a side': (self.size, self.size)}
        came = {'bands': cutouts.bands, 'pixels a side': cutouts.shape[2:]}
        for what, value in expected.items():
            if came[what] != value:
                msg = (
                    f'X has {what} {came[what]}, the model was trained on {value}; fetch or cut '
                    'the images so'
                )
                raise ValueError(msg)
        difference = self._compare_scale(cutouts)
        if difference:
            warnings.warn(
                f'{difference}: galaxies look larger or smaller than those it knows; fetch them '
                'as it knows them',
                AstropyUserWarning,
                stacklevel=3,
            )

    def _compare_scale(self, cutouts):
        """Say how the cutouts differ in scale from those that the model knows, as far as known."""
        knows_scale = self.pixel_scale is not None or self.framing is not None
        if cutouts.pixel_scale is None or not knows_scale:
            return None
        if cutouts.framing != self.framing:
            came, known = (span or 'one angle' for span in (cutouts.framing, self.framing))
            return f'the cutouts span {came}, those that the model was trained on {known}'
        if self.pixel_scale is None:
            return None
        ratio = np.nanmedian(cutouts.pixel_scale.to_value('arcsec')) / self.pixel_scale
        if abs(ratio - 1) <= SCALE_TOLERANCE:
            return None
        return (
            f'the cutouts have {ratio:.3g} times the pixel scale that the model was trained on, '
            f'{self.pixel_scale:.4g} arcsec'
        )


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
    from astro_morph.cleaning import preprocess

    if not cutouts.is_ok.any():
        return cutouts
    spec.check(cutouts)
    return preprocess(cutouts, spec.preprocessing)


def compute(model, samples, *, bar=None):
    """
    Run a model on the samples that there are.

    Parameters
    ----------
    model : object
        Has a ``spec``, the number ``n_features``, and ``run(samples)`` that turns an array of
        images (float32) or of plain features (float64) into logits, features and novelty.
    samples : `~astro_morph.CutoutSet`, or ndarray of float64, shape (n, d)
        Cutouts that `prepare` gave; or features, for a model of plain features.
    bar : progress bar, optional
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    logits : ndarray, shape (n, n_classes)
        NaN in the rows without an image.
    features : ndarray, shape (n, d)
        The same.
    novelty : ndarray, shape (n,) or (n, d2)
        P-values; until the model's novelty is fitted, what it is to be fitted on.

    Raises
    ------
    ValueError
        If the model takes images.
    """
    if isinstance(samples, CutoutSet):
        # The bytes of pictures stay bytes until they are needed.
        array, is_ok, float_type = samples.images, samples.is_ok, np.float32
        if not is_ok.any():
            shapes = (len(model.spec.classes),), (model.n_features,), ()
            return [np.full((len(array), *shape), np.nan, np.float32) for shape in shapes]
    elif model.spec.bands:
        msg = (
            f'X must hold images or lead to them, got {type(samples).__name__} of shape '
            f'{np.shape(samples)}; pass a table, positions, cutouts, or an array (n, band, y, x)'
        )
        raise ValueError(msg)
    else:
        array, is_ok, float_type = samples, np.ones(len(samples), bool), np.float64
    rows = np.flatnonzero(is_ok)
    outputs = None
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        results = model.run(array[batch].astype(float_type, copy=False))
        if outputs is None:
            outputs = [np.full((len(array), *r.shape[1:]), np.nan, r.dtype) for r in results]
        for output, result in zip(outputs, results, strict=True):
            output[batch] = result
        if bar is not None:
            bar.update(len(batch))
    return outputs


class Predictions(NamedTuple):
    """
    What a model says of samples, a row each.

    Parameters
    ----------
    logits : ndarray, shape (n, n_classes)
        NaN in the rows without an image.
    novelty : ndarray, shape (n,)
        P-values, see `~astro_morph.novelty.Novelty`; NaN also where the model has none.
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
        As `~astro_morph.calibration.prediction_sets` gives them.
    """
    probabilities = predict_proba(model, X, source=source, bar=bar)[0]
    return prediction_sets(probabilities, model.spec.conformity, coverage=coverage)


def annotate(
    model, X, *, source='auto', measures=False, prefix='morph_', overwrite=False, bar=None
):
    """
    Add the model's columns to a catalogue.

    Parameters
    ----------
    model : object
        As in `compute`.
    X : object
        The catalogue, or other samples as in `~astro_morph.cutouts.as_cutouts`.
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from.
    measures : bool, optional
        Whether to add the columns of `astro_morph.measures.measure` too.
    prefix : str, optional
        What the new columns' names begin with.
    overwrite : bool, optional
        Whether columns of these names may be replaced.
    bar : progress bar, optional
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    annotated : `~astropy.table.Table`
        A copy with the new columns, of the same class, length and order.

    Raises
    ------
    ValueError
        If columns of these names are there already and ``overwrite`` is false, or if there are
        no images in flux to measure.
    """
    from astro_morph.measures import measure, stack

    spec, table = model.spec, rows_of(X)

    def write(table, predictions):
        return add_columns(
            spec,
            table,
            predictions,
            provenance=provenance(spec),
            measures=stack(measured) if measured else None,
            prefix=prefix,
            overwrite=overwrite,
        )

    # First on no rows: columns that may not be replaced are refused before the work.
    measured = [measure(_no_cutouts(spec))] if measures else []
    write(table[:0], join_predictions(spec, []))
    look = (lambda cutouts: measured.append(measure(cutouts))) if measures else None
    return write(table, predict(model, X, source=source, bar=bar, look=look))


def add_columns(
    spec, table, predictions, *, provenance, measures=None, prefix='morph_', overwrite=False
):
    """
    Write predictions into a copy of a catalogue.

    Parameters
    ----------
    spec : `ModelSpec`
        The specification of the model that made them.
    table : `~astropy.table.Table`
        The catalogue.
    predictions : `Predictions`
        A row for each of its rows.
    provenance : dict
        What `provenance` gives.
    measures, prefix, overwrite
        As in `~astro_morph.catalog.write_predictions`.

    Returns
    -------
    annotated : `~astropy.table.Table`
        As `~astro_morph.catalog.write_predictions` gives it.
    """
    return write_predictions(
        table,
        classes=spec.classes,
        probabilities=predictions.probabilities,
        novelty=predictions.novelty,
        status=predictions.status,
        flags=predictions.all_flags,
        provenance=provenance,
        measures=measures,
        prefix=prefix,
        overwrite=overwrite,
    )


def rows_of(X):
    """Give the catalogue of samples; one of row numbers where there is none."""
    table = catalogue_of(X) if holds_images(X) else None
    return Table({'row': np.arange(len(X))}) if table is None else table


def provenance(spec):
    """Say which model made a prediction, and when, as a FITS header can."""
    return {
        'MORPHVER': spec.version,
        'MORPHMOD': spec.identifier,
        'MORPHDAT': Time.now().isot[:19],
    }


def _no_cutouts(spec):
    """Give an empty set of the cutouts that a model takes."""
    if not spec.bands:
        msg = 'measures=True needs images; this model takes plain features'
        raise ValueError(msg)
    images = np.zeros((0, len(spec.bands), spec.size, spec.size))
    return CutoutSet(images, bands=spec.bands, kind=spec.kind)
