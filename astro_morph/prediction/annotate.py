# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Annotate a catalogue in memory: predict, and pass the predictions to the catalogue's columns."""

import numpy as np
from astropy.table import Table
from astropy.time import Time

from astro_morph.catalog import write_numbers, write_predictions
from astro_morph.catalog.frames import add_to_frame
from astro_morph.cutouts import CutoutSet, catalog_of, holds_images
from astro_morph.prediction.embedding import check_embedding, embedding_table
from astro_morph.prediction.numbers import number_columns
from astro_morph.prediction.predict import Predictions, predict
from astro_morph.prediction.votes import vote_columns
from astro_morph.utils.messages import as_written

__all__ = ['add_columns', 'annotate', 'no_cutouts', 'provenance', 'table_of']


def annotate(
    model,
    X,
    *,
    source='auto',
    frame=None,
    measures=False,
    columns=None,
    embedding=None,
    prefix='morph_',
    overwrite=False,
    bar=None,
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
    frame : DataFrame, default=None
        The data frame that the samples come from, to which the columns are added.
    measures : bool, default=False
        Whether to add the columns of `astro_morph.photometry.measure` too, but no errors.
    columns : sequence of str, default=None
        The columns of a model of votes, see `~astro_morph.prediction.votes.vote_columns`.
    embedding : int, default=None
        Number of principal components of the features in the column ``morph_embedding``, see
        `~astro_morph.prediction.embedding.Embedding`; no column if None.
    prefix : str, default='morph_'
        Prefix of the new columns' names.
    overwrite : bool, default=False
        Whether columns of these names may be replaced.
    bar : progress bar, default=None
        Its ``update`` is called with the number of rows done.

    Returns
    -------
    annotated : `~astropy.table.Table` or DataFrame
        A copy of the catalogue, or of the data frame, with the new columns.

    Raises
    ------
    ValueError
        If columns of these names exist and ``overwrite`` is false, if there are no images in flux
        to measure, if ``columns`` are none of the model, or it does not hold that ``embedding``.
    """
    from astro_morph.photometry import measure
    from astro_morph.photometry.measures import stack

    spec, table = model.spec, table_of(X)
    check_embedding(spec, embedding)

    def write(table, predictions):
        return add_columns(
            spec,
            table,
            predictions,
            provenance=provenance(spec),
            # Every call has the same columns: without errors, which not all images have.
            measures=stack(measured)[measured[0].colnames] if measured else None,
            columns=columns,
            prefix=prefix,
            overwrite=overwrite,
        )

    # First without rows: columns that may not be replaced are refused before the work.
    measured = [measure(no_cutouts(spec))] if measures else []
    nothing = Predictions.join([], spec, n_features=embedding or 0)
    write(table[:0], nothing)
    callback = (lambda cutouts: measured.append(measure(cutouts))) if measures else None
    # The columns of a catalogue without any are those that the model adds.
    added = write(Table({'row': []}), nothing).colnames[1:]
    predictions = predict(model, X, source=source, embedding=embedding, callback=callback, bar=bar)
    annotated = write(table, predictions)
    if frame is None:
        return annotated
    kept = {*annotated.colnames} - {*added}
    return add_to_frame(frame, annotated[added], dropped={*table.colnames} - kept)


def add_columns(
    spec,
    table,
    predictions,
    *,
    provenance,
    measures=None,
    columns=None,
    prefix='morph_',
    overwrite=False,
):
    """
    Write predictions into a copy of a catalogue.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model that made them.
    table : `~astropy.table.Table`
        The catalogue.
    predictions : `~astro_morph.prediction.predict.Predictions`
        A row for each of its rows, with the embedding as features, if there is to be one.
    provenance : dict
        As `provenance` returns it.
    columns : sequence of str, default=None
        As in `annotate`.
    measures, prefix, overwrite
        As in `~astro_morph.catalog.write_predictions`.

    Returns
    -------
    annotated : `~astropy.table.Table`
        As `~astro_morph.catalog.write_predictions` returns it, or
        `~astro_morph.catalog.write_numbers` for a model of votes or numbers.
    """
    added = embedding_table(spec, predictions)
    if measures is not None:
        added.add_columns(list(measures.columns.values()))
    shared = {
        'status': predictions.status,
        'provenance': provenance,
        'measures': added if added.colnames else None,
        'prefix': prefix,
        'overwrite': overwrite,
    }
    if spec.tree is not None:
        numbers = vote_columns(spec, predictions.logits, columns=columns)
        return write_numbers(table, numbers, flags=predictions.flags, **shared)
    if columns is not None:
        msg = (
            f'{as_written("columns")} is {columns!r}, but the model holds {spec}, expected a model '
            'of votes; leave it out'
        )
        raise ValueError(msg)
    judged = {'novelty': predictions.novelty, 'flags': predictions.all_flags}
    if spec.numbers is not None:
        return write_numbers(table, number_columns(spec, predictions.logits), **judged, **shared)
    return write_predictions(
        table,
        classes=spec.classes,
        probabilities=predictions.probabilities,
        **judged,
        **shared,
    )


def provenance(spec):
    """Return which model made a prediction, and when, as a FITS header can hold it."""
    return {
        'MORPHVER': spec.version,
        'MORPHMOD': spec.identifier,
        'MORPHDAT': Time.now().isot[:19],
    }


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
