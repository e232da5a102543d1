# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cutouts are cleaned as it is known from simulations that they should be."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.modeling.models import Moffat2D, Sersic2D
from astropy.table import Table
from scipy.ndimage import gaussian_filter
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from astro_morph import CutoutSet, decode_flags
from astro_morph.photometry import Preprocessor
from astro_morph.photometry.sky import measure_sky
from astro_morph.tests.helpers import gaussian, moments

SIDE = 64
NOISE = np.array([1.0, 2.0, 0.5])
SKY = np.array([30.0, -4.0, 0.0])
COLOUR = np.array([0.5, 1.0, 1.5])


def per_band(values):
    return np.reshape(values, (-1, 1, 1))


def draw(half_light, index, axis_ratio, angle, x, y):
    """Draw a galaxy of unit flux, as seen through seeing of 3 pixels; positions from the centre."""
    rows, columns = (np.mgrid[: 3 * SIDE, : 3 * SIDE] + 0.5) / 3 - SIDE / 2
    image = Sersic2D(1, half_light, index, x, y, 1 - axis_ratio, angle)(columns, rows)
    image = gaussian_filter(image.reshape(SIDE, 3, SIDE, 3).mean(axis=(1, 3)), 1.27)
    return image / image.sum()


class Field:
    """Galaxies off the centre with a neighbour each, sky and noise; all of it known."""

    def __init__(self, *, distance, n=40, log_flux=(2.7, 3.4), random_state=0):
        random = np.random.default_rng(random_state)
        self.offset = random.uniform(-3, 3, (n, 2))
        self.angle = random.uniform(0, np.pi, n)
        self.galaxies, self.centred, self.neighbours = np.zeros((3, n, SIDE, SIDE))
        for i, (x, y) in enumerate(self.offset):
            flux = 10 ** random.uniform(*log_flux)
            shape = random.uniform(2, 4), random.choice([1, 2.5]), random.uniform(0.3, 0.8)
            self.galaxies[i] = flux * draw(*shape, self.angle[i], x, y)
            self.centred[i] = flux * draw(*shape, self.angle[i], 0, 0)
            direction = random.uniform(0, 2 * np.pi)
            x, y = x + distance * np.cos(direction), y + distance * np.sin(direction)
            flux *= random.uniform(0.1, 0.5)
            self.neighbours[i] = flux * draw(random.uniform(0.5, 1.5), 1, 0.8, 0, x, y)
        self.noise = random.normal(size=(n, 3, SIDE, SIDE)) * per_band(NOISE)

    def signal_to_noise(self, light):
        """Return the signal-to-noise ratio of an optimal measurement of a known shape."""
        return np.sqrt(np.sum((self.in_bands(light) / per_band(NOISE)) ** 2, axis=(1, 2, 3)))

    def in_bands(self, light):
        return light[:, np.newaxis] * per_band(COLOUR * NOISE)

    @property
    def cutouts(self):
        light = self.in_bands(self.galaxies + self.neighbours)
        return CutoutSet(
            light + self.noise + per_band(SKY), bands='gri', pixel_scale=0.4 * u.arcsec
        )


@pytest.fixture(scope='module')
def apart():
    return Field(distance=25)


@pytest.fixture(scope='module')
def overlapping():
    return Field(distance=10, random_state=1)


@pytest.fixture(scope='module')
def field():
    return Field(distance=25, n=200, log_flux=(2, 3.7), random_state=2)


@pytest.fixture(scope='module')
def is_bright(field):
    return field.signal_to_noise(field.galaxies) > 20


def fraction_kept(mask, light):
    """Return the fraction of the light outside a mask, one value per row."""
    return (light * ~mask).sum(axis=(1, 2)) / light.sum(axis=(1, 2))


def shifts(images, models):
    """Fit by how many pixels (y, x) images are shifted from models of one band."""
    terms = [models, *np.gradient(models, axis=(1, 2))]
    for image, term in zip(images.sum(axis=1), np.stack(terms, axis=1), strict=True):
        (scale, *slopes), *_ = np.linalg.lstsq(term.reshape(3, -1).T, image.ravel())
        yield -np.array(slopes) / scale


