# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""P-values of novelty: uniform for what is known, small for what is not."""

import numpy as np
import pytest
import torch

from astro_morph import MorphologyClassifier
from astro_morph.models.novelty import MOST_KNOWN, Novelty, fit_novelty
from astro_morph.tests.helpers import make_blobs


def draw(n, random_state, *, d=12):
    """Draw features of two classes with correlated scatter."""
    random = np.random.default_rng(random_state)
    mixing = np.random.default_rng(99).normal(size=(d, d))
    centres = 4 * np.eye(d)[random.integers(2, size=n)]
    return ((centres + random.normal(size=(n, d))) @ mixing).astype(np.float32)


def p_values(novelty, features):
    return novelty(torch.from_numpy(features)).numpy()


@pytest.mark.parametrize('n', [60, 300, 1500])
def test_of_known_galaxies_a_share_p_falls_below_p(n):
    shares = []
    for random_state in range(10):
        novelty = fit_novelty(draw(n, random_state), random_state=0)
        p = p_values(novelty, draw(1000, 1000 + random_state))
        shares.append([np.mean(p < level) for level in (0.05, 0.2, 0.5)])
    error = np.std(shares, axis=0) / np.sqrt(10)
    # Folds know a tenth less than all: the p-values of few galaxies are a little large.
    assert (np.mean(shares, axis=0) < [0.05, 0.2, 0.5] + 3 * error + 0.01).all()
    assert (np.mean(shares, axis=0) > [0.02, 0.13, 0.4] - 3 * error).all()


@pytest.mark.parametrize('heavy_tailed', [False, True])
@pytest.mark.parametrize('n', [10, 20, 30, 60])
def test_few_galaxies_have_p_values_that_are_not_extrapolated(n, heavy_tailed):
    fractions = []
    for random_state in range(80):
        random = np.random.default_rng(random_state)
        shape = (n + 200, 16)
        features = random.standard_t(4, shape) if heavy_tailed else random.normal(size=shape)
        p = p_values(fit_novelty(features[:n], random_state=0), features[n:])
        assert p.min() >= 1 / (n + 1)
        fractions.append([np.mean(p < level) for level in (0.05, 0.1, 0.2)])
    error = np.std(fractions, axis=0) / np.sqrt(80)
    assert (np.mean(fractions, axis=0) < [0.055, 0.11, 0.22] + 3 * error).all()


@pytest.mark.parametrize(('n', 'is_flagged'), [(99, False), (100, True)])
def test_more_unusual_than_99_percent_takes_100_galaxies(n, is_flagged):
    far = draw(1, 1) + 1000
    assert (p_values(fit_novelty(draw(n, 0), random_state=0), far)[0] < 0.01) == is_flagged


def test_p_value_is_conformal():
    novelty = fit_novelty(draw(40, 0), random_state=0)
    others = torch.from_numpy(draw(200, 1))
    distance = novelty.distance(others)[:, None]
    n_as_far = (novelty.held_out >= distance).sum(1)
    p = novelty(others)
    # It is interpolated towards the next smaller value, and not beyond it.
    assert (p <= (n_as_far + 1) / 41 + 1e-4).all()
    assert (p >= n_as_far.clamp(min=1) / 41 - 1e-6).all()


def test_galaxies_elsewhere_are_novel_and_ordered():
    known = draw(400, 0)
    novelty = fit_novelty(known, random_state=0)
    # Away in a direction of which the galaxies know nothing, further and further.
    step = 8 * np.outer([1, 2, 4, 8], known.std(axis=0) * np.resize([1, -1], known.shape[1]))
    p = p_values(novelty, (known.mean(axis=0) + step).astype(np.float32))
    assert (p < 0.01).all()
    assert (np.diff(p) < 0).all()
    assert (p > 0).any()


def test_scale_and_mixture_of_the_features_do_not_matter():
    known, others = draw(300, 0), draw(50, 1)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]
    turned = [(7 * features @ turn).astype(np.float32) for features in (known, others)]
    expected = p_values(fit_novelty(known, random_state=0), others)
    found = p_values(fit_novelty(turned[0], random_state=0), turned[1])
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_what_is_measured_beside_it_does_not_matter():
    known, others = draw(1500, 0, d=512), torch.from_numpy(draw(300, 1, d=512))
    novelty = fit_novelty(known, random_state=0)
    alone = torch.cat([novelty(features[None]) for features in others])
    np.testing.assert_allclose(alone, novelty(others), atol=1e-6)


def test_state_is_small_and_rebuilds_it():
    novelty = fit_novelty(draw(5000, 0, d=512), random_state=0)
    assert len(novelty.known) == MOST_KNOWN
    state = novelty.state_dict()
    assert sum(values.nbytes for values in state.values()) < 1e6
    again = Novelty(**{name: torch.zeros_like(values) for name, values in state.items()})
    again.load_state_dict(state)
    others = draw(20, 1, d=512)
    np.testing.assert_array_equal(p_values(again, others), p_values(novelty, others))


def test_too_few_galaxies_tell_nothing():
    assert np.isnan(p_values(fit_novelty(draw(9, 0)), draw(3, 1))).all()


def test_constant_features_are_no_harm():
    known = np.hstack([draw(100, 0), np.ones((100, 1), np.float32)])
    assert np.isfinite(p_values(fit_novelty(known, random_state=0), known)).all()


@pytest.fixture(scope='module', params=['linear', 'fine-tune'])
def fitted(request):
    return MorphologyClassifier(
        encoder='random',
        strategy=request.param,
        epochs=1,
        random_state=0,
        device='cpu',
        verbose=0,
    ).fit(make_blobs(80))


def test_noise_is_novel_and_galaxies_are_not(fitted):
    blobs = make_blobs(60, random_state=1)
    noise = blobs.replace(images=np.random.default_rng(0).normal(0, 0.05, blobs.shape))
    known, odd = (np.array(fitted.annotate(c)['morph_novelty']) for c in (blobs, noise))
    assert np.median(known) > 0.2
    # The smallest p-value of 80 galaxies.
    assert np.median(odd) == pytest.approx(1 / 81, rel=2e-3)


def test_saved_and_loaded_classifier_is_the_same(fitted, tmp_path):
    fitted.save(tmp_path / 'model.pt')
    loaded = MorphologyClassifier.load(tmp_path / 'model.pt', device='cpu', verbose=0)
    blobs = make_blobs(10, random_state=2)
    columns = [model.annotate(blobs)['morph_novelty'] for model in (fitted, loaded)]
    np.testing.assert_array_equal(*columns)
    np.testing.assert_array_equal(loaded.predict_set(blobs), fitted.predict_set(blobs))
