# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What samples can be: each sort becomes cutouts, in order, and nothing else passes."""

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astro_morph import CutoutSet, conf
from astro_morph.cutouts import (
    ImageFiles,
    Mosaics,
    as_cutouts,
    as_source,
    catalogue_of,
    holds_images,
    stream_cutouts,
)
from astro_morph.simulation import SimulatedSurvey


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
    with pytest.raises(
        TypeError, match='must be a Table, a SkyCoord or a pandas DataFrame, got str'
    ):
        as_cutouts('catalogue.fits')


def test_catalogue_behind_the_samples(catalogue):
    assert catalogue_of(catalogue) is catalogue
    assert catalogue_of(IMAGES) is None
    assert catalogue_of(CutoutSet(IMAGES)) is None
    rows = Table({'id': range(5)})
    assert catalogue_of(CutoutSet(IMAGES, table=rows)) is rows
    assert catalogue_of(SkyCoord([1, 2], [3, 4], unit='deg')).colnames == ['coord']


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

    def test_nothing_to_take_images_from(self, catalogue):
        with pytest.raises(ValueError, match=r"neither image paths .*'ra'.*pass source="):
            as_source('auto', catalogue)
        with pytest.raises(ValueError, match=r"got 'nowhere/\*.fits', which matches no file"):
            as_source('nowhere/*.fits', catalogue)
