# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MorphologyRegressor: numbers with units, masks and intervals, by all strategies."""

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import MorphologyRegressor, OnnxRegressor
from astro_morph.estimators import regressor as regressor_module
from astro_morph.learning import strategies
from astro_morph.tests.helpers import make_blobs


def make(target=None, **parameters):
    options = {'encoder': 'random', 'random_state': 0, 'device': 'cpu', 'verbose': 0}
    return MorphologyRegressor(target, **options | parameters)


def make_numbers(n, *, random_state=0):
    """Make plain features and a number whose error grows with the second feature."""
    random = np.random.default_rng(random_state)
    X = random.normal(size=(n, 4))
    return X, 3 * X[:, 0] + 20 + np.exp(X[:, 1]) * random.normal(size=n)


@pytest.fixture(scope='module')
def blobs():
    """Blobs whose elongation and radius are known; one elongation is masked."""
    blobs = make_blobs(24)
    table = Table(blobs.table)
    is_round = np.asarray(table['morphology']) == 'round'
    elongation = np.where(is_round, 1.0, 4.0)
    table['elongation'] = MaskedColumn(elongation, mask=np.arange(24) == 3)
    table['radius'] = np.where(is_round, 30.0, 60.0) * u.arcsec
    return blobs.replace(table=table)


class TestIntervals:
    @pytest.mark.parametrize('coverage', [0.5, 0.9])
    def test_cover_the_fraction_asked_for(self, coverage):
        covered = []
        for seed in range(8):
            X, y = make_numbers(700, random_state=seed)
            low, high = make().fit(X[:400], y[:400]).predict_interval(X[400:], coverage)
            covered.append(np.mean((low <= y[400:]) & (y[400:] <= high)))
        assert np.mean(covered) == pytest.approx(coverage, abs=0.03)

    def test_are_wide_where_predictions_are_bad(self):
        X, y = make_numbers(600)
        low, high = make().fit(X, y).predict_interval(X)
        width = high - low
        assert np.median(width[X[:, 1] > 1]) > 3 * np.median(width[X[:, 1] < -1])

    def test_follow_skewed_errors(self):
        X = np.random.default_rng(1).normal(size=(600, 2))
        y = X[:, 0] + np.random.default_rng(2).exponential(size=600)
        regressor = make().fit(X, y)
        predicted, (low, high) = regressor.predict(X), regressor.predict_interval(X)
        assert np.median(high - predicted) > 1.3 * np.median(predicted - low)

    def test_are_no_wider_than_the_errors_with_few_galaxies_of_many_features(self):
        random = np.random.default_rng(0)
        X, y = random.normal(size=(160, 400)), random.normal(size=160)
        low, high = make().fit(X[:80], y[:80]).predict_interval(X[80:])
        # Nothing can be learnt, and 3.3 is the width of 90 % of a normal distribution.
        assert np.median(high - low) < 5

    def test_are_those_of_the_rows_to_validate_on(self):
        X, y = make_numbers(120)
        validation = np.arange(120) % 3 == 0
        wrong = np.where(validation, y + 1000, y)
        regressors = [make().fit(X, target, validation=validation) for target in (y, wrong)]
        predicted = [regressor.predict(X) for regressor in regressors]
        # Mean and standard deviation are those of all rows: the penalty rounds differently.
        np.testing.assert_allclose(*predicted, rtol=0.05)
        low, high = (np.median(r.predict_interval(X, 0.5)) for r in regressors)
        assert high - low > 500

    def test_are_infinite_or_masked_with_few_numbers(self):
        X, y = make_numbers(12)
        regressor = make().fit(X, y)
        low, high = regressor.predict_interval(X)
        assert np.isneginf(low).all()
        assert np.isposinf(high).all()
        annotated = regressor.annotate(X)
        assert annotated['morph_number_lo'].mask.all()
        assert not annotated['morph_number'].mask.any()
        assert set(annotated['morph_status']) == {'ok'}

    def test_are_refused_without_numbers_held_out(self):
        X, y = make_numbers(5)
        with pytest.warns(AstropyUserWarning, match='predict_interval has no scores; label at lea'):
            regressor = make().fit(X, y)
        with pytest.raises(ValueError, match='no scores of galaxies held out'):
            regressor.predict_interval(X)

    @pytest.mark.parametrize('coverage', [0, 1, -1, 1.5, np.nan, 'a', None, [0.5, 0.9]])
    def test_coverage_is_between_zero_and_one(self, coverage):
        X, y = make_numbers(40)
        with pytest.raises(ValueError, match='coverage must be between 0 and 1'):
            make().fit(X, y).predict_interval(X, coverage)


