# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Measures of the galaxies of a catalogue, and as columns of an annotated one."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable.ucd import parse_ucd
from astropy.table import QTable, Table
from astropy.wcs import WCS
from scipy.optimize import brentq

from astro_morph import CutoutSet, conf, decode_flags
from astro_morph.catalog import write_predictions
from astro_morph.catalog.flags import BITS
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts import Hips2Fits, Mosaics
from astro_morph.photometry import measure
from astro_morph.photometry.measures import segment_sources, stack
from astro_morph.photometry.sky import measure_sky
from astro_morph.photometry.structure import asymmetry, concentration, petrosian_radius
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.tests.helpers import gaussian

NOISE = 0.01
SIGMA = 5.0
SIZE = 96


def make_cutouts(*galaxies, bands='gri', noise=NOISE, **options):
    """Put galaxies under noise and a sky of 3, in all bands."""
    random = np.random.default_rng(0)
    images = np.stack(galaxies)[:, np.newaxis] + np.zeros((1, len(bands), 1, 1))
    images = 3 + images + random.normal(scale=noise, size=images.shape)
    return CutoutSet(images, bands=bands, **options)


@pytest.fixture(scope='module')
def galaxies():
    """A round galaxy, an inclined one with a neighbour, and nothing."""
    inclined = gaussian(SIZE, sigma=SIGMA, axis_ratio=0.5, angle=0.6)
    inclined += gaussian(SIZE, sigma=2, x=25, y=20)
    cutouts = make_cutouts(gaussian(SIZE, sigma=SIGMA), inclined, np.zeros((SIZE, SIZE)))
    return cutouts.replace(pixel_scale=0.4 * u.arcsec)


@pytest.fixture(scope='module')
def measures(galaxies):
    return measure(galaxies)


def test_rows_say_what_they_are(measures):
    assert isinstance(measures, QTable)
    assert measures['measure_status'].tolist() == ['ok', 'ok', 'no_source']
    assert measures['gini'].mask.tolist() == [False, False, True]
    assert measures['measure_flags'].tolist() == [0, 0, 0]


def test_shape_and_flux_of_gaussians(measures):
    # Moments inside the segment lack the wings.
    np.testing.assert_allclose(measures['elongation'][:2], [1, 2], rtol=0.05)
    np.testing.assert_allclose(measures['ellipticity'][:2], [0, 0.5], atol=0.03)
    angle = measures['orientation_image'][1].to_value('rad')
    assert float(angle) == pytest.approx(0.6, abs=0.05)
    expected = 2 * np.pi * SIGMA**2 * np.array([1, 0.5])
    np.testing.assert_allclose(measures['segment_flux'][:2], expected, rtol=0.02)
    area = np.pi * (3 * SIGMA) ** 2  # nearly where the Gaussian meets the noise
    expected_snr = expected[0] / NOISE / np.sqrt(area)
    assert float(measures['segment_snr'][0]) == pytest.approx(expected_snr, rel=0.1)


def test_radii_of_a_gaussian_in_arcsec(measures):
    def excess(t):
        return np.exp(-t) - 0.2 * (1 - np.exp(-t)) / t

    petrosian = SIGMA * np.sqrt(2 * brentq(excess, 1, 5))
    half_light = SIGMA * np.sqrt(2 * np.log(2))
    # photutils takes no Kron radius below 1.4 half-axes of the moments.
    kron = 2.5 * 1.4 * SIGMA
    names = ['petrosian_radius', 'half_light_radius', 'kron_radius']
    radii = [measures[name][0].to_value(u.arcsec) / 0.4 for name in names]
    np.testing.assert_allclose(radii, [petrosian, half_light, kron], rtol=0.05)


def test_structure_of_a_gaussian(measures):
    concentration = 5 / 2 * np.log10(np.log(0.2) / np.log(0.8))
    np.testing.assert_allclose(measures['concentration'][0], concentration, atol=0.05)
    np.testing.assert_allclose(measures['asymmetry'][:2], 0, atol=0.03)
    np.testing.assert_allclose(measures['smoothness'][:2], 0, atol=0.06)


def test_uniform_disc_has_no_gini_and_one_bright_pixel_has():
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    disc = 5.0 * (np.hypot(x, y) < 15)
    peaked = np.exp(-np.hypot(x, y) / 5)
    gini = measure(make_cutouts(disc, peaked))['gini']
    # The filter that outlines the galaxy lets in some pixels of sky.
    assert gini[0] < 0.2
    assert gini[1] > 0.4


