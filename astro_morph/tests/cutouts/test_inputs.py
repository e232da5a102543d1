# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of inputs: tables, positions, arrays and names become cutouts; others are refused."""

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astro_morph import CutoutSet, MorphologyClassifier, conf, surveys
from astro_morph.cutouts import (
    Hips2Fits,
    ImageFiles,
    Mosaics,
    as_cutouts,
    as_source,
    catalog_of,
    holds_images,
    stream_cutouts,
)
from astro_morph.simulation import SimulatedSurvey, serve


@pytest.fixture(scope='module')
def survey():
    return SimulatedSurvey(n_galaxies=6, kinds=['round'], random_state=0)


@pytest.fixture(scope='module')
def catalogue(survey):
    return survey.catalogue


IMAGES = np.random.default_rng(0).normal(size=(5, 2, 8, 8))


@pytest.mark.parametrize(
    ('X', 'expected'),
    [
        (CutoutSet(IMAGES), True),
        (IMAGES, True),
        (IMAGES[:, 0], True),  # refused later, as images of the wrong shape
        (Table({'a': [1]}), True),
        (SkyCoord([1], [2], unit='deg'), True),
        (pd.DataFrame({'ra': [1.0], 'dec': [2.0]}), True),
        (pd.DataFrame({'path': ['a.fits']}), True),
        (pd.DataFrame({'colour': [1.0], 'size': [2.0]}), False),
        (pd.DataFrame(np.eye(2)), False),
        (np.eye(3), False),
        ([[1, 2], [3, 4]], False),
    ],
)
def test_images_are_told_from_features(X, expected):
    assert holds_images(X) is expected


def test_positions_in_any_dress_give_the_same_cutouts(survey, catalogue):
    coords = SkyCoord(catalogue['ra'], catalogue['dec'])
    expected = survey.fetch(catalogue, size=16).images
    frame = pd.DataFrame({'ra': coords.ra.deg, 'dec': coords.dec.deg})
    for X in (catalogue, coords, Table({'where': coords}), QTable({'where': coords}), frame):
        cutouts = as_cutouts(X, source=survey, size=16)
        np.testing.assert_allclose(cutouts.images, expected, err_msg=type(X).__name__)
        batches = list(stream_cutouts(X, source=survey, size=16, batch_size=4))
        assert [len(batch) for batch in batches] == [4, 2]
        np.testing.assert_array_equal(np.concatenate([b.images for b in batches]), cutouts.images)


def test_cutouts_and_arrays_are_taken_as_they_are():
    cutouts = CutoutSet(IMAGES, bands='gr')
    assert as_cutouts(cutouts) is cutouts
    np.testing.assert_array_equal(as_cutouts(IMAGES).images, IMAGES.astype(np.float32))
    for X in (cutouts, IMAGES):
        batches = list(stream_cutouts(X, batch_size=2))
        assert [len(batch) for batch in batches] == [2, 2, 1]
        images = np.concatenate([batch.images for batch in batches])
        np.testing.assert_array_equal(images, cutouts.images)


def test_bytes_are_a_picture_and_numbers_flux():
    assert as_cutouts(IMAGES).kind == 'flux'
    assert as_cutouts(np.zeros((1, 3, 8, 8), np.uint8)).kind == 'picture'


def test_file_mapped_into_memory_is_not_read(tmp_path):
    np.save(tmp_path / 'pictures.npy', np.zeros((4, 3, 8, 8), np.uint8))
    pictures = np.load(tmp_path / 'pictures.npy', mmap_mode='r')
    assert np.shares_memory(as_cutouts(pictures).images, pictures)


def test_array_without_a_pixel_is_a_status():
    images = IMAGES.copy()
    images[1] = np.nan
    images[2, 0] = np.nan
    assert as_cutouts(images).status.tolist() == ['ok', 'all_nan', 'ok', 'ok', 'ok']


def test_bands_name_those_of_an_array_and_select_those_of_cutouts(survey, catalogue):
    assert as_cutouts(IMAGES, bands='gr').bands == ('g', 'r')
    assert as_cutouts(CutoutSet(IMAGES, bands='gr'), bands=['r']).bands == ('r',)
    cutouts = as_cutouts(catalogue, source=survey, size=8, bands=['i', 'g'])
    expected = survey.fetch(catalogue, size=8).images[:, [2, 0]]
    np.testing.assert_array_equal(cutouts.images, expected)
    streamed = next(stream_cutouts(catalogue, source=survey, size=8, bands=['i', 'g']))
    np.testing.assert_array_equal(streamed.images, expected)


