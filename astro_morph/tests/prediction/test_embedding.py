# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The principal components of the features are one column, in memory and in files."""

import copy
import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from astro_morph.catalog.io.tables import read_table
from astro_morph.models.spec import ModelSpec
from astro_morph.prediction.annotate import annotate
from astro_morph.prediction.embedding import Embedding, fit_embedding
from astro_morph.prediction.predict import predict
from astro_morph.prediction.streaming import annotate_file

N = 5
MISSING = 3


@pytest.fixture(scope='module')
def model(classifier):
    return classifier.model_


@pytest.fixture(scope='module')
def cutouts(blobs):
    status = np.where(np.arange(len(blobs)) == MISSING, 'no_coverage', 'ok')
    return blobs.replace(status=status)


@pytest.fixture(scope='module')
def column(model, cutouts):
    return annotate(model, cutouts, embedding=N)['morph_embedding']


def test_column_is_one_of_arrays_with_nan_without_an_image(column, cutouts):
    assert column.dtype == np.float16
    assert column.shape == (len(cutouts), N)
    assert np.isnan(column).all(axis=1).tolist() == (~cutouts.is_ok).tolist()
    assert np.isfinite(column[cutouts.is_ok]).all()
    assert 'First 5 principal components' in column.description
    assert '% of their variance' in column.description


def test_distances_are_those_of_the_features(model, blobs):
    features = predict(model, blobs, with_features=True).features
    n = len(model.spec.embedding['variance'])
    assert n == len(blobs) - 1
    assert sum(model.spec.embedding['variance']) == pytest.approx(1, abs=1e-3)
    components = annotate(model, blobs, embedding=n)['morph_embedding'].astype(float)
    ratios = pdist(components) / pdist(features)
    np.testing.assert_allclose(ratios, ratios.mean(), rtol=0.02)
    assert np.var(components[:, 0], ddof=1) == pytest.approx(1, rel=0.01)


def test_all_models_hold_it_in_their_files(model):
    assert ModelSpec.from_json(model.spec.to_json()).embedding == model.spec.embedding
    assert 'axes' not in repr(model.spec)


@pytest.mark.parametrize(
    ('ending', 'kind'),
    [('fits', 'f4'), ('vot', 'f4'), ('ecsv', 'f2'), ('h5', 'f2'), ('parquet', 'f2')],
)
def test_files_hold_what_the_table_holds(model, cutouts, column, tmp_path, ending, kind):
    cutouts.write(tmp_path / 'cutouts.h5')
    output = tmp_path / f'out.{ending}'
    annotate_file(model, tmp_path / 'cutouts.h5', output, embedding=N, verbose=False)
    read = read_table(output)['morph_embedding']
    assert read.dtype.str[1:] == kind
    known = np.arange(len(cutouts)) != MISSING
    np.testing.assert_allclose(np.ma.getdata(read)[known], column[known], atol=2e-3)
    is_unknown = np.ma.getmaskarray(read[MISSING]) | np.isnan(np.ma.getdata(read[MISSING]))
    assert is_unknown.all()


def test_parquet_holds_half_precision(model, cutouts, tmp_path):
    pa = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    cutouts.write(tmp_path / 'cutouts.h5')
    annotate_file(model, tmp_path / 'cutouts.h5', tmp_path / 'o.parquet', embedding=N, verbose=0)
    kind = parquet.read_schema(tmp_path / 'o.parquet').field('morph_embedding').type
    assert kind.value_type == pa.float16()


def test_csv_is_refused_before_the_work(model, cutouts, tmp_path):
    cutouts.write(tmp_path / 'cutouts.h5')
    with pytest.raises(ValueError, match="'morph_embedding' holds arrays of the shape"):
        annotate_file(model, tmp_path / 'cutouts.h5', tmp_path / 'o.csv', embedding=N)


@pytest.mark.parametrize('n', [0, -1, 24, 2.0, True, '40'])
def test_wrong_numbers_are_refused(classifier, blobs, n):
    with pytest.raises(ValueError, match=r'embedding is .*, expected a whole number from 1 to 23'):
        classifier.annotate(blobs, embedding=n)


def test_a_model_without_components_says_so(classifier, blobs):
    old = copy.copy(classifier)
    old.model_ = copy.copy(classifier.model_)
    old.model_.spec = dataclasses.replace(classifier.model_.spec, embedding=None)
    with pytest.raises(ValueError, match='holds no principal components'):
        old.annotate(blobs, embedding=2)


def test_features_without_variance_have_zeros():
    spec = ModelSpec(embedding=fit_embedding(np.ones((4, 3))))
    assert Embedding.of(spec, 1)(np.ones((2, 3))).tolist() == [[0], [0]]
    assert fit_embedding(np.ones((1, 3))) is None
