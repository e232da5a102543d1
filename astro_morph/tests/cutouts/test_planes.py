# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of variance and mask: what goes in beside the images comes out with them."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import CutoutSet, decode_flags
from astro_morph.cutouts import (
    CutoutCache,
    CutoutSource,
    FirstOf,
    ImageFiles,
    Mosaics,
    as_source,
)
from astro_morph.cutouts.fetching.builder import CutoutBuilder
from astro_morph.cutouts.fetching.cache import NO_COVERAGE, CutoutKey
from astro_morph.cutouts.storage import write_batches
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import to_variance
from astro_morph.tests.cutouts.test_mosaics import CENTRE, make_wcs
from astro_morph.tests.cutouts.test_remote import SIDE, Service, positions

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 2, 6, 5)).astype(np.float32)
VARIANCE = RNG.uniform(1, 2, IMAGES.shape).astype(np.float32)
MASK = RNG.random(IMAGES.shape) < 0.2
PLANES = {'variance': VARIANCE, 'mask': MASK}


def check_planes(cutouts, index=...):
    """Check that a set has the planes of some of the images."""
    np.testing.assert_array_equal(cutouts.images, IMAGES[index])
    np.testing.assert_array_equal(cutouts.variance, VARIANCE[index])
    np.testing.assert_array_equal(cutouts.mask, MASK[index])


@pytest.fixture
def cutouts():
    return CutoutSet(IMAGES, bands='gr', table=Table({'id': range(4)}), **PLANES)


class TestCutoutSet:
    def test_without_planes_there_are_none(self):
        cutouts = CutoutSet(IMAGES)
        assert cutouts.variance is cutouts.mask is None
        assert cutouts[1:].variance is None
        assert cutouts.filled() is cutouts.images

    @pytest.mark.parametrize('rows', [slice(1, 3), [3, 0], np.array([True, False, True, False]), 2])
    def test_rows_are_taken_from_them(self, cutouts, rows):
        check_planes(cutouts[rows], [rows] if isinstance(rows, int) else rows)

    def test_bands_are_selected(self, cutouts):
        check_planes(cutouts.select_bands('rg'), np.s_[:, [1, 0]])

    def test_types_are_plain(self):
        cutouts = CutoutSet(IMAGES, variance=VARIANCE.astype('>f8'), mask=MASK.astype(int) * 4)
        assert (cutouts.variance.dtype, cutouts.mask.dtype) == (np.float32, bool)
        check_planes(cutouts)

    def test_masked_pixels_are_filled_with_nan(self, cutouts):
        filled = cutouts.filled()
        assert np.isnan(filled[MASK]).all()
        np.testing.assert_array_equal(filled[~MASK], IMAGES[~MASK])
        check_planes(cutouts)

    @pytest.mark.parametrize('name', ['variance', 'mask'])
    def test_other_shapes_are_refused(self, name):
        with pytest.raises(ValueError, match=f'{name} has the shape .4, 6, 5., the images have'):
            CutoutSet(IMAGES, **{name: np.ones((4, 6, 5))})


class TestHdf5:
    @pytest.mark.parametrize('names', [[], ['variance'], ['mask'], ['variance', 'mask']])
    def test_planes_survive(self, tmp_path, names):
        pytest.importorskip('h5py')
        planes = {name: PLANES[name] for name in names}
        CutoutSet(IMAGES, **planes).write(tmp_path / 'cutouts.h5')
        again = CutoutSet.read(tmp_path / 'cutouts.h5')
        for name in PLANES:
            np.testing.assert_array_equal(getattr(again, name), planes.get(name))

    @pytest.mark.parametrize('order', [(0, 1), (1, 0)])
    def test_batches_without_planes_know_nothing(self, cutouts, tmp_path, order):
        pytest.importorskip('h5py')
        batches = [cutouts[:2], cutouts[2:].replace(variance=None, mask=None)]
        write_batches([batches[i] for i in order], tmp_path / 'c.h5', table=None, n_rows=4)
        again = CutoutSet.read(tmp_path / 'c.h5')
        known, unknown = again[:2], again[2:]
        if order == (1, 0):
            known, unknown = unknown, known
        check_planes(known, slice(2))
        assert np.isnan(unknown.variance).all()
        assert not unknown.mask.any()


