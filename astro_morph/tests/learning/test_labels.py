# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Labels to learn from and to compare with: which rows have one, and which are classes."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import MorphologyClassifier, MorphologyEncoder, MorphologyVotes
from astro_morph.evaluation import evaluate
from astro_morph.learning.labels import check_classes, check_known, labels_of, weights_of

N = 40
HIDDEN = np.arange(N) < 8
TRUTH = np.resize(['spiral', 'round'], N)
FEATURES = np.random.default_rng(0).normal(size=(N, 5)) + 3 * (TRUTH == 'spiral')[:, None]


def hide(value, dtype=object):
    return np.where(HIDDEN, value, TRUTH.astype(object)).astype(dtype)


# The same labels, of which the first eight are unknown, in all ways to write them.
SORTS = {
    'masked': MaskedColumn(np.where(HIDDEN, 'unknown', TRUTH), mask=HIDDEN),
    'masked array': np.ma.array(np.where(HIDDEN, 'unknown', TRUTH), mask=HIDDEN),
    'empty': hide('', str),
    'blank': hide('  ', str),
    'padded': np.char.add(hide('', str), ' '),
    'None': hide(None),
    'NaN': hide(np.nan),
    'infinite': hide(-np.inf),
    'list': hide(None).tolist(),
    'series': pd.Series(hide(None)),
    'series of text': pd.Series(hide(None)).astype('string'),
    'categories': pd.Series(hide(None)).astype('category'),
    'bytes': hide('', 'S'),
    'column vector': np.ma.array(np.where(HIDDEN, 'unknown', TRUTH), mask=HIDDEN)[:, None],
}


def make(**parameters):
    return MorphologyClassifier(
        strategy='linear', encoder='random', random_state=0, verbose=0, **parameters
    )


@pytest.mark.filterwarnings('ignore:A column-vector y')
class TestUnlabelledFeatures:
    @pytest.mark.parametrize('sort', SORTS)
    def test_are_left_out(self, sort):
        fitted = make().fit(FEATURES, SORTS[sort])
        assert fitted.classes_.tolist() == ['round', 'spiral']
        expected = make().fit(FEATURES[~HIDDEN], TRUTH[~HIDDEN])
        assert fitted.model_.spec.identifier == expected.model_.spec.identifier

    @pytest.mark.parametrize('sort', SORTS)
    def test_do_not_count_in_a_comparison(self, sort):
        fitted = make().fit(FEATURES, TRUTH)
        assert fitted.score(FEATURES, SORTS[sort]) == fitted.score(FEATURES[8:], TRUTH[8:])
        assert len(fitted.evaluate(FEATURES, SORTS[sort]).true) == N - 8

    @pytest.mark.parametrize(
        'weight',
        [
            np.where(HIDDEN, np.nan, 1 + np.arange(N) % 3),
            np.ma.array(1 + np.arange(N) % 3, mask=HIDDEN),
            MaskedColumn(1 + np.arange(N) % 3, mask=HIDDEN),
            [None if hidden else 1 + i % 3 for i, hidden in enumerate(HIDDEN)],
        ],
    )
    def test_need_no_weight(self, weight):
        fitted = make().fit(FEATURES, SORTS['masked'], weight)
        expected = make().fit(FEATURES[8:], TRUTH[8:], 1 + np.arange(8, N) % 3)
        assert fitted.model_.spec.identifier == expected.model_.spec.identifier
        score = fitted.score(FEATURES, SORTS['masked'], weight)
        assert score == expected.score(FEATURES[8:], TRUTH[8:], 1 + np.arange(8, N) % 3)

    def test_are_not_held_out(self):
        validation = np.arange(N) % 4 == 0
        fitted = make().fit(FEATURES, SORTS['NaN'], validation=validation)
        assert len(fitted.model_.spec.conformity) == np.sum(validation & ~HIDDEN)

    def test_numbers(self):
        y = np.where(HIDDEN, np.inf, TRUTH == 'spiral')
        assert make().fit(FEATURES, y).classes_.tolist() == [0, 1]

    def test_suspects_are_rows_of_all(self):
        y = SORTS['masked'].copy()
        y[20] = 'round'
        table = make().suspect_labels(FEATURES, y)
        assert table['row'].tolist() == [20]
        assert table['suggested'].tolist() == ['spiral']

    def test_supervised_encoder_leaves_them_out(self, blobs):
        y = np.ma.array(
            ['odd'] * 4 + blobs.table['morphology'][4:].tolist(), mask=np.arange(24) < 4
        )
        encoder = MorphologyEncoder(method='supervised', size=24, epochs=1, verbose=0)
        labels = encoder._labels(blobs, y)
        assert labels.mask.sum() == 4
        assert set(labels.compressed()) == {'round', 'edge_on'}


VOTES = np.column_stack(
    [np.where(TRUTH == 'spiral', 30.0, 5), np.where(TRUTH == 'spiral', 10.0, 35)]
)


