# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of flux drawn as colour pictures, also for models of pictures."""

import dataclasses

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable

from astro_morph import CutoutSet, MorphologyClassifier, OnnxClassifier
from astro_morph.cutouts import Hips2Fits, Mosaics, SdssFrames, as_cutouts, as_pictures
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.models.spec import ModelSpec
from astro_morph.prediction.predict import predict, request
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.tests.helpers import gaussian, make_blobs

FRAMING = '3.28 * petroR90_r'

# Fluxes in g, r and i that are drawn in grey: the scales of the bands the other way round.
GREY = np.array([1 / 1.45, 1, 1 / 0.86]).reshape(3, 1, 1)


def flux_of(images, **options):
    options = {'bands': 'gri', 'pixel_scale': 0.396 * u.arcsec, 'zero_point': 22.5} | options
    return CutoutSet(images, **options)


def blob(brightness, colour=GREY):
    return brightness * colour * gaussian(64, sigma=6)


def draw(images, **options):
    return as_pictures(flux_of(images, **options)).images


class TestLook:
    def test_grey_stays_grey_and_grows_with_brightness(self):
        pictures = draw(np.stack([blob(flux) for flux in (0.1, 1, 10)]))
        core = pictures[:, :, 30:34, 30:34]
        assert np.ptp(core, axis=1).max() < 6
        brightness = core.mean(axis=(1, 2, 3))
        # The logarithm of what is bright: from each to the next a factor of ten.
        assert 15 < brightness[0] < 80 < brightness[1] < 150 < brightness[2] < 255
        # The sky is dark, and not black.
        assert 1 < np.median(pictures[:, :, :8, :8]) < 12

    def test_what_is_too_bright_keeps_its_colour(self):
        red = np.array([0.3, 1, 2]).reshape(3, 1, 1)
        middle = draw(np.stack([blob(flux, red) for flux in (10, 1000)]))[:, :, 31, 31]
        assert middle[1, 0] > 250
        np.testing.assert_allclose(middle[0] / middle[0, 0], middle[1] / middle[1, 0], atol=0.06)

    def test_red_is_i_green_is_r_and_blue_is_g(self):
        images = np.zeros((3, 3, 64, 64))
        for i in range(3):
            images[i, i] = gaussian(64, sigma=6)
        colours = draw(images)[:, :, 31, 31]
        assert np.argmax(colours, axis=1).tolist() == [2, 1, 0]
        flux = flux_of(images[:, ::-1], bands='irg')
        np.testing.assert_array_equal(as_pictures(flux).images[:, :, 31, 31], colours)

    def test_z_is_drawn_in_red_where_there_is_no_i(self):
        images = np.stack([blob(1.0)])
        as_in_i = draw(images)
        images[:, 2] *= 1.35
        np.testing.assert_allclose(draw(images, bands='grz'), as_in_i, atol=6)

    def test_the_same_sky_looks_alike_in_other_units_and_pixels(self):
        images = np.stack([blob(1.0), blob(3.0)])
        expected = draw(images)
        counts = images * 10 ** (0.4 * (np.reshape([25, 26, 27], (3, 1, 1)) - 22.5))
        found = draw(counts, zero_point=[25, 26, 27])
        np.testing.assert_allclose(found, expected, atol=6)
        factor = np.array([0.5, 2])
        in_pixels = images * np.reshape(factor, (-1, 1, 1, 1)) ** 2
        found = draw(in_pixels, pixel_scale=0.396 * factor * u.arcsec)
        np.testing.assert_allclose(found, expected, atol=6)

    def test_noise_of_the_sky_has_little_colour(self):
        noise = np.random.default_rng(0).normal(size=(8, 3, 64, 64))
        pictures = draw(noise * np.reshape([0.017, 0.027, 0.042], (3, 1, 1)))
        values = pictures.transpose(1, 0, 2, 3).reshape(3, -1)
        assert np.corrcoef(values)[np.triu_indices(3, 1)].min() > 0.7
        assert 2 < values.std() < 7