@pytest.mark.parametrize('zero_point', [22.5, 25.3, [21, 25.3, 29]])
def test_flux_has_a_unit_and_a_magnitude_where_the_zero_point_is_known(galaxies, zero_point):
    alone = galaxies[:1].replace(zero_point=zero_point)
    measures = measure(alone)
    counts = measure(galaxies[:1])['segment_flux'][0]
    of_band = np.broadcast_to(zero_point, 3)[1]
    expected = u.Magnitude(of_band - 2.5 * np.log10(counts), u.ABmag)
    flux = measures['segment_flux'][:1].unmasked
    assert float(flux[0].to_value(u.uJy)) == pytest.approx(expected.to_value(u.uJy), rel=1e-5)
    assert float(measures['segment_mag'][0].value) == pytest.approx(expected.value, abs=1e-5)
    assert measures['segment_mag'].unit == u.mag
    assert measures['segment_snr'][0] == measure(galaxies[:1])['segment_snr'][0]


@pytest.mark.parametrize('zero_point', [None, np.nan, [22.5, np.nan, 22.5]])
def test_flux_has_no_unit_where_the_zero_point_is_not_known(galaxies, zero_point):
    measures = measure(galaxies[:1].replace(zero_point=zero_point))
    assert measures['segment_flux'].unit is None
    assert 'image units' in measures['segment_flux'].description
    assert not measures['segment_flux'].mask.any()
    assert measures['segment_mag'].mask.all()


def test_magnitude_of_a_star_of_known_brightness():
    # In nanomaggies: 22.5 - 2.5 log10(100).
    star = gaussian(SIZE, sigma=2)
    cutouts = make_cutouts(100 * star / star.sum(), noise=1e-4, zero_point=22.5)
    assert float(measure(cutouts)['segment_mag'][0].value) == pytest.approx(17.5, abs=0.01)


def test_radii_are_pixels_where_the_scale_is_unknown(galaxies, measures):
    radii = measure(galaxies.replace(pixel_scale=None))['petrosian_radius']
    assert radii.unit == u.pix
    np.testing.assert_allclose(0.4 * radii[:2].value, measures['petrosian_radius'][:2].value)


def test_each_row_may_have_its_scale(galaxies, measures):
    scale = [0.4, 0.8, np.nan] * u.arcsec
    radii = measure(galaxies.replace(pixel_scale=scale))['petrosian_radius']
    np.testing.assert_allclose(radii[:2] / measures['petrosian_radius'][:2], [1, 2])


def test_sky_and_neighbours_do_not_matter(galaxies, measures):
    alone = gaussian(SIZE, sigma=SIGMA, axis_ratio=0.5, angle=0.6)
    others = measure(make_cutouts(gaussian(SIZE, sigma=SIGMA), alone))
    for name, tolerance in [('gini', 0.01), ('m20', 0.02), ('concentration', 0.02)]:
        assert measures[name][1] == pytest.approx(others[name][1], abs=tolerance)


def make_pair(separation):
    """Draw a galaxy with a fainter companion, without noise."""
    galaxy = gaussian(SIZE, sigma=4, axis_ratio=0.7)
    return galaxy + 0.6 * gaussian(SIZE, sigma=4, x=separation, y=2)


@pytest.mark.parametrize('separation', [10, 13, 16])
def test_close_pairs_keep_their_asymmetry(separation):
    pair = make_pair(separation)
    y, x = np.indices(pair.shape)
    centroid = np.array([np.sum(x * pair), np.sum(y * pair)]) / pair.sum()
    true, centre = asymmetry(pair, centroid, petrosian_radius(pair, centroid))
    radius = petrosian_radius(pair, centre)
    # The mean noise is subtracted also where the two sides differ by more than the noise.
    measures = measure(make_cutouts(pair, noise=NOISE / 10))
    assert true > 0.3
    assert measures['asymmetry'][0] == pytest.approx(true, abs=0.02)
    expected = concentration(pair, centre, radius)
    assert measures['concentration'][0] == pytest.approx(expected, abs=0.05)
    flux = float(measures['segment_flux'][0])
    assert flux == pytest.approx(pair.sum(), rel=0.03)
    assert decode_flags(measures['measure_flags'])[0] == []


def test_companions_are_split_off_on_request_and_flagged():
    measures = measure(make_cutouts(make_pair(14)), saddle=0.8)
    assert measures['asymmetry'][0] < 0.1
    assert measures['m20'][0] < -1.4
    assert 'companion_split' in decode_flags(measures['measure_flags'])[0]


