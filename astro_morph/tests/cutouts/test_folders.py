# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cutouts in folders of Zarr and HATS: what is written is read, and only when it is used."""

import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable

from astro_morph import CutoutSet
from astro_morph.cutouts import as_cutouts, holds_cutouts
from astro_morph.cutouts.storage import check_catalog, hats, write_batches, zarr
from astro_morph.images.planes.lazy import LazyArray

N = 40
ENDINGS = ('.h5', '.zarr', '.hats')
FOLDERS = ('.zarr', '.hats')


def require(ending):
    names = {'.h5': ['h5py'], '.zarr': ['zarr', 'pyarrow'], '.hats': ['lsdb', 'h5py']}
    for name in names[ending]:
        pytest.importorskip(name, exc_type=ImportError)


@pytest.fixture(params=FOLDERS)
def ending(request):
    require(request.param)
    return request.param


def make_table():
    """Return a catalogue of two fields, with the kinds of columns that tables have."""
    random = np.random.default_rng(1)
    table = QTable({'id': np.arange(N), 'ra': random.uniform(10, 11, N) * u.deg})
    table['ra'][N // 2 :] += 100 * u.deg
    table['dec'] = random.uniform(-1, 1, N) * u.deg
    table['name'] = [f'galaxy {i}' for i in range(N)]
    table['mag'] = MaskedColumn(random.normal(20, 1, N), mask=np.arange(N) == 3)
    table['mag'].info.description = 'Its magnitude'
    table.meta['SURVEY'] = 'x'
    return table


def make_cutouts(**changes):
    random = np.random.default_rng(0)
    images = random.normal(size=(N, 2, 6, 6)).astype(np.float32)
    images[5, 1, 2, 2] = np.nan
    status = np.where(np.arange(N) % 7 == 6, 'no_coverage', 'ok')
    images[status != 'ok'] = np.nan
    options = {
        'bands': 'gr',
        'pixel_scale': 0.25 * u.arcsec,
        'framing': '2 * r',
        'zero_point': [22.5, np.nan],
        'status': status,
        'flags': np.arange(N),
        'table': make_table(),
        'rotation': np.arange(N) * u.deg,
        'parity': np.ones(N, int),
        'centers': random.uniform(2, 3, (N, 2)),
    }
    return CutoutSet(images, **options | changes)


def make_planes():
    mask = np.zeros((N, 2, 6, 6), bool)
    mask[1, 0, 3, 4] = True
    variance = np.random.default_rng(2).uniform(1, 2, mask.shape).astype(np.float32)
    variance[2, 1, 0, 0] = np.nan
    variance[6::7], mask[6::7] = np.nan, False
    return {'variance': variance, 'mask': mask}


def assert_same_values(found, expected):
    mask = np.ma.getmaskarray(np.ma.asarray(expected))
    np.testing.assert_array_equal(np.ma.getmaskarray(np.ma.asarray(found)), mask)
    np.testing.assert_array_equal(np.asarray(found)[~mask], np.asarray(expected)[~mask])


def assert_same(found, expected):
    """Compare all that two sets hold, in the order of the second."""
    rows = np.argsort(found.table['id']) if found.table is not None else np.arange(N)
    found = found[rows]
    assert (found.bands, found.kind, found.framing) == (
        expected.bands,
        expected.kind,
        expected.framing,
    )
    np.testing.assert_array_equal(found.images, expected.images)
    for name in ('status', 'flags', 'parity', 'rotation', 'centers', 'zero_point', 'pixel_scale'):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(found.mask, expected.mask)
    if expected.variance is not None:
        np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-6)
    if expected.table is not None:
        assert type(found.table) is type(expected.table)
        assert found.table.meta == expected.table.meta
        for name in expected.table.colnames:
            assert found.table[name].unit == expected.table[name].unit
            assert_same_values(found.table[name], expected.table[name])
        assert found.table['mag'].info.description == 'Its magnitude'


def test_variances_of_zero_are_kept(tmp_path, ending):
    variance = np.ones((N, 2, 6, 6))
    variance[0, 0, 1, 1] = 0
    cutouts = make_cutouts(variance=variance)
    cutouts[cutouts.is_ok].write(tmp_path / f'cutouts{ending}')
    found = CutoutSet.read(tmp_path / f'cutouts{ending}')
    row = found.table['id'].tolist().index(0)
    assert found.variance[row, 0, 1, 1] == 0
    assert np.count_nonzero(found.variance == 0) == 1