@pytest.mark.filterwarnings('ignore:X. none of')
def test_rows_that_all_failed_have_the_bands_asked_for():
    table = Table({'path': ['nowhere.fits', 'also-nowhere.fits']})
    for cutouts in (
        as_cutouts(table, size=8, bands=['g', 'r']),
        *stream_cutouts(table, size=8, bands=['g', 'r']),
    ):
        assert cutouts.shape == (2, 2, 8, 8)
        assert cutouts.bands == ('g', 'r')
        assert cutouts.status.tolist() == ['not_found', 'not_found']


@pytest.mark.parametrize(
    ('X', 'bands', 'message'),
    [
        (IMAGES[0], None, r'axes \(n, band, y, x\), got .* \(2, 8, 8\).*axis of length 1'),
        (IMAGES, 'griz', 'X has 2 bands, expected 4'),
        (CutoutSet(IMAGES, bands='gr'), ['z'], r"\['z'\] are not among .*\['g', 'r'\]"),
    ],
)
def test_wrong_shape_or_bands_are_refused(X, bands, message):
    with pytest.raises(ValueError, match=message):
        as_cutouts(X, bands=bands)


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match=r'must be a Table, a SkyCoord, a data frame.* got str'):
        as_cutouts('catalogue.fits')


def test_catalogue_behind_the_samples(catalogue):
    assert catalog_of(catalogue) is catalogue
    assert catalog_of(IMAGES) is None
    assert catalog_of(CutoutSet(IMAGES)) is None
    rows = Table({'id': range(5)})
    assert catalog_of(CutoutSet(IMAGES, table=rows)) is rows
    assert catalog_of(SkyCoord([1, 2], [3, 4], unit='deg')).colnames == ['coord']


class TestSource:
    def test_source_is_taken_as_it_is(self, survey, catalogue):
        assert as_source(survey, catalogue) is survey

    def test_column_of_paths_comes_first(self):
        assert isinstance(as_source('auto', Table({'image_path': ['a.fits']})), ImageFiles)

    def test_pattern_is_of_mosaics(self, survey, catalogue, tmp_path):
        survey.write(tmp_path)
        pattern = str(tmp_path / '*.fits')
        assert isinstance(as_source(pattern, catalogue), Mosaics)
        with conf.set_temp('survey', pattern):
            assert isinstance(as_source('auto', catalogue), Mosaics)

    @pytest.mark.parametrize('name', ['legacy-dr10', 'LEGACY', surveys.get('legacy')])
    def test_survey_is_asked_of_its_service(self, catalogue, name):
        source = as_source(name, catalogue)
        assert isinstance(source, Hips2Fits)
        assert source.survey is surveys.get('legacy-dr10')
        assert source.bands == ('g', 'r', 'i', 'z')
        assert as_source(name, catalogue, bands='zg').bands == ('z', 'g')

    @pytest.mark.parametrize('bands', ['rgb', ('red', 'green', 'blue'), ['red', 'green', 'blue']])
    def test_colour_pictures_are_asked_for_by_their_bands(self, catalogue, bands):
        source = as_source('sdss-dr9', catalogue, bands=bands)
        assert (source.kind, source.bands) == ('picture', ('red', 'green', 'blue'))

    @pytest.mark.parametrize(
        ('name', 'of_flux', 'of_pictures'),
        [
            ('sdss', 'Hips2Fits', 'Hips2Fits'),
            ('allwise', 'SiaImages', 'Hips2Fits'),
            ('panstarrs', 'PanStarrsCutouts', 'Hips2Fits'),
            ('euclid', 'EuclidMosaics', 'EuclidMosaics'),
        ],
    )
    def test_pictures_are_those_of_cds_where_the_archive_has_none(
        self, catalogue, name, of_flux, of_pictures
    ):
        assert type(as_source(name, catalogue)).__name__ == of_flux
        assert type(as_source(name, catalogue, bands='rgb')).__name__ == of_pictures

    @pytest.mark.parametrize(
        ('name', 'service'),
        [
            ('legacy-dr10', 'LegacyCutouts'),
            ('legacy-dr9', 'LegacyCutouts'),
            ('panstarrs', 'PanStarrsCutouts'),
            ('jwst', 'DjaCutouts'),
            ('euclid', 'EuclidMosaics'),
        ],
    )
    def test_planes_come_from_a_service_that_has_them(self, catalogue, name, service):
        source = as_source(name, catalogue, planes=True)
        assert type(source).__name__ == service
        assert source.planes

    @pytest.mark.parametrize('name', ['sdss', 'allwise', 'candels'])
    def test_survey_without_planes_says_so(self, catalogue, name):
        with pytest.raises(ValueError, match='has neither variance nor mask'):
            as_source(name, catalogue, planes=True)

    def test_pictures_have_no_planes(self, catalogue):
        with pytest.raises(ValueError, match='pictures have neither variance nor mask'):
            as_source('legacy-dr10', catalogue, bands='rgb', planes=True)

    def test_survey_without_pictures_says_so(self, catalogue):
        with pytest.raises(ValueError, match=r"bands='rgb': WfauImages has no colour pictures"):
            as_source('vhs', catalogue, bands='rgb')

    def test_survey_of_the_settings(self, catalogue):
        with conf.set_temp('survey', 'sdss-dr9'):
            assert as_source('auto', catalogue).survey.name == 'sdss-dr9'
            assert isinstance(as_source('auto', Table({'image_path': ['a.fits']})), ImageFiles)

    def test_name_of_a_survey_goes_before_that_of_a_file(self, catalogue, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'sdss').mkdir()
        assert isinstance(as_source('sdss', catalogue), Hips2Fits)

    def test_nothing_to_take_images_from(self, catalogue):
        with pytest.raises(ValueError, match=r"neither image paths .*'ra'.*pass source="):
            as_source('auto', catalogue)
        with pytest.raises(
            ValueError, match=r"got 'nowhere/\*.fits', which matches no file.*'legacy-dr10'"
        ):
            as_source('nowhere/*.fits', catalogue)


