# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fine-tuning: which labels are held out, and whose temperature and scores the model keeps."""

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import softmax
from sklearn.utils import check_random_state

from astro_morph import MorphologyClassifier
from astro_morph.learning import strategies
from astro_morph.learning.subjects.classes import Classes
from astro_morph.models.calibration import conformity_scores, fit_temperature


def make(**parameters):
    options = {'encoder': 'random', 'preprocessing': None, 'random_state': 0, 'verbose': 0}
    return MorphologyClassifier(device='cpu', **options | parameters)


@pytest.fixture
def learnt(monkeypatch):
    """Numbers of labels of each part of a training."""
    numbers = []
    train = strategies._train_network

    def observed(model, *lessons, **options):
        numbers.append([len(lesson) for lesson in lessons])
        return train(model, *lessons, **options)

    monkeypatch.setattr(strategies, '_train_network', observed)
    return numbers


def held_out(blobs):
    """Return images and targets of the rows that a fit with the seed 0 holds out."""
    target = np.unique(blobs.table['morphology'], return_inverse=True)[1]
    seed = int(check_random_state(0).randint(2**31 - 1))
    rows = Classes(('edge_on', 'round')).hold_out(np.eye(2)[target], seed)[1]
    return blobs.images[rows].astype(np.float32), target[rows]


@pytest.mark.parametrize('limit', [{'epochs': 2}, {'epochs': 100_000, 'max_time': 0.3}])
def test_short_training_is_calibrated_at_its_end(blobs, learnt, limit):
    model = make(strategy='fine-tune', **limit).fit(blobs).model_
    images, target = held_out(blobs)
    assert learnt == [[len(blobs) - len(target)]] * 2
    temperature = float(model.network.temperature)
    logits = model.run(images)[0] * temperature
    # The network is calibrated in half precision.
    assert temperature == pytest.approx(fit_temperature(logits, target), rel=0.1)
    scores = conformity_scores(softmax(logits / temperature, axis=1))
    assert len(model.spec.conformity) == len(target)
    predicted = np.argsort(scores, axis=1)[:, 0]
    is_right = np.array(model.spec.conformity) < scores.min(axis=1).max() + 0.1
    assert np.sum(predicted == target) <= np.sum(is_right)


def test_long_training_ends_with_all_labels(blobs, learnt, monkeypatch):
    monkeypatch.setattr(strategies, 'LONG_ENOUGH', 1)
    model = make(strategy='fine-tune', epochs=1).fit(blobs).model_
    n_held_out = len(held_out(blobs)[1])
    assert learnt == [[len(blobs) - n_held_out], [len(blobs)]]
    assert len(model.spec.conformity) == n_held_out


def test_guesses_are_learnt_without_the_labels_held_out(blobs, learnt, monkeypatch):
    monkeypatch.setattr(strategies, 'LONG_ENOUGH', 1)
    labels = np.where(np.arange(24) < 16, blobs.table['morphology'], '')
    make(strategy='semi-supervised', epochs=1).fit(blobs, labels)
    (n_known,), (again, _) = learnt
    assert again == n_known < 16


@pytest.mark.parametrize('strategy', ['linear', 'fine-tune'])
def test_too_few_labels_are_not_calibrated_and_warned_of(blobs, strategy):
    labels = np.full(24, '', 'U8')
    labels[[0, 1]] = 'round', 'edge_on'
    with pytest.warns(AstropyUserWarning, match='too few to hold some out.*not calibrated'):
        fitted = make(strategy=strategy, epochs=1).fit(blobs, labels)
    assert fitted.model_.spec.conformity == ()
    with pytest.raises(ValueError, match='no scores of galaxies held out'):
        fitted.predict_set(blobs)


def test_only_label_of_a_class_leaves_the_others_calibrated(blobs):
    labels = np.array(blobs.table['morphology']).astype('U8')
    labels[5] = 'merger'
    model = make(strategy='linear').fit(blobs, labels).model_
    assert len(model.spec.conformity) == 23
