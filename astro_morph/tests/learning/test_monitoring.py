# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The monitor: its figures against plain arithmetic, and its warnings of a failed training."""

import warnings

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning
from torch import nn

from astro_morph import MorphologyEncoder
from astro_morph.estimators.encoder import FROM_RANDOM
from astro_morph.learning.training.conditions import RandomConditions
from astro_morph.learning.training.monitoring import (
    Monitor,
    effective_rank,
    feature_scatter,
    neighbor_accuracy,
)
from astro_morph.learning.training.views import CONTRAST, FluxViews, RandomViews
from astro_morph.models.stretch import FluxStretch
from astro_morph.tests.helpers import make_blobs

RANDOM = np.random.default_rng(0)


class TestFigures:
    def test_scatter_is_that_of_features_of_length_one(self):
        features = RANDOM.normal(size=(40, 6)) * RANDOM.uniform(1, 9, (40, 1)) + 0.5
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        expected = unit.std(axis=0).mean() * np.sqrt(6)
        assert feature_scatter(torch.from_numpy(features)) == pytest.approx(expected)

    def test_scatter_of_all_directions_is_one(self):
        features = torch.from_numpy(RANDOM.normal(size=(20_000, 10)))
        assert feature_scatter(features) == pytest.approx(1, abs=0.01)

    @pytest.mark.parametrize('value', [0.0, 3.0])
    def test_equal_features_do_not_scatter_and_have_no_rank_above_one(self, value):
        features = torch.full((9, 4), value)
        assert feature_scatter(features) == pytest.approx(0, abs=1e-9)
        assert effective_rank(features) == pytest.approx(1, abs=1e-5)

    def test_rank_is_the_exponential_of_the_entropy_of_singular_values(self):
        features = RANDOM.normal(size=(30, 5)) * [5, 3, 1, 0.5, 0]
        share = np.sqrt(np.linalg.eigvalsh(features.T @ features).clip(0))
        share = share[share > 1e-6] / share.sum()
        expected = np.exp(-np.sum(share * np.log(share)))
        assert effective_rank(torch.from_numpy(features)) == pytest.approx(expected)

    def test_rank_of_orthogonal_features_is_their_number(self):
        assert effective_rank(2 * torch.eye(6)[:4]) == pytest.approx(4)

    def test_figures_of_infinite_features_are_nan(self):
        features = torch.tensor([[1.0, torch.inf], [2.0, 3.0]])
        assert np.isnan([effective_rank(features), feature_scatter(features)]).all()

    def test_neighbour_is_another_galaxy_at_the_smallest_angle(self):
        features = RANDOM.normal(size=(50, 3))
        labels = RANDOM.choice(['a', 'b'], 50)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        cosine = unit @ unit.T - 9 * np.eye(50)
        expected = np.mean(labels[cosine.argmax(axis=1)] == labels)
        assert neighbor_accuracy(features, labels) == expected


class Mean(nn.Module):
    """An objective whose features are the means of the bands, times a weight."""

    def __init__(self, views, temperature=0.1):
        super().__init__()
        self.views = views
        self.temperature = temperature
        self.encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5))
        self.weight = nn.Parameter(torch.ones(()))


def colours(n, *, size=20):
    """Return pictures of a single colour each."""
    values = RANDOM.integers(50, 255, (n, 3, 1, 1))
    return np.broadcast_to(values, (n, 3, size, size)).astype(np.uint8)


def watch(objective, images, *, epochs=(1,), **options):
    monitor = Monitor(objective, images, **options)
    records = [{'epoch': epoch, 'loss': 1.0} for epoch in epochs]
    for record in records:
        monitor(record)
    return records


