# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read labels from a catalogue."""

import numpy as np

from astro_morph.catalog.tables import _as_text, _column, _is_empty, _split_mask

__all__ = ['read_labels']


def read_labels(table, label_column):
    """
    Read the labels that a catalogue has, and tell which rows have one.

    Masked values, empty or blank text, None and NaN are no labels. Text loses the blanks around it,
    bytes become text, and whole floating-point numbers become integers, because integers with
    missing values are floating-point numbers in many files.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    label_column : str
        Name of the column of labels.

    Returns
    -------
    labels : `~numpy.ndarray`, shape (n,)
        The labels; where there is none, the empty text or zero.
    is_labelled : `~numpy.ndarray` of bool, shape (n,)
        Whether a row has a label.

    Raises
    ------
    ValueError
        If there is no such column, or if it has several values a row.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import read_labels
    >>> labels, is_labelled = read_labels(Table({'morphology': ['spiral', '']}), 'morphology')
    >>> print(labels[is_labelled], is_labelled)
    ['spiral'] [ True False]
    """
    column = _column(table, label_column, 'label_column')
    values, mask = _split_mask(column)
    if values.dtype.kind in 'SUO':
        values = np.array([_as_text(value) for value in values], dtype=object)
        is_empty = np.array([_is_empty(value) for value in values], dtype=bool)
    else:
        is_empty = np.isnan(values) if values.dtype.kind == 'f' else np.zeros(len(values), bool)
    is_labelled = ~(mask | is_empty)

    # From a list, numpy finds the type that the labels have in common.
    known = np.array(values[is_labelled].tolist())
    if known.dtype.kind == 'f' and np.all(known == np.round(known)):
        known = known.astype(int)
    labels = np.zeros(len(table), dtype=known.dtype)
    labels[is_labelled] = known
    return labels, is_labelled
