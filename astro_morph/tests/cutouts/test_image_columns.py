# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `ImageColumns`."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_morph import CutoutSet, decode_flags
from astro_morph.catalog.io.tables import read_table
from astro_morph.cutouts import as_cutouts, stream_cutouts
from astro_morph.cutouts.image_columns import ImageColumns, find_image_columns
from astro_morph.cutouts.storage import write_batches

IMAGES = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)


def make_table(images=IMAGES):
    return Table({band: images[:, i] for i, band in enumerate('rgb')})


def test_images_and_images_in_one_row():
    table = make_table()
    table['g'] = np.asarray(table['g']).reshape(5, 64)
    before = table.copy()
    cutouts = ImageColumns('rgb').fetch(table)
    assert cutouts.bands == ('r', 'g', 'b')
    assert cutouts.kind == 'flux'
    assert cutouts.table is table
    np.testing.assert_array_equal(cutouts.images, IMAGES)
    np.testing.assert_array_equal(table['g'], before['g'])
    swapped = ImageColumns('br', bands=['blue', 'red']).fetch(table, size=4)
    assert swapped.bands == ('blue', 'red')
    np.testing.assert_array_equal(swapped.images, IMAGES[:, [2, 0], 2:6, 2:6])


def test_a_table_in_hdf5(tmp_path):
    pytest.importorskip('h5py')
    make_table().write(tmp_path / 'a.hdf5', path='/data')
    table = Table.read(tmp_path / 'a.hdf5', path='/data')
    parts = list(ImageColumns('rgb').stream(table, batch_size=2))
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), IMAGES)


def test_bytes_are_pictures():
    pictures = np.arange(5 * 3 * 64).reshape(5, 3, 8, 8).astype(np.uint8)
    cutouts = ImageColumns('rgb').fetch(make_table(pictures))
    assert cutouts.kind == 'picture'
    np.testing.assert_array_equal(cutouts.images, pictures)


def test_missing_pixels_have_flags_and_missing_images_a_status():
    table = make_table(IMAGES.copy())
    table['r'][0, 3, 3] = np.nan
    table['b'] = MaskedColumn(table['b'], mask=np.zeros((5, 8, 8), bool))
    table['b'].mask[1] = True
    for band in 'rgb':
        table[band][2] = np.nan
    cutouts = ImageColumns('rgb').fetch(table)
    assert cutouts.status.tolist() == ['ok', 'ok', 'all_nan', 'ok', 'ok']
    expected = [['missing_pixels'], ['missing_band'], [], [], []]
    assert decode_flags(cutouts.flags) == expected


def test_columns_that_hold_no_images():
    table = make_table()
    table['name'] = ['a'] * 5
    table['small'] = IMAGES[:, 0, :4, :4]
    for columns, problem in [
        ('rgx', "no column 'x'"),
        (['r', 'name'], "column 'name' has the shape"),
        (['r', 'small'], 'different shapes'),
    ]:
        with pytest.raises(ValueError, match=problem):
            ImageColumns(columns).fetch(table)
    with pytest.raises(ValueError, match='size must be'):
        ImageColumns('rgb').fetch(table, size=9)


def objects(cells):
    """Return an array of objects, even if these are arrays of one shape."""
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


NESTED = {
    'arrays': lambda image: image,
    'lists': lambda image: image.tolist(),
    'arrays of arrays': lambda image: objects(list(image)),
    'tuples': lambda image: tuple(map(tuple, image.tolist())),
    'flat list': lambda image: image.ravel().tolist(),
    'flat array': lambda image: image.ravel(),
}


@pytest.mark.parametrize('kind', NESTED)
def test_cells_of_any_length(kind):
    cells = {band: [NESTED[kind](image) for image in IMAGES[:, i]] for i, band in enumerate('rg')}
    table = Table({band: MaskedColumn(objects(images)) for band, images in cells.items()})
    np.testing.assert_array_equal(ImageColumns('rg').fetch(table).images, IMAGES[:, :2])
    # A cell that is null in one band is a missing band, in all bands a status.
    table['r'][1] = table['r'][2] = table['g'][2] = None
    table['r'].mask[3] = table['g'].mask[3] = True
    table['g'][4] = NESTED[kind](IMAGES[4, 1, :4, :4])
    cutouts = ImageColumns('rg').fetch(table)
    assert cutouts.status.tolist() == ['ok', 'ok', 'all_nan', 'all_nan', 'wrong_size']
    assert decode_flags(cutouts.flags)[1] == ['missing_band']
    parts = list(ImageColumns('rg').stream(table, batch_size=2))
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), cutouts.images)