def flagged(cutouts, name):
    return np.array([name in names for names in decode_flags(cutouts.flags)])


class TestManyGalaxies:
    """Galaxies with a ratio of signal to noise from 20 to 1,300, and neighbours apart from them."""

    def test_population(self, field, is_bright):
        signal = field.signal_to_noise(field.galaxies)[is_bright]
        assert len(signal) > 180
        assert signal.min() < 25
        assert signal.max() > 1300

    def test_sky_is_right_within_a_tenth_of_its_noise(self, field, is_bright):
        clean = Preprocessor(neighbours=None).transform(field.cutouts)
        sky = (field.cutouts.images - clean.images).mean(axis=(2, 3))
        error = np.abs(sky - SKY) / NOISE
        assert error[is_bright].max() < 0.1

    def test_centre_is_right_within_half_a_pixel(self, field, is_bright):
        clean = Preprocessor(recentre=6).transform(field.cutouts)
        error = np.hypot(*np.transpose(list(shifts(clean.images, field.centred))))
        assert np.mean(error[is_bright] < 0.5) > 0.95

    @pytest.mark.parametrize('mode', ['detached', 'all'])
    def test_neighbours_are_gone_and_the_galaxy_is_kept(self, field, is_bright, mode):
        clean = Preprocessor(neighbours=mode).transform(field.cutouts)
        untouched = Preprocessor(neighbours=None).transform(field.cutouts)
        mask = (clean.images != untouched.images).any(axis=1)
        is_seen = is_bright & (field.signal_to_noise(field.neighbours) > 20)
        assert is_seen.sum() > 100
        assert fraction_kept(mask, field.neighbours)[is_seen].max() < 0.05
        assert flagged(clean, 'neighbour_removed')[is_seen].all()
        assert fraction_kept(mask, field.galaxies)[is_bright].min() > 0.97


class TestSky:
    def test_level_and_noise(self, apart):
        # Pixels far from all light are noise about zero.
        clean = Preprocessor(neighbours=None).transform(apart.cutouts)
        subtracted = apart.cutouts.images - clean.images
        error = (subtracted.mean(axis=(2, 3)) - SKY) / NOISE
        assert np.percentile(np.abs(error), 95) < 0.1
        noise = measure_sky(apart.cutouts.images).noise
        np.testing.assert_allclose(noise / NOISE, 1, atol=0.05)

    def test_galaxy_larger_than_the_cutout_is_flagged(self):
        random = np.random.default_rng(0)
        images = random.normal(size=(2, 1, 48, 48))
        images[0] += 100 * gaussian(48, sigma=25)
        images[1] += 100 * gaussian(48, sigma=3)
        clean = Preprocessor().transform(images)
        assert flagged(clean, 'uncertain_sky').tolist() == [True, False]


