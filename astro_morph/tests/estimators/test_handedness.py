# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Handedness: learnt from rotations alone, and the same for mirror images otherwise."""

import numpy as np
import pytest
import torch

from astro_morph import (
    CutoutSet,
    MorphologyClassifier,
    MorphologyEncoder,
    MorphologyRegressor,
    MorphologyVotes,
    OnnxClassifier,
)
from astro_morph.learning.training.views import RandomViews

LABELS = np.array(['anticlockwise', 'clockwise'])
OPTIONS = {'encoder': 'random', 'random_state': 0, 'verbose': 0, 'device': 'cpu'}


def pinwheels(n=24, side=24):
    """Return spirals of two arms that wind either way, in turn, at random angles."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    sense = np.arange(n) % 2
    arms = [
        100 * np.exp(-radius / 6) * (1 + np.cos(2 * (angle - (2 * s - 1) * radius / 3 - turn)))
        for s, turn in zip(sense, random.uniform(0, np.pi, n), strict=True)
    ]
    images = np.array(arms)[:, np.newaxis].repeat(3, axis=1)
    cutouts = CutoutSet(
        images.clip(0, 255).astype(np.uint8), bands=['red', 'green', 'blue'], kind='picture'
    )
    return cutouts, LABELS[sense]


def mirrored(cutouts):
    return CutoutSet(cutouts.images[..., ::-1].copy(), bands=cutouts.bands, kind='picture')


def change(model, cutouts):
    """Return by how much the probabilities of mirror images differ."""
    probabilities = model.predict_proba(cutouts) - model.predict_proba(mirrored(cutouts))
    return np.abs(probabilities).max()


@pytest.fixture(scope='module')
def classifier():
    cutouts, labels = pinwheels()
    return MorphologyClassifier(strategy='linear', views='rotations', **OPTIONS).fit(
        cutouts, labels
    )


class TestClassifier:
    def test_rotations_tell_mirror_images_apart(self, classifier):
        cutouts, labels = pinwheels()
        assert classifier.model_.spec.views == 4
        assert classifier.score(cutouts, labels) > 0.9
        assert change(classifier, cutouts) > 0.1

    def test_files_keep_the_views(self, classifier, tmp_path):
        cutouts, _ = pinwheels(6)
        classifier.save(tmp_path / 'model.pt')
        classifier.to_onnx(tmp_path / 'model.onnx')
        for read in (
            MorphologyClassifier.load(tmp_path / 'model.pt', device='cpu'),
            OnnxClassifier(tmp_path / 'model.onnx', verbose=0),
        ):
            assert read.model_.spec.views == 4
            np.testing.assert_allclose(
                read.predict_proba(cutouts), classifier.predict_proba(cutouts), atol=1e-4
            )

    def test_mirror_images_are_the_same_by_default(self):
        cutouts, labels = pinwheels()
        model = MorphologyClassifier(strategy='linear', **OPTIONS).fit(cutouts, labels)
        assert model.model_.spec.views == 8
        assert change(model, cutouts) < 1e-4


@pytest.mark.parametrize(
    'estimator',
    [
        MorphologyVotes(
            {'sense': {'answers': {'left': 'n_left', 'right': 'n_right'}}},
            views='rotations',
            **OPTIONS,
        ),
        MorphologyRegressor('turn', strategy='linear', views='rotations', **OPTIONS),
    ],
    ids=['votes', 'regressor'],
)
def test_votes_and_numbers_have_four_views(estimator):
    cutouts, labels = pinwheels()
    is_right = labels == LABELS[1]
    y = np.column_stack([9 * ~is_right, 9 * is_right])
    y = y if isinstance(estimator, MorphologyVotes) else is_right.astype(float)
    assert estimator.fit(cutouts, y).model_.spec.views == 4


def test_encoder_that_is_trained_first_sees_no_mirror_images(monkeypatch):
    drawn = []
    call = RandomViews.__call__
    monkeypatch.setattr(
        RandomViews,
        '__call__',
        lambda views, *arguments: drawn.append(views.mirrored) or call(views, *arguments),
    )
    cutouts, _ = pinwheels(8)
    encoder = MorphologyEncoder(epochs=1, views='rotations', random_state=0, verbose=0).fit(cutouts)
    assert encoder.model_.spec.views == 4
    assert {*drawn} == {0.0}


def test_mirrored_views_are_those_of_mirror_images():
    cutouts, _ = pinwheels(2)
    images = torch.from_numpy(cutouts.images[:1]).float().expand(64, -1, -1, -1)
    views = RandomViews(24, mirrored=0.0)(images, torch.Generator().manual_seed(0))
    flipped = RandomViews(24, mirrored=1.0)(images, torch.Generator().manual_seed(0))
    assert torch.allclose(views.flip(-1), flipped, atol=0.01)