@pytest.mark.parametrize('order', ['bands first', 'bands last'])
@pytest.mark.parametrize('is_list', [False, True])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_all_bands_in_a_cell(order, is_list, dtype):
    images = np.arange(4 * 3 * 64).reshape(4, 3, 8, 8).astype(dtype)
    cells = images if order == 'bands first' else images.transpose(0, 2, 3, 1)
    table = Table({'image': objects(list(cells)) if is_list else cells})
    cutouts = ImageColumns(['image']).fetch(table)
    np.testing.assert_array_equal(cutouts.images, images)
    is_picture = dtype == np.uint8
    assert cutouts.bands == (('red', 'green', 'blue') if is_picture else ('0', '1', '2'))
    assert cutouts.kind == ('picture' if is_picture else 'flux')
    assert ImageColumns(['image'], bands='gri').fetch(table).bands == ('g', 'r', 'i')


@pytest.mark.parametrize(
    ('cell', 'status'),
    [
        ([[1, 2], [3]], 'not_an_image'),
        ('text', 'not_an_image'),
        ([['a', 'b'], ['c', 'd']], 'not_an_image'),
        ({'flux': 1}, 'not_an_image'),
        ([1, 2, 3], 'not_an_image'),
        ([], 'not_an_image'),
        (np.ones((3, 8, 8)), 'wrong_bands'),
        ([[None] * 8] * 8, 'all_nan'),
        (np.nan, 'all_nan'),
    ],
)
def test_an_odd_cell_is_a_status(cell, status):
    table = Table({'r': objects([IMAGES[0, 0], cell])})
    assert ImageColumns(['r']).fetch(table).status.tolist() == ['ok', status]


def test_missing_pixels_of_lists_are_none():
    cell = IMAGES[0, 0].tolist()
    cell[2][3] = None
    cutouts = ImageColumns(['r']).fetch(Table({'r': objects([cell])}))
    assert np.isnan(cutouts.images[0, 0]).nonzero() == (2, 3)
    assert decode_flags(cutouts.flags) == [['missing_pixels']]


def test_columns_of_images_are_found():
    lists = objects([image.tolist() for image in IMAGES[:, 0]])
    table = Table({'id': range(5), 'spectrum': objects([[1.0, 2.0]] * 5), 'g': IMAGES[:, 0]})
    table['r'] = lists
    assert as_cutouts(table).bands == ('g', 'r')
    table = Table({'name': ['a'] * 5, 'image': IMAGES})
    assert as_cutouts(table).shape == (5, 3, 8, 8)


def test_no_image_at_all():
    table = Table({'r': objects([None, None])})
    assert ImageColumns(['r']).fetch(table).status.tolist() == ['all_nan'] * 2
    with pytest.raises(ValueError, match=r"column 'r' has the shape .* expected an image"):
        ImageColumns(['r']).fetch(Table({'r': objects(['a', 'b'])}))


@pytest.mark.parametrize('is_fixed', [False, True])
@pytest.mark.parametrize('is_flat', [False, True])
@pytest.mark.parametrize('reader', ['read_table', 'pandas', 'polars', 'pyarrow'])
def test_lists_in_parquet(tmp_path, is_fixed, is_flat, reader):
    arrow = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    number = arrow.float32()
    row = arrow.list_(number, 64 if is_flat else 8) if is_fixed else arrow.list_(number)
    kind = row if is_flat else arrow.list_(row, 8) if is_fixed else arrow.list_(row)
    cells = [(image.ravel() if is_flat else image).tolist() for image in IMAGES[:, 0]]
    path = tmp_path / 'a.parquet'
    parquet.write_table(arrow.table({'r': arrow.array([*cells, None], kind)}), path)
    if reader == 'read_table':
        X = read_table(path)
    elif reader == 'pyarrow':
        X = parquet.read_table(path)
    else:
        X = pytest.importorskip(reader).read_parquet(path)
    cutouts = ImageColumns(['r']).fetch(X)
    np.testing.assert_array_equal(cutouts.images[:5], IMAGES[:, :1])
    assert cutouts.status.tolist() == ['ok'] * 5 + ['all_nan']


