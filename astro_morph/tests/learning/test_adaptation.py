# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Classifiers adapted to the images of another survey."""

import copy

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning
from scipy.ndimage import gaussian_filter

from astro_morph import CutoutSet, MorphologyClassifier
from astro_morph.learning import adaptation
from astro_morph.tests.helpers import make_blobs

# Before the adaptation, the images are of another brightness than those of the training.
# After one epoch, the statistics of a network are not yet those of its images.
pytestmark = [
    pytest.mark.filterwarnings('ignore:X has .* of the training images'),
    pytest.mark.filterwarnings('ignore:X. new statistics of the network'),
]


def fit(cutouts, **parameters):
    options = {'encoder': 'random', 'strategy': 'linear', 'preprocessing': None}
    fixed = {'random_state': 0, 'device': 'cpu', 'verbose': 0}
    return MorphologyClassifier(**options | fixed | parameters).fit(cutouts)


def make_pictures(n, **options):
    """Return pictures of blobs whose bands differ in brightness."""
    blobs = make_blobs(n, bands='rgb', **options)
    bands = np.array([40, 30, 20]).reshape(-1, 1, 1)
    pixels = np.clip((blobs.images + 1) * bands, 0, 255).astype(np.uint8)
    names = ('red', 'green', 'blue')
    return CutoutSet(pixels, bands=names, kind='picture', table=blobs.table)


def in_other_units(cutouts):
    """Return cutouts that have to be adapted to."""
    return cutouts.replace(images=cutouts.images * np.float32(20))


@pytest.fixture(scope='module')
def fine_tuned():
    return fit(make_blobs(24), strategy='fine-tune', epochs=1)


@pytest.fixture(scope='module')
def pictures():
    return make_pictures(24)


@pytest.fixture(scope='module')
def of_pictures(pictures):
    return fit(pictures)


class TestFlux:
    def test_another_unit_changes_nothing_after_adaptation(self, classifier, blobs):
        counts = blobs.replace(images=blobs.images * np.float32(300))
        expected = classifier.decision_function(blobs)
        assert np.abs(classifier.decision_function(counts) - expected).max() > 10
        adapted = classifier.adapt(counts)
        np.testing.assert_allclose(adapted.decision_function(counts), expected, rtol=1e-3)

    def test_bands_get_their_own_noise(self, classifier, blobs):
        factors = np.array([1, 7], np.float32).reshape(-1, 1, 1)
        stretch = classifier.adapt(
            blobs.replace(images=blobs.images * factors)
        ).model_.network.stretch
        ratio = stretch.noise / classifier.model_.network.stretch.noise
        np.testing.assert_allclose(ratio.flatten(), [1, 7], rtol=1e-3)


class TestPictures:
    def test_own_pictures_change_nothing(self, of_pictures, pictures):
        adapted = of_pictures.adapt(pictures)
        np.testing.assert_allclose(
            adapted.predict_proba(pictures), of_pictures.predict_proba(pictures), atol=1e-4
        )

    def test_brighter_and_redder_pictures_are_brought_back(self, of_pictures, pictures):
        gain, offset = (np.array(v).reshape(-1, 1, 1) for v in ([0.8, 0.5, 0.5], [20, 9, 0]))
        other = pictures.replace(images=(pictures.images * gain + offset).astype(np.float32))
        expected = of_pictures.decision_function(pictures)
        before = np.abs(of_pictures.decision_function(other) - expected).max()
        adapted = of_pictures.adapt(other)
        after = np.abs(adapted.decision_function(other) - expected).max()
        assert before > 1
        assert after < 0.01 * before

    def test_saved_model_is_the_same(self, of_pictures, pictures, tmp_path):
        adapted = of_pictures.adapt(make_pictures(12, random_state=3))
        adapted.save(tmp_path / 'model.pt')
        loaded = MorphologyClassifier.load(tmp_path / 'model.pt', device='cpu', verbose=0)
        np.testing.assert_array_equal(
            loaded.predict_proba(pictures), adapted.predict_proba(pictures)
        )

    def test_model_that_does_not_know_its_pictures_is_refused(self, of_pictures, pictures):
        old = copy.deepcopy(of_pictures)
        old.model_.network.stretch.mean.fill_(np.nan)
        with pytest.raises(ValueError, match='train it again'):
            old.adapt(pictures)

    def test_black_band_stays_finite(self, of_pictures, pictures):
        images = pictures.images.copy()
        images[:, 2] = 0
        black = pictures.replace(images=images)
        assert np.isfinite(of_pictures.adapt(black).predict_proba(black)).all()


class TestBatchNorms:
    def test_first_statistics_are_those_of_the_images_and_the_prior(self, fine_tuned, monkeypatch):
        # Every step is kept.
        monkeypatch.setattr(adaptation, '_distance', lambda *_: np.nan)
        other = make_blobs(48, random_state=5)
        adapted = fine_tuned.adapt(other)
        network, norm = adapted.model_.network, adapted.model_.network.encoder.bn1
        seen = []
        handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        adapted.model_.run(other.images)
        handle.remove()
        learnt = fine_tuned.model_.network.encoder.bn1.running_mean
        # The prior weighs as much as 16 galaxies; there are 48.
        expected = 0.75 * seen[0].mean((0, 2, 3)) + 0.25 * learnt
        torch.testing.assert_close(norm.running_mean, expected, atol=1e-4, rtol=1e-3)
        assert not network.training

    def test_frozen_encoder_keeps_its_statistics(self, classifier):
        adapted = classifier.adapt(in_other_units(make_blobs(24, random_state=5)))
        assert adapted.model_ is not classifier.model_
        before, after = (c.model_.network.encoder.state_dict() for c in (classifier, adapted))
        for name, tensor in before.items():
            assert torch.equal(after[name], tensor)

    def test_no_weight_is_trained(self, fine_tuned):
        adapted = fine_tuned.adapt(in_other_units(make_blobs(24, random_state=5)))
        assert adapted.model_ is not fine_tuned.model_
        before, after = (dict(c.model_.network.named_parameters()) for c in (fine_tuned, adapted))
        assert all(torch.equal(after[name], before[name]) for name in before)


