# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Heads: their layers, the choice between them, and their calibration."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from astro_morph.learning.heads import (
    calibrate,
    calibrated_losses,
    fit_head,
    linear_head,
    set_best_head,
)
from astro_morph.learning.heads import small_head as make_small_head
from astro_morph.learning.subjects.classes import Classes
from astro_morph.models.networks import classification_head
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import build_network


def small_head():
    return make_small_head(random_state=0)


def make_features(n_classes, *, n=60, d=5, random_state=0):
    random = np.random.default_rng(random_state)
    target = np.arange(n) % n_classes
    # Features that are not standardised: the layers take them as they are.
    features = 3 + [1, 10, 0.1, 2, 5] * (random.normal(size=(n, d)) + np.eye(d)[target])
    return features, target, random.uniform(0.5, 2, n)


def network_of(n_features):
    return build_network(ModelSpec(architecture='features', views=1), n_features=n_features)


@pytest.mark.parametrize('n_classes', [2, 3])
@pytest.mark.parametrize('make', [linear_head, small_head])
class TestFitHead:
    def test_layers_give_the_probabilities_of_scikit_learn(self, make, n_classes):
        features, target, weight = make_features(n_classes)
        layers = fit_head(make(), features, target, weight)
        weights = {f'{name}__sample_weight': weight for name, _ in make().steps}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)
            fitted = clone(make()).fit(features, target, **weights)
        with torch.no_grad():
            logits = layers(torch.from_numpy(features)).numpy()
        np.testing.assert_allclose(softmax(logits, axis=1), fitted.predict_proba(features))

    def test_layers_are_those_that_a_file_holds(self, make, n_classes):
        features, target, weight = make_features(n_classes)
        layers = fit_head(make(), features.astype(np.float32), target, weight)
        n_hidden = 0 if make is linear_head else layers[0].out_features
        layers.load_state_dict(classification_head(5, n_classes, n_hidden=n_hidden).state_dict())
        assert not any(p.requires_grad for p in layers.parameters())

    def test_weights_count(self, make, n_classes):
        features, target, weight = make_features(n_classes)
        weight = np.where(target == 0, 50.0, weight)
        layers = fit_head(make(), features, target, weight)
        with torch.no_grad():
            share = layers(torch.from_numpy(features)).softmax(1).mean(0)
        assert share[0] > 0.6


class TestSetBestHead:
    def set_head(self, features, target, **options):
        network, subject = network_of(features.shape[1]), Classes(tuple(range(target.max() + 1)))
        conformity = set_best_head(
            network,
            features,
            np.eye(subject.n_outputs)[target],
            np.ones(len(target)),
            subject=subject,
            **{'heads': [linear_head(), small_head()], 'random_state': 0} | options,
        )
        return network, conformity

    def test_a_hidden_layer_where_a_line_does_not_divide_the_classes(self):
        features = np.random.default_rng(0).normal(size=(400, 4))
        target = (features[:, 0] * features[:, 1] > 0).astype(int)
        network, conformity = self.set_head(features, target)
        assert isinstance(network.head, torch.nn.Sequential)
        assert len(conformity) == 400

    def test_none_where_it_learns_errors_by_heart(self, monkeypatch):
        monkeypatch.setattr('astro_morph.learning.heads.DECAY', 0.0)
        features = np.random.default_rng(0).normal(size=(200, 10))
        is_wrong = np.arange(200) % 4 == 0
        network, _ = self.set_head(features, ((features[:, 0] > 0) ^ is_wrong).astype(int))
        assert isinstance(network.head, torch.nn.Linear)

    def test_rows_to_validate_on_are_not_learnt(self):
        features, target, _ = make_features(2)
        validation = np.arange(60) % 3 == 0
        wrong = np.where(validation, 1 - target, target)
        heads = [
            self.set_head(features, y, heads=[linear_head()], validation=validation)
            for y in (target, wrong)
        ]
        weights = [network.head.weight for network, _ in heads]
        assert torch.equal(*weights)
        assert [len(conformity) for _, conformity in heads] == [20, 20]

    def test_the_only_label_of_a_class_is_not_held_out(self):
        features, target, _ = make_features(2)
        target[5] = 2
        network, conformity = self.set_head(features, target)
        assert len(conformity) == len(target) - 1
        assert network.head.out_features == 3

    def test_without_two_classes_of_several_labels_none_is_held_out(self):
        features, target, _ = make_features(2)
        rows = np.append(np.flatnonzero(target == 0), np.flatnonzero(target == 1)[:1])
        network, conformity = self.set_head(features[rows], target[rows])
        assert conformity == ()
        assert float(network.temperature) == 1


class TestCalibration:
    def test_logits_that_claim_too_much_are_divided(self):
        network = network_of(3)
        logits = np.tile([4.0, 0.0], (100, 1))
        target, weight = np.repeat([0, 1], [80, 20]), np.ones(100)
        scores = calibrate(network, logits, target, weight)
        assert float(network.temperature) == pytest.approx(4 / np.log(4), rel=1e-3)
        assert len(scores) == 100
        # Nothing predicts random classes better than their frequencies.
        expected = -0.8 * np.log(0.8) - 0.2 * np.log(0.2)
        assert calibrated_losses(logits, target, weight).mean() == pytest.approx(expected, rel=1e-5)
