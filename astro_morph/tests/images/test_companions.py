# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Of files and extensions of one sky the image is used, never a weight, a mask or a model."""

import numpy as np
import pytest
from astropy import log
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.cutouts import Mosaics
from astro_morph.images.companions import find_form, rank_names
from astro_morph.tests.cutouts.test_mosaics import CENTRE, make_noise, make_wcs, write

SHAPE = (60, 60)


def write_flat(path, value, **options):
    """Write an image that has one value everywhere."""
    path.parent.mkdir(exist_ok=True)
    options = {'shape': SHAPE} | options
    return write(path, np.full(options['shape'], value, np.float32), make_wcs(**options))


def value_of(mosaics):
    """Return the value at the centre of the sky in each band."""
    return mosaics.fetch(CENTRE, size=8).images[0, :, 4, 4].tolist()


FAMILIES = {
    'legacysurvey-0001m002-{}-g.fits': [
        ['image'],
        [
            'chi2',
            'invvar',
            'maskbits',
            'nexp',
            'depth',
            'galdepth',
            'psfsize',
            'model',
            'blobmodel',
        ],
    ],
    'hlsp_hlf_hst_acs_goodss_g_v2.0_{}.fits': [['sci'], ['wht', 'exp', 'rms']],
    'ceers_nircam_g_drz_{}.fits': [['sci'], ['err', 'wht', 'dq', 'var']],
    'rings.v3.skycell.1334.090.stk.g.unconv{}.fits': [[''], ['.mask', '.wt', '.num', '.exp']],
    'coadd-g{}.fits': [[''], ['.weight', '_flag', '-RMS']],
    'EUC_MER_{}-g_TILE1-A2.fits': [['BGSUB-MOSAIC'], ['MOSAIC-RMS', 'MOSAIC-FLAG', 'BGMOD']],
    'c4d_130831_{}_g_v1.fits': [['ooi'], ['oow', 'ood']],
    'unwise-0000p000-g-{}-m.fits': [['img'], ['invvar', 'std']],
    'KiDS_DR4.0_0.0_-30.2_g_{}.fits': [['sci'], ['wei', 'msk']],
}


@pytest.mark.parametrize('name', FAMILIES)
def test_image_of_each_survey_is_found_by_its_name(tmp_path, name):
    image, companions = FAMILIES[name]
    paths = [write_flat(tmp_path / name.format(kind), 7) for kind in companions]
    paths += [write_flat(tmp_path / name.format(*image), 100)]
    with log.log_to_list() as said:
        assert value_of(Mosaics({'g': tmp_path / '*'})) == [100]
    assert [record.message for record in said if 'left out as weights' in record.message]


def test_pattern_finds_bands_beside_companions(tmp_path):
    for brick, shift in (('a', 0), ('b', 50)):
        for kind, value in (('chi2', 3), ('image', 100), ('invvar', 7)):
            for band, offset in (('g', 0), ('r', 10)):
                path = tmp_path / f'{brick}-{kind}-{band}.fits'
                write_flat(path, value + offset, shift=(shift, 0))
        write_flat(tmp_path / f'{brick}-maskbits.fits', 1, shift=(shift, 0))
    mosaics = Mosaics(tmp_path / '*-{band}.fits')
    assert mosaics.bands == ('g', 'r')
    assert value_of(mosaics) == [100, 110]
    assert repr(mosaics).startswith('<Mosaics: 4 images, 2 bands (g, r)')


def test_words_that_all_names_share_tell_nothing(tmp_path):
    write_flat(tmp_path / 'deep-model-g.fits', 5)
    write_flat(tmp_path / 'deep-model-r.fits', 6)
    assert value_of(Mosaics(tmp_path / '*-model-{band}.fits')) == [5, 6]
    assert rank_names(['weights/tile-1-g.fits', 'weights/tile-2-g.fits']) == [0, 0]
    assert rank_names(['image/tile-g.fits', 'invvar/tile-g.fits']) == [1, -1]


def test_folders_may_have_the_names(tmp_path):
    write_flat(tmp_path / 'science' / 'tile-g.fits', 100)
    write_flat(tmp_path / 'background' / 'tile-g.fits', 7)
    assert value_of(Mosaics(tmp_path / '*' / 'tile-{band}.fits')) == [100]


def test_companion_without_its_image_is_left_out_too(tmp_path):
    write_flat(tmp_path / 'a-g.fits', 100, shift=(500, 0))
    write_flat(tmp_path / 'a-mask-g.fits', 1, shift=(500, 0))
    write_flat(tmp_path / 'b-mask-g.fits', 1)
    mosaics = Mosaics(tmp_path / '*g.fits')
    assert mosaics.fetch(CENTRE, size=8).status == ['no_coverage']


@pytest.mark.parametrize('names', [('a', 'b'), ('x-image', 'y-image'), ('x-model', 'y-resid')])
@pytest.mark.parametrize('other', [{}, {'scale': 0.8, 'shape': (30, 30)}])
def test_one_sky_under_names_that_do_not_tell_is_an_error(tmp_path, names, other):
    write_flat(tmp_path / f'{names[0]}.fits', 1)
    write_flat(tmp_path / f'{names[1]}.fits', 2, **other)
    message = (
        rf"^paths: .*{names[0]}\.fits.*{names[1]}\.fits.* the same part of the sky in band '0'"
    )
    with pytest.raises(ValueError, match=message):
        Mosaics(tmp_path / '*.fits')


