# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of LSDB: a cluster computes what one process computes."""

import copy
import dataclasses

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_morph import MorphologyClassifier, MorphologyRegressor, conf
from astro_morph.cutouts import CutoutSource, Mosaics, as_cutouts
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction.lsdb import annotate
from astro_morph.tests.cutouts.test_mosaics import make_noise, make_positions, make_wcs, write
from astro_morph.tests.helpers import make_blobs

lsdb = pytest.importorskip('lsdb', exc_type=ImportError)

# The mosaics of noise are brighter than the images of the training.
pytestmark = pytest.mark.filterwarnings('ignore:X has .* of the training images')

N_ROWS = 12
RADEC = 'ra', 'dec'
CENTRES = SkyCoord([150, 190], [30, -20], unit='deg')


@pytest.fixture(scope='module')
def folder(classifier, tmp_path_factory):
    """A model, and mosaics of its two bands at two places."""
    folder = tmp_path_factory.mktemp('lsdb')
    classifier.save(folder / 'morphology.pt')
    for seed, band in enumerate(classifier.model_.spec.bands):
        for number, centre in enumerate(CENTRES):
            path = folder / f'tile{number}-{band}.fits'
            write(path, make_noise(seed=seed + 10 * number), make_wcs(centre))
    return folder


@pytest.fixture(scope='module')
def model(folder):
    return folder / 'morphology.pt'


@pytest.fixture(scope='module')
def mosaics(folder):
    return f'{folder}/tile?-{{band}}.fits'


