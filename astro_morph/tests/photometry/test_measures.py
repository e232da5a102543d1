# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Measures of the galaxies of a catalogue, and as columns of an annotated one."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.io.votable.ucd import parse_ucd
from astropy.table import QTable, Table
from scipy.optimize import brentq

from astro_morph import CutoutSet, decode_flags
from astro_morph.catalog import write_predictions
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.photometry import measure
from astro_morph.photometry.measures import stack
from astro_morph.photometry.segmentation import segment
from astro_morph.photometry.sky import measure_sky
from astro_morph.simulation import SimulatedSurvey
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
    assert float(measures['orientation'][1].to_value('rad')) == pytest.approx(0.6, abs=0.05)
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
    alone = measure(galaxies[[0]])
    many = measure(galaxies[np.zeros(70, int)])
    for name in alone.colnames:
        np.testing.assert_array_equal(many[name], np.repeat(alone[name], 70))


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


def test_inputs_stay_as_they_are(galaxies, measures):
    images, status, table = galaxies.images.copy(), galaxies.status.copy(), measures.copy()
    measure(galaxies)
    stack([measures, measures])
    np.testing.assert_array_equal(galaxies.images, images)
    np.testing.assert_array_equal(galaxies.status, status)
    assert (measures['segment_flux'][:2] == table['segment_flux'][:2]).all()


def test_batches_stack_whatever_the_unit_of_one_without_images(galaxies, measures):
    nothing = measure(galaxies.replace(pixel_scale=None, status=['not_found'] * 3))
    for tables in ([nothing, measures], [measures, nothing]):
        stacked = stack(tables)
        assert stacked['kron_radius'].unit == u.arcsec
        assert stacked['kron_radius'].mask.sum() == 4
        assert len(stacked) == 6


@pytest.mark.parametrize('table_class', [Table, QTable])
@pytest.mark.parametrize('ending', ['fits', 'ecsv', 'vot'])
def test_measures_stand_beside_predictions_and_in_files(measures, table_class, ending, tmp_path):
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
    column = again['morph_kron_radius']
    assert column.unit == u.arcsec
    assert column.mask.tolist() == [False, False, True]
    np.testing.assert_allclose(column[:2], measures['kron_radius'][:2].value)
    assert column.description == measures['kron_radius'].info.description


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
    segments = segment(cutouts.images - sky.level, sky.noise)
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
            for image, is_galaxy, noise in zip(images, segments == 1, sky.noise, strict=True)
        ]
    for name, tolerance in tolerances.items():
        difference = ours[name].filled(np.nan) - [getattr(source, name) for source in theirs]
        # Noise decides which radius is the first: a single galaxy may differ more.
        assert np.nanmedian(np.abs(difference)) < tolerance
