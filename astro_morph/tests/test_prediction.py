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
from astro_morph.cutouts import CutoutSource
from astro_morph.cutouts.core import PICTURE_BANDS, framing_of, grid_of
from astro_morph.fitting import describe
from astro_morph.prediction import (
    BATCH_SIZE,
    ModelSpec,
    annotate,
    compute,
    most_probable,
    predict_proba,
)

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

    def __init__(self, spec=SPEC):
        self.spec = spec
        self.sizes = []

    def run(self, samples):
        assert samples.dtype == np.float32
        self.sizes.append(len(samples))
        mean = samples.mean(axis=(2, 3))
        return np.stack([-mean[:, 0], mean[:, 0]], axis=1), mean


def cutouts_of(brightness, **options):
    images = np.broadcast_to(np.reshape(brightness, (-1, 1, 1, 1)), (len(brightness), 2, 4, 4))
    return CutoutSet(images, **{'bands': 'gr', 'pixel_scale': 0.4 * u.arcsec} | options)


class Bar:
    count = 0

    def update(self, n):
        self.count += n


class TestCompute:
    def test_order_is_kept_over_batches_and_rows_without_image_are_nan(self):
        n = 2 * BATCH_SIZE + 10
        brightness = np.random.default_rng(0).normal(size=n)
        status = np.where(np.arange(n) % 7 == 3, 'truncated', 'ok')
        model, bar = BrightnessModel(), Bar()
        logits, features = compute(model, cutouts_of(brightness, status=status), bar=bar)
        expected = np.where(status == 'ok', brightness, np.nan)
        np.testing.assert_allclose(logits, np.stack([-expected, expected], axis=1), rtol=1e-5)
        np.testing.assert_allclose(features, np.stack([expected] * 2, axis=1), rtol=1e-5)
        assert sum(model.sizes) == bar.count == np.sum(status == 'ok')
        assert max(model.sizes) <= BATCH_SIZE

    def test_without_any_image_all_is_nan(self):
        # Nothing was found, so that the size and the bands can't be those of the model.
        nothing = CutoutSet(np.full((3, 1, 1, 1), np.nan), status=['not_found'] * 3)
        logits, features = compute(BrightnessModel(), nothing)
        assert logits.shape == features.shape == (3, 2)
        assert np.isnan(logits).all()
        assert np.isnan(features).all()


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
            compute(BrightnessModel(), CutoutSet(images, **{'bands': 'gr'} | options))

    def test_flux_is_refused_by_a_model_of_pictures(self):
        model = BrightnessModel(dataclasses.replace(SPEC, kind='picture'))
        with pytest.raises(ValueError, match=r'holds images linear in flux, .* on pictures'):
            predict_proba(model, cutouts_of([1.0]))

    def test_bands_that_are_not_there_tell_pictures_from_flux(self):
        pictures = CutoutSet(np.zeros((1, 3, 4, 4)), bands=PICTURE_BANDS, kind='picture')
        with pytest.raises(ValueError, match=r"\['g', 'r'\] .* the cutouts are pictures, not flux"):
            predict_proba(BrightnessModel(), pictures)
        spec = dataclasses.replace(SPEC, kind='picture', bands=PICTURE_BANDS)
        with pytest.raises(ValueError, match=r"\['red'.* the cutouts are flux, not pictures"):
            predict_proba(BrightnessModel(spec), cutouts_of([1.0]))

    def test_array_with_another_number_of_bands_is_refused(self):
        with pytest.raises(ValueError, match=r"X has 3 bands, expected 2: \['g', 'r'\]"):
            predict_proba(BrightnessModel(), np.zeros((2, 3, 4, 4)))

    def test_cutouts_of_more_bands_are_reduced_to_those_of_the_model(self):
        images = np.zeros((1, 3, 4, 4))
        images[0] = np.reshape([5, 2, 1], (3, 1, 1))
        cutouts = CutoutSet(images, bands='irg')
        probabilities, _, _ = predict_proba(BrightnessModel(), cutouts)
        np.testing.assert_allclose(probabilities[0, 1], 1 / (1 + np.exp(-2)), rtol=1e-5)

    @pytest.mark.parametrize('scale', [0.2, 0.5])
    def test_another_pixel_scale_is_warned_of(self, scale):
        cutouts = cutouts_of([1.0], pixel_scale=scale * u.arcsec)
        with pytest.warns(AstropyUserWarning, match=f'{scale / 0.4:.3g} times the pixel scale'):
            compute(BrightnessModel(), cutouts)

    @pytest.mark.parametrize('scale', [0.396 * u.arcsec, None])
    def test_nearly_the_same_or_an_unknown_scale_is_not(self, scale):
        compute(BrightnessModel(), cutouts_of([1.0], pixel_scale=scale))


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
        predict_proba(BrightnessModel(self.SPEC), self.TABLE, source=source)
        assert source.sizes == [(4, '4 * petroR90_r')]
        assert ModelSpec.from_json(self.SPEC.to_json()).framing == '4 * petroR90_r'

    def test_description_of_the_training_keeps_it(self):
        cutouts = FramedSource().fetch(self.TABLE, size=(20, 'petroR90_r*4'))
        spec = describe(cutouts, architecture='resnet18', views=8)
        assert (spec.size, spec.framing, spec.pixel_scale) == (20, '4 * petroR90_r', None)
        plain = FramedSource().fetch(self.TABLE, size=20)
        spec = describe(plain, architecture='resnet18', views=8)
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
            compute(BrightnessModel(spec), cutouts)

    def test_the_same_frames_and_those_unknown_are_not(self):
        model = BrightnessModel(self.SPEC)
        compute(model, FramedSource().fetch(self.TABLE, size=(4, 'petroR90_r * 4.0')))
        compute(model, cutouts_of([1.0], pixel_scale=None))


def test_specification_survives_json():
    spec = dataclasses.replace(SPEC, classes=(0, 1, 5), pixel_scale=None)
    assert ModelSpec.from_json(spec.to_json()) == spec


class TestProbabilities:
    BRIGHTNESS = (2.0, -1.0, 0.5, 3.0)
    STATUS = ('ok', 'truncated', 'ok', 'ok')

    def test_are_the_softmax_with_status_and_flags(self):
        cutouts = cutouts_of(self.BRIGHTNESS, status=self.STATUS, flags=[0, 1, 2, 4])
        probabilities, status, flags = predict_proba(BrightnessModel(), cutouts)
        expected = 1 / (1 + np.exp(-2 * np.array([2, np.nan, 0.5, 3])))
        np.testing.assert_allclose(probabilities, np.stack([1 - expected, expected], 1), rtol=1e-5)
        assert status.tolist() == list(self.STATUS)
        assert flags.tolist() == [0, 1, 2, 4]

    def test_no_rows_give_no_rows(self):
        probabilities, status, flags = predict_proba(BrightnessModel(), cutouts_of([]))
        assert probabilities.shape == (0, 2)
        assert len(status) == len(flags) == 0

    def test_class_is_masked_only_where_there_is_no_image(self):
        classes = np.array(['dim', 'bright'])
        predicted = most_probable(classes, np.array([[0.2, 0.8], [np.nan] * 2, [0.6, 0.4]]))
        assert predicted.tolist() == ['bright', None, 'dim']
        whole = most_probable(classes, np.array([[0.2, 0.8]]))
        assert not isinstance(whole, np.ma.MaskedArray)


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
