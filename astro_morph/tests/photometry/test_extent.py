# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Galaxies outside the range of a training in magnitude, size or noise."""

import numpy as np
import pytest

from astro_morph import CutoutSet
from astro_morph.catalog.flags import decode_flags
from astro_morph.models.building import known_extent
from astro_morph.models.spec import ModelSpec
from astro_morph.photometry.extent import extent_of, find_outside, measure_extent
from astro_morph.prediction.brightness import Brightness

SIDE = 48


def draw(n, *, flux=1000.0, size=4.0, noise=0.3, seed=0):
    """Draw round galaxies whose properties scatter by 15 % around these."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    flux, size, noise = (
        np.exp(0.15 * random.normal(size=(n, 1, 1))) * value for value in (flux, size, noise)
    )
    galaxies = flux / (2 * np.pi * size**2) * np.exp(-(x**2 + y**2) / (2 * size**2))
    pixels = galaxies + noise * random.normal(size=galaxies.shape)
    return CutoutSet(pixels[:, np.newaxis], bands=['r'])


@pytest.fixture(scope='module')
def known():
    return known_extent(draw(600))


def test_flux_and_size_are_measured():
    extent = np.exp(measure_extent(draw(200).images))
    # Half of the light of a Gaussian is within 1.18 of its sigma; the radii are whole pixels.
    np.testing.assert_allclose(np.median(extent, axis=0), [1000, 5, 0.3], rtol=0.15)


def test_one_in_a_hundred_galaxies_like_the_training_is_outside(known):
    assert find_outside(draw(1000, seed=1).images, known).mean(axis=0).max() < 0.01


@pytest.mark.parametrize(
    ('changed', 'flag'),
    [
        ({'flux': 12_000, 'noise': 0.3}, 'outside_magnitude'),
        ({'flux': 150}, 'outside_magnitude'),
        ({'size': 9.5, 'flux': 1100}, 'outside_size'),
        ({'size': 1.2}, 'outside_size'),
        ({'noise': 1.2}, 'outside_noise'),
        ({'noise': 0.07}, 'outside_noise'),
    ],
)
def test_galaxies_outside_get_the_flag(known, changed, flag):
    spec = ModelSpec(classes=('E', 'S'), bands=('r',), size=SIDE, extent=known)
    flagged = Brightness(ModelSpec.from_json(spec.to_json())).flag(draw(50, seed=2, **changed))
    assert np.mean([flag in names for names in decode_flags(flagged.flags)]) > 0.9


def test_galaxy_without_light_is_outside(known):
    images = draw(1).images
    images[:] = -images
    assert find_outside(images, known)[0, 0]
    images[:] = np.nan
    assert not find_outside(images, known).any()


def test_range_of_few_galaxies_is_not_known():
    assert extent_of(measure_extent(draw(99).images)) is None


def test_model_of_an_older_version_flags_nothing():
    spec = ModelSpec(classes=('E', 'S'), bands=('r',), size=SIDE)
    cutouts = draw(3, noise=100)
    assert Brightness(spec).flag(cutouts) is cutouts


@pytest.mark.parametrize('wrong', [{'low': [1.0]}, {'low': [1.0], 'high': [2.0]}, [1]])
def test_damaged_range_in_a_file_is_refused(wrong):
    text = ModelSpec(extent=wrong).to_json()
    with pytest.raises(ValueError, match="the specification has 'extent' of"):
        ModelSpec.from_json(text)
