# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `astro_morph.images.remote.ranges`: which bytes are read, and that they are right."""

import numpy as np
import pytest

from astro_morph.images.remote.ranges import RangePixels, merge_ranges
from astro_morph.images.resampling import cut_stamps
from astro_morph.images.tiles import Layout

OFFSET = 2880


class File:
    """An image of float32 behind a header, and the ranges that were read of it."""

    def __init__(self, shape, dtype='>f4', **scaling):
        self.values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        self.content = bytes(OFFSET) + self.values.tobytes()
        self.ranges = []
        scaling = {'scale': 1, 'zero': 0, 'blank': None} | scaling
        layout = Layout(OFFSET, self.values.dtype, **scaling)
        self.pixels = RangePixels(self.read, layout, shape)

    def read(self, starts, ends):
        self.ranges += zip(starts, ends, strict=True)
        return [self.content[start:end] for start, end in zip(starts, ends, strict=True)]

    @property
    def n_read(self):
        return sum(end - start for start, end in self.ranges)


@pytest.mark.parametrize(
    ('pieces', 'most', 'longest', 'ranges'),
    [
        ([(0, 10)], 20, 100, [(0, 10)]),
        # Those that overlap are one, even if nothing more may be read.
        ([(5, 15), (0, 10), (2, 4)], 0, 100, [(0, 15)]),
        # The smallest gaps are read, as far as they may be.
        ([(0, 10), (13, 20), (22, 30)], 27, 100, [(0, 10), (13, 30)]),
        ([(0, 10), (13, 20), (22, 30)], 26, 100, [(0, 10), (13, 20), (22, 30)]),
        ([(0, 10), (13, 20), (22, 30)], 30, 100, [(0, 30)]),
        # Long ranges come in parts.
        ([(0, 25)], 25, 10, [(0, 10), (10, 20), (20, 25)]),
        ([(0, 10), (100, 125)], 40, 20, [(0, 10), (100, 120), (120, 125)]),
    ],
)
def test_ranges(pieces, most, longest, ranges):
    starts, ends = merge_ranges(*np.transpose(pieces), most, longest=longest)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == ranges


@pytest.mark.parametrize('longest', [64, 2**22])
@pytest.mark.parametrize('margin', [0, 3])
@pytest.mark.parametrize('n', [1, 5, 200])
def test_boxes_are_the_pixels_of_the_file(n, margin, longest, monkeypatch):
    """Boxes lie inside, across the edges, outside, and over each other."""
    monkeypatch.setattr('astro_morph.images.remote.ranges.LONGEST', longest)
    file = File((2, 80, 60))
    corners = np.random.default_rng(n).integers(-20, 80, (n, 2))
    for plane in (0, 1):
        came = cut_stamps(file.pixels[plane], corners, 16, margin=margin)
        np.testing.assert_array_equal(came, cut_stamps(file.values[plane], corners, 16))


def test_slices_are_the_pixels_of_the_file():
    file = File((1, 30, 20))
    for index in (np.s_[3:9, 2:4], np.s_[:, 5:], np.s_[4:4, :], np.s_[28:40, -3:]):
        np.testing.assert_array_equal(file.pixels[0][index], file.values[0][index])


def test_planes_end():
    """Whoever iterates over an image of two planes gets two."""
    assert len([*File((2, 8, 6)).pixels]) == 2


def test_integers_are_scaled():
    file = File((1, 30, 20), '>i2', scale=0.5, zero=100, blank=44)
    values = 100 + 0.5 * np.arange(40, 48)
    values[4] = np.nan
    np.testing.assert_array_equal(file.pixels[0][2:3, 0:8], [values])


@pytest.mark.parametrize(('side', 'n'), [(8, 1), (8, 300), (40, 10), (40, 100)])
def test_at_most_twice_the_pixels_asked_for_are_read(side, n):
    file = File((1, 500, 400))
    corners = np.random.default_rng(n).integers(0, 360, (n, 2))
    file.pixels[0].read_boxes(corners, side)
    assert file.n_read <= 2 * 4 * n * side**2
    assert file.n_read <= len(file.content)


def test_cutouts_that_overlap_share_what_is_read():
    file = File((1, 100, 100))
    file.pixels[0].read_boxes(np.array([[10, 20], [10, 20], [12, 24]]), 30)
    assert len(set(file.ranges)) == len(file.ranges)
    assert file.n_read <= 4 * 34 * 100