def test_pictures_without_an_image_are_black(tmp_path, ending):
    images = np.full((N, 3, 6, 6), 7, np.uint8)
    images[6::7] = 0
    names = ['red', 'green', 'blue']
    cutouts = make_cutouts().replace(images=images, bands=names, kind='picture', zero_point=None)
    cutouts.write(tmp_path / f'cutouts{ending}')
    found = CutoutSet.read(tmp_path / f'cutouts{ending}')
    assert found.images.dtype == np.uint8
    assert (found.images.max(axis=(1, 2, 3)) == np.where(found.is_ok, 7, 0)).all()


def test_images_of_more_bands_than_pixels(tmp_path, ending):
    images = np.arange(N * 9 * 16, dtype=np.float32).reshape(N, 9, 4, 4)
    cutouts = CutoutSet(images, table=make_table(), variance=images + 1)
    cutouts.write(tmp_path / f'cutouts{ending}')
    found = CutoutSet.read(tmp_path / f'cutouts{ending}')
    np.testing.assert_array_equal(found.images, images[found.table['id']])
    np.testing.assert_allclose(found.variance, found.images + 1, rtol=1e-6)


@pytest.mark.parametrize('planes', [{}, make_planes()])
def test_what_is_written_is_read(tmp_path, ending, planes):
    cutouts = make_cutouts(**planes)
    path = tmp_path / f'cutouts{ending}'
    cutouts.write(path)
    assert holds_cutouts(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    found = CutoutSet.read(path)
    assert all(isinstance(vars(found)[name], LazyArray) for name in ('images', *planes))
    assert_same(found, cutouts)
    found.write(tmp_path / f'again{ending}')
    assert_same(CutoutSet.read(str(tmp_path / f'again{ending}'), format=ending[1:]), cutouts)


@pytest.mark.parametrize('scale', [None, np.linspace(0.2, 0.4, N) * u.arcsec])
def test_scales(tmp_path, ending, scale):
    cutouts = make_cutouts(pixel_scale=scale, zero_point=None, framing=None)
    cutouts.write(tmp_path / f'cutouts{ending}')
    assert_same(CutoutSet.read(tmp_path / f'cutouts{ending}'), cutouts)


def test_pictures_stay_bytes(tmp_path, ending):
    images = np.random.default_rng(0).integers(0, 256, (N, 3, 6, 6)).astype(np.uint8)
    options = {'kind': 'picture', 'bands': ('red', 'green', 'blue'), 'zero_point': None}
    cutouts = CutoutSet(images, **options, table=make_table())
    cutouts.write(tmp_path / f'cutouts{ending}')
    found = CutoutSet.read(tmp_path / f'cutouts{ending}')
    found = found[np.argsort(found.table['id'])]
    assert found.kind == 'picture'
    assert found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.images, images)


def test_rows_are_read_when_they_are_used(tmp_path, ending):
    cutouts = make_cutouts(**make_planes())
    path = tmp_path / f'cutouts{ending}'
    cutouts.write(path)
    found = CutoutSet.read(path)
    order = np.argsort(found.table['id'])
    for rows in (slice(3, 9), [7, 2, 30], order, found.is_ok, np.arange(N)[::-1], [], [4, 4]):
        part = found[rows]
        ids = np.asarray(part.table['id'], int)
        for name in ('images', 'mask'):
            assert isinstance(vars(part)[name], LazyArray)
            np.testing.assert_array_equal(getattr(part, name), getattr(cutouts, name)[ids])
        assert not isinstance(vars(part)['images'], LazyArray)
    # The set itself has read nothing, and goes to other processes as it is.
    assert isinstance(vars(found)['images'], LazyArray)
    copy = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(copy[order][:5].images, cutouts[:5].images)


def test_a_set_without_table(tmp_path):
    require('.zarr')
    cutouts = make_cutouts(table=None)
    cutouts.write(tmp_path / 'cutouts.zarr')
    found = CutoutSet.read(tmp_path / 'cutouts.zarr')
    assert found.table is None
    assert_same(found, cutouts)


def test_batches(tmp_path, ending):
    cutouts, path = make_cutouts(), tmp_path / f'cutouts{ending}'
    planes = make_planes()
    # Planes may come with a later batch.
    later = cutouts.replace(**planes)[20:]
    batches = (cutouts[:7], cutouts[7:20], later)
    write_batches(batches, path, table=cutouts.table, n_rows=N)
    planes['mask'][:20], planes['variance'][:20] = False, np.nan
    assert_same(CutoutSet.read(path), cutouts.replace(**planes))


