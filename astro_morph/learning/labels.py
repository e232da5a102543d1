# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read labels from y or the catalogue, check them, and encode them as numbers."""

import difflib
import warnings

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog import as_table, read_labels
from astro_morph.catalog.frames import is_frame
from astro_morph.catalog.numbers import read_numbers
from astro_morph.cutouts import catalog_of, holds_images
from astro_morph.utils.messages import as_written, cut_list

__all__ = ['encode_labels', 'labels_of', 'numbers_of', 'validation_of', 'weights_of']

# A column of identifiers or measurements has about as many values as rows; with fewer labels than
# this, a user may well be at the first label of each class.
FEW_LABELS = 20

# The squares of ten thousand millions of larger numbers overflow, and those of numbers below its
# inverse are zero.
LARGEST_NUMBER = 1e145


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
        If there are no labels, or y has another length than X or several columns.
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
    y = _as_column(y)
    if len(y) != len(X):
        msg = f'y has {len(y)} labels, X has {len(X)} rows; pass one label a row, masked if unknown'
        raise ValueError(msg)
    return read_labels(Table([y], names=['y']), 'y')


def _as_column(y):
    """Return labels with one axis; a second one of length 1 is removed, as scikit-learn does."""
    if hasattr(y, 'to_frame'):  # a series of pandas or Polars
        return as_table(y.to_frame('y'))['y']
    if hasattr(y, 'to_pylist'):  # an array of Arrow
        return np.array(y.to_pylist(), object)
    y = y if hasattr(y, '__len__') else np.asarray(y)
    shape = np.shape(y)
    if len(shape) == 1:
        return y
    if len(shape) != 2 or shape[1] != 1:
        msg = f'y has the shape {shape}, expected ({shape[0]},); pass one label a row'
        raise ValueError(msg)
    from sklearn.exceptions import DataConversionWarning

    warnings.warn(
        f'A column-vector y was passed when a 1d array was expected: y has the shape {shape}, '
        f'expected ({shape[0]},); pass y.ravel()',
        DataConversionWarning,
        stacklevel=4,
    )
    return np.ma.asarray(y).ravel()


def numbers_of(X, y, target):
    """
    Read the numbers of samples.

    Parameters
    ----------
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`, or plain features.
    y : array_like, shape (n,) or (n, k), Table, DataFrame, or None
        The numbers, if they are not in the catalogue.
    target : str, sequence of str, or None
        The k columns of the catalogue that hold them; or the names of those of y.

    Returns
    -------
    numbers : `~astropy.table.Table`
        The k columns, each with its name and unit, in float64; NaN where a number is masked or not
        finite.

    Raises
    ------
    ValueError
        If there are no numbers, or y has another length than X.
    """
    table = catalog_of(X) if y is None and holds_images(X) else None
    if y is None and table is None:
        msg = (
            'to learn numbers requires y to be passed, but the target y is None: X is no table '
            'that could hold the numbers'
        )
        raise ValueError(msg)
    names = [target] if isinstance(target, str) else list(target or ())
    if y is not None:
        table = _as_columns(y, names)
        # The columns of a table are taken by name, so that others and their order do not matter.
        names = names if names and set(names) <= set(table.colnames) else table.colnames
        if len(table) != len(X):
            msg = f'y has {len(table)} rows, X has {len(X)}; pass the numbers of each row of X'
            raise ValueError(msg)
    if not names:
        msg = (
            f'{as_written("target")} is {target!r}, expected the name of a column of numbers, or '
            f'several, among {cut_list(table.colnames)}; name it, or pass y'
        )
        raise ValueError(msg)
    if len(set(names)) < len(names):
        msg = f'{as_written("target")} is {cut_list(names)}, expected each column once'
        raise ValueError(msg)
    values = read_numbers(table, names, 'target')
    values = np.where(np.isfinite(values), values, np.nan)
    _refuse_extremes(values, names)
    return Table(values, names=names, units=[getattr(table[name], 'unit', None) for name in names])


def _refuse_extremes(values, names):
    """Raise a ValueError if double precision cannot hold the squares of a column's numbers."""
    largest = np.max(np.abs(values), axis=0, where=np.isfinite(values), initial=0)
    for name, number in zip(names, largest, strict=True):
        if number > LARGEST_NUMBER or 0 < number < 1 / LARGEST_NUMBER:
            msg = (
                f'the numbers {name!r} go up to {number:.2g}, expected between '
                f'{1 / LARGEST_NUMBER:g} and {LARGEST_NUMBER:g}, since their squares are summed; '
                'change the unit, or mask what is not measured'
            )
            raise ValueError(msg)


def _as_columns(y, names):
    """Return numbers as a table; an array has the names, if they are as many as its columns."""
    if isinstance(y, Table) or is_frame(y):
        return as_table(y)
    if hasattr(y, 'to_frame'):  # a series of pandas or Polars
        y = as_table(y.to_frame(getattr(y, 'name', None) or 'number')).columns[0]
    if hasattr(y, 'to_pylist'):  # an array of Arrow
        y = y.to_pylist()
    y = y if hasattr(y, 'shape') else np.ma.asarray(y)
    if np.ndim(y) not in (1, 2):
        msg = f'y has the shape {np.shape(y)}, expected (n,) or (n, k); pass k numbers a row'
        raise ValueError(msg)
    columns = [y] if y.ndim == 1 else [y[:, k] for k in range(y.shape[1])]
    if len(names) != len(columns) == 1:
        names = [getattr(y, 'name', None) or 'number']
    elif len(names) != len(columns):
        names = [f'number_{k}' for k in range(1, len(columns) + 1)]
    return Table(columns, names=names)


