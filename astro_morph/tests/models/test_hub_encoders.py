# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Published encoders: their names, contracts, weights, and folders that timm alone reads."""

import dataclasses
import json
import os
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from astro_morph import MorphologyEncoder
from astro_morph.models.encoders.arguments import check_arguments
from astro_morph.models.encoders.contracts import Contract, contract_of
from astro_morph.models.encoders.hub import load_encoder
from astro_morph.models.encoders.names import split_name
from astro_morph.models.stretch import EuclidStretch
from astro_morph.models.torch_model import TorchModel
from astro_morph.models.weights.files import read_safetensors, write_safetensors

timm = pytest.importorskip('timm')

IMAGENET = {'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]}


def published(folder, architecture='test_convnext', **options):
    """Write a network of random weights as others publish them; return its name."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(architecture, **options)
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return f'local-dir:{folder}'


def of_timm(name):
    return timm.create_model(name, pretrained=True, num_classes=0).eval()


def random_images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope='module')
def convnext(tmp_path_factory):
    return published(tmp_path_factory.mktemp('hub') / 'convnext')


@pytest.mark.parametrize(
    ('name', 'parts'),
    [
        ('hf-hub:owner/name', ('hf-hub', 'owner/name')),
        ('hf_hub:owner/name', ('hf-hub', 'owner/name')),
        ('local-dir:folder', ('local-dir', 'folder')),
        ('local-dir:C:\\folder', ('local-dir', 'C:\\folder')),
        ('timm:resnet18', ('timm', 'resnet18')),
        ('timm', None),
        ('auto', None),
        ('C:\\encoder.pt', None),
        (3, None),
    ],
)
def test_scheme_of_a_name(name, parts):
    assert split_name(name) == parts


def test_scheme_without_a_place():
    with pytest.raises(ValueError, match='pass hf-hub: and a repository'):
        split_name('hf-hub:')


@pytest.mark.parametrize(
    ('name', 'n_bands', 'expected'),
    [
        ('mwalmsley/zoobot-encoder-convnext_nano', 3, ('zoobot', 'red', 224, 1.2, 'picture', ())),
        ('/here/zoobot-encoder-resnet18', 3, ('zoobot', 'red', 224, 1.2, 'picture', ())),
        (
            'mwalmsley/zoobot-encoder-greyscale-convnext_pico',
            1,
            ('zoobot', 'grey', 224, 1.2, 'picture', ()),
        ),
        (
            'mwalmsley/zoobot-encoder-euclid',
            3,
            ('zoobot-euclid', 'Y', 224, 1.2, 'euclid', ()),
        ),
        ('timm/convnext_nano', 3, ('', 'red', 96, 1.0, 'picture', tuple(IMAGENET['mean']))),
    ],
)
def test_contract_of_a_family(name, n_bands, expected):
    contract = contract_of(name, n_bands=n_bands, input_size=96, **IMAGENET)
    came = contract.family, contract.channels[0], contract.input_size, contract.zoom
    assert (*came, contract.stretch, contract.mean) == expected


@pytest.mark.parametrize(
    ('architecture', 'options'),
    [
        ('test_convnext', {}),
        ('test_convnext', {'in_chans': 1, 'num_classes': 0}),
        ('test_efficientnet', {'num_classes': 5}),
        ('test_vit', {'img_size': 48}),
    ],
)
@torch.no_grad()
def test_features_are_those_of_timm(tmp_path, architecture, options):
    name = published(tmp_path / 'network', architecture, **options)
    model = load_encoder(name)
    encoder, spec = model.network.encoder, model.spec
    images = random_images(2, len(spec.channels), spec.input_size, spec.input_size)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (spec.contract.mean, spec.contract.std))
    expected = of_timm(name)((images - mean) / std)
    torch.testing.assert_close(encoder(images), expected)
    features, maps = encoder.forward_stages(images)
    torch.testing.assert_close(features, expected)
    assert encoder.n_features == model.n_features == expected.shape[1]
    assert encoder.stage_channels == tuple(stage.shape[1] for stage in maps)
    assert model.network.n_texture == 2 * maps[2].shape[1]
    # Through the model, pictures of bytes; and the model from its file.
    model.network.views = 1
    pictures = (255 * images).numpy()
    _, features, texture = model.run(pictures)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    assert texture.shape[1] == model.network.n_texture
    for file in ('encoder.pt', 'encoder.safetensors'):
        model.save(tmp_path / file)
        again = TorchModel.load(tmp_path / file)
        again.network.views = 1
        assert again.spec == dataclasses.replace(spec, brightness=again.spec.brightness)
        np.testing.assert_array_equal(again.run(pictures)[1], features)


@torch.no_grad()
def test_zoobot_is_not_normalised_and_sees_the_centre(tmp_path):
    name = published(tmp_path / 'zoobot-encoder-convnext', num_classes=0)
    config = json.loads((tmp_path / 'zoobot-encoder-convnext' / 'config.json').read_text())
    assert config['pretrained_cfg']['mean'] == [0.5] * 3
    model = load_encoder(name)
    model.network.views = 1
    assert model.spec.bands == ('red', 'green', 'blue')
    assert (model.spec.size, model.spec.field) == (268, 224)
    pictures = (255 * random_images(1, 3, 268, 268)).round()
    expected = of_timm(name)(pictures[..., 22:-22, 22:-22] / 255)
    np.testing.assert_allclose(model.run(pictures.numpy())[1], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_zoobots_resnet_needs_no_timm(tmp_path, monkeypatch):
    folder = tmp_path / 'zoobot-encoder-resnet18'
    name = published(folder, 'resnet18', num_classes=0)
    monkeypatch.setitem(sys.modules, 'timm', None)
    encoder = load_encoder(name).network.encoder
    torch_resnet = torchvision.models.resnet18()
    torch_resnet.fc = torch.nn.Identity()
    torch_resnet.load_state_dict(encoder.state_dict())
    images = random_images(1, 3, 64, 64)
    torch.testing.assert_close(encoder(images), torch_resnet.eval()(images))


def test_missing_package_is_named_with_its_command(convnext, monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ModuleNotFoundError, match='python -m pip install timm'):
        load_encoder(convnext)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ModuleNotFoundError, match='python -m pip install huggingface_hub'):
        load_encoder('hf-hub:owner/name')


@torch.no_grad()
@pytest.mark.parametrize('file', ['anything.pth', 'anything.safetensors'])
@pytest.mark.parametrize('n_bands', [3, 5])
def test_weights_of_torchvision_on_disk(tmp_path, file, n_bands):
    with torch.random.fork_rng():
        network = torchvision.models.resnet18()
        network.conv1 = torch.nn.Conv2d(n_bands, 64, 7, 2, 3, bias=False)
    write(network.state_dict(), tmp_path / file)
    encoder = MorphologyEncoder.from_pretrained(str(tmp_path / file)).model_.network.encoder
    network.fc = torch.nn.Identity()
    images = random_images(1, n_bands, 64, 64)
    torch.testing.assert_close(encoder(images), network.eval()(images))


@torch.no_grad()
def test_weights_of_timm_on_disk_are_named_for_their_architecture(tmp_path):
    with torch.random.fork_rng():
        network = timm.create_model('test_convnext', num_classes=3).eval()
    write(network.state_dict(), tmp_path / 'test_convnext.mine.pth')
    encoder = load_encoder(tmp_path / 'test_convnext.mine.pth').network.encoder
    images = random_images(1, 3, 64, 64)
    expected = network.forward_head(network.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder(images), expected)
    write(network.state_dict(), tmp_path / 'mine.pth')
    with pytest.raises(ValueError, match=r"mine\.pth.* pass 'local-dir:' and a folder"):
        load_encoder(tmp_path / 'mine.pth')


@torch.no_grad()
@pytest.mark.parametrize(
    'wrap',
    [
        lambda weights: {'state_dict': weights, 'epoch': 3},
        lambda weights: {'model': weights, 'optimizer': {'lr': 0.1}},
        lambda weights: {f'module.{name}': tensor for name, tensor in weights.items()},
        lambda weights: {'model': {f'module.{n}': tensor for n, tensor in weights.items()}},
        lambda weights: {f'_orig_mod.{name}': tensor for name, tensor in weights.items()},
    ],
)
def test_weights_in_a_checkpoint(tmp_path, wrap):
    with torch.random.fork_rng():
        network = timm.create_model('test_convnext', num_classes=0).eval()
    torch.save(wrap(network.state_dict()), tmp_path / 'test_convnext.pth')
    encoder = load_encoder(tmp_path / 'test_convnext.pth').network.encoder
    images = random_images(1, 3, 64, 64)
    torch.testing.assert_close(encoder(images), network(images))


def test_format_of_a_file_is_told_by_its_content(tmp_path, convnext):
    network = timm.create_model('test_convnext', num_classes=0)
    for made, named in (('a.safetensors', 'test_convnext.pt'), ('a.pt', 'a.safetensors')):
        write(network.state_dict(), tmp_path / made)
        (tmp_path / made).rename(tmp_path / 'test_convnext.any')
        encoder = load_encoder(tmp_path / 'test_convnext.any').network.encoder
        torch.testing.assert_close(encoder.network.state_dict(), network.state_dict())
        load_encoder(convnext).save(tmp_path / made)
        (tmp_path / made).rename(tmp_path / named)
        assert TorchModel.load(tmp_path / named).spec.architecture == 'timm:test_convnext'


def write(weights, path):
    if path.suffix == '.safetensors':
        from safetensors.torch import save_file

        save_file(weights, path)
    else:
        torch.save(weights, path)


class TestEuclidStretch:
    @pytest.mark.parametrize('bands', [('VIS', 'Y'), ('Y', 'VIS')])
    def test_channels_are_those_of_the_formula(self, bands):
        flux = np.random.default_rng(0).normal(size=(3, 2, 40, 40)).astype(np.float32)
        flux[0, 0, 3, 3] = 1000
        came = EuclidStretch([2.0, 0.1], bands)(torch.from_numpy(flux)).numpy()
        by_band = {}
        for band, factor in (('VIS', 100), ('Y', 0.2)):
            image = flux[:, bands.index(band)].clip(min=0)
            limit = np.percentile(image, 99.85, axis=(1, 2), keepdims=True)
            by_band[band] = np.arcsinh(factor * np.minimum(image, limit))
        mean = (by_band['VIS'] + by_band['Y']) / 2
        expected = np.stack([by_band['Y'], mean, by_band['VIS']], 1)
        expected -= expected.min(axis=(2, 3), keepdims=True)
        expected /= expected.max(axis=(2, 3), keepdims=True)
        np.testing.assert_allclose(came, expected, atol=1e-5)

    def test_one_band_and_missing_pixels(self):
        flux = torch.tensor([[[[np.nan, 1.0], [2.0, -1.0]]]])
        came = EuclidStretch([1.0], ('VIS',))(flux)
        assert came.shape == flux.shape
        assert came.isfinite().all()
        assert came[0, 0, 0, 0] == came[0, 0, 1, 1] == 0
        assert EuclidStretch([1.0], ('VIS',))(torch.zeros(1, 1, 5, 5)).eq(0).all()

    def test_other_flux_is_stretched_as_for_pictures(self):
        contract = contract_of('zoobot-encoder-euclid', n_bands=3, input_size=224, mean=(), std=())
        assert contract.bands == ('VIS', 'Y')
        assert contract.for_images(('Euclid_Y', 'Euclid_VIS'), 'flux') is contract
        other = contract.for_images(('g', 'r'), 'flux')
        assert (other.stretch, other.channels) == ('lupton', ('g', 'r'))
        assert contract.for_images(('red', 'green', 'blue'), 'picture').stretch == 'picture'


class TestToHub:
    def test_timm_alone_loads_it(self, tmp_path):
        encoder = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0)
        encoder.to_hub(tmp_path / 'ours')
        assert sorted(path.name for path in (tmp_path / 'ours').iterdir()) == [
            'README.md',
            'config.json',
            'model.safetensors',
        ]
        name = f'local-dir:{tmp_path / "ours"}'
        images = random_images(2, 3, 64, 64)
        with torch.no_grad():
            expected = encoder.model_.network.encoder(images)
            torch.testing.assert_close(of_timm(name)(images), expected, rtol=1e-3, atol=1e-4)
        pictures = (255 * images).byte().numpy()
        again = MorphologyEncoder.from_pretrained(name, verbose=0)
        np.testing.assert_array_equal(again.transform(pictures), encoder.transform(pictures))
        assert 'red, green, blue' in (tmp_path / 'ours' / 'README.md').read_text()

    def test_adapted_encoder_of_others_in_flux(self, tmp_path, convnext):
        flux = np.random.default_rng(0).normal(size=(12, 5, 20, 20)).astype(np.float32)
        encoder = MorphologyEncoder.from_pretrained(convnext, preprocessing=None, verbose=0)
        encoder = encoder.adapt(flux)
        encoder.to_hub(tmp_path / 'mine')
        name = f'local-dir:{tmp_path / "mine"}'
        again = MorphologyEncoder.from_pretrained(name, verbose=0)
        np.testing.assert_array_equal(again.transform(flux[:2]), encoder.transform(flux[:2]))
        assert of_timm(name).stem[0].in_channels == 5

    def test_nothing_is_replaced_unasked(self, tmp_path, convnext):
        encoder = MorphologyEncoder.from_pretrained(convnext)
        encoder.to_hub(tmp_path)
        with pytest.raises(FileExistsError, match=r'model\.safetensors'):
            encoder.to_hub(tmp_path)
        encoder.to_hub(tmp_path, overwrite=True)

    def test_a_file_is_no_folder(self, tmp_path, convnext):
        (tmp_path / 'mine').touch()
        with pytest.raises(NotADirectoryError, match=r'mine.*which is a file; name a folder'):
            MorphologyEncoder.from_pretrained(convnext).to_hub(tmp_path / 'mine')

    def test_plain_features_are_refused(self, tmp_path):
        encoder = MorphologyEncoder(verbose=0).fit(np.random.default_rng(0).normal(size=(9, 3)))
        with pytest.raises(ValueError, match='takes plain features'):
            encoder.to_hub(tmp_path / 'hub')
        assert not (tmp_path / 'hub').exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'architecture': 'nothing_there'}, "has no architecture 'nothing_there'"),
        ({'architecture': None}, 'names no architecture of timm'),
        ({'architecture': 'test_vit'}, 'it lacks weights'),
        ({'model_args': [1]}, 'names no architecture of timm'),
        ({'model_args': {'checkpoint_path': '/etc/passwd'}}, "argument 'checkpoint_path'"),
        ({'model_args': {'pretrained': True}}, "argument 'pretrained'"),
        ({'model_args': {'dims': [8, 8, 8, 10**9]}}, "argument 'dims'"),
        ({'model_args': {'depths': [10**6] * 4}}, "argument 'depths'"),
        ({'model_args': {'dims': [8, 8, 8, 8]}}, 'are not of the shape'),
        ({'model_args': {'img_size': 7}}, 'timm builds no'),
        ({'model_args': {'in_chans': 10**9}}, 'has 1000000000 channels'),
        ({'model_args': {'in_chans': 'three'}}, 'has three channels'),
        ({'pretrained_cfg': 3}, 'names no architecture of timm'),
        ({'pretrained_cfg': {'mean': 'grey'}}, "'mean' of grey"),
        ({'pretrained_cfg': {'mean': [0.5]}}, 'a mean or a deviation for other channels'),
        ({'pretrained_cfg': {'std': [0, 0, 0]}}, "'std' of"),
        ({'pretrained_cfg': {'input_size': [3, 10**9, 10**9]}}, "'input_size' of"),
        ({'pretrained_cfg': {'input_size': [3, 4096, 4096]}}, "'input_size' of"),
        ({'pretrained_cfg': {'input_size': [3, 32, 64]}}, 'expected channels and two equal sides'),
        ({'pretrained_cfg': {'input_size': [3, 0, 0]}}, 'expected channels and two equal sides'),
        ({'pretrained_cfg': {'input_size': 'a'}}, 'expected channels and two equal sides'),
        (
            {'pretrained_cfg': {'input_size': [3, 1, 1], 'classifier': 'head.fc'}},
            'takes no image of 1 x 1 pixels',
        ),
        (
            {'pretrained_cfg': {'std': [1e-300] * 3, 'mean': [0] * 3, 'classifier': 'head.fc'}},
            'are not .* finite numbers',
        ),
        ({'model_args': {'global_pool': ''}}, 'are not .* finite numbers|takes no image'),
        ({'model_args': {'depths': [1, 1]}}, 'fewer than four stages|timm builds no|lacks weights'),
        ({'pretrained_cfg': {'classifier': 7}}, 'has the unknown weights'),
        ({'astro_morph': {'spec': '{}'}}, 'is not that of an encoder'),
    ],
)
def test_configuration_made_by_hand(tmp_path, convnext, change, message):
    folder = tmp_path / 'bad'
    published(folder)
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=rf'the encoder .*bad.*{message}'):
        load_encoder(f'local-dir:{folder}')


@pytest.mark.parametrize('text', ['', '[]', '{', '[' * 100_000, ' ' * 2_000_000])
def test_configuration_that_is_none(tmp_path, text):
    published(tmp_path / 'bad')
    (tmp_path / 'bad' / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=r'its config\.json'):
        load_encoder(f'local-dir:{tmp_path / "bad"}')


@pytest.mark.parametrize('value', [np.inf, np.nan, 3e38])
def test_weights_that_are_no_numbers(tmp_path, value):
    published(tmp_path / 'bad')
    path = tmp_path / 'bad' / 'model.safetensors'
    weights, metadata = read_safetensors(path)
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    weights[name].fill_(value)
    write_safetensors(path, weights, metadata)
    with pytest.raises(ValueError, match='finite numbers'):
        load_encoder(f'local-dir:{path.parent}')


def test_unknown_name_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"one of .*sdss-moco.*'local-dir'.*'nothing' is none"):
        MorphologyEncoder.from_pretrained('nothing')


@pytest.mark.parametrize('damage', ['truncated', 'length', 'text', 'empty'])
@pytest.mark.parametrize('file', ['bad/model.safetensors', 'model.safetensors'])
def test_damaged_safetensors(tmp_path, convnext, file, damage):
    published(tmp_path / 'bad')
    load_encoder(convnext).save(tmp_path / 'model.safetensors')
    path = tmp_path / file
    content = path.read_bytes()
    damaged = {
        'truncated': content[:-100],
        'length': b'\xff' * 8 + content[8:],
        'text': b'no tensors at all',
        'empty': b'',
    }
    path.write_bytes(damaged[damage])
    name = f'local-dir:{path.parent}' if '/' in file else path
    with pytest.raises(ValueError, match=r'model\.safetensors|bad'):
        load_encoder(name)


def test_changed_model_file_of_safetensors(tmp_path, convnext):
    from safetensors.torch import load_file, save_file

    model = load_encoder(convnext)
    path = tmp_path / 'model.safetensors'
    model.save(path)
    metadata = {'format': 'astro_morph model 1', 'spec': model.spec.to_json()}
    weights = load_file(path)
    save_file(weights, path, metadata | {'fingerprint': 'other'})
    with pytest.raises(ValueError, match='its weights have the fingerprint'):
        TorchModel.load(path)
    weights['temperature'] = torch.zeros(3)
    save_file(weights, path, metadata)
    with pytest.raises(ValueError, match="the weights 'temperature' are not of"):
        TorchModel.load(path)
    with pytest.raises(ValueError, match='compact=True'):
        model.save(path, compact=True, overwrite=True)


def test_folder_without_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no folder'):
        load_encoder(f'local-dir:{tmp_path / "none"}')
    with pytest.raises(FileNotFoundError, match=r'lacks config\.json'):
        load_encoder(f'local-dir:{tmp_path}')


def test_folder_in_the_home_folder(convnext, monkeypatch):
    home, folder = os.path.split(convnext.removeprefix('local-dir:'))
    monkeypatch.setenv('HOME', home)
    monkeypatch.setenv('USERPROFILE', home)
    assert load_encoder(f'local-dir:~/{folder}').spec == load_encoder(convnext).spec


class TestHub:
    """Repositories of huggingface.co, without a connection to it."""

    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        hub = pytest.importorskip('huggingface_hub')
        monkeypatch.setattr(hub.constants, 'HF_HUB_CACHE', str(tmp_path))
        monkeypatch.setattr(time, 'sleep', lambda _: pytest.fail('it tries again'))
        return hub

    @pytest.mark.parametrize(
        ('name', 'revision'), [('owner/convnext', None), ('owner/convnext@v2', 'v2')]
    )
    @pytest.mark.parametrize('is_cached', [True, False])
    def test_files_are_fetched_once(self, hub, convnext, monkeypatch, name, revision, is_cached):
        folder, asked = Path(convnext.removeprefix('local-dir:')), []

        def download(repo_id, filename, *, revision, local_files_only=False):
            asked.append((repo_id, filename, revision, local_files_only))
            if local_files_only > is_cached:
                raise hub.errors.LocalEntryNotFoundError(filename)
            return folder / filename

        monkeypatch.setattr(hub, 'hf_hub_download', download)
        monkeypatch.setattr(hub, 'get_hf_file_metadata', lambda url: None)
        model = load_encoder(f'hf-hub:{name}')
        assert model.spec.architecture == 'timm:test_convnext'
        assert {(repository, version) for repository, _, version, _ in asked} == {
            ('owner/convnext', revision)
        }
        assert len(asked) == 2 if is_cached else 4

    def test_without_a_connection_it_fails_at_once(self, hub, monkeypatch):
        with socket.create_server(('127.0.0.1', 0)) as closed:
            port = closed.getsockname()[1]
        address = f'http://127.0.0.1:{port}/' + '{repo_id}/{revision}/{filename}'
        monkeypatch.setattr(hub.constants, 'HUGGINGFACE_CO_URL_TEMPLATE', address)
        with pytest.raises(OSError, match=r"'owner/name@v2' cannot be fetched .* pass 'loc"):
            load_encoder('hf-hub:owner/name@v2')


@pytest.mark.parametrize('value', [True, 'avg', 64, [1, 2, 3, 4], None])
def test_arguments_that_describe_layers(value):
    check_arguments({'global_pool': value})


@pytest.mark.parametrize('name', ['cache_dir', 'features_only', 'pretrained_cfg', 3])
def test_arguments_that_do_not(name):
    with pytest.raises(ValueError, match='is not known, or too large'):
        check_arguments({name: 1})


@pytest.mark.parametrize(
    'fields',
    [
        {'future': 1},
        {'zoom': 0},
        {'range': [0, 1, 2]},
        {'range': [0, float('nan')]},
        {'channels': []},
        {'stretch': 'any'},
        {'mean': [1]},
    ],
)
def test_contract_made_by_hand(fields):
    with pytest.raises(ValueError, match='the contract of the encoder'):
        Contract.from_dict(fields)
