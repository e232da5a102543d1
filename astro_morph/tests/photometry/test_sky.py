# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The sky under galaxies, against what it is known to be."""

import numpy as np
import pytest
from astropy.modeling.models import Sersic2D

from astro_morph.photometry.sky import border_noise, measure_sky
from astro_morph.tests.helpers import gaussian

NOISE = np.array([2.0, 0.5])


def observe(light, level, *, n=30, random_state=0):
    """Add sky and noise to the light of a galaxy, each in units of the noise of two bands."""
    random = np.random.default_rng(random_state)
    images = light + level + random.normal(size=(n, 2, *light.shape[-2:]))
    return images * NOISE[:, np.newaxis, np.newaxis]


def error(images, level):
    """Return the largest error of the sky near the galaxy in units of noise, per band."""
    sky = measure_sky(images)
    side = images.shape[2]
    middle = np.s_[..., side // 4 : -(side // 4), side // 4 : -(side // 4)]
    difference = sky.level / NOISE[:, np.newaxis, np.newaxis] - level
    return np.abs(difference[middle].mean(axis=(2, 3)))


def sersic(side, index, half_light, peak_to_noise):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    image = Sersic2D(1, half_light, index, 0, 0, 0.3, 0.7)(x, y)
    return peak_to_noise * image / image[side // 2 - 5, side // 2]


@pytest.mark.parametrize('index', [1, 4])
@pytest.mark.parametrize('level', [0, -3, 1000])
def test_sky_and_noise_beside_a_galaxy(index, level):
    images = observe(sersic(64, index, 5, 6), level)
    assert np.percentile(error(images, level), 95) < 0.1
    np.testing.assert_allclose(measure_sky(images).noise.mean(axis=0), NOISE, rtol=0.03)


def test_halo_of_a_galaxy_is_no_sky():
    # At the rim it is still bright: so far off would be a median of the rim.
    light = sersic(64, 4, 6, 60)
    rim = np.median(light[:4])
    assert rim > 0.4
    assert np.median(error(observe(light, 10), 10)) < 0.6 * rim


def test_neighbours_are_no_sky():
    others = 40 * (gaussian(64, x=20, y=18) + gaussian(64, x=-24, y=-15) + gaussian(64, x=-20))
    assert np.percentile(error(observe(sersic(64, 1, 4, 30) + others, 0), 0), 95) < 0.1


def test_sloping_sky():
    y, x = np.mgrid[:64, :64] / 64
    assert (
        np.percentile(error(observe(sersic(64, 1, 5, 30), 3 * x - 5 * y), 3 * x - 5 * y), 95) < 0.1
    )


def test_curved_sky_of_a_large_cutout():
    y, x = np.mgrid[:256, :256] / 300
    wave = np.cos(2 * np.pi * (x + 0.6 * y))
    images = observe(sersic(256, 1, 8, 30), wave, n=2)
    level = measure_sky(images).level / NOISE[:, np.newaxis, np.newaxis]
    assert np.abs(level - wave)[..., 32:-32, 32:-32].mean() < 0.3


def test_fraction_of_sky_is_what_sources_leave():
    images = observe(np.zeros((64, 64)), 0)
    assert measure_sky(images).fraction.min() > 0.95
    images[:, :, 10:50, 20:40] += 100
    # With 3 to 8 pixels around the source: those over which it is smoothed, and those next to it.
    fraction = measure_sky(images).fraction
    assert fraction.min() > 1 - 56 * 36 / 64**2
    assert fraction.max() < 1 - 46 * 26 / 64**2


def test_galaxy_that_fills_the_cutout_leaves_little_sky():
    sky = measure_sky(observe(sersic(32, 1, 40, 200), 0))
    assert sky.fraction.max() < 0.25
    assert np.isfinite(sky.level).all()


def test_bright_sky_is_subtracted_even_where_a_galaxy_leaves_little_of_it():
    light = 100 * gaussian(96, sigma=17)
    images = observe(light, 300, n=4)
    assert measure_sky(images).fraction.max() < 0.1
    # A few times the noise is the light of the galaxy at the rim.
    assert error(images, 300).max() < 5


def test_missing_pixels_and_bands():
    images = observe(sersic(64, 1, 5, 30), 7)
    images[:, :, :20] = np.nan
    images[3, 1] = np.nan
    images[5] = np.nan
    sky = measure_sky(images)
    error = sky.level.mean(axis=(2, 3)) / NOISE - 7
    expected = np.zeros_like(error, bool)
    expected[3, 1] = expected[5] = True
    np.testing.assert_array_equal(np.isnan(sky.noise), expected)
    assert np.abs(error[~expected]).max() < 0.25


def test_pixels_that_were_repeated():
    images = observe(gaussian(32, sigma=3) * 30, 7).repeat(2, axis=2).repeat(2, axis=3)
    assert np.percentile(error(images, 7), 95) < 0.25
    np.testing.assert_allclose(measure_sky(images).noise.mean(axis=0), NOISE, rtol=0.05)


def test_images_without_noise():
    sky = measure_sky(np.full((2, 1, 24, 24), 3.0))
    np.testing.assert_allclose(sky.level, 3)
    np.testing.assert_allclose(sky.noise, 0)


def test_each_cutout_stands_for_itself():
    images = observe(sersic(48, 1, 3, 30), 7, n=4)
    alone = np.concatenate([measure_sky(images[i : i + 1]).level for i in range(4)])
    np.testing.assert_allclose(measure_sky(images).level, alone, rtol=1e-5)


def test_images_are_not_changed():
    images = observe(sersic(48, 1, 3, 30), 7, n=2)
    before = images.copy()
    images.flags.writeable = False
    measure_sky(images)
    np.testing.assert_array_equal(images, before)


@pytest.fixture
def rims():
    random = np.random.default_rng(0)
    return random.normal(scale=np.reshape([0.5, 4], (2, 1, 1)), size=(40, 2, 24, 24))


def test_galaxy_in_the_middle_does_not_count(rims):
    galaxy = 1000 * gaussian(24, sigma=1.5)
    np.testing.assert_allclose(border_noise(rims + galaxy), [0.5, 4], rtol=0.05)


def test_missing_pixels_and_outliers_do_not_count(rims):
    rims[:, :, :2] = np.nan
    rims[:3] = np.nan
    rims[5:10] *= 1e6
    rims[:, :, 3, 3] = 1e5
    np.testing.assert_allclose(border_noise(rims), [0.5, 4], rtol=0.15)


def test_band_without_noise_has_noise_one(rims):
    rims[:, 1] = 0
    np.testing.assert_allclose(border_noise(rims), [0.5, 1], rtol=0.05)
    rims[:, 1] = np.nan
    np.testing.assert_allclose(border_noise(rims), [0.5, 1], rtol=0.05)


def observe_galaxies(side, index, half_light, flux, *, level=0, n=12):
    """Draw galaxies of a flux in units of the noise, without noise and with it."""
    random = np.random.default_rng(0)
    y, x = (np.mgrid[: 3 * side, : 3 * side] + 0.5) / 3 - side / 2
    light = []
    for _ in range(n):
        shape = random.uniform(0, 0.7), random.uniform(0, np.pi)
        image = Sersic2D.evaluate(x, y, 1, half_light, index, 0, 0, *shape)
        image = image.reshape(side, 3, side, 3).mean(axis=(1, 3))
        light.append(flux * image / image.sum())
    light = np.array(light)[:, np.newaxis]
    return light, light + level + random.normal(size=light.shape)


class TestGalaxiesThatFillTheirCutouts:
    @pytest.mark.parametrize('flux', [4000, 40000])
    @pytest.mark.parametrize('half_light', [2, 4, 8, 16, 24, 40])
    @pytest.mark.parametrize('index', [1, 4])
    def test_light_is_no_sky(self, index, half_light, flux):
        light, images = observe_galaxies(64, index, half_light, flux)
        sky = measure_sky(images)
        level = sky.level.mean(axis=(1, 2, 3))
        assert np.sum(sky.level) < 0.06 * light.sum()
        is_certain = ~sky.is_uncertain
        if is_certain.any():
            assert abs(level[is_certain].mean()) < 0.1
            assert np.sum(sky.level[is_certain]) < 0.03 * light[is_certain].sum()
        np.testing.assert_allclose(np.median(sky.noise), 1, atol=0.15)

    @pytest.mark.parametrize('index', [1, 4])
    def test_flag_is_set_if_wings_reach_the_border(self, index):
        def fraction_flagged(half_light, flux):
            return measure_sky(observe_galaxies(64, index, half_light, flux)[1]).is_uncertain.mean()

        assert max(fraction_flagged(half_light, 4000) for half_light in (2, 4, 6)) < 0.1
        assert min(fraction_flagged(half_light, 40000) for half_light in (16, 24, 40)) > 0.9

    @pytest.mark.parametrize(('index', 'half_light'), [(1, 4), (1, 8), (4, 3), (4, 6)])
    def test_a_real_sky_is_subtracted(self, index, half_light):
        _, images = observe_galaxies(64, index, half_light, 4000, level=100)
        sky = measure_sky(images)
        assert not sky.is_uncertain.any()
        assert abs(sky.level.mean() - 100) < 0.05

    def test_no_more_than_is_known_is_subtracted(self):
        _, images = observe_galaxies(64, 4, 16, 40000, level=100)
        level = measure_sky(images).level.mean(axis=(1, 2, 3))
        assert np.mean(level < 100) > 0.9
        assert level.min() > 98

    def test_half_light_radii_make_the_sky_more_certain(self):
        _, images = observe_galaxies(64, 1, 24, 4000, level=100)
        unknown = measure_sky(images, half_light=np.full(len(images), np.nan))
        np.testing.assert_array_equal(unknown.level, measure_sky(images).level)
        known = measure_sky(images, half_light=np.full(len(images), 20.0))
        assert np.abs(known.level - 100).mean() < 0.6 * np.abs(unknown.level - 100).mean()

    def test_neighbours_on_a_galaxy_are_no_part_of_it(self):
        _, images = observe_galaxies(64, 4, 6, 4000)
        stars = 100 * (gaussian(64, x=12, y=5) + gaussian(64, x=-20, y=18))
        sky = measure_sky(images + stars)
        assert sky.is_uncertain.mean() < 0.1
        assert abs(sky.level.mean()) < 0.05


class TestUnits:
    @pytest.mark.parametrize('unit', [1e-30, 1e-22, 1e-9, 1e9, 1e20, 1e30])
    def test_sky_scales_with_the_unit(self, unit):
        images = observe(sersic(64, 4, 12, 60), 5, n=4)
        expected, sky = measure_sky(images), measure_sky(images * unit)
        np.testing.assert_allclose(sky.level / np.float64(unit), expected.level, rtol=1e-3)
        np.testing.assert_allclose(sky.noise / np.float64(unit), expected.noise, rtol=1e-4)
        np.testing.assert_array_equal(sky.is_uncertain, expected.is_uncertain)

    @pytest.mark.parametrize('value', [1e30, 3e38, -3e38])
    def test_block_of_huge_numbers(self, value):
        images = observe(sersic(64, 1, 5, 30), 7, n=3).astype(np.float32)
        expected = measure_sky(images[:2])
        images[2, 0, 10:20, 10:20] = value
        sky = measure_sky(images)
        np.testing.assert_array_equal(sky.level[:2], expected.level)
        assert np.isfinite(sky.level).all()
