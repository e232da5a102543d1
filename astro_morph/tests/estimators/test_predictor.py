# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What every fitted model can do, with PyTorch or from an ONNX file: the same tests for all."""

import copy
import pickle

import numpy as np
import pytest
from astropy.table import Table
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator

from astro_morph import (
    MorphologyClassifier,
    MorphologyRegressor,
    MorphologyVotes,
    OnnxClassifier,
    OnnxRegressor,
    OnnxVotes,
)
from astro_morph.catalog.io.tables import read_table
from astro_morph.tests.helpers import make_blobs

KINDS = ['classes', 'votes', 'numbers']

TREE = {
    'shape': {'answers': {'round': 'n_round', 'other': 'n_other'}},
    'sure': {'answers': {'yes': 'n_yes', 'no': 'n_no'}, 'asked_after': {'shape': ['round']}},
}


@pytest.fixture(scope='module')
def cutouts():
    """Twenty galaxies with labels, votes and a number; the image of one is missing."""
    blobs = make_blobs(20)
    labels = np.asarray(blobs.table['morphology'])
    is_first = labels == labels[0]
    table = Table(blobs.table)
    table['n_round'], table['n_other'] = 8 * is_first + 1, 8 * ~is_first + 1
    table['n_yes'], table['n_no'] = 3 * is_first + 1, 2
    table['width'] = np.where(is_first, 1.0, 3.0) + np.arange(20) / 40
    table['width'].unit = 'arcsec'
    status = np.where(np.arange(20) == 4, 'truncated', 'ok')
    return blobs.replace(table=table, status=status)


@pytest.fixture(scope='module')
def fitted(cutouts):
    options = {'encoder': 'random', 'random_state': 0, 'device': 'cpu', 'verbose': 0}
    return {
        'classes': MorphologyClassifier(strategy='linear', **options).fit(cutouts),
        'votes': MorphologyVotes(TREE, **options).fit(cutouts),
        'numbers': MorphologyRegressor('width', **options).fit(cutouts),
    }


@pytest.fixture(scope='module')
def written(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp('onnx')
    for name, estimator in fitted.items():
        estimator.to_onnx(folder / f'{name}.onnx')
    return {
        'classes': OnnxClassifier(folder / 'classes.onnx', verbose=0),
        'votes': OnnxVotes(folder / 'votes.onnx', verbose=0),
        'numbers': OnnxRegressor(folder / 'numbers.onnx', verbose=0),
    }


@pytest.fixture(params=['torch', 'onnx', 'pickled', 'copied'])
def models(request, fitted, written):
    """All models, in every form in which they predict."""
    if request.param == 'torch':
        return fitted
    if request.param == 'onnx':
        return written
    again = copy.deepcopy if request.param == 'copied' else lambda m: pickle.loads(pickle.dumps(m))
    return {name: again(model) for name, model in written.items()}


class TestAll:
    @pytest.mark.parametrize('kind', KINDS)
    def test_annotate_adds_the_same_columns(self, models, fitted, cutouts, kind):
        expected, came = (each[kind].annotate(cutouts) for each in (fitted, models))
        assert came.colnames == expected.colnames
        assert came['morph_status'].tolist() == expected['morph_status'].tolist()
        assert came['morph_status'][4] == 'truncated'
        for name in came.colnames:
            if came[name].dtype.kind == 'f':
                np.testing.assert_allclose(
                    np.ma.filled(came[name], -1), np.ma.filled(expected[name], -1), atol=1e-3
                )

    @pytest.mark.parametrize('kind', KINDS)
    def test_annotate_file_writes_what_annotate_returns(self, models, cutouts, tmp_path, kind):
        cutouts.write(tmp_path / 'cutouts.h5')
        counts = models[kind].annotate_file(tmp_path / 'cutouts.h5', tmp_path / 'out.ecsv')
        assert counts == {'ok': 19, 'truncated': 1}
        expected, came = models[kind].annotate(cutouts), read_table(tmp_path / 'out.ecsv')
        assert came.colnames == expected.colnames
        for name in came.colnames:
            if came[name].dtype.kind == 'f':
                np.testing.assert_allclose(
                    np.ma.filled(came[name], -1), np.ma.filled(expected[name], -1), atol=1e-4
                )

    @pytest.mark.parametrize('kind', KINDS)
    def test_columns_are_not_replaced_unasked(self, models, cutouts, kind):
        annotated = models[kind].annotate(cutouts)
        again = cutouts.replace(table=annotated)
        with pytest.raises(ValueError, match='overwrite=True'):
            models[kind].annotate(again)
        assert models[kind].annotate(again, overwrite=True).colnames == annotated.colnames

    @pytest.mark.parametrize('kind', KINDS)
    def test_measures_stand_beside_the_predictions(self, models, cutouts, kind):
        annotated = models[kind].annotate(cutouts[:2], measures=True)
        assert {'morph_gini', 'morph_measure_flags', 'morph_status'} <= {*annotated.colnames}

    @pytest.mark.parametrize('kind', KINDS)
    def test_score_is_the_same(self, models, fitted, cutouts, kind):
        assert models[kind].score(cutouts) == pytest.approx(fitted[kind].score(cutouts), abs=1e-3)

    @pytest.mark.parametrize('kind', KINDS)
    def test_weights_of_the_score_count(self, models, cutouts, kind):
        weight = np.zeros(len(cutouts))
        weight[:2] = 1
        one = models[kind].score(cutouts[:2])
        assert models[kind].score(cutouts, sample_weight=weight) == pytest.approx(one, abs=1e-5)

    @pytest.mark.parametrize('kind', KINDS)
    def test_plain_features_are_refused_by_a_model_of_images(self, models, kind):
        with pytest.raises(ValueError, match='X'):
            models[kind].predict(np.zeros((3, 5)))

    def test_scikit_learn_knows_what_they_are(self, models):
        assert is_classifier(models['classes'])
        assert is_regressor(models['votes'])
        assert is_regressor(models['numbers'])

    @pytest.mark.parametrize('kind', KINDS)
    def test_clone_of_a_frozen_one_predicts(self, models, cutouts, kind):
        frozen = clone(FrozenEstimator(models[kind]))
        np.testing.assert_array_equal(frozen.predict(cutouts), models[kind].predict(cutouts))

    @pytest.mark.parametrize('kind', KINDS)
    def test_progress_is_shown_unless_verbose_is_zero(self, models, cutouts, kind, monkeypatch):
        shown = []
        monkeypatch.setattr(
            'astro_morph.estimators.predictor.progress_bar',
            lambda *args, verbose: shown.append(verbose) or _Bar(),
        )
        for verbose in (0, 1):
            model = copy.copy(models[kind])
            model.verbose = verbose
            model.predict(cutouts)
        assert shown == [False, True]


class _Bar:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self, n):
        pass


