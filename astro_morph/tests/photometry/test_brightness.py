# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Brightness of images, beside the range that a training knows."""

import json

import numpy as np
import pytest

from astro_morph.photometry.brightness import (
    brightness_range,
    compare_brightness,
    measure_brightness,
    range_around,
)
from astro_morph.tests.helpers import gaussian, make_blobs


def noise(n, *, scale=1.0, size=32):
    return np.random.default_rng(0).normal(scale=scale, size=(n, 2, size, size)).astype(np.float32)


def known_of(images, kind='flux'):
    return brightness_range(measure_brightness(images, kind), kind)


class TestFlux:
    @pytest.mark.parametrize('unit', [1e-30, 1e-9, 1.0, 1e30])
    def test_is_the_noise_in_any_unit(self, unit):
        images = make_blobs(40, size=32).images.astype(np.float32) * np.float32(unit)
        np.testing.assert_allclose(
            np.median(measure_brightness(images, 'flux'), axis=0), 0.05 * unit, rtol=0.4
        )

    def test_is_the_noise_under_a_large_galaxy(self):
        images = noise(20) + 100 * gaussian(32, sigma=9).astype(np.float32)
        assert measure_brightness(images, 'flux').max() < 13

    def test_padding_and_missing_pixels_do_not_count(self):
        images = noise(20)
        images[:, :, :20] = 0
        images[:, :, 20:24] = np.nan
        np.testing.assert_allclose(np.log(measure_brightness(images, 'flux')), 0, atol=0.8)

    def test_of_no_pixel_is_not_known(self):
        images = noise(3)
        images[0], images[1, 0], images[2] = np.nan, np.nan, 0
        np.testing.assert_array_equal(
            np.isnan(measure_brightness(images, 'flux')), [[1, 1], [1, 0], [1, 1]]
        )
        assert not compare_brightness(images, 'flux', known_of(noise(50)))[1].any()

    @pytest.mark.parametrize('factor', [1e-9, 1e-3, 1e-2, 1e2, 1e3])
    @pytest.mark.parametrize('known', [known_of(noise(100)), range_around([1, 1], 'flux')])
    def test_another_unit_is_other(self, factor, known):
        ratio, is_other = compare_brightness(noise(50, scale=factor), 'flux', known)
        assert is_other.all()
        np.testing.assert_allclose(ratio, factor, rtol=0.4)

    @pytest.mark.parametrize('factor', [0.3, 1, 3])
    def test_another_depth_is_not(self, factor):
        known = known_of(noise(100))
        assert not compare_brightness(noise(50, scale=factor), 'flux', known)[1].any()

    def test_of_one_band_is_enough(self):
        images = noise(50)
        images[:, 1] *= 1000
        assert compare_brightness(images, 'flux', known_of(noise(100)))[1].all()

    def test_range_holds_a_survey_of_varied_depth(self):
        depth = np.geomspace(1, 1e4, 100).astype(np.float32).reshape(-1, 1, 1, 1)
        images = noise(100) * depth
        assert not compare_brightness(images, 'flux', known_of(images))[1].any()

    def test_unknown_range_flags_nothing(self):
        known = known_of(np.zeros((5, 2, 32, 32), np.float32))
        assert known == {'low': [None, None], 'high': [None, None]}
        assert json.loads(json.dumps(known)) == known
        assert not compare_brightness(noise(5), 'flux', known)[1].any()


class TestPictures:
    @pytest.fixture(scope='class')
    @staticmethod
    def pictures():
        light = 20 + 200 * np.clip(make_blobs(60, size=32, bands='gri').images / 5, 0, 1)
        return light.astype(np.uint8)

    @pytest.mark.parametrize(
        'change',
        [
            lambda pixels: pixels / 255,
            lambda pixels: pixels // 100,
            lambda pixels: 255 - pixels,
            lambda pixels: pixels * 257.0,
            np.zeros_like,
        ],
        ids=['0 to 1', 'dark', 'inverted', '16 bits', 'black'],
    )
    def test_dark_inverted_and_scaled_ones_are_other(self, pictures, change):
        for known in (known_of(pictures, 'picture'), range_around([30], 'picture')):
            assert compare_brightness(change(pictures), 'picture', known)[1].all()

    def test_they_are_as_bright_as_they_are(self, pictures):
        assert not compare_brightness(pictures, 'picture', known_of(pictures, 'picture'))[1].any()
