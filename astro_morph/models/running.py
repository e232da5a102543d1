# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Run a model on cutouts or plain features in batches."""

import numpy as np

from astro_morph.cutouts import CutoutSet
from astro_morph.utils.messages import as_written

__all__ = ['run_batches']

# Number of images in a batch: eight views of 96 x 96 pixels then take less than a gigabyte.
BATCH_SIZE = 128


def run_batches(model, samples, *, bar=None):
    """
    Run a model on the samples that have an image, in batches.

    Parameters
    ----------
    model : object
        Has a ``spec``, the number ``n_features``, and a method ``run(samples)`` that returns
        logits, features and novelty of an array of images (float32) or plain features (float64).
    samples : `~astro_morph.CutoutSet`, or ndarray of float64, shape (n, d)
        Cutouts that `~astro_morph.prediction.predict.prepare` returned; or plain features.
    bar : progress bar, default=None
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    logits : ndarray, shape (n, n_classes)
        Logits; NaN in the rows without an image, and where a number overflows in the model.
    features : ndarray, shape (n, d)
        Features, likewise.
    novelty : ndarray, shape (n,) or (n, d2)
        P-values; until the model's novelty is fitted, the features to fit it to.

    Raises
    ------
    ValueError
        If the model takes images and there are none.
    """
    if isinstance(samples, CutoutSet):
        # Pictures are converted from bytes batch by batch.
        array, is_ok, float_type = samples.images, samples.is_ok, np.float32
        if not is_ok.any():
            shapes = (model.spec.n_outputs,), (model.n_features,), ()
            return [np.full((len(array), *shape), np.nan, np.float32) for shape in shapes]
    elif model.spec.bands:
        msg = (
            f'{as_written("X")} has no images: it is of the type {type(samples).__name__} and the '
            f'shape {np.shape(samples)}; pass a table, positions, cutouts, or an array '
            '(n, band, y, x)'
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
        logits, features, _ = results
        is_finite = np.isfinite(logits).all(axis=1) & np.isfinite(features).all(axis=1)
        for output, result in zip(outputs, results, strict=True):
            output[batch[is_finite]] = result[is_finite]
        if bar is not None:
            bar.update(len(batch))
    return outputs