class TestRows:
    def test_rows_and_what_is_known_of_them_stay(self):
        table = QTable({'petroR90_r': [5, 6, 7] * u.arcsec})
        flux = flux_of(
            np.stack([blob(1.0)] * 3),
            pixel_scale=[0.3, 0.4, np.nan] * u.arcsec,
            framing=FRAMING,
            status=['ok', 'ok', 'no_size'],
            flags=[0, 4, 0],
            table=table,
        )
        pictures = as_pictures(flux)
        assert (pictures.kind, pictures.bands) == ('picture', PICTURE_BANDS)
        assert pictures.framing == FRAMING
        assert pictures.status.tolist() == ['ok', 'ok', 'no_size']
        assert pictures.flags.tolist() == [0, 4, 0]
        assert pictures.table is table
        assert np.isnan(pictures.images[2]).all()
        assert np.isfinite(pictures.images[:2]).all()

    def test_missing_pixels_are_missing(self):
        images = np.stack([blob(1.0)] * 2)
        images[0, 1, :, 50:] = np.nan
        images[1, 0] = np.nan
        pictures = as_pictures(flux_of(images))
        assert np.isnan(pictures.images[0, :, :, 50:]).all()
        assert np.isfinite(pictures.images[0, :, :, :50]).all()
        # Without one of the bands there is no colour.
        assert pictures.status.tolist() == ['ok', 'all_nan']

    def test_pictures_stay_as_they_are(self):
        pictures = CutoutSet(np.zeros((1, 3, 8, 8), np.uint8), kind='picture')
        assert as_pictures(pictures) is pictures

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'bands': 'ugr'}, r'bands must hold g, r and i, or z for i, .*fetch these bands'),
            ({'pixel_scale': None}, r'pixel_scale .* not known.*replace\(pixel_scale'),
            ({'zero_point': None}, r'zero_point .* not known.*zero_point=22\.5'),
            ({'zero_point': [22.5, np.nan, 22.5]}, 'zero_point .* not known'),
        ],
    )
    def test_what_is_needed_is_said(self, options, message):
        with pytest.raises(ValueError, match=message):
            as_pictures(flux_of(np.zeros((1, 3, 8, 8)), **options))


class TestZeroPoints:
    def test_one_or_one_a_band(self):
        cutouts = flux_of(np.zeros((2, 3, 8, 8)))
        assert cutouts.zero_point.tolist() == [22.5] * 3
        cutouts = cutouts.replace(zero_point=[24, 25, 26])
        assert cutouts[:1].select_bands('ig').zero_point.tolist() == [26, 24]
        with pytest.raises(ValueError, match=r'zero_point has the shape \(2,\), expected'):
            cutouts.replace(zero_point=[1, 2])

    def test_it_is_kept_in_files(self, tmp_path):
        cutouts = flux_of(np.zeros((2, 3, 8, 8)), zero_point=[24, 25, np.nan])
        cutouts.write(tmp_path / 'a.h5')
        again = CutoutSet.read(tmp_path / 'a.h5')
        np.testing.assert_array_equal(again.zero_point, cutouts.zero_point)

    def test_mosaics_of_nanomaggies_tell(self, tmp_path):
        sky = SimulatedSurvey(n_galaxies=2, random_state=0)
        paths = sky.write(tmp_path)
        pattern = tmp_path / 'sdss-{band}.fits'
        assert Mosaics(pattern).fetch(sky.catalogue).zero_point.tolist() == [22.5] * 3
        fits.delval(paths[1], 'BUNIT')
        found = Mosaics(pattern).fetch(sky.catalogue).zero_point
        np.testing.assert_array_equal(found, [22.5, np.nan, 22.5])
        given = Mosaics(pattern, zero_point=30).fetch(sky.catalogue)
        assert given.zero_point.tolist() == [30] * 3

    def test_services_know_it_of_their_surveys(self):
        nowhere = SkyCoord([], [], unit='deg')
        for source, expected in (
            (Hips2Fits('legacy-dr10', bands='rg', cache=False), [22.5, 22.5]),
            (SdssFrames(bands='gri', cache=False), [22.5] * 3),
        ):
            assert source.fetch(nowhere).zero_point.tolist() == expected
        assert Hips2Fits('panstarrs-dr1', bands='g', cache=False).fetch(nowhere).zero_point is None
        assert Hips2Fits('sdss-dr9', bands='rgb', cache=False).fetch(nowhere).zero_point is None


