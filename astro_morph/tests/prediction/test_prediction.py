# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The predictor, with a model of three lines in PyTorch's place."""

import dataclasses

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import CutoutSet
from astro_morph.catalog.flags import BITS
from astro_morph.cutouts import CutoutSource
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.cutouts.sizes import framing_of, grid_of
from astro_morph.estimators.predictor import ClassPredictor
from astro_morph.models.building import build_spec
from astro_morph.models.calibration import conformity_scores
from astro_morph.models.running import BATCH_SIZE, run_batches
from astro_morph.models.spec import ModelSpec
from astro_morph.photometry import Preprocessor
from astro_morph.prediction.annotate import annotate
from astro_morph.prediction.predict import predict, prepare
from astro_morph.tests.helpers import gaussian

SPEC = ModelSpec(
    classes=('dim', 'bright'),
    bands=('g', 'r'),
    size=4,
    pixel_scale=0.4,
    identifier='0123456789ab',
    version='1.2.3',
)


class BrightnessModel:
    """Says how much brighter than zero an image is; counts what it is given."""

    n_features = 2

    def __init__(self, spec=SPEC):
        self.spec = spec
        self.sizes = []

    def run(self, samples):
        assert samples.dtype == np.float32
        self.sizes.append(len(samples))
        mean = samples.mean(axis=(2, 3))
        return np.stack([-mean[:, 0], mean[:, 0]], axis=1), mean, np.exp(-np.abs(mean[:, 0]))


def cutouts_of(brightness, **options):
    images = np.broadcast_to(np.reshape(brightness, (-1, 1, 1, 1)), (len(brightness), 2, 4, 4))
    return CutoutSet(images, **{'bands': 'gr', 'pixel_scale': 0.4 * u.arcsec} | options)


def proba_of(model, X, **options):
    predictions = predict(model, X, **options)
    return predictions.probabilities, predictions.status, predictions.all_flags


def predictor_of(model):
    """A classifier of three attributes."""
    predictor = ClassPredictor()
    predictor.model_, predictor.source, predictor.verbose = model, 'auto', 0
    predictor.classes_, predictor.size = np.array(model.spec.classes), None
    return predictor


class Bar:
    count = 0

    def update(self, n):
        self.count += n


class TestRunBatches:
    def test_order_is_kept_over_batches_and_rows_without_image_are_nan(self):
        n = 2 * BATCH_SIZE + 10
        brightness = np.random.default_rng(0).normal(size=n)
        status = np.where(np.arange(n) % 7 == 3, 'truncated', 'ok')
        model, bar = BrightnessModel(), Bar()
        cutouts = cutouts_of(brightness, status=status)
        logits, features, novelty = run_batches(model, cutouts, bar=bar)
        expected = np.where(status == 'ok', brightness, np.nan)
        np.testing.assert_allclose(logits, np.stack([-expected, expected], axis=1), rtol=1e-5)
        np.testing.assert_allclose(features, np.stack([expected] * 2, axis=1), rtol=1e-5)
        np.testing.assert_allclose(novelty, np.exp(-np.abs(expected)), rtol=1e-5)
        assert sum(model.sizes) == bar.count == np.sum(status == 'ok')
        assert max(model.sizes) <= BATCH_SIZE

    def test_without_any_image_all_is_nan(self):
        # Nothing was found, so that the size and the bands can't be those of the model.
        nothing = CutoutSet(np.full((3, 1, 1, 1), np.nan), status=['not_found'] * 3)
        outputs = run_batches(BrightnessModel(), nothing)
        assert [output.shape for output in outputs] == [(3, 2), (3, 2), (3,)]
        assert all(np.isnan(output).all() for output in outputs)


