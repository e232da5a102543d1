# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The quality flags of a cutout: one registry, and a decoder."""

from typing import NamedTuple

import numpy as np

__all__ = ['FLAGS', 'Flag', 'decode_flags']


class Flag(NamedTuple):
    """One bit of the ``morph_flags`` column."""

    bit: int
    name: str
    meaning: str


FLAGS = (
    Flag(1, 'partial_coverage', 'part of the cutout lies outside the images'),
    Flag(2, 'missing_pixels', 'some pixels inside the images are missing and were filled'),
    Flag(4, 'missing_band', 'at least one band has no pixel at all, the others have'),
)

#: Bit value by flag name.
BITS = {flag.name: flag.bit for flag in FLAGS}


def decode_flags(flags):
    """
    Turn flag bits into names.

    Parameters
    ----------
    flags : int or array_like of int
        The bits, as in the column ``morph_flags``.

    Returns
    -------
    names : list of str, or list of list of str
        The names of the bits that are set, for each element.

    Examples
    --------
    >>> from astro_morph import decode_flags
    >>> decode_flags(3)
    ['partial_coverage', 'missing_pixels']
    >>> decode_flags([0, 2])
    [[], ['missing_pixels']]
    """
    if np.ndim(flags):
        return [decode_flags(value) for value in flags]
    return [flag.name for flag in FLAGS if int(flags) & flag.bit]
