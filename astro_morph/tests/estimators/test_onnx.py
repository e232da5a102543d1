# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The ONNX file gives what PyTorch gives, or says what it changes; anywhere, or is not kept."""

import copy
import os
import subprocess
import sys
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest

from astro_morph import MorphologyClassifier, OnnxClassifier
from astro_morph.catalog.flags import BITS
from astro_morph.evaluation import evaluate
from astro_morph.models import export
from astro_morph.tests.helpers import make_blobs


@pytest.fixture(scope='module')
def path(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp('onnx') / 'morphology.onnx'
    classifier.to_onnx(path)
    return path


@pytest.fixture(scope='module')
def written(path):
    return OnnxClassifier(path)


FASTER = {
    'float16': {'precision': 'float16'},
    'int8': {'precision': 'int8'},
    '1views': {'views': 1},
    'int8-4views': {'precision': 'int8', 'views': 4},
}


@pytest.fixture(scope='module')
def shuffled(blobs):
    """Labels that mean nothing."""
    return np.random.default_rng(0).permutation(blobs.table['morphology'])


@pytest.fixture(scope='module')
def unsure(blobs, shuffled):
    """A classifier of such labels: whatever moves its logits shows in its probabilities."""
    return MorphologyClassifier(
        encoder='random', strategy='linear', random_state=0, device='cpu', verbose=0
    ).fit(blobs, shuffled)


@pytest.fixture(scope='module')
def faster(unsure, blobs, shuffled, tmp_path_factory):
    """Files that give other answers than PyTorch, and what each is said to cost, by name."""
    folder = tmp_path_factory.mktemp('faster')
    costs = {
        name: unsure.to_onnx(folder / name, blobs, shuffled, **FASTER[name]) for name in FASTER
    }
    return {name: (folder / name, cost) for name, cost in costs.items()}


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


@pytest.mark.parametrize('strategy', ['head', 'fine-tune'])
def test_files_keep_what_each_strategy_learns(blobs, shuffled, tmp_path, strategy):
    classifier = MorphologyClassifier(
        encoder='random', strategy=strategy, epochs=1, random_state=0, device='cpu', verbose=0
    ).fit(blobs, shuffled)
    classifier.save(tmp_path / 'model.pt')
    classifier.to_onnx(tmp_path / 'model.onnx')
    expected = classifier.annotate(blobs)
    for read in (MorphologyClassifier.load, OnnxClassifier):
        again = read(tmp_path / f'model.{"onnx" if read is OnnxClassifier else "pt"}')
        came = again.annotate(blobs)
        for name in ('morph_p_edge_on', 'morph_p_round', 'morph_novelty'):
            np.testing.assert_allclose(came[name], expected[name], atol=1e-4)
        np.testing.assert_array_equal(again.predict_set(blobs), classifier.predict_set(blobs))


@pytest.mark.parametrize('coverage', [0.5, 0.9])
def test_same_sets_as_pytorch(classifier, written, coverage):
    cutouts = make_blobs(100, random_state=5)
    sets = classifier.predict_set(cutouts, coverage=coverage)
    assert 0 < sets.sum() < sets.size
    # A galaxy at the threshold may fall on either side of it.
    assert (written.predict_set(cutouts, coverage=coverage) != sets).sum() <= 1


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


class TestFaster:
    @pytest.mark.parametrize('name', FASTER)
    def test_cost_is_that_of_the_answers(self, unsure, faster, blobs, shuffled, name):
        path, cost = faster[name]
        written = OnnxClassifier(path)
        expected, came = (model.predict_proba(blobs) for model in (unsure, written))
        changes = np.abs(came - expected).max(axis=1)
        assert (cost.n_galaxies, cost.n_labels) == (24, 24)
        assert 1e-5 < cost.largest_change < 0.3
        np.testing.assert_allclose(cost.largest_change, changes.max(), rtol=1e-3)
        np.testing.assert_allclose(cost.mean_change, changes.mean(), rtol=1e-3)
        before, after = (evaluate(model, blobs, shuffled).accuracy for model in (unsure, written))
        assert cost.accuracy == pytest.approx(after)
        assert cost.accuracy_change == pytest.approx(after - before)
        assert f'{cost.precision}, {cost.views} view' in str(cost)

    @pytest.mark.parametrize('name', FASTER)
    def test_file_says_what_it_is(self, unsure, faster, name):
        path, cost = faster[name]
        written = OnnxClassifier(path)
        assert written.cost_ == cost
        identifier = f'{unsure.model_.spec.identifier}-{name}'
        assert written.model_.spec.identifier == identifier
        assert written.model_.spec.views == cost.views == FASTER[name].get('views', 8)

    def test_other_columns_are_there(self, unsure, faster, blobs):
        expected = unsure.annotate(blobs)
        for path, _ in faster.values():
            came = OnnxClassifier(path).annotate(blobs)
            assert came.colnames == expected.colnames
            before, after = (table['morph_novelty'].filled(np.nan) for table in (expected, came))
            assert np.isfinite(after).all()
            assert np.median(np.abs(after - before)) < 0.15

    def test_files_are_smaller(self, path, faster):
        whole = path.stat().st_size
        size = {name: file.stat().st_size / whole for name, (file, _) in faster.items()}
        assert size['float16'] < 0.55
        assert size['int8'] < 0.3
        assert size['1views'] == pytest.approx(1, abs=0.01)

    def test_only_the_encoder_is_rounded(self, unsure, faster):
        novelty = unsure.model_.network.novelty
        for name, types in (('int8', {onnx.TensorProto.INT8}), ('float16', {10})):
            graph = onnx.load(faster[name][0]).graph
            kinds = {item.name: item.data_type for item in graph.initializer}
            assert 'BatchNormalization' not in {node.op_type for node in graph.node}
            assert types <= {kinds[key] for key in kinds if key.startswith('encoder.conv1.weight')}
            assert kinds['head.weight'] == onnx.TensorProto.FLOAT
            # Of all matrices only those of novelty are in double precision.
            doubles = {
                tuple(item.dims)
                for item in graph.initializer
                if item.data_type == onnx.TensorProto.DOUBLE and len(item.dims) == 2
            }
            assert doubles == {novelty.axes.shape, novelty.known.T.shape}

    @pytest.mark.parametrize('n', [1, 7, 64])
    def test_integers_give_each_galaxy_the_same_in_any_batch(self, faster, n):
        model = OnnxClassifier(faster['int8'][0]).model_
        images = make_blobs(n, random_state=n).images.astype(np.float32)
        logits = model.run(images)[0]
        np.testing.assert_allclose(logits[-1:], model.run(images[-1:])[0], atol=0.01)

    def test_one_view_averaged_over_all_is_what_pytorch_averages(self, unsure, faster, blobs):
        images = blobs.images.astype(np.float32)
        one = OnnxClassifier(faster['1views'][0]).model_
        views = [
            np.ascontiguousarray(np.rot90(mirrored, turns, (2, 3)))
            for mirrored in (images, images[..., ::-1])
            for turns in range(4)
        ]
        averaged = np.mean([one.run(view)[1] for view in views], axis=0)
        np.testing.assert_allclose(averaged, unsure.model_.run(images)[1], atol=1e-4)
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(one.run(images)[1], averaged, atol=1e-4)


@pytest.fixture(scope='module')
def loaded(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp('saved') / 'model.pt'
    classifier.save(path)
    return MorphologyClassifier.load(path, device='cpu', verbose=0)


class TestSamplesToMeasureOn:
    @pytest.mark.parametrize('options', FASTER.values(), ids=FASTER)
    def test_loaded_classifier_asks_for_them(self, loaded, tmp_path, options):
        with pytest.raises(ValueError, match='pass a few hundred as X'):
            loaded.to_onnx(tmp_path / 'model.onnx', **options)
        assert not list(tmp_path.iterdir())

    def test_the_model_as_it_is_needs_none(self, loaded, tmp_path):
        cost = loaded.to_onnx(tmp_path / 'model.onnx')
        assert (cost.n_galaxies, cost.accuracy, cost.largest_change) == (0, None, None)
        assert str(cost) == 'float32, 8 views'
        assert OnnxClassifier(tmp_path / 'model.onnx').cost_ == cost

    @pytest.mark.filterwarnings('ignore:.*are no classes of the model')
    def test_bad_rows_and_unknown_classes_are_left_out(self, loaded, tmp_path):
        samples = make_blobs(12, random_state=4)
        samples.images[3] = np.nan
        samples.table['morphology'][5] = ''
        samples.table['morphology'][6] = 'comet'
        cost = loaded.to_onnx(tmp_path / 'model.onnx', samples, precision='int8')
        assert (cost.n_galaxies, cost.n_labels) == (11, 9)

    def test_without_labels_there_is_no_accuracy(self, loaded, tmp_path):
        images = make_blobs(8, random_state=4).images
        cost = loaded.to_onnx(tmp_path / 'model.onnx', images, views=1)
        assert (cost.n_galaxies, cost.n_labels, cost.accuracy) == (8, 0, None)
        assert cost.largest_change > 0


class TestCores:
    # Prints the threads that are asked for, and whether all that run are on the cores given.
    # The core is given before NumPy is there, whose own threads start with it.
    CODE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
from astro_morph import OnnxClassifier
classifier = OnnxClassifier(sys.argv[1])
classifier.predict(np.load(sys.argv[2]))
given = os.sched_getaffinity(0)
threads = map(int, os.listdir('/proc/self/task'))
print(classifier.model_._session.get_session_options().intra_op_num_threads)
print(all(os.sched_getaffinity(thread) <= given for thread in threads))
"""

    @pytest.mark.skipif(not os.path.exists('/proc/self/task'), reason='Linux tells of threads')
    def test_those_that_the_process_may_use_and_no_others(self, path, blobs, tmp_path):
        np.save(tmp_path / 'images.npy', blobs.images)
        command = [sys.executable, '-c', self.CODE, path, tmp_path / 'images.npy']
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert result.stdout.split() == ['1', 'True']

    @pytest.mark.parametrize('has_cuda', [True, False])
    def test_graphics_processor_if_there_is_one(self, path, monkeypatch, has_cuda):
        there = ['CUDAExecutionProvider'] * has_cuda + ['CPUExecutionProvider']
        monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: there)
        asked = []
        monkeypatch.setattr(
            onnxruntime, 'InferenceSession', lambda *_, providers: asked.extend(providers)
        )
        OnnxClassifier(path)
        names = [provider if isinstance(provider, str) else provider[0] for provider in asked]
        assert names == there


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

    @pytest.fixture
    def refused(self, path, tmp_path, monkeypatch):
        """Change a file of ours, and give what is said; ONNX Runtime must not see it."""

        def start(*_, **__):
            pytest.fail('ONNX Runtime was given the file')

        def refused(change):
            proto = onnx.load(path)
            change(proto)
            (tmp_path / 'model.onnx').write_bytes(proto.SerializeToString())
            monkeypatch.setattr(onnxruntime, 'InferenceSession', start)
            with pytest.raises(ValueError, match=r'model\.onnx') as caught:
                OnnxClassifier(tmp_path / 'model.onnx')
            return str(caught.value)

        return refused

    @staticmethod
    def outside(name='weights'):
        """A tensor whose data is in a file that is not its model's to read."""
        tensor = onnx.TensorProto(name=name, data_type=1, dims=[2])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key='location', value='../../etc/hostname')
        return tensor

    def test_data_outside_the_file(self, refused):
        said = refused(lambda proto: proto.graph.initializer.append(self.outside()))
        assert 'refers to data in another file, which is not read' in said

    def test_data_outside_the_file_in_a_branch(self, refused):
        branch = onnx.GraphProto(name='branch', initializer=[self.outside()])
        attribute = onnx.helper.make_attribute('then_branch', branch)
        node = onnx.NodeProto(op_type='If', attribute=[attribute])
        said = refused(lambda proto: proto.graph.node.append(node))
        assert 'refers to data in another file, which is not read' in said

    def test_data_outside_the_file_that_is_a_constant(self, refused):
        node = onnx.helper.make_node('Constant', [], ['c'], value=self.outside())
        said = refused(lambda proto: proto.graph.node.append(node))
        assert 'refers to data in another file, which is not read' in said

    @pytest.mark.parametrize('domain', ['org.example', 'com.microsoft'])
    def test_operators_from_elsewhere(self, refused, domain):
        node = onnx.helper.make_node('EPContext', ['images'], ['y'], domain=domain)
        said = refused(lambda proto: proto.graph.node.append(node))
        assert f"has operators of '{domain}', which are not of the ONNX standard" in said

    def test_functions_from_elsewhere(self, refused):
        imported = onnx.helper.make_opsetid('org.example', 1)
        said = refused(lambda proto: proto.opset_import.append(imported))
        assert "has operators of 'org.example'" in said

    def test_features_are_no_images(self, written):
        with pytest.raises(ValueError, match='X has no images: it is of the type ndarray'):
            written.predict(np.zeros((3, 5)))

    def test_images_of_another_size(self, written):
        with pytest.raises(ValueError, match=r'\(20, 20\), the model was trained on \(24, 24\)'):
            written.predict(np.zeros((3, 2, 20, 20)))

    def test_unknown_precision(self, classifier, tmp_path):
        with pytest.raises(ValueError, match=r"one of .*'int8'.*, got 'int3'"):
            classifier.to_onnx(tmp_path / 'model.onnx', precision='int3')

    @pytest.mark.parametrize('views', [0, 3, 16])
    def test_unknown_views(self, classifier, tmp_path, views):
        with pytest.raises(ValueError, match=rf'one of \(1, 4, 8\), .* got {views}'):
            classifier.to_onnx(tmp_path / 'model.onnx', views=views)

    def test_more_views_than_the_model_has(self, classifier, tmp_path):
        other = copy.copy(classifier)
        other.model_ = export._reduced(classifier.model_, 'float32', 1)
        with pytest.raises(ValueError, match='at most 1 for this model, got 8'):
            other.to_onnx(tmp_path / 'model.onnx', views=8)

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
        export,
        '_write',
        lambda model, aside, **_: aside.write_bytes(path.read_bytes()),
    )
    target = tmp_path / 'model.onnx'
    if existing:
        target.write_bytes(existing)
    with pytest.raises(RuntimeError, match=r'differs from PyTorch by .* the file is not kept'):
        other.to_onnx(target, overwrite=bool(existing))
    assert [item.read_bytes() for item in tmp_path.iterdir()] == ([existing] if existing else [])


def test_a_classifier_of_more_galaxies_than_a_shape_has_numbers(tmp_path):
    # The file's shapes are inferred before it runs, also beside the distances of known galaxies.
    blobs = make_blobs(120)
    fitted = MorphologyClassifier(
        encoder='random', strategy='linear', random_state=0, verbose=0, device='cpu'
    ).fit(blobs)
    fitted.to_onnx(tmp_path / 'model.onnx')
    novelty = OnnxClassifier(tmp_path / 'model.onnx').annotate(blobs[:5])['morph_novelty']
    np.testing.assert_allclose(novelty, fitted.annotate(blobs[:5])['morph_novelty'], atol=1e-3)