class TestCheck:
    @pytest.mark.parametrize(
        ('images', 'options', 'message'),
        [
            (
                np.zeros((2, 3, 4, 4)),
                {'bands': 'gri'},
                r"bands \('g', 'r', 'i'\), the model was trained on \('g', 'r'\)",
            ),
            (np.zeros((2, 2, 4, 4)), {'bands': 'rg'}, r"bands \('r', 'g'\)"),
            (np.zeros((2, 2, 6, 6)), {}, r'\(6, 6\), the model was trained on \(4, 4\)'),
            (np.zeros((2, 2, 4, 5)), {}, r'\(4, 5\), the model was trained on \(4, 4\)'),
            (
                np.zeros((2, 2, 4, 4)),
                {'kind': 'picture'},
                'pictures stretched for the eye, the model was trained on images linear in flux',
            ),
        ],
    )
    def test_other_images_are_refused(self, images, options, message):
        with pytest.raises(ValueError, match=f'X (has|holds) .*{message}'):
            prepare(SPEC, CutoutSet(images, **{'bands': 'gr'} | options))

    def test_flux_is_refused_by_a_model_of_pictures(self):
        model = BrightnessModel(dataclasses.replace(SPEC, kind='picture'))
        with pytest.raises(ValueError, match=r'holds images linear in flux, .* on pictures'):
            predict(model, cutouts_of([1.0]))

    def test_bands_that_are_not_there_tell_pictures_from_flux(self):
        pictures = CutoutSet(np.zeros((1, 3, 4, 4)), bands=PICTURE_BANDS, kind='picture')
        with pytest.raises(ValueError, match=r"\['g', 'r'\] .* the cutouts are pictures, not flux"):
            predict(BrightnessModel(), pictures)
        spec = dataclasses.replace(SPEC, kind='picture', bands=PICTURE_BANDS)
        with pytest.raises(ValueError, match=r"flux to be drawn as 'rgb' .* got \['g', 'r'\]"):
            predict(BrightnessModel(spec), cutouts_of([1.0]))

    def test_array_with_another_number_of_bands_is_refused(self):
        with pytest.raises(ValueError, match=r"X has 3 bands, expected 2: \['g', 'r'\]"):
            predict(BrightnessModel(), np.zeros((2, 3, 4, 4)))

    def test_cutouts_of_more_bands_are_reduced_to_those_of_the_model(self):
        images = np.zeros((1, 3, 4, 4))
        images[0] = np.reshape([5, 2, 1], (3, 1, 1))
        cutouts = CutoutSet(images, bands='irg')
        probabilities, _, _ = proba_of(BrightnessModel(), cutouts)
        np.testing.assert_allclose(probabilities[0, 1], 1 / (1 + np.exp(-2)), rtol=1e-5)

    @pytest.mark.parametrize('scale', [0.2, 0.5])
    def test_another_pixel_scale_is_warned_of(self, scale):
        cutouts = cutouts_of([1.0], pixel_scale=scale * u.arcsec)
        with pytest.warns(AstropyUserWarning, match=f'{scale / 0.4:.3g} times the pixel scale'):
            prepare(SPEC, cutouts)

    @pytest.mark.parametrize('scale', [0.396 * u.arcsec, None])
    def test_nearly_the_same_or_an_unknown_scale_is_not(self, scale):
        prepare(SPEC, cutouts_of([1.0], pixel_scale=scale))


class FramedSource(CutoutSource):
    """Writes down what it is asked for."""

    def __init__(self):
        self.sizes = []

    def fetch(self, X, *, size=None):
        self.sizes.append(size)
        side, scale = grid_of(X, size, 0.4 * u.arcsec)
        images = np.zeros((len(X), 2, side, side))
        return CutoutSet(images, bands='gr', pixel_scale=scale, framing=framing_of(size), table=X)


class TestFraming:
    SPEC = dataclasses.replace(SPEC, pixel_scale=None, framing='4 * petroR90_r')
    TABLE = QTable({'petroR90_r': [3.0, 9.0] * u.arcsec})

    def test_model_asks_for_what_it_was_trained_on(self):
        source = FramedSource()
        predict(BrightnessModel(self.SPEC), self.TABLE, source=source)
        assert source.sizes == [(4, '4 * petroR90_r')]
        assert ModelSpec.from_json(self.SPEC.to_json()).framing == '4 * petroR90_r'

    def test_description_of_the_training_keeps_it(self):
        cutouts = FramedSource().fetch(self.TABLE, size=(20, 'petroR90_r*4'))
        spec = build_spec(cutouts, architecture='resnet18', views=8)
        assert (spec.size, spec.framing, spec.pixel_scale) == (20, '4 * petroR90_r', None)
        plain = FramedSource().fetch(self.TABLE, size=20)
        spec = build_spec(plain, architecture='resnet18', views=8)
        assert (spec.framing, spec.pixel_scale) == (None, 0.4)

    @pytest.mark.parametrize(
        ('framing', 'size', 'words'),
        [
            ('4 * petroR90_r', '3 * petroR90_r', 'span 3 .*, those that the model .* on 4 '),
            ('4 * petroR90_r', 4, r'span one angle, those .* on 4 \* petroR90_r'),
            (None, '4 * petroR90_r', r'span 4 \* petroR90_r, those .* on one angle'),
        ],
    )
    def test_other_frames_are_warned_of(self, framing, size, words):
        scale = 0.4 if framing is None else None
        spec = dataclasses.replace(SPEC, framing=framing, pixel_scale=scale)
        size = size if size == 4 else (4, size)
        cutouts = FramedSource().fetch(self.TABLE, size=size)
        with pytest.warns(AstropyUserWarning, match=words):
            prepare(spec, cutouts)

    def test_the_same_frames_and_those_unknown_are_not(self):
        prepare(self.SPEC, FramedSource().fetch(self.TABLE, size=(4, 'petroR90_r * 4.0')))
        prepare(self.SPEC, cutouts_of([1.0], pixel_scale=None))


