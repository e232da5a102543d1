# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Describe values in JSON, so that runs with other settings are told apart."""

import hashlib
import json
import math
import os
import pickle
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import astropy.units as u
import numpy as np

__all__ = ['describe', 'fingerprint']

# Longer lists are described by their number of items and their fingerprint.
LONGEST = 10


def describe(value):
    """
    Describe a value in JSON: values with the same description are equal.

    Equal values may have different descriptions, if they are not plain: a run is then refused
    rather than mixed with another.

    Parameters
    ----------
    value : object
        The value. An object with a method ``settings`` is described by its class and those.

    Returns
    -------
    description : None, bool, int, float, str, list or dict
        The value itself if it is plain; other values by their fingerprint.

    Examples
    --------
    >>> from pathlib import Path
    >>> from astro_morph.utils.identity import describe
    >>> describe({'files': Path('tiles/a.fits'), 'hdu': 1})
    {'files': 'tiles/a.fits', 'hdu': 1}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # NaN would differ from itself
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [describe(item) for item in value]
        return items if len(items) <= LONGEST else f'{len(items)} items, {fingerprint(items)}'
    kind = f'{type(value).__module__}.{type(value).__qualname__}'
    settings = getattr(value, 'settings', None)
    if callable(settings):
        return {kind: describe(settings())}
    if isinstance(value, u.Quantity) and value.isscalar:
        return f'{value.value.item()} {value.unit}'
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: describe(getattr(value, field.name)) for field in fields(value)}
    return f'{kind} {fingerprint(value)}'


def fingerprint(value):
    """
    Return a fingerprint of a value.

    Parameters
    ----------
    value : object
        The value.

    Returns
    -------
    fingerprint : str
        Twelve hexadecimal digits, the same in each process for the same value.

    Examples
    --------
    >>> from astro_morph.utils.identity import fingerprint
    >>> fingerprint('spiral')
    '2a43c5d5d7ee'
    """
    try:
        content = json.dumps(value).encode()
    except (TypeError, ValueError):
        content = _pickled(value)
    return hashlib.sha256(content).hexdigest()[:12]


def _pickled(value):
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:
        # Such as a function without a name: its text at least tells it from others.
        return repr(value).encode()
