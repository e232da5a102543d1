# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Galaxy, neighbours and sky told apart."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from astro_morph.photometry.segmentation import detect, grow, segment, signal_to_noise, smooth
from astro_morph.tests.helpers import gaussian


def observe(light, *, n_bands=2, random_state=0):
    """Add noise of 1 to an image in each band."""
    random = np.random.default_rng(random_state)
    return np.array([light] * n_bands) + random.normal(size=(n_bands, *light.shape))


@pytest.fixture
def images():
    """A galaxy alone; with a neighbour apart; with one that overlaps; none; one off the centre."""
    galaxy = 30 * gaussian(48, sigma=3)
    return np.stack(
        [
            observe(galaxy),
            observe(galaxy + 30 * gaussian(48, x=16, y=-15)),
            observe(galaxy + 30 * gaussian(48, x=9)),
            observe(0 * galaxy),
            observe(30 * gaussian(48, sigma=3, x=17)),
        ]
    )


def test_signal_is_in_units_of_the_noise(images):
    scale = np.reshape([2, 5], (2, 1, 1))
    signal = signal_to_noise(images * scale, noise=[2, 5])
    np.testing.assert_allclose(signal, images.sum(axis=1) / np.sqrt(2), atol=1e-5)
    assert signal[3].std() == pytest.approx(1, abs=0.05)


def test_signal_of_a_pixel_is_that_of_the_bands_it_has(images):
    images[0, 0, :10] = np.nan
    images[0, :, 5] = np.nan
    signal = signal_to_noise(images, noise=np.ones((5, 2)))
    np.testing.assert_allclose(signal[0, :5], images[0, 1, :5], atol=1e-5)
    assert not signal[0, 5].any()
    without_noise = signal_to_noise(images, noise=[0, 1])
    np.testing.assert_allclose(without_noise[1], images[1, 1], atol=1e-5)


def test_sources_are_found_and_the_sky_is_not(images):
    light = images - observe(np.zeros((48, 48)))
    is_source = detect(smooth(signal_to_noise(images, noise=[1, 1])))
    assert is_source.any(axis=(1, 2)).tolist() == [True, True, True, False, True]
    bright = light[:3].mean(axis=1) > 3
    assert is_source[:3][bright].mean() > 0.95


def test_noise_that_is_correlated_is_no_source():
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(20, 1, 64, 64)), (0, 0, 2, 2))
    noise /= noise.std()
    assert segment(noise, noise=[1]).max() == 0
    assert detect(smooth(signal_to_noise(noise, noise=[1]))).mean() < 0.01


def test_galaxy_is_one_and_neighbours_follow(images):
    segments = segment(images, noise=[1, 1])
    assert segments.max(axis=(1, 2)).tolist() == [1, 2, 2, 0, 0]
    assert (segments[:3, 24, 24] == 1).all()
    assert segments[1, 8, 39] == 2
    assert segments[2, 24, 33] == 2


def test_segments_hold_the_light_that_is_above_the_noise(images):
    # 30 exp(-r^2 / 18), summed over two bands, falls below one sigma at 8.2 pixels.
    area = np.sum(segment(images, noise=[1, 1])[0] == 1)
    assert np.sqrt(area / np.pi) == pytest.approx(8.2, abs=1)


def test_sources_of_one_isophote_are_one_source(images):
    # Between the two that overlap, the signal is about half of a peak.
    signal = smooth(signal_to_noise(images, noise=[1, 1]))
    between = signal[2, 24, 24:33].min()
    for isophote, n_sources in {0: 1, 0.9 * between: 1, 1.1 * between: 2}.items():
        segments = segment(images[2:3], noise=[1, 1], saddle=0, isophote=isophote)
        assert segments.max() == n_sources


def test_saddle_says_what_is_apart(images):
    # Between the two that overlap, the light falls to about half of the fainter peak.
    sources = {saddle: segment(images, noise=[1, 1], saddle=saddle) for saddle in (0, 0.2, 0.8)}
    assert [segments[2, 24, 33] for segments in sources.values()] == [1, 1, 2]
    assert [segments[1, 8, 39] for segments in sources.values()] == [2, 2, 2]


def test_faint_galaxy_is_told_from_a_bright_star_beside_it():
    light = 15 * gaussian(48, sigma=3) + 2000 * gaussian(48, sigma=1.3, x=12)
    segments = segment(observe(light)[np.newaxis], noise=[1, 1], saddle=0.4)
    assert segments[0, 24, [24, 36]].tolist() == [1, 2]


def test_bumps_of_the_noise_are_no_sources():
    flat = 8 * (np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 15)
    images = np.stack([observe(flat, random_state=i) for i in range(20)])
    assert segment(images, noise=[1, 1]).max() == 1


def test_lumps_of_a_halo_are_no_sources():
    radius = np.hypot(*(np.mgrid[:128, :128] - 63.5))
    halo = 4000 / (radius + 5) ** 2.5
    images = np.stack([observe(halo, random_state=i) for i in range(5)])
    assert segment(images, noise=[1, 1]).max(axis=(1, 2)).mean() < 2
    faint_star = 10 * gaussian(128, sigma=1.5, x=40)
    segments = segment(images + faint_star, noise=[1, 1])
    assert (segments[:, 63, 103] > 1).all()


def test_each_cutout_stands_for_itself(images):
    expected = np.concatenate([segment(images[i : i + 1], noise=[1, 1]) for i in range(5)])
    np.testing.assert_array_equal(segment(images, noise=[1, 1]), expected)


def test_bright_neighbour_keeps_its_label_where_it_comes_first_in_the_image(images):
    mirrored = segment(images[:, :, ::-1, ::-1], noise=[1, 1])
    assert mirrored[1, 24, 24] == 1
    assert mirrored[1, 39, 8] == 2


def test_no_cutouts():
    assert segment(np.zeros((0, 2, 16, 16)), noise=np.ones((0, 2))).shape == (0, 16, 16)


def test_masks_grow_by_pixels_and_not_into_the_next_cutout():
    mask = np.zeros((2, 9, 9), bool)
    mask[0, 4, 4] = True
    grown = grow(mask, 2)
    assert grown[0, 2:7, 2:7].all()
    assert grown.sum() == 25


def test_images_are_not_changed(images):
    before = images.copy()
    images.flags.writeable = False
    segment(images, noise=[1, 1])
    np.testing.assert_array_equal(images, before)