class TestClasses:
    def test_predictions_are_the_same(self, models, fitted, cutouts):
        expected, came = (each['classes'].predict_proba(cutouts) for each in (fitted, models))
        np.testing.assert_allclose(came, expected, atol=1e-4)
        predicted = models['classes'].predict(cutouts)
        assert predicted.mask.tolist() == (cutouts.status != 'ok').tolist()
        assert predicted[0] == models['classes'].classes_[np.argmax(came[0])]

    def test_class_is_a_plain_array_where_all_have_an_image(self, models, cutouts):
        assert not isinstance(models['classes'].predict(cutouts[:3]), np.ma.MaskedArray)

    def test_decision_function_is_the_logarithm_of_the_odds(self, models, cutouts):
        model = models['classes']
        p = model.predict_proba(cutouts[:3])
        expected = np.log(p[:, 1] / p[:, 0]) if len(model.classes_) == 2 else np.log(p)
        np.testing.assert_allclose(model.decision_function(cutouts[:3]), expected, rtol=1e-4)

    def test_evaluation_counts_the_galaxies_with_an_image(self, models, fitted, cutouts):
        expected, came = (each['classes'].evaluate(cutouts) for each in (fitted, models))
        assert len(came.true) == 19
        assert came.n_missing == 1
        assert came.accuracy == pytest.approx(expected.accuracy)

    def test_report_is_written_and_not_replaced(self, models, cutouts, tmp_path):
        models['classes'].report(cutouts, tmp_path / 'report.html')
        assert (tmp_path / 'report.html').stat().st_size > 1000
        with pytest.raises(FileExistsError, match='overwrite=True'):
            models['classes'].report(cutouts, tmp_path / 'report.html')
        models['classes'].report(cutouts, tmp_path / 'report.html', overwrite=True)

    def test_unlabelled_galaxies_are_queried(self, models, fitted, cutouts):
        labels = np.where(np.arange(20) < 10, np.asarray(cutouts.table['morphology']), '')
        table = Table(cutouts.table)
        table['morphology'] = labels
        half = cutouts.replace(table=table)
        rows = models['classes'].query(half, 3, criterion='margin')
        assert (rows >= 10).all()
        assert rows.tolist() == fitted['classes'].query(half, 3, criterion='margin').tolist()