class TestPreprocessing:
    SPEC = dataclasses.replace(SPEC, size=32, preprocessing=Preprocessor().settings())

    @pytest.fixture
    def cutouts(self):
        images = np.random.default_rng(0).normal(100, 1, size=(3, 2, 32, 32))
        images += 50 * gaussian(32, sigma=2)
        images[1, 0, 4, 4] = np.nan
        return CutoutSet(images, bands='gr', status=['ok', 'ok', 'truncated'], flags=[4, 1024, 0])

    def test_model_gets_clean_images(self, cutouts):
        class Model(BrightnessModel):
            def run(self, samples):
                assert abs(samples[:, :, :5].mean()) < 0.1
                assert np.isfinite(samples).all()
                return super().run(samples)

        _, status, flags = proba_of(Model(self.SPEC), cutouts)
        assert status.tolist() == cutouts.status.tolist()
        assert flags.tolist() == [4, 1024 | BITS['missing_pixels'], 0]

    def test_model_without_gets_them_as_they_are(self, cutouts):
        spec = dataclasses.replace(self.SPEC, preprocessing=None)
        np.testing.assert_array_equal(prepare(spec, cutouts).images, cutouts.images)

    def test_settings_survive_json(self):
        settings = Preprocessor(neighbours='all', psf_fwhm=(1.2, 1.4)).settings()
        spec = dataclasses.replace(SPEC, preprocessing=settings)
        assert ModelSpec.from_json(spec.to_json()) == spec
        assert ModelSpec.from_json('{}').preprocessing is None


class TestOverflow:
    """A model in which a number overflows for one of four images."""

    class Model(BrightnessModel):
        def __init__(self, spec=SPEC, *, broken):
            super().__init__(spec)
            self.broken = broken

        def run(self, samples):
            outputs = super().run(samples)
            for output, value in zip(outputs, self.broken, strict=True):
                output[samples[:, 0, 0, 0] > 10] = value
            return outputs

    CUTOUTS = cutouts_of([1.0, 20.0, 2.0, 3.0], status=['ok', 'ok', 'truncated', 'ok'])

    @pytest.mark.parametrize('broken', [(np.nan, 1, 0.5), (np.inf, 1, 0.5), (1, np.inf, 0.5)])
    def test_is_a_status(self, broken):
        model = self.Model(broken=broken)
        predictions = predict(model, self.CUTOUTS, with_features=True)
        assert predictions.status.tolist() == ['ok', 'not_finite', 'truncated', 'ok']
        for values in predictions[:3]:
            is_nan = np.isnan(values.reshape(4, -1))
            assert (is_nan.T == [False, True, True, False]).all()
        annotated = annotate(model, self.CUTOUTS)
        assert annotated['morph_status'].tolist() == predictions.status.tolist()
        for name in ('morph_class', 'morph_p_bright', 'morph_confidence', 'morph_novelty'):
            assert annotated[name].mask.tolist() == [False, True, True, False]

    def test_masks_the_class_of_a_predictor(self):
        predictor = predictor_of(self.Model(broken=(np.nan, np.nan, np.nan)))
        classes = predictor.predict(self.CUTOUTS)
        assert classes.tolist() == ['bright', None, None, 'bright']
        assert np.isnan(predictor.predict_proba(self.CUTOUTS)[1]).all()


def test_specification_survives_json():
    spec = dataclasses.replace(SPEC, classes=(0, 1, 5), pixel_scale=None)
    assert ModelSpec.from_json(spec.to_json()) == spec


class TestProbabilities:
    BRIGHTNESS = (2.0, -1.0, 0.5, 3.0)
    STATUS = ('ok', 'truncated', 'ok', 'ok')

    def test_are_the_softmax_with_status_and_flags(self):
        cutouts = cutouts_of(self.BRIGHTNESS, status=self.STATUS, flags=[0, 1, 2, 4])
        probabilities, status, flags = proba_of(BrightnessModel(), cutouts)
        expected = 1 / (1 + np.exp(-2 * np.array([2, np.nan, 0.5, 3])))
        np.testing.assert_allclose(probabilities, np.stack([1 - expected, expected], 1), rtol=1e-5)
        assert status.tolist() == list(self.STATUS)
        assert flags.tolist() == [0, 1, 2, 4]

    def test_no_rows_give_no_rows(self):
        probabilities, status, flags = proba_of(BrightnessModel(), cutouts_of([]))
        assert probabilities.shape == (0, 2)
        assert len(status) == len(flags) == 0


