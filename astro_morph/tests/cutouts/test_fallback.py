# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `FirstOf`."""

import numpy as np
import pytest
from astropy.table import Table

from astro_morph.cutouts import CutoutSet, CutoutSource, FirstOf


class Lookup(CutoutSource):
    """A source of constant images for the rows whose given status is ok."""

    def __init__(self, value, status, bands='gr', flag=0):
        self.value, self.status, self.bands, self.flag = value, status, bands, flag

    def fetch(self, X, *, size=None):
        side = size or 8
        status = np.array([self.status[row] for row in X['row']])
        images = np.full((len(X), len(self.bands), side, side), self.value)
        return CutoutSet(
            images, bands=self.bands, status=status, flags=[self.flag] * len(X), table=X
        )


TABLE = Table({'row': np.arange(4)})


def test_a_row_comes_from_the_first_source_that_has_it():
    first = Lookup(1, ['ok', 'no_coverage', 'no_path', 'truncated'], flag=1)
    second = Lookup(2, ['ok', 'ok', 'ok', 'no_coverage'], flag=2)
    cutouts = FirstOf(first, second).fetch(TABLE)
    assert cutouts.status.tolist() == ['ok', 'ok', 'ok', 'truncated']
    assert cutouts.images[:3, 0, 0, 0].tolist() == [1, 2, 2]
    assert cutouts.flags.tolist() == [1, 2, 2, 1]
    assert cutouts.table is TABLE


def test_a_source_that_had_something_to_go_by_says_why():
    first = Lookup(1, ['no_path', 'no_path', 'not_found', 'no_coordinates'])
    second = Lookup(2, ['no_coordinates', 'no_coverage', 'no_coordinates', 'no_coverage'])
    status = FirstOf(first, second).fetch(TABLE).status
    assert status.tolist() == ['no_coordinates', 'no_coverage', 'not_found', 'no_coverage']


def test_the_second_source_gives_the_size_of_the_first():
    first = Lookup(1, ['ok', 'no_path', 'ok', 'ok'])
    second = Lookup(2, ['ok'] * 4)
    assert FirstOf(first, second).fetch(TABLE).shape == (4, 2, 8, 8)
    assert FirstOf(first, second).fetch(TABLE, size=5).shape == (4, 2, 5, 5)


def test_sources_that_differ_are_an_error():
    first, second = Lookup(1, ['ok', *['no_path'] * 3]), Lookup(2, ['ok'] * 4, bands='riz')
    with pytest.raises(ValueError, match=r"'g', 'r'.*'r', 'i', 'z'"):
        FirstOf(first, second).fetch(TABLE)


def test_a_source_without_any_image_does_not_say_bands_and_size():
    found, lost = Lookup(1, ['ok'] * 4), Lookup(2, ['not_found'] * 4, bands='riz')
    for sources in ((found, lost), (lost, found)):
        cutouts = FirstOf(*sources).fetch(TABLE)
        assert cutouts.is_ok.all()
        assert cutouts.bands == ('g', 'r')
        assert cutouts.shape == found.fetch(TABLE).shape
    partly = FirstOf(Lookup(1, ['ok', 'no_path', 'ok', 'truncated']), lost).fetch(TABLE)
    assert partly.status.tolist() == ['ok', 'not_found', 'ok', 'truncated']
    nothing = FirstOf(Lookup(1, ['truncated', 'no_path'] * 2), lost).fetch(TABLE)
    assert nothing.status.tolist() == ['truncated', 'not_found'] * 2
