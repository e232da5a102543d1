# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The estimators among those of scikit-learn: its own checks, clones, splits and searches."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, column_or_1d

from astro_morph import (
    CutoutSet,
    MorphologyClassifier,
    MorphologyEncoder,
    MorphologyRegressor,
    MorphologyVotes,
)
from astro_morph.photometry import Preprocessor
from astro_morph.tests.helpers import make_blobs


class YesOrNo(MorphologyVotes):
    """
    Take the one number per row of the checks for the votes for the first of two answers.

    There are hundreds of votes: a few would differ by less than chance, and the likelihood would
    have no maximum.
    """

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X, self._votes(y), sample_weight)

    def predict(self, X):
        return super().predict(X)[:, 0]

    def score(self, X, y, sample_weight=None):
        return super().score(X, self._votes(y), sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        # The score is a log-likelihood, which is negative.
        tags.regressor_tags.poor_score = True
        return tags

    def _votes(self, y):
        if y is None:
            return None
        yes = 100 * column_or_1d(y, dtype=float, warn=True)
        return np.column_stack([yes, np.full(len(yes), 300)])


EXPECTED_FAILURES = {
    'MorphologyClassifier': {
        'check_sample_weight_equivalence_on_dense_data': (
            'the temperature comes from held-out folds: copies of a row fall on both sides of one'
        ),
    },
    'MorphologyEncoder': {},
    'MorphologyRegressor': {
        'check_sample_weight_equivalence_on_dense_data': (
            'the scale comes from held-out folds: copies of a row fall on both sides of one'
        ),
    },
    'YesOrNo': {},
}

TREE = {'edge_on': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
ESTIMATORS = [
    MorphologyClassifier(verbose=0),
    MorphologyEncoder(verbose=0),
    MorphologyRegressor(verbose=0),
    YesOrNo(TREE, verbose=0),
]

# All others need a 2-D array, which a Preprocessor refuses.
CHECKS_WITHOUT_DATA = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_mixin_order,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
]


@parametrize_with_checks(
    ESTIMATORS, expected_failed_checks=lambda estimator: EXPECTED_FAILURES[type(estimator).__name__]
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize('check', CHECKS_WITHOUT_DATA, ids=lambda check: check.__name__)
def test_scikit_learn_check_of_the_preprocessor(check):
    check('Preprocessor', Preprocessor())


def test_preprocessor_needs_images_and_no_fit():
    assert not get_tags(Preprocessor()).input_tags.two_d_array
    check_is_fitted(Preprocessor())
    blobs = make_blobs(3)
    before = Preprocessor().transform(blobs)
    assert np.isfinite(before.images).all()
    np.testing.assert_array_equal(Preprocessor().fit_transform(blobs).images, before.images)
    with pytest.raises(ValueError, match=r'axes \(n, band, y, x\), got .* shape \(5, 4\)'):
        Preprocessor().transform(np.zeros((5, 4)))


@pytest.mark.parametrize('estimator', ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
class TestParameters:
    def test_set_parameters_are_got_and_cloned(self, estimator):
        changed = clone(estimator).set_params(size=32, bands=['g', 'r'], random_state=16)
        copy = clone(changed)
        assert copy is not changed
        assert copy.get_params() == changed.get_params()
        assert copy.get_params()['bands'] == ['g', 'r']
        assert estimator.get_params()['size'] is None

    def test_unfitted_estimator_survives_a_pickle(self, estimator):
        copy = pickle.loads(pickle.dumps(estimator))
        assert copy.get_params() == estimator.get_params()

    def test_unknown_parameter_value_is_refused_at_fit(self, estimator):
        wrong = clone(estimator).set_params(architecture='vgg')
        with pytest.raises(ValueError, match=r"'architecture' parameter .* must be .*'vgg'"):
            wrong.fit(make_blobs(4))

    def test_needs_to_be_fitted(self, estimator, tmp_path):
        with pytest.raises(NotFittedError):
            estimator.save(tmp_path / 'model.pt')


@pytest.fixture
def unfitted():
    return MorphologyClassifier(
        encoder='random', strategy='linear', random_state=0, device='cpu', verbose=0
    )


def test_cross_validation_over_images_and_cutouts_agree(unfitted, blobs):
    labels = blobs.table['morphology'].data
    of_cutouts = cross_val_score(unfitted, blobs, labels, cv=3)
    of_images = cross_val_score(unfitted, blobs.images, labels, cv=3)
    assert of_cutouts.shape == (3,)
    np.testing.assert_array_equal(of_cutouts, of_images)
    assert of_cutouts.mean() > 0.8


def test_cross_validation_reads_the_labels_of_a_cutout_set(unfitted, blobs):
    assert cross_val_score(unfitted, blobs, cv=3).mean() > 0.8


def test_grid_search_over_cutouts_and_images(unfitted, blobs):
    labels = blobs.table['morphology'].data
    for X in (blobs, blobs.images):
        search = GridSearchCV(unfitted, {'strategy': ['linear', 'fine-tune'], 'epochs': [1]}, cv=2)
        search.fit(X, labels)
        scores = search.cv_results_['mean_test_score']
        assert np.isfinite(scores).all()
        assert search.best_params_['strategy'] == 'linear'
        assert set(search.predict(X)) <= {'edge_on', 'round'}


def test_encoder_in_a_pipeline_with_any_classifier(blobs):
    encoder = MorphologyEncoder(epochs=1, random_state=0, device='cpu', verbose=0)
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=1000))
    pipeline.fit(blobs, blobs.table['morphology'].data)
    assert pipeline.predict(blobs).shape == (24,)


def test_encoder_of_features_standardises():
    X = np.random.default_rng(0).normal(5, 3, size=(40, 4))
    features = MorphologyEncoder(verbose=0).fit(X).transform(X)
    np.testing.assert_allclose(features, (X - X.mean(axis=0)) / X.std(axis=0))


@pytest.mark.parametrize('n_classes', [2, 3])
def test_features_are_classified_by_a_tempered_logistic_regression(n_classes):
    random = np.random.default_rng(0)
    y = random.integers(n_classes, size=90)
    X = random.normal([50, -3], [2, 9], size=(90, 2)) + np.outer(y, [2, 4])
    fitted = MorphologyClassifier(random_state=0, verbose=0).fit(X, y)
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
    temperature = float(fitted.model_.network.temperature)
    logits = np.log(fitted.predict_proba(X)) * temperature
    expected_logits = expected.predict_log_proba(X)
    np.testing.assert_allclose(
        logits - logits[:, :1], expected_logits - expected_logits[:, :1], atol=1e-3
    )


@pytest.mark.parametrize('estimator', ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_estimator_of_features_is_saved_and_loaded(estimator, tmp_path):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(30, 3)), np.repeat([0, 1, 2], 10)
    fitted = clone(estimator).fit(X, y)
    fitted.save(tmp_path / 'model.pt')
    loaded = type(estimator).load(tmp_path / 'model.pt', verbose=0)
    methods = 'predict_proba', 'transform', 'predict'
    method = next(name for name in methods if hasattr(fitted, name))
    np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(fitted, method)(X))


@pytest.mark.parametrize('as_seen', ['read-only', 'mirrored'])
def test_images_may_be_a_view_that_pytorch_does_not_take(unfitted, blobs, as_seen):
    images = blobs.images[..., ::-1] if as_seen == 'mirrored' else blobs.images.view()
    images.flags.writeable = False
    fitted = unfitted.fit(CutoutSet(images), blobs.table['morphology'])
    assert np.isfinite(fitted.predict_proba(images)).all()
