# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Random views: what they do to blobs whose place, size, angle and colour are known."""

import dataclasses

import numpy as np
import pytest
import torch

from astro_morph import surveys
from astro_morph.learning.training.views import (
    CLASSIFICATION,
    CONTRAST,
    FluxViews,
    RandomConditions,
    RandomViews,
)
from astro_morph.models.networks import square_views
from astro_morph.models.stretch import FluxStretch
from astro_morph.tests.helpers import gaussian, moments

N = 300


def seed(number=0):
    return torch.Generator().manual_seed(number)


def copies(*bands, n=N):
    """Stack images of bands to n equal samples."""
    return torch.from_numpy(np.stack(bands)).float().expand(n, -1, -1, -1)


def draw(bands, *, size=None, n=N, **options):
    """Draw n views of one galaxy, as an array of shape (n, band, y, x)."""
    views = RandomViews(size or len(bands[0]), **options)(copies(*bands, n=n), seed())
    return views.numpy().astype(float)


class TestDraws:
    @pytest.mark.parametrize('options', [CONTRAST, CLASSIFICATION], ids=['contrast', 'classes'])
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
        # Turned with the view, so that only the distance from the centre tells of the square.
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
        # Rigid: distances stay, and the angle between the blobs stays right.
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

    def test_noise_has_an_rms_of_its_own_in_each_view(self):
        views = draw([np.zeros((24, 24))], n=500, noise=0.3)
        rms = views.std(axis=(1, 2, 3))
        assert rms.max() < 0.33
        assert rms.mean() == pytest.approx(0.15, rel=0.1)
        assert rms.std() == pytest.approx(0.3 / np.sqrt(12), rel=0.1)


def observe(bands, *, n=N, number=0, **options):
    """See n copies of one galaxy in other conditions; what the options leave out does not vary."""
    constant = {'psf_fwhm': (0.0,), 'extinction': (0.0,), 'noise_scatter': 0.0}
    options = {
        name: value * len(bands) if name in ('psf_fwhm', 'extinction') else value
        for name, value in (constant | options).items()
    }
    seen = RandomConditions(**options)(copies(*bands, n=n), seed(number))
    return seen.numpy().astype(float)


class TestSeeing:
    # So bright that the noise, of 1, does not matter.
    STAR = 1e7 * gaussian(40, sigma=1.3)
    GALAXY = 1e7 * gaussian(40, sigma=3, axis_ratio=0.6, angle=0.5)

    @staticmethod
    def variances(images):
        return np.array([[moments(band.clip(0))[1] for band in image] for image in images])

    def test_second_moments_add_in_quadrature(self):
        options = {'psf_fwhm': (2.3548 * 1.3,), 'psf_scatter': 0.3, 'n': 60}
        star, galaxy = (
            self.variances(observe([image], **options))[:, 0] - moments(image)[1]
            for image in (self.STAR, self.GALAXY)
        )
        # The same conditions broaden both, round, by the same amount.
        added = np.trace(star, axis1=1, axis2=2) / 2
        assert added.max() > 1.3**2
        is_broadened = added > 0.05
        for gained in (star, galaxy):
            np.testing.assert_allclose(
                gained[is_broadened],
                added[is_broadened, None, None] * np.eye(2),
                atol=0.03 * 1.3**2,
            )

    def test_widths_are_log_normal_from_that_of_the_image_on(self):
        images = observe([self.STAR] * 3, psf_fwhm=(2.3548 * 1.3,), psf_scatter=0.2)
        variance = np.trace(self.variances(images), axis1=2, axis2=3) / 2
        log_width = np.log(np.sqrt(variance) / 1.3)
        assert np.mean(log_width < 1e-3) == pytest.approx(0.5, abs=0.05)
        expected = 0.2 * np.array([0, 0.8416, 1.6449])
        np.testing.assert_allclose(np.quantile(log_width, [0.5, 0.8, 0.95]), expected, atol=0.02)
        # Each band has its own.
        assert np.abs(np.corrcoef(log_width.T) - np.eye(3)).max() < 0.2

    def test_light_is_kept(self):
        images = observe([self.GALAXY], psf_fwhm=(4.0,), n=20)
        np.testing.assert_allclose(images.sum(axis=(1, 2, 3)), self.GALAXY.sum(), rtol=1e-4)

    def test_oblong_images_are_blurred_alike_along_both_axes(self):
        (image,) = observe([self.STAR[8:32]], psf_fwhm=(4.0,), psf_scatter=0.3, n=1)
        covariance = moments(image[0].clip(0))[1]
        assert covariance[0, 0] > 2 * 1.3**2
        np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(2), atol=0.02)