class TestRecord:
    def test_images_are_seen_as_they_are(self):
        images = colours(20)
        objective = Mean(RandomViews(24, field=20, **CONTRAST)).train()
        (record,) = watch(objective, images)
        features = torch.from_numpy(images[:, :, 0, 0] / 255)
        assert record['feature_scatter'] == pytest.approx(feature_scatter(features), rel=0.01)
        assert record['effective_rank'] == pytest.approx(effective_rank(features), rel=0.01)
        assert objective.encoder.training

    def test_flux_is_stretched(self):
        images = (colours(20) / 10).astype(np.float16)
        stretch = FluxStretch([1.0] * 3).compress
        views = FluxViews(RandomConditions.of('gri'), stretch, RandomViews(20, **CONTRAST))
        (record,) = watch(Mean(views), images)
        features = stretch(torch.from_numpy(images).float())[:, :, 0, 0]
        assert record['feature_scatter'] == pytest.approx(feature_scatter(features), rel=0.01)

    def test_neighbours_are_looked_at_every_few_epochs(self):
        images = np.repeat(colours(10), 2, axis=0)
        labels = np.ma.array(np.repeat(list('abcdefghij'), 2), mask=[False] * 12 + [True] * 8)
        objective = Mean(RandomViews(20))
        records = watch(objective, images, labels=labels, epochs=range(1, 8), every=3)
        assert [r['epoch'] for r in records if 'neighbor_accuracy' in r] == [1, 4, 7]
        # Twins have the same colour.
        assert records[0]['neighbor_accuracy'] == 1

    @pytest.mark.parametrize('labels', [None, [''] * 20, ['a'] + [''] * 19])
    def test_without_labels_there_are_no_neighbours(self, labels):
        (record,) = watch(Mean(RandomViews(20)), colours(20), labels=labels)
        assert set(record) == {'epoch', 'loss', 'feature_scatter', 'effective_rank'}

    def test_generators_are_left_alone(self):
        state = torch.get_rng_state()
        watch(Mean(RandomViews(20)), colours(20))
        assert torch.equal(torch.get_rng_state(), state)

    def test_few_of_many_images_are_looked_at(self):
        seen = []
        objective = Mean(RandomViews(20))
        objective.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        for n, expected in [(20, 20), (100, 32), (800, 100), (5000, 512)]:
            watch(objective, colours(n))
            assert sum(seen) == expected
            seen.clear()


class TestWarning:
    def test_equal_features_are_reported_once(self):
        images = np.repeat(colours(1), 20, axis=0)
        with pytest.warns(
            AstropyUserWarning, match='has collapsed by epoch 1.* lower learning'
        ) as w:
            watch(Mean(RandomViews(20)), images, epochs=(1, 2))
        assert len(w) == 1

    def test_loss_that_is_no_number_is_reported(self):
        monitor = Monitor(Mean(RandomViews(20)), colours(20))
        with pytest.warns(
            AstropyUserWarning, match='failed by epoch 3: the loss is nan; use a low'
        ):
            monitor({'epoch': 3, 'loss': np.nan})

    def test_temperature_that_leaves_no_contrast_is_reported(self):
        with pytest.warns(AstropyUserWarning, match='learns nothing: at a temperature of 1000 '):
            watch(Mean(RandomViews(20), temperature=1000), colours(20))

    @pytest.mark.parametrize('absurd', [{'learning_rate': 100.0}, {'temperature': 1e-4}])
    def test_collapse_of_a_real_training_is_reported_within_two_epochs(self, absurd, monkeypatch):
        rate = absurd.pop('learning_rate', 0.12)
        pace = FROM_RANDOM._replace(learning_rate=rate)
        monkeypatch.setattr('astro_morph.estimators.encoder.FROM_RANDOM', pace)
        encoder = MorphologyEncoder(
            epochs=2, batch_size=32, preprocessing=None, random_state=0, verbose=0, **absurd
        )
        with pytest.warns(AstropyUserWarning, match=r'the training has .* by epoch [12]'):
            encoder.fit(make_blobs(96))

    def test_sound_training_is_not_reported(self):
        encoder = MorphologyEncoder(
            epochs=2, batch_size=32, preprocessing=None, random_state=0, verbose=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            history = encoder.fit(make_blobs(96)).history_
        assert min(record['feature_scatter'] for record in history) > 0.05
