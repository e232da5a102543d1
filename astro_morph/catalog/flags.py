# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The quality flags of a cutout: one registry, and a decoder."""

from typing import NamedTuple

import numpy as np

__all__ = ['FLAGS', 'Flag', 'decode_flags']


class Flag(NamedTuple):
    """
    One bit of the ``morph_flags`` column.

    Parameters
    ----------
    bit : int
        Its value, a power of 2.
    name : str
        What `decode_flags` calls it.
    meaning : str
        What is so where it is set.

    Examples
    --------
    >>> from astro_morph.catalog.flags import FLAGS
    >>> FLAGS[0]
    Flag(bit=1, name='partial_coverage', meaning='part of the cutout lies outside the images')
    """

    bit: int
    name: str
    meaning: str


FLAGS = (
    Flag(1, 'partial_coverage', 'part of the cutout lies outside the images'),
    Flag(2, 'missing_pixels', 'some pixels inside the images are missing'),
    Flag(4, 'missing_band', 'at least one band has no pixel at all, the others have'),
    Flag(8, 'saturated', 'a core is as bright as the detector can tell'),
    Flag(16, 'cosmic_ray', 'pixels that a cosmic ray hit were filled'),
    Flag(32, 'no_source', 'there is no source at the centre'),
    Flag(64, 'low_signal', 'the signal-to-noise ratio of the galaxy is below 20'),
    Flag(128, 'uncertain_sky', 'the sources leave too little sky to measure its level well'),
    Flag(256, 'neighbour_removed', 'other sources were replaced by the noise of the sky'),
    Flag(512, 'recentred', 'the galaxy was moved to the centre'),
    # Of the column measure_flags.
    Flag(1024, 'measures_cut', 'a tenth of the circle measured is outside the cutout or hidden'),
    Flag(2048, 'measures_noisy', 'the mean signal-to-noise ratio of a pixel is below 2.5'),
    Flag(4096, 'measures_small', 'the Petrosian radius is below 8 pixels'),
    Flag(8192, 'measures_off_centre', 'no centre of symmetry was found near the centroid'),
    Flag(16384, 'novel', 'fewer than 1 in 100 training galaxies are so unlike the others'),
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
