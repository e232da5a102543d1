# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `ImageFiles`: every format, and every fault of a file."""

import bz2
import gzip
import os
import pickle
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy import log
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyUserWarning
from PIL import Image

from astro_morph import decode_flags
from astro_morph.cutouts import ImageFiles

# Many files are read alone, and have no image.
pytestmark = pytest.mark.filterwarnings('ignore:X. none of')

FLUX = np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32)
PICTURE = np.random.default_rng(1).integers(0, 256, (12, 12, 3)).astype(np.uint8)


def fetch(folder, *names, size=None, **keywords):
    table = Table({'path': np.array(names, dtype=object)})
    return ImageFiles(folder=folder, **keywords).fetch(table, size=size)


def cut_short(path, fraction):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.bmp'])
def test_lossless_pictures(tmp_path, name):
    Image.fromarray(PICTURE).save(tmp_path / name)
    cutouts = fetch(tmp_path, name)
    assert cutouts.kind == 'picture'
    assert cutouts.bands == ('red', 'green', 'blue')
    # A file begins with the highest row, a cutout with the lowest.
    np.testing.assert_array_equal(cutouts.images[0], PICTURE[::-1].transpose(2, 0, 1))


def test_jpeg(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(32))[..., np.newaxis] * [1, 2, 3]
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / 'a.jpg', quality=95, subsampling=0)
    cutouts = fetch(tmp_path, 'a.jpg')
    assert cutouts.bands == ('red', 'green', 'blue')
    np.testing.assert_allclose(cutouts.images[0], smooth[::-1].transpose(2, 0, 1), atol=6)


@pytest.mark.parametrize('mode', ['RGBA', 'P', 'CMYK'])
def test_pictures_of_other_modes_become_red_green_and_blue(tmp_path, mode):
    picture = Image.fromarray(np.broadcast_to(np.array([255, 0, 0], np.uint8), (12, 12, 3)))
    if mode == 'RGBA':
        picture.putalpha(100)
    picture = picture.convert(mode)
    picture.save(tmp_path / 'a.tif')
    images = fetch(tmp_path, 'a.tif').images
    np.testing.assert_array_equal(images[0, :, 0, 0], [255, 0, 0])


def test_grey_pictures_have_one_band(tmp_path):
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / 'a.png')
    Image.fromarray(PICTURE[..., 0]).convert('LA').save(tmp_path / 'b.png')
    cutouts = fetch(tmp_path, 'a.png', 'b.png')
    assert cutouts.bands == ('grey',)
    np.testing.assert_array_equal(cutouts.images[:, 0], [PICTURE[::-1, :, 0]] * 2)


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_deep_tiffs_are_flux(tmp_path, dtype):
    data = (1000 * np.abs(FLUX[0])).astype(dtype)
    Image.fromarray(data).save(tmp_path / 'a.tif')
    cutouts = fetch(tmp_path, 'a.tif')
    assert cutouts.kind == 'flux'
    assert cutouts.bands == ('0',)
    np.testing.assert_array_equal(cutouts.images[0, 0], data[::-1])


@pytest.mark.parametrize('layout', ['grey', 'first', 'last', 'long'])
@pytest.mark.parametrize('suffix', ['npy', 'fits', 'fits.gz', 'fits.bz2', 'fits.fz'])
def test_arrays_and_where_their_bands_are(tmp_path, layout, suffix):
    data = {
        'grey': FLUX[0],
        'first': FLUX,
        'last': FLUX.transpose(1, 2, 0),
        'long': FLUX[np.newaxis],
    }[layout]
    path = tmp_path / f'a.{suffix}'
    if suffix == 'npy':
        np.save(path, data)
    elif suffix == 'fits.fz':
        fits.CompImageHDU(data, compression_type='GZIP_2', quantize_level=0).writeto(path)
    else:
        fits.PrimaryHDU(data).writeto(path)
    cutouts = fetch(tmp_path, path.name)
    assert cutouts.kind == 'flux'
    np.testing.assert_array_equal(cutouts.images[0], FLUX[:1] if layout == 'grey' else FLUX)