class TestNeighbours:
    def test_flux_in_apertures(self, apart):
        """Averaged over the galaxies, for the noise of one hides a few per cent."""
        clean = Preprocessor().transform(apart.cutouts).images
        y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2

        def flux_around(offset, light, radius=6):
            inside = [np.hypot(x - dx, y - dy) < radius for dx, dy in offset]
            return np.sum(light * np.array(inside)[:, np.newaxis], axis=(2, 3)).sum(axis=0)

        galaxy = flux_around(apart.offset, apart.in_bands(apart.galaxies))
        np.testing.assert_allclose(flux_around(apart.offset, clean), galaxy, rtol=0.03)
        peak = [np.unravel_index(image.argmax(), image.shape) for image in apart.neighbours]
        offset = np.array(peak)[:, ::-1] - (SIDE - 1) / 2
        neighbour = flux_around(offset, apart.in_bands(apart.neighbours))
        left = flux_around(offset, clean) - flux_around(offset, apart.in_bands(apart.galaxies))
        assert np.all(np.abs(left) < 0.05 * neighbour)

    def test_they_are_replaced_by_noise_of_the_sky(self, apart):
        clean = Preprocessor().transform(apart.cutouts)
        is_bright = apart.neighbours > 3
        for band in range(3):
            pixels = clean.images[:, band][is_bright]
            assert pixels.std() == pytest.approx(NOISE[band], rel=0.15)
            assert pixels.mean() == pytest.approx(0, abs=0.25 * NOISE[band])

    def test_overlapping_one_is_replaced_on_demand(self, overlapping):
        def light_left(mode):
            clean = Preprocessor(neighbours=mode).transform(overlapping.cutouts)
            core = overlapping.neighbours > 0.3 * overlapping.neighbours.max((1, 2), keepdims=True)
            excess = clean.images - overlapping.in_bands(overlapping.galaxies)
            return [image[:, c].sum() for image, c in zip(excess, core, strict=True)]

        neighbour = light_left(None)
        left = {mode: np.divide(light_left(mode), neighbour) for mode in ('detached', 'all')}
        assert np.median(left['all']) < 0.05
        assert np.mean(left['all'] < 0.1) > np.mean(left['detached'] < 0.1) + 0.2

    def test_galaxy_shines_through_where_an_overlapping_one_was(self, overlapping):
        clean = Preprocessor(neighbours='all').transform(overlapping.cutouts)
        untouched = Preprocessor(neighbours=None).transform(overlapping.cutouts)
        mask = (clean.images != untouched.images).any(axis=1)
        mask &= overlapping.galaxies > 0.5
        galaxy = overlapping.in_bands(overlapping.galaxies).sum(axis=1)[mask].sum()
        assert clean.images.sum(axis=1)[mask].sum() == pytest.approx(galaxy, rel=0.3)

    def test_halo_of_the_galaxy_is_kept_where_a_neighbour_was(self):
        random = np.random.default_rng(0)
        radius = np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2))
        halo = 1500 / (radius + 5) ** 2.3
        star = 60 * gaussian(SIDE, sigma=1.5, x=18)
        images = halo + star + random.normal(size=(60, 1, SIDE, SIDE))
        clean = Preprocessor().transform(images).images[:, 0]
        was_star = star > 3
        opposite = clean[:, was_star[:, ::-1]].mean()
        assert opposite > 0.3
        assert clean[:, was_star].mean() == pytest.approx(opposite, abs=0.1)

    def test_companion_of_the_galaxy_is_not_seen_twice(self):
        random = np.random.default_rng(0)
        galaxy = 300 * gaussian(SIDE, sigma=4) + 60 * gaussian(SIDE, sigma=3, x=12)
        star = 20 * gaussian(SIDE, sigma=1.5, x=-18)
        images = galaxy + star + random.normal(size=(10, 3, SIDE, SIDE))
        clean = Preprocessor().transform(images)
        assert flagged(clean, 'neighbour_removed').all()
        assert clean.images[..., star > 3].max() < 20

    def test_none_are_removed_on_demand(self, apart):
        clean = Preprocessor(neighbours=None).transform(apart.cutouts)
        assert not flagged(clean, 'neighbour_removed').any()
        difference = apart.cutouts.images - clean.images
        # A plane was subtracted, and nothing else.
        np.testing.assert_allclose(np.diff(difference, n=2), 0, atol=1e-3)

    def test_same_image_gives_the_same_result(self, apart):
        preprocessor = Preprocessor(neighbours='all', recentre=4)
        clean = preprocessor.transform(apart.cutouts)
        rows = [7, 3, 3, 38]
        again = clone(preprocessor).transform(apart.cutouts[rows])
        np.testing.assert_array_equal(again.images, clean.images[rows])
        np.testing.assert_array_equal(again.flags, clean.flags[rows])

    def test_without_a_galaxy_at_the_centre_nothing_is_removed(self, apart):
        moved = apart.cutouts.images.copy()
        moved[0] = np.roll(moved[0], 25, axis=2)
        clean = Preprocessor().transform(moved)
        assert flagged(clean, 'no_source')[:2].tolist() == [True, False]
        assert not flagged(clean, 'neighbour_removed')[0]

    def test_faint_galaxy_is_flagged(self):
        random = np.random.default_rng(0)
        light = np.reshape([4, 40], (2, 1, 1, 1)) * gaussian(SIDE, sigma=2)
        clean = Preprocessor().transform(random.normal(size=(2, 2, SIDE, SIDE)) + light)
        assert flagged(clean, 'low_signal').tolist() == [True, False]


