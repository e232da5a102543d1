# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Published encoders in the estimators: all works with them as with ours."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from astropy.table import Table
from sklearn.base import clone
from torch import nn

from astro_morph import (
    CutoutSet,
    MorphologyClassifier,
    MorphologyEncoder,
    MorphologyRegressor,
    MorphologyVotes,
    OnnxClassifier,
    OnnxRegressor,
    OnnxVotes,
)
from astro_morph.estimators.starting import starting_encoder
from astro_morph.learning import strategies
from astro_morph.learning.training.views import RandomViews, training_views
from astro_morph.models.encoders.timm_encoder import TimmEncoder
from astro_morph.models.stretch import EuclidStretch, FluxStretch, PictureStretch
from astro_morph.models.torch_model import TorchModel, build_network
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.helpers import make_blobs

timm = pytest.importorskip('timm')

SIDE = 48
ENCODERS = {
    'convnext': ('test_convnext', {}),
    'efficientnet': ('test_efficientnet', {}),
    'transformer': ('test_vit', {'img_size': SIDE}),
    'zoobot-encoder-euclid': ('test_vit', {'img_size': SIDE}),
    'zoobot-encoder-greyscale': ('test_convnext', {'in_chans': 1}),
}


@pytest.fixture(scope='module')
def names(tmp_path_factory):
    """Names of networks of random weights, written as others publish them."""
    folder, found = tmp_path_factory.mktemp('hub'), {}
    for name, (architecture, options) in ENCODERS.items():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = timm.create_model(architecture, num_classes=0, **options)
        size = (options.get('in_chans', 3), SIDE, SIDE)
        timm.models.save_for_hf(
            network, folder / name, safe_serialization=True, data_config={'input_size': size}
        )
        found[name] = f'local-dir:{folder / name}'
    return found


@pytest.fixture(scope='module')
def blobs():
    return make_blobs(40)


def make(encoder, **parameters):
    options = {'strategy': 'linear', 'preprocessing': None, 'random_state': 0, 'verbose': 0}
    return MorphologyClassifier(encoder=encoder, **(options | parameters))


@pytest.fixture(scope='module')
def fitted(names, blobs):
    labels = np.array(blobs.table['morphology'])
    return {
        name: make(names[name]).fit(blobs, labels)
        for name in ('convnext', 'efficientnet', 'transformer')
    }


@pytest.fixture(params=['convnext', 'efficientnet', 'transformer'])
def classifier(request, fitted):
    return fitted[request.param]


def test_classifier_on_frozen_features(classifier, blobs):
    spec = classifier.model_.spec
    assert spec.architecture.startswith('timm:')
    assert (spec.input_size, spec.channels, spec.contract.stretch) == (SIDE, ('g', 'r'), 'lupton')
    assert classifier.score(blobs, blobs.table['morphology']) > 0.6
    np.testing.assert_allclose(classifier.predict_proba(blobs).sum(axis=1), 1, rtol=1e-5)
    table = classifier.annotate(blobs[:5])
    assert (table['morph_novelty'] > 0).all()
    assert classifier.predict_set(blobs[:5]).shape == (5, 2)


def test_classifier_is_saved_cloned_and_pickled(classifier, blobs, tmp_path):
    expected = classifier.predict_proba(blobs[:4])
    for file in ('model.pt', 'model.safetensors'):
        classifier.save(tmp_path / file)
        again = MorphologyClassifier.load(tmp_path / file, verbose=0)
        np.testing.assert_array_equal(again.predict_proba(blobs[:4]), expected)
        assert again.model_.spec == classifier.model_.spec
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(blobs[:4]), expected)
    assert clone(classifier).encoder == classifier.encoder


@pytest.mark.parametrize('name', ['convnext', 'efficientnet'])
@pytest.mark.parametrize('strategy', ['fine-tune', 'semi-supervised'])
@pytest.mark.filterwarnings('ignore:X. new statistics of the network')
def test_encoder_is_trained(names, blobs, fitted, name, strategy):
    labels = np.array(blobs.table['morphology'])
    labels[30:] = ''
    trained = make(names[name], strategy=strategy, epochs=1, batch_size=16).fit(blobs, labels)
    assert np.isfinite(trained.history_[-1]['loss'])
    filters = f'{trained.model_.network.encoder.first_layer}.weight'
    states = (model.model_.network.encoder.state_dict() for model in (trained, fitted[name]))
    assert not torch.equal(*(state[filters] for state in states))
    assert np.isfinite(trained.predict_proba(blobs)).all()
    adapted = trained.adapt(blobs[:12])
    assert np.isfinite(adapted.predict_proba(blobs)).all()