class TestFraming:
    """Cutouts whose field of view follows a column."""

    SIZE = (32, '3 * petroR90_r')

    def test_simulated_sky_and_its_mosaics_agree(self, survey, catalogue, tmp_path):
        paths = survey.write(tmp_path)
        mosaics = Mosaics({'g': paths[0], 'r': paths[1], 'i': paths[2]})
        table = QTable(catalogue, copy=True)
        table['petroR90_r'][1] = np.nan
        cutouts = survey.fetch(table, size=self.SIZE)
        assert cutouts.status.tolist() == ['ok', 'no_size', 'ok', 'ok', 'ok', 'ok']
        assert cutouts.framing == '3 * petroR90_r'
        np.testing.assert_allclose(32 * cutouts.pixel_scale, 3 * table['petroR90_r'])
        from_files = mosaics.fetch(table, size=self.SIZE)
        np.testing.assert_allclose(from_files.images, cutouts.images, atol=1e-4)
        assert from_files.status.tolist() == cutouts.status.tolist()
        assert from_files.framing == cutouts.framing
        batches = list(mosaics.stream(table, size=self.SIZE, batch_size=4))
        np.testing.assert_allclose(
            np.concatenate([batch.images for batch in batches]), from_files.images, atol=1e-6
        )
        np.testing.assert_array_equal(batches[1].pixel_scale, cutouts.pixel_scale[4:])

    def test_galaxies_of_all_sizes_fill_the_frame_alike(self):
        survey = SimulatedSurvey(n_galaxies=16, kinds=['round'], bands=['r'], random_state=1)
        table = survey.catalogue
        assert table['petroR90_r'].max() > 2 * table['petroR90_r'].min()
        cutouts = survey.fetch(table, size='4 * petroR90_r')
        # By definition 90 % of the light lies within a quarter of the side; noise and neighbours
        # change it by some per cent.
        y, x = np.indices((64, 64)) - 31.5
        is_inside = np.hypot(x, y) < 16
        images = (
            cutouts.images[:, 0] - np.median(cutouts.images[:, 0, :8], axis=(1, 2))[:, None, None]
        )
        shares = images[:, is_inside].sum(axis=1) / images.sum(axis=(1, 2))
        assert np.abs(np.median(shares) - 0.9) < 0.1
        scale = (4 * table['petroR90_r'] / 64).to(u.arcsec)
        np.testing.assert_allclose(cutouts.pixel_scale, scale)

    def test_flux_is_kept(self):
        survey = SimulatedSurvey(n_galaxies=4, kinds=['round'], bands=['r'], random_state=1)
        table = survey.catalogue
        zoom = np.array([1.0, 0.7, 1.5, 1.0])
        table['field'] = 64 * survey.pixel_scale * zoom
        framed = survey.fetch(table, size='field').images[:, 0]
        plain = survey.fetch(table, size=64).images[:, 0]
        for image, expected, half in zip(framed, plain, (16 / zoom).astype(int), strict=True):
            middle = image[32 - half : 32 + half, 32 - half : 32 + half]
            assert middle.sum() == pytest.approx(expected[16:48, 16:48].sum(), rel=0.1)

    def test_images_that_are_ready_have_been_framed_already(self, tmp_path):
        np.save(tmp_path / 'a.npy', np.ones((3, 8, 8)))
        files = ImageFiles(folder=tmp_path)
        table = Table({'path': ['a.npy'], 'radius': [3.0]})
        assert files.fetch(table, size=(6, '2 * radius')).shape == (1, 3, 6, 6)
        with pytest.raises(ValueError, match='a number of pixels from 1 to 8'):
            files.fetch(table, size='2 * radius')


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey('legacy', n_galaxies=16, kinds=['round', 'edge_on'], random_state=3)


