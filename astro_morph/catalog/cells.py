# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the values of columns: which are missing, which are text, and what objects hold."""

import numpy as np
from astropy.utils.masked import get_data_and_mask

__all__ = ['as_text', 'decode', 'is_blank', 'is_missing', 'kind_of', 'simplify', 'split_mask']


# Not the decimal numbers of Python: they may have more digits than a number of NumPy.
_NUMBERS = (int, float, np.number)


def kind_of(column):
    """Return the code of a column's type in NumPy; empty text for objects of Astropy."""
    dtype = getattr(column, 'dtype', None)
    return '' if dtype is None else dtype.kind


def split_mask(column):
    """Return the values of a column without its mask, and the mask; objects are simplified."""
    values, mask = get_data_and_mask(column)
    values = np.asarray(values)
    mask = np.zeros(values.shape, dtype=bool) if mask is None else np.asarray(mask)
    return simplify(values, mask) if values.dtype.kind == 'O' else (values, mask)


def simplify(objects, mask):
    """
    Return an array of objects as one of text or numbers, if all of them are.

    Parameters
    ----------
    objects : ndarray of object
        The values.
    mask : ndarray of bool
        Which of them are masked.

    Returns
    -------
    values : ndarray
        Of text, numbers or booleans where all known values are; otherwise the objects.
    mask : ndarray of bool
        True where a value is masked or missing.
    """
    mask = mask.copy()
    mask[~mask] = [is_missing(value) for value in objects[~mask]]
    known = objects[~mask].tolist()
    if all(isinstance(value, str) for value in known):
        array = np.array(known or [''])
    elif _are_all(known, (bool, np.bool_)) or (
        _are_all(known, _NUMBERS) and not any(isinstance(value, bool) for value in known)
    ):
        array = np.array(known)
    else:
        return objects, mask
    if array.dtype.kind == 'f' and _are_all(known, (int, np.integer)):
        # Integers beyond 64 bits, which floating-point numbers would round.
        return objects, mask
    values = np.zeros(objects.shape, array.dtype)
    values[~mask] = known
    return values, mask


def is_missing(value):
    """Check whether a value is None, NaN, NaT, a masked constant, or the NA of pandas."""
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, (str, bytes, list, tuple, dict, np.ndarray)):
        return False
    try:
        return bool(value != value)
    except TypeError:  # NA has no truth value
        return True


def is_blank(value):
    """Check whether a value is missing or empty text."""
    return is_missing(value) or (isinstance(value, str) and value == '')


def as_text(value):
    """Decode bytes and strip text; return any other value unchanged."""
    if isinstance(value, bytes):
        value = decode(value)
    return value.strip() if isinstance(value, str) else value


def decode(value):
    """Decode bytes as UTF-8, or as Latin-1 if they are not."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode('latin-1')


def _are_all(values, types):
    return all(isinstance(value, types) for value in values)
