# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Random views of blobs whose position, size, angle and colour are known."""

import numpy as np
import pytest
import torch

from astro_morph.learning.training.conditions import RandomConditions
from astro_morph.learning.training.views import (
    CLASSIFICATION,
    CONTRAST,
    MANY_SKIES,
    FluxViews,
    RandomViews,
)
from astro_morph.models.networks import square_views
from astro_morph.models.stretch import FluxStretch
from astro_morph.tests.helpers import gaussian, moments

N = 300


def seed(number=0):
    return torch.Generator().manual_seed(number)


def copies(*bands, n=N):
    """Stack images of bands into n identical samples."""
    return torch.from_numpy(np.stack(bands)).float().expand(n, -1, -1, -1)


def draw(bands, *, size=None, n=N, **options):
    """Draw n views of one galaxy, as an array of shape (n, band, y, x)."""
    views = RandomViews(size or len(bands[0]), **options)(copies(*bands, n=n), seed())
    return views.numpy().astype(float)


class TestDraws:
    @pytest.mark.parametrize(
        'options',
        [CONTRAST, MANY_SKIES, CLASSIFICATION],
        ids=['contrast', 'many skies', 'classes'],
    )
    def test_same_seed_gives_the_same_views_and_another_seed_others(self, options):
        images = torch.rand(5, 3, 20, 20, generator=seed(1))
        views = RandomViews(16, **options)
        torch.testing.assert_close(views(images, seed(2)), views(images, seed(2)), rtol=0, atol=0)
        assert not torch.equal(views(images, seed(2)), views(images, seed(3)))

    def test_global_generator_is_not_used(self):
        before = torch.get_rng_state()
        RandomViews(16, **CONTRAST)(torch.rand(2, 3, 16, 16, generator=seed()), seed())
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(
        'option',
        [
            {},
            {'zoom': (0.5, 2)},
            {'shift': 3},
            {'common_gain': 0.2},
            {'band_gain': 0.2},
            {'stretch': 0.2},
            {'seeing': 2},
            {'noise': 0.1},
        ],
        ids=str,
    )
    def test_each_sample_has_its_own_draw(self, option):
        views = draw([gaussian(16, axis_ratio=0.5), gaussian(16, sigma=3)], n=6, **option)
        assert len({view.tobytes() for view in views}) == 6

    def test_field_is_shown_on_as_many_pixels_as_asked_for(self):
        blob = gaussian(16, sigma=1.5)
        (same,) = draw([blob], n=1)
        (enlarged,) = draw([blob], n=1, size=48, field=16)
        assert enlarged.shape == (1, 48, 48)
        variances = [np.trace(moments(view[0])[1]) for view in (same, enlarged)]
        assert variances[1] == pytest.approx(3**2 * variances[0], rel=0.1)

    def test_input_is_not_changed(self):
        images = torch.rand(4, 3, 16, 16, generator=seed())
        before = images.clone()
        RandomViews(16, **CONTRAST)(images, seed())
        assert torch.equal(images, before)


