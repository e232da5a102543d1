# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Search by example: an index on disk finds the galaxies like some examples."""

import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import CutoutSet
from astro_morph.catalog.io.tables import write_table
from astro_morph.models.spec import ModelSpec
from astro_morph.prediction import streaming
from astro_morph.prediction.search import SearchIndex, build_index, vectors
from astro_morph.prediction.search.vectors import Vectors, build_approximate, create_features

SIZE = 6
KINDS = ('left', 'top', 'ring')
N_ROWS = 30

# A row without an image, of the kind 'left'.
MISSING = 9


class Pixels:
    """A model whose features are the pixels."""

    spec = ModelSpec(bands=('0',), size=SIZE, views=1, identifier='pixels')
    n_features = SIZE**2

    def run(self, images):
        n = len(images)
        nothing = np.zeros((n, 0), np.float32)
        return nothing, images.reshape(n, -1), np.full(n, np.nan, np.float32)


def draw(kind):
    image = np.full((SIZE, SIZE), 0.1)
    if kind == 'ring':
        image[[0, -1]] = image[:, [0, -1]] = 1
    else:
        image[(slice(3), slice(None)) if kind == 'top' else (slice(None), slice(3))] = 1
    return image


def make_galaxies():
    """Make cutouts of three kinds, with a catalogue."""
    random = np.random.default_rng(0)
    kinds = np.resize(KINDS, N_ROWS)
    images = np.array([[draw(kind)] for kind in kinds])
    images += random.normal(scale=0.05, size=images.shape)
    images[MISSING] = np.nan
    status = np.where(np.arange(N_ROWS) == MISSING, 'no_coverage', 'ok')
    table = Table({'id': 100 + np.arange(N_ROWS), 'kind': kinds})
    table['ra'], table['dec'] = 150 + np.arange(N_ROWS) / 100, np.full(N_ROWS, 2.0)
    return CutoutSet(images, bands='0', status=status, table=table)


@pytest.fixture(scope='module')
def galaxies():
    return make_galaxies()


@pytest.fixture(scope='module')
def index(galaxies, tmp_path_factory):
    path = tmp_path_factory.mktemp('search') / 'index'
    return build_index(Pixels(), galaxies, path, verbose=False)


@pytest.fixture(scope='module')
def file(galaxies, tmp_path_factory):
    path = tmp_path_factory.mktemp('images') / 'ring.fits'
    fits.writeto(path, galaxies.images[2, 0])
    return path


EXAMPLES = {
    'a row': (lambda g, file: 2, {2}),
    'rows': (lambda g, file: [2, 5], {2, 5}),
    'an array of rows': (lambda g, file: np.array([2, 5]), {2, 5}),
    'a position in the catalogue': (lambda g, file: SkyCoord(150.02, 2.0001, unit='deg'), {2}),
    'positions': (lambda g, file: SkyCoord([150.02, 150.05], [2, 2], unit='deg'), {2, 5}),
    'an image': (lambda g, file: g.images[2], set()),
    'images': (lambda g, file: g.images[[2, 5]], set()),
    'cutouts': (lambda g, file: g[[2, 5]], set()),
    'a file': (lambda g, file: file, set()),
    'the path of a file': (lambda g, file: str(file), set()),
    'several of these': (lambda g, file: [file, 2, g.images[5]], {2}),
}


@pytest.mark.parametrize('name', EXAMPLES)
def test_all_ways_to_name_an_example_find_its_kind(galaxies, index, file, name):
    make, are_rows = EXAMPLES[name]
    found = index.search(make(galaxies, file), 8)
    assert found.colnames == [
        'morph_rank', 'morph_distance', 'morph_row', *galaxies.table.colnames
    ]  # fmt: skip
    assert found['kind'].tolist() == ['ring'] * 8
    assert found['morph_rank'].tolist() == [*range(1, 9)]
    assert (np.diff(found['morph_distance']) >= 0).all()
    assert not are_rows & {*found['morph_row'].tolist()}
    np.testing.assert_array_equal(found['id'], galaxies.table['id'][found['morph_row']])


def test_distance_is_that_of_the_features(galaxies, index):
    found = index.search(0, 5)
    flat = galaxies.images.reshape(N_ROWS, -1)
    ours, theirs = flat[0], flat[found['morph_row']]
    cosines = theirs @ ours / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours)
    np.testing.assert_allclose(found['morph_distance'], 1 - cosines, atol=1e-3)


