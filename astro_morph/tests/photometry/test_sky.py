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
