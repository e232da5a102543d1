# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From a model, whoever computes it, to probabilities and catalogue columns: written once."""

import dataclasses
import json
import warnings

import numpy as np
from astropy.table import Table
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import softmax

from astro_morph.catalog import write_predictions
from astro_morph.cutouts import CutoutSet, catalogue_of, holds_images, stream_cutouts

__all__ = ['ModelSpec', 'annotate', 'compute', 'most_probable', 'predict_proba', 'request']

# Images at once: eight views of 96 pixels at this number stay below a gigabyte.
BATCH_SIZE = 128

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
    architecture : str, optional
        The encoder.
    views : int, optional
        Rotations and reflections that a prediction averages.
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
    architecture: str = 'resnet18'
    views: int = 8
    identifier: str = ''
    version: str = ''

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
            msg = f'X holds {_KINDS[cutouts.kind]}, the model was trained on {_KINDS[self.kind]}'
            raise ValueError(msg)
        expected = {'bands': self.bands, 'pixels a side': (self.size, self.size)}
        came = {'bands': cutouts.bands, 'pixels a side': cutouts.shape[2:]}
        for what, value in expected.items():
            if came[what] != value:
                msg = f'X has {what} {came[what]}, the model was trained on {value}'
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


def compute(model, samples, *, bar=None):
    """
    Run a model on the samples that there are.

    Parameters
    ----------
    model : object
        Has a ``spec``, and ``run(samples)`` that turns an array of images (float32) or of plain
        features (float64) into logits and features of the same type.
    samples : `~astro_morph.CutoutSet`, or ndarray of float64, shape (n, d)
        Cutouts; or features, for a model of plain features.
    bar : progress bar, optional
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    logits : ndarray, shape (n, n_classes)
        NaN in the rows without an image.
    features : ndarray, shape (n, d)
        The same.

    Raises
    ------
    ValueError
        If the model takes other bands, another size or another kind of image, or images at all.
    """
    if isinstance(samples, CutoutSet):
        array, is_ok = samples.images, samples.is_ok
        if not is_ok.any():
            return _unknown(model, len(array))
        model.spec.check(samples)
    elif model.spec.bands:
        msg = f'X must hold images or lead to them, got {type(samples).__name__}'
        raise ValueError(msg)
    else:
        array, is_ok = samples, np.ones(len(samples), bool)
    rows = np.flatnonzero(is_ok)
    outputs = None
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        results = model.run(array[batch])
        if outputs is None:
            outputs = [np.full((len(array), r.shape[1]), np.nan, r.dtype) for r in results]
        for output, result in zip(outputs, results, strict=True):
            output[batch] = result
        if bar is not None:
            bar.update(len(batch))
    return outputs


def _unknown(model, n):
    """Give NaN as logits and features; from a blank image it is known how many there are."""
    spec = model.spec
    blank = np.zeros((1, len(spec.bands), spec.size, spec.size), np.float32)
    return [np.full((n, output.shape[1]), np.nan, np.float32) for output in model.run(blank)]


def predict_proba(model, X, *, source='auto', bar=None):
    """
    Give the probabilities of samples.

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

    Returns
    -------
    probabilities : ndarray of float32, shape (n, n_classes)
        NaN in the rows without an image.
    status : ndarray of str, shape (n,)
        ``'ok'``, or why there is no image.
    flags : ndarray of int32, shape (n,)
        Quality flags.
    """
    if not holds_images(X):
        logits, _ = compute(model, X, bar=bar)
        return softmax(logits, axis=1), np.full(len(X), 'ok'), np.zeros(len(X), np.int32)
    logits = [np.zeros((0, len(model.spec.classes)), np.float32)]
    status, flags = [np.zeros(0, 'U20')], [np.zeros(0, np.int32)]
    for cutouts in stream_cutouts(X, **request(model.spec, source)):
        logits.append(compute(model, cutouts, bar=bar)[0])
        status.append(cutouts.status)
        flags.append(cutouts.flags)
    return softmax(np.concatenate(logits), axis=1), np.concatenate(status), np.concatenate(flags)


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


def annotate(model, X, *, source='auto', prefix='morph_', overwrite=False, bar=None):
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
    """
    table = catalogue_of(X) if holds_images(X) else None
    if table is None:
        table = Table({'row': np.arange(len(X))})

    def write(table, probabilities, status, flags):
        return write_predictions(
            table,
            classes=model.spec.classes,
            probabilities=probabilities,
            status=status,
            flags=flags,
            provenance={
                'MORPHVER': model.spec.version,
                'MORPHMOD': model.spec.identifier,
                'MORPHDAT': Time.now().isot[:19],
            },
            prefix=prefix,
            overwrite=overwrite,
        )

    # First on no rows: columns that may not be replaced are refused before the work.
    write(table[:0], np.zeros((0, len(model.spec.classes))), [], [])
    return write(table, *predict_proba(model, X, source=source, bar=bar))