def test_all_rows_with_an_image_are_found_once(index):
    found = index.search(0, 1000)
    assert sorted(found['morph_row']) == sorted({*range(1, N_ROWS)} - {MISSING})


def test_counter_examples_are_found_last(galaxies, index):
    both = draw('left') + draw('top')
    kinds = index.search(both[np.newaxis], 12)['kind']
    assert {*kinds} == {'left', 'top'}
    refined = index.search(both[np.newaxis], 9, unlike=[0, 3])
    assert {*refined['kind']} == {'top'}


BAD = {
    'no example': ([], {}, ValueError, 'examples is empty'),
    'no row': (99, {}, ValueError, 'names the row 99, .* 0 to 29'),
    'before the first row': (-1, {}, ValueError, 'names the row -1'),
    'a row without image': (MISSING, {}, ValueError, f'row {MISSING}, which has no image'),
    'no file': ('no.fits', {}, ValueError, r'no\.fits has no image \(not_found\)'),
    'an image of NaN': (np.full((1, SIZE, SIZE), np.nan), {}, ValueError, 'number 0 has no image'),
    'another thing': (2.5, {}, TypeError, 'examples is float, expected row numbers'),
    'true': (True, {}, TypeError, 'examples is bool'),
    'no galaxy wanted': (1, {'n': 0}, ValueError, 'n is 0, expected 1 or more'),
    'a wrong counter-example': (1, {'unlike': 99}, ValueError, 'unlike names the row 99'),
}


@pytest.mark.parametrize('name', BAD)
@pytest.mark.filterwarnings('ignore:X. none of 1 rows')
def test_bad_calls_are_refused(index, name):
    examples, options, error, text = BAD[name]
    with pytest.raises(error, match=text):
        index.search(examples, **options)


def test_an_index_is_opened_again_without_its_model(galaxies, index, tmp_path):
    path = tmp_path / 'again'
    build_index(Pixels(), galaxies, path, verbose=False)
    again = SearchIndex(path)
    assert repr(again) == repr(index) == '<SearchIndex: 29 galaxies of 30 rows, all compared>'
    assert again.search(4, 5).pformat() == index.search(4, 5).pformat()
    with pytest.raises(ValueError, match='opened without the model'):
        again.search(galaxies.images[0])


def test_another_model_and_other_folders_are_refused(galaxies, tmp_path):
    path = tmp_path / 'index'
    build_index(Pixels(), galaxies, path, verbose=False)
    other = Pixels()
    other.spec = ModelSpec(bands=('0',), size=SIZE, views=1, identifier='other')
    with pytest.raises(ValueError, match=r"holds features of the model 'pixels', got .* 'other'"):
        SearchIndex(path, model=other)
    with pytest.raises(ValueError, match='is no search index'):
        SearchIndex(tmp_path)
    with pytest.raises(FileExistsError, match='use overwrite=True'):
        build_index(Pixels(), galaxies, path, verbose=False)
    with pytest.raises(FileExistsError, match='is no folder of a search index'):
        build_index(Pixels(), galaxies, tmp_path, overwrite=True, verbose=False)
    assert len(build_index(Pixels(), galaxies[:12], path, overwrite=True, verbose=False)) == 12
    assert [item.name for item in tmp_path.iterdir()] == ['index']