def make_structure(row, bands=('des-g', 'des-r', 'des-z'), **changes):
    """Return an image as the Multimodal Universe has it, with a bad pixel and an unknown one."""
    index = [('des-g', 'des-r', 'des-z').index(band) for band in bands]
    structure = {
        'band': list(bands),
        'flux': IMAGES[row, index],
        'ivar': np.full((len(bands), 8, 8), 4, np.float32),
        'mask': np.ones((len(bands), 8, 8), bool),
        'psf_fwhm': np.full(len(bands), 1.2, np.float32),
        'scale': np.full(len(bands), 0.25, np.float32),
    }
    structure['ivar'][0, 0, 0] = 0
    structure['mask'][0, 1, 1] = False
    return structure | changes


def as_lists(structure):
    """Return a structure of lists as a list of structures, one a band."""
    names = structure.keys()
    return [
        dict(zip(names, values, strict=True)) for values in zip(*structure.values(), strict=True)
    ]


@pytest.mark.parametrize('form', [dict, as_lists])
def test_structures_of_the_multimodal_universe(form):
    cells = [form(make_structure(row)) for row in range(4)]
    table = Table({'image': objects([*cells, None]), 'spectrum': objects([{'flux': [1, 2]}] * 5)})
    assert find_image_columns(table) == ['image']
    cutouts = as_cutouts(table)
    assert cutouts.bands == ('g', 'r', 'z')
    assert cutouts.status.tolist() == ['ok'] * 4 + ['all_nan']
    np.testing.assert_array_equal(cutouts.images[:4], IMAGES[:4])
    assert cutouts.pixel_scale[0].value == 0.25
    # A mask of theirs is true where a pixel is good, and no weight is a bad pixel.
    bad = np.argwhere(cutouts.mask[2])
    assert bad.tolist() == [[0, 0, 0], [0, 1, 1]]
    assert np.isnan(cutouts.variance[2, 0, 0, 0])
    assert cutouts.variance[2, 1:].tolist() == np.full((2, 8, 8), 0.25).tolist()
    assert np.isnan(cutouts.variance[4]).all()
    assert as_cutouts(table, bands='zg', size=4).shape == (5, 2, 4, 4)


@pytest.mark.parametrize('n_bands', [1, 3])
@pytest.mark.parametrize('is_list', [False, True])
def test_structures_with_flat_bands(n_bands, is_list):
    bands = ['des-g', 'des-r', 'des-z'][:n_bands]
    images = IMAGES[:, :n_bands]
    cells = [{'band': bands, 'flux': image.reshape(n_bands, 64)} for image in images]
    if is_list:
        cells = [cell | {'flux': cell['flux'].tolist()} for cell in cells]
    cutouts = ImageColumns(['image']).fetch(Table({'image': objects(cells)}))
    np.testing.assert_array_equal(cutouts.images, images)


@pytest.mark.parametrize(
    'rows', [[('des-g', 'des-r')] * 2 + [('des-g', 'des-r', 'des-z')], [('des-g', 'des-r')]]
)
def test_a_structure_without_a_band_of_the_model_has_the_others(rows):
    cells = [make_structure(row, bands) for row, bands in enumerate(rows)]
    table = Table({'image': objects(cells)})
    for batch_size in (1, 1024):
        batches = list(stream_cutouts(table, bands='grz', batch_size=batch_size))
        assert {batch.bands for batch in batches} == {('g', 'r', 'z')}
        flags = [decode_flags(flag) for batch in batches for flag in batch.flags]
        assert ['missing_band' in its for its in flags] == [len(bands) < 3 for bands in rows]
        assert all(batch.is_ok.all() for batch in batches)


