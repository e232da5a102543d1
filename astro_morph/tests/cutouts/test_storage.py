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

h5py = pytest.importorskip('h5py')

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
    for path, message in {table: 'is no file of cutouts', text: 'it is no HDF5 file'}.items():
        assert not holds_cutouts(path)
        for options in ({}, {'format': 'hdf5'}):
            with pytest.raises(ValueError, match=rf'{path.name}.* {message}'):
                CutoutSet.read(path, **options)


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


def put(name, values=None, **options):
    """Return a function that replaces a dataset of a file, or removes it."""

    def change(file):
        del file[name]
        if values is not None or options:
            file.create_dataset(name, data=values, **options)

    return change


def mark(**attributes):
    """Return a function that replaces attributes of a file, or removes them."""

    def change(file):
        for name, value in attributes.items():
            del file.attrs[name]
            if value is not None:
                file.attrs[name] = value

    return change


class TestHostile:
    """A file that no writer of cutouts has written is refused, and says what is wrong."""

    OTHER = {'external': [(__file__, 0, 80)]}

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (
                put('images', shape=IMAGES.shape, dtype=h5py.string_dtype()),
                'pieces, expected plain',
            ),
            (put('images', shape=IMAGES.shape, dtype=h5py.ref_dtype), 'has objects'),
            (put('images', IMAGES, compression=1), 'pieces, expected plain'),
            (put('images', np.ones(IMAGES.shape, 'i4')), "'images' has the type int32"),
            (put('images', np.ones(IMAGES.shape, 'c8')), "'images' has the type complex64"),
            (put('images', IMAGES[:, :1]), r'the shape \(4, 1, 6, 5\), expected \(4, 2, 6, 5\)'),
            (put('images', IMAGES[:3]), r"'status' has .* the shape \(4,\), expected \(3,\)"),
            (put('images', IMAGES[..., 0]), 'images must have the axes'),
            (put('images', 1.0), 'cannot be read'),
            (
                put('status', shape=4, dtype='S20', **OTHER),
                "'status' has its values in other files",
            ),
            (put('status', [0, 0, 0, 0]), "'status' has the type int64"),
            (put('status', np.array([b'\xff'] * 4)), 'cannot be read'),
            (put('flags', np.zeros(4)), "'flags' has the type float64"),
            (put('rotation', np.zeros((4, 1))), r'expected \(4,\)'),
            (put('centers', np.zeros(4)), r'expected \(4, 2\)'),
            (put('table', np.zeros(3, [('id', 'i4')])), "'table' has 3 rows, expected 4"),
            (put('table', np.zeros(4)), 'cannot be read'),
            (put('table.__table_column_meta__', [b'datatype: [']), 'cannot be read'),
            (mark(bands=None), "'bands' is missing"),
            (mark(bands=['g']), r'expected \(4, 1, 6, 5\)'),
            (mark(bands=7), 'cannot be read'),
            (mark(kind='x-ray'), 'kind must be one of'),
            (mark(zero_point='bright'), 'cannot be read'),
            (mark(pixel_scale='small'), 'cannot be read'),
            (mark(format='astro_morph cutouts 99'), 'is no file of cutouts'),
        ],
    )
    def test_file(self, tmp_path, change, message):
        path = tmp_path / 'hostile.h5'
        options = {'pixel_scale': 1 * u.arcsec, 'framing': '2 * r', 'zero_point': 22.5}
        CutoutSet(IMAGES, bands='gr', table=Table({'r': range(4)}), **options).write(path)
        with h5py.File(path, 'r+') as file:
            change(file)
        with pytest.raises(ValueError, match=rf'hostile\.h5.*{message}'):
            CutoutSet.read(path)

    @pytest.mark.parametrize('size', [9, 100, 2000, -1])
    def test_file_that_was_cut_off(self, tmp_path, size):
        path = tmp_path / 'half.h5'
        CutoutSet(IMAGES).write(path)
        path.write_bytes(path.read_bytes()[:size])
        for read in (CutoutSet.read, holds_cutouts):
            with pytest.raises(ValueError, match=r'half\.h5.* it is damaged'):
                read(path)


@pytest.mark.parametrize('dtype', ['f2', '>f4', 'f8'])
def test_other_floating_point_numbers_are_read(tmp_path, dtype):
    path = tmp_path / 'a.h5'
    CutoutSet(IMAGES).write(path)
    with h5py.File(path, 'r+') as file:
        put('images', IMAGES.astype(dtype))(file)
    images = CutoutSet.read(path).images
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, IMAGES, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('fraction', [0.1, 0.9, 0.999])
def test_full_disk_leaves_nothing(tmp_path, fraction):
    resource = pytest.importorskip('resource')
    cutouts = CutoutSet(IMAGES, table=make_table())
    cutouts.write(tmp_path / 'a.h5')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Writing more is an error, as on a full disk.
    limit = int(fraction * (tmp_path / 'a.h5').stat().st_size)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match='File too large'):
            cutouts.write(tmp_path / 'b.h5')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ['a.h5']