class TestGeometry:
    def test_half_precision_of_the_training_does_not_move_pixels(self):
        images = torch.rand(5, 3, 64, 64, generator=seed(1))
        views = RandomViews(64, zoom=(0.59, 1.7), shift=4)
        with torch.autocast('cpu', torch.bfloat16):
            drawn = views(images, seed(2))
        torch.testing.assert_close(drawn, views(images, seed(2)), rtol=0, atol=0)

    def test_without_zoom_and_shift_a_round_blob_stays(self):
        blob = gaussian(24, sigma=2.5)
        for view in draw([blob], n=50)[:, 0]:
            np.testing.assert_allclose(view, blob, atol=0.03)

    def test_pixels_keep_their_size_in_smaller_views_of_oblong_images(self):
        blob = gaussian(48, sigma=3)[8:40]
        for view in draw([blob], n=20, size=24)[:, 0]:
            centroid, covariance = moments(view)
            np.testing.assert_allclose(centroid, 0, atol=0.02)
            np.testing.assert_allclose(covariance, 9 * np.eye(2), atol=0.4)

    def test_zoom_magnifies(self):
        for view in draw([gaussian(40, sigma=2.5)], zoom=(2, 2), n=10)[:, 0]:
            np.testing.assert_allclose(moments(view)[1], 25 * np.eye(2), atol=1)

    def test_zoom_is_log_uniform(self):
        views = draw([gaussian(48, sigma=2.5)], size=24, zoom=(0.7, 1.4))[:, 0]
        variances = [np.trace(moments(view)[1]) / 2 for view in views]
        log_zoom = np.log(np.sqrt(variances) / 2.5)
        low, high = np.log([0.7, 1.4])
        # Bilinear interpolation broadens the blob by a few per cent.
        assert low - 0.02 < log_zoom.min() < low + 0.1
        assert high - 0.1 < log_zoom.max() < high + 0.05
        assert np.mean(log_zoom) == pytest.approx((low + high) / 2, abs=0.05)
        assert np.std(log_zoom) == pytest.approx((high - low) / np.sqrt(12), rel=0.1)

    def test_shift_is_uniform_along_each_axis(self):
        views = draw([gaussian(32, sigma=2)], shift=4)[:, 0]
        centroids = np.array([moments(view)[0] for view in views])
        # The shift turns with the view: only its distance shows that it is drawn from a square.
        distance = np.hypot(*centroids.T)
        assert 4 < distance.max() < 4 * np.sqrt(2) + 0.1
        assert distance.std() == pytest.approx(4 * np.sqrt(2 / 3 - 0.7652**2), rel=0.15)
        np.testing.assert_allclose(np.mean(centroids, axis=0), 0, atol=0.5)
        np.testing.assert_allclose(np.std(centroids, axis=0), 4 / np.sqrt(3), rtol=0.12)

    def test_any_angle_and_both_hands(self):
        right, above = gaussian(48, x=7), gaussian(48, y=7)
        views = draw([right, above], size=32)
        first, second = (
            np.array([moments(view)[0] for view in views[:, band]]) for band in range(2)
        )
        # A rigid motion: distances, and the right angle between the blobs, are preserved.
        np.testing.assert_allclose(np.hypot(*first.T), 7, atol=0.1)
        np.testing.assert_allclose(np.sum(first * second, axis=1), 0, atol=0.7)
        is_mirrored = first[:, 0] * second[:, 1] < first[:, 1] * second[:, 0]
        assert is_mirrored.mean() == pytest.approx(0.5, abs=0.1)
        angle = np.arctan2(first[:, 1], first[:, 0])
        counts, _ = np.histogram(angle, bins=6, range=(-np.pi, np.pi))
        assert counts.min() > N / 6 / 2

    def test_shape_survives_the_turn(self):
        for view in draw([gaussian(64, sigma=4, axis_ratio=0.5)], size=40, n=20)[:, 0]:
            variances = np.linalg.eigvalsh(moments(view)[1])
            np.testing.assert_allclose(variances, [4, 16], atol=0.6)

    def test_rim_is_mirrored_not_dark(self):
        views = draw([np.ones((16, 16))], shift=6, zoom=(0.5, 0.5), n=20)
        np.testing.assert_allclose(views, 1, rtol=1e-5)


