# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Open the table of labels: a copy of a catalogue that takes labels, kept in a file."""

from pathlib import Path

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from astro_morph.catalog import read_labels
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.utils.messages import as_written, cut_list

__all__ = ['all_classes', 'open_label_table']


def open_label_table(catalog, path, *, classes=None, label_column='morphology'):
    """Copy a catalogue, add the labels that are in the file, and write it to the file."""
    if not isinstance(catalog, Table):
        msg = (
            f'{as_written("X")} has images only, expected a table, which the labels can be added '
            'to; pass a catalogue, or cutouts with one'
        )
        raise ValueError(msg)
    table = catalog.copy()
    if Path(path).exists():
        _add_labels(table, read_table(path), path, label_column)
    table[label_column] = _new_column(table, label_column, classes)
    write_table(table, path, overwrite=True)
    return table


def all_classes(classes, known):
    """Return the classes to choose from and those of the labels as one array of one type."""
    known = np.unique(known)
    wanted = known if classes is None else np.asarray(classes)
    try:
        wanted = wanted.astype(known.dtype.type if len(known) else wanted.dtype)
    except ValueError as error:
        msg = (
            f'{as_written("classes")} must be like the labels of the catalogue, {known.tolist()}, '
            f'got {classes}'
        )
        raise ValueError(msg) from error
    together = np.array(list(dict.fromkeys([*wanted.tolist(), *known.tolist()])))
    if len(together) < 2 or '' in together.tolist():
        msg = (
            f'{as_written("classes")} must name at least two classes, such as spiral and '
            f'elliptical, got {together.tolist()}'
        )
        raise ValueError(msg)
    return together


def _add_labels(table, saved, path, label_column):
    """Add the labels of a file to a table, if the file holds the same catalogue."""
    # Some formats have other columns for coordinates.
    plain = {name for name, column in table.columns.items() if isinstance(column, Column)}
    missing = sorted(plain - {label_column} - set(saved.colnames))
    if len(saved) != len(table) or missing:
        lacks = f' and lacks the columns {cut_list(missing)}' if missing else ''
        msg = (
            f'the file {str(path)!r} exists already, has {len(saved)} rows{lacks}, and is not '
            f'this catalogue of {len(table)} rows; name another file for the labels'
        )
        raise ValueError(msg)
    if label_column in saved.colnames:
        table[label_column] = saved[label_column]


def _new_column(table, name, classes):
    """Return the column of labels, masked where there is none, with room for any class."""
    if name in table.colnames:
        labels, is_labelled = read_labels(table, name)
        about = {key: getattr(table[name].info, key) for key in ('description', 'meta')}
    else:
        labels, is_labelled = np.zeros(len(table), str), np.zeros(len(table), bool)
        about = {'description': 'Morphological class', 'meta': {'ucd': 'src.morph.type'}}
    values = np.zeros(len(table), all_classes(classes, labels[is_labelled]).dtype)
    values[is_labelled] = labels[is_labelled]
    return MaskedColumn(values, mask=~is_labelled, **about)