X, Y = make_numbers(40)


class TestNumbers:
    @pytest.mark.parametrize(
        ('y', 'names', 'units'),
        [
            (Y.tolist(), ['number'], [None]),
            (Y[:, None], ['number'], [None]),
            (np.column_stack([Y, -Y]), ['number_1', 'number_2'], [None, None]),
            (Y * u.kpc, ['number'], [u.kpc]),
            (MaskedColumn(Y, name='bar', unit='kpc'), ['bar'], [u.kpc]),
            (Table([Y, Y], names=['a', 'b'], units=['mag', None]), ['a', 'b'], [u.mag, None]),
            (QTable({'size': Y * u.arcmin}), ['size'], [u.arcmin]),
            (pd.Series(Y, name='sersic'), ['sersic'], [None]),
            (pd.DataFrame({'n': Y, 're': Y}), ['n', 're'], [None, None]),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_names_and_units_are_kept(self, y, names, units):
        regressor = make().fit(X, y)
        assert regressor.targets_.tolist() == names
        assert regressor.units_ == units
        annotated = regressor.annotate(X)
        assert [annotated[f'morph_{name}'].unit for name in names] == units
        assert regressor.predict(X).shape == ((40,) if len(names) == 1 else (40, 2))

    @pytest.mark.parametrize('missing', [np.nan, np.inf, None, np.ma.masked])
    def test_missing_ones_are_not_learnt(self, missing):
        y = np.ma.array(Y, dtype=object)
        y[::4] = missing
        expected = make().fit(np.delete(X, np.s_[::4], 0), np.delete(Y, np.s_[::4]))
        np.testing.assert_allclose(make().fit(X, y).predict(X), expected.predict(X), rtol=1e-6)

    def test_each_of_several_has_its_own_missing_ones(self):
        both = np.column_stack([Y, 2 * Y])
        both[::3, 0] = np.nan
        came = make().fit(X, both).predict(X)
        assert np.corrcoef(came[:, 0], came[:, 1])[0, 1] > 0.98

    def test_scale_of_the_numbers_does_not_matter(self):
        came = make().fit(X, 1e12 + 1e6 * Y).predict(X)
        np.testing.assert_allclose((came - 1e12) / 1e6, make().fit(X, Y).predict(X), rtol=1e-3)

    def test_rows_without_weight_are_not_learnt(self):
        weight = np.arange(40) % 4 != 0
        y = np.where(weight, Y, 1e6)
        expected = make().fit(X[weight], Y[weight])
        came = make().fit(X, y, sample_weight=weight)
        np.testing.assert_allclose(came.predict(X), expected.predict(X), rtol=1e-6)

    def test_other_units_are_converted_where_numbers_are_compared(self):
        regressor = make().fit(X, Y * u.arcmin)
        same = regressor.score(X, Y * u.arcmin)
        assert regressor.score(X, 60 * Y * u.arcsec) == pytest.approx(same)
        assert regressor.evaluate(X, 60 * Y * u.arcsec)['rms'][0] < np.std(Y)

    @pytest.mark.parametrize(
        ('y', 'options', 'message'),
        [
            (Y[:5], {}, 'y has 5 rows, X has 40'),
            (Y.reshape(2, 2, 10), {}, r'y has the shape \(2, 2, 10\), expected'),
            (np.full(40, 'a'), {}, 'expected numbers'),
            (np.full(40, np.nan), {}, 'numbers in 0 samples, expected at least 2'),
            (Y, {'validation': np.ones(40, bool)}, 'validation holds out 40 of 40'),
            (Y, {'validation': np.zeros(40, bool)}, 'validation holds out 0 of 40'),
            (Y, {'validation': np.arange(40) % 2}, 'must be an array of 40 bool'),
            (Y, {'sample_weight': np.arange(40) == 3}, 'numbers in 1 sample with a weight'),
            (Y, {'sample_weight': np.arange(40) - 2}, 'sample_weight is negative in 2 of 40 rows'),
            (1e300 * Y, {}, "the numbers 'number' go up to 2.9e.301, expected between"),
            (1e-300 * Y, {}, 'change the unit, or mask what is not measured'),
        ],
    )
    def test_wrong_ones_are_refused(self, y, options, message):
        with pytest.raises(ValueError, match=message):
            make().fit(X, y, **options)

    def test_masked_rows_are_not_validated_on(self):
        validation = np.ma.array(np.arange(40) < 20, mask=np.arange(40) >= 15)
        came = make().fit(X, Y, validation=validation)
        expected = make().fit(X, Y, validation=np.arange(40) < 15)
        np.testing.assert_array_equal(came.predict(X), expected.predict(X))

    @pytest.mark.parametrize(
        ('y', 'message'),
        [
            (np.full(40, np.nan), 'no galaxy has both a known number and a prediction; check that'),
            (Y * u.mag, "the numbers 'number' have the unit 'mag', the model predicts .* 'kpc'"),
            (1e200 * Y * u.kpc, "the numbers 'number' go up to"),
        ],
    )
    def test_true_ones_that_cannot_be_compared_are_refused(self, y, message):
        regressor = make().fit(X, Y * u.kpc)
        for compare in (regressor.score, regressor.evaluate):
            with pytest.raises(ValueError, match=message):
                compare(X, y)

    def test_score_is_that_of_the_known_ones(self):
        regressor = make().fit(X, np.column_stack([Y, -Y]))
        one_unknown = np.column_stack([Y, np.full(40, np.nan)])
        assert regressor.score(X, one_unknown) == pytest.approx(make().fit(X, Y).score(X, Y))

    def test_equal_ones_are_predicted_as_they_are(self):
        regressor = make().fit(X, np.full(40, 5.0))
        np.testing.assert_array_equal(regressor.predict(X), 5)
        np.testing.assert_array_equal(regressor.predict_interval(X, 0.5), 5)


class TestImages:
    def test_rows_are_checked_before_images_are_fetched(self, blobs, monkeypatch):
        monkeypatch.setattr(regressor_module, 'fetch_and_clean', lambda *_: pytest.fail('fetched'))
        for options, message in (
            ({'validation': np.zeros(24, bool)}, 'validation holds out 0'),
            ({'sample_weight': -np.ones(24)}, 'sample_weight is negative'),
        ):
            with pytest.raises(ValueError, match=message):
                make('radius').fit(blobs, **options)

    def test_equal_numbers_do_not_spoil_the_training(self, blobs):
        table = blobs.table.copy()
        table['same'] = 5.0
        cutouts = blobs.replace(table=table)
        options = {'strategy': 'fine-tune', 'epochs': 3, 'batch_size': 8}
        regressor = make(['radius', 'same'], **options).fit(cutouts)
        np.testing.assert_array_equal(regressor.predict(cutouts)[:, 1], 5)
        assert regressor.history_[-1]['loss'] < 100

    def test_columns_are_learnt_and_loaded_again(self, blobs, tmp_path):
        regressor = make(['elongation', 'radius']).fit(blobs)
        assert regressor.score(blobs) > 0.8
        regressor.save(tmp_path / 'numbers.pt')
        loaded = MorphologyRegressor.load(tmp_path / 'numbers.pt', verbose=0)
        np.testing.assert_array_equal(loaded.predict(blobs), regressor.predict(blobs))
        assert loaded.evaluate(blobs)['unit'].tolist() == ['', 'arcsec']
        assert loaded.targets_.tolist() == ['elongation', 'radius']
        assert loaded.fit(blobs).targets_.tolist() == ['elongation', 'radius']

    def test_quantities_stay_quantities_in_a_qtable(self, blobs):
        cutouts = blobs.replace(table=QTable(blobs.table))
        annotated = make('radius').fit(cutouts).annotate(cutouts)
        assert annotated['morph_radius'].unit == u.arcsec
        assert annotated['morph_radius'].to_value('deg').mean() < 0.1

    def test_encoder_is_trained_too(self, blobs, tmp_path):
        options = {'strategy': 'fine-tune', 'epochs': 2, 'batch_size': 8}
        regressor = make(['elongation', 'radius'], **options).fit(blobs)
        assert len(regressor.history_) == 2
        assert not regressor.model_.spec.frozen
        assert np.isfinite(regressor.predict(blobs)).all()
        cost = regressor.to_onnx(tmp_path / 'numbers.onnx', blobs, precision='float16')
        assert 'a number changes by' in str(cost)
        assert 'standard deviations at most' in str(cost)
        # Of both numbers, though their units differ.
        light = OnnxRegressor(tmp_path / 'numbers.onnx', verbose=0)
        change = np.abs(light.predict(blobs) - regressor.predict(blobs))
        std = [number['std'] for number in regressor.model_.spec.numbers.values()]
        assert cost.largest_change == pytest.approx((change / std).max(), rel=0.01)

    @pytest.mark.parametrize(('rate', 'is_frozen'), [(100.0, True), (0.06, None)])
    def test_auto_keeps_the_better_one(self, blobs, monkeypatch, rate, is_frozen):
        monkeypatch.setattr(strategies, 'FINE_TUNE_FROM', 24)
        monkeypatch.setattr(strategies, 'LEARNING_RATE', rate)
        spec = make('radius', strategy='auto', epochs=1).fit(blobs).model_.spec
        assert is_frozen is None or spec.frozen == is_frozen
        assert spec.numbers['radius']['unit'] == 'arcsec'

    def test_column_must_be_named(self, blobs):
        with pytest.raises(ValueError, match=r"target is None, .* among \['id', 'morphology'"):
            make().fit(blobs)

    def test_column_must_hold_numbers(self, blobs):
        with pytest.raises(ValueError, match="target names the column 'morphology'"):
            make('morphology').fit(blobs)


def test_columns_of_a_table_are_taken_by_name():
    X, y = make_numbers(60)
    numbers = Table({'a': y, 'b': 10 * X[:, 2], 'id': ['x'] * 60})
    regressor = make(['a', 'b']).fit(X, numbers)
    assert regressor.targets_.tolist() == ['a', 'b']
    other = make(['b', 'a']).fit(X, numbers)
    assert other.targets_.tolist() == ['b', 'a']
    expected = regressor.score(X, numbers['a', 'b'])
    for truth in (numbers['b', 'a'], numbers['b', 'a'].to_pandas(), numbers):
        assert regressor.score(X, truth) == pytest.approx(expected)
    np.testing.assert_allclose(other.predict(X), regressor.predict(X)[:, ::-1])


@pytest.mark.parametrize('scale', [1e-6, 1e6, 1e300])
def test_only_the_ratios_of_weights_count(scale):
    X, y = make_numbers(60)
    expected = make().fit(X, y).predict(X)
    came = make().fit(X, y, sample_weight=np.full(60, scale)).predict(X)
    np.testing.assert_allclose(came, expected, rtol=1e-6)


def test_numbers_only_in_rows_that_are_not_learnt_are_refused():
    X, y = make_numbers(60)
    is_first = np.arange(60) < 10
    numbers = Table({'a': y, 'b': np.where(is_first, y, np.nan)})
    message = r"the columns \['b'\] have no number in any row to learn from"
    with pytest.raises(ValueError, match=message):
        make().fit(X, numbers, sample_weight=1.0 - is_first)
    with pytest.raises(ValueError, match=message):
        make().fit(X, numbers, validation=is_first)


@pytest.mark.parametrize(
    ('target', 'message'),
    [
        (['radius', 'nothing'], r"the columns \['nothing'\] have no number in any row"),
        (['radius', 'radius'], r"target is \['radius', 'radius'\], expected each column once"),
    ],
)
def test_columns_that_teach_nothing_are_refused(blobs, target, message):
    table = blobs.table.copy()
    table['nothing'] = MaskedColumn(np.zeros(24), mask=True)
    with pytest.raises(ValueError, match=message):
        make(target).fit(blobs.replace(table=table))


@pytest.mark.parametrize('names', [['status', 'flags'], ['novelty', 'x'], ['x', 'x_lo']])
def test_names_of_other_columns_are_numbered(blobs, names):
    table = blobs.table.copy()
    table.add_columns([table['elongation'], table['radius']], names=names)
    annotated = make(names).fit(blobs.replace(table=table)).annotate(blobs)
    assert len(annotated.colnames) == len(blobs.table.colnames) + 9
    assert (annotated['morph_status'] == 'ok').all()


@pytest.mark.parametrize('factor', [1e41, 1e-41])
def test_columns_hold_numbers_beyond_single_precision(blobs, factor):
    truth = np.asarray(blobs.table['radius'], float) * factor
    regressor = make().fit(blobs, truth)
    came = regressor.annotate(blobs)['morph_number']
    np.testing.assert_allclose(came, regressor.predict(blobs))
    assert np.isfinite(came).all()
