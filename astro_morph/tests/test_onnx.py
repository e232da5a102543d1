# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The ONNX file gives what PyTorch gives, anywhere, or is not kept."""

import subprocess
import sys
from functools import partial

import numpy as np
import onnx
import pytest

import astro_morph.onnx
from astro_morph import MorphologyClassifier, OnnxClassifier
from astro_morph.evaluation import evaluate
from astro_morph.flags import BITS
from astro_morph.tests.helpers import make_blobs


@pytest.fixture(scope='module')
def path(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp('onnx') / 'morphology.onnx'
    classifier.to_onnx(path)
    return path


@pytest.fixture(scope='module')
def written(path):
    return OnnxClassifier(path)


@pytest.mark.parametrize('n', [1, 2, 9, 300])
def test_same_probabilities_as_pytorch_at_any_batch_size(classifier, written, n):
    cutouts = make_blobs(n, random_state=n)
    cutouts.images[0, 0, :3] = np.nan
    cutouts.images[-1, 1, 5, 5] = np.inf
    expected = classifier.predict_proba(cutouts)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(written.predict_proba(cutouts), expected, atol=1e-4)
    np.testing.assert_array_equal(written.predict(cutouts), classifier.predict(cutouts))


def test_same_columns_as_pytorch(classifier, written, blobs):
    expected, came = classifier.annotate(blobs), written.annotate(blobs)
    assert came.colnames == expected.colnames
    assert came['morph_class'].tolist() == expected['morph_class'].tolist()
    assert came.meta['MORPHMOD'] == expected.meta['MORPHMOD']
    np.testing.assert_allclose(came['morph_novelty'], expected['morph_novelty'], atol=1e-4)


@pytest.mark.parametrize('coverage', [0.5, 0.9])
def test_same_sets_as_pytorch(classifier, written, coverage):
    cutouts = make_blobs(100, random_state=5)
    sets = classifier.predict_set(cutouts, coverage=coverage)
    assert 0 < sets.sum() < sets.size
    np.testing.assert_array_equal(written.predict_set(cutouts, coverage=coverage), sets)


def test_same_evaluation_as_pytorch(classifier, written):
    cutouts = make_blobs(30, random_state=6)
    expected, came = (evaluate(model, cutouts) for model in (classifier, written))
    assert came.accuracy == expected.accuracy
    np.testing.assert_allclose(came.probabilities, expected.probabilities, atol=1e-4)
    assert came.coverage == expected.coverage


def test_file_describes_itself(classifier, path, written):
    assert written.model_.spec == classifier.model_.spec
    assert written.classes_.tolist() == ['edge_on', 'round']
    model = onnx.load(path)
    assert [value.name for value in model.graph.input] == ['images']
    assert [value.name for value in model.graph.output] == ['logits', 'features', 'novelty']
    assert [item.name for item in path.parent.iterdir()] == ['morphology.onnx']


def test_same_clean_up_as_before_pytorch(classifier, written):
    cutouts = make_blobs(6, random_state=3)
    sky = np.random.default_rng(0).uniform(5, 20, (6, 2, 1, 1))
    cutouts = cutouts.replace(images=cutouts.images + sky)
    cutouts.images[1, 0, 3, 4] = np.nan
    assert written.model_.spec.preprocessing is not None
    expected, came = classifier.annotate(cutouts), written.annotate(cutouts)
    np.testing.assert_allclose(
        written.predict_proba(cutouts), classifier.predict_proba(cutouts), atol=1e-4
    )
    assert came['morph_flags'].tolist() == expected['morph_flags'].tolist()
    assert came['morph_flags'][1] & BITS['missing_pixels']


def test_pictures_keep_their_stretch(tmp_path):
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (12, 3, 20, 20), np.uint8)
    pictures[::2] //= 4
    classifier = MorphologyClassifier(
        encoder='random', strategy='linear', random_state=0, device='cpu', verbose=0
    ).fit(pictures, np.resize([10, 20], 12))
    classifier.to_onnx(tmp_path / 'pictures.onnx')
    written = OnnxClassifier(tmp_path / 'pictures.onnx')
    assert written.classes_.tolist() == [10, 20]
    np.testing.assert_allclose(
        written.predict_proba(pictures), classifier.predict_proba(pictures), atol=1e-4
    )


def test_prediction_needs_no_torch(path, blobs, tmp_path):
    np.save(tmp_path / 'images.npy', blobs.images)
    code = (
        'import sys, numpy as np; from astro_morph import OnnxClassifier; '
        f'images = np.load({str(tmp_path / "images.npy")!r}); '
        f'print(*OnnxClassifier({str(path)!r}).predict(images)); '
        "print(sorted({'torch', 'torchvision', 'photutils'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    predicted, imported = result.stdout.strip().splitlines()
    assert predicted.split() == OnnxClassifier(path).predict(blobs.images).tolist()
    assert imported == '[]'


class TestRefusal:
    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='there is no file'):
            OnnxClassifier(tmp_path / 'nowhere.onnx')

    def test_no_onnx_file(self, tmp_path):
        path = tmp_path / 'text.onnx'
        path.write_text('not a model')
        with pytest.raises(ValueError, match=r"text\.onnx' is not an ONNX file"):
            OnnxClassifier(path)

    def test_onnx_file_from_elsewhere(self, tmp_path):
        value = partial(onnx.helper.make_tensor_value_info, elem_type=1, shape=[1])
        node = onnx.helper.make_node('Identity', ['x'], ['y'])
        graph = onnx.helper.make_graph([node], 'foreign', [value('x')], [value('y')])
        opset = onnx.helper.make_opsetid('', 17)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
        onnx.save(model, tmp_path / 'foreign.onnx')
        with pytest.raises(ValueError, match='was not written by astro_morph'):
            OnnxClassifier(tmp_path / 'foreign.onnx')

    def test_features_are_no_images(self, written):
        with pytest.raises(ValueError, match='must hold images or lead to them, got ndarray'):
            written.predict(np.zeros((3, 5)))

    def test_images_of_another_size(self, written):
        with pytest.raises(ValueError, match=r'\(20, 20\), the model was trained on \(24, 24\)'):
            written.predict(np.zeros((3, 2, 20, 20)))

    def test_unknown_precision(self, classifier, tmp_path):
        with pytest.raises(ValueError, match="must be 'float32', got 'int3'"):
            classifier.to_onnx(tmp_path / 'model.onnx', precision='int3')

    def test_classifier_of_features(self, tmp_path):
        random = np.random.default_rng(0)
        fitted = MorphologyClassifier(verbose=0).fit(random.normal(size=(20, 3)), [0, 1] * 10)
        with pytest.raises(ValueError, match='takes plain features'):
            fitted.to_onnx(tmp_path / 'model.onnx')


@pytest.mark.parametrize('existing', [None, b'an older model'])
def test_file_that_gives_other_answers_is_not_kept(path, blobs, tmp_path, monkeypatch, existing):
    other = MorphologyClassifier(
        encoder='random', strategy='linear', random_state=99, device='cpu', verbose=0
    ).fit(blobs)
    # An exporter that errs: it writes another model's weights.
    monkeypatch.setattr(
        astro_morph.onnx, '_write', lambda model, aside: aside.write_bytes(path.read_bytes())
    )
    target = tmp_path / 'model.onnx'
    if existing:
        target.write_bytes(existing)
    with pytest.raises(RuntimeError, match=r'differs from PyTorch by .* the file is not kept'):
        other.to_onnx(target)
    assert [item.read_bytes() for item in tmp_path.iterdir()] == ([existing] if existing else [])