@pytest.mark.parametrize('ending', ['.h5', '.zarr'])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_rows_before_the_first_image_have_its_layout(tmp_path, ending, dtype):
    pytest.importorskip('h5py')
    images = (100 * np.abs(IMAGES[:2])).astype(dtype)
    table = Table({'image': objects([None, None, *images])})
    path = tmp_path / f'cutouts{ending}'
    batches = ImageColumns(['image']).stream(table, batch_size=1)
    write_batches(batches, path, table=None, n_rows=4)
    cutouts = CutoutSet.read(path)
    assert cutouts.status.tolist() == ['all_nan', 'all_nan', 'ok', 'ok']
    assert cutouts.kind == ('picture' if dtype == np.uint8 else 'flux')
    np.testing.assert_array_equal(cutouts.images[2:], images)


@pytest.mark.parametrize(
    ('changes', 'status', 'flags'),
    [
        ({'bands': ('des-z', 'des-g', 'des-r')}, 'ok', ['missing_pixels']),
        ({'bands': ('des-g', 'des-z')}, 'ok', ['missing_pixels', 'missing_band']),
        ({'band': ['vis', 'y', 'j']}, 'wrong_bands', []),
        ({'band': ['des-g']}, 'not_an_image', []),
        ({'flux': np.ones((3, 6, 6), np.float32), 'ivar': None, 'mask': None}, 'wrong_size', []),
        ({'flux': np.ones((3, 6, 6), np.float32)}, 'not_an_image', []),
        ({'flux': [IMAGES[1, 0], None, IMAGES[1, 2]]}, 'ok', ['missing_pixels', 'missing_band']),
        ({'flux': None}, 'all_nan', []),
        ({'flux': []}, 'all_nan', []),
        ({'flux': 'none'}, 'not_an_image', []),
        ({'flux': [1.0, 2.0, 3.0]}, 'not_an_image', []),
        ({'ivar': None, 'mask': None, 'scale': None, 'psf_fwhm': None}, 'ok', []),
        ({'scale': [0.2, 0.3, 0.4]}, 'ok', ['missing_pixels']),
    ],
)
def test_odd_structures(changes, status, flags):
    cells = [make_structure(0), make_structure(1, **changes), make_structure(2)]
    cutouts = ImageColumns(['image']).fetch(Table({'image': objects(cells)}))
    assert cutouts.status.tolist() == ['ok', status, 'ok']
    assert decode_flags(cutouts.flags)[1] == flags
    assert cutouts.bands == ('g', 'r', 'z')
    if status == 'ok':
        there = ~np.isnan(cutouts.images[1])
        np.testing.assert_array_equal(cutouts.images[1][there], IMAGES[1][there])


@pytest.mark.parametrize(
    ('names', 'bands'),
    [
        (['g', 'g_ivar', 'g_mask', 'r'], ('g', 'r')),
        (['flux_g', 'ivar_g', 'mask_g', 'flux_r'], ('g', 'r')),
        (['image_g', 'image_g_invvar', 'image_g_mask', 'image_r'], ('g', 'r')),
    ],
)
def test_planes_in_columns_beside_the_images(names, bands):
    first, inverse, mask, second = names
    is_bad = np.zeros((5, 8, 8), bool)
    is_bad[3, 2, 2] = True
    weights = np.full((5, 8, 8), 4.0)
    weights[1, 0, 0] = 0
    table = Table({inverse: weights, first: IMAGES[:, 0], mask: is_bad, second: IMAGES[:, 1]})
    cutouts = as_cutouts(table)
    assert cutouts.bands == bands
    np.testing.assert_array_equal(cutouts.images, IMAGES[:, :2])
    assert np.argwhere(cutouts.mask).tolist() == [[1, 0, 0, 0], [3, 0, 2, 2]]
    assert np.isnan(cutouts.variance[:, 1]).all()
    assert cutouts.variance[0, 0].tolist() == np.full((8, 8), 0.25).tolist()


def test_a_plane_of_one_band_is_that_of_all_bands():
    mask = np.zeros((2, 8, 8), bool)
    mask[1, 2, 3] = True
    cutouts = as_cutouts(Table({'image': IMAGES[:2], 'mask': mask, 'ivar': np.full(mask.shape, 4)}))
    assert cutouts.is_ok.all()
    assert cutouts.variance.tolist() == np.full(cutouts.shape, 0.25).tolist()
    assert np.argwhere(cutouts.mask).tolist() == [[1, band, 2, 3] for band in range(3)]