class Fixed(CutoutSource):
    """A source of the same cutouts, of some rows."""

    def __init__(self, cutouts, rows):
        self.cutouts, self.rows = cutouts, rows

    def fetch(self, X, *, size=None):
        status = np.where(np.isin(X['id'], self.rows), 'ok', 'no_coverage')
        return self.cutouts[X['id']].replace(status=status)


@pytest.mark.parametrize('has_planes', [(True, True), (True, False), (False, True)])
def test_fallback_takes_the_planes_of_each_source(cutouts, has_planes):
    sources = [
        Fixed(cutouts if has else cutouts.replace(variance=None, mask=None), rows)
        for has, rows in zip(has_planes, ([0, 1], [2, 3]), strict=True)
    ]
    found = FirstOf(*sources).fetch(cutouts.table)
    for has, rows in zip(has_planes, ([0, 1], [2, 3]), strict=True):
        if has:
            check_planes(found[rows], rows)
        else:
            assert np.isnan(found[rows].variance).all()
            assert not found[rows].mask.any()


class TestBuilder:
    def build(self, images):
        table = Table({'id': range(len(images))})
        status = np.full(len(images), 'ok', 'U20')
        builder = CutoutBuilder(table, status, layers=['g', 'r'], side=5)
        builder.fill('g', range(len(images)), images)
        return builder.to_cutouts()

    def test_images_alone_have_no_planes(self):
        cutouts = self.build([np.ones((5, 5)), NO_COVERAGE])
        assert cutouts.variance is cutouts.mask is None

    def test_planes_are_those_of_each_row_and_band(self):
        full = MaskedImage(np.ones((5, 5)), np.full((5, 5), 4.0), np.eye(5, dtype=bool))
        cutouts = self.build([np.ones((5, 5)), full, NO_COVERAGE])
        assert (cutouts.variance[1, 0] == 4).all()
        assert np.isnan(cutouts.variance[[0, 2]]).all()
        assert np.isnan(cutouts.variance[1, 1]).all()
        np.testing.assert_array_equal(cutouts.mask[1, 0], np.eye(5))
        assert cutouts.mask.sum() == 5
        assert decode_flags(cutouts.flags) == [
            ['missing_band'],
            ['missing_pixels', 'missing_band'],
            [],
        ]

    def test_all_masked_is_no_image(self):
        masked = MaskedImage(np.ones((5, 5)), None, np.ones((5, 5), bool))
        assert self.build([masked, np.ones((5, 5))]).status.tolist() == ['all_nan', 'ok']

    def test_inverse_variance_of_zero_masks(self):
        inverse = np.eye(5)
        image = MaskedImage(np.ones((5, 5)), to_variance(inverse, 'inverse'))
        cutouts = self.build([image, np.ones((5, 5))])
        np.testing.assert_array_equal(cutouts.mask[0, 0], inverse == 0)
        assert not np.isinf(cutouts.variance).any()


@pytest.mark.parametrize('names', [[], ['variance'], ['mask'], ['variance', 'mask']])
def test_cache_keeps_planes(tmp_path, names):
    cache = CutoutCache(tmp_path / 'cutouts.sqlite')
    planes = {name: PLANES[name][0, 0, :5] for name in names}
    key = CutoutKey('survey', 'r', 150.1, 2.2, 5, 0.262)
    cache.put([(key, MaskedImage(IMAGES[0, 0, :5], **planes))])
    (image,) = cache.get([key])
    image = MaskedImage.of(image)
    np.testing.assert_array_equal(image.image, IMAGES[0, 0, :5])
    for name in PLANES:
        np.testing.assert_array_equal(getattr(image, name), planes.get(name))