class TestNoise:
    @staticmethod
    def sky(*rms, n=N):
        random = np.random.default_rng(0)
        bands = random.normal(scale=np.reshape(rms, (-1, 1, 1)), size=(n, len(rms), 48, 48))
        return torch.from_numpy(bands).float()

    @pytest.mark.parametrize('psf_fwhm', [0.0, 3.0])
    def test_noise_reaches_the_level_drawn_also_after_a_blur(self, psf_fwhm):
        conditions = RandomConditions((psf_fwhm,) * 2, (0.0,) * 2, noise_scatter=0.2)
        seen = conditions(self.sky(0.1, 0.4), seed())
        log_level = np.log(seen.std(dim=(2, 3)).numpy())
        np.testing.assert_allclose(log_level.mean(axis=0), 0, atol=0.03)
        np.testing.assert_allclose(log_level.std(axis=0), 0.2, rtol=0.12)
        assert abs(np.corrcoef(log_level.T)[0, 1]) < 0.2

    def test_noise_is_never_taken_away(self):
        conditions = RandomConditions((0.0,), (0.0,))
        images = self.sky(4.0)
        torch.testing.assert_close(conditions(images, seed()), images, rtol=0, atol=1e-3)

    def test_own_noise_is_measured_beside_the_galaxy_and_above_the_sky(self):
        images = 7 + self.sky(0.6, n=100) + torch.from_numpy(500 * gaussian(48, sigma=4)).float()
        seen = RandomConditions((0.0,), (0.0,), noise_scatter=0.0)(images, seed())
        assert (seen - images).std() == pytest.approx(0.8, abs=0.05)

    def test_missing_pixels_stay_missing(self):
        images = self.sky(0.5, 0.5, n=5)
        images[:, 0] = 0
        images[:, :, :10] = 0
        seen = RandomConditions.of('gr')(images, seed())
        assert torch.equal(seen == 0, images == 0)


class TestDust:
    # Table 6 of Schlafly & Finkbeiner (2011), the columns R_V = 3.1 of SDSS.
    SDSS = {'u': 4.239, 'g': 3.303, 'r': 2.285, 'i': 1.698, 'z': 1.263}

    def extinction(self, bands, *, n=1000):
        conditions = RandomConditions.of(bands)
        images = torch.full((n, len(bands), 8, 8), 1e6)
        return -2.5 * np.log10(conditions(images, seed()).numpy().mean(axis=(2, 3)) / 1e6)

    def test_bands_are_dimmed_as_the_coefficients_say(self):
        magnitudes = self.extinction(self.SDSS)
        coefficients = np.array(list(self.SDSS.values()))
        expected = magnitudes[:, :1] * coefficients / coefficients[0]
        np.testing.assert_allclose(magnitudes, expected, atol=1e-4)

    def test_reddening_is_log_normal_about_that_of_the_images(self):
        reddening = self.extinction('g')[:, 0] / self.SDSS['g']
        shift = np.quantile(reddening, [0.05, 0.5, 0.95]) + 0.0345
        np.testing.assert_allclose(
            np.log(shift / 0.0345), 0.65 * np.array([-1.645, 0, 1.645]), atol=0.1
        )

    @pytest.mark.parametrize('bands', [('0', '1'), ('g', 'unknown')])
    def test_there_is_no_reddening_in_unknown_bands(self, bands):
        assert np.abs(self.extinction(bands)).max() < 1e-4


class TestConditions:
    CONDITIONS = RandomConditions.of('gri')
    IMAGES = 20 * torch.rand(6, 3, 32, 32, generator=seed())

    def test_same_seed_gives_the_same_and_another_seed_another(self):
        first, second, other = (self.CONDITIONS(self.IMAGES, seed(i)) for i in (1, 1, 2))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_nothing_else_is_touched(self):
        before, state = self.IMAGES.clone(), torch.get_rng_state()
        self.CONDITIONS(self.IMAGES, seed())
        assert torch.equal(self.IMAGES, before)
        assert torch.equal(torch.get_rng_state(), state)

    def test_each_sample_has_its_own_draw(self):
        seen = self.CONDITIONS(copies(*self.IMAGES[0].numpy(), n=6), seed())
        assert len({image.numpy().tobytes() for image in seen}) == 6

    def test_half_precision_training_draws_in_full_precision(self):
        images = self.IMAGES * 1e3
        expected = self.CONDITIONS(images, seed())
        with torch.autocast('cpu', torch.bfloat16):
            assert torch.equal(self.CONDITIONS(images, seed()), expected)

    def test_seeing_is_that_of_the_survey(self):
        sdss = surveys.get('sdss')
        fwhm = RandomConditions.of('rg', survey=sdss, pixel_scale=0.198).psf_fwhm
        np.testing.assert_allclose(fwhm, [1.32 / 0.198, 1.44 / 0.198])

    @pytest.mark.parametrize(
        ('survey', 'pixel_scale'), [(None, 0.4), ('sdss', None), ('vhs', 0.4), ('dss2', 1.0)]
    )
    def test_seeing_is_three_pixels_where_it_is_not_known(self, survey, pixel_scale):
        survey = survey and dataclasses.replace(surveys.get(survey), bands=('a', 'b', 'c', 'd'))
        if survey and survey.psf_fwhm is not None:
            survey = dataclasses.replace(survey, psf_fwhm=survey.psf_fwhm[:4])
        conditions = RandomConditions.of('gr', survey=survey, pixel_scale=pixel_scale)
        assert conditions.psf_fwhm == (3.0, 3.0)


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