def test_file_that_is_listed_twice_is_read_once(tmp_path):
    path = write_flat(tmp_path / 'a.fits', 1)
    assert repr(Mosaics([path, tmp_path / '*.fits'])).startswith('<Mosaics: 1 images')


@pytest.mark.parametrize(
    'other',
    [
        {'shift': (1, 0)},
        {'shift': (0.5, 0.5)},
        {'shift': (-3.3, 7.8)},
        {'angle': 90.5},
        {'shape': (64, 60)},
        {'scale': 0.8},
        {'scale': 0.404},
    ],
)
def test_dithers_and_overlapping_tiles_are_used_together(tmp_path, other):
    write_flat(tmp_path / 'a.fits', 1)
    write_flat(tmp_path / 'b.fits', 1, **other)
    assert repr(Mosaics(tmp_path / '*.fits')).startswith('<Mosaics: 2 images')


def write_extensions(path, names, values, *, shifts=None, primary=None):
    shifts = shifts or [0] * len(names)
    hdus = [fits.PrimaryHDU() if primary is None else primary]
    for name, value, shift in zip(names, values, shifts, strict=True):
        header = make_wcs(shape=SHAPE, shift=(shift, 0)).to_header()
        hdus.append(fits.ImageHDU(np.full(SHAPE, value, np.float32), header, name=name))
    fits.HDUList(hdus).writeto(path)
    return path


class TestExtensions:
    @pytest.mark.parametrize(
        'names',
        [
            ['ERR', 'SCI', 'DQ', 'WHT'],
            ['MASK', 'IMAGE', 'VARIANCE', None],
            ['WGT', 'SCI', 'MSK', 'CTX'],
            ['VAR_POISSON', None, 'CON', 'VAR_FLAT'],
            ['3-4.E.RMS', '3-4.E.SCI', '3-4.E.FLG'],
        ],
    )
    def test_science_is_used_without_noise(self, tmp_path, names):
        names = [name for name in names if name or 'IMAGE' not in names]
        path = write_extensions(tmp_path / 'a.fits', names, range(len(names)))
        with log.log_to_list() as said:
            assert value_of(Mosaics(path)) == [1]
        assert not said

    @pytest.mark.parametrize('name', ['a.fits', 'a.fits.gz'])
    def test_each_detector_of_a_camera_is_a_tile(self, tmp_path, name):
        names = ['SCI', 'ERR', 'SCI', 'ERR']
        path = write_extensions(tmp_path / name, names, [1, 9, 2, 9], shifts=[0, 0, 60, 60])
        mosaics = Mosaics(path)
        assert repr(mosaics).startswith('<Mosaics: 2 images')
        coords = make_wcs(shape=SHAPE).pixel_to_world([30, -30], [30, 30])
        assert mosaics.fetch(coords, size=8).images[:, 0, 4, 4].tolist() == [1, 2]
        by_name = Mosaics(path, hdu='err').fetch(coords, size=8)
        assert by_name.images[:, 0, 4, 4].tolist() == [9, 9]

    def test_others_of_the_same_sky_are_named(self, tmp_path):
        path = write_extensions(tmp_path / 'a.fits', ['ONE', None, 'TWO'], [1, 2, 3])
        with pytest.warns(
            AstropyUserWarning, match=r'\[1 ONE\].*\[2\].*\[3 TWO\].* the first is used'
        ):
            mosaics = Mosaics(path)
        assert value_of(mosaics) == [1]

    def test_images_without_place_on_the_sky_are_not(self, tmp_path):
        primary = fits.PrimaryHDU(make_noise(SHAPE))
        path = write_extensions(tmp_path / 'a.fits', ['ONE'], [1], primary=primary)
        assert value_of(Mosaics(path)) == [1]

    @pytest.mark.parametrize('tail', [b'\0' * 100, b' ' * 2880, b'junk' * 800])
    def test_bytes_behind_the_last_are_ignored(self, tmp_path, tail):
        path = write_extensions(tmp_path / 'a.fits', ['SCI', 'SCI'], [1, 2], shifts=[0, 60])
        path.write_bytes(path.read_bytes() + tail)
        assert value_of(Mosaics(path)) == [1]


@pytest.mark.parametrize(
    ('name', 'image', 'form'),
    [
        ('VARIANCE', 'IMAGE', 'variance'),
        ('ERR', 'SCI', 'error'),
        ('ERR', 'PRIMARY', 'error'),
        ('IVM', 'SCI', 'inverse'),
        ('invvar', '', 'inverse'),
        ('WHT', 'SCI', 'weight'),
        ('DQ', 'SCI', 'mask'),
        ('maskbits', 'image', 'mask'),
        ('3-4.E.RMS', '3-4.E.SCI', 'error'),
        ('3-4.E.RMS', '3-4.F.SCI', None),
        ('VAR_POISSON', 'SCI', None),
        ('CTX', 'SCI', None),
        ('SCI', 'ERR', None),
        ('a/brick-invvar-r.fits', 'a/brick-image-r.fits', 'inverse'),
        ('a/brick-maskbits.fits', 'a/brick-image-r.fits', 'mask'),
        ('a/brick-invvar-g.fits', 'a/brick-image-r.fits', None),
        ('a/other-invvar-r.fits', 'a/brick-image-r.fits', None),
        ('coadd-g.weight.fits', 'coadd-g.fits', 'weight'),
        ('invvar/tile.fits', 'image/tile.fits', 'inverse'),
    ],
)
def test_companions_say_what_they_hold(name, image, form):
    assert find_form(name, image) == form