class TestFrame:
    def measure(self, cutouts):
        """Return centroids of the bright pixels, from the centre, and their covariances."""
        measured = []
        for image in cutouts.images.sum(axis=1):
            smooth = gaussian_filter(image, 1)
            measured.append(moments(np.where(smooth > 0.2 * smooth.max(), image, 0).clip(0)))
        centroids, covariances = zip(*measured, strict=True)
        return np.array(centroids), np.array(covariances)

    def test_galaxies_are_moved_to_the_centre(self, apart):
        clean = Preprocessor(recentre=5).transform(apart.cutouts)
        centroids, _ = self.measure(clean)
        assert np.mean(np.hypot(*centroids.T) < 0.5) >= 0.95
        assert np.mean(flagged(clean, 'recentred') == (np.hypot(*apart.offset.T) > 0.5)) >= 0.95

    def test_none_is_moved_further_than_asked(self, apart):
        clean = Preprocessor(recentre=1.5).transform(apart.cutouts)
        is_far = np.hypot(*apart.offset.T) > 2
        assert is_far.any()
        assert not flagged(clean, 'recentred')[is_far].any()
        still = Preprocessor().transform(apart.cutouts)
        np.testing.assert_array_equal(clean.images[is_far], still.images[is_far])

    def test_flux_is_kept(self, apart):
        still = Preprocessor().transform(apart.cutouts).images
        inner = np.s_[..., 12:-12, 12:-12]
        expected = still[inner].sum(axis=(0, 2, 3))
        moved = Preprocessor(recentre=5, rotate=True).transform(apart.cutouts).images
        np.testing.assert_allclose(moved[inner].sum(axis=(0, 2, 3)), expected, rtol=0.04)

    def test_major_axis_is_turned_to_x(self, apart):
        _, covariances = self.measure(
            Preprocessor(recentre=5, rotate=True).transform(apart.cutouts)
        )
        (xx, xy), (_, yy) = np.moveaxis(covariances, 0, -1)
        assert np.mean(xx > yy) >= 0.95
        assert np.median(np.abs(np.arctan2(2 * xy, xx - yy) / 2)) < np.radians(5)

    @pytest.mark.parametrize('scale', ['kron', 'petrosian'])
    def test_galaxies_become_of_one_size(self, scale):
        noise = np.random.default_rng(0).normal(size=(5, 1, SIDE, SIDE))
        galaxies = [[3e4 * draw(radius, 1, 0.8, 1, 0, 0)] for radius in np.linspace(2, 5, 5)]
        cutouts = CutoutSet(noise + galaxies, pixel_scale=0.4 * u.arcsec)
        scaled = Preprocessor(scale=scale).transform(cutouts)
        before, after = (
            np.sqrt(np.trace(self.measure(c)[1], axis1=1, axis2=2)) for c in (cutouts, scaled)
        )
        assert before.max() > 1.6 * before.min()
        assert after.max() < 1.2 * after.min()
        # The pixel scale says what was done.
        ratio = 0.4 / scaled.pixel_scale.to_value(u.arcsec)
        np.testing.assert_allclose(after / before, ratio, rtol=0.1)

    def test_scale_by_a_column(self, apart):
        table = Table({'radius': np.linspace(4, 10, 40) * u.arcsec})
        cutouts = Preprocessor(scale='radius').transform(apart.cutouts.replace(table=table))
        radius = (table['radius'].quantity / cutouts.pixel_scale).to_value(u.one)
        np.testing.assert_allclose(radius, 0.3 * SIDE)

    def test_rows_without_a_radius_keep_their_scale(self, apart):
        table = Table({'radius': np.where(np.arange(40) < 3, np.nan, 8.0)})
        cutouts = Preprocessor(scale='radius').transform(apart.cutouts.replace(table=table))
        np.testing.assert_allclose(cutouts.pixel_scale[:3], 0.4 * u.arcsec)

    def test_what_comes_in_from_outside_is_noise(self, apart):
        clean = Preprocessor(rotate=True, recentre=5).transform(apart.cutouts)
        corner = clean.images[:, :, :4, :4]
        np.testing.assert_allclose(corner.std(axis=(0, 2, 3)) / NOISE, 1, atol=0.15)


