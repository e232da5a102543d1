# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the search for a rare kind: examples of it, and many galaxies without a label."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_morph import MorphologyClassifier, OnnxClassifier
from astro_morph.learning.rare import OTHER, add_weak_negatives, find_positive
from astro_morph.tests.helpers import make_blobs

N, N_RARE = 400, 20
N_EXAMPLES = 5


@pytest.fixture(scope='module')
def is_rare():
    return np.arange(N) < N_RARE


@pytest.fixture(scope='module')
def features(is_rare):
    """Features of which the first tells the rare kind from the others."""
    random = np.random.default_rng(0)
    return random.normal(size=(N, 6)) + np.outer(is_rare, [4, 0, 0, 0, 0, 0])


@pytest.fixture(scope='module')
def labels():
    """The first of the rare kind are examples of it; no other galaxy has a label."""
    return np.ma.array(np.full(N, 'ring'), mask=np.arange(N) >= N_EXAMPLES)


@pytest.fixture(scope='module')
def fitted(features, labels):
    classifier = MorphologyClassifier(strategy='rare', random_state=0, verbose=0)
    return classifier.fit(features, labels)


def test_others_are_found_among_the_unlabelled(fitted, features):
    assert fitted.classes_.tolist() == ['other', 'ring']
    rows = fitted.rank(features)
    assert sorted(rows) == list(range(N))
    # In a random order, one in twenty would be.
    assert np.mean(rows[:N_RARE] < N_RARE) > 0.6


def test_rank_is_by_probability(fitted, features):
    probabilities = fitted.predict_proba(features)[:, 1][fitted.rank(features, 'ring')]
    assert (np.diff(probabilities) <= 1e-12).all()
    reverse = fitted.rank(features, 'other')
    assert reverse.tolist() == fitted.rank(features, 'ring')[::-1].tolist()


def test_examples_and_unlabelled_weigh_the_same():
    labels, weight = add_weak_negatives(
        np.array([7, 0, 0, 0, 7, 0]), np.array([1, 0, 0, 0, 1, 0], bool)
    )
    assert labels.tolist() == ['7', OTHER, OTHER, OTHER, '7', OTHER]
    assert weight.tolist() == [1, 0.5, 0.5, 0.5, 1, 0.5]


def test_a_labelled_negative_weighs_as_much_as_an_example():
    labels = np.array(['ring', 'ring', OTHER, '', '', '', ''])
    assert add_weak_negatives(labels, labels != '')[1].tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.5]


def test_labelled_negatives_push_their_like_down(features, labels):
    """A second group looks like the rare kind until some of it is labelled as other."""
    random = np.random.default_rng(1)
    alike = random.normal([4, 3, 0, 0, 0, 0], size=(40, 6))
    X, y = np.vstack([features, alike]), np.ma.append(labels, np.ma.masked_all(40, '<U5'))
    search = MorphologyClassifier(strategy='rare', random_state=0, verbose=0)
    before = search.fit(X, y).rank(X)
    y[N : N + 10] = OTHER
    after = search.fit(X, y).rank(X)
    # Only those of the group that are still without a label.
    assert np.sum(after[:20] >= N + 10) < np.sum(before[:20] >= N + 10)


def test_barely_positive_ones_are_queried(fitted, features):
    probability = fitted.predict_proba(features)[:, 1]
    expected = np.sort(probability[probability >= 0.5])
    rows = fitted.query(features, len(expected), criterion='uncertain-positive')
    np.testing.assert_allclose(probability[rows], expected)


def test_sample_weights_count(features, labels):
    plain = MorphologyClassifier(strategy='rare', random_state=0, verbose=0)
    ones = plain.fit(features, labels, np.full(N, 2.0)).predict_proba(features)
    weight = np.where(np.arange(N) < N_EXAMPLES, 8.0, 1.0)
    heavy = plain.fit(features, labels, weight).predict_proba(features)
    assert heavy[:, 1].mean() > ones[:, 1].mean()


@pytest.fixture(scope='module')
def blobs():
    return make_blobs(30)


@pytest.fixture(scope='module')
def search(blobs):
    """Labels of four edge-on galaxies of thirty, of which one has no image."""
    morphology = np.array(blobs.table['morphology'])
    examples = np.flatnonzero(morphology == 'edge_on')[:4]
    mask = ~np.isin(np.arange(30), examples)
    table = Table({'morphology': MaskedColumn(morphology, mask=mask)})
    status = np.where(np.arange(30) == 29, 'truncated', 'ok')
    images = np.where((status == 'ok')[:, None, None, None], blobs.images, np.nan)
    cutouts = blobs.replace(images=images, status=status, table=table)
    search = MorphologyClassifier(
        strategy='rare', encoder='random', device='cpu', random_state=0, verbose=0
    )
    return search.fit(cutouts), cutouts, examples


class TestImages:
    def test_rows_with_a_label_or_without_an_image_are_not_ranked(self, search):
        classifier, cutouts, examples = search
        rows = classifier.rank(cutouts)
        assert sorted(rows) == sorted({*range(29)} - {*examples.tolist()})

    def test_same_kind_comes_first(self, search, blobs):
        classifier, cutouts, _ = search
        rows = classifier.rank(cutouts, 'edge_on')
        is_kind = np.array(blobs.table['morphology'])[rows] == 'edge_on'
        n = is_kind.sum()
        assert is_kind[:n].mean() > is_kind.mean()

    def test_columns_and_onnx(self, search, tmp_path):
        classifier, cutouts, _ = search
        annotated = classifier.annotate(cutouts)
        assert {'morph_p_edge_on', 'morph_p_other'} <= {*annotated.colnames}
        classifier.to_onnx(tmp_path / 'search.onnx')
        light = OnnxClassifier(tmp_path / 'search.onnx', verbose=0)
        rows = light.rank(cutouts)
        assert sorted(rows) == sorted(classifier.rank(cutouts))
        assert (np.diff(classifier.predict_proba(cutouts)[rows, 0]) < 1e-4).all()


@pytest.mark.parametrize(
    ('positive', 'classes', 'number'),
    [(None, ['other', 'ring'], 1), ('other', ['other', 'ring'], 0), ('E', ['E', 'S'], 0)],
)
def test_class_that_is_searched_for(positive, classes, number):
    assert find_positive(positive, classes) == number


@pytest.mark.parametrize(('positive', 'classes'), [(None, ['E', 'S']), ('lens', ['other', 'ring'])])
def test_unclear_class_is_refused(positive, classes):
    with pytest.raises(ValueError, match=r'positive is .*, expected one of the classes'):
        find_positive(positive, classes)


@pytest.mark.parametrize(
    ('kinds', 'message'),
    [
        ([], r'the labels hold the classes \[\], expected examples of the kind'),
        (['other'], r"hold the classes \['other'\], expected examples of the kind to search for"),
        (['Other'], "hold 'Other', and strategy='rare' calls galaxies of no kind 'other'; write"),
        (['ring', 'OTHER'], "the labels hold 'OTHER'"),
    ],
)
def test_examples_of_a_kind_are_needed(features, kinds, message):
    labels = np.ma.masked_all(N, '<U5')
    for row, kind in enumerate(kinds):
        labels[5 * row : 5 * row + 5] = kind
    with pytest.raises(ValueError, match=message):
        MorphologyClassifier(strategy='rare', verbose=0).fit(features, labels)
