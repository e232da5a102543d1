# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of cutouts in HDF5 files, which are written atomically."""

import os

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.registry import IORegistryError
from astropy.table import MaskedColumn, QTable, Table

from astro_morph import CutoutSet
from astro_morph.cutouts import holds_cutouts
from astro_morph.cutouts.storage import write_batches

pytest.importorskip('h5py')

IMAGES = np.random.default_rng(0).normal(size=(4, 2, 6, 5)).astype(np.float32)
IMAGES[1, 0, 2] = np.nan


def make_table(table_class=QTable):
    table = table_class(
        {
            'where': SkyCoord([1, 2, 3, 4], [5, 6, 7, 8], unit='deg'),
            'petroR90_r': [1.0, 2.0, 3.0, 4.0] * u.arcsec,
            'name': ['a', 'bb', 'ccc', 'M\u00a031'],
            'type': MaskedColumn(['x', 'y', 'z', ''], mask=[0, 1, 0, 1], description='seen'),
        },
        meta={'MORPHVER': '1.0', 'nested': {'list': [1, 2]}},
    )
    table['type'].info.meta = {'ucd': 'src.morph.type'}
    return table


@pytest.mark.parametrize('name', ['cutouts.h5', 'cutouts.hdf5'])
def test_everything_survives(tmp_path, name):
    cutouts = CutoutSet(
        IMAGES,
        bands=['F606W', 'r'],
        pixel_scale=[0.1, 0.2, np.nan, 0.4] * u.arcsec,
        framing='4 * petroR90_r',
        status=['ok', 'ok', 'no_size', 'http_503'],
        flags=[0, 1, 0, 4],
        table=make_table(),
    )
    cutouts.write(tmp_path / name)
    again = CutoutSet.read(tmp_path / name)
    np.testing.assert_array_equal(again.images, IMAGES)
    assert again.bands == cutouts.bands
    np.testing.assert_array_equal(again.pixel_scale, cutouts.pixel_scale)
    assert again.pixel_scale.unit == u.arcsec
    assert (again.framing, again.kind) == ('4 * petroR90_r', 'flux')
    assert again.status.tolist() == cutouts.status.tolist()
    np.testing.assert_array_equal(again.flags, cutouts.flags)
    assert type(again.table) is QTable
    assert again.table.colnames == cutouts.table.colnames
    np.testing.assert_array_equal(again.table['where'].dec.deg, [5, 6, 7, 8])
    np.testing.assert_array_equal(again.table['petroR90_r'], cutouts.table['petroR90_r'])
    assert again.table['name'].tolist() == cutouts.table['name'].tolist()
    assert again.table['type'].tolist() == ['x', None, 'z', None]
    assert again.table['type'].info.description == 'seen'
    assert again.table['type'].info.meta == {'ucd': 'src.morph.type'}
    assert again.table.meta == cutouts.table.meta


def test_little_survives_too(tmp_path):
    CutoutSet(IMAGES, kind='picture').write(tmp_path / 'a.h5')
    again = CutoutSet.read(tmp_path / 'a.h5')
    np.testing.assert_array_equal(again.images, IMAGES)
    assert (again.kind, again.bands) == ('picture', ('0', '1'))
    assert again.table is again.pixel_scale is again.framing is None
    CutoutSet(IMAGES, pixel_scale=0.5 * u.arcmin, table=Table({'id': range(4)})).write(
        tmp_path / 'b.h5'
    )
    again = CutoutSet.read(tmp_path / 'b.h5')
    assert again.pixel_scale == 30 * u.arcsec
    assert again.pixel_scale.isscalar
    assert type(again.table) is Table


def test_no_rows_survive(tmp_path):
    CutoutSet(IMAGES, table=make_table())[:0].write(tmp_path / 'a.h5')
    again = CutoutSet.read(tmp_path / 'a.h5')
    assert again.shape == (0, 2, 6, 5)
    assert again.table.colnames == make_table().colnames


def test_what_is_read_can_be_changed_and_the_file_stays(tmp_path):
    path = tmp_path / 'a.h5'
    CutoutSet(IMAGES).write(path)
    cutouts = CutoutSet.read(path)
    cutouts.images[:] = 7
    np.testing.assert_array_equal(CutoutSet.read(path).images, IMAGES)
    # The file is replaced while it is in use.
    CutoutSet(IMAGES[::-1]).write(path, overwrite=True)
    assert (cutouts.images == 7).all()
    np.testing.assert_array_equal(CutoutSet.read(path).images, IMAGES[::-1])


def test_any_name_will_do_with_a_format(tmp_path):
    path = tmp_path / 'cutouts.dat'
    CutoutSet(IMAGES).write(path, format='hdf5')
    assert holds_cutouts(path)
    for options in ({'format': 'hdf5'}, {}):
        np.testing.assert_array_equal(CutoutSet.read(path, **options).images, IMAGES)
    with pytest.raises(IORegistryError):
        CutoutSet(IMAGES).write(tmp_path / 'cutouts.fits')


def test_other_files_are_told(tmp_path):
    table = tmp_path / 'table.h5'
    Table({'id': [1]}).write(table, path='data', serialize_meta=True)
    text = tmp_path / 'text.h5'
    text.write_text('nothing of the kind')
    for path in (table, text):
        assert not holds_cutouts(path)
        with pytest.raises(IORegistryError):
            CutoutSet.read(path)
        with pytest.raises(ValueError, match=f'{path.name}.* is no file of cutouts'):
            CutoutSet.read(path, format='hdf5')


def test_a_file_is_replaced_only_if_asked(tmp_path):
    path = tmp_path / 'a.h5'
    CutoutSet(IMAGES).write(path)
    with pytest.raises(FileExistsError, match=r'a\.h5 exists already; use overwrite=True'):
        CutoutSet(IMAGES + 1).write(path)
    np.testing.assert_array_equal(CutoutSet.read(path).images, IMAGES)
    CutoutSet(IMAGES + 1).write(path, overwrite=True)
    np.testing.assert_array_equal(CutoutSet.read(path).images, IMAGES + 1)


def test_batches_are_joined(tmp_path):
    scale = [1, 2, 3, 4] * u.arcsec
    cutouts = CutoutSet(IMAGES, pixel_scale=scale, framing='r', table=make_table())
    batches = (cutouts[rows] for rows in (slice(0, 3), slice(3, 4)))
    write_batches(batches, tmp_path / 'a.h5', table=cutouts.table, n_rows=4)
    again = CutoutSet.read(tmp_path / 'a.h5')
    np.testing.assert_array_equal(again.images, IMAGES)
    np.testing.assert_array_equal(again.pixel_scale, scale)
    assert len(again.table) == 4


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt])
def test_nothing_is_left_of_a_file_that_broke_off(tmp_path, error):
    def batches():
        yield CutoutSet(IMAGES[:2])
        raise error

    old = CutoutSet(IMAGES)
    old.write(tmp_path / 'a.h5')
    with pytest.raises(error):
        write_batches(batches(), tmp_path / 'a.h5', table=None, n_rows=4, overwrite=True)
    assert os.listdir(tmp_path) == ['a.h5']
    np.testing.assert_array_equal(CutoutSet.read(tmp_path / 'a.h5').images, IMAGES)