class TestDefects:
    @pytest.mark.parametrize('value', [1e20, 1e30, 3e38, -3e38])
    @pytest.mark.parametrize('unit', [1e-3, 1.0])
    def test_extreme_block_leaves_finite_pixels(self, value, unit):
        images = np.random.default_rng(0).normal(size=(2, 2, SIDE, SIDE)).astype(np.float32)
        images = unit * (images + 50 * gaussian(SIDE, sigma=3)).astype(np.float32)
        images[1, :, 10:16, 40:46] = value
        clean = Preprocessor(recentre=3).transform(CutoutSet(images, bands='gr'))
        assert np.isfinite(clean.images).all()
        np.testing.assert_allclose(clean.images[0].std(), images[0].std(), rtol=0.1)

    @pytest.fixture
    def cutouts(self, apart):
        return apart.cutouts[:6].replace(images=apart.cutouts.images[:6].copy())

    def test_flags_of_each(self, cutouts):
        images = cutouts.images
        images[0, 0, 30:33, 10] = np.nan
        images[1, 1] = np.nan
        images[2, 2, 50, 12] = 400
        images[3, 0, 20:40] = 0
        bright = 3000 * gaussian(SIDE, sigma=3)
        images[4] = (images[4] + bright).clip(max=900)
        found = [set(names) for names in decode_flags(Preprocessor().transform(cutouts).flags)]
        common = {'missing_pixels', 'missing_band', 'cosmic_ray', 'saturated'}
        assert [names & common for names in found] == [
            {'missing_pixels'},
            {'missing_band'},
            {'cosmic_ray'},
            {'missing_pixels'},
            {'saturated'},
            set(),
        ]

    def test_small_ones_are_filled_and_large_ones_stay(self, cutouts):
        expected = Preprocessor(neighbours=None).transform(cutouts).images
        images = cutouts.images
        images[0, 0, 30:33, 31] = np.nan
        images[1, 1, 32, 31] = 5e4
        images[2, 2, :30, :30] = np.nan
        clean = Preprocessor(neighbours=None).transform(cutouts).images
        assert np.isnan(clean[2, 2, :30, :30]).all()
        clean[2, 2, :30, :30] = expected[2, 2, :30, :30]
        # Better than a hole in the core of the galaxy, or a spike.
        core = expected[:2, :, 31, 31].max(axis=1)
        difference = np.abs(clean - expected).max(axis=(1, 2, 3))
        assert np.all(difference[:2] < 0.5 * core)
        assert np.isfinite(clean).all()

    def test_level_of_saturation(self, cutouts):
        clean = Preprocessor(saturation=60.0).transform(cutouts)
        expected = (cutouts.images >= 60).any(axis=(1, 2, 3))
        assert 0 < expected.sum() < 6
        np.testing.assert_array_equal(flagged(clean, 'saturated'), expected)

    def test_cutout_without_pixels_has_a_status(self, cutouts):
        cutouts.images[2] = 0
        clean = Preprocessor().transform(cutouts)
        assert clean.status.tolist() == ['ok', 'ok', 'all_nan', 'ok', 'ok', 'ok']

    def test_failed_rows_stay_as_they_are(self, cutouts):
        status = ['ok', 'truncated', 'ok', 'ok', 'no_coverage', 'ok']
        cutouts.images[1] = np.nan
        clean = Preprocessor().transform(cutouts.replace(status=status, flags=np.arange(6)))
        assert clean.status.tolist() == status
        np.testing.assert_array_equal(clean.images[4], cutouts.images[4])
        np.testing.assert_array_equal(clean.flags[[1, 4]], [1, 4])
        np.testing.assert_array_equal(clean.flags & 7, np.arange(6))