class TestRefusal:
    def test_replaced_only_if_asked(self, tmp_path, ending):
        path = tmp_path / f'cutouts{ending}'
        make_cutouts().write(path)
        with pytest.raises(FileExistsError, match='use overwrite=True'):
            make_cutouts().write(path)
        make_cutouts(flags=None).write(path, overwrite=True)
        assert not CutoutSet.read(path).flags.any()

    def test_folders_of_others_are_never_replaced(self, tmp_path, ending):
        path = tmp_path / f'mine{ending}'
        path.mkdir()
        (path / 'thesis.tex').touch()
        with pytest.raises(FileExistsError, match='is no folder of cutouts'):
            make_cutouts().write(path, overwrite=True)
        assert [file.name for file in path.iterdir()] == ['thesis.tex']

    def test_what_fails_leaves_nothing(self, tmp_path, ending):
        cutouts = make_cutouts()

        def batches():
            yield cutouts[:5]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_batches(batches(), tmp_path / f'a{ending}', table=cutouts.table, n_rows=N)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'cutout_status': [1] * N}, r"columns \['cutout_status'\], whose names"),
            ({'odd': [object()] * N}, "column 'odd' of type object cannot be"),
        ],
    )
    def test_columns(self, ending, change, message):
        table = make_table()
        for name, column in change.items():
            table[name] = column
        with pytest.raises(ValueError, match=message):
            check_catalog(table, f'cutouts{ending}')

    def test_rows_without_position(self, tmp_path):
        require('.hats')
        cutouts = make_cutouts()
        cutouts.table['ra'][3] = np.nan * u.deg
        with pytest.raises(ValueError, match='1 of 40 rows have no position, by which HATS sorts'):
            cutouts.write(tmp_path / 'a.hats')
        with pytest.raises(ValueError, match='the cutouts have no table'):
            cutouts.replace(table=None).write(tmp_path / 'a.hats')

    def test_what_holds_no_cutouts(self, tmp_path, ending):
        path = tmp_path / f'a{ending}'
        with pytest.raises(FileNotFoundError, match='No such file or directory'):
            CutoutSet.read(path)
        path.mkdir()
        assert not holds_cutouts(path)
        with pytest.raises(ValueError, match='is no folder of cutouts'):
            CutoutSet.read(path)

    @pytest.mark.parametrize('name', ['table.parquet', 'images/zarr.json', 'zarr.json'])
    def test_damaged_zarr(self, tmp_path, name):
        require('.zarr')
        path = tmp_path / 'a.zarr'
        make_cutouts().write(path)
        (path / name).write_bytes(b'{')
        with pytest.raises(ValueError, match=r'a\.zarr'):
            CutoutSet.read(path)

    def test_pixels_that_are_lost_are_missing(self, tmp_path):
        require('.zarr')
        path = tmp_path / 'a.zarr'
        make_cutouts().write(path)
        for file in (path / 'images').rglob('c/*/*/*/*'):
            file.unlink()
        assert np.isnan(CutoutSet.read(path).images).all()


def test_hats_is_a_catalogue_of_lsdb(tmp_path, monkeypatch):
    require('.hats')
    import lsdb

    monkeypatch.setattr(hats, 'PARTITION_BYTES', 6 * 2 * 6 * 6 * 4 * 5)
    monkeypatch.setattr(hats, 'BATCH', 4)
    cutouts = make_cutouts(**make_planes())
    cutouts.write(tmp_path / 'a.hats')
    catalog = lsdb.open_catalog(tmp_path / 'a.hats')
    assert catalog.npartitions > 4
    frame = catalog.compute(progress_bar=False)
    again = as_cutouts(frame)[np.argsort(frame['id'].to_numpy())]
    assert again.bands == ('g', 'r')
    np.testing.assert_array_equal(again.images, cutouts.images)
    np.testing.assert_array_equal(again.mask, cutouts.mask)
    for name in ('status', 'flags', 'rotation', 'parity', 'centers', 'pixel_scale'):
        np.testing.assert_array_equal(getattr(again, name), getattr(cutouts, name))
    small = as_cutouts(frame, size=4)[np.argsort(frame['id'].to_numpy())]
    np.testing.assert_array_equal(small.centers, cutouts.centers - 1)
    assert_same(CutoutSet.read(tmp_path / 'a.hats'), cutouts)


def test_chunks_of_zarr_are_small(tmp_path, monkeypatch):
    require('.zarr')
    monkeypatch.setattr(zarr, 'CHUNK_BYTES', 9 * 2 * 6 * 6 * 4)
    make_cutouts().write(tmp_path / 'a.zarr')
    files = list((tmp_path / 'a.zarr' / 'images').rglob('c/*/*/*/*'))
    assert len(files) == N // 8
    assert_same(CutoutSet.read(tmp_path / 'a.zarr'), make_cutouts())


def test_other_catalogues_of_hats_are_for_lsdb(tmp_path):
    (tmp_path / 'plain').mkdir()
    (tmp_path / 'plain' / 'hats.properties').touch()
    with pytest.raises(ValueError, match=r'open another HATS catalogue with lsdb\.open_catalog'):
        CutoutSet.read(tmp_path / 'plain')
