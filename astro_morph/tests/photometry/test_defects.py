# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Missing pixels, cosmic rays and saturated cores are found, and small holes filled."""

import numpy as np
import pytest

from astro_morph.photometry.defects import (
    fill_small_holes,
    find_cosmic_rays,
    find_missing,
    find_saturated,
)
from astro_morph.tests.helpers import gaussian

NOISE = np.ones((1, 2))


@pytest.fixture
def images():
    """A bright star in the middle, its FWHM 2 pixels, and noise of 1 in two bands."""
    random = np.random.default_rng(0)
    return (random.normal(size=(1, 2, 32, 32)) + 800 * gaussian(32, sigma=0.85)).astype('f4')


class TestMissing:
    def test_not_finite(self, images):
        images[0, 0, 3, 4], images[0, 1, 5, 6] = np.nan, np.inf
        assert np.argwhere(find_missing(images)).tolist() == [[0, 0, 3, 4], [0, 1, 5, 6]]

    def test_blocks_of_zeros_and_no_single_ones(self, images):
        images[0, 0, 3, 4] = 0
        images[0, 1, 5:9, 6:12] = 0
        found = find_missing(images)
        assert found.sum() == 4 * 6
        assert found[0, 1, 5:9, 6:12].all()

    def test_image_of_zeros_has_no_pixel(self, images):
        assert find_missing(0 * images).all()

    def test_zeros_among_counts_are_measurements(self):
        counts = np.random.default_rng(0).poisson(0.2, size=(1, 1, 32, 32)).astype('f4')
        assert not find_missing(counts).any()


class TestCosmicRays:
    def test_hit_pixel_and_track(self, images):
        images[0, 0, 4, 5] = 60
        images[0, 1, [20, 21, 22, 23], [3, 4, 5, 6]] = 90
        images[0, 1, 27, 10:16] = 40
        expected = np.zeros(images.shape, bool)
        expected[0, 0, 4, 5] = expected[0, 1, [20, 21, 22, 23], [3, 4, 5, 6]] = True
        expected[0, 1, 27, 10:16] = True
        np.testing.assert_array_equal(find_cosmic_rays(images, NOISE), expected)

    def test_hit_on_a_galaxy(self, images):
        images += 200 * gaussian(32, sigma=5)
        images[0, 1, 18, 12] = 900
        assert np.argwhere(find_cosmic_rays(images, NOISE)).tolist() == [[0, 1, 18, 12]]

    @pytest.mark.parametrize('shift', [0, 0.25, 0.5])
    def test_star_is_none(self, shift):
        star = np.full((1, 1, 1, 1), 1e5) * gaussian(32, sigma=0.85, x=shift, y=0.3)
        assert not find_cosmic_rays(star.astype('f4'), NOISE[:, :1]).any()

    def test_what_is_sharp_in_several_bands_is_none(self, images):
        images[0, :, 4, 5] = 60
        assert not find_cosmic_rays(images, NOISE).any()

    def test_noise_is_none(self):
        images = np.random.default_rng(1).normal(size=(50, 3, 64, 64))
        assert not find_cosmic_rays(images, np.ones((50, 3))).any()


class TestSaturated:
    def test_plateau_in_each_band(self, images):
        clipped = (images + 400 * gaussian(32, sigma=2)).clip(max=np.reshape([150, 300], (2, 1, 1)))
        found = find_saturated(clipped, clipped > 100)
        np.testing.assert_array_equal(found, clipped >= np.reshape([150, 300], (2, 1, 1)))

    def test_star_and_galaxy_have_none(self, images):
        assert not find_saturated(images, images > 100).any()
        galaxy = np.random.default_rng(2).normal(size=(40, 2, 32, 32))
        galaxy += 2000 * gaussian(32, sigma=5)
        assert not find_saturated(galaxy, galaxy > 100).any()

    def test_pixels_that_were_repeated_are_none(self, images):
        enlarged = images.repeat(2, axis=2).repeat(2, axis=3)
        assert not find_saturated(enlarged, enlarged > 100).any()
        clipped = (enlarged + 400 * gaussian(64, sigma=4)).clip(max=150)
        assert find_saturated(clipped, clipped > 100).any()

    def test_plateau_of_the_sky_is_none(self):
        flat = np.full((1, 2, 8, 8), 5.0)
        assert not find_saturated(flat, flat > 100).any()

    def test_level(self, images):
        found = find_saturated(images, images > 500, level=100)
        np.testing.assert_array_equal(found, images >= 100)

    def test_hole_in_a_bright_core(self, images):
        is_missing = np.zeros(images.shape, bool)
        is_missing[0, 0, 16, 16] = is_missing[0, 1, 2, 2] = True
        found = find_saturated(images, images > 100, is_missing=is_missing)
        assert np.argwhere(found).tolist() == [[0, 0, 16, 16]]


class TestFilling:
    @pytest.mark.parametrize(
        'hole',
        [np.s_[0, 0, 9, 9], np.s_[0, 1, 7:12, 20:25], np.s_[0, 0, :, 13:17], np.s_[0, 1, :2]],
    )
    def test_small_holes_get_the_light_around_them(self, hole):
        smooth = np.array([[100 * gaussian(32, sigma=20), 50 * gaussian(32, sigma=20)]])
        images = smooth.copy()
        images[hole] = np.nan
        filled = fill_small_holes(images, np.isnan(images))
        np.testing.assert_allclose(filled, smooth, rtol=0.15)
        known = ~np.isnan(images)
        np.testing.assert_array_equal(filled[known], smooth[known])

    def test_large_holes_stay(self, images):
        images[0, 1, :12, :12] = 7e7
        is_missing = images > 1e7
        np.testing.assert_array_equal(np.isnan(fill_small_holes(images, is_missing)), is_missing)

    def test_images_are_not_changed(self, images):
        images[0, 0, 4, 4] = np.nan
        before = images.copy()
        images.flags.writeable = False
        fill_small_holes(images, find_missing(images))
        find_cosmic_rays(images, NOISE)
        find_saturated(images, images > 100)
        np.testing.assert_array_equal(images, before)