def test_features_votes_and_other_uses(names, blobs):
    encoder = MorphologyEncoder.from_pretrained(names['convnext'], preprocessing=None, verbose=0)
    with pytest.raises(ValueError, match='bands must hold g, r and i') as caught:
        encoder.transform(blobs)
    assert 'encoder.adapt(X)' in caught.value.__notes__[0]
    features = encoder.adapt(blobs).transform(blobs)
    assert features.shape == (40, timm.create_model('test_convnext', num_classes=0).num_features)
    assert np.isfinite(features).all()
    counts = np.c_[np.arange(40) % 2, 1 - np.arange(40) % 2] * 10
    tree = {'round': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
    votes = MorphologyVotes(tree, encoder=names['convnext'], preprocessing=None, verbose=0)
    assert votes.fit(blobs, counts).predict(blobs).shape == (40, 2)


@pytest.mark.parametrize(
    ('name', 'precision', 'views'), [('transformer', 'float32', None), ('convnext', 'int8', 1)]
)
def test_onnx_and_files(fitted, blobs, tmp_path, name, precision, views):
    classifier = fitted[name]
    labels = np.array(blobs.table['morphology'])
    path = tmp_path / 'model.onnx'
    cost = classifier.to_onnx(path, blobs, labels, precision=precision, views=views)
    assert cost.mean_change < 0.05
    again = OnnxClassifier(path)
    assert again.model_.spec.contract == classifier.model_.spec.contract
    difference = again.predict_proba(blobs) - classifier.predict_proba(blobs)
    assert np.abs(difference).mean() < 0.05
    survey = SimulatedSurvey(n_galaxies=3, bands='gr', random_state=0)
    survey.catalogue['ra', 'dec'].write(tmp_path / 'in.ecsv')
    again = OnnxClassifier(path, survey)
    again.annotate_file(tmp_path / 'in.ecsv', tmp_path / 'out.ecsv')
    assert set(Table.read(tmp_path / 'out.ecsv')['morph_status']) == {'ok'}


def test_euclids_flux_becomes_the_channels_of_its_encoder(names, tmp_path):
    flux = np.random.default_rng(0).normal(size=(16, 2, 32, 32)).astype(np.float32)
    flux = CutoutSet(flux, bands=('VIS', 'Y'))
    classifier = make(names['zoobot-encoder-euclid']).fit(flux, np.resize(['a', 'b'], 16))
    spec, network = classifier.model_.spec, classifier.model_.network
    assert spec.channels == ('Y', 'mean', 'VIS')
    assert isinstance(network.stretch, EuclidStretch)
    stretched = network.stretched(torch.from_numpy(flux.images))
    assert stretched.shape == (16, 3, SIDE, SIDE)
    assert stretched.amin() >= 0
    assert stretched.amax() <= 1
    assert training_views(network, spec, {}).views == RandomViews(SIDE, field=spec.field)
    classifier.to_onnx(tmp_path / 'model.onnx')
    came = OnnxClassifier(tmp_path / 'model.onnx').predict_proba(flux)
    np.testing.assert_allclose(came, classifier.predict_proba(flux), atol=1e-4)
    # The encoder itself takes flux of Euclid, in the unit of its mosaics.
    encoder = MorphologyEncoder.from_pretrained(names['zoobot-encoder-euclid'], verbose=0)
    side = encoder.model_.spec.size
    flux = CutoutSet(np.ones((1, 2, side, side)), bands=('VIS', 'Y'))
    assert np.isfinite(encoder.transform(flux)).all()


def test_grey_encoder_sees_the_mean_of_a_picture(names):
    pictures = np.random.default_rng(0).integers(0, 255, (3, 3, 60, 60)).astype(np.uint8)
    grey = pictures.astype(float).mean(axis=1, keepdims=True).repeat(3, axis=1)
    encoder = MorphologyEncoder.from_pretrained(names['zoobot-encoder-greyscale'], verbose=0)
    assert encoder.model_.spec.bands == ('grey',)
    encoder = encoder.adapt(pictures)
    kind = {'kind': 'picture', 'bands': encoder.model_.spec.bands}
    came, expected = (encoder.transform(CutoutSet(x, **kind)) for x in (pictures, grey))
    np.testing.assert_allclose(came, expected, rtol=1e-3, atol=1e-4)


def test_flux_is_drawn_to_the_look_of_pictures(names):
    survey = SimulatedSurvey(n_galaxies=8, kinds=['edge_on', 'round'], random_state=0)
    catalogue = survey.catalogue
    drawn = make(names['convnext'], source=survey, bands='rgb').fit(catalogue).model_
    assert (drawn.spec.kind, drawn.spec.channels) == ('picture', ('red', 'green', 'blue'))
    assert isinstance(drawn.network.stretch, PictureStretch)
    model = make(names['convnext'], source=survey).fit(catalogue).model_
    assert isinstance(model.network.stretch, FluxStretch)
    images = torch.from_numpy(survey.fetch(catalogue).images.astype(np.float32))
    stretched = model.network.stretch(images)
    assert (stretched.amin(), stretched.amax()) == (0, 1)
    # Red is first in pictures, and g in this flux: the filters are turned round.
    filters = 'network.stem.0.weight'
    first, turned = (m.network.encoder.state_dict()[filters] for m in (drawn, model))
    torch.testing.assert_close(first.flip(1), turned)


@pytest.mark.parametrize('encoder', ['hf-hub', 'hub:owner/name', 'nothing'])
def test_name_that_is_none(encoder, blobs):
    with pytest.raises(ValueError, match=r"a name that begins with one of \['hf-hub', "):
        starting_encoder(make(encoder), blobs)


class TestSwapOfTheBackbone:
    """Equal weights in a network of timm must learn as in ours: head, batch norms, dropout."""

    @pytest.fixture
    def swapped(self):
        """Two encoders of equal weights: our ResNet, and that of timm."""
        ours = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0)
        model = ours.model_
        spec = dataclasses.replace(model.spec, architecture='timm:resnet18')
        network = build_network(spec)
        network.encoder.network.load_state_dict(model.network.encoder.state_dict())
        network.stretch = model.network.stretch
        theirs = MorphologyEncoder(verbose=0)
        theirs.model_ = TorchModel(spec, network)
        return ours, theirs

    def test_semi_supervised_training_is_the_same(self, swapped, monkeypatch):
        def same_head(n_features, n_outputs):
            # The random one differs, as the networks draw different numbers before it.
            head = nn.Linear(n_features, n_outputs)
            with torch.no_grad():
                head.bias.zero_()
                head.weight.copy_(torch.linspace(-0.04, 0.04, head.weight.numel()).view(2, -1))
            return head

        monkeypatch.setattr(strategies, 'classification_head', same_head)
        blobs = make_blobs(32, size=20)
        labels = np.array(blobs.table['morphology'])
        labels[20:] = ''
        ours, theirs = (
            make(encoder, strategy='semi-supervised', epochs=1, batch_size=8).fit(blobs, labels)
            for encoder in swapped
        )
        assert isinstance(theirs.model_.network.encoder, TimmEncoder)
        assert abs(ours.history_[-1]['loss'] - theirs.history_[-1]['loss']) < 0.01
        difference = ours.predict_proba(blobs) - theirs.predict_proba(blobs)
        assert np.abs(difference).max() < 0.02

    @pytest.mark.parametrize('name', ['convnext', 'efficientnet', 'transformer'])
    def test_new_head_is_not_overconfident(self, names, blobs, name):
        encoder = MorphologyEncoder.from_pretrained(names[name], preprocessing=None, verbose=0)
        features = torch.from_numpy(encoder.adapt(blobs).transform(blobs))
        with torch.random.fork_rng():
            head = strategies.classification_head(features.shape[1], 4)
            assert head(features).softmax(1).amax() < 0.9

    def test_batch_norms_and_dropout_are_kept(self, swapped, tmp_path):
        ours, theirs = (
            {part.momentum for part in encoder.model_.network.modules() if has_momentum(part)}
            for encoder in swapped
        )
        assert ours == theirs
        with torch.random.fork_rng():
            network = timm.create_model('test_convnext', drop_path_rate=0.3, num_classes=0)
        timm.models.save_for_hf(network, tmp_path, model_args={'drop_path_rate': 0.3})
        encoder = MorphologyEncoder.from_pretrained(f'local-dir:{tmp_path}', verbose=0)
        rates = [getattr(part, 'drop_prob', 0) for part in encoder.model_.network.modules()]
        assert max(rates) == pytest.approx(0.3)


