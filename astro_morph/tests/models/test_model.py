# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of model files."""

import os

import numpy as np
import onnx
import pytest
import torch

from astro_morph.models.export import export
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import TorchModel, build_network
from astro_morph.models.weights import bundled_path
from astro_morph.tests.helpers import fill_disk


@pytest.fixture
def model():
    spec = ModelSpec(
        bands=('red', 'green', 'blue'), size=32, kind='picture', views=1, classes=('a', 'b')
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TorchModel(spec, build_network(spec))


class TestSave:
    def test_compact_file_is_a_fourth_and_gives_the_same_answers(self, model, tmp_path):
        model.save(tmp_path / 'full.pt')
        model.save(tmp_path / 'compact.pt', compact=True)
        full, compact = ((tmp_path / f'{name}.pt').stat().st_size for name in ('full', 'compact'))
        assert compact < 0.27 * full
        images = np.random.default_rng(0).uniform(0, 255, (4, 3, 32, 32)).astype(np.float32)
        again = TorchModel.load(tmp_path / 'compact.pt')
        for before, after in zip(model.run(images)[:2], again.run(images)[:2], strict=True):
            np.testing.assert_allclose(after, before, rtol=0.05, atol=0.02 * np.abs(before).max())

    def test_filter_of_zeros_stays_one(self, model, tmp_path):
        with torch.no_grad():
            model.network.encoder.conv1.weight[3] = 0
        model.save(tmp_path / 'model.pt', compact=True)
        weight = TorchModel.load(tmp_path / 'model.pt').network.encoder.conv1.weight
        assert (weight[3] == 0).all()
        assert weight.isfinite().all()

    def test_weights_of_a_bundled_model_are_left_out(self, tmp_path):
        model = TorchModel.load(bundled_path('sdss-moco-resnet18'))
        with torch.no_grad():
            model.network.encoder.bn1.bias += 1
        model.save(tmp_path / 'model.pt', base='sdss-moco-resnet18')
        assert (tmp_path / 'model.pt').stat().st_size < 100_000
        images = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 64)).astype(np.float32)
        again = TorchModel.load(tmp_path / 'model.pt')
        for before, after in zip(model.run(images), again.run(images), strict=True):
            np.testing.assert_array_equal(after, before)

    def test_unknown_base_is_refused(self, model, tmp_path):
        model.save(tmp_path / 'model.pt')
        state = torch.load(tmp_path / 'model.pt', weights_only=True)
        torch.save(state | {'base': '../secret'}, tmp_path / 'other.pt')
        with pytest.raises(ValueError, match=r"there is no bundled model '\.\./secret'"):
            TorchModel.load(tmp_path / 'other.pt')

    def test_file_is_replaced_only_if_asked(self, model, tmp_path):
        path = tmp_path / 'model.pt'
        model.save(path)
        content = path.read_bytes()
        with pytest.raises(FileExistsError, match=r'model\.pt exists already; use overwrite=True'):
            model.save(path)
        model.save(path, overwrite=True)
        # The file does not depend on the name under which it was written.
        assert path.read_bytes() == content

    def test_full_disk_leaves_nothing(self, model, tmp_path, monkeypatch):
        fill_disk(monkeypatch, torch, 'save')
        with pytest.raises(OSError, match='No space left'):
            model.save(tmp_path / 'model.pt')
        assert os.listdir(tmp_path) == []


class TestExport:
    def test_existing_file_is_refused_before_the_work(self, model, tmp_path, monkeypatch):
        path = tmp_path / 'model.onnx'
        path.write_text('old')
        monkeypatch.setattr(torch.onnx, 'export', lambda *args, **options: pytest.fail('exported'))
        with pytest.raises(
            FileExistsError, match=r'model\.onnx exists already; use overwrite=True'
        ):
            export(model, path)
        assert path.read_text() == 'old'

    def test_full_disk_leaves_nothing(self, model, tmp_path, monkeypatch):
        fill_disk(monkeypatch, onnx, 'save')
        with pytest.raises(OSError, match='No space left'):
            export(model, tmp_path / 'model.onnx')
        assert os.listdir(tmp_path) == []
