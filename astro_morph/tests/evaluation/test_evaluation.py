# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The evaluation: its metrics against counts by hand, and the rows it evaluates."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from sklearn.metrics import brier_score_loss, roc_auc_score

from astro_morph.evaluation import Evaluation, evaluate
from astro_morph.models.spec import ModelSpec


class Oracle:
    """A model that reads its predictions from the table; an empty one is that of no image."""

    classes_ = np.array(['E', 'S'])
    model_ = SimpleNamespace(spec=ModelSpec(classes=('E', 'S'), conformity=(0.5,) * 20))

    def predict_proba(self, X):
        known = {'E': [0.8, 0.2], 'S': [0.3, 0.7], '': [np.nan, np.nan]}
        return np.array([known[says] for says in X['says']])


def of_classes(classes, true, predicted):
    """Return an evaluation of predictions with probabilities of 0 and 1."""
    return Evaluation(
        classes,
        np.array(list(true)),
        np.array([[p == c for c in classes] for p in predicted], float),
    )


@pytest.fixture
def evaluation():
    # Of five E three are found, of two S one; one M is taken for an S.
    return of_classes(['E', 'M', 'S'], 'EEEEESSM', 'EEESSSES')


@pytest.fixture(scope='module')
def calibrated():
    """An evaluation with calibrated probabilities, and sets of the two most probable classes."""
    random = np.random.default_rng(0)
    classes = np.array(['a', 'b', 'c'])
    probabilities = random.dirichlet([0.6] * 3, 600)
    true = np.array([random.choice(classes, p=p) for p in probabilities])
    sets = probabilities.argsort(axis=1).argsort(axis=1) > 0
    return Evaluation(classes, true, probabilities, sets=sets, rows=np.arange(600) + 1000)


@pytest.fixture
def catalogue():
    return Table(
        {
            'morphology': ['E', 'E', 'S', '', 'S'],
            'says': ['E', 'S', 'S', 'E', ''],
        }
    )


def test_accuracy_is_the_fraction_of_right_classes(evaluation):
    assert evaluation.accuracy == 4 / 8


def test_balanced_accuracy_counts_every_true_class_alike(evaluation):
    assert evaluation.balanced_accuracy == pytest.approx((3 / 5 + 1 / 2 + 0) / 3)


def test_balanced_accuracy_leaves_out_a_class_that_no_galaxy_has():
    evaluation = of_classes(['E', 'M', 'S'], 'EESS', 'EMSS')
    assert evaluation.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)


def test_confusion_has_a_row_for_each_true_class(evaluation):
    np.testing.assert_array_equal(evaluation.confusion, [[3, 0, 2], [0, 0, 1], [1, 0, 1]])


def test_table_has_precision_and_recall(evaluation):
    table = evaluation.to_table()
    assert table['class'].tolist() == ['E', 'M', 'S']
    assert table['n'].tolist() == [5, 1, 2]
    np.testing.assert_allclose(table['recall'], [3 / 5, 0, 1 / 2])
    # Nothing was called M: its precision is not known.
    np.testing.assert_allclose(table['precision'], [3 / 4, np.nan, 1 / 4])


def test_area_is_that_of_scikit_learn(calibrated):
    expected = [
        roc_auc_score(calibrated.true == label, calibrated.probabilities[:, k])
        for k, label in enumerate(calibrated.classes)
    ]
    np.testing.assert_allclose(calibrated.to_table()['roc_auc'], expected)
    assert calibrated.roc_auc == pytest.approx(np.mean(expected))
    false_positives, true_positives = calibrated.roc('b')
    assert np.trapezoid(true_positives, false_positives) == pytest.approx(expected[1])


def test_area_of_a_class_that_no_galaxy_has_is_not_known(evaluation):
    some = of_classes(['E', 'M', 'S'], 'EESS', 'EESS')
    np.testing.assert_array_equal(some.to_table()['roc_auc'], [1, np.nan, 1])
    assert some.roc_auc == 1
    assert np.isnan(of_classes(['E', 'S'], 'EE', 'EE').roc_auc)


def test_probabilities_are_scored(calibrated):
    expected = brier_score_loss(calibrated.true, calibrated.probabilities, scale_by_half=False)
    assert calibrated.brier_score == pytest.approx(expected)
    assert calibrated.calibration_error < 0.06
    assert calibrated.reliability()[0].sum() == 600


def test_sets_are_scored(calibrated):
    assert calibrated.set_size == 2
    least = calibrated.classes[calibrated.probabilities.argmin(axis=1)]
    assert calibrated.coverage == np.mean(least != calibrated.true)