def test_cluster_annotates_as_one_process_does(names, tmp_path):
    lsdb = pytest.importorskip('lsdb', exc_type=ImportError)
    from astro_morph.prediction.lsdb import annotate

    survey = SimulatedSurvey(n_galaxies=8, kinds=['edge_on', 'round'], random_state=0)
    classifier = make(names['convnext'], source=survey, size=32).fit(survey.catalogue)
    classifier.save(tmp_path / 'model.pt')
    positions = survey.catalogue['ra', 'dec']
    annotated = annotate(lsdb.from_astropy(positions), tmp_path / 'model.pt', source=survey)
    came = annotated.compute(progress_bar=False).sort_values('ra')
    expected = classifier.annotate(positions)
    expected.sort('ra')
    assert came['morph_class'].tolist() == expected['morph_class'].tolist()
    np.testing.assert_allclose(came['morph_p_round'], expected['morph_p_round'], atol=1e-4)


def has_momentum(part):
    return isinstance(part, nn.BatchNorm2d)


def test_numbers_and_votes_are_predicted_by_their_files(names, blobs, tmp_path):
    is_first = (np.array(blobs.table['morphology']) == blobs.table['morphology'][0]).astype(float)
    options = {'encoder': names['convnext'], 'preprocessing': None, 'verbose': 0}
    tree = {'first': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
    fitted = {
        OnnxRegressor: MorphologyRegressor('is_first', **options).fit(blobs, is_first),
        OnnxVotes: MorphologyVotes(tree, **options).fit(blobs, np.c_[is_first, 1 - is_first] * 10),
    }
    for read, estimator in fitted.items():
        path = tmp_path / f'{read.__name__}.pt'
        estimator.save(path)
        again = type(estimator).load(path, verbose=0)
        np.testing.assert_array_equal(again.predict(blobs), estimator.predict(blobs))
        estimator.to_onnx(path.with_suffix('.onnx'))
        light = read(path.with_suffix('.onnx'), verbose=0)
        np.testing.assert_allclose(light.predict(blobs), estimator.predict(blobs), atol=1e-3)