class TestMosaics:
    """Planes of the sky: each pixel holds its own place, so that truth is known anywhere."""

    SHAPE = 60, 60
    TRUTH = np.arange(3600.0).reshape(SHAPE)
    BAD = np.zeros(SHAPE, bool)
    BAD[28:31, 26] = True

    def write(self, path, extensions, **wcs):
        header = make_wcs(shape=self.SHAPE, **wcs).to_header()
        hdus = [fits.ImageHDU(values, header, name=name) for name, values in extensions.items()]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
        return path

    def write_files(self, folder, files):
        for name, values in files.items():
            header = make_wcs(shape=self.SHAPE).to_header()
            fits.PrimaryHDU(values, header).writeto(folder / name)

    def check(self, mosaics, *, variance=True, mask=True):
        cutouts = mosaics.fetch(CENTRE, size=16)
        corner = int(cutouts.images[0, 0, 0, 0]) // self.SHAPE[1]
        here = slice(corner, corner + 16)
        np.testing.assert_array_equal(cutouts.images[0, 0], self.TRUTH[here, here])
        if variance:
            np.testing.assert_allclose(
                cutouts.variance[0, 0], self.TRUTH[here, here] + 1, rtol=1e-5
            )
        if mask:
            np.testing.assert_array_equal(cutouts.mask[0, 0], self.BAD[here, here])
            assert decode_flags(cutouts.flags) == [['missing_pixels']]
        return cutouts

    @pytest.mark.parametrize('suffix', ['', '.gz'])
    @pytest.mark.parametrize(
        ('names', 'convert'),
        [
            (('SCI', 'ERR', 'DQ'), np.sqrt),
            (('IMAGE', 'VARIANCE', 'MASK'), lambda v: v),
            (('image', 'invvar', 'maskbits'), lambda v: 1 / v),
            (('SCI', 'IVM', 'BPM'), lambda v: 1 / v),
            (('SCI', 'WHT', 'MSK'), lambda v: 1 / v),
        ],
    )
    def test_extensions(self, tmp_path, names, convert, suffix):
        bits = self.BAD.astype(np.int32) * 4
        planes = dict(zip(names, [self.TRUTH, convert(self.TRUTH + 1), bits], strict=True))
        path = self.write(tmp_path / f'a.fits{suffix}', planes)
        mosaics = Mosaics({'g': path})
        assert repr(mosaics).endswith('pixels, with variance and mask>')
        self.check(mosaics)

    @pytest.mark.parametrize('pattern', ['brick-image-{band}.fits', '*-{band}.fits'])
    def test_files_beside(self, tmp_path, pattern):
        self.write_files(
            tmp_path,
            {
                'brick-image-g.fits': self.TRUTH,
                'brick-invvar-g.fits': 1 / (self.TRUTH + 1),
                'brick-maskbits.fits': self.BAD.astype(np.int16) * 0x20,
            },
        )
        self.check(Mosaics(tmp_path / pattern))

    @pytest.mark.parametrize('is_packed', [False, True])
    def test_extensions_at_urls(self, tmp_path, is_packed):
        fsspec = pytest.importorskip('fsspec')
        planes = {'SCI': self.TRUTH, 'VAR': self.TRUTH + 1, 'DQ': self.BAD.astype(np.int32)}
        path = self.write(tmp_path / 'a.fits', planes)
        if is_packed:
            with fits.open(path) as hdus:
                packed = [fits.CompImageHDU(h.data, h.header, quantize_level=0) for h in hdus[1:]]
                fits.HDUList([fits.PrimaryHDU(), *packed]).writeto(path, overwrite=True)
        fsspec.filesystem('memory').pipe('/planes/a.fits', path.read_bytes())
        self.check(Mosaics('memory://planes/a.fits'))
        fsspec.filesystem('memory').rm('/planes/a.fits')

    def test_files_are_matched_by_place_where_names_differ(self, tmp_path):
        self.write_files(
            tmp_path,
            {
                'EUC_BGSUB-MOSAIC-VIS_TILE1-AB12_2024.fits': self.TRUTH,
                'EUC_MOSAIC-VIS-RMS_TILE1-CD34_2025.fits': np.sqrt(self.TRUTH + 1),
                'EUC_MOSAIC-VIS-FLAG_TILE1-EF56_2025.fits': self.BAD.astype(np.int32),
            },
        )
        self.check(Mosaics({'VIS': tmp_path / 'EUC*VIS*.fits'}))

    @pytest.mark.parametrize(
        ('bits', 'is_masked'),
        [({'MP_SAT': 2}, True), ({'MP_SAT': 1, 'MP_CR': 2}, False), ({'MP_CR': 2}, False)],
    )
    def test_header_of_a_mask_names_its_bits(self, tmp_path, bits, is_masked):
        self.write_files(tmp_path, {'a-image-g.fits': self.TRUTH})
        header = make_wcs(shape=self.SHAPE).to_header()
        header.update(bits)
        fits.writeto(tmp_path / 'a-mask-g.fits', self.BAD.astype(np.int16) * 4, header)
        cutouts = Mosaics(tmp_path / 'a-image-{band}.fits').fetch(CENTRE, size=16)
        assert cutouts.mask.any() == is_masked

    def test_planes_of_other_pixels_are_not_used(self, tmp_path):
        self.write_files(tmp_path, {'a-image-g.fits': self.TRUTH})
        header = make_wcs(shape=self.SHAPE, shift=(1, 0)).to_header()
        fits.PrimaryHDU(self.TRUTH, header).writeto(tmp_path / 'a-invvar-g.fits')
        assert (
            self.check(
                Mosaics(tmp_path / 'a-image-{band}.fits'), variance=False, mask=False
            ).variance
            is None
        )

    def test_they_can_be_left_out(self, tmp_path):
        path = self.write(tmp_path / 'a.fits', {'SCI': self.TRUTH, 'ERR': self.TRUTH})
        cutouts = self.check(Mosaics(path, planes=False), variance=False, mask=False)
        assert cutouts.variance is cutouts.mask is None
        assert not cutouts.flags.any()

    def test_planes_of_a_cube_are_those_of_each_band(self, tmp_path):
        cube = np.stack([self.TRUTH, self.TRUTH + 5000])
        planes = {'SCI': cube, 'VAR': cube + 1, 'MASK': self.BAD.astype(np.int16)}
        cutouts = Mosaics(self.write(tmp_path / 'a.fits', planes), bands='gr').fetch(CENTRE, size=8)
        np.testing.assert_allclose(cutouts.variance, cutouts.images + 1)
        np.testing.assert_array_equal(cutouts.mask[:, 0], cutouts.mask[:, 1])

    def test_masked_pixels_come_from_the_next_tile(self, tmp_path):
        bits = self.BAD.astype(np.int32)
        self.write(tmp_path / 'a.fits', {'SCI': self.TRUTH, 'ERR': self.TRUTH, 'DQ': bits})
        shifted = np.roll(self.TRUTH, -3, axis=1)
        self.write(
            tmp_path / 'b.fits', {'SCI': shifted, 'ERR': np.full(self.SHAPE, 7.0)}, shift=(3, 0)
        )
        cutouts = Mosaics(tmp_path / '*.fits').fetch(CENTRE, size=16)
        assert not cutouts.mask.any()
        assert not cutouts.flags.any()
        taken = cutouts.variance[0, 0] == 49
        assert taken.sum() == self.BAD.sum()

    def test_broken_plane_leaves_the_image(self, tmp_path):
        path = self.write(tmp_path / 'a.fits', {'SCI': self.TRUTH, 'ERR': self.TRUTH})
        path.write_bytes(path.read_bytes()[:-8000])
        mosaics = Mosaics(path)
        with pytest.warns(AstropyUserWarning, match='a.fits.* truncated.*have no variance until'):
            cutouts = mosaics.fetch(CENTRE, size=16)
        assert cutouts.is_ok.all()
        assert np.isnan(cutouts.variance).all()

    def test_all_masked_is_no_image(self, tmp_path):
        planes = {'SCI': self.TRUTH, 'DQ': np.ones(self.SHAPE, np.int16)}
        cutouts = Mosaics(self.write(tmp_path / 'a.fits', planes)).fetch(CENTRE, size=16)
        assert list(cutouts.status) == ['all_nan']

    def test_rows_without_coverage_have_no_planes(self, tmp_path):
        planes = {'SCI': self.TRUTH, 'ERR': self.TRUTH, 'DQ': self.BAD.astype(np.int16)}
        mosaics = Mosaics(self.write(tmp_path / 'a.fits', planes))
        cutouts = mosaics.fetch(
            SkyCoord([CENTRE.ra.deg, 10], [CENTRE.dec.deg, 80], unit='deg'), size=8
        )
        assert np.isnan(cutouts.variance[1]).all()
        assert not cutouts.mask[1].any()


