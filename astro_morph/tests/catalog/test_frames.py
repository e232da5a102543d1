# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Data frames of pandas, Polars and Arrow: as catalogues, as labels, and annotated."""

import datetime

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_morph import MorphologyClassifier
from astro_morph.catalog import as_table, read_labels
from astro_morph.catalog.frames import add_to_frame
from astro_morph.evaluation import evaluate
from astro_morph.simulation import SimulatedSurvey

LIBRARIES = ['pandas', 'polars', 'pyarrow']
DAY = datetime.datetime(2020, 1, 1)


def make_frame(library, columns):
    """Make a data frame of a library, in which None is missing."""
    module = pytest.importorskip(library)
    return module.table(columns) if library == 'pyarrow' else module.DataFrame(columns)


def plain(column):
    """Return the values of a column of any kind as Python's, missing ones as None."""
    for name in ('to_pylist', 'to_list', 'tolist'):
        if hasattr(column, name):
            values = getattr(column, name)()
            break
    return [None if value != value else value for value in values]


@pytest.fixture(scope='module')
def survey():
    return SimulatedSurvey(n_galaxies=12, kinds=['edge_on', 'round'], bands=['r'])


@pytest.fixture(scope='module')
def columns(survey):
    """The catalogue of a survey, of whose labels the last four are missing."""
    labels = survey.catalogue['morphology'].tolist()[:8] + [None] * 4
    position = {name: survey.catalogue[name].value.tolist() for name in ('ra', 'dec')}
    return position | {'morphology': labels}


@pytest.fixture(scope='module')
def classifier(survey):
    classifier = MorphologyClassifier(
        survey, size=32, encoder='random', strategy='linear', verbose=0, random_state=0
    )
    return classifier.fit(survey.catalogue)


@pytest.mark.parametrize(
    ('values', 'dtype', 'expected'),
    [
        (['a', None], 'string', ['a', None]),
        (['a', None], object, ['a', None]),
        (['a', None], 'category', ['a', None]),
        ([1, None], 'Int64', [1, None]),
        ([1, None], 'UInt8', [1, None]),
        ([1.5, None], 'Float32', [1.5, None]),
        ([True, None], 'boolean', [True, None]),
        ([DAY, None], 'datetime64[us]', [DAY, None]),
        ([1, 2], 'int8', [1, 2]),
        ([1.5, 0.0], 'Sparse[float]', [1.5, 0.0]),
        ([b'a', None], object, [b'a', None]),
        ([[1], [2, 3]], object, [[1], [2, 3]]),
        (['a', 1], object, ['a', 1]),
    ],
)
def test_types_of_pandas(values, dtype, expected):
    pandas = pytest.importorskip('pandas')
    assert (
        plain(as_table(pandas.DataFrame({'x': pandas.Series(values, dtype=dtype)}))['x'])
        == expected
    )


def test_times_with_zone_are_utc():
    pandas = pytest.importorskip('pandas')
    times = pandas.Series(pandas.to_datetime([DAY, None])).dt.tz_localize('Asia/Tokyo')
    found = as_table(pandas.DataFrame({'x': times}))['x']
    assert plain(found) == [DAY - datetime.timedelta(hours=9), None]


@pytest.mark.parametrize('kind', ['int8', 'string', 'decimal128(3, 1)'])
def test_types_of_arrow_in_pandas(kind):
    pandas, pyarrow = pytest.importorskip('pandas'), pytest.importorskip('pyarrow')
    kind = pyarrow.decimal128(3, 1) if 'dec' in kind else pyarrow.type_for_alias(kind)
    values = ['a' if pyarrow.types.is_string(kind) else 7, None]
    series = pandas.Series(pandas.array(values, dtype=pandas.ArrowDtype(kind)))
    assert plain(as_table(pandas.DataFrame({'x': series}))['x']) == values


