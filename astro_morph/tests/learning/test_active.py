# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Active learning: the galaxies chosen to be labelled, and the labels that are likely wrong."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_morph import MorphologyClassifier
from astro_morph.learning.active import (
    CRITERIA,
    choose,
    confident_learning,
    suspect_labels,
    typical,
)
from astro_morph.prediction.predict import Predictions
from astro_morph.tests.helpers import make_blobs


def predictions_of(probabilities, *, novelty=None, features=None, status=None):
    with np.errstate(divide='ignore'):
        logits = np.log(probabilities)
    n = len(logits)
    return Predictions(
        logits,
        np.ones(n) if novelty is None else np.array(novelty),
        np.random.default_rng(0).normal(size=(n, 6)) if features is None else features,
        np.array(['ok'] * n if status is None else status),
        np.zeros(n, int),
    )


@pytest.fixture
def three():
    # The second has the smallest margin, the third the most even probabilities.
    probabilities = [[0.9, 0.1, 0.0], [0.5, 0.49, 0.01], [0.4, 0.3, 0.3]]
    return predictions_of(probabilities, novelty=[0.01, 0.9, 0.5])


@pytest.mark.parametrize(
    ('criterion', 'order'), [('margin', [1, 2, 0]), ('entropy', [2, 1, 0]), ('novelty', [0, 2, 1])]
)
def test_most_instructive_first(three, criterion, order):
    assert choose(three, 3, criterion=criterion).tolist() == order
    assert choose(three, 1, criterion=criterion).tolist() == order[:1]


@pytest.mark.parametrize('criterion', CRITERIA)
def test_rows_without_image_are_never_chosen(three, criterion):
    predictions = three._replace(status=np.array(['ok', 'truncated', 'ok']))
    assert sorted(choose(predictions, 10, criterion=criterion)) == [0, 2]
    none = three._replace(status=np.array(['truncated'] * 3))
    assert choose(none, 2, criterion=criterion).tolist() == []


def test_the_last_galaxy_is_chosen(three):
    last = predictions_of([[0.9, 0.1]])
    assert choose(last, 5, criterion='diverse').tolist() == [0]


def test_typical_ones_are_the_middle_of_groups():
    random = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [10, 50, 30])
    # The groups lie far apart; the middle of each is a galaxy of its own.
    features = 100 * np.eye(3)[group] + random.normal(size=(90, 3))
    middle = [9, 59, 89]
    features[middle] = [features[group == k].mean(axis=0) for k in range(3)]
    assert typical(features, 3, random_state=0).tolist() == [59, 89, 9]
    assert typical(features[:2], 3).tolist() == [0, 1]


def test_diverse_ones_are_uncertain_and_unlike_each_other():
    random = np.random.default_rng(0)
    # Three groups of uncertain galaxies that look alike, and many that the model is certain of.
    group = np.repeat([0, 1, 2, 3], [4, 4, 4, 88])
    features = 10 * np.eye(4)[group] + random.normal(size=(100, 4))
    margin = np.select([group == 0, group < 3], [0.1, 0.2], 0.9) + random.uniform(0, 0.05, 100)
    predictions = predictions_of(np.stack([1 + margin, 1 - margin], 1) / 2, features=features)
    chosen = choose(predictions, 3, criterion='diverse', random_state=0)
    assert sorted(group[chosen]) == [0, 1, 2]
    assert choose(predictions, 3, criterion='diverse', random_state=0).tolist() == chosen.tolist()
    assert group[choose(predictions, 3, criterion='margin')].tolist() == [0, 0, 0]


def test_unknown_criterion_is_an_error(three):
    with pytest.raises(ValueError, match=r"one of \('diverse', .*\), got 'best'"):
        choose(three, 1, criterion='best')