@pytest.mark.parametrize('nothing', [None, np.nan, np.inf, -1, ''])
def test_votes_that_are_none_are_left_out(nothing):
    tree = {'spiral': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
    votes = VOTES.astype(object)
    votes[HIDDEN] = nothing
    fitted = MorphologyVotes(tree, verbose=0).fit(FEATURES, votes)
    expected = MorphologyVotes(tree, verbose=0).fit(FEATURES[8:], VOTES[8:])
    assert fitted.score(FEATURES, votes) == pytest.approx(expected.score(FEATURES[8:], VOTES[8:]))


def test_masked_votes_and_weights_are_left_out():
    tree = {'spiral': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
    votes = np.ma.array(VOTES, mask=np.repeat(HIDDEN[:, None], 2, axis=1))
    weight = np.where(HIDDEN, np.nan, 2.0)
    fitted = MorphologyVotes(tree, verbose=0).fit(FEATURES, votes, weight)
    expected = MorphologyVotes(tree, verbose=0).fit(FEATURES[8:], VOTES[8:], np.full(N - 8, 2.0))
    assert fitted.score(FEATURES, votes, weight) == pytest.approx(
        expected.score(FEATURES[8:], VOTES[8:])
    )


class TestWeights:
    @pytest.mark.parametrize('weight', [np.ones(N - 1), np.ones((N, 2))])
    def test_of_another_shape_are_refused(self, weight):
        with pytest.raises(ValueError, match=r'sample_weight has the shape .*expected \(40,\)'):
            weights_of(weight, FEATURES, np.arange(N))

    def test_of_labelled_rows_must_be_numbers(self):
        with pytest.raises(ValueError, match='sample_weight contains NaN'):
            weights_of(np.where(np.arange(N) == 9, np.nan, 1), FEATURES, np.arange(8, N))


class TestClasses:
    @pytest.mark.parametrize(
        'labels', [np.arange(700), [f'SDSS J{i}' for i in range(700)], np.linspace(0, 1, 700)]
    )
    def test_identifiers_are_refused(self, labels):
        with pytest.raises(ValueError, match=r'700 classes .* in 700 rows.* look like identifiers'):
            check_classes(np.array(labels))

    def test_nearly_identifiers_are_warned_of(self):
        with pytest.warns(AstropyUserWarning, match='look like identifiers'):
            check_classes(np.append(np.arange(30), 29))

    @pytest.mark.parametrize('labels', [np.arange(19), np.resize(np.arange(20), 60)])
    def test_first_labels_and_many_classes_are_not(self, labels):
        check_classes(labels)

    def test_are_refused_before_images_are_fetched(self):
        table = Table({'ra': np.arange(30.0), 'dec': np.arange(30.0), 'id': np.arange(30)})
        with pytest.raises(ValueError, match='look like identifiers'):
            make(label_column='id', source='sdss-dr9').fit(table)

    @pytest.mark.parametrize('shape', [(N, 2), (N, 1, 1)])
    def test_several_columns_are_refused(self, shape):
        with pytest.raises(ValueError, match=rf'y has the shape \({N}, .*one label a row'):
            labels_of(FEATURES, np.resize(TRUTH, shape), 'morphology')


TREE = {'edge_on': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}


@pytest.mark.parametrize(
    ('estimator', 'y'), [(make(), TRUTH), (MorphologyVotes(TREE, verbose=0), np.full((N, 2), 3))]
)
def test_negative_weights_are_refused(estimator, y):
    with pytest.raises(ValueError, match='sample_weight is negative in 2 of 40 rows with a label'):
        estimator.fit(FEATURES, y, sample_weight=np.arange(N) - 2)


class TestUnknownLabels:
    CLASSES = ('edge_on', 'spiral')

    @pytest.mark.parametrize(
        ('label', 'near'),
        [
            ('SPIRAL', "'SPIRAL' to 'spiral'"),
            ('Edge-on', "'Edge-on' to 'edge_on'"),
            ('sprial', "'sprial' to 'spiral'"),
            ('merger', 'rename them, or leave them empty'),
        ],
    )
    def test_are_named_beside_the_near_class(self, label, near):
        with pytest.warns(AstropyUserWarning, match=r'of 1 of 3 rows .*expected \[') as warned:
            check_known(np.array([label, 'spiral', 'edge_on']), self.CLASSES)
        assert near in str(warned[0].message)
        assert repr(label) in str(warned[0].message)

    def test_only_are_refused(self):
        with pytest.raises(ValueError, match="change 'SPIRAL' to 'spiral'"):
            check_known(np.array(['SPIRAL', 'SPIRAL']), self.CLASSES)

    def test_known_ones_are_silent(self):
        check_known(np.array(['spiral', 'edge_on']), self.CLASSES)
        check_known(np.array([1, 0]), (0, 1, 2))

    def test_numbers_are_no_text(self):
        with pytest.raises(ValueError, match="change 1 to '1'"):
            check_known(np.array([1, 1]), ('0', '1'))

    @pytest.mark.parametrize(
        'door', [lambda c, *a: c.score(*a), lambda c, *a: c.evaluate(*a), evaluate]
    )
    def test_every_comparison_checks(self, door):
        fitted = make().fit(FEATURES, TRUTH)
        with pytest.raises(ValueError, match="change 'ROUND' to 'round', 'SPIRAL' to 'spiral'"):
            door(fitted, FEATURES, np.char.upper(TRUTH))
        some = np.where(HIDDEN, np.char.upper(TRUTH), TRUTH)
        with pytest.warns(AstropyUserWarning, match='of 8 of 40 rows'):
            door(fitted, FEATURES, some)

    def test_report_checks(self, tmp_path, classifier, blobs):
        labels = np.char.upper(np.array(blobs.table['morphology']))
        with pytest.raises(ValueError, match="change 'EDGE_ON' to 'edge_on'"):
            classifier.report(blobs, tmp_path / 'report.html', labels)