@pytest.mark.parametrize(
    ('index', 'names'),
    [
        ({}, ['x']),
        # Rows that were selected.
        ({'index': [7, 3]}, ['x']),
        ({'index': ['NGC 1', 'NGC 2']}, ['index', 'x']),
        ({'index': [[1, 1], ['a', 'b']]}, ['level_0', 'level_1', 'x']),
    ],
)
def test_index_without_a_name(index, names):
    pandas = pytest.importorskip('pandas')
    assert as_table(pandas.DataFrame({'x': [1, 2]}, **index)).colnames == names


def test_index_with_a_name_is_a_column():
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({'source_id': [2**62 + 1, 5], 'x': [1, 2]})
    table = as_table(frame.set_index('source_id'))
    assert table['source_id'].tolist() == [2**62 + 1, 5]
    assert as_table(frame.set_index('source_id', drop=False)).colnames == ['source_id', 'x']


@pytest.mark.parametrize('library', ['pandas', 'pyarrow'])
def test_columns_of_one_name(library):
    frame = make_frame(library, {'ra': [1.0], 'z': [2.0]})
    if library == 'pandas':
        frame = frame.set_axis(['ra', 'ra'], axis=1)
    else:
        frame = frame.rename_columns(['ra', 'ra'])
    with pytest.raises(ValueError, match=r"several columns have the name \['ra'\]; rename them"):
        as_table(frame)


def test_columns_of_several_levels():
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({('sdss', 'ra'): [1.0], ('sdss', 'dec'): [2.0], ('z', ''): [0.1]})
    assert as_table(frame).colnames == ['sdss_ra', 'sdss_dec', 'z']
    found = add_to_frame(frame, Table({'morph_class': ['E']}), dropped=['sdss_dec'])
    assert found.columns.tolist() == [('sdss', 'ra'), ('z', ''), ('morph_class', '')]


@pytest.mark.parametrize('library', LIBRARIES)
def test_columns_are_added_to_a_frame_of_the_same_class(library):
    frame = make_frame(library, {'x': [1, 2], 'old': [3, 4]})
    new = Table(
        {
            'old': MaskedColumn([0.5, 0], mask=[False, True], dtype='f4'),
            'name': MaskedColumn(['a', ''], mask=[False, True]),
        },
        meta={'MORPHVER': '1'},
    )
    found = add_to_frame(frame, new, dropped=['old'])
    assert type(found) is type(frame)
    assert {name: plain(found[name]) for name in ('x', 'old', 'name')} == {
        'x': [1, 2],
        'old': [0.5, None],
        'name': ['a', None],
    }
    assert plain(frame['old']) == [3, 4]


@pytest.mark.parametrize('library', LIBRARIES)
def test_labels_that_are_missing(library, columns):
    table = as_table(make_frame(library, columns))
    labels, is_labelled = read_labels(table, 'morphology')
    assert is_labelled.tolist() == [True] * 8 + [False] * 4
    assert labels[:8].tolist() == columns['morphology'][:8]


@pytest.mark.parametrize('library', LIBRARIES)
def test_a_frame_is_annotated(library, columns, survey, classifier):
    frame = make_frame(library, columns)
    expected = classifier.annotate(survey.catalogue)
    found = classifier.annotate(frame)
    assert type(found) is type(frame)
    assert plain(found['morph_class']) == expected['morph_class'].tolist()
    assert plain(found['ra']) == columns['ra']
    with pytest.raises(ValueError, match='overwrite=True'):
        classifier.annotate(found)
    again = classifier.set_params(verbose=0).annotate(found, overwrite=True)
    assert list(getattr(again, 'column_names', again.columns)) == list(
        getattr(found, 'column_names', found.columns)
    )


@pytest.mark.parametrize('library', LIBRARIES)
def test_a_frame_in_every_method(library, columns, survey):
    frame = make_frame(library, columns)
    classifier = MorphologyClassifier(
        survey, size=32, encoder='random', strategy='linear', verbose=0, random_state=0
    )
    classifier.fit(frame)
    assert len(classifier.predict(frame)) == 12
    assert 0 <= classifier.score(frame) <= 1
    assert len(evaluate(classifier, frame).true) == 8
    assert set(classifier.query(frame, 4)) == {8, 9, 10, 11}


