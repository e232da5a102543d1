# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Columns of a model's predictions: classes with probabilities, or fractions of votes."""

import numpy as np
from astropy.table import Column, Table
from astropy.time import Time

from astro_morph.catalog import write_numbers, write_predictions
from astro_morph.catalog.vote_tree import VoteTree
from astro_morph.models.dirichlet import concentrations, expected_fractions

__all__ = ['add_columns', 'provenance']


def add_columns(
    spec, table, predictions, *, provenance, measures=None, prefix='morph_', overwrite=False
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
        A row for each of its rows.
    provenance : dict
        As `provenance` returns it.
    measures, prefix, overwrite
        As in `~astro_morph.catalog.write_predictions`.

    Returns
    -------
    annotated : `~astropy.table.Table`
        As `~astro_morph.catalog.write_predictions` returns it, or
        `~astro_morph.catalog.write_numbers` for a model of votes.
    """
    shared = {
        'status': predictions.status,
        'provenance': provenance,
        'measures': measures,
        'prefix': prefix,
        'overwrite': overwrite,
    }
    if spec.tree is not None:
        numbers = _vote_columns(VoteTree(spec.tree), predictions.logits)
        return write_numbers(table, numbers, flags=predictions.flags, **shared)
    return write_predictions(
        table,
        classes=spec.classes,
        probabilities=predictions.probabilities,
        novelty=predictions.novelty,
        flags=predictions.all_flags,
        **shared,
    )


def provenance(spec):
    """Return which model made a prediction, and when, as a FITS header can hold it."""
    return {
        'MORPHVER': spec.version,
        'MORPHMOD': spec.identifier,
        'MORPHDAT': Time.now().isot[:19],
    }


def _vote_columns(tree, logits):
    """Build the columns of predicted votes, in the order in which a table shows them."""
    mean, std = expected_fractions(concentrations(logits.astype(float)), tree)
    asked = tree.asked(mean)
    columns = []

    def add(name, values, ucd, description):
        columns.append(Column(values, name=name, description=description, meta={'ucd': ucd}))

    for number, (question, parts) in enumerate(tree.questions.items()):
        for i in np.flatnonzero(tree.question == number):
            name = tree.names[i]
            add(
                name,
                mean[:, i],
                'stat.probability;src.morph.type',
                f'Expected fraction of votes for {name}, of those who are asked',
            )
            add(
                f'{name}_std',
                std[:, i],
                'stat.stdev;src.morph.type',
                f'Standard deviation of the fraction of votes for {name}',
            )
        if parts.get('asked_after'):
            add(
                f'{question}_asked',
                asked[:, number],
                'stat.probability;src.morph.type',
                f'Expected fraction of people who are asked about {question}',
            )
    return Table(columns)