def test_extensions_of_fits_files(tmp_path):
    hdus = [fits.ImageHDU(plane, name=name) for plane, name in zip(FLUX, 'ABC', strict=True)]
    table = fits.BinTableHDU(Table({'a': [1, 2]}), name='T')
    fits.HDUList([fits.PrimaryHDU(), table, *hdus]).writeto(tmp_path / 'a.fits')
    names = ['a.fits', 'a.fits[3]', 'a.fits[C]', 'a.fits[9]', 'a.fits[X]', 'a.fits[T]']
    with pytest.warns(AstropyUserWarning, match=r"'2 A', '3 B', '4 C'.*as in 'image.fits\[4\]'"):
        cutouts = fetch(tmp_path, *names)
    assert cutouts.status.tolist() == ['ok'] * 3 + ['not_an_image'] * 3
    np.testing.assert_array_equal(cutouts.images[:3, 0], FLUX)


def test_scaled_integers_with_blanks(tmp_path):
    header = fits.Header({'BLANK': 5, 'BSCALE': 0.5, 'BZERO': 1.0})
    hdu = fits.PrimaryHDU(np.arange(16, dtype=np.int16).reshape(4, 4))
    hdu.header.update(header)
    hdu.writeto(tmp_path / 'a.fits')
    cutouts = fetch(tmp_path, 'a.fits')
    expected = np.arange(16) * 0.5 + 1
    expected[5] = np.nan
    np.testing.assert_array_equal(cutouts.images.ravel(), expected)
    assert decode_flags(cutouts.flags) == [['missing_pixels']]


def test_missing_bands_and_infinite_pixels(tmp_path):
    data = FLUX.copy()
    data[1] = np.nan
    data[0, 0, 0] = np.inf
    np.save(tmp_path / 'a.npy', data)
    np.save(tmp_path / 'b.npy', np.full_like(FLUX, np.nan))
    cutouts = fetch(tmp_path, 'a.npy', 'b.npy')
    assert cutouts.status.tolist() == ['ok', 'all_nan']
    assert decode_flags(cutouts.flags) == [['missing_pixels', 'missing_band'], []]
    assert np.isnan(cutouts.images[0, 0, 0, 0])


@pytest.mark.parametrize('fraction', [0, 0.02, 0.6, 0.8])
@pytest.mark.parametrize(
    'name', ['a.jpg', 'a.png', 'a.tif', 'a.npy', 'a.fits', 'a.fits.gz', 'a.fits.bz2', 'a.fits.fz']
)
def test_files_that_were_cut_off(tmp_path, name, fraction):
    path = tmp_path / name
    data = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.int32)
    if name.endswith('npy'):
        np.save(path, data)
    elif name.endswith('fz'):
        fits.CompImageHDU(data).writeto(path)
    elif 'fits' in name:
        fits.PrimaryHDU(data).writeto(path)
    else:
        Image.fromarray(data.astype(np.uint8)).save(path)
    assert fetch(tmp_path, name).is_ok.all()
    cut_short(path, fraction)
    assert fetch(tmp_path, name).status == ['truncated']


def test_a_fits_file_cut_between_blocks_is_truncated(tmp_path):
    fits.PrimaryHDU(np.zeros((100, 100))).writeto(tmp_path / 'a.fits')
    data = (tmp_path / 'a.fits').read_bytes()
    (tmp_path / 'a.fits').write_bytes(data[: 4 * 2880])
    assert fetch(tmp_path, 'a.fits').status == ['truncated']


@pytest.mark.parametrize('tail', [b'\0' * 100, b'\0' * 2880, b' ' * 2880, b'junk', b'junk' * 720])
@pytest.mark.parametrize('name', ['a.fits', 'a.fits.fz', 'a.fits.gz', 'a.fits.bz2'])
def test_bytes_behind_the_last_fits_block_are_ignored(tmp_path, name, tail):
    path = tmp_path / name.removesuffix('.gz').removesuffix('.bz2')
    if name.endswith('fz'):
        fits.CompImageHDU(FLUX[0], compression_type='GZIP_2', quantize_level=0).writeto(path)
    else:
        fits.PrimaryHDU(FLUX[0]).writeto(path)
    content = path.read_bytes() + tail
    compress = {'gz': gzip.compress, 'bz2': bz2.compress}.get(name.split('.')[-1], bytes)
    (tmp_path / name).write_bytes(compress(content))
    cutouts = fetch(tmp_path, name, f'{name}[7]')
    assert cutouts.status.tolist() == ['ok', 'not_an_image']
    np.testing.assert_array_equal(cutouts.images[0, 0], FLUX[0])