def test_lower_saddles_split_only_what_is_farther_apart():
    cutouts = make_cutouts(make_pair(13), make_pair(18))
    is_split = {
        saddle: measure(cutouts, saddle=saddle)['measure_flags'] & BITS['companion_split'] > 0
        for saddle in (0.1, 0.4, 0.9)
    }
    assert is_split[0.1].tolist() == [False, False]
    assert is_split[0.4].tolist() == [False, True]
    assert is_split[0.9].tolist() == [True, True]


@pytest.mark.parametrize('saddle', [0, 0.8])
def test_neighbours_with_sky_between_are_masked_and_no_companions(saddle):
    galaxy = gaussian(SIZE, sigma=SIGMA)
    neighbour = gaussian(SIZE, sigma=3, x=-30, y=8)
    alone, beside = measure(make_cutouts(galaxy, galaxy + neighbour), saddle=saddle)
    for name, tolerance in [('asymmetry', 0.02), ('m20', 0.02), ('concentration', 0.02)]:
        assert beside[name] == pytest.approx(alone[name], abs=tolerance)
    assert decode_flags(beside['measure_flags']) == []


@pytest.mark.parametrize('saddle', [-0.1, 1.2, np.nan])
def test_saddle_is_a_fraction(galaxies, saddle):
    with pytest.raises(ValueError, match=f'saddle is {saddle}, expected .* from 0 to 1'):
        measure(galaxies, saddle=saddle)


def test_band_is_r_or_the_middle_one_or_the_one_named():
    galaxy = gaussian(SIZE, sigma=SIGMA)
    cutouts = make_cutouts(galaxy, noise=0.001)
    images = cutouts.images * np.reshape([1, 2, 4], (1, 3, 1, 1))
    fluxes = {
        (bands, band): measure(cutouts.replace(images=images, bands=bands), band=band)[
            'segment_flux'
        ][0]
        / galaxy.sum()
        for bands, band in [('gri', None), ('rgi', None), ('giz', None), ('gri', 'i')]
    }
    np.testing.assert_allclose(list(fluxes.values()), [2, 1, 2, 4], rtol=0.02)


def test_rows_without_image_keep_their_status(galaxies):
    images = galaxies.images.copy()
    images[0] = np.nan
    table = measure(galaxies.replace(images=images, status=['truncated', 'ok', 'ok']))
    assert table['measure_status'].tolist() == ['truncated', 'ok', 'no_source']
    assert table['segment_flux'].mask.tolist() == [True, False, True]


def test_no_rows_and_no_images_give_the_same_columns(galaxies, measures):
    for cutouts in (galaxies[:0], galaxies.replace(status=['not_found'] * 3)):
        table = measure(cutouts)
        assert table.colnames == measures.colnames
        assert len(table) == len(cutouts)


def test_many_cutouts_are_measured_as_each_alone(galaxies):
    alone = Table(measure(galaxies[[0]]))
    many = Table(measure(galaxies[np.zeros(70, int)]))
    for name in alone.colnames:
        if alone[name].dtype.kind == 'f':
            np.testing.assert_allclose(many[name].data, np.repeat(alone[name].data, 70), rtol=1e-4)
        else:
            assert set(many[name]) == set(alone[name])


def test_galaxy_that_fills_the_cutout_has_flux_but_no_petrosian_radius():
    y, x = np.indices((48, 48)) - 23.5
    images = 5 * np.exp(-np.hypot(x, y) / 60)[np.newaxis]
    images = images + np.random.default_rng(0).normal(scale=0.001, size=images.shape)
    table = measure(CutoutSet(images[np.newaxis]))
    assert table['measure_status'][0] in ('no_petrosian_radius', 'no_source')
    assert table['gini'].mask.all()


def at_edge(galaxy):
    """Let the survey end beside the galaxy's centre."""
    rows = np.indices(galaxy.shape)[0]
    return np.where(rows < 0.65 * SIZE, galaxy, np.nan)


@pytest.mark.parametrize(
    ('flag', 'galaxy', 'noise'),
    [
        ('measures_small', gaussian(SIZE, sigma=2), NOISE),
        ('measures_noisy', gaussian(SIZE, sigma=9), 0.35),
        ('measures_cut', at_edge(gaussian(SIZE, sigma=9)), NOISE),
        ('uncertain_sky', gaussian(SIZE, sigma=14), NOISE),
    ],
)
def test_flags_tell_what_not_to_trust(flag, galaxy, noise):
    names = decode_flags(measure(make_cutouts(galaxy, noise=noise))['measure_flags'])[0]
    assert flag in names


def test_galaxy_symmetric_about_its_centroid_has_a_centre():
    # A noise so low that the search ends where it begins.
    flags = measure(make_cutouts(gaussian(SIZE, sigma=8), noise=1e-5))['measure_flags']
    assert decode_flags(flags)[0] == []


