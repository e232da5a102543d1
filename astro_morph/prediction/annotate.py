# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Annotate a catalogue: predictions written as columns beside the user's own."""

import numpy as np
from astropy.table import Table
from astropy.time import Time

from astro_morph.catalog import write_predictions
from astro_morph.cutouts import CutoutSet, catalog_of, holds_images
from astro_morph.prediction.predict import join_predictions, predict

__all__ = ['add_columns', 'annotate', 'provenance', 'rows_of']


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
        Whether to add the columns of `astro_morph.photometry.measure` too.
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
    from astro_morph.photometry import measure
    from astro_morph.photometry.measures import stack

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
    table = catalog_of(X) if holds_images(X) else None
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
