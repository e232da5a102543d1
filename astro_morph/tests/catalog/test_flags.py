# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the quality flags: one bit each, and names of any combination."""

import numpy as np

from astro_morph import decode_flags
from astro_morph.catalog.flags import BITS, FLAGS


def test_each_flag_has_a_bit_and_a_name_of_its_own():
    bits = [flag.bit for flag in FLAGS]
    assert all(bit.bit_count() == 1 for bit in bits)
    assert len(set(bits)) == len({flag.name for flag in FLAGS}) == len(FLAGS)
    assert all(flag.meaning for flag in FLAGS)
    assert {flag.name: flag.bit for flag in FLAGS} == BITS


def test_bits_are_decoded_alone_and_together():
    for flag in FLAGS:
        assert decode_flags(flag.bit) == [flag.name]
    assert decode_flags(sum(BITS.values())) == [flag.name for flag in FLAGS]
    assert decode_flags(0) == []


def test_a_column_of_flags_is_decoded_row_by_row():
    assert decode_flags(np.array([0, 1, 5], np.int32)) == [
        [],
        ['partial_coverage'],
        ['partial_coverage', 'missing_band'],
    ]