def test_interval_is_that_of_binomial_counts(calibrated):
    p = calibrated.accuracy
    expected = p + np.array([-1.96, 1.96]) * np.sqrt(p * (1 - p) / 600)
    np.testing.assert_allclose(calibrated.interval('accuracy'), expected, atol=0.01)
    low, high = calibrated.interval('accuracy', level=0.5)
    assert expected[0] < low < p < high < expected[1]


def test_summary_holds_value_and_interval(calibrated, evaluation):
    summary = calibrated.summary()
    assert (summary['low'] <= summary['value'] + 0.03).all()
    assert (summary['low'] < summary['high'])[summary['figure'] != 'set_size'].all()
    assert summary['value'][summary['figure'] == 'coverage'] == calibrated.coverage
    assert not {'coverage', 'set_size'} & set(evaluation.summary()['figure'])


def test_worst_are_the_most_confident_misclassifications(calibrated):
    worst = calibrated.worst(5)
    rows = worst['row'] - 1000
    assert (worst['true'] != worst['predicted']).all()
    np.testing.assert_array_equal(calibrated.true[rows], worst['true'])
    confidence = calibrated.probabilities.max(axis=1)
    wrong = np.sort(confidence[calibrated.predicted != calibrated.true])
    np.testing.assert_array_equal(worst['confidence'], wrong[::-1][:5])


def test_folds_are_joined(calibrated):
    halves = [calibrated._take(np.arange(0, 300)), calibrated._take(np.arange(300, 600))]
    joined = Evaluation.joined(halves)
    assert joined.accuracy == calibrated.accuracy
    assert joined.coverage == calibrated.coverage
    assert Evaluation.joined([halves[0], of_classes(['a', 'b', 'c'], 'ab', 'ac')]).sets is None


def test_printed_evaluation_says_what_was_left_out(evaluation):
    lines = str(dataclasses.replace(evaluation, n_missing=2)).splitlines()
    assert lines[0] == '8 galaxies, 2 more have no image'
    assert ['accuracy', '0.500'] in [line.split()[:2] for line in lines]
    assert ['S', '2', '0.250', '0.500'] in [line.split()[:4] for line in lines]


def test_rows_without_label_or_image_are_left_out(catalogue):
    evaluation = evaluate(Oracle(), catalogue)
    assert evaluation.true.tolist() == ['E', 'E', 'S']
    assert evaluation.predicted.tolist() == ['E', 'S', 'S']
    assert evaluation.n_missing == 1
    assert evaluation.rows.tolist() == [0, 1, 2]
    np.testing.assert_allclose(evaluation.probabilities, [[0.8, 0.2], [0.3, 0.7], [0.3, 0.7]])


def test_labels_may_come_from_another_column_or_from_y(catalogue):
    labels = ['S', 'S', 'S', 'S', 'E']
    catalogue['seen'] = labels
    by_column = evaluate(Oracle(), catalogue, label_column='seen')
    by_y = evaluate(Oracle(), catalogue, labels)
    assert by_column.accuracy == by_y.accuracy == 2 / 4
    assert by_column.true.tolist() == by_y.true.tolist() == ['S', 'S', 'S', 'S']


@pytest.mark.filterwarnings('ignore:the labels .* are no classes of the model')
def test_label_that_the_model_does_not_know_counts_as_wrong(catalogue):
    catalogue['morphology'][0] = 'M'
    evaluation = evaluate(Oracle(), catalogue)
    assert list(evaluation.classes) == ['E', 'M', 'S']
    assert evaluation.accuracy == 1 / 3
    assert evaluation.confusion.sum() == 3
    np.testing.assert_array_equal(evaluation.probabilities[:, 1], 0)
    assert not evaluation.sets[:, 1].any()


def test_model_without_scores_has_no_sets(catalogue):
    class Plain(Oracle):
        model_ = SimpleNamespace(spec=ModelSpec(classes=('E', 'S')))

    evaluation = evaluate(Plain(), catalogue)
    assert evaluation.sets is None
    assert np.isnan(evaluation.coverage)


@pytest.mark.parametrize(
    ('column', 'complaint'),
    [
        ('morphology', "names 'morphology', in which no row has a label"),
        ('says', 'none of the 4 rows with a l'),
    ],
)
def test_nothing_to_compare_is_an_error(catalogue, column, complaint):
    catalogue[column] = ''
    with pytest.raises(ValueError, match=complaint):
        evaluate(Oracle(), catalogue)


def test_images_without_labels_are_an_error():
    with pytest.raises(ValueError, match='pass them as y'):
        evaluate(Oracle(), np.zeros((2, 1, 20, 20)))


def test_one_class_has_no_roc_and_no_interval_of_it():
    evaluation = of_classes(['E', 'S'], 'EEE', 'EES')
    assert np.isnan(evaluation.interval('roc_auc')).all()
    assert 'roc_auc' in str(evaluation)