def test_an_index_of_pandas_is_kept(columns, classifier):
    pandas = pytest.importorskip('pandas')
    index = pandas.Index(np.arange(12) + 2584290278794471936, name='source_id')
    frame = pandas.DataFrame(columns, index=index).convert_dtypes()
    found = classifier.annotate(frame)
    assert found.index.equals(index)
    assert found.index.name == 'source_id'
    assert found['morphology'].dtype == frame['morphology'].dtype
    assert found.attrs['MORPHMOD'] == classifier.model_.spec.identifier


@pytest.mark.parametrize('library', LIBRARIES)
def test_features_in_a_frame(library):
    rng = np.random.default_rng(0)
    frame = make_frame(library, {name: rng.normal(size=30) for name in 'abc'})
    if library == 'pyarrow':
        pytest.skip('scikit-learn takes no tables of Arrow as features')
    classifier = MorphologyClassifier(verbose=0, random_state=0)
    labels = np.where(plain(frame['a']) > np.zeros(30), 'p', 'n')
    found = classifier.fit(frame, labels).annotate(frame)
    assert type(found) is type(frame)
    assert list(found.columns)[:4] == ['a', 'b', 'c', 'morph_class']


@pytest.mark.parametrize('kind', ['pandas string', 'list', 'polars', 'pyarrow', 'objects'])
def test_labels_apart(kind, columns, survey):
    labels = columns['morphology']
    if kind == 'pandas string':
        labels = pytest.importorskip('pandas').Series(labels, dtype='string')
    elif kind == 'polars':
        labels = pytest.importorskip('polars').Series(labels)
    elif kind == 'pyarrow':
        labels = pytest.importorskip('pyarrow').array(labels)
    elif kind == 'objects':
        labels = np.array(labels, object)
    from astro_morph.learning.labels import labels_of

    found, is_labelled = labels_of(survey.catalogue, labels, 'morphology')
    assert is_labelled.tolist() == [True] * 8 + [False] * 4
    assert found[:8].tolist() == columns['morphology'][:8]


@pytest.mark.parametrize('library', LIBRARIES)
def test_images_in_a_frame_need_no_source(survey, library):
    arrow = pytest.importorskip('pyarrow')
    cutouts = survey.fetch(survey.catalogue, size=24)
    structures = [{'band': ['sdss-r'], 'flux': image.tolist()} for image in cutouts.images]
    plane = arrow.list_(arrow.list_(arrow.list_(arrow.float32())))
    kind = arrow.struct({'band': arrow.list_(arrow.string()), 'flux': plane})
    labels = arrow.array(survey.catalogue['morphology'].tolist())
    frame = arrow.table(
        {'morphology': labels, 'image': arrow.array([*structures[:-1], None], kind)}
    )
    if library == 'pandas':
        pandas = pytest.importorskip('pandas')
        frame = frame.to_pandas(types_mapper=pandas.ArrowDtype)
    elif library == 'polars':
        frame = pytest.importorskip('polars').from_arrow(frame)
    options = {'encoder': 'random', 'strategy': 'linear', 'verbose': 0, 'random_state': 0}
    classifier = MorphologyClassifier(**options).fit(frame)
    annotated = classifier.annotate(frame)
    assert isinstance(annotated, type(frame))
    assert plain(annotated['morph_status']) == ['ok'] * 11 + ['all_nan']
    status = np.where(np.arange(12) < 11, 'ok', 'all_nan')
    expected = MorphologyClassifier(**options).fit(cutouts.replace(status=status))
    expected = expected.annotate(cutouts.replace(status=status))['morph_class']
    assert plain(annotated['morph_class'])[:-1] == expected.tolist()[:-1]