def test_fits_file_without_padding_is_whole(tmp_path):
    fits.PrimaryHDU(FLUX).writeto(tmp_path / 'a.fits')
    path = tmp_path / 'a.fits'
    path.write_bytes(path.read_bytes()[: 2880 + FLUX.nbytes])
    cutouts = fetch(tmp_path, 'a.fits')
    np.testing.assert_array_equal(cutouts.images[0], FLUX)


@pytest.mark.parametrize('names', [['ERR', 'SCI', 'DQ'], ['VARIANCE', 'IMAGE'], ['WHT', '']])
def test_weights_and_masks_in_fits_files_are_passed_over(tmp_path, names):
    hdus = [fits.ImageHDU(plane, name=name) for plane, name in zip(FLUX, names, strict=False)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / 'a.fits')
    images = fetch(tmp_path, 'a.fits', f'a.fits[{names[0]}]').images
    np.testing.assert_array_equal(images[:, 0], FLUX[[1, 0]])


def test_tilde_is_the_home_of_the_user(tmp_path, monkeypatch):
    (tmp_path / 'sub').mkdir()
    np.save(tmp_path / 'sub' / 'a.npy', FLUX)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    assert fetch('~/sub', 'a.npy').is_ok.all()
    assert fetch(None, '~/sub/a.npy').is_ok.all()


def test_files_that_hold_no_image(tmp_path):
    for name in ('a.fits', 'a.jpg', 'a.npy', 'a.txt'):
        (tmp_path / name).write_text('no image, but some text')
    np.save(tmp_path / 'objects.npy', np.array([{}, None]), allow_pickle=True)
    np.save(tmp_path / 'words.npy', np.array([['a', 'b'], ['c', 'd']]))
    np.save(tmp_path / 'line.npy', np.zeros(5))
    np.save(tmp_path / 'none.npy', np.zeros((0, 5)))
    Table({'a': [1, 2]}).write(tmp_path / 'table.fits')
    names = sorted(os.listdir(tmp_path))
    assert set(fetch(tmp_path, *names).status) == {'not_an_image'}


def test_files_that_are_not_there(tmp_path):
    np.save(tmp_path / 'a.npy', FLUX)
    (tmp_path / 'folder.npy').mkdir()
    cutouts = fetch(tmp_path, 'a.npy', 'b.npy', 'c.fits[1]', 'folder.npy', 'a.npy/b.npy', '\0')
    expected = ['ok', 'not_found', 'not_found', 'unreadable', 'unreadable', 'unreadable']
    assert cutouts.status.tolist() == expected
    assert np.isnan(cutouts.images[1:]).all()


def test_rows_without_path(tmp_path):
    np.save(tmp_path / 'a.npy', FLUX)
    table = Table({'file': MaskedColumn(['a.npy', 'a.npy', '', '  '], mask=[0, 1, 0, 0])})
    source = ImageFiles(folder=tmp_path)
    assert source.fetch(table).status.tolist() == ['ok'] + ['no_path'] * 3
    cells = [tmp_path / 'a.npy', None, b'a.npy', np.nan, 3]
    table = Table({'x': np.array(cells, dtype=object)})
    source = ImageFiles('x', folder=tmp_path)
    assert source.fetch(table).status.tolist() == ['ok', 'no_path', 'ok', 'no_path', 'no_path']
    table = Table({'path': [b'a.npy']})
    assert ImageFiles(folder=tmp_path).fetch(table).is_ok.all()


def test_paths_are_relative_to_the_folder(tmp_path, monkeypatch):
    (tmp_path / 'sub').mkdir()
    np.save(tmp_path / 'sub' / 'a.npy', FLUX)
    absolute = str(tmp_path / 'sub' / 'a.npy')
    assert fetch(tmp_path, 'sub/a.npy', absolute, 'a.npy').is_ok.tolist() == [True, True, False]
    monkeypatch.chdir(tmp_path / 'sub')
    assert fetch(None, 'a.npy').is_ok.all()
    assert fetch(Path('..'), 'sub/a.npy').is_ok.all()


def test_the_column_is_found_or_named(tmp_path):
    np.save(tmp_path / 'a.npy', FLUX)
    table = Table({'id': [1], 'name': ['a.npy']})
    assert ImageFiles('name', folder=tmp_path).fetch(table).is_ok.all()
    with pytest.raises(ValueError, match=r"no column whose name.*\['id', 'name'\]"):
        ImageFiles().fetch(table)
    with pytest.raises(ValueError, match="no column 'where'"):
        ImageFiles('where').fetch(table)


