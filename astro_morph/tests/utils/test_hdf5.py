# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""HDF5 files of any origin end in values or a ValueError; full disks in an OSError."""

import os
import struct

import numpy as np
import pytest

from astro_morph.catalog.io.hdf5 import read_hdf5
from astro_morph.utils import hdf5
from astro_morph.utils.hdf5 import Hdf5File, create_hdf5, is_hdf5

h5py = pytest.importorskip('h5py')

PLAIN = np.array([(1, b'a', True), (2, b'bb', False)], [('id', 'i4'), ('name', 'S3'), ('ok', '?')])


def text_of_any_length():
    table = np.zeros(2, [('id', 'i4'), ('name', h5py.string_dtype()), ('ok', '?')])
    table['id'], table['name'], table['ok'] = [1, 2], ['a', 'bb'], [True, False]
    return table


def space_padded():
    """Text as Fortran writes it, which NumPy would read with its spaces."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(3)
    kind.set_strpad(h5py.h5t.STR_SPACEPAD)
    return kind


@pytest.mark.parametrize(
    ('values', 'options'),
    [
        (PLAIN, {}),
        (PLAIN, {'chunks': (1,)}),
        (PLAIN, {'compression': 'gzip'}),
        (PLAIN, {'compression': 'lzf', 'shuffle': True, 'fletcher32': True}),
        (PLAIN, {'maxshape': (None,)}),
        (PLAIN.astype([('id', '>i4'), ('name', 'S3'), ('ok', '?')]), {}),
        (text_of_any_length(), {}),
        (text_of_any_length(), {'compression': 'gzip'}),
    ],
    ids=['plain', 'chunks', 'gzip', 'lzf', 'extensible', 'big-endian', 'text', 'packed text'],
)
def test_tables_however_they_are_stored(tmp_path, values, options):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('numbers', data=[1.0])
        file.create_dataset('group/data', data=values, **options)
    table = read_hdf5(tmp_path / 'a.h5')
    assert table['id'].tolist() == [1, 2]
    assert table['name'].tolist() == ['a', 'bb']
    assert table['ok'].tolist() == [True, False]


def test_types_that_numpy_lacks_are_converted(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        space = h5py.h5s.create_simple((2,))
        text = h5py.h5d.create(file.id, b'text', space_padded(), space)
        text.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([b'a', b'bb'], 'S3'))
    assert Hdf5File(tmp_path / 'a.h5').array('text').tolist() == [b'a', b'bb']


@pytest.mark.parametrize('shape', [(), (0,), (3,), (2, 3)])
def test_arrays_of_any_shape(tmp_path, shape):
    values = np.arange(np.prod(shape, dtype=int), dtype='f4').reshape(shape)
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['plain'] = values
        if shape:
            file.create_dataset('packed', data=values, compression=1, chunks=True, maxshape=shape)
    file = Hdf5File(tmp_path / 'a.h5')
    for name in file.datasets:
        np.testing.assert_array_equal(file.array(name), values)
    assert set(file.datasets) == ({'plain', 'packed'} if shape else {'plain'})


class TestOtherFiles:
    """A file must not say which other files are read."""

    KIND = np.dtype([('secret', 'S8')])

    @pytest.fixture
    def path(self, tmp_path):
        (tmp_path / 'secret').write_bytes(b'TOPSECRET' * 10)
        with h5py.File(tmp_path / 'other.h5', 'w') as file:
            file['data'] = np.array([(b'SECRET',)], self.KIND)
        return tmp_path / 'a.h5'

    def external(self, file, folder):
        secret = [(str(folder / 'secret'), 0, 16)]
        file.create_dataset('data', (2,), self.KIND, external=secret)

    def virtual(self, file, folder):
        layout = h5py.VirtualLayout((1,), self.KIND)
        layout[:] = h5py.VirtualSource(folder / 'other.h5', 'data', (1,))
        file.create_virtual_dataset('data', layout)

    def link(self, file, folder):
        file['data'] = h5py.ExternalLink(folder / 'other.h5', 'data')

    def link_to_link(self, file, folder):
        file['far'] = h5py.ExternalLink(folder / 'other.h5', '/')
        file['data'] = h5py.SoftLink('/far/data')

    @pytest.mark.parametrize(
        ('make', 'message'),
        [
            (external, 'has its values in other files'),
            (virtual, 'has its values in other files'),
            (link, 'is missing'),
            (link_to_link, 'is missing'),
        ],
    )
    def test_are_not_opened(self, path, make, message):
        with h5py.File(path, 'w') as file:
            make(self, file, path.parent)
        with pytest.raises(ValueError, match=message):
            Hdf5File(path).array('data')
        with pytest.raises(ValueError, match=r'has its values|no dataset is a table'):
            read_hdf5(path)


@pytest.mark.parametrize(
    ('dtype', 'message'),
    [
        (h5py.vlen_dtype('f4'), "'data' has objects, expected numbers or text"),
        (h5py.ref_dtype, "'data' has objects"),
        ([('id', 'i4'), ('list', h5py.vlen_dtype('i4'))], "'data' has a column 'list' of objects"),
        ([('id', 'i4'), ('link', h5py.regionref_dtype)], "'data' has a column 'link' of objects"),
    ],
)
def test_objects_are_refused(tmp_path, dtype, message):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('data', (2,), dtype)
    with pytest.raises(ValueError, match=message):
        Hdf5File(tmp_path / 'a.h5').array('data')


def test_values_that_no_file_of_its_size_holds_are_refused(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('data', (10**12,), 'f8', chunks=True)
    with pytest.raises(ValueError, match=r'take 8e\+03 GB, too many for its file'):
        Hdf5File(tmp_path / 'a.h5').array('data')


class TestDamage:
    @pytest.fixture
    def damaged(self, tmp_path):
        """Write a file, change its bytes, and return its path."""

        def damaged(change):
            path = tmp_path / 'a.h5'
            with h5py.File(path, 'w') as file:
                file['data'] = PLAIN
            path.write_bytes(change(path.read_bytes()))
            return path

        return damaged

    @staticmethod
    def circle(content):
        """The node to the right of the only one of a tree is itself: HDF5 goes on for ever."""
        start = content.index(b'TREE')
        return content[: start + 16] + struct.pack('<Q', start) + content[start + 24 :]

    @staticmethod
    def spiral(content):
        """The node below the only one of a tree is itself: HDF5 ends the process."""
        start = content.index(b'TREE')
        below = content[: start + 5] + b'\1' + content[start + 6 :]
        return below[: start + 32] + struct.pack('<Q', start) + below[start + 40 :]

    @pytest.mark.parametrize(
        'change',
        [
            circle,
            spiral,
            lambda content: content[:-1],
            lambda content: content[:100],
            lambda content: content.replace(b'TREE', b'EERT'),
            lambda content: content[:8],
        ],
        ids=['circle', 'spiral', 'last byte', 'header', 'no tree', 'signature'],
    )
    def test_is_an_error_in_a_moment(self, damaged, monkeypatch, change):
        monkeypatch.setattr(hdf5, '_PATIENCE', 3)
        change = getattr(change, '__func__', change)
        with pytest.raises(ValueError, match='it is damaged: HDF5 cannot read it'):
            Hdf5File(damaged(change)).array('data')

    def test_file_that_is_none(self, tmp_path):
        (tmp_path / 'a.h5').write_text('nothing of the kind')
        with pytest.raises(ValueError, match='it is no HDF5 file'):
            Hdf5File(tmp_path / 'a.h5')
        with pytest.raises(FileNotFoundError, match=r'there is no file .*b\.h5'):
            Hdf5File(tmp_path / 'b.h5')

    @pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='Windows has no such pipes')
    def test_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / 'a.h5')
        assert not is_hdf5(tmp_path / 'a.h5')

    def test_file_that_was_replaced_is_read_again(self, tmp_path):
        for number in range(3):
            with h5py.File(tmp_path / 'a.h5', 'w') as file:
                file['data'] = [number] * (number + 1)
            assert Hdf5File(tmp_path / 'a.h5').array('data').tolist() == [number] * (number + 1)


def test_signature_may_follow_what_others_wrote(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w', userblock_size=2048) as file:
        file['data'] = PLAIN
    assert is_hdf5(tmp_path / 'a.h5')
    assert read_hdf5(tmp_path / 'a.h5')['id'].tolist() == [1, 2]


@pytest.fixture
def small_disk():
    """Limit the size of files, which ends in the same error of a write as a full disk."""
    resource = pytest.importorskip('resource')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(file):
    file['data'] = np.zeros(1000)
    for number in range(10):
        file.attrs[f'attribute {number}'] = 'a' * 100
        file[f'group {number}/data'] = PLAIN


@pytest.mark.parametrize('fraction', [0, 0.1, 0.5, 0.8, 0.9, 0.95, 0.99])
def test_full_disk_is_an_error_of_the_system(tmp_path, small_disk, fraction):
    with create_hdf5(tmp_path / 'whole.h5') as (file, _):
        fill(file)
    small_disk(int(fraction * (tmp_path / 'whole.h5').stat().st_size))
    with (
        pytest.raises(OSError, match='File too large'),
        create_hdf5(tmp_path / 'a.h5') as (file, _),
    ):
        fill(file)


def test_full_disk_is_noticed_on_the_way(tmp_path, small_disk):
    small_disk(100)

    def write(file, check):
        file['data'] = np.zeros(100_000)
        check()
        pytest.fail('the work went on')

    with pytest.raises(OSError, match='File too large'), create_hdf5(tmp_path / 'a.h5') as opened:
        write(*opened)