def test_columns_have_descriptions_and_valid_ucds(measures):
    for name in measures.colnames:
        info = measures[name].info
        assert info.description
        assert parse_ucd(info.meta['ucd'], check_controlled_vocabulary=True)


def test_pictures_and_unknown_bands_are_refused(galaxies):
    with pytest.raises(ValueError, match='linear in flux'):
        measure(galaxies.replace(kind='picture'))
    with pytest.raises(ValueError, match='z'):
        measure(galaxies, band='z')


@pytest.mark.parametrize(
    ('rotation', 'parity', 'expected'),
    [
        # The major axis is 0.6 rad = 34.4 deg from x towards y.
        (0, 1, 124.4),
        (30, 1, 154.4),
        (-100, 1, 24.4),
        (0, -1, 55.6),
        (30, -1, 85.6),
        (200, -1, 75.6),
    ],
)
def test_orientation_is_a_position_angle(galaxies, rotation, parity, expected):
    measures = measure(galaxies[[1]].replace(rotation=rotation * u.deg, parity=parity))
    assert float(measures['orientation'][0].to_value(u.deg)) == pytest.approx(expected, abs=3)
    assert measures['orientation'].info.meta['ucd'] == 'pos.posAng'
    assert measures['orientation_image'].info.meta['ucd'] != 'pos.posAng'


def test_orientation_is_masked_where_it_is_not_known(galaxies, measures):
    assert measures['orientation'].mask.all()
    some = measure(galaxies.replace(rotation=[0, 0, 0] * u.deg, parity=[0, 1, 1]))
    assert some['orientation'].mask.tolist() == [True, False, True]
    assert some['orientation_image'].mask.tolist() == [False, False, True]


# Position angle, north through east, of a galaxy on the sky.
ANGLE = 30


@pytest.fixture(scope='module')
def frame(tmp_path_factory):
    """Write an image of a galaxy in a frame that is turned, and mirrored or not."""

    def write(rotation, *, is_mirrored=False):
        # To the east and to the north, for a pixel along x and along y.
        sine, cosine = np.sin(np.radians(rotation)), np.cos(np.radians(rotation))
        axes = np.array([[-cosine, sine], [sine, cosine]]) * [-1 if is_mirrored else 1, 1]
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
        wcs.wcs.crval, wcs.wcs.crpix = (150, 2), (100.5, 100.5)
        wcs.wcs.cd = 0.4 / 3600 * axes
        center = SkyCoord(150, 2, unit='deg')
        tip = center.directional_offset_by(ANGLE * u.deg, 10 * u.arcsec)
        x, y = np.subtract(wcs.world_to_pixel(tip), wcs.world_to_pixel(center))
        galaxy = gaussian(200, sigma=6, axis_ratio=0.4, angle=np.arctan2(y, x))
        galaxy += np.random.default_rng(0).normal(scale=NOISE, size=galaxy.shape)
        path = tmp_path_factory.mktemp('frames') / 'frame.fits'
        fits.PrimaryHDU(galaxy.astype(np.float32), wcs.to_header()).writeto(path)
        return path

    return write


@pytest.mark.parametrize('rotation', [0, 33, 190])
@pytest.mark.parametrize('is_mirrored', [False, True])
@pytest.mark.parametrize('pixel_scale', [None, 0.4 * u.arcsec])
def test_position_angle_in_any_frame(frame, rotation, is_mirrored, pixel_scale):
    path = frame(rotation, is_mirrored=is_mirrored)
    mosaics = Mosaics(path, bands=['r'], pixel_scale=pixel_scale)
    measures = measure(mosaics.fetch(SkyCoord([150], [2], unit='deg'), size=SIZE))
    assert float(measures['orientation'][0].to_value(u.deg)) == pytest.approx(ANGLE, abs=1)


def test_position_angles_from_a_service_are_those_of_the_sky():
    survey = SimulatedSurvey(n_galaxies=6, kinds=['edge_on'], bands='r', crowding=0)
    with serve(survey) as server, conf.set_temp('requests_per_second', 1000.0):
        url = f'{server.url}/hips-image-services/hips2fits'
        source = Hips2Fits('sdss-dr9', bands='r', server=url, cache=False)
        measures = measure(source.fetch(survey.catalogue, size=SIZE))
    difference = measures['orientation'] - survey.catalogue['position_angle']
    off = np.abs((difference.to_value(u.deg) + 90) % 180 - 90)
    assert np.median(off) < 3


def test_inputs_stay_as_they_are(galaxies, measures):
    images, status, table = galaxies.images.copy(), galaxies.status.copy(), measures.copy()
    measure(galaxies)
    stack([measures, measures])
    np.testing.assert_array_equal(galaxies.images, images)
    np.testing.assert_array_equal(galaxies.status, status)
    assert (measures['segment_flux'][:2] == table['segment_flux'][:2]).all()