class TestSurveyByName:
    """A classifier with only the name of a survey."""

    @pytest.fixture
    def server(self, sky, tmp_path, monkeypatch):
        assert len(sky.catalogue) == 16  # rendered before a time-out counts
        with (
            serve(sky) as server,
            conf.set_temp('cache_file', str(tmp_path / 'cutouts.sqlite')),
            conf.set_temp('requests_per_second', 1000),
        ):
            address = f'{server.url}/hips-image-services/hips2fits'
            monkeypatch.setattr('astro_morph.cutouts.services.hips2fits.SERVERS', (address,))
            yield server

    OPTIONS = {'encoder': 'random', 'strategy': 'linear', 'random_state': 0, 'verbose': 0}

    def test_flux_of_each_galaxy_is_fetched_once(self, sky, server):
        classifier = MorphologyClassifier(
            'legacy-dr10', bands='grz', size=(32, '3 * petroR90_r'), **self.OPTIONS
        )
        classifier.fit(sky.catalogue)
        spec = classifier.model_.spec
        assert (spec.kind, spec.bands, spec.size) == ('flux', ('g', 'r', 'z'), 32)
        assert (spec.framing, spec.pixel_scale) == ('3 * petroR90_r', None)
        n_requests = len(server.requests)
        assert {r.params['hips'][-3:] for r in server.requests} == {'0/g', '0/r', '0/z'}
        annotated = classifier.annotate(sky.catalogue)
        assert set(annotated['morph_status']) == {'ok'}
        assert len(server.requests) == n_requests

    def test_pictures_by_name_and_by_the_settings(self, sky, server):
        with conf.set_temp('survey', 'legacy-dr10'):
            classifier = MorphologyClassifier(bands='rgb', size=32, **self.OPTIONS)
            classifier.fit(sky.catalogue)
            spec = classifier.model_.spec
            assert (spec.kind, spec.bands) == ('picture', ('red', 'green', 'blue'))
            assert spec.pixel_scale == 0.262
            assert len(classifier.predict(sky.catalogue)) == 16
        assert {r.params['hips'] for r in server.requests} == {
            'CDS/P/DESI-Legacy-Surveys/DR10/color'
        }
        # The same positions as flux are drawn as pictures, if their bands allow it.
        flux = as_cutouts(sky.catalogue, source='legacy-dr10', bands='grz', size=32)
        assert len(classifier.predict(flux)) == 16
        with pytest.raises(ValueError, match=r"flux to be drawn as 'rgb' .* got \['g', 'z'\]"):
            classifier.predict(flux.select_bands('gz'))
