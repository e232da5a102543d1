# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `ImageColumns`."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_morph import decode_flags
from astro_morph.catalog.io.tables import read_table
from astro_morph.cutouts import as_cutouts
from astro_morph.cutouts.image_columns import ImageColumns

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
