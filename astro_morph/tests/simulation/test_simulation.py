# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the simulated survey, by measurements as on real images."""

import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Moffat2D
from astropy.nddata import Cutout2D
from astropy.stats import sigma_clipped_stats
from astropy.table import Table
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter, label, maximum_filter

from astro_morph import surveys
from astro_morph.catalog.flags import BITS
from astro_morph.simulation import SimulatedSurvey

KINDS = ('round', 'in_between', 'edge_on', 'spiral', 'merger')


@pytest.fixture(scope='module')
def survey():
    return SimulatedSurvey(n_galaxies=40, random_state=1)


@pytest.fixture(scope='module')
def cutouts(survey):
    return survey.fetch(survey.catalogue)


def of_kind(survey, cutouts, kind):
    """Return the images, of shape (n, band, y, x), and the truth of one kind of galaxy."""
    rows = np.flatnonzero(survey.catalogue['morphology'] == kind)
    return cutouts.images[rows], survey.catalogue[rows]


def isophote_shape(image):
    """Return axis ratio and position angle in degrees of the area above 15 % of the core."""
    smooth = gaussian_filter(image, 1)
    core = smooth[30:35, 30:35].max()
    regions, _ = label(smooth > 0.15 * core)
    y, x = np.nonzero(regions == regions[32, 32])
    values, vectors = np.linalg.eigh(np.cov([x, y]))
    east, north = -vectors[0, 1], vectors[1, 1]
    return np.sqrt(values[0] / values[1]), np.degrees(np.arctan2(east, north)) % 180


def flux_inside(image, radius):
    """Return the sum of the pixels in a circle around the centre of a cutout."""
    return image[distance_from_middle(image) < radius].sum()


def distance_from_middle(image):
    """Return the distance in pixels from the centre of a square image."""
    y, x = np.indices(image.shape) - (image.shape[0] - 1) / 2
    return np.hypot(x, y)


def test_catalogue_has_all_kinds_in_equal_numbers(survey):
    kinds, counts = np.unique(survey.catalogue['morphology'], return_counts=True)
    assert set(kinds) == set(KINDS)
    assert np.all(counts == 8)


def test_axis_ratios_tell_round_from_in_between_from_edge_on(survey, cutouts):
    def ratios(kind):
        images, _ = of_kind(survey, cutouts, kind)
        return np.array([isophote_shape(image[1])[0] for image in images])

    assert np.all(ratios('round') > 0.8)
    assert 0.5 < np.median(ratios('in_between')) < 0.8
    assert np.median(ratios('edge_on')) < 0.4


def test_position_angle_is_from_north_through_east(survey, cutouts):
    images, truth = of_kind(survey, cutouts, 'edge_on')
    measured = np.array([isophote_shape(image[1])[1] for image in images])
    error = (measured - truth['position_angle'].value + 90) % 180 - 90
    assert np.median(np.abs(error)) < 5


def test_spirals_are_bluer_than_round_galaxies(survey, cutouts):
    def colour(kind):
        images, truth = of_kind(survey, cutouts, kind)
        radii = (truth['half_light_radius'] / survey.pixel_scale).to_value(u.one)
        flux = [
            [flux_inside(band, 2 * radius) for band in image[:2]]
            for image, radius in zip(images, radii, strict=True)
        ]
        g, r = np.transpose(flux)
        return np.median(-2.5 * np.log10(g / r))

    assert 0.7 < colour('round') < 1.0
    assert 0.3 < colour('spiral') < 0.65


def test_spirals_have_arms(survey, cutouts):
    def structure(kind):
        images, truth = of_kind(survey, cutouts, kind)
        return np.median([ring_scatter(*pair) for pair in zip(images[:, 1], truth, strict=True)])

    assert structure('spiral') > 1.6 * structure('round')


def ring_scatter(image, truth):
    """Return the relative scatter of the light along ellipses, at 0.7 to 1.8 half-light radii."""
    y, x = np.indices(image.shape) - (image.shape[0] - 1) / 2
    angle = truth['position_angle'].to_value(u.rad)
    along = y * np.cos(angle) - x * np.sin(angle)
    across = y * np.sin(angle) + x * np.cos(angle)
    radius = np.hypot(along, across / truth['axis_ratio']) * 0.396
    radius /= truth['half_light_radius'].value
    steps = np.arange(0.4, 2.3, 0.2)
    profile = [np.median(image[np.abs(radius - step) < 0.2]) for step in steps]
    residual = gaussian_filter(image - np.interp(radius, steps, profile), 1)
    ring = (radius > 0.7) & (radius < 1.8)
    return residual[ring].std() / image[ring].mean()


