# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Images of another brightness than those of the training: flagged rows, and one warning a call."""

import dataclasses
import warnings

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import CutoutSet, MorphologyClassifier, OnnxClassifier
from astro_morph.catalog.flags import BITS
from astro_morph.catalog.io.tables import read_table
from astro_morph.models.onnx_model import OnnxModel
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction import streaming
from astro_morph.prediction.predict import predict
from astro_morph.tests.helpers import make_blobs


def in_unit(cutouts, factor):
    return cutouts.replace(images=(cutouts.images * factor).astype(np.float32))


def is_flagged(flags):
    return np.asarray(flags) & BITS['other_brightness'] > 0


def catch(call):
    """Return the result of a call, and its warnings about brightness."""
    with warnings.catch_warnings(record=True, action='always') as caught:
        result = call()
    return result, [str(w.message) for w in caught if 'of the training images' in str(w.message)]


@pytest.fixture(scope='module')
def other(blobs):
    return in_unit(blobs, 1e-3)


@pytest.fixture(scope='module')
def onnx(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp('onnx') / 'model.onnx'
    classifier.to_onnx(path)
    return OnnxClassifier(path, verbose=0)


class TestFlux:
    @pytest.mark.parametrize('factor', [1e-9, 1e-3, 1e-2, 1e2, 1e3])
    def test_another_unit_is_flagged_and_warned_of_once(self, classifier, onnx, blobs, factor):
        for model in (classifier, onnx):
            annotated, said = catch(lambda model=model: model.annotate(in_unit(blobs, factor)))
            assert is_flagged(annotated['morph_flags']).all()
            assert len(said) == 1
            assert '24 of 24 images' in said[0]

    def test_message_names_what_came_what_is_known_and_what_to_do(self, classifier, other):
        with pytest.warns(
            AstropyUserWarning, match=r'about 0.00\d+ times .* in g, .* in r'
        ) as said:
            classifier.predict(other)
        assert 'zero_point' in str(said[0].message)

    def test_same_survey_is_silent(self, classifier, onnx):
        for model in (classifier, onnx):
            annotated, said = catch(
                lambda model=model: model.annotate(make_blobs(200, random_state=9))
            )
            assert not is_flagged(annotated['morph_flags']).any()
            assert said == []

    def test_a_few_odd_rows_are_flagged_without_a_warning(self, classifier):
        cutouts = make_blobs(50, random_state=9)
        cutouts.images[3] *= 1000
        annotated, said = catch(lambda: classifier.annotate(cutouts))
        assert np.flatnonzero(is_flagged(annotated['morph_flags'])).tolist() == [3]
        assert said == []

    def test_rows_without_an_image_do_not_count(self, classifier, other):
        cutouts = other.replace(status=np.where(np.arange(24) < 20, 'truncated', 'ok'))
        annotated, said = catch(lambda: classifier.annotate(cutouts))
        assert is_flagged(annotated['morph_flags']).tolist() == [False] * 20 + [True] * 4
        assert '4 of 4 images' in said[0]

    def test_features_are_warned_of_too(self, encoder, other):
        with pytest.warns(AstropyUserWarning, match='24 of 24 images'):
            encoder.transform(other)

    def test_file_of_many_batches_is_warned_of_once(
        self, classifier, onnx, other, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(streaming, 'WINDOW', 10)
        monkeypatch.setattr(streaming, 'PART', 4)
        other.write(tmp_path / 'cutouts.h5')
        for model in (classifier, onnx):
            path = tmp_path / f'{type(model).__name__}.ecsv'
            _, said = catch(lambda m=model, p=path: m.annotate_file(tmp_path / 'cutouts.h5', p))
            assert len(said) == 1
            assert '24 of 24 images' in said[0]
            assert is_flagged(read_table(path)['morph_flags']).all()

    def test_adapted_model_knows_the_other_survey(self, classifier, other, blobs):
        adapted = classifier.adapt(other)
        assert catch(lambda: adapted.predict(other))[1] == []
        assert len(catch(lambda: adapted.predict(blobs))[1]) == 1


class TestOlderFiles:
    def test_range_is_that_of_the_stretch(self, classifier, onnx, other, blobs, tmp_path):
        spec = dataclasses.replace(classifier.model_.spec, brightness=None)
        TorchModel(spec, classifier.model_.network).save(tmp_path / 'old.pt')
        old = MorphologyClassifier(encoder='random', strategy='linear', verbose=0).fit(blobs)
        old.model_ = TorchModel(spec, classifier.model_.network)
        old.to_onnx(tmp_path / 'old.onnx')
        for model in (TorchModel.load(tmp_path / 'old.pt'), OnnxModel(tmp_path / 'old.onnx')):
            predictions, said = catch(lambda model=model: predict(model, other))
            assert is_flagged(predictions.flags).all()
            assert len(said) == 1
            assert catch(lambda model=model: predict(model, blobs))[1] == []

    @pytest.mark.parametrize('name', ['gz2-5class', 'sdss-4class'])
    def test_bundled_pictures(self, name):
        model = MorphologyClassifier.from_pretrained(name, verbose=0)
        pixels = 20 + 180 * make_blobs(20, size=64, bands='gri').images.clip(0, 5) / 5
        bands = ('red', 'green', 'blue')
        pictures = CutoutSet(pixels.astype(np.uint8), bands=bands, kind='picture')
        assert catch(lambda: model.predict(pictures))[1] == []
        for change in (lambda p: p / 255, lambda p: p / 100, lambda p: 255 - p):
            changed = pictures.replace(images=change(pictures.images))
            annotated, said = catch(lambda changed=changed: model.annotate(changed))
            assert is_flagged(annotated['morph_flags']).all()
            assert 'pictures from 0 to 255' in said[0]
            assert 'mean pixel' in said[0]
