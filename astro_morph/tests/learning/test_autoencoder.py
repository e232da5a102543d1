# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The auto-encoder: its loss against NumPy, its decoder, and what it learns to reconstruct."""

import numpy as np
import pytest
import torch
from torch import nn

from astro_morph.learning.objectives import AutoEncoder
from astro_morph.learning.objectives.autoencoder import decoder
from astro_morph.tests.helpers import make_blobs
from astro_morph.tests.learning.test_moco import NoisyViews


@pytest.fixture(scope='module')
def images():
    return torch.from_numpy(make_blobs(16).images).float()


def make(views):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(2 * 24 * 24, 32))
        encoder.n_features = 32
        return AutoEncoder(encoder, views, n_bands=2, size=24)


def step(objective, images, seed=0):
    rows = torch.arange(len(images))
    return objective(images, rows, torch.Generator().manual_seed(seed), 0.0)


@torch.no_grad()
def test_loss_is_the_mean_squared_error_of_a_view(images):
    objective = make(NoisyViews())
    loss, accuracy = step(objective, images)
    views = objective.views.given[0]
    drawn = objective.decoder(objective.encoder(views)).numpy().astype(float)
    error = np.mean((drawn - views.numpy()) ** 2)
    assert loss.item() == pytest.approx(error, rel=1e-4)
    assert accuracy.item() == pytest.approx(1 - error / views.numpy().var(), rel=1e-4)


@pytest.mark.parametrize('size', [17, 24, 64, 96])
@torch.no_grad()
def test_decoder_draws_images_of_any_size(size):
    with torch.random.fork_rng():
        assert decoder(10, n_bands=3, size=size)(torch.zeros(2, 10)).shape == (2, 3, size, size)


def test_galaxies_are_learnt_to_be_drawn(images):
    objective = make(lambda images, generator: images)
    optimizer = torch.optim.SGD(objective.parameters(), 0.05, momentum=0.9)
    for _ in range(60):
        loss, accuracy = step(objective, images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert accuracy > 0.9
    # Better than the mean image for all.
    assert loss < 0.5 * images.var(0, correction=0).mean()
