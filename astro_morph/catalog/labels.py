# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the label column of a catalogue: which rows are labelled, masked or empty."""

from numbers import Real

import numpy as np

from astro_morph.catalog.cells import as_text, is_blank, split_mask
from astro_morph.catalog.tables import get_column

__all__ = ['read_labels']


def read_labels(table, label_column):
    """
    Read the labels of a catalogue, and which rows have one.

    Masked values, empty or blank text, None, NaN and infinity are not labels. Text is stripped of
    surrounding blanks, bytes are decoded, and whole floating-point numbers become integers, because
    many files store integers with missing values as floating-point numbers.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    label_column : str
        Name of the column of labels.

    Returns
    -------
    labels : `~numpy.ndarray`, shape (n,)
        The labels; empty text or zero in rows without a label.
    is_labelled : `~numpy.ndarray` of bool, shape (n,)
        Whether each row has a label.

    Raises
    ------
    ValueError
        If there is no such column, or if it has several values per row.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import read_labels
    >>> labels, is_labelled = read_labels(Table({'morphology': ['spiral', '']}), 'morphology')
    >>> print(labels[is_labelled], is_labelled)
    ['spiral'] [ True False]
    """
    column = get_column(table, label_column, 'label_column')
    values, mask = split_mask(column)
    is_labelled = ~mask
    if values.dtype.kind in 'SUO':
        values = np.array([as_text(value) for value in values], dtype=object)
        # What is under the mask may be of any type.
        is_labelled[~mask] = [not (is_blank(v) or _is_infinite(v)) for v in values[~mask]]
    else:
        is_labelled &= np.isfinite(values)

    # From a list, NumPy infers the common type of the labels.
    known = np.array(values[is_labelled].tolist())
    if known.dtype.kind == 'f' and np.all(known == np.round(known)):
        known = known.astype(int)
    labels = np.zeros(len(table), dtype=known.dtype)
    labels[is_labelled] = known
    return labels, is_labelled


def _is_infinite(value):
    return isinstance(value, Real) and not np.isfinite(value)