@pytest.fixture(scope='module')
def classifier():
    """A classifier trained on drawn pictures of known framing."""
    blobs = make_blobs(40, size=64, bands='gri')
    pictures = as_pictures(blobs.replace(zero_point=22.5))
    pictures = pictures.replace(framing=FRAMING, pixel_scale=None)
    return MorphologyClassifier(
        encoder='random', strategy='linear', device='cpu', random_state=0, verbose=0
    ).fit(pictures)


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey(n_galaxies=6, kinds=['round', 'edge_on'], random_state=0)


class TestModels:
    def test_the_model_asks_for_pictures_of_its_framing(self, classifier):
        spec = ModelSpec.from_json(classifier.model_.spec.to_json())
        assert (spec.kind, spec.bands, spec.framing) == ('picture', PICTURE_BANDS, FRAMING)
        assert request(spec, 'sdss-dr9') == {
            'source': 'sdss-dr9',
            'size': (64, FRAMING),
            'bands': PICTURE_BANDS,
        }

    def test_flux_is_drawn_as_the_model_knows_galaxies(self, classifier, sky, tmp_path):
        sky.write(tmp_path)
        mosaics = Mosaics(tmp_path / 'sdss-{band}.fits')
        flux = mosaics.fetch(sky.catalogue, size=(64, FRAMING))
        expected = classifier.predict_proba(as_pictures(flux))
        for source in (sky, mosaics):
            classifier.set_params(source=source)
            np.testing.assert_allclose(classifier.predict_proba(sky.catalogue), expected, atol=0.05)
        np.testing.assert_allclose(classifier.predict_proba(flux), expected, atol=1e-6)
        annotated = classifier.annotate(sky.catalogue)
        assert set(annotated['morph_status']) == {'ok'}

    def test_without_pytorch_too(self, classifier, sky, tmp_path):
        classifier.to_onnx(tmp_path / 'model.onnx')
        written = OnnxClassifier(tmp_path / 'model.onnx', sky)
        expected = classifier.set_params(source=sky).predict_proba(sky.catalogue)
        np.testing.assert_allclose(written.predict_proba(sky.catalogue), expected, atol=1e-4)

    def test_services_are_asked_for_colour_pictures_of_the_framing(self, classifier, sky):
        with serve(sky) as server:
            address = f'{server.url}/hips-image-services/hips2fits'
            source = Hips2Fits('sdss-dr9', bands='rgb', server=address, cache=False)
            annotated = classifier.set_params(source=source).annotate(sky.catalogue)
            requests = server.requests
        assert set(annotated['morph_status']) == {'ok'}
        assert {r.params['hips'] for r in requests} == {'CDS/P/SDSS9/color'}
        # A pixel more than the 64, as the service counts them.
        fields = sorted(float(r.params['fov']) * 3600 * 64 / 65 for r in requests)
        radii = np.sort(sky.catalogue['petroR90_r'].to_value('arcsec'))
        np.testing.assert_allclose(fields, 3.28 * radii, rtol=1e-3)

    def test_training_on_flux_as_pictures(self, sky):
        cutouts = as_cutouts(sky.catalogue, source=sky, size=(32, FRAMING), bands='rgb')
        assert (cutouts.kind, cutouts.bands, cutouts.framing) == ('picture', PICTURE_BANDS, FRAMING)

    def test_an_array_of_flux_is_refused_with_a_remedy(self, classifier):
        with pytest.raises(ValueError, match='a CutoutSet of flux in g, r and i with'):
            classifier.predict(np.zeros((1, 3, 64, 64)))

    def test_rows_without_image_stay(self, classifier, sky):
        table = sky.catalogue.copy()
        table['ra'][1] += 90 * getattr(table['ra'], 'unit', 1)
        annotated = classifier.set_params(source=sky).annotate(table)
        assert annotated['morph_status'][1] == 'no_coverage'
        assert annotated['morph_class'].mask.tolist() == [False, True] + [False] * 4

    def test_models_of_other_pictures_see_them_by_their_bands_only(self, sky):
        spec = ModelSpec(classes=('a',), bands=('g', 'r'), size=8, kind='picture')
        flux = sky.fetch(sky.catalogue, size=8)
        with pytest.raises(ValueError, match='X holds images linear in flux'):
            predict(dataclasses.make_dataclass('Model', ['spec'])(spec), flux)
