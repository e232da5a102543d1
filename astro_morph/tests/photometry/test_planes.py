# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Variance and mask in photometry: the truth is the noise that was added."""

from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest

from astro_morph import CutoutSet, decode_flags
from astro_morph.models.building import measure_stretch
from astro_morph.photometry import Preprocessor, measure
from astro_morph.photometry.cleaning import preprocess
from astro_morph.photometry.measures import stack
from astro_morph.photometry.sky import border_noise, measure_sky

SIDE = 64


def make_images(n=4, *, noise=2.0, flux=0, width=4.0, seed=0):
    """Return galaxies with an elliptical exponential profile in one band, with noise."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    galaxy = np.exp(-np.hypot(x, 1.4 * y) / width)
    normal = np.random.default_rng(seed).normal(scale=noise, size=(n, 1, SIDE, SIDE))
    return (flux * galaxy + normal).astype(np.float32)


def make_cutouts(n=4, *, noise=2.0, **options):
    images = make_images(n, noise=noise, **options)
    return CutoutSet(images, bands='r', variance=np.full_like(images, noise**2))


class TestSky:
    def test_noise_is_that_of_the_variance(self):
        images = make_images()
        sky = measure_sky(images, variance=np.full_like(images, 9))
        np.testing.assert_allclose(sky.noise, 3, rtol=1e-6)

    @pytest.mark.parametrize('unknown', [np.nan, np.inf, 0, -1])
    def test_noise_is_measured_where_the_variance_is_not_known(self, unknown):
        images = make_images()
        variance = np.full_like(images, 9)
        variance[1:3] = unknown
        noise = measure_sky(images, variance=variance).noise
        np.testing.assert_allclose(noise[[0, 3]], 3, rtol=1e-6)
        np.testing.assert_array_equal(noise[1:3], measure_sky(images).noise[1:3])

    def test_variance_of_the_galaxy_is_not_that_of_the_sky(self):
        images = make_images(flux=300)
        variance = np.full_like(images, 4)
        variance[..., 24:40, 24:40] += images[..., 24:40, 24:40].clip(0)
        np.testing.assert_allclose(measure_sky(images, variance=variance).noise, 2, rtol=1e-6)

    def test_noise_under_a_galaxy_without_sky(self):
        images = make_images(flux=3000, width=16)
        measured = measure_sky(images).noise
        known = measure_sky(images, variance=np.full_like(images, 4)).noise
        assert measured.min() > 2 * 1.2
        np.testing.assert_allclose(known, 2, rtol=1e-6)

    @pytest.mark.parametrize('unit', [1e-20, 1, 1e10])
    def test_unit_of_flux_is_free(self, unit):
        images, variance = make_images(flux=100), np.full((4, 1, SIDE, SIDE), 4.0)
        one = measure_sky(images, variance=variance)
        other = measure_sky(images * unit, variance=(variance * unit**2))
        np.testing.assert_allclose(other.noise, one.noise * unit, rtol=1e-5)
        np.testing.assert_allclose(other.level, one.level * unit, rtol=1e-4, atol=1e-3 * unit)

    def test_noise_of_the_border(self):
        images = make_images(8)
        variance = np.full_like(images, 9)
        variance[:5] = np.nan
        assert border_noise(images) == pytest.approx(2, rel=0.1)
        assert border_noise(images, variance) == pytest.approx(2, rel=0.1)
        variance[:] = 9
        assert border_noise(images, variance) == pytest.approx(3)


class TestCleaning:
    def test_masked_pixels_are_missing(self):
        cutouts = make_cutouts(flux=200)
        mask = np.zeros(cutouts.shape, bool)
        mask[:, :, 20:40, 5:15] = True
        mask[:, :, 31, 33] = True
        images = cutouts.images.copy()
        images[mask] = 1e6
        masked = cutouts.replace(images=images, mask=mask)
        missing = cutouts.replace(images=np.where(mask, np.nan, images))
        clean, expected = (Preprocessor().fit_transform(some) for some in (masked, missing))
        np.testing.assert_array_equal(clean.images, expected.images)
        np.testing.assert_array_equal(clean.flags, expected.flags)
        assert clean.mask is None
        assert all('missing_pixels' in flags for flags in decode_flags(clean.flags))
        assert (masked.images == images).all()
        assert (Preprocessor().segment(masked) == Preprocessor().segment(missing)).all()

    @pytest.mark.parametrize('settings', [None, {}])
    def test_for_models_too(self, settings):
        cutouts = make_cutouts(flux=200)
        mask = np.zeros(cutouts.shape, bool)
        mask[0] = True
        mask[1, 0, :20] = True
        clean = preprocess(cutouts.replace(mask=mask), settings)
        assert list(clean.status) == ['all_nan', 'ok', 'ok', 'ok']
        assert np.isnan(clean.images[1, 0, :20]).all()
        assert 'missing_pixels' in decode_flags(clean.flags)[1]
        assert not cutouts.flags.any()

    def test_pictures(self):
        images = np.full((2, 3, 16, 16), 100, np.uint8)
        mask = np.zeros(images.shape, bool)
        mask[0, :, 5:7, 5:7] = True
        images[mask] = 255
        clean = Preprocessor().fit_transform(CutoutSet(images, kind='picture', mask=mask))
        np.testing.assert_allclose(clean.images, 100)

    def test_without_planes_nothing_changes(self):
        cutouts = make_cutouts(flux=200)
        known = Preprocessor().fit_transform(cutouts)
        plain = Preprocessor().fit_transform(cutouts.replace(variance=None))
        assert plain.variance is None
        np.testing.assert_allclose(plain.images, known.images, atol=0.5)

    @pytest.mark.parametrize('scale', [None, 'kron'])
    def test_variance_follows_the_frame(self, scale):
        cutouts = make_cutouts(flux=500, width=6)
        variance = np.tile(np.linspace(1, 9, SIDE, dtype=np.float32)[:, np.newaxis], SIDE)
        variance = np.broadcast_to(variance, cutouts.shape).copy()
        cutouts = cutouts.replace(variance=variance, pixel_scale=0.4 * u.arcsec)
        clean = Preprocessor(rotate=True, scale=scale).fit_transform(cutouts)
        zoom = 1 if scale is None else clean.pixel_scale.value / 0.4
        middle = clean.variance[:, 0, 31:33, 31:33].mean(axis=(1, 2))
        np.testing.assert_allclose(middle, 5 * np.square(zoom), rtol=0.1)
        assert (cutouts.variance == variance).all()

    def test_convolved_images_have_none(self):
        cutouts = make_cutouts(flux=500).replace(pixel_scale=0.4 * u.arcsec)
        assert Preprocessor(psf_fwhm=[1.0]).fit_transform(cutouts).variance is None


def test_stretch_takes_the_noise_from_the_variance():
    cutouts = make_cutouts(8, flux=100)
    spec = SimpleNamespace(contract=None)
    noise = [
        measure_stretch(cutouts.replace(variance=variance), spec).noise.numpy().ravel()
        for variance in (None, cutouts.variance * 4)
    ]
    assert noise[0] == pytest.approx(2, rel=0.1)
    assert noise[1] == pytest.approx(4)


class TestMeasures:
    def test_flux_has_the_error_of_its_pixels(self):
        cutouts = make_cutouts(flux=120)
        measures = measure(cutouts)
        plain = measure(cutouts.replace(variance=None))
        ratio = measures['segment_flux_err'] / (plain['segment_flux'] / plain['segment_snr'])
        # The noise that was measured in the sky, and the one that is known.
        np.testing.assert_allclose(ratio, 1, rtol=0.1)
        snr = measures['segment_flux'] / measures['segment_flux_err']
        np.testing.assert_allclose(measures['segment_snr'], snr, rtol=1e-5)
        assert measures['segment_mag_err'].mask.all()

    def test_error_is_that_of_each_pixel(self):
        cutouts = make_cutouts(flux=400)
        variance = cutouts.variance.copy()
        variance[..., 31:33, 31:33] = 1000
        brighter = measure(cutouts.replace(variance=variance))['segment_flux_err'] ** 2
        added = brighter - measure(cutouts)['segment_flux_err'] ** 2
        np.testing.assert_allclose(added, 4 * (1000 - 4), rtol=1e-4)

    def test_units_follow_the_zero_point(self):
        cutouts = make_cutouts(flux=120)
        plain, calibrated = measure(cutouts), measure(cutouts.replace(zero_point=22.5))
        factor = calibrated['segment_flux'][0] / plain['segment_flux'][0]
        assert calibrated['segment_flux_err'].unit == u.uJy
        np.testing.assert_allclose(
            calibrated['segment_flux_err'].value,
            factor.value * plain['segment_flux_err'],
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            calibrated['segment_mag_err'].value, 1.0857 / calibrated['segment_snr'], rtol=1e-3
        )

    def test_without_variance_columns_are_as_before(self):
        cutouts = make_cutouts(flux=120)
        names = measure(cutouts.replace(variance=None)).colnames
        assert not [name for name in names if name.endswith('_err')]
        assert measure(cutouts).colnames[: len(names) - 2] == names[:-2]

    def test_errors_of_all_measures_are_their_scatter(self):
        measures = measure(make_cutouts(12, flux=400), n_draws=4)
        names = {name for name in measures.colnames if f'{name}_err' in measures.colnames}
        assert {'gini', 'm20', 'asymmetry', 'half_light_radius', 'segment_flux'} <= names
        # Smoothness has more in noisier images; axes at 0 and 180 degrees are the same.
        for name in names - {'smoothness', 'segment_mag', 'orientation', 'orientation_image'}:
            scatter, error = np.std(measures[name]), np.sqrt(np.mean(measures[f'{name}_err'] ** 2))
            assert 0.4 < float(error / scatter) < 1.6, name
        assert (measures['orientation_image_err'] < 5 * u.deg).all()
        assert measures['orientation_err'].mask.all()
        assert 'segment_snr_err' not in measures.colnames

    def test_errors_do_not_depend_on_other_rows(self):
        cutouts = make_cutouts(3, flux=400)
        alone, together = measure(cutouts[2], n_draws=2), measure(cutouts, n_draws=2)
        assert alone['gini_err'][0] == together['gini_err'][2]

    def test_masked_pixels_are_not_measured(self):
        cutouts = make_cutouts(flux=400)
        mask = np.zeros(cutouts.shape, bool)
        mask[..., 30:32, 34:36] = True
        images = cutouts.images + 1e5 * mask
        measures, expected = measure(cutouts.replace(images=images, mask=mask)), measure(cutouts)
        np.testing.assert_allclose(measures['gini'], expected['gini'], atol=0.05)

    @pytest.mark.parametrize('n_draws', [1, -2, 4])
    def test_impossible_draws_are_refused(self, n_draws):
        cutouts = make_cutouts(flux=400)
        cutouts = cutouts.replace(variance=None) if n_draws == 4 else cutouts
        with pytest.raises(ValueError, match=f'n_draws is {n_draws} and the variance'):
            measure(cutouts, n_draws=n_draws)

    @pytest.mark.parametrize('order', [slice(None), slice(None, None, -1)])
    def test_batches_with_and_without_errors_are_stacked(self, order):
        cutouts = make_cutouts(flux=400)
        tables = [measure(cutouts), measure(cutouts.replace(variance=None))][order]
        stacked = stack(tables)
        assert len(stacked) == 8
        assert stacked['segment_flux_err'].mask.sum() == 4

    def test_annotate_has_the_columns_of_any_images(self, classifier, blobs):
        known = blobs.replace(variance=np.full(blobs.shape, 0.01))
        annotated, plain = (classifier.annotate(b, measures=True) for b in (known, blobs))
        assert annotated.colnames == plain.colnames
        np.testing.assert_allclose(
            annotated['morph_segment_snr'], measure(known)['segment_snr'], rtol=1e-6
        )

    def test_rows_without_image_have_no_error(self):
        cutouts = make_cutouts(2, flux=400).replace(status=['ok', 'not_found'])
        assert measure(cutouts)['segment_flux_err'].mask.tolist() == [False, True]
