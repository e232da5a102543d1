# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Model files of other versions, damaged or made by hand: a ValueError that says what is wrong."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
import torch

from astro_morph.models.novelty import fit_novelty
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import TorchModel, build_network

SPEC = ModelSpec(
    classes=('a', 'b'),
    bands=('g', 'r'),
    size=32,
    views=1,
    brightness={'low': [1, 1], 'high': [2, 2]},
)


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """The path of a model, and what is in its file."""
    path = tmp_path_factory.mktemp('good') / 'model.pt'
    network = build_network(SPEC)
    network.stretch.noise[:] = 1
    network.novelty = fit_novelty(np.random.default_rng(0).normal(size=(30, 512)))
    TorchModel(SPEC, network).stamped('1.0').save(path)
    return path, torch.load(path, weights_only=True)


def without(*names):
    return lambda weights: {n: v for n, v in weights.items() if not n.startswith(names)}


def with_weight(name, change):
    return lambda weights: weights | {name: change(weights[name])}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda weights: {}, r'it lacks weights .* in all\)'),
        (without('head'), r"it lacks weights \['head.bias', 'head.weight'\]"),
        (without('stretch'), 'it lacks weights .*stretch.gain'),
        (without('temperature'), 'it lacks weights .*temperature'),
        (without('novelty.known'), 'has the unknown weights .*novelty.axes'),
        (without('novelty.mean'), 'it lacks weights .*novelty.mean'),
        (lambda weights: weights | {'x': torch.zeros(1)}, r"has the unknown weights \['x'\]"),
        (lambda weights: weights | {7: torch.zeros(1)}, r"has the unknown weights \['7'\]"),
        (with_weight('head.bias', torch.Tensor.double), "the weights 'head.bias' are not of"),
        (with_weight('head.bias', lambda v: v[:1]), "the weights 'head.bias' are not of"),
        (with_weight('head.bias', lambda v: v.tolist()), "the weights 'head.bias' are not of"),
        (with_weight('head.bias', lambda v: {'a': v}), "the weights 'head.bias' are not of"),
        (with_weight('head.bias', lambda v: v.to_sparse()), ''),
        (
            with_weight('head.bias', lambda v: torch.zeros(1).expand(2)),
            "the weights 'head.bias' are not of",
        ),
        (with_weight('novelty.known', lambda v: v[:, 0]), 'has the unknown weights .*novelty'),
        (with_weight('novelty.axes', lambda v: v[:, :1]), "the weights 'novelty.axes' are not of"),
        (with_weight('head.bias', lambda v: v + 1), 'its weights have the fingerprint'),
        (with_weight('head.bias', lambda v: v * torch.nan), 'its weights have the fingerprint'),
    ],
)
def test_other_weights_than_those_of_the_specification(good, tmp_path, change, message):
    _, state = good
    torch.save(state | {'weights': change(state['weights'])}, tmp_path / 'bad.pt')
    with pytest.raises(ValueError, match=rf'bad\.pt.*{message}'):
        TorchModel.load(tmp_path / 'bad.pt')


def test_older_file_is_checked_by_its_identifier(good, tmp_path):
    _, state = good
    older = {name: value for name, value in state.items() if name != 'fingerprint'}
    torch.save(older, tmp_path / 'older.pt')
    assert TorchModel.load(tmp_path / 'older.pt').spec.classes == ('a', 'b')
    weights = with_weight('head.bias', lambda v: v + 1)(state['weights'])
    torch.save(older | {'weights': weights}, tmp_path / 'bad.pt')
    with pytest.raises(ValueError, match='its weights have the fingerprint'):
        TorchModel.load(tmp_path / 'bad.pt')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'format': 'astro_morph model 2'}, r"has the format 'astro_morph model 2', expected"),
        ({'format': 1}, 'has the format 1, expected'),
        ({'spec': None}, 'lacks its specification'),
        ({'weights': []}, 'lacks its specification or its weights'),
        ({'spec': '{'}, 'the specification is no JSON'),
        ({'spec': '[' * 100_000}, 'the specification is no JSON'),
        ({'spec': '[]'}, 'the specification is a list, expected a dictionary'),
        ({'spec': '{}'}, "has no 'bands' for its 'architecture' 'resnet18'"),
    ],
)
def test_other_entries(good, tmp_path, change, message):
    _, state = good
    torch.save(state | change, tmp_path / 'bad.pt')
    with pytest.raises(ValueError, match=rf'bad\.pt.*{message}'):
        TorchModel.load(tmp_path / 'bad.pt')


