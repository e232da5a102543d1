# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The quality flags of ``morph_flags``: bit, name and meaning of each, and their decoder."""

from typing import NamedTuple

import numpy as np

__all__ = ['FLAGS', 'Flag', 'decode_flags']


class Flag(NamedTuple):
    """
    One bit of the ``morph_flags`` column.

    Parameters
    ----------
    bit : int
        The value of the bit, a power of 2.
    name : str
        The name that `decode_flags` returns.
    meaning : str
        What a set bit means.

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
    Flag(4, 'missing_band', 'one or more bands, but not all, have no pixels'),
    Flag(8, 'saturated', 'saturated core'),
    Flag(16, 'cosmic_ray', 'pixels hit by cosmic rays were filled in'),
    Flag(32, 'no_source', 'no source was detected at the centre'),
    Flag(64, 'low_signal', 'the signal-to-noise ratio of the galaxy is below 20'),
    Flag(128, 'uncertain_sky', 'too little sky, or light of the galaxy at the border'),
    Flag(256, 'neighbour_removed', 'neighbouring sources were replaced by sky noise'),
    Flag(512, 'recentred', 'the galaxy was moved to the centre'),
    # In the column measure_flags.
    Flag(1024, 'measures_cut', 'over 10 % of the measured circle is masked or outside the cutout'),
    Flag(2048, 'measures_noisy', 'the mean signal-to-noise ratio per pixel is below 2.5'),
    Flag(4096, 'measures_small', 'the Petrosian radius is below 8 pixels'),
    Flag(8192, 'measures_off_centre', 'no centre of symmetry was found near the centroid'),
    Flag(16384, 'novel', 'more unusual than 99 % of the training galaxies'),
    Flag(32768, 'other_brightness', 'noise or brightness unlike that of all training images'),
    # In the column measure_flags.
    Flag(65536, 'companion_split', 'a companion connected with the galaxy was split off'),
    Flag(131072, 'size_measured', 'the size of the cutout was measured on the image'),
    Flag(262144, 'outside_magnitude', 'brighter or fainter than the training galaxies'),
    Flag(524288, 'outside_size', 'larger or smaller than the training galaxies'),
    Flag(1048576, 'outside_noise', 'more or less noise than in the training images'),
)

#: Bit value by flag name.
BITS = {flag.name: flag.bit for flag in FLAGS}


def decode_flags(flags):
    """
    Return the names of quality flags.

    Parameters
    ----------
    flags : int or array_like of int
        Sums of bits, as in the column ``morph_flags``.

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
