# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of planes: which extensions hold variance and mask, and what their values mean."""

import numpy as np
import pytest
from astropy.io import fits

from astro_morph.images.planes.files import CompanionFiles
from astro_morph.images.planes.finding import bad_bits, find_planes
from astro_morph.images.planes.masked_image import MaskedImage, resample_planes
from astro_morph.images.planes.plane import to_mask, to_variance
from astro_morph.images.reading import read_masked_image

SHAPE = (6, 5)


def make_file(**values):
    """Return a file with one extension for each name, filled with a value."""
    hdus = [fits.PrimaryHDU()]
    for name, value in values.items():
        kind = np.int32 if name in ('DQ', 'MASK', 'maskbits') else np.float32
        hdus.append(fits.ImageHDU(np.full(SHAPE, value, kind), name=name))
    return fits.HDUList(hdus)


@pytest.mark.parametrize(
    ('extensions', 'variance', 'is_masked'),
    [
        ({'SCI': 1}, None, None),
        ({'IMAGE': 1, 'MASK': 0, 'VARIANCE': 4}, 4, False),
        ({'SCI': 1, 'ERR': 3, 'DQ': 8}, 9, True),
        ({'SCI': 1, 'ERR': 3, 'WHT': 50, 'VAR_POISSON': 2}, 9, False),
        ({'SCI': 1, 'RMS': np.nan}, np.nan, False),
        ({'SCI': 1, 'ERR': 0}, np.nan, False),
        ({'SCI': 1, 'WHT': 0.25}, 4, False),
        ({'SCI': 1, 'IVM': 0.5, 'WHT': 7}, 2, False),
        ({'image': 1, 'invvar': 0}, np.nan, True),
        ({'image': 1, 'invvar': 0.5, 'maskbits': 0}, 2, False),
        ({'image': 1, 'maskbits': 0x1002}, None, False),
        ({'image': 1, 'maskbits': 0x40}, None, True),
        ({'image': 1, 'maskbits': 0x20}, None, False),
        ({'SCI': 1, 'CTX': 3, 'EXP': 5}, None, None),
    ],
)
def test_planes_are_recognised_by_their_names(extensions, variance, is_masked):
    image = read_masked_image(make_file(**extensions), band='r')
    assert (image.image.data == 1).all()
    if variance is None:
        assert image.variance is None
    else:
        np.testing.assert_array_equal(image.variance, np.full(SHAPE, variance, np.float32))
    if is_masked is None:
        assert image.mask is None
    else:
        assert (image.mask == is_masked).all()


def test_order_of_extensions_is_free():
    image = read_masked_image(make_file(ERR=2, DQ=1, SCI=5))
    assert (image.image.data == 5).all()
    assert (image.variance == 4).all()
    assert image.mask.all()


@pytest.mark.parametrize('change', ['shape', 'place', 'version'])
def test_planes_of_other_images_are_not_taken(change):
    hdus = make_file(SCI=1, ERR=2)
    hdus[1].header['CRPIX1'] = 10.0
    hdus[2].header['CRPIX1'] = 10.0
    assert find_planes(hdus, 1).keys() == {'variance'}
    if change == 'shape':
        hdus[2].data = np.ones((6, 6))
    elif change == 'place':
        hdus[2].header['CRPIX1'] = 11.0
    else:
        hdus[2].ver = 2
    assert not find_planes(hdus, 1)


def test_each_detector_has_its_own():
    hdus = make_file(SCI=1, ERR=2, DQ=0)
    others = make_file(SCI=5, ERR=3, DQ=1)[1:]
    for hdu in others:
        hdu.ver = 2
    hdus = fits.HDUList([*hdus, *others])
    for hdu, variance, is_masked in ((('SCI', 1), 4, False), (('SCI', 2), 9, True)):
        number = hdus.index_of(hdu)
        planes = find_planes(hdus, number)
        assert hdus[planes['variance'].number].data[0, 0] ** 2 == variance
        assert bool(hdus[planes['mask'].number].data[0, 0]) == is_masked


def test_exposure_times_of_drizzled_images_are_no_variance():
    hdus = make_file(SCI=1, WHT=2000)
    hdus[0].header['NDRIZIM'] = 4
    assert not find_planes(hdus, 1)


def test_compressed_extensions_are_read():
    hdus = make_file(SCI=1, ERR=3, MASK=4)
    packed = [fits.CompImageHDU(hdu.data, hdu.header, quantize_level=0) for hdu in hdus[1:]]
    file = fits.HDUList([fits.PrimaryHDU(), *packed])
    image = read_masked_image(file)
    assert (image.variance == 9).all()
    assert image.mask.all()


