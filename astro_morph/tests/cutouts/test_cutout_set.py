# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `CutoutSet`, of sizes, and of the base class of sources."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.tests.helper import assert_quantity_allclose

from astro_morph import CutoutSet
from astro_morph.cutouts import CutoutSource
from astro_morph.cutouts.sizes import framing_of, grid_of


@pytest.fixture
def cutouts():
    return CutoutSet(
        np.arange(5 * 2 * 4 * 4).reshape(5, 2, 4, 4),
        bands=['g', 'r'],
        pixel_scale=0.01 * u.arcmin,
        status=['ok', 'truncated', 'ok', 'not_found', 'ok'],
        flags=[0, 1, 2, 3, 4],
        table=Table({'id': np.arange(5) * 10}),
    )


@pytest.mark.parametrize(
    ('rows', 'expected'),
    [
        (slice(1, 4), [1, 2, 3]),
        ([3, 0, 0], [3, 0, 0]),
        (np.array([True, False, False, True, False]), [0, 3]),
        (2, [2]),
        (np.int64(-1), [4]),
        (([1, 2], ...), [1, 2]),  # as scikit-learn indexes
        (slice(0), []),
    ],
    ids=str,
)
def test_rows_are_taken_from_all_that_has_rows(cutouts, rows, expected):
    taken = cutouts[rows]
    assert len(taken) == len(expected)
    expected = np.array(expected, int)
    np.testing.assert_array_equal(taken.images, cutouts.images[expected])
    np.testing.assert_array_equal(taken.status, cutouts.status[expected])
    np.testing.assert_array_equal(taken.flags, expected)
    np.testing.assert_array_equal(taken.table['id'], 10 * expected)
    assert taken.bands == ('g', 'r')
    assert taken.pixel_scale == 0.6 * u.arcsec


def test_pixel_scale_of_each_row_goes_with_it(cutouts):
    scales = [0.1, 0.2, 0.3, np.nan, 0.123456] * u.arcsec
    cutouts = cutouts.replace(pixel_scale=scales, framing='petroR90_r*4')
    assert cutouts[[4, 1]].pixel_scale.value.tolist() == [0.123456, 0.2]
    assert cutouts[3].pixel_scale.shape == (1,)
    assert cutouts.select_bands('r').pixel_scale.shape == (5,)
    assert cutouts[:2].framing == '4 * petroR90_r'
    assert '4 x 4 pixels of 0.1 to 0.3 arcsec, flux' in repr(cutouts)
    assert '4 x 4 pixels of 0.1235 arcsec, flux' in repr(cutouts[4])
    assert '4 x 4 pixels, flux' in repr(cutouts[3])
    assert '4 x 4 pixels, flux' in repr(cutouts[:0])


def test_rows_with_an_image_are_told(cutouts):
    assert cutouts.is_ok.tolist() == [True, False, True, False, True]
    assert '5 cutouts of 2 bands (g, r), 4 x 4 pixels of 0.6 arcsec, flux, 2 without' in repr(
        cutouts
    )


def test_all_but_the_images_may_be_left_out():
    cutouts = CutoutSet(np.zeros((2, 3, 4, 5), np.int16), kind='picture')
    assert cutouts.bands == ('0', '1', '2')
    assert cutouts.images.dtype == np.float32
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    assert cutouts.pixel_scale is None
    assert cutouts[1:].table is None


def test_bytes_of_pictures_are_kept_and_not_copied():
    images = np.zeros((2, 3, 4, 5), np.uint8)
    assert np.shares_memory(CutoutSet(images, kind='picture').images, images)
    assert CutoutSet(images).images.dtype == np.float32


def test_bands_are_selected_in_the_order_asked_for(cutouts):
    turned = cutouts.select_bands(['r', 'g'])
    assert turned.bands == ('r', 'g')
    np.testing.assert_array_equal(turned.images, cutouts.images[:, ::-1])
    with pytest.raises(ValueError, match=r"bands \['z'\] are not among .*\['g', 'r'\].* are flux"):
        cutouts.select_bands(['z', 'g'])
    with pytest.raises(ValueError, match='are pictures, not flux'):
        cutouts.replace(kind='picture').select_bands(['z'])


def test_replace_changes_a_copy(cutouts):
    changed = cutouts.replace(kind='picture')
    assert (changed.kind, cutouts.kind) == ('picture', 'flux')
    assert changed.table is cutouts.table


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'images': np.zeros((2, 4, 4))}, r'\(n, band, y, x\).*shape \(2, 4, 4\)'),
        ({'kind': 'jpeg'}, "kind must be one of .*'jpeg'"),
        ({'bands': 'griz'}, 'bands names 4 bands, the images have 3'),
        ({'status': ['ok']}, 'status has 1 rows, there are 2'),
        ({'flags': [0, 0, 0]}, 'flags has 3 rows, there are 2'),
        ({'table': Table({'id': [1]})}, 'table has 1 rows, there are 2'),
        ({'pixel_scale': 0.4 * u.s}, 'not convertible'),
        (
            {'pixel_scale': [0.4] * 3 * u.arcsec},
            r'pixel_scale has the shape \(3,\).* one angle, or one an',
        ),
        ({'framing': 'a if b else c'}, "column and a factor.*'a if b else c'"),
    ],
)
def test_what_does_not_match_is_refused(arguments, message):
    images = arguments.pop('images', np.zeros((2, 3, 4, 4)))
    with pytest.raises((ValueError, u.UnitConversionError), match=message):
        CutoutSet(images, **arguments)


