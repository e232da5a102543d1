# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Charts show the numbers of the evaluation."""

import numpy as np
import pytest

from astro_morph import plotting
from astro_morph.evaluation import Evaluation
from astro_morph.tests.helpers import make_blobs


@pytest.fixture
def evaluation():
    random = np.random.default_rng(0)
    classes = np.array(['E', 'M', 'S'])
    probabilities = random.dirichlet([0.5, 0.01, 0.5], 200)
    true = np.array([random.choice(classes[[0, 2]]) for _ in range(200)])
    return Evaluation(classes, true, probabilities, rows=np.arange(200)[::-1])


def test_confusion_has_the_counts(evaluation):
    axes = plotting.confusion(evaluation).axes[0]
    counts = [int(text.get_text()) for text in axes.texts]
    assert counts == evaluation.confusion.ravel().tolist()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ['E', 'M', 'S']


def test_roc_has_a_curve_for_each_class_that_is_there(evaluation):
    axes = plotting.roc(evaluation).axes[0]
    curves = axes.lines[:-1]
    table = evaluation.to_table()
    assert [curve.get_label() for curve in curves] == [
        f'{row["class"]} {row["roc_auc"]:.3f}' for row in table[[0, 2]]
    ]
    np.testing.assert_array_equal(curves[0].get_data(), evaluation.roc('E'))


def test_reliability_shows_accuracy_and_number(evaluation):
    axes, below = plotting.reliability(evaluation).axes
    n, confidence, accuracy = evaluation.reliability()
    there = n > 0
    np.testing.assert_allclose(axes.lines[1].get_data(), [confidence[there], accuracy[there]])
    assert [bar.get_height() for bar in below.patches] == n[there].tolist()


def test_mistakes_are_those_of_the_rows(evaluation):
    blobs = make_blobs(200)
    figure = plotting.mistakes(evaluation, blobs, n=6)
    worst = evaluation.worst(6)
    assert len(figure.axes) == 6
    first = worst[0]
    assert figure.axes[0].get_title() == (
        f'{first["predicted"]} {first["confidence"]:.2f}\nnot {first["true"]}'
    )
    shown = figure.axes[0].images[0].get_array()
    expected = plotting.cutouts(blobs[worst['row']]).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize('method', ['pca', 'tsne'])
@pytest.mark.parametrize('n_dimensions', [2, 3])
def test_feature_map_keeps_groups_apart(method, n_dimensions):
    random = np.random.default_rng(0)
    labels = np.repeat(['E', 'S'], 40)
    features = random.normal(size=(80, 20)) + 6 * (labels == 'S')[:, None]
    features[3] = np.nan
    figure = plotting.feature_map(features, labels, method=method, n_dimensions=n_dimensions)
    groups = [
        np.transpose(points._offsets3d if n_dimensions == 3 else points.get_offsets().T)
        for points in figure.axes[0].collections
    ]
    assert [len(group) for group in groups] == [39, 40]
    centres = [group.mean(axis=0) for group in groups]
    nearer = [
        np.linalg.norm(group - centres[0], axis=1) < np.linalg.norm(group - centres[1], axis=1)
        for group in groups
    ]
    assert nearer[0].mean() > 0.75
    assert nearer[1].mean() < 0.25
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['E', 'S']


def test_groups_shows_their_metrics(evaluation):
    by = np.repeat(['faint', 'bright$'], 100)
    figure = plotting.groups(evaluation, by)
    assert [axes.get_ylabel() for axes in figure.axes] == ['accuracy', 'calibration error']
    points = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(points, evaluation.groups(by)['accuracy'])
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == [
        r'bright\$ (100)',
        'faint (100)',
    ]


def test_figures_show_in_a_notebook_without_a_command(evaluation):
    figures = [
        plotting.confusion(evaluation),
        plotting.reliability(evaluation),
        plotting.cutouts(make_blobs(2)),
    ]
    assert [figure._repr_png_()[:4] for figure in figures] == [b'\x89PNG'] * 3


def test_feature_map_needs_no_labels():
    figure = plotting.feature_map(np.random.default_rng(0).normal(size=(30, 5)))
    assert len(figure.axes[0].collections) == 1
    assert figure.legends == []


def test_feature_map_shows_few_galaxies():
    features = np.random.default_rng(0).normal(size=(6, 5))
    figure = plotting.feature_map(features, method='tsne')
    assert np.isfinite(figure.axes[0].collections[0].get_offsets()).all()


def test_unknown_method_is_an_error():
    with pytest.raises(ValueError, match=r"method is 'umap', expected one of \['pca', 'tsne'\]"):
        plotting.feature_map(np.zeros((4, 2)), method='umap')