def concentration(star):
    """Return the fraction of the light of a star in its core."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return star[np.hypot(x, y) < 3].sum() / star[np.hypot(x, y) < 12].sum()


def test_bands_are_brought_to_the_widest_point_spread_function():
    widths = np.array([2.5, 4.0, 3.2])
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    moffats = [Moffat2D(alpha=2.8, gamma=1) for _ in widths]
    for moffat, width in zip(moffats, widths, strict=True):
        moffat.gamma = width / moffat.fwhm
    stars = np.array([moffat(x, y) for moffat in moffats])
    stars *= 1e5 / stars.sum(axis=(1, 2), keepdims=True)
    noise = np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE))
    cutouts = CutoutSet(noise + stars, pixel_scale=0.5 * u.arcsec)
    matched = Preprocessor(psf_fwhm=widths * 0.5).transform(cutouts).images
    before = [concentration(image) for image in cutouts.images[0]]
    after = [concentration(image) for image in matched[0]]
    assert np.ptp(before) > 0.15
    np.testing.assert_allclose(after, before[1], rtol=0.01)
    np.testing.assert_allclose(matched.sum(axis=(2, 3)), 1e5, rtol=0.03)


class TestUnits:
    SETTINGS = (
        {},
        {'neighbours': 'all', 'recentre': 5, 'rotate': True, 'scale': 'petrosian'},
        {'psf_fwhm': [1.4, 1.3, 1.2]},
    )

    @pytest.fixture
    def cutouts(self, apart):
        images = apart.cutouts.images[:8].copy()
        images[0, 0, 5:9, 5:9] = 0
        images[1, 1, 20, 20] = np.nan
        images[2, 2, 50, 12] = 400
        images[3] = (images[3] + 3000 * gaussian(SIDE, sigma=3)).clip(max=900)
        return apart.cutouts[:8].replace(images=images)

    @pytest.mark.parametrize('settings', SETTINGS)
    @pytest.mark.parametrize('unit', [1e-30, 1e-22, 1e-9, 1e9, 1e20, 1e30])
    def test_clean_up_and_flags_are_the_same_in_any_unit(self, cutouts, unit, settings):
        preprocessor = Preprocessor(**settings)
        expected = preprocessor.transform(cutouts)
        scaled = cutouts.replace(images=(cutouts.images * np.float64(unit)).astype(np.float32))
        clean = preprocessor.transform(scaled)
        assert decode_flags(clean.flags) == decode_flags(expected.flags)
        images = clean.images / np.float64(unit)
        np.testing.assert_allclose(images, expected.images, atol=0.01)

    @pytest.mark.parametrize('settings', SETTINGS)
    @pytest.mark.parametrize('value', [1e30, 3e38, -3e38])
    def test_huge_numbers_harm_only_their_row(self, cutouts, value, settings):
        preprocessor = Preprocessor(**settings)
        expected = preprocessor.transform(cutouts)
        images = cutouts.images.copy()
        images[6, :, 20:30, 20:30] = images[7] = value
        clean = preprocessor.transform(cutouts.replace(images=images))
        np.testing.assert_array_equal(clean.images[:6], expected.images[:6])
        np.testing.assert_array_equal(clean.flags[:6], expected.flags[:6])


def test_half_light_radii_in_a_column():
    random = np.random.default_rng(0)
    light = 4000 * np.array([draw(24, 1, 0.8, angle, 0, 0) for angle in range(8)]) + 100
    cutouts = CutoutSet(
        light[:, np.newaxis] + random.normal(size=(8, 1, SIDE, SIDE)),
        pixel_scale=0.4 * u.arcsec,
        table=Table({'radius': np.full(8, 21 * 0.4)}),
    )
    true = np.sum(light - 100, axis=(1, 2))
    error, error_without_radii = (
        np.abs(Preprocessor(half_light=column).transform(cutouts).images.sum((1, 2, 3)) - true)
        for column in ('radius', None)
    )
    assert error.mean() < 0.6 * error_without_radii.mean()
    with pytest.raises(ValueError, match=r"half_light is 'radius', a column .* leave it out"):
        Preprocessor(half_light='radius').transform(cutouts.replace(table=None))


class TestPictures:
    def test_only_missing_pixels_are_filled(self):
        images = np.random.default_rng(0).uniform(0, 255, (2, 3, 32, 32)).round()
        images[:, :, 5:9, 5:9] = 0
        holes = images.copy()
        holes[1, :, 20, 20] = np.nan
        clean = Preprocessor().transform(CutoutSet(holes, bands='rgb', kind='picture'))
        np.testing.assert_array_equal(clean.images[0], images[0])
        assert np.isfinite(clean.images).all()
        assert decode_flags(clean.flags) == [[], ['missing_pixels']]
        assert clean.kind == 'picture'


class TestTransformer:
    def test_nothing_is_changed_in_place(self, apart):
        cutouts = apart.cutouts[:4]
        before = cutouts.images.copy(), cutouts.flags.copy(), cutouts.status.copy()
        for array in (cutouts.images, cutouts.flags, cutouts.status):
            array.flags.writeable = False
        preprocessor = Preprocessor(neighbours='all', recentre=5, rotate=True, scale='kron')
        preprocessor.fit(cutouts).transform(cutouts)
        preprocessor.segment(cutouts)
        for array, copy in zip(
            (cutouts.images, cutouts.flags, cutouts.status), before, strict=True
        ):
            np.testing.assert_array_equal(array, copy)

    def test_the_rest_of_the_cutouts_is_kept(self, apart):
        cutouts = apart.cutouts.replace(table=Table({'id': np.arange(40)}), framing='4 * radius')
        clean = Preprocessor().fit_transform(cutouts)
        assert clean.table is cutouts.table
        assert (clean.bands, clean.kind, clean.framing) == (cutouts.bands, 'flux', cutouts.framing)
        assert clean.pixel_scale == cutouts.pixel_scale

    def test_images_in_an_array_are_cutouts(self, apart):
        of_array = Preprocessor().transform(apart.cutouts.images)
        of_cutouts = Preprocessor().transform(apart.cutouts)
        np.testing.assert_array_equal(of_array.images, of_cutouts.images)

    def test_segments_are_those_that_transform_sees(self, apart):
        preprocessor = Preprocessor()
        segments = preprocessor.segment(apart.cutouts)
        np.testing.assert_array_equal(
            (segments > 1).any(axis=(1, 2)),
            flagged(preprocessor.transform(apart.cutouts), 'neighbour_removed'),
        )

    def test_no_cutouts(self):
        assert Preprocessor().transform(np.zeros((0, 2, 32, 32))).shape == (0, 2, 32, 32)

    def test_parameters_are_got_cloned_and_written_as_json(self, apart):
        preprocessor = Preprocessor(
            neighbours='all', recentre=np.float32(2), psf_fwhm=[1200, 1000, 900] * u.marcsec
        )
        copy = Preprocessor(**json.loads(json.dumps(clone(preprocessor).settings())))
        assert copy.settings() == preprocessor.settings()
        assert copy.get_params()['recentre'] == 2
        rows = apart.cutouts[:3]
        np.testing.assert_allclose(copy.transform(rows).images, preprocessor.transform(rows).images)

    def test_part_of_a_pipeline(self, apart):
        pipeline = make_pipeline(Preprocessor(neighbours=None), Preprocessor())
        assert pipeline.fit_transform(apart.cutouts[:3]).shape == (3, 3, SIDE, SIDE)

    @pytest.mark.parametrize(
        ('parameters', 'message'),
        [
            ({'neighbours': 'some'}, "'neighbours' parameter of Preprocessor must be"),
            ({'recentre': -1}, "'recentre' parameter of Preprocessor must be"),
            ({'scale': 'radius'}, "scale is 'radius', a column .* no table .* set scale='kron'"),
            (
                {'psf_fwhm': [1.0]},
                r'psf_fwhm is \[1.0\] for the bands .* expected one width per band',
            ),
        ],
    )
    def test_wrong_settings_are_refused(self, apart, parameters, message):
        with pytest.raises(ValueError, match=message):
            Preprocessor(**parameters).transform(apart.cutouts)

    def test_cutouts_that_are_not_square_are_not_turned(self):
        with pytest.raises(ValueError, match=r'cutouts have 20 x 30 pixels, .* need square ones'):
            Preprocessor(rotate=True).transform(np.ones((1, 1, 20, 30)))