class TestClassifier:
    def test_unlabelled_rows_of_the_table_are_queried(self, classifier):
        blobs = make_blobs(30, random_state=7)
        is_labelled = np.arange(30) % 3 == 0
        labels = MaskedColumn(blobs.table['morphology'], mask=~is_labelled)
        partly = blobs.replace(table=Table({'morphology': labels}))
        for criterion in CRITERIA:
            positive = 'round' if criterion == 'uncertain-positive' else None
            chosen = classifier.query(partly, 5, criterion=criterion, positive=positive)
            assert len(set(chosen)) == 5
            assert not is_labelled[chosen].any()

    def test_margin_is_that_of_the_probabilities(self, classifier):
        images = make_blobs(20, random_state=8).images
        chosen = classifier.query(images, 20, criterion='margin')
        margins = np.abs(np.diff(classifier.predict_proba(images), axis=1)[chosen, 0])
        assert (np.diff(margins) >= 0).all()

    def test_wrong_labels_are_found(self):
        blobs = make_blobs(60, random_state=9)
        labels = np.array(blobs.table['morphology'])
        wrong = [5, 20, 41]
        labels[wrong] = np.where(labels[wrong] == 'round', 'edge_on', 'round')
        labels[7] = ''
        status = np.where(np.arange(60) == 8, 'truncated', 'ok')
        blobs = blobs.replace(table=Table({'morphology': labels}), status=status)
        classifier = MorphologyClassifier(encoder='random', random_state=0, device='cpu', verbose=0)
        found = classifier.suspect_labels(blobs)
        assert sorted(found['row'][:3]) == wrong
        assert (found['label'] == labels[found['row']]).all()
        assert (found['suggested'] != found['label']).all()


def test_class_that_is_hard_to_see_needs_less_to_be_believed():
    # On average, what is labelled 0 gets 0.75, and what is labelled 1 gets 0.45.
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.6, 0.4]])
    target = np.array([0, 0, 1, 1])
    assert len(confident_learning(probabilities, target)) == 0
    # Now 0.65 and 0.5: the last has 0.15 more than the mean for class 0, and 0.3 less for its own.
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.8, 0.2]])
    table = confident_learning(probabilities, target)
    assert table['row'].tolist() == [3]
    assert table['suggested'].tolist() == [0]
    assert table['p_suggested'].tolist() == [0.8]


def test_suspects_are_named_by_their_classes():
    features = np.random.default_rng(0).normal(size=(60, 2)) + 8 * (np.arange(60) < 30)[:, None]
    labels = np.where(np.arange(60) < 30, 'E', 'S')
    labels[4] = 'S'
    table = suspect_labels(features, labels)
    assert list(table[0]['row', 'label', 'suggested']) == [4, 'S', 'E']


class TestClassesOfOneLabel:
    FEATURES = np.repeat([[0.0, 0.0], [5.0, 5.0]], 20, axis=0)
    FEATURES = FEATURES + np.random.default_rng(0).normal(size=FEATURES.shape)

    def test_misspelt_label_is_suspect(self):
        labels = np.repeat(['round', 'spiral'], 20).astype('U8')
        labels[30] = 'sprial'
        features = self.FEATURES.copy()
        features[30] = 6.5
        table = suspect_labels(features, labels)
        assert table['row'].tolist() == [30]
        assert table['suggested'].tolist() == ['spiral']
        assert table['p_label'].tolist() == [0]

    def test_galaxy_unlike_the_others_is_not(self):
        features = np.vstack([self.FEATURES, [[2.5, 2.5]]])
        labels = np.append(np.repeat(['round', 'spiral'], 20), 'merger')
        assert len(suspect_labels(features, labels)) == 0

    @pytest.mark.parametrize('n', [1, 20])
    def test_nothing_is_predicted_from_one_class(self, n):
        labels = np.append(['merger'], np.full(n, 'round'))
        assert len(suspect_labels(self.FEATURES[: n + 1], labels)) == 0

    def test_classifier_takes_them(self, blobs):
        labels = np.array(blobs.table['morphology']).astype('U8')
        labels[0] = 'merger'
        table = MorphologyClassifier(encoder='random', verbose=0).suspect_labels(blobs, labels)
        assert set(table.colnames) >= {'row', 'label', 'suggested'}


@pytest.mark.parametrize(('positive', 'order'), [(1, [2, 1, 0]), (None, [2, 1, 0]), (0, [1, 0, 2])])
def test_barely_positive_ones_first(positive, order):
    predictions = predictions_of([[0.75, 0.25], [0.6, 0.4], [0.45, 0.55]])
    chosen = choose(predictions, 3, criterion='uncertain-positive', positive=positive)
    assert chosen.tolist() == order


def test_certain_positives_come_before_negatives():
    predictions = predictions_of([[0.9, 0.1], [0.01, 0.99], [0.8, 0.2], [0.4, 0.6]])
    chosen = choose(predictions, 4, criterion='uncertain-positive', positive=1)
    assert chosen.tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize('n', [0, -1, 2.5, 'a'])
def test_a_count_that_is_none_is_refused(three, n):
    with pytest.raises((TypeError, ValueError), match=r'^n '):
        choose(three, n)