class TestPredict:
    STATUS = ('ok', 'truncated', 'ok')

    def test_features_are_there_only_if_wanted(self):
        cutouts = cutouts_of([1.0, 2.0, 3.0], status=self.STATUS)
        assert predict(BrightnessModel(), cutouts).features.shape == (3, 0)
        features = predict(BrightnessModel(), cutouts, with_features=True).features
        np.testing.assert_allclose(features, [[1, 1], [np.nan] * 2, [3, 3]])

    def test_sets_follow_the_scores_of_the_model(self):
        # A score of 0.9 is reached by both classes of an even galaxy, by one of a clear one.
        spec = dataclasses.replace(SPEC, conformity=(0.9,) * 30)
        cutouts = cutouts_of([0.01, 2.0, 3.0], status=self.STATUS)
        sets = predictor_of(BrightnessModel(spec)).predict_set(cutouts, coverage=0.8)
        expected = conformity_scores(predict(BrightnessModel(), cutouts).probabilities) <= 0.9
        np.testing.assert_array_equal(sets, expected)
        assert sets[1].tolist() == [False, False]

    def test_sets_need_scores(self):
        with pytest.raises(ValueError, match='no scores of galaxies held out'):
            predictor_of(BrightnessModel()).predict_set(cutouts_of([1.0]))


class TestAnnotate:
    def test_columns_are_added_in_the_same_rows(self):
        coords = SkyCoord([10, 20, 30], [1, 2, 3], unit='deg')
        table = QTable({'where': coords, 'id': [7, 8, 9]})
        cutouts = cutouts_of(
            [1.0, 0.0, -2.0], status=['ok', 'no_coverage', 'ok'], flags=[0, 0, 1], table=table
        )
        annotated = annotate(BrightnessModel(), cutouts)
        assert type(annotated) is QTable
        assert annotated['id'].tolist() == [7, 8, 9]
        assert annotated['morph_class'].tolist() == ['bright', None, 'dim']
        assert annotated['morph_status'].tolist() == ['ok', 'no_coverage', 'ok']
        assert annotated['morph_flags'].tolist() == [0, 0, 1]
        np.testing.assert_allclose(annotated['morph_p_dim'][2], 1 / (1 + np.exp(-4)), rtol=1e-5)
        assert (annotated.meta['MORPHMOD'], annotated.meta['MORPHVER']) == ('0123456789ab', '1.2.3')
        assert table.colnames == ['where', 'id']

    def test_novelty_is_written_and_flagged_below_a_hundredth(self):
        cutouts = cutouts_of(
            [-0.5, -5.0, 4.5, -5.0], status=['ok', 'ok', 'ok', 'truncated'], flags=[1, 2, 0, 0]
        )
        annotated = annotate(BrightnessModel(), cutouts)
        assert annotated['morph_novelty'].dtype == np.float32
        assert annotated['morph_novelty'].mask.tolist() == [False, False, False, True]
        np.testing.assert_allclose(
            annotated['morph_novelty'][:3], np.exp([-0.5, -5, -4.5]), rtol=1e-5
        )
        assert annotated['morph_flags'].tolist() == [1, 2 | BITS['novel'], 0, 0]

    def test_model_without_novelty_writes_masked_ones(self):
        class Model(BrightnessModel):
            def run(self, samples):
                logits, features, _ = super().run(samples)
                return logits, features, features

        annotated = annotate(Model(), cutouts_of([0.5, -5.0]))
        assert annotated['morph_novelty'].mask.all()
        assert annotated['morph_flags'].tolist() == [0, 0]

    def test_images_without_a_table_get_row_numbers(self):
        annotated = annotate(BrightnessModel(), np.ones((3, 2, 4, 4)), prefix='m_')
        assert annotated['row'].tolist() == [0, 1, 2]
        assert annotated['m_class'].tolist() == ['bright'] * 3

    def test_columns_are_replaced_only_if_asked(self):
        table = Table({'morph_class': ['x']})
        cutouts = cutouts_of([1.0], table=table)
        with pytest.raises(ValueError, match=r"'morph_class'.*overwrite=True"):
            annotate(BrightnessModel(), cutouts)
        assert annotate(BrightnessModel(), cutouts, overwrite=True)['morph_class'][0] == 'bright'