@pytest.mark.parametrize('band', ['g', 'r'])
def test_flux_matches_the_magnitude(survey, band):
    truth = survey.catalogue[np.isin(survey.catalogue['morphology'], ['spiral', 'edge_on'])]
    images = survey.fetch(truth, size=80).select_bands([band]).images[:, 0]
    fluxes = [flux_inside(image, 30) for image in images]
    magnitudes = 22.5 - 2.5 * np.log10(fluxes)
    assert np.median(magnitudes - truth[f'mag_{band}'].value) == pytest.approx(0, abs=0.05)


def test_radii_match_the_growth_of_flux(survey):
    truth = survey.catalogue[np.isin(survey.catalogue['morphology'], ['spiral', 'round'])]
    images = survey.fetch(truth, size=80).images[:, 1]
    ratios = []
    for image, row in zip(images, truth, strict=True):
        radii = np.arange(1, 36)
        growth = np.array([flux_inside(image, radius) for radius in radii])
        half = np.interp(0.5, growth / 10 ** (-0.4 * (row['mag_r'].value - 22.5)), radii) * 0.396
        # Seeing adds its own half-light radius, approximately in quadrature.
        ratios.append(half / np.hypot(row['half_light_radius'].value, 0.85))
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
    assert np.all(truth['petroR90_r'] > 1.5 * truth['half_light_radius'])


def test_galaxies_fill_the_cutout_as_real_ones_do(survey):
    fraction = (survey.catalogue['petroR90_r'] / (64 * survey.pixel_scale)).to_value(u.one)
    assert 0.2 < np.median(fraction) < 0.35
    low, high = np.percentile(fraction, [5, 95])
    assert low > 0.15
    assert high < 0.6


def test_empty_sky_has_the_noise_of_the_survey(survey):
    whole = survey.fetch(survey.catalogue[:1], size=900).images[0]
    noise = surveys.get('sdss').sky_noise[[1, 2, 3]]
    for image, expected in zip(whole, noise, strict=True):
        # Differences of neighbouring pixels remove the light of faint wings.
        _, _, spread = sigma_clipped_stats(np.diff(image[np.isfinite(image)][::2]), sigma=2.5)
        assert spread / np.sqrt(2) == pytest.approx(expected, rel=0.05)


def test_noise_grows_with_light():
    bright = SimulatedSurvey(n_galaxies=1, kinds=['round'], random_state=0)
    image = bright.fetch(bright.catalogue).images[0, 1]
    core = image[30:35, 30:35] - gaussian_filter(image, 1.0)[30:35, 30:35]
    edge = image[:8, :8] - gaussian_filter(image, 1.0)[:8, :8]
    assert core.std() > 2 * edge.std()


def test_stars_have_the_seeing_of_the_survey(survey):
    x, y = survey.wcs.world_to_pixel(SkyCoord(survey.catalogue['ra'], survey.catalogue['dec']))
    row, column = round(y[0]), round(x[0])
    image = survey.fetch(survey.catalogue[:1], size=1201).images[0, 1]
    from_galaxy = np.full(image.shape, np.inf)
    rows, columns = np.indices(image.shape) + np.array([row, column])[:, None, None] - 600
    for x0, y0 in zip(x, y, strict=True):
        from_galaxy = np.minimum(from_galaxy, np.hypot(columns - x0, rows - y0))
    sky = np.where((from_galaxy > 30) & np.isfinite(image), image, 0)
    fitted = []
    grid_y, grid_x = np.mgrid[-7:8, -7:8]
    while sky.max() > 2:
        row, column = np.unravel_index(sky.argmax(), sky.shape)
        near = np.s_[row - 7 : row + 8, column - 7 : column + 8]
        start = Moffat2D(sky.max(), 0, 0, 3, 2.8)
        fitted.append(TRFLSQFitter()(start, grid_x, grid_y, image[near]).fwhm * 0.396)
        sky[near] = 0
    assert len(fitted) >= 3
    # Stars are the sharpest of the bright objects; the others are field galaxies.
    assert np.percentile(fitted, 25) == pytest.approx(1.32, rel=0.05)