@pytest.mark.parametrize('content', [[], 'text', {}, {'format': 'x'}, torch.zeros(3), None])
def test_other_things_that_pytorch_writes(tmp_path, content):
    torch.save(content, tmp_path / 'bad.pt')
    with pytest.raises(ValueError, match=r'bad\.pt'):
        TorchModel.load(tmp_path / 'bad.pt')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'future': 1, 'version': '9.0'}, r"fields \['future'\], .* read it with version '9.0'"),
        ({'classes': 'ab'}, "'classes' of ab, expected a list of classes"),
        ({'classes': [['a'], ['b']]}, "'classes' of"),
        ({'numbers': ['a']}, "'numbers' of .* expected a dictionary of 'unit'"),
        ({'numbers': {'a': {'unit': 3, 'mean': 0, 'std': 1, 'scores': []}}}, "'numbers' of"),
        ({'numbers': {'a': {'unit': '', 'mean': 0, 'std': 1, 'scores': ['x']}}}, "'numbers' of"),
        (
            {'numbers': {'a': {'unit': '', 'mean': 0, 'std': 1, 'scores': []}}},
            "'numbers' of other names than its 'classes'",
        ),
        ({'classes': ['a']}, "the weights 'head.weight' are not of"),
        ({'bands': [1, 2]}, "'bands' of"),
        ({'bands': ['a'] * 10**6}, "'bands' of"),
        ({'bands': []}, "'brightness' of other bands"),
        ({'size': '32'}, "'size' of 32, expected an integer up to 4096"),
        ({'size': 10**9}, "'size' of 1000000000, expected"),
        ({'size': None}, 'of which only some are those of images'),
        ({'input_size': 10**9}, "'input_size' of"),
        ({'pixel_scale': -1}, "'pixel_scale' of -1, expected a positive number"),
        ({'framing': 3}, "'framing' of 3, expected text"),
        ({'kind': 'x-ray'}, "'kind' of x-ray"),
        ({'kind': ['flux']}, "'kind' of"),
        ({'kind': 'picture'}, 'of other bands'),
        ({'preprocessing': 'all'}, "'preprocessing' of all"),
        ({'preprocessing': {'unknown': 1}}, "'preprocessing' of"),
        ({'preprocessing': {'recentre': 'yes'}}, "'preprocessing' of"),
        ({'architecture': 'resnet9000'}, 'architecture must be one of'),
        ({'architecture': 'features'}, 'of which only some are those of images'),
        ({'architecture': 'resnet50'}, 'it lacks weights'),
        ({'views': 10**6}, "'views' of 1000000, expected 1, 4 or 8"),
        ({'stages': [9]}, "'stages' of"),
        ({'hidden': 10**9}, "'hidden' of 1000000000"),
        ({'hidden': 16}, 'it lacks weights'),
        ({'frozen': 'no'}, "'frozen' of no"),
        ({'tree': {'bar': 1}}, 'expected .*answers'),
        ({'tree': {'bar': {'answers': {'a': 'n_a', 'b': 'n_b'}}}}, "'tree' of other answers"),
        ({'brightness': {'low': [1]}}, "'brightness' of"),
        ({'brightness': {'low': [1, 'x'], 'high': [1, 2]}}, "'brightness' of"),
        ({'brightness': {'low': [1], 'high': [2]}}, "'brightness' of other bands"),
        ({'conformity': ['x']}, "'conformity' of"),
        ({'identifier': 5}, "'identifier' of 5"),
        ({'classes': ['b', 'a']}, 'its weights have the fingerprint'),
    ],
)
def test_other_specification(good, tmp_path, change, message):
    _, state = good
    spec = json.dumps(json.loads(state['spec']) | change)
    torch.save(state | {'spec': spec}, tmp_path / 'bad.pt')
    with pytest.raises(ValueError, match=rf'bad\.pt.*{message}'):
        TorchModel.load(tmp_path / 'bad.pt')


def deflate(path):
    """Write an archive again, compressed: a small file would take any memory."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data if name.endswith('.pkl') else bytes(len(data)))


@pytest.mark.parametrize(
    'damage',
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b''),
        lambda path: path.write_text('no model'),
        deflate,
    ],
    ids=['end', 'half', 'empty', 'text', 'compressed'],
)
def test_damaged_archive(good, tmp_path, damage):
    path = tmp_path / 'bad.pt'
    path.write_bytes(good[0].read_bytes())
    damage(path)
    with pytest.raises(ValueError, match=r"bad\.pt' is not a model file of astro_morph; name one"):
        TorchModel.load(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.pt'; check its name"):
        TorchModel.load(tmp_path / 'none.pt')
    with pytest.raises(ValueError, match='is not a model file'):
        TorchModel.load(tmp_path)


def test_specification_survives_as_json():
    spec = dataclasses.replace(
        SPEC, pixel_scale=0.4, stages=(2, 3), preprocessing={'neighbours': None, 'rotate': True}
    )
    assert ModelSpec.from_json(spec.to_json()) == spec