@pytest.fixture(scope='module')
def table():
    """Rows of which one lies outside the mosaics, and one has no name."""
    parts = [make_positions(make_wcs(centre), n=N_ROWS // 2) for centre in CENTRES]
    ra, dec = ([angle for part in parts for angle in getattr(part, name).deg] for name in RADEC)
    table = Table({'id': np.arange(N_ROWS), 'ra': ra, 'dec': dec})
    table['dec'][3] += 1
    table['name'] = [f'galaxy {i}' for i in range(N_ROWS)]
    return table


@pytest.fixture(scope='module')
def catalog(table):
    """The same rows in a partition for each place, with a column of lists."""
    frame = table.to_pandas()
    frame.loc[5, 'name'] = None
    frame['spectrum'] = [[1.0] * (i % 3) for i in range(N_ROWS)]
    catalog = lsdb.from_dataframe(frame, partition_rows=N_ROWS // 2)
    assert catalog.npartitions == 2
    return catalog


def compute(catalog):
    return catalog.compute(progress_bar=False).sort_values('id')


def assert_same_columns(frame, annotated, names):
    for name in names:
        column, values = annotated[name], frame[name]
        mask = np.ma.getmaskarray(column.data)
        np.testing.assert_array_equal(values.isna(), mask)
        came, expected = values.to_numpy()[~mask], np.asarray(column)[~mask]
        if expected.dtype.kind == 'f':
            # The sums of a convolution are taken in the order that suits the size of the batch.
            np.testing.assert_allclose(came.astype(expected.dtype), expected, atol=1e-5)
        else:
            assert came.tolist() == expected.tolist()


class Recorder(CutoutSource):
    """A source that notes how many rows it was asked for."""

    def __init__(self, source, calls):
        self.source = source
        self.calls = calls

    def fetch(self, X, *, size=None):
        self.calls.append(len(X))
        return self.source.fetch(X, size=size)


def test_columns_are_those_of_a_single_process(
    classifier, catalog, table, model, mosaics, tmp_path
):
    expected = copy.copy(classifier).set_params(source=mosaics).annotate(table, measures=True)
    annotated = annotate(catalog, model, source=mosaics, measures=True)
    new = expected.colnames[len(table.colnames) :]
    assert annotated.columns.tolist() == [*catalog.columns, *new]
    frame = compute(annotated)
    assert frame['morph_status'].tolist()[3] == 'no_coverage'
    assert frame['morph_class'].isna().sum() == 1
    assert_same_columns(frame, expected, ['id', 'ra', 'dec', *new])

    annotated.write_catalog(tmp_path / 'annotated', progress_bar=False)
    again = lsdb.open_catalog(tmp_path / 'annotated')
    assert_same_columns(compute(again), expected, ['id', 'ra', 'dec', *new])


def test_embedding_is_a_column_of_lists_in_half_precision(
    classifier, catalog, table, model, mosaics, tmp_path
):
    expected = copy.copy(classifier).set_params(source=mosaics).annotate(table, embedding=4)
    annotated = annotate(catalog, model, source=mosaics, embedding=4)
    annotated.write_catalog(tmp_path / 'embedded', progress_bar=False)
    frame = compute(lsdb.open_catalog(tmp_path / 'embedded'))
    came = np.array([list(row) for row in frame['morph_embedding']], float)
    np.testing.assert_allclose(came, np.asarray(expected['morph_embedding'], float), atol=0.01)


def as_tensors(images):
    """Return images of shape (n, ...) as a column of tensors; those that are NaN are null."""
    import nested_pandas
    import pandas as pd
    import pyarrow as pa

    kind = pa.fixed_shape_tensor(pa.float32(), images.shape[1:])
    rows = [None if np.isnan(row).all() else row.ravel().tolist() for row in images]
    array = pa.ExtensionArray.from_storage(kind, pa.array(rows, kind.storage_type))
    return pd.array(array, nested_pandas.TensorDtype(kind))


def as_structures(images, bands):
    """Return images as the Multimodal Universe has them, with a bad pixel in each."""
    import pandas as pd
    import pyarrow as pa

    plane = pa.list_(pa.list_(pa.list_(pa.float32())))
    good = pa.list_(pa.list_(pa.list_(pa.bool_())))
    is_good = np.ones(images.shape[1:], bool)
    is_good[0, 0, 0] = False
    ivar = np.ones(images.shape[1:])
    cells = [
        None
        if np.isnan(image).all()
        else {
            'band': bands,
            'flux': image.tolist(),
            'ivar': ivar.tolist(),
            'mask': is_good.tolist(),
        }
        for image in images
    ]
    fields = {'band': pa.list_(pa.string()), 'flux': plane, 'ivar': plane, 'mask': good}
    array = pa.array(cells, pa.struct(fields))
    return pd.Series(array, dtype=pd.ArrowDtype(array.type))


@pytest.mark.parametrize('form', ['a tensor a band', 'lists', 'structures', 'stored structures'])
def test_images_in_the_catalogue_need_no_source(classifier, table, model, mosaics, tmp_path, form):
    import pandas as pd
    import pyarrow as pa

    cutouts = as_cutouts(table, source=mosaics, size=classifier.model_.spec.size)
    bands = list(cutouts.bands)
    frame = table['id', 'ra', 'dec'].to_pandas()
    if 'structures' in form:
        frame['image'] = as_structures(cutouts.images, [f'sdss-{band}' for band in bands])
        mask = np.zeros(cutouts.shape, bool)
        mask[cutouts.is_ok, 0, 0, 0] = True
        cutouts = cutouts.replace(mask=mask, variance=np.ones(cutouts.shape))
    for i, band in enumerate(bands if 'structures' not in form else []):
        images = cutouts.images[:, i]
        lists = [None if np.isnan(image).all() else image.tolist() for image in images]
        kind = pa.list_(pa.list_(pa.float32()))
        of_lists = pd.Series(pa.array(lists, kind), dtype=pd.ArrowDtype(kind))
        frame[band] = of_lists if form == 'lists' else as_tensors(images)
    catalog = lsdb.from_dataframe(frame, partition_rows=N_ROWS // 2)
    if form == 'stored structures':
        catalog.write_catalog(tmp_path / 'images', progress_bar=False)
        catalog = lsdb.open_catalog(tmp_path / 'images')
    expected = classifier.annotate(cutouts)
    annotated = annotate(catalog, model)
    new = expected.colnames[len(table.colnames) :]
    assert annotated.columns.tolist() == [*catalog.columns, *new]
    frame = compute(annotated)
    # A null image is a status; why there is none is not known any more.
    expected['morph_status'][3] = 'all_nan'
    assert_same_columns(frame, expected, [name for name in new if name != 'morph_flags'])


def test_numbers_have_their_intervals(classifier, catalog, table, mosaics, tmp_path):
    options = {'source': mosaics, 'encoder': 'random', 'random_state': 0, 'verbose': 0}
    spec = classifier.model_.spec
    regressor = MorphologyRegressor('id', size=spec.size, bands=spec.bands, **options).fit(table)
    regressor.save(tmp_path / 'numbers.pt')
    annotated = annotate(catalog, tmp_path / 'numbers.pt', source=mosaics)
    new = ['morph_id', 'morph_id_lo', 'morph_id_hi', 'morph_novelty', 'morph_flags', 'morph_status']
    assert annotated.columns.tolist() == [*catalog.columns, *new]
    assert_same_columns(compute(annotated), regressor.annotate(table), ['id', *new])


@pytest.mark.filterwarnings('ignore:X. none of')
def test_file_of_a_survey_is_found_from_another_folder(
    classifier, catalog, model, tmp_path, monkeypatch
):
    bands = list(classifier.model_.spec.bands)
    entries = "service = 'SiaImages'\npixel_scale = 0.4\nids.sia = ['http://127.0.0.1:9/SIA']\n"
    (tmp_path / 'mine.toml').write_text(f'{entries}bands = {bands}\n')
    monkeypatch.chdir(tmp_path)
    with conf.set_temp('tries', 1):
        annotated = annotate(catalog, model, source='mine.toml')
        monkeypatch.chdir('/')
        # Nothing answers there.
        statuses = compute(annotated)['morph_status']
    assert set(statuses) == {'connection'}


def test_columns_of_other_kinds_stay(catalog, model, mosaics):
    before, after = compute(catalog), compute(annotate(catalog, model, source=mosaics))
    for name in ('name', 'spectrum'):
        assert after[name].equals(before[name])


def test_only_the_partition_that_is_computed_is_worked_on(catalog, model, mosaics):
    calls = []
    annotated = annotate(catalog, model, source=Recorder(Mosaics(mosaics), calls))
    assert sum(calls) == 0
    n_rows = len(annotated.partitions[1].compute(progress_bar=False))
    assert sum(calls) == n_rows < N_ROWS


def test_columns_of_votes_on_demand(catalog, model, mosaics, tmp_path):
    of_classes = TorchModel.load(model)
    spec = dataclasses.replace(
        of_classes.spec,
        tree={'edge_on': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}},
        classes=('edge_on_yes', 'edge_on_no'),
    )
    TorchModel(spec, of_classes.network).save(tmp_path / 'votes.pt')
    columns = ['entropy', 'face_on = not edge-on']
    annotated = annotate(catalog, tmp_path / 'votes.pt', source=mosaics, columns=columns)
    new = ['morph_edge_on_entropy', 'morph_face_on', 'morph_flags', 'morph_status']
    assert annotated.columns.tolist() == [*catalog.columns, *new]


def test_partition_without_rows(catalog, model, mosaics):
    annotated = annotate(catalog.query('id < 0'), model, source=mosaics)
    assert len(compute(annotated)) == 0


def test_model_is_read_once(classifier, catalog, mosaics, tmp_path):
    path = tmp_path / 'morphology.pt'
    classifier.save(path)
    annotated = annotate(catalog, path, source=mosaics)
    path.unlink()
    assert compute(annotated)['morph_status'].tolist().count('ok') == N_ROWS - 1


def test_file_that_became_another_model_is_refused(classifier, catalog, model, mosaics, tmp_path):
    path = tmp_path / 'morphology.pt'
    classifier.save(path)
    annotated = annotate(catalog, path, source=mosaics)
    # Now this process holds another model, as a worker that has just begun holds none.
    annotate(catalog, model, source=mosaics)
    other = MorphologyClassifier(encoder='random', strategy='linear', random_state=1, verbose=0)
    other.fit(make_blobs(8)).save(path, overwrite=True)
    with pytest.raises(RuntimeError, match='holds another model'):
        compute(annotated)
    assert len(compute(annotate(catalog, path, source=mosaics))) == N_ROWS


def test_columns_of_an_earlier_prediction(catalog, model, mosaics):
    annotated = annotate(catalog, model, source=mosaics)
    with pytest.raises(ValueError, match=r"columns \['morph_class', .*use overwrite=True"):
        annotate(annotated, model, source=mosaics)
    replaced = annotate(annotated, model, source=mosaics, overwrite=True)
    assert replaced.columns.tolist() == annotated.columns.tolist()
    beside = annotate(annotated, model, source=mosaics, prefix='new_')
    assert {'morph_class', 'new_class'} < set(beside.columns)


def test_table_is_refused(table, model, mosaics):
    with pytest.raises(TypeError, match=r'catalog must be an LSDB catalogue.*got Table'):
        annotate(table, model, source=mosaics)


def test_missing_model_is_refused(catalog, mosaics):
    with pytest.raises(FileNotFoundError, match='nothing'):
        annotate(catalog, 'nothing.onnx', source=mosaics)


def test_model_of_features_is_refused(catalog, mosaics, tmp_path):
    random = np.random.default_rng(0)
    features = MorphologyClassifier(verbose=0).fit(random.normal(size=(20, 3)), ['a', 'b'] * 10)
    features.save(tmp_path / 'features.pt')
    with pytest.raises(ValueError, match=r'plain features; it must predict .* from images'):
        annotate(catalog, tmp_path / 'features.pt', source=mosaics)


@pytest.mark.parametrize('source', ['auto', 'no-such-tiles/*.fits'])
def test_source_without_images_is_refused(catalog, model, source):
    with pytest.raises(ValueError, match='source'):
        annotate(catalog, model, source=source)


def test_catalogue_without_positions_that_are_known_is_refused(table, model, mosaics):
    frame = table['id', 'ra', 'dec'].to_pandas().rename(columns={'ra': 'east', 'dec': 'north'})
    catalog = lsdb.from_dataframe(frame, ra_column='east', dec_column='north')
    with pytest.raises(ValueError, match='coord'):
        annotate(catalog, model, source=mosaics)
    source = Mosaics(mosaics, coord_columns=('east', 'north'))
    assert 'morph_class' in annotate(catalog, model, source=source).columns
