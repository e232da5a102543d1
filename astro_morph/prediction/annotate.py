# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Annotate a catalogue in memory: predict, and add the columns beside the user's own."""

import numpy as np
from astropy.table import Table

from astro_morph.cutouts import CutoutSet, catalog_of, holds_images
from astro_morph.prediction.columns import add_columns, provenance
from astro_morph.prediction.predict import Predictions, predict

__all__ = ['annotate', 'no_cutouts', 'table_of']


def annotate(
    model, X, *, source='auto', measures=False, prefix='morph_', overwrite=False, bar=None
):
    """
    Add the model's columns to a catalogue.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.run_batches`.
    X : object
        The catalogue, or other samples as in `~astro_morph.cutouts.as_cutouts`.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from.
    measures : bool, default=False
        Whether to add the columns of `astro_morph.photometry.measure` too.
    prefix : str, default='morph_'
        Prefix of the new columns' names.
    overwrite : bool, default=False
        Whether columns of these names may be replaced.
    bar : progress bar, default=None
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    annotated : `~astropy.table.Table`
        A copy with the new columns, of the same class, length and order.

    Raises
    ------
    ValueError
        If columns of these names exist and ``overwrite`` is false, or if there are no images in
        flux to measure.
    """
    from astro_morph.photometry import measure
    from astro_morph.photometry.measures import stack

    spec, table = model.spec, table_of(X)

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

    # First without rows: columns that may not be replaced are refused before the work.
    measured = [measure(no_cutouts(spec))] if measures else []
    write(table[:0], Predictions.join([], spec))
    callback = (lambda cutouts: measured.append(measure(cutouts))) if measures else None
    return write(table, predict(model, X, source=source, callback=callback, bar=bar))


def table_of(X):
    """Return the catalogue of samples, or a table of row numbers where there is none."""
    table = catalog_of(X) if holds_images(X) else None
    return Table({'row': np.arange(len(X))}) if table is None else table


def no_cutouts(spec):
    """Return an empty set of cutouts that a model takes."""
    if not spec.bands:
        msg = 'measures=True needs images; this model takes plain features'
        raise ValueError(msg)
    images = np.zeros((0, len(spec.bands), spec.size, spec.size))
    return CutoutSet(images, bands=spec.bands, kind=spec.kind)