@pytest.mark.parametrize('status', ['not_found', 'ok'])
def test_batches_stack_in_known_units(galaxies, status):
    known = measure(galaxies.replace(zero_point=22.5))
    unknown = measure(galaxies.replace(pixel_scale=None, status=[status] * 3))
    for tables in ([unknown, known], [known, unknown]):
        stacked = stack(tables)
        assert len(stacked) == 6
        for name, unit in {'kron_radius': u.arcsec, 'segment_flux': u.uJy}.items():
            assert stacked[name].unit == unit
            assert stacked[name].info.description == known[name].info.description
            assert stacked[name].mask.sum() == 4
        assert stacked['gini'].mask.sum() == (4 if status == 'not_found' else 2)


def test_batches_without_known_units_keep_those_of_the_images(galaxies):
    unknown = galaxies.replace(pixel_scale=None)
    nothing = galaxies.replace(zero_point=22.5, status=['not_found'] * 3)
    stacked = stack([measure(nothing), measure(unknown)])
    assert stacked['kron_radius'].unit == u.pix
    assert stacked['segment_flux'].unit is None
    assert stacked['segment_flux'].mask.sum() == 4


@pytest.mark.parametrize('table_class', [Table, QTable])
@pytest.mark.parametrize('ending', ['fits', 'ecsv', 'vot'])
def test_measures_stand_beside_predictions_and_in_files(galaxies, table_class, ending, tmp_path):
    measures = measure(galaxies.replace(zero_point=22.5, rotation=0 * u.deg, parity=1))
    annotated = write_predictions(
        table_class({'id': [1, 2, 3]}),
        classes=['E', 'S'],
        probabilities=np.full((3, 2), 0.5),
        status=['ok'] * 3,
        flags=[0] * 3,
        provenance={},
        measures=measures,
    )
    assert type(annotated) is table_class
    assert annotated.colnames[-1] == 'morph_measure_status'
    write_table(annotated, tmp_path / f'annotated.{ending}')
    again = read_table(tmp_path / f'annotated.{ending}')
    units = {
        'kron_radius': u.arcsec,
        'segment_flux': u.uJy,
        'segment_mag': u.mag,
        'orientation': u.deg,
    }
    for name, unit in units.items():
        column = again[f'morph_{name}']
        assert column.unit == unit
        assert column.mask.tolist() == [False, False, True]
        np.testing.assert_allclose(column[:2], measures[name][:2].value)
        assert column.description == measures[name].info.description


def test_annotate_adds_measures(classifier, blobs):
    annotated = classifier.annotate(blobs, measures=True)
    expected = measure(blobs)
    np.testing.assert_array_equal(annotated['morph_gini'], expected['gini'])
    assert annotated['morph_kron_radius'].unit == u.arcsec
    assert annotated.colnames[:2] == blobs.table.colnames
    without = classifier.annotate(blobs)
    assert without.colnames == [n for n in annotated.colnames if n in without.colnames]
    assert 'morph_gini' not in without.colnames
    with pytest.raises(ValueError, match='morph_gini'):
        classifier.annotate(Table(annotated['id', 'morph_gini']), measures=True)


def test_measures_are_those_of_statmorph():
    statmorph = pytest.importorskip('statmorph')
    survey = SimulatedSurvey(n_galaxies=5, bands='r')
    cutouts = survey.fetch(survey.catalogue, size=SIZE)
    sky = measure_sky(cutouts.images)
    segments, is_core, _ = segment_sources(cutouts.images - sky.level, sky.noise, saddle=0)
    # statmorph counts hidden pixels as dark ones.
    images = np.where(segments[:, np.newaxis] > 1, 0, cutouts.images - sky.level).astype(float)
    ours = measure(cutouts.replace(images=images))
    tolerances = {'gini': 0.003, 'm20': 0.01, 'concentration': 0.01, 'asymmetry': 0.02}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        theirs = [
            statmorph.SourceMorphology(
                image[0],
                is_galaxy.astype(int),
                1,
                weightmap=np.full(image[0].shape, noise[0]),
                n_sigma_outlier=0,
            )
            for image, is_galaxy, noise in zip(images, is_core, sky.noise, strict=True)
        ]
    for name, tolerance in tolerances.items():
        difference = ours[name].filled(np.nan) - [getattr(source, name) for source in theirs]
        # Noise decides which radius is the first: a single galaxy may differ more.
        assert np.nanmedian(np.abs(difference)) < tolerance