class TestImageFiles:
    VALUES = np.arange(64.0).reshape(8, 8) + 1
    BAD = np.zeros((8, 8), np.int16)
    BAD[3, 4] = 1

    def fetch(self, folder, *names, **options):
        return ImageFiles(folder=folder, **options).fetch(Table({'path': names}))

    def write(self, path, **extensions):
        hdus = [fits.ImageHDU(values, name=name) for name, values in extensions.items()]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)

    def test_extensions(self, tmp_path):
        self.write(tmp_path / 'a.fits', SCI=self.VALUES, ERR=self.VALUES, DQ=self.BAD)
        self.write(tmp_path / 'b.fits', SCI=self.VALUES + 1)
        cutouts = self.fetch(tmp_path, 'a.fits', 'b.fits', 'no.fits')
        np.testing.assert_array_equal(cutouts.variance[0, 0], self.VALUES**2)
        np.testing.assert_array_equal(cutouts.mask[0, 0], self.BAD > 0)
        assert np.isnan(cutouts.variance[1:]).all()
        assert not cutouts.mask[1:].any()
        assert decode_flags(cutouts.flags) == [['missing_pixels'], [], []]
        assert self.fetch(tmp_path, 'a.fits', planes=False).variance is None

    def test_cut_with_the_image(self, tmp_path):
        self.write(tmp_path / 'a.fits', SCI=self.VALUES, VAR=self.VALUES)
        cutouts = ImageFiles(folder=tmp_path).fetch(Table({'path': ['a.fits']}), size=4)
        np.testing.assert_array_equal(cutouts.variance, cutouts.images)

    @pytest.mark.parametrize('name', ['a.fits', 'a.npy'])
    def test_files_beside(self, tmp_path, name):
        write = fits.writeto if name.endswith('fits') else np.save
        write(tmp_path / name, self.VALUES)
        write(tmp_path / name.replace('.', '_ivar.'), 1 / self.VALUES)
        write(tmp_path / name.replace('.', '-mask.'), self.BAD)
        cutouts = self.fetch(tmp_path, name)
        np.testing.assert_allclose(cutouts.variance[0, 0], self.VALUES, rtol=1e-6)
        np.testing.assert_array_equal(cutouts.mask[0, 0], self.BAD > 0)

    def test_mask_beside_a_file_with_errors(self, tmp_path):
        self.write(tmp_path / 'a.fits', SCI=self.VALUES, ERR=self.VALUES)
        header = fits.Header({'MP_BAD': 3, 'MP_SAT': 4, 'MP_CR': 0})
        fits.writeto(tmp_path / 'a.mask.fits', self.BAD * 16 + 1, header)
        cutouts = self.fetch(tmp_path, 'a.fits')
        np.testing.assert_array_equal(cutouts.variance[0, 0], self.VALUES**2)
        np.testing.assert_array_equal(cutouts.mask[0, 0], self.BAD > 0)

    def test_planes_of_a_cube_may_be_those_of_all_bands(self, tmp_path):
        cube = np.stack([self.VALUES, self.VALUES])
        self.write(tmp_path / 'a.fits', SCI=cube, ERR=cube, MASK=self.BAD)
        cutouts = self.fetch(tmp_path, 'a.fits')
        np.testing.assert_array_equal(cutouts.mask[0], [self.BAD > 0] * 2)

    @pytest.mark.parametrize('content', [b'no image', np.ones((3, 3))])
    def test_what_is_no_plane_is_ignored(self, tmp_path, content):
        np.save(tmp_path / 'a.npy', self.VALUES)
        if isinstance(content, bytes):
            (tmp_path / 'a_rms.npy').write_bytes(content)
        else:
            np.save(tmp_path / 'a_rms.npy', content)
        cutouts = self.fetch(tmp_path, 'a.npy')
        assert cutouts.is_ok.all()
        assert cutouts.variance is None

    def test_all_masked_is_no_image(self, tmp_path):
        self.write(tmp_path / 'a.fits', SCI=self.VALUES, DQ=self.BAD + 1)
        self.write(tmp_path / 'b.fits', SCI=self.VALUES)
        assert list(self.fetch(tmp_path, 'a.fits', 'b.fits').status) == ['all_nan', 'ok']