class TestBrightness:
    BANDS = (np.full((4, 4), 1.0), np.full((4, 4), 2.0), np.full((4, 4), 6.0))

    def gains(self, **options):
        views = draw(self.BANDS, n=4000, **options)
        assert np.ptp(views, axis=(2, 3)).max() < 1e-4
        return np.log(views[..., 0, 0] / [1, 2, 6])

    def test_common_gain_is_one_for_all_bands(self):
        gains = self.gains(common_gain=0.4)
        np.testing.assert_allclose(gains, gains[:, :1].repeat(3, axis=1), atol=1e-5)
        assert gains[:, 0].std() == pytest.approx(0.4, rel=0.05)

    def test_band_gain_is_each_band_s_own(self):
        covariance = np.cov(self.gains(band_gain=0.3).T)
        np.testing.assert_allclose(covariance, 0.09 * np.eye(3), atol=0.01)

    def test_both_gains_add_up(self):
        covariance = np.cov(self.gains(common_gain=0.4, band_gain=0.3).T)
        np.testing.assert_allclose(covariance, 0.16 + 0.09 * np.eye(3), atol=0.02)

    def test_grey_views_are_the_mean_of_the_bands(self):
        views = draw(self.BANDS, n=2000, grey=0.2)[..., 0, 0]
        is_grey = np.ptp(views, axis=1) < 1e-5
        np.testing.assert_allclose(views[is_grey], 3, rtol=1e-5)
        np.testing.assert_allclose(views[~is_grey], [[1, 2, 6]] * np.sum(~is_grey), rtol=1e-5)
        assert is_grey.mean() == pytest.approx(0.2, abs=0.03)

    def test_stretch_raises_pixels_to_a_power_and_keeps_their_sign(self):
        bands = (np.full((4, 4), 0.5), np.full((4, 4), 0.1), np.full((4, 4), -0.5))
        views = draw(bands, n=4000, stretch=0.3)[..., 0, 0]
        exponent = np.log(np.abs(views)) / np.log([0.5, 0.1, 0.5])
        np.testing.assert_allclose(exponent, exponent[:, :1].repeat(3, axis=1), rtol=1e-4)
        assert np.log(exponent).std() == pytest.approx(0.3, rel=0.05)
        np.testing.assert_array_equal(np.sign(views), [[1, 1, -1]] * 4000)

    def test_swapped_views_show_any_band_in_each_band(self):
        views = draw(self.BANDS, n=9000, swap=0.5)[..., 0, 0].round(4)
        kinds, counts = np.unique(views, axis=0, return_counts=True)
        assert len(kinds) == 27
        fraction = dict(zip(map(tuple, kinds.astype(int)), counts / 9000, strict=True))
        assert fraction.pop((1, 2, 6)) == pytest.approx(0.5 + 0.5 / 27, abs=0.02)
        np.testing.assert_allclose(list(fraction.values()), 0.5 / 27, atol=0.006)

    def test_noise_has_an_rms_of_its_own_in_each_view(self):
        views = draw([np.zeros((24, 24))], n=500, noise=0.3)
        rms = views.std(axis=(1, 2, 3))
        assert rms.max() < 0.33
        assert rms.mean() == pytest.approx(0.15, rel=0.1)
        assert rms.std() == pytest.approx(0.3 / np.sqrt(12), rel=0.1)


def test_seeing_smooths_half_the_views_and_conserves_light():
    blob = [gaussian(41, sigma=3)]
    sharp, smooth = (draw(blob, n=1000, **options)[:, 0].clip(0) for options in ({}, {'seeing': 2}))
    np.testing.assert_allclose(smooth.sum(axis=(1, 2)), sharp.sum(axis=(1, 2)), rtol=1e-3)
    added = [
        moments(after)[1] - moments(before)[1] for before, after in zip(sharp, smooth, strict=True)
    ]
    variance = np.array([np.trace(matrix) / 2 for matrix in added])
    assert np.mean(variance < 1e-3) == pytest.approx(0.5, abs=0.05)
    assert np.sqrt(variance.max()) == pytest.approx(2, rel=0.05)


class TestFluxViews:
    STRETCH = staticmethod(FluxStretch([1.0] * 3, gain=0.5).compress)

    def test_conditions_then_stretch_then_view(self):
        images = 20 * torch.rand(4, 3, 32, 32, generator=seed())
        conditions, views = RandomConditions.of('gri'), RandomViews(24, zoom=(0.8, 1.2))
        generator = seed(1)
        expected = views(self.STRETCH(conditions(images, generator)), generator)
        drawn = FluxViews(conditions, self.STRETCH, views)(images, seed(1))
        assert drawn.shape == (4, 3, 24, 24)
        assert torch.equal(drawn, expected)


def test_square_views_are_the_eight_symmetries():
    image = np.arange(9.0).reshape(3, 3)
    views = square_views(torch.from_numpy(image).expand(2, 1, 3, 3))
    expected = {
        np.rot90(start, turns).tobytes() for start in (image, image.T) for turns in range(4)
    }
    assert len(expected) == len(views) == 8
    assert {view[0, 0].numpy().tobytes() for view in views} == expected
    assert torch.equal(views[0], torch.from_numpy(image).expand(2, 1, 3, 3))
