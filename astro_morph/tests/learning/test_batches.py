# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Batches of images: the same from memory, from a file and from the device, and no other rows."""

import numpy as np
import pytest
import torch

from astro_morph.learning.training import batches as module
from astro_morph.learning.training.batches import Batches

CPU = torch.device('cpu')
ROWS = torch.tensor([1, 4, 4, 9])


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (10, 3, 5, 5), np.uint8)


@pytest.fixture
def path(pictures, tmp_path):
    np.save(tmp_path / 'pictures.npy', pictures)
    return tmp_path / 'pictures.npy'


def test_bytes_become_zero_to_one(pictures):
    batch = Batches(pictures, CPU).take(ROWS)
    assert batch.dtype == torch.float32
    np.testing.assert_allclose(batch, pictures[ROWS] / 255, rtol=1e-6)


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_floats_stay_what_they_are(dtype):
    images = np.random.default_rng(0).normal(scale=100, size=(10, 1, 3, 3)).astype(dtype)
    batch = Batches(images, CPU).take(ROWS)
    assert batch.dtype == torch.float32
    np.testing.assert_allclose(batch, images[ROWS], rtol=1e-6)


@pytest.mark.parametrize('mode', ['r', 'c', 'r+'])
def test_file_is_read_as_an_array_is(mode, path, pictures):
    images = np.load(path, mmap_mode=mode)
    if mode == 'c':
        images[4] = pictures[4] = 7
    batches = Batches(images[:], CPU)
    for _ in range(2):
        np.testing.assert_allclose(batches.take(ROWS), pictures[ROWS] / 255, rtol=1e-6)
    np.testing.assert_array_equal(images, pictures)


def test_images_live_on_the_device_if_they_fit(pictures, monkeypatch):
    host = Batches(pictures, CPU)
    monkeypatch.setattr(module, 'CHUNK', 4)
    for free, is_resident in [(pictures.nbytes, False), (3 * pictures.nbytes, True)]:
        monkeypatch.setattr(module, '_free_memory', lambda device, free=free: free)
        batches = Batches(pictures.copy(), CPU)
        taken = batches.take(ROWS)
        # Changes in memory do not affect the images on the device.
        batches._images[:] = 0
        assert torch.equal(batches.take(ROWS), taken) == is_resident
        assert torch.equal(taken, host.take(ROWS))


def test_memory_of_the_cpu_is_not_filled_with_a_copy(pictures):
    batches = Batches(pictures, CPU)
    pictures[:] = 51
    assert batches.take(ROWS).unique().tolist() == pytest.approx([0.2])


def test_empty_batch():
    batches = Batches(np.zeros((3, 1, 2, 2), np.uint8), CPU)
    assert batches.take(torch.zeros(0, dtype=torch.long)).shape == (0, 1, 2, 2)
    assert len(batches) == 3
