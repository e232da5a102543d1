# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The evaluation: its figures, counted by hand, and which rows it takes."""

import numpy as np
import pytest
from astropy.table import Table

from astro_morph.evaluation import Evaluation, evaluate


class Oracle:
    """A model that reads its prediction, masked for no image, from the table."""

    classes_ = np.array(['E', 'S'])

    def predict(self, X):
        return np.ma.array(X['says'], mask=X['says'] == '')


@pytest.fixture
def evaluation():
    # Of five E three are found, of two S one; one M is taken for an S.
    return Evaluation(['E', 'M', 'S'], list('EEEEESSM'), list('EEESSSES'), n_missing=2)


@pytest.fixture
def catalogue():
    return Table(
        {
            'morphology': ['E', 'E', 'S', '', 'S'],
            'says': ['E', 'S', 'S', 'E', ''],
        }
    )


def test_accuracy_is_the_share_of_right_ones(evaluation):
    assert evaluation.accuracy == 4 / 8


def test_balanced_accuracy_counts_every_true_class_alike(evaluation):
    assert evaluation.balanced_accuracy == pytest.approx((3 / 5 + 1 / 2 + 0) / 3)


def test_balanced_accuracy_leaves_out_a_class_that_no_galaxy_has():
    evaluation = Evaluation(['E', 'M', 'S'], list('EESS'), list('EMSS'))
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


def test_printed_evaluation_says_what_was_left_out(evaluation):
    lines = str(evaluation).splitlines()
    assert lines[0] == '8 galaxies, 2 more have no image'
    assert lines[1].split() == ['accuracy', '0.500']
    assert lines[-1].split() == ['S', '2', '0.250', '0.500']


def test_rows_without_label_or_image_are_left_out(catalogue):
    evaluation = evaluate(Oracle(), catalogue)
    assert evaluation.true.tolist() == ['E', 'E', 'S']
    assert evaluation.predicted.tolist() == ['E', 'S', 'S']
    assert evaluation.n_missing == 1


def test_labels_may_come_from_another_column_or_from_y(catalogue):
    labels = ['S', 'S', 'S', 'S', 'E']
    catalogue['seen'] = labels
    by_column = evaluate(Oracle(), catalogue, label_column='seen')
    by_y = evaluate(Oracle(), catalogue, labels)
    assert by_column.accuracy == by_y.accuracy == 2 / 4
    assert by_column.true.tolist() == by_y.true.tolist() == ['S', 'S', 'S', 'S']


def test_label_that_the_model_does_not_know_counts_as_wrong(catalogue):
    catalogue['morphology'][0] = 'M'
    evaluation = evaluate(Oracle(), catalogue)
    assert list(evaluation.classes) == ['E', 'M', 'S']
    assert evaluation.accuracy == 1 / 3
    assert evaluation.confusion.sum() == 3


@pytest.mark.parametrize(
    ('column', 'complaint'),
    [('morphology', "no row has a label in 'morphology'"), ('says', 'none of the 4 rows with a l')],
)
def test_nothing_to_compare_is_an_error(catalogue, column, complaint):
    catalogue[column] = ''
    with pytest.raises(ValueError, match=complaint):
        evaluate(Oracle(), catalogue)


def test_images_without_labels_are_an_error():
    with pytest.raises(ValueError, match='pass them as y'):
        evaluate(Oracle(), np.zeros((2, 1, 20, 20)))