class TestGrid:
    TABLE = QTable(
        {
            'petroR90_r': [4.0, 8.0, 2.0] * u.arcsec,
            'radius': [0.1, 0.2, 0.3] * u.arcmin,
            'bare': [1, 2, 3],
            'my radius': [1.0, 2.0, 3.0],
            'bad': MaskedColumn([5.0, 5, 5], mask=[True, False, False]),
            'wrong': [np.nan, 0.0, -999.0],
            'flux': [1.0, 2.0, 3.0] * u.Jy,
            'name': ['a', 'b', 'c'],
        }
    )

    @pytest.mark.parametrize(
        ('size', 'expected'),
        [
            (None, 64),
            (32, 32),
            (np.int64(7), 7),
            (20 * u.arcsec, 50),
            (0.5 * u.arcmin, 75),
        ],
    )
    def test_pixels_and_angles_leave_the_scale(self, size, expected):
        side, scale = grid_of(self.TABLE, size, 0.4 * u.arcsec)
        assert side == expected
        assert scale == 0.4 * u.arcsec
        assert scale.isscalar

    @pytest.mark.parametrize(
        ('size', 'expected'),
        [
            ('4 * petroR90_r', [16, 32, 8]),
            ('petroR90_r * 4', [16, 32, 8]),
            ('  3.28*petroR90_r ', [13.12, 26.24, 6.56]),
            ('petroR90_r', [4, 8, 2]),
            ('.5*radius', [3, 6, 9]),
            ('2.*bare', [2, 4, 6]),
            ('2 * my radius', [2, 4, 6]),
            ('bad', [np.nan, 5, 5]),
            ('3 * wrong', [np.nan, np.nan, np.nan]),
        ],
    )
    def test_scale_follows_a_column(self, size, expected):
        side, scale = grid_of(self.TABLE, size, 0.4 * u.arcsec)
        assert side == 64
        np.testing.assert_allclose(64 * scale.to_value('arcsec'), expected)
        side, scale = grid_of(self.TABLE, (100, size), 0.4 * u.arcsec)
        assert side == 100
        np.testing.assert_allclose(100 * scale.to_value('arcsec'), expected)

    @pytest.mark.parametrize(
        ('size', 'message'),
        [
            ('4 * nothing', "size names 'nothing', which is not among the columns"),
            ('64', 'names neither a column nor a unit'),
            ('4 * flux', "column 'flux' of type float64 and unit 'Jy', expected angles"),
            ('4 * name', "column 'name' of type <U1"),
            ('', "a column and a factor, as in .*, got ''"),
            ('0 * bare', "got '0 \\* bare'"),
            ('__import__("os").system("x") * 2', 'an expression of columns and units'),
            ((0, '4 * bare'), 'pixels above zero'),
            ((1, 2), 'pixels above zero or an angle'),
        ],
    )
    def test_other_sizes_are_refused(self, size, message):
        with pytest.raises(ValueError, match=message):
            grid_of(self.TABLE, size, 0.4 * u.arcsec)

    @pytest.mark.parametrize('size', [(100, 20 * u.arcsec), (100, '20 arcsec'), (100, '20arcsec')])
    def test_an_angle_in_a_number_of_pixels_is_one_scale(self, size):
        side, scale = grid_of(self.TABLE, size, 0.4 * u.arcsec)
        assert (side, scale.isscalar) == (100, True)
        assert_quantity_allclose(scale, 0.2 * u.arcsec)

    @pytest.mark.parametrize('size', ['4*petroR90_r', 'petroR90_r * 4.0', (96, '4 * petroR90_r')])
    def test_framing_has_one_form(self, size):
        assert framing_of(size) == '4 * petroR90_r'

    @pytest.mark.parametrize('size', [None, 64, 3 * u.arcsec])
    def test_pixels_and_angles_are_no_framing(self, size):
        assert framing_of(size) is None


class DeclinationSource(CutoutSource):
    """A source of images of the declination; southern rows have none."""

    def fetch(self, X, *, size=None):
        dec = X['coord'].dec.deg
        images = np.full((len(X), 1, size, size), dec[:, None, None, None])
        return CutoutSet(images, status=np.where(dec < 0, 'no_coverage', 'ok'), table=X)


def test_own_source_needs_only_fetch_to_stream():
    coords = SkyCoord(np.zeros(7), [5, 4, -3, 2, 1, 0, -1], unit='deg')
    batches = list(DeclinationSource().stream(coords, size=2, batch_size=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    images = np.concatenate([batch.images for batch in batches])
    np.testing.assert_allclose(images[:, 0, 0, 0], coords.dec.deg)
    status = np.concatenate([batch.status for batch in batches])
    assert np.flatnonzero(status == 'no_coverage').tolist() == [2, 6]
