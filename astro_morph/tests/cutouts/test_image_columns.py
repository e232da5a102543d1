# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `ImageColumns`."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_morph import decode_flags
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