class TestNumbers:
    def test_predictions_and_intervals_are_the_same(self, models, fitted, cutouts):
        expected, came = (each['numbers'].predict(cutouts) for each in (fitted, models))
        np.testing.assert_allclose(came, expected, atol=1e-4)
        assert np.flatnonzero(np.isnan(came)).tolist() == [4]
        ends = [each['numbers'].predict_interval(cutouts, 0.5) for each in (fitted, models)]
        np.testing.assert_allclose(*ends, atol=1e-3)
        low, high = ends[1]
        assert (low <= high)[cutouts.is_ok].all()

    def test_columns_have_the_unit(self, models, cutouts):
        model = models['numbers']
        annotated = model.annotate(cutouts)
        for name in ('morph_width', 'morph_width_lo', 'morph_width_hi'):
            assert annotated[name].unit == 'arcsec'
            assert annotated[name].mask[4]
        assert model.units_ == ['arcsec']
        assert model.targets_.tolist() == ['width']

    def test_evaluation_has_the_error_of_each_number(self, models, fitted, cutouts):
        expected, came = (each['numbers'].evaluate(cutouts) for each in (fitted, models))
        assert came['name', 'unit', 'n'].as_array().tolist() == [('width', 'arcsec', 19)]
        assert came['rms'][0] == pytest.approx(expected['rms'][0], abs=1e-3)


class TestVotes:
    def test_fractions_and_their_scatter_are_the_same(self, models, fitted, cutouts):
        expected, came = (
            np.array(each['votes'].predict(cutouts, return_std=True)) for each in (fitted, models)
        )
        np.testing.assert_allclose(came, expected, atol=1e-4)
        assert np.isnan(came[:, 4]).all()
        np.testing.assert_allclose(came[0, 0, :2].sum(), 1, atol=1e-5)


def test_onnx_models_work_in_other_processes(written, cutouts):
    (came,) = Parallel(n_jobs=2)([delayed(written['classes'].predict_proba)(cutouts)])
    np.testing.assert_allclose(came, written['classes'].predict_proba(cutouts), atol=1e-6)


def test_files_of_the_other_kind_are_refused_with_their_name(fitted, tmp_path):
    for name, estimator in fitted.items():
        estimator.to_onnx(tmp_path / f'{name}.onnx')
        with pytest.raises(FileExistsError, match='overwrite=True'):
            estimator.to_onnx(tmp_path / f'{name}.onnx')
        estimator.save(tmp_path / f'{name}.pt')
        with pytest.raises(FileExistsError, match='overwrite=True'):
            estimator.save(tmp_path / f'{name}.pt')
    with pytest.raises(ValueError, match='read it with OnnxVotes'):
        OnnxClassifier(tmp_path / 'votes.onnx')
    with pytest.raises(ValueError, match='read it with OnnxClassifier'):
        OnnxVotes(tmp_path / 'classes.onnx')
    with pytest.raises(ValueError, match='read it with MorphologyVotes'):
        MorphologyClassifier.load(tmp_path / 'votes.pt')
    with pytest.raises(ValueError, match='read it with MorphologyClassifier'):
        MorphologyVotes.load(tmp_path / 'classes.pt')
    with pytest.raises(ValueError, match='read it with OnnxRegressor'):
        OnnxClassifier(tmp_path / 'numbers.onnx')
    with pytest.raises(ValueError, match='read it with MorphologyRegressor'):
        MorphologyVotes.load(tmp_path / 'numbers.pt')
    with pytest.raises(ValueError, match='read it with MorphologyClassifier'):
        MorphologyRegressor.load(tmp_path / 'classes.pt')


@pytest.mark.parametrize('options', [{'precision': 'int8'}, {'views': 1}])
def test_faster_files_of_votes_say_what_they_change(fitted, cutouts, tmp_path, options):
    with pytest.raises(ValueError, match='pass a few hundred as X'):
        fitted['votes'].to_onnx(tmp_path / 'votes.onnx', **options)
    cost = fitted['votes'].to_onnx(tmp_path / 'votes.onnx', cutouts, **options)
    votes = OnnxVotes(tmp_path / 'votes.onnx', verbose=0)
    assert votes.cost_ == cost
    assert cost.n_galaxies == 19
    change = np.abs(votes.predict(cutouts) - fitted['votes'].predict(cutouts))
    assert np.nanmax(change) == pytest.approx(cost.largest_change, abs=1e-4)
