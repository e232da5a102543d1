# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Choose the labels to learn from, in y or the catalogue, and encode them as numbers."""

import numpy as np
from astropy.table import Table

from astro_morph.catalog import read_labels
from astro_morph.cutouts import catalog_of, holds_images

__all__ = ['encode_labels', 'labels_of']


def has_labels(X, label_column):
    """Return whether X is a table, or has one, with the column of labels."""
    table = catalog_of(X) if holds_images(X) else None
    return table is not None and label_column in table.colnames


def labels_of(X, y, label_column):
    """
    Read the labels of samples.

    Parameters
    ----------
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`, or plain features.
    y : array_like, shape (n,), or None
        The labels, if they are not in the catalogue.
    label_column : str
        Column of the catalogue that holds them.

    Returns
    -------
    labels : ndarray, shape (n,)
        The labels.
    is_labelled : ndarray of bool, shape (n,)
        False where they are masked or empty.

    Raises
    ------
    ValueError
        If there are no labels, or y has another length than X.
    """
    table = catalog_of(X) if y is None and holds_images(X) else None
    if y is None and table is None:
        msg = (
            'to learn from labels requires y to be passed, but the target y is None: '
            'X is no table that could hold the labels'
        )
        raise ValueError(msg)
    if y is None:
        return read_labels(table, label_column)
    if len(y) != len(X):
        msg = f'y has {len(y)} labels, X has {len(X)} rows; pass one label a row, masked if unknown'
        raise ValueError(msg)
    return read_labels(Table([y], names=['y']), 'y')


def check_classes(labels, *, of=''):
    """Raise a ValueError if the labels, none of them masked, are of fewer than two classes."""
    classes = np.unique(labels)
    if len(classes) < 2:
        msg = (
            f'the labels{of} hold {len(classes)} class{"es" * (len(classes) != 1)} '
            f'{classes.tolist()}; a classifier needs at least two classes: label some galaxies of '
            'another'
        )
        raise ValueError(msg)


def encode_labels(labels, *, of=''):
    """
    Assign a number to each class.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        The labels, without those that are masked.
    of : str, default=''
        Addition to "the labels" in the error message.

    Returns
    -------
    classes : ndarray, shape (n_classes,)
        The classes, sorted.
    target : ndarray of int, shape (n,)
        Index of the class of each label.

    Raises
    ------
    ValueError
        If there are fewer than two classes.
    """
    check_classes(labels, of=of)
    return np.unique(labels, return_inverse=True)