def test_objects_in_the_arrays_are_not_unpickled(galaxies, tmp_path):
    build_index(Pixels(), galaxies, tmp_path / 'index', verbose=False)
    np.save(tmp_path / 'index' / 'positions.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match='Python objects'):
        SearchIndex(tmp_path / 'index')


@pytest.mark.parametrize('ending', ['fits', 'parquet', 'csv'])
def test_a_file_is_read_in_windows(galaxies, index, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(streaming, 'WINDOW', 7)
    monkeypatch.setattr(streaming, 'PART', 3)
    table = galaxies.table.copy()
    table['image_path'] = [f'{row}.fits' for row in range(N_ROWS)]
    for row, path in enumerate(table['image_path']):
        if row != MISSING:
            fits.writeto(tmp_path / path, galaxies.images[row, 0])
    write_table(table, tmp_path / f'catalogue.{ending}')
    made = build_index(
        Pixels(), tmp_path / f'catalogue.{ending}', tmp_path / 'index', verbose=False
    )
    found, expected = made.search([2, 20], 25), index.search([2, 20], 25)
    for name in expected.colnames:
        assert found[name].tolist() == expected[name].tolist(), name
    np.testing.assert_array_equal(found['image_path'], table['image_path'][found['morph_row']])


@pytest.mark.filterwarnings('ignore:.*none of 30 rows')
def test_a_catalogue_without_images_is_refused(galaxies, tmp_path):
    blank = galaxies.replace(status=np.full(N_ROWS, 'no_coverage'))
    with pytest.raises(ValueError, match='X has no row with an image'):
        build_index(Pixels(), blank, tmp_path / 'index', verbose=False)
    assert not [*tmp_path.iterdir()]


def test_orientation_does_not_matter(encoder, blobs, tmp_path):
    encoder.index(blobs, tmp_path / 'index')
    index = encoder.open_index(tmp_path / 'index')
    np.testing.assert_array_equal(
        [index.search(row, 4)['morph_row'] for row in range(3)], encoder.neighbors(blobs, 4)[:3]
    )
    turned = np.rot90(blobs.images[:1], axes=(2, 3))
    found = index.search([turned.copy(), turned[..., ::-1].copy()], 1)
    assert found['morph_row'].tolist() == [0]
    assert found['morph_distance'][0] < 1e-3


def make_vectors(folder, n):
    """Write vectors in a few dimensions, with some rows that have no image."""
    random = np.random.default_rng(0)
    points = np.abs(random.normal(size=(n, 4)) @ random.normal(size=(4, 20))).astype(np.float32)
    points[::50] = np.nan
    write = create_features(folder, n, 20)
    for rows in np.array_split(random.permutation(n), 3):
        write(rows, points[rows])
    return points


class TestApproximate:
    def test_several_files_find_almost_all(self, tmp_path, monkeypatch):
        pytest.importorskip('faiss')
        monkeypatch.setattr(vectors, 'EXACT_UP_TO', 1000)
        monkeypatch.setattr(vectors, 'N_IN_FILE', 1500)
        monkeypatch.setattr(vectors, 'FEWEST_CANDIDATES', 50)
        monkeypatch.setattr(vectors, 'FIRST_PROBES', 1)
        points = make_vectors(tmp_path, 3000)
        measured = build_approximate(tmp_path)
        assert len([*tmp_path.glob('*.faiss')]) == 2
        assert measured['recall'] >= vectors.WANTED_RECALL
        some = Vectors(tmp_path)[[1, 1501, 2999]]
        exact = Vectors(tmp_path).nearest(some, 20)
        found = Vectors(tmp_path, measured['n_probe']).nearest(some, 20)
        assert np.mean([np.isin(*pair) for pair in zip(exact[0], found[0], strict=True)]) > 0.9
        assert found[0][:, 0].tolist() == [1, 1501, 2999]
        assert not np.isnan(points[found[0]]).any()

    def test_few_are_all_compared(self, tmp_path):
        make_vectors(tmp_path, 200)
        assert build_approximate(tmp_path) == {}
        rows, cosines = Vectors(tmp_path).nearest(Vectors(tmp_path)[[1]], 300)
        assert (rows >= 0).sum() == 196
        assert np.isfinite(cosines).sum() == 196

    def test_without_faiss_all_are_compared_and_a_warning_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(vectors, 'EXACT_UP_TO', 100)
        monkeypatch.setitem(sys.modules, 'faiss', None)
        make_vectors(tmp_path, 200)
        with pytest.warns(AstropyUserWarning, match='compares all 196 .* pip install faiss-cpu'):
            assert build_approximate(tmp_path) == {}


def test_positions_beyond_an_arcsecond_are_no_rows(index):
    near = SkyCoord(150.0, 2.0, unit='deg').directional_offset_by(30 * u.deg, [0.9, 1.1] * u.arcsec)
    assert index.search(near[0], 1)['morph_row'].tolist() != [0]
    with pytest.raises(ValueError, match=r'conf\.survey is empty'):
        index.search(near[1])


def test_plain_features_are_searched(tmp_path):
    class Plain:
        spec = ModelSpec(architecture='features', views=1)
        n_features = 2

        def run(self, features):
            n = len(features)
            return np.zeros((n, 0)), features, np.full(n, np.nan)

    features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    index = build_index(Plain(), features, tmp_path / 'index', verbose=False)
    assert index.search(0, 2)['row'].tolist() == [2, 1]
    assert index.search(features[:1] + 0.5, 1)['row'].tolist() == [2]
