# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The noise at the rim of cutouts."""

import numpy as np
import pytest

from astro_morph.preprocessing import border_noise
from astro_morph.tests.helpers import gaussian


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return random.normal(scale=np.reshape([0.5, 4], (2, 1, 1)), size=(40, 2, 24, 24))


def test_galaxy_in_the_middle_does_not_count(images):
    galaxy = 1000 * gaussian(24, sigma=1.5)
    np.testing.assert_allclose(border_noise(images + galaxy), [0.5, 4], rtol=0.05)


def test_missing_pixels_and_outliers_do_not_count(images):
    images[:, :, :2] = np.nan
    images[:3] = np.nan
    images[5:10] *= 1e6
    images[:, :, 3, 3] = 1e5
    np.testing.assert_allclose(border_noise(images), [0.5, 4], rtol=0.15)


def test_band_without_noise_has_noise_one(images):
    images[:, 1] = 0
    np.testing.assert_allclose(border_noise(images), [0.5, 1], rtol=0.05)
    images[:, 1] = np.nan
    np.testing.assert_allclose(border_noise(images), [0.5, 1], rtol=0.05)