def test_a_variance_of_another_shape_is_a_status():
    table = Table({'image': objects(list(IMAGES)), 'variance': objects(list(IMAGES))})
    table['variance'][1] = IMAGES[1, :2]
    table['variance'][2] = None
    cutouts = as_cutouts(table)
    assert cutouts.status.tolist() == ['ok', 'wrong_size', 'ok', 'ok', 'ok']
    assert np.isnan(cutouts.variance[1:3]).all()


def read_parquet(reader, path):
    if reader == 'read_table':
        return read_table(path)
    if reader == 'pyarrow':
        return pytest.importorskip('pyarrow.parquet').read_table(path)
    # Pandas knows tensors as columns of Arrow only.
    options = {'dtype_backend': 'pyarrow'} if reader == 'pandas' else {}
    return pytest.importorskip(reader).read_parquet(path, **options)


@pytest.mark.parametrize('shape', [(8, 8), (3, 8, 8), (8, 8, 3), (6, 8)])
@pytest.mark.parametrize('reader', ['read_table', 'pandas', 'nested_pandas', 'pyarrow'])
def test_tensors_in_parquet(tmp_path, shape, reader):
    arrow = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    images = np.arange(4 * np.prod(shape), dtype=np.float32).reshape(4, *shape)
    kind = arrow.fixed_shape_tensor(arrow.float32(), shape)
    cells = [*(image.ravel().tolist() for image in images), None]
    column = arrow.ExtensionArray.from_storage(kind, arrow.array(cells, kind.storage_type))
    parquet.write_table(arrow.table({'image': column}), tmp_path / 'a.parquet')
    cutouts = as_cutouts(read_parquet(reader, tmp_path / 'a.parquet'))
    expected = {
        (8, 8): images[:, np.newaxis],
        (3, 8, 8): images,
        (8, 8, 3): np.moveaxis(images, -1, 1),
        (6, 8): images[:, np.newaxis, :, 1:7],
    }
    np.testing.assert_array_equal(cutouts.images[:4], expected[shape])
    assert cutouts.status.tolist() == ['ok'] * 4 + ['all_nan']


@pytest.mark.parametrize('reader', ['read_table', 'pandas', 'nested_pandas', 'pyarrow', 'polars'])
def test_structures_in_parquet(tmp_path, reader):
    arrow = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    plane = arrow.list_(arrow.list_(arrow.list_(arrow.float32())))
    names = ('band', 'flux', 'ivar', 'mask', 'psf_fwhm', 'scale')
    masks, numbers = (
        arrow.list_(arrow.list_(arrow.list_(arrow.bool_()))),
        arrow.list_(arrow.float32()),
    )
    kinds = arrow.list_(arrow.string()), plane, plane, masks, numbers, numbers
    cells = [{n: np.array(v).tolist() for n, v in make_structure(i).items()} for i in range(3)]
    column = arrow.array([*cells, None], arrow.struct(list(zip(names, kinds, strict=True))))
    parquet.write_table(arrow.table({'image': column}), tmp_path / 'a.parquet')
    cutouts = as_cutouts(read_parquet(reader, tmp_path / 'a.parquet'))
    assert cutouts.bands == ('g', 'r', 'z')
    np.testing.assert_array_equal(cutouts.images[:3], IMAGES[:3])
    assert cutouts.status.tolist() == ['ok'] * 3 + ['all_nan']
    assert np.argwhere(cutouts.mask[1]).tolist() == [[0, 0, 0], [0, 1, 1]]


@pytest.mark.remote_data
def test_live():
    """Galaxies of CEERS in the Multimodal Universe, with the variance of their pixels."""
    lsdb = pytest.importorskip('lsdb')
    catalog = lsdb.open_catalog(
        'https://huggingface.co/datasets/UniverseTBD/mmu_jwst_ceers',
        search_filter=lsdb.ConeSearch(ra=214.9, dec=52.9, radius_arcsec=60),
    )
    cutouts = as_cutouts(catalog.compute().head(20))
    assert cutouts.is_ok.any()
    assert cutouts.variance is not None
