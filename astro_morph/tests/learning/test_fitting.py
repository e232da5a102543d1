# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the estimators share: images for training, and the views that are drawn of them."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from astro_morph import CutoutSet, MorphologyClassifier, MorphologyEncoder, conf, surveys
from astro_morph.cutouts import Hips2Fits, as_cutouts
from astro_morph.learning.fitting import seeded, survey_of, usable
from astro_morph.learning.training.batches import training_images
from astro_morph.learning.training.conditions import RandomConditions
from astro_morph.learning.training.views import (
    CLASSIFICATION,
    CONTRAST,
    RandomViews,
    training_views,
)
from astro_morph.models.building import build_model
from astro_morph.models.encoders.resnet import resnet
from astro_morph.models.networks import classification_head
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.helpers import make_blobs


def prepare(cutouts):
    model = build_model(cutouts, cutouts, architecture='resnet18')
    return model.network, model.spec


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, size=(5, 3, 24, 24))
    return CutoutSet(images, bands=['red', 'green', 'blue'], kind='picture')


class TestTrainingImages:
    def test_flux_can_be_stretched_later(self):
        blobs = make_blobs(6)
        network, _ = prepare(blobs)
        images = training_images(network, blobs)
        assert images.dtype == np.float16
        # In units of the noise, which is 0.05.
        assert images[..., :3].std(dtype=float) == pytest.approx(1, abs=0.2)
        torch.testing.assert_close(
            network.stretch.compress(torch.from_numpy(images).float()),
            network.stretch(torch.from_numpy(blobs.images)),
            rtol=2e-3,
            atol=1e-4,
        )

    def test_hole_is_zero_and_a_star_is_finite(self):
        blobs = make_blobs(6)
        images = blobs.images.copy()
        images[0, 0, 3, 3:5] = [np.nan, 1e9]
        network, _ = prepare(blobs)
        scaled = training_images(network, blobs.replace(images=images))
        assert np.isfinite(scaled).all()
        assert scaled[0, 0, 3, 3] == 0
        assert scaled[0, 0, 3, 4] > 6e4

    def test_pictures_are_from_zero_to_one(self, pictures):
        network, _ = prepare(pictures)
        images = training_images(network, pictures)
        np.testing.assert_allclose(images, pictures.images / 255, atol=5e-4)

    def test_bytes_of_pictures_are_not_copied(self, pictures):
        as_bytes = pictures.images.astype(np.uint8)
        cutouts = usable(as_cutouts(as_bytes))
        network, _ = prepare(cutouts)
        assert np.shares_memory(training_images(network, cutouts), as_bytes)


@pytest.mark.usefixtures('enlarged')
class TestTrainingViews:
    @pytest.mark.parametrize('recipe', [CONTRAST, CLASSIFICATION])
    def test_views_of_pictures_follow_the_recipe(self, recipe, pictures):
        network, spec = prepare(pictures)
        assert training_views(network, spec, recipe) == RandomViews(36, field=24, **recipe)

    def test_views_of_flux_are_seen_in_the_conditions_of_the_survey(self):
        blobs = make_blobs(6, bands='gr')
        network, spec = prepare(blobs)
        sdss = surveys.get('sdss')
        views = training_views(network, spec, CONTRAST, survey=sdss)
        assert views.conditions == RandomConditions.of('gr', survey=sdss, pixel_scale=0.4)
        assert views.views == RandomViews(36, field=24, **CONTRAST | {'noise': 0.0})
        images = torch.from_numpy(training_images(network, blobs)).float()
        drawn = views(images, torch.Generator().manual_seed(0))
        assert drawn.shape == (6, 2, 36, 36)

    def test_views_of_flux_look_like_what_a_prediction_sees(self):
        blobs = make_blobs(200)
        network, spec = prepare(blobs)
        plain = network.stretch(torch.from_numpy(blobs.images))
        views = training_views(network, spec, {})
        views = dataclasses.replace(
            views, conditions=dataclasses.replace(views.conditions, psf_scatter=0.0)
        )
        images = torch.from_numpy(training_images(network, blobs)).float()
        drawn = views(images, torch.Generator().manual_seed(0))
        assert drawn.amax((2, 3)).mean() == pytest.approx(plain.amax((2, 3)).mean(), rel=0.1)
        assert drawn.mean() == pytest.approx(plain.mean(), rel=0.1)


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('legacy', 'legacy-dr10'),
        (surveys.get('des-dr2'), 'des-dr2'),
        (SimulatedSurvey(n_galaxies=1), 'sdss-dr9'),
        (Hips2Fits('panstarrs', bands='g'), 'panstarrs-dr1'),
    ],
)
def test_survey_is_that_of_the_source(source, expected):
    assert survey_of(source).name == expected


def test_survey_may_be_unknown_or_configured():
    assert survey_of('images/*.fits') is None
    assert survey_of('auto') is None
    with conf.set_temp('survey', 'sdss'):
        assert survey_of('auto').name == 'sdss-dr9'


def weights_of(model):
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


class TestThreads:
    """The same seed gives the same weights, whatever other threads draw meanwhile."""

    def draw(self, seed):
        with seeded(seed):
            network = resnet(n_bands=2)
            head = classification_head(512, 3, n_hidden=8)
            queue = torch.randn(5, 3)
        return weights_of(network), weights_of(head), queue.tolist()

    def test_weights_are_those_of_the_seed(self):
        seeds = [0, 1, 0, 1]
        alone = [self.draw(seed) for seed in seeds]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(self.draw, seeds)) == alone
        assert alone[0] != alone[1]

    def test_global_generator_is_left_alone(self):
        before = torch.get_rng_state()
        self.draw(0)
        assert torch.equal(torch.get_rng_state(), before)

    def test_fits_at_once_are_those_alone(self):
        short = {'epochs': 1, 'batch_size': 8, 'random_state': 0, 'device': 'cpu', 'verbose': 0}
        blobs = make_blobs(12, size=17)
        estimators = [
            MorphologyClassifier(encoder='random', strategy='fine-tune', **short),
            MorphologyEncoder(**short),
        ]

        def fit(estimator):
            return weights_of(estimator.fit(blobs).model_.network)

        alone = [fit(estimator) for estimator in estimators]
        with ThreadPoolExecutor(len(estimators)) as pool:
            together = list(pool.map(fit, estimators))
        assert together == alone
