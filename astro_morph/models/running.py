# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Run a model on samples in batches."""

import numpy as np

from astro_morph.cutouts import CutoutSet

__all__ = ['run_batches']

# Images at once: eight views of 96 pixels at this number stay below a gigabyte.
BATCH_SIZE = 128


def run_batches(model, samples, *, bar=None):
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