def test_crowding_is_a_factor_on_the_number_of_other_objects():
    alone, common, crowded = (
        SimulatedSurvey(n_galaxies=16, crowding=crowding) for crowding in (0, 1, 10)
    )

    def count(survey):
        """Return the number of peaks of other objects, 20 times brighter than the noise."""
        others = gaussian_filter(survey.flux[1] - alone.flux[1], 1)
        is_peak = others == maximum_filter(others, 5)
        return np.sum(is_peak & (others > 20 * survey.survey.sky_noise[2] * 0.28))

    assert count(alone) == 0
    assert 5 * count(common) < count(crowded) < 15 * count(common)
    for name in ('ra', 'dec', 'mag_r'):
        np.testing.assert_array_equal(alone.catalogue[name], crowded.catalogue[name])


def test_a_patch_of_sky_is_the_same_in_each_cutout(survey):
    first = survey.catalogue[:1]
    coord = SkyCoord(first['ra'], first['dec'])
    column, row = survey.wcs.world_to_pixel(coord)
    shifted = survey.wcs.pixel_to_world(column + 7, row - 5)
    a = survey.fetch(coord).images[0]
    b = survey.fetch(shifted).images[0]
    np.testing.assert_array_equal(a[:, :-5, 7:], b[:, 5:, :-7])


def test_fetch_equals_a_cut_of_the_written_mosaics(survey, tmp_path):
    paths = survey.write(tmp_path / 'sky')
    assert [path.name for path in paths] == ['sdss-g.fits', 'sdss-r.fits', 'sdss-i.fits']
    truth = survey.catalogue[3]
    coord = SkyCoord(truth['ra'], truth['dec'])
    cutout = survey.fetch(survey.catalogue[3:4], size=50).images[0]
    for image, path in zip(cutout, paths, strict=True):
        with fits.open(path) as hdus:
            assert hdus[0].header['BUNIT'] == 'nanomaggy'
            expected = Cutout2D(hdus[0].data, coord, 50, wcs=WCS(hdus[0].header)).data
            np.testing.assert_array_equal(image, expected)


def test_write_overwrites_only_where_it_may(survey, tmp_path):
    survey.write(tmp_path)
    with pytest.raises(OSError, match='exists already'):
        survey.write(tmp_path)
    assert len(survey.write(tmp_path, overwrite=True)) == 3


def test_galaxies_are_where_the_catalogue_says(survey, cutouts):
    images, truth = of_kind(survey, cutouts, 'round')
    pixels = np.transpose(survey.wcs.world_to_pixel(SkyCoord(truth['ra'], truth['dec'])))
    # Like Cutout2D, whole pixels are cut: the galaxy is up to half a pixel off the centre.
    expected = pixels - np.ceil(pixels - 32)
    y, x = np.indices((13, 13)) + 25
    for core, position in zip(images[:, 1, 25:38, 25:38], expected, strict=True):
        weights = np.clip(core - 0.4 * core.max(), 0, None)
        centroid = np.average(x, weights=weights), np.average(y, weights=weights)
        np.testing.assert_allclose(centroid, position, rtol=0, atol=0.2)


def test_bad_rows_get_a_status(survey):
    good = survey.catalogue[0]
    ra = [good['ra'].value, np.nan, good['ra'].value, 10, 0]
    dec = [good['dec'].value, 0, 95, -60, -5]
    table = Table({'ra': ra, 'dec': dec})
    cutouts = survey.fetch(table)
    assert list(cutouts.status) == [
        'ok',
        'no_coordinates',
        'invalid_coordinates',
        'no_coverage',
        'no_coverage',
    ]
    assert np.isfinite(cutouts.images[0]).all()
    assert np.isnan(cutouts.images[1:]).all()
    assert cutouts.table is table