def test_most_images_decide_on_size_and_bands(tmp_path):
    for i in range(3):
        np.save(tmp_path / f'{i}.npy', FLUX)
    np.save(tmp_path / 'large.npy', np.zeros((3, 20, 20)))
    np.save(tmp_path / 'grey.npy', FLUX[0])
    Image.fromarray(PICTURE).save(tmp_path / 'a.png')
    names = ['large.npy', '0.npy', 'grey.npy', '1.npy', 'a.png', '2.npy']
    expected = ['wrong_size', 'ok', 'wrong_bands', 'ok', 'wrong_bands', 'ok']
    for size in (None, 6):
        cutouts = fetch(tmp_path, *names, size=size)
        assert cutouts.status.tolist() == expected
        assert cutouts.shape == (6, 3, size or 12, size or 12)
    assert cutouts.kind == 'flux'


def test_the_centre_is_cut(tmp_path):
    np.save(tmp_path / 'a.npy', FLUX)
    np.save(tmp_path / 'wide.npy', np.tile(np.arange(10.0), (6, 1)))
    cutouts = fetch(tmp_path, 'a.npy', size=6)
    np.testing.assert_array_equal(cutouts.images[0], FLUX[:, 3:9, 3:9])
    assert fetch(tmp_path, 'wide.npy').images[0, 0, 0].tolist() == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize('size', [13, 0, 4.0, 5 * u.arcsec])
def test_a_wrong_size_is_an_error(tmp_path, size):
    np.save(tmp_path / 'a.npy', FLUX)
    with pytest.raises(ValueError, match='size must be a number of pixels from 1 to 12'):
        fetch(tmp_path, 'a.npy', size=size)


def test_bands_are_named_or_wrong(tmp_path):
    np.save(tmp_path / 'a.npy', FLUX)
    assert fetch(tmp_path, 'a.npy').bands == ('0', '1', '2')
    assert fetch(tmp_path, 'a.npy', bands='grz').bands == ('g', 'r', 'z')
    with pytest.raises(ValueError, match=r'2 bands .* most images have 3'):
        fetch(tmp_path, 'a.npy', bands='gr')


def test_no_image_at_all_and_no_row_at_all(tmp_path):
    cutouts = fetch(tmp_path, 'a.npy', 'b.npy', bands='gr', size=5)
    assert cutouts.shape == (2, 2, 5, 5)
    assert set(cutouts.status) == {'not_found'}
    assert len(fetch(tmp_path, 'a.npy')[:0]) == 0
    empty = Table({'path': np.zeros(0, 'U5')})
    assert len(ImageFiles().fetch(empty)) == 0


def test_stream_gives_what_fetch_gives(tmp_path):
    names = [f'{i}.npy' for i in range(11)]
    for i, name in enumerate(names[3:]):
        np.save(tmp_path / name, FLUX + i)
    # Most of the last batch is of another size, most of the catalogue is not.
    for name in names[8:10]:
        np.save(tmp_path / name, np.zeros((3, 30, 30)))
    table = Table({'path': names})
    before = table.copy()
    source = pickle.loads(pickle.dumps(ImageFiles(folder=tmp_path)))
    whole = source.fetch(table, size=8)
    parts = list(source.stream(table, size=8, batch_size=4))
    assert [len(part) for part in parts] == [4, 4, 3]
    for name in ('images', 'status', 'flags'):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert whole.table is table
    assert (table == before).all()


def test_band_axis_that_comes_last_is_said_once(tmp_path, monkeypatch):
    np.save(tmp_path / 'a.npy', np.ones((19, 17, 3)))
    table = Table({'path': ['a.npy'] * 40})
    say = log.info

    def say_slowly(text):
        # Long enough for the other threads that read files to come to the same place.
        time.sleep(0.05)
        say(text)

    monkeypatch.setattr(log, 'info', say_slowly)
    with log.log_to_list() as said:
        assert ImageFiles(folder=tmp_path).fetch(table).shape == (40, 3, 17, 17)
    assert [record.message for record in said if '(19, 17, 3)' in record.message] == [
        'FITS and NumPy images of shape (19, 17, 3): the last axis is taken as the bands'
    ]