def validation_of(validation, n, rows):
    """
    Return which of some rows are held out.

    Parameters
    ----------
    validation : array_like of bool, shape (n,), or None
        Whether each row of X is held out.
    n : int
        Number of rows of X.
    rows : ndarray of int, shape (m,)
        Numbers of the labelled rows.

    Returns
    -------
    validation : ndarray of bool, shape (m,), or None
        Whether each labelled row is held out.

    Raises
    ------
    ValueError
        If there are not n of bool.
    """
    if validation is None:
        return None
    # A comparison with a masked column is masked there.
    validation = np.ma.filled(np.ma.asarray(validation), False)
    if validation.dtype != bool or validation.shape != (n,):
        msg = (
            f'validation must be an array of {n} bool, one a row of X, got {validation.dtype} of '
            f"shape {validation.shape}; pass for example table['split'] == 'validation'"
        )
        raise ValueError(msg)
    return validation[rows]


def weights_of(sample_weight, X, rows):
    """
    Return the weights of some samples; those of other rows may be masked or NaN.

    Parameters
    ----------
    sample_weight : array_like, shape (n,), or None
        Weight of each sample; equal weights if None.
    X : object
        The n samples.
    rows : ndarray of int, shape (m,)
        Numbers of the rows that have a label.

    Returns
    -------
    weights : ndarray, shape (m,)
        The weights.

    Raises
    ------
    ValueError
        If there are not n weights, or that of a labelled row is masked, not finite or negative.
    """
    if sample_weight is None:
        return np.ones(len(rows))
    # ONNX files predict without scikit-learn.
    from sklearn.utils.validation import _check_sample_weight

    weights = np.ma.filled(np.ma.asarray(sample_weight, float), np.nan)
    if weights.shape != (len(X),):
        msg = (
            f'sample_weight has the shape {weights.shape}, expected ({len(X)},); pass one weight '
            'a row'
        )
        raise ValueError(msg)
    n_negative = np.sum(weights[rows] < 0)
    if n_negative:
        msg = (
            f'sample_weight is negative in {n_negative} of {len(rows)} rows with a label, expected '
            'weights of at least 0; pass 0 for rows that are not to count'
        )
        raise ValueError(msg)
    return _check_sample_weight(weights[rows], rows)


def check_known(labels, classes, *, is_any_needed=True):
    """
    Check that labels are classes of a model.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        The labels, without those that are masked.
    classes : sequence
        The classes of the model.
    is_any_needed : bool, default=True
        Whether at least one label must be.

    Raises
    ------
    ValueError
        If one must be, and none is.

    Warns
    -----
    AstropyUserWarning
        If some are not.
    """
    classes = list(np.asarray(classes).tolist())
    values, counts = np.unique(labels, return_counts=True)
    is_known = np.array([value in classes for value in values.tolist()], bool)
    if is_known.all():
        return
    unknown = values[~is_known].tolist()
    spelling = {_plain(name): name for name in classes}
    near = {
        value: spelling[match[0]]
        for value in unknown
        if (match := difflib.get_close_matches(_plain(value), spelling, n=1))
    }
    renamed = ', '.join(f'{value!r} to {name!r}' for value, name in list(near.items())[:10])
    remedy = f'change {renamed}' if near else 'rename them, or leave them empty'
    came = f'the labels {cut_list(unknown)} of {counts[~is_known].sum()} of {len(labels)} rows'
    expected = f'are no classes of the model, expected {cut_list(classes)}'
    if is_any_needed and not is_known.any():
        msg = f'{came} {expected}; {remedy}'
        raise ValueError(msg)
    warnings.warn(f'{came} {expected}; {remedy}', AstropyUserWarning, stacklevel=3)


def _plain(label):
    """Return the name of a class without case, blanks, hyphens and underscores."""
    return ''.join(letter for letter in str(label).casefold() if letter not in ' -_')


def check_classes(labels):
    """
    Check that labels are classes that can be learnt, before images are fetched.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        The labels, without those that are masked.

    Raises
    ------
    ValueError
        If they are of fewer than two classes, or each row has a class of its own.

    Warns
    -----
    AstropyUserWarning
        If most classes have a single row.
    """
    classes, counts = np.unique(labels, return_counts=True)
    _refuse_single_class(classes)
    n_alone = np.sum(counts == 1)
    if len(labels) < FEW_LABELS or n_alone <= len(classes) / 2:
        return
    msg = (
        f'the labels hold {len(classes)} classes {cut_list(classes.tolist())} in {len(labels)} '
        f'rows, and {n_alone} of the classes have a single row: they look like identifiers or '
        'measurements, expected several galaxies of each class; name another column of labels'
    )
    if n_alone == len(labels):
        raise ValueError(msg)
    warnings.warn(msg, AstropyUserWarning, stacklevel=3)


def _refuse_single_class(classes, of=''):
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
    classes, target = np.unique(labels, return_inverse=True)
    _refuse_single_class(classes, of)
    return classes, target
