# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Random conditions: the distributions of dust, seeing and noise."""

import dataclasses

import numpy as np
import pytest
import torch

from astro_morph import surveys
from astro_morph.learning.training.conditions import RandomConditions
from astro_morph.tests.helpers import gaussian, moments
from astro_morph.tests.learning.test_views import N, copies, seed


def observe(bands, *, n=N, number=0, **options):
    """Draw conditions for n copies of one galaxy; only what the options name varies."""
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
        # The same conditions broaden both equally, and along both axes.
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