class TestRefusal:
    """What would make a model worse is not done."""

    @pytest.fixture(scope='class')
    @staticmethod
    def trained():
        return fit(make_blobs(120), strategy='fine-tune', epochs=6)

    @pytest.mark.parametrize('kind', ['round', 'edge_on'])
    def test_norms_stay_for_a_single_kind_of_the_same_survey(self, trained, kind):
        cutouts = make_blobs(120, random_state=5)
        of_kind = cutouts[cutouts.table['morphology'] == kind]
        with pytest.warns(AstropyUserWarning, match=r'distance .* before, .* only brightness'):
            adapted = trained.adapt(of_kind)
        before, after = (c.model_.network.encoder.state_dict() for c in (trained, adapted))
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert adapted.score(cutouts) >= trained.score(cutouts) - 0.05

    def test_what_helps_is_done(self, trained):
        cutouts = in_other_units(make_blobs(120, random_state=5))
        assert trained.adapt(cutouts).score(cutouts) > trained.score(cutouts)

    def test_norms_of_pictures_stay(self, pictures):
        trained = fit(pictures, strategy='fine-tune', epochs=1)
        darker = pictures.replace(images=(0.3 * pictures.images).astype(np.float32))
        before, after = (
            c.model_.network.encoder.bn1.running_mean for c in (trained, trained.adapt(darker))
        )
        assert torch.equal(before, after)


class TestNovelty:
    """Another survey has images that are all unlike those of the training."""

    @pytest.fixture(scope='class')
    @staticmethod
    def smooth():
        """Images of another survey, whose noise is correlated, in other units."""
        blobs = in_other_units(make_blobs(400, random_state=5))
        return blobs.replace(images=gaussian_filter(blobs.images, (0, 0, 1, 1)).astype(np.float32))

    @pytest.mark.parametrize('strategy', ['linear', 'fine-tune'])
    def test_is_measured_on_the_images_adapted_to(self, strategy, smooth):
        classifier = fit(make_blobs(120), strategy=strategy, epochs=1)
        adapted = classifier.adapt(smooth[:200])
        before, after = (c.annotate(smooth[200:])['morph_novelty'] for c in (classifier, adapted))
        assert np.mean(before < 0.01) > 0.5
        assert np.mean(after < 0.01) < 0.05
        assert np.mean(after < 0.5) == pytest.approx(0.5, abs=0.15)
        random = np.random.default_rng(0)
        noise = random.normal(0, smooth.images[:, :, :4].std(), (20, *smooth.shape[1:]))
        noise = smooth[:20].replace(images=noise.astype(np.float32))
        assert np.mean(adapted.annotate(noise)['morph_novelty'] < 0.01) > 0.9

    def test_is_not_known_from_a_few_images(self, classifier, smooth):
        assert classifier.adapt(smooth[:9]).annotate(smooth[:9])['morph_novelty'].mask.all()


class TestClassifier:
    @pytest.mark.parametrize('name', ['classifier', 'fine_tuned'])
    def test_stays_as_it_is(self, name, request):
        classifier = request.getfixturevalue(name)
        before = copy.deepcopy(classifier.model_.network.state_dict())
        adapted = classifier.adapt(in_other_units(make_blobs(24, random_state=5)))
        assert adapted is not classifier
        after = classifier.model_.network.state_dict()
        for key, tensor in before.items():
            torch.testing.assert_close(after[key], tensor, rtol=0, atol=0, equal_nan=True)

    def test_predictions_tell_the_models_apart(self, fine_tuned):
        other = in_other_units(make_blobs(24, random_state=5))
        old, new = (
            c.annotate(other).meta['MORPHMOD'] for c in (fine_tuned, fine_tuned.adapt(other))
        )
        assert old != new

    def test_rows_without_an_image_are_left_out(self, classifier, blobs):
        blobs = in_other_units(blobs)
        images = blobs.images.copy()
        images[:8] = np.nan
        broken = blobs.replace(images=images, status=np.where(np.arange(24) < 8, 'truncated', 'ok'))
        adapted, expected = classifier.adapt(broken), classifier.adapt(blobs[8:])
        np.testing.assert_array_equal(adapted.predict_proba(blobs), expected.predict_proba(blobs))

    def test_no_image_at_all_is_refused(self, classifier, blobs):
        with pytest.raises(ValueError, match='no row with an image'):
            classifier.adapt(blobs.replace(status=np.full(24, 'truncated')))

    def test_model_of_features_is_refused(self):
        random = np.random.default_rng(0)
        X = random.normal(size=(20, 3))
        classifier = MorphologyClassifier(verbose=0).fit(X, np.arange(20) % 2)
        with pytest.raises(ValueError, match='takes plain features'):
            classifier.adapt(X)