@pytest.mark.parametrize(
    ('header', 'name', 'band', 'bits'),
    [
        ({}, 'MASK', None, None),
        ({'MP_BAD': 0, 'MP_SAT': 1, 'MP_DETECTED': 5, 'MP_NO_DATA': 8}, 'MASK', 'r', 0b100000011),
        ({'MP_BAD': 10**9, 'MP_SAT': 3}, 'MASK', None, 8),
        # What is left of a cosmic ray, or in a stack, can be used.
        ({'MP_NO_DATA': 2, 'MP_CR': 3, 'MP_CROSSTALK': 4}, 'MASK', None, 4),
        (
            {'MSKN0001': 'SAT', 'MSKM0001': 2, 'MSKN0002': 'DETECTED', 'MSKM0002': 4},
            'MASK',
            None,
            2,
        ),
        (
            {'MSKNAM00': 'DETECTOR', 'MSKVAL00': 1, 'MSKNAM01': 'SUSPECT', 'MSKVAL01': 128},
            '',
            '',
            1,
        ),
        ({'MSKNAM00': 'CR', 'MSKNAM01': 'SAT', 'MSKVAL01': 'x'}, 'mask', None, 0),
        ({'MP_BAD': 'x', 'MP_SAT': 2}, 'MASK', None, 4),
        ({'TELESCOP': 'JWST'}, 'DQ', None, 1),
        ({}, 'brick-maskbits.fits', 'g', 0x24),
        ({}, 'maskbits', None, 0xC0FC),
    ],
)
def test_bits_of_bad_pixels(header, name, band, bits):
    assert bad_bits(header, name, band) == bits


def test_large_bits_are_kept():
    values = np.array([2**31 + 1, 2**31, 1], np.int64)
    assert to_mask(values, 1).tolist() == [True, False, True]
    assert to_mask(np.array([np.nan, 0, 2.0])).tolist() == [True, False, True]


def test_inverse_variance_of_zero_is_a_mask():
    image = MaskedImage(np.ones(3), to_variance([0, 2, np.nan], 'inverse')).settle()
    np.testing.assert_array_equal(image.variance, np.float32([np.nan, 0.5, np.nan]))
    assert image.mask.tolist() == [True, False, False]


class TestResampling:
    """The truth: noise of a known variance, resampled and summed."""

    def resample(self, image, scale, **options):
        n, size = len(image.image), int(48 / scale)
        jacobians = np.tile(np.eye(2) * scale, (n, 1, 1))
        centres = np.full((n, 2), (image.shape[-1] - 1) / 2)
        return resample_planes(image, jacobians, centres, size, **options)

    @pytest.mark.parametrize('scale', [0.5, 1.0, 2.0, 3.0])
    @pytest.mark.parametrize('conserve_flux', [True, False])
    def test_error_of_a_sum_is_right(self, scale, conserve_flux):
        noise = np.random.default_rng(0).normal(scale=3, size=(200, 64, 64)).astype(np.float32)
        image = MaskedImage(noise, np.full_like(noise, 9))
        new = self.resample(image, scale, conserve_flux=conserve_flux)
        inner = slice(new.shape[-1] // 6, -(new.shape[-1] // 6))
        sums = new.image[:, inner, inner].sum(axis=(1, 2))
        variance = new.variance[:, inner, inner].sum(axis=(1, 2))
        assert np.std(sums) / np.sqrt(variance.mean()) == pytest.approx(1, abs=0.12)

    @pytest.mark.parametrize('scale', [0.5, 1.0, 1.5, 4.0])
    def test_bad_pixels_do_not_spread(self, scale):
        image = MaskedImage(np.ones((1, 64, 64), np.float32), None, np.zeros((1, 64, 64), bool))
        image.image[:, 30:34, 20:24] = 1e6
        image.mask[:, 30:34, 20:24] = True
        new = self.resample(image, scale, conserve_flux=False)
        assert new.mask.any()
        np.testing.assert_allclose(new.image[~new.mask], 1, rtol=1e-3)
        # Half of a pixel at each edge.
        assert new.mask.sum() <= (4 / scale + 1) ** 2

    def test_variance_is_not_made_negative(self):
        variance = np.ones((1, 64, 64), np.float32)
        variance[:, :, 32:] = 1e6
        new = self.resample(MaskedImage(np.zeros_like(variance), variance), 0.7)
        assert new.variance.min() > 0


@pytest.mark.parametrize(
    ('image', 'band', 'expected'),
    [
        (
            'brick-image-r.fits',
            'r',
            {'variance': 'brick-invvar-r.fits', 'mask': 'brick-maskbits.fits'},
        ),
        ('brick-image-g.fits', 'g', {'mask': 'brick-maskbits.fits'}),
        ('brick-image-r.fits', None, {'variance': 'brick-invvar-r.fits'}),
        ('1-2.fits', None, {'mask': '1-2.mask.fits.gz'}),
        ('2-1.fits', None, {}),
        ('brick-invvar-r.fits', 'r', {}),
    ],
)
@pytest.mark.parametrize('folder', ['', 'weights/', '/data/masks/'])
def test_files_beside_an_image_are_found_by_name(folder, image, band, expected):
    names = [
        'brick-image-r.fits',
        'brick-invvar-r.fits',
        'brick-chi2-r.fits',
        'brick-maskbits.fits',
    ]
    names += ['1-2.fits', '1-2.mask.fits.gz', '2-1.fits', 'brick-image-g.fits']
    files = CompanionFiles([folder + name for name in names])
    found = files.find(folder + image, band)
    found = {'mask' if form == 'mask' else 'variance': path for form, path in found.items()}
    assert found == {holds: folder + name for holds, name in expected.items()}