def test_cutout_at_the_border_is_partial(survey):
    cutouts = survey.fetch(survey.wcs.pixel_to_world([2], [40]))
    assert list(cutouts.status) == ['ok']
    assert cutouts.flags[0] == BITS['partial_coverage']
    assert np.isnan(cutouts.images[0, 0, 32, 0])
    assert np.isfinite(cutouts.images[0, 0, 32, 63])


@pytest.mark.parametrize(
    ('size', 'pixels'), [(None, 64), (33, 33), (20 * u.arcsec, 51), (0.5 * u.arcmin, 76)]
)
def test_size_is_in_pixels_or_an_angle(survey, size, pixels):
    cutouts = survey.fetch(survey.catalogue[:2], size=size)
    assert cutouts.shape == (2, 3, pixels, pixels)
    assert cutouts.bands == survey.bands
    assert cutouts.pixel_scale == 0.396 * u.arcsec


@pytest.mark.parametrize('size', [0, -3, 2.5, 0.1 * u.arcsec])
def test_size_is_checked(survey, size):
    with pytest.raises(ValueError, match='size must be a number of pixels'):
        survey.fetch(survey.catalogue[:2], size=size)


def test_same_arguments_give_the_same_bits():
    first, second = (SimulatedSurvey(n_galaxies=3, random_state=7) for _ in range(2))
    other = SimulatedSurvey(n_galaxies=3, random_state=8)
    images = first.fetch(first.catalogue).images
    np.testing.assert_array_equal(images, second.fetch(first.catalogue).images)
    assert np.any(images != other.fetch(first.catalogue).images)


def test_pickle_gives_the_same_sky_and_stays_small(survey, cutouts):
    pickled = pickle.dumps(survey)
    assert len(pickled) < 100_000
    images = pickle.loads(pickled).fetch(survey.catalogue[:1]).images
    np.testing.assert_array_equal(images, cutouts.images[:1])


def test_a_band_does_not_depend_on_the_others():
    all_bands = SimulatedSurvey(n_galaxies=2, bands='ugriz', random_state=3)
    one_band = SimulatedSurvey(n_galaxies=2, bands='g', random_state=3)
    expected = all_bands.fetch(all_bands.catalogue).select_bands('g').images
    images = one_band.fetch(one_band.catalogue).images
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one_band.catalogue['mag_r'], all_bands.catalogue['mag_r'])


def test_galaxies_of_a_catalogue_are_put_where_it_says():
    table = Table(
        {
            'ra': [359.998, 0.003, 0.008],
            'dec': [40.0, 40.004, 39.998],
            'morphology': ['edge_on', 'round', 'spiral'],
        }
    )
    survey = SimulatedSurvey('legacy', catalogue=table)
    assert survey.bands == ('g', 'r', 'z')
    assert list(survey.catalogue['morphology']) == list(table['morphology'])
    np.testing.assert_allclose(survey.catalogue['dec'].value, table['dec'], rtol=0, atol=1e-10)
    cutouts = survey.fetch(table)
    assert cutouts.is_ok.all()
    # In 17 arcsec of the Legacy Surveys, the galaxy outshines the corners.
    middle, corner = cutouts.images[:, 1, 28:36, 28:36], cutouts.images[:, 1, :8, :8]
    assert np.all(middle.mean(axis=(1, 2)) > 10 * np.median(corner, axis=(1, 2)))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'survey': 'kepler'}, 'survey must be'),
        ({'kinds': ['round', 'ring']}, r"got \['ring'\]"),
        ({'bands': 'gy'}, r"bands \['y'\] are not among"),
        ({'n_galaxies': 0}, 'n_galaxies and kinds must not be empty'),
        ({'crowding': -1}, 'crowding must be a factor of at least 0, got -1'),
        ({'catalogue': Table({'ra': [1.0], 'dec': [2.0]})}, 'the column morphology'),
        (
            {'catalogue': Table({'ra': [1.0], 'dec': [99.0], 'morphology': ['round']})},
            'got invalid_coordinates in row 0',
        ),
        (
            {'catalogue': Table({'ra': [1, 9], 'dec': [2, 9], 'morphology': ['round'] * 2})},
            'smaller regions of the sky',
        ),
        (
            {'catalogue': Table({'ra': [1, 181], 'dec': [2, 9], 'morphology': ['round'] * 2})},
            'smaller regions of the sky',
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SimulatedSurvey(**arguments)