class Planes(Service):
    """A service that sends planes when it is asked for them: variance 4, and a masked row."""

    _has_planes = True

    def _answer(self, request, client):
        if not self.planes:
            return super()._answer(request, client)
        self.asked.append(request)
        image = self.draw(request)
        mask = np.zeros(image.shape, bool)
        mask[len(mask) // 2] = True
        return request.cut(MaskedImage(image, np.full(image.shape, 4.0), mask))


class TestServices:
    @pytest.mark.parametrize('apart', [1.0, 0.003])
    def test_planes_come_with_the_images(self, apart):
        coords = positions(3, apart=apart)
        cutouts = Planes(bands='gr', planes=True).fetch(coords, size=SIDE)
        plain = Planes(bands='gr').fetch(coords, size=SIDE)
        good = ~cutouts.mask
        np.testing.assert_allclose(cutouts.images[good], plain.images[good], rtol=1e-6)
        np.testing.assert_allclose(cutouts.variance, 4, rtol=1e-5)
        assert (cutouts.mask.sum(axis=(2, 3)) == SIDE).all()
        assert plain.variance is plain.mask is None

    def test_cache_has_those_with_and_without(self, tmp_path):
        cache = CutoutCache(tmp_path / 'cutouts.sqlite')
        for planes in (False, True, False, True):
            service = Planes(bands='r', planes=planes, cache=cache)
            cutouts = service.fetch(positions(2), size=SIDE)
            assert (cutouts.variance is not None) == planes
        assert not service.asked

    def test_plan_counts_their_bytes(self):
        sizes = [Planes(planes=p).plan(positions(2), size=SIDE).megabytes for p in (False, True)]
        assert sizes[1] == pytest.approx(3 * sizes[0])

    def test_service_without_planes_is_refused(self):
        with pytest.raises(ValueError, match='planes=True: Service has neither variance nor mask'):
            Service(planes=True)
        with pytest.raises(ValueError, match='planes=True: pictures have neither'):
            Planes(bands='rgb', planes=True)

    def test_settings_tell_them_apart(self):
        assert Planes(planes=True).settings() != Planes().settings()


@pytest.mark.parametrize('planes', [True, False])
def test_choice_is_kept_where_the_source_is_completed(planes):
    source = as_source(ImageFiles(planes=planes), Table({'path': ['a.fits']}))
    assert source.planes == planes