class TestGroups:
    """Of galaxies whose images are degraded with magnitude, the faint ones are misclassified."""

    @pytest.fixture(scope='class')
    @staticmethod
    def degraded():
        random = np.random.default_rng(0)
        magnitude = random.uniform(14, 18, 2000)
        true = random.choice(['E', 'S'], 2000)
        # The signal falls from many times the noise at 16 mag to nothing at 18.
        signal = np.where(magnitude < 16, 6, 3 * (18 - magnitude))
        logits = signal * (2 * (true == 'S') - 1) + 2 * random.normal(size=2000)
        p = 1 / (1 + np.exp(-2 * logits))
        table = Table({'mag': magnitude, 'survey': np.where(magnitude < 16, 'deep', 'wide')})
        return Evaluation(
            np.array(['E', 'S']), true, np.transpose([1 - p, p]), columns=table, by=('survey',)
        )

    def test_accuracy_falls_where_images_are_degraded(self, degraded):
        table = degraded.groups('mag', n_bins=4)
        assert table['n'].tolist() == [500] * 4
        assert table['accuracy'][:2].min() > 0.98
        assert table['accuracy_high'][3] < table['accuracy_low'][2] < table['accuracy'][1]
        assert table['calibration_error_low'][3] > table['calibration_error_high'][0]

    def test_kinds_are_groups_of_their_own(self, degraded):
        table = degraded.groups('survey')
        assert table['group'].tolist() == ['deep', 'wide']
        is_deep = degraded.columns['survey'] == 'deep'
        assert table['n'].tolist() == [is_deep.sum(), (~is_deep).sum()]
        assert table['accuracy'][0] == degraded.is_right[is_deep].mean()

    def test_values_that_are_given_group_too(self, degraded):
        given = degraded.groups(np.asarray(degraded.columns['mag']))
        assert (given == degraded.groups('mag')).all()
        with pytest.raises(ValueError, match='by has 3 values, expected one for each of the 2000'):
            degraded.groups([1, 2, 3])

    def test_groups_are_printed(self, degraded):
        assert 'wide' in str(degraded)
        assert 'wide' in degraded._repr_html_()

    def test_sets_add_coverage(self, calibrated):
        by = np.repeat(['a', 'b'], 300)
        table = calibrated.groups(by)
        assert table['coverage'][0] == np.mean((calibrated.sets & calibrated.is_true)[:300].sum(1))

    def test_unknown_column_is_an_error(self, degraded, catalogue):
        message = r"by names \['size'\], expected columns of the table, \['mag', 'survey'\]"
        with pytest.raises(ValueError, match=message):
            degraded.groups('size')
        with pytest.raises(ValueError, match=r"by names \['size'\]"):
            evaluate(Oracle(), catalogue, by='size')

    def test_evaluate_keeps_the_columns_of_the_evaluated_rows(self, catalogue):
        evaluation = evaluate(Oracle(), catalogue, by='says')
        assert evaluation.by == ('says',)
        assert evaluation.columns['says'].tolist() == ['E', 'S', 'S']
        assert evaluation.groups('says')['n'].tolist() == [1, 2]

    def test_fractions_by_bins_use_the_confusion_of_each(self, degraded):
        random = np.random.default_rng(1)
        rows = random.permutation(2000)
        here, there = rows[:1000], rows[1000:]
        known = degraded._take(here)
        sample = Table(degraded.columns[there])
        sample['morph_p_E'], sample['morph_p_S'] = degraded.probabilities[there].T
        table = known.fractions(sample, by='survey', level=0.99)
        assert table['group'].tolist() == ['deep', 'deep', 'wide', 'wide']
        for group, label, low, high in table.iterrows('group', 'class', 'low', 'high'):
            truth = np.mean(degraded.true[there][sample['survey'] == group] == label)
            assert low <= truth <= high
        everything = known.fractions(degraded.probabilities[there])
        assert (everything == known.fractions(sample)).all()

    def test_galaxies_outside_the_groups_are_told(self, degraded):
        sample = Table({'survey': ['deep'] * 9 + ['new']})
        sample['morph_p_E'], sample['morph_p_S'] = 0.9, 0.1
        with pytest.warns(match='1 of 10 galaxies have no survey, or one outside'):
            table = degraded.fractions(sample, by='survey')
        assert table['n'].tolist() == [9, 9]

    def test_sample_of_another_shape_is_an_error(self, degraded):
        with pytest.raises(ValueError, match=r'sample has the shape \(4, 3\), expected'):
            degraded.fractions(np.ones((4, 3)))
        with pytest.raises(ValueError, match='sample names'):
            degraded.fractions(Table({'x': [1]}))
