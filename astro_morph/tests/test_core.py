# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The container of cutouts is indexed like an array and checks what it is given."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_morph import CutoutSet
from astro_morph.cutouts import CutoutSource


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


def test_rows_with_an_image_are_told(cutouts):
    assert cutouts.is_ok.tolist() == [True, False, True, False, True]
    assert '5 cutouts of 2 bands (g, r), 4 x 4 pixels of 0.6 arcsec, flux, 2 without' in repr(
        cutouts
    )


def test_all_but_the_images_may_be_left_out():
    cutouts = CutoutSet(np.zeros((2, 3, 4, 5), np.uint8), kind='picture')
    assert cutouts.bands == ('0', '1', '2')
    assert cutouts.images.dtype == np.float32
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    assert cutouts.pixel_scale is None
    assert cutouts[1:].table is None


def test_bands_are_selected_in_the_order_asked_for(cutouts):
    turned = cutouts.select_bands(['r', 'g'])
    assert turned.bands == ('r', 'g')
    np.testing.assert_array_equal(turned.images, cutouts.images[:, ::-1])
    with pytest.raises(ValueError, match=r"bands \['z'\] are not among .*\['g', 'r'\]"):
        cutouts.select_bands(['z', 'g'])


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
    ],
)
def test_what_does_not_match_is_refused(arguments, message):
    images = arguments.pop('images', np.zeros((2, 3, 4, 4)))
    with pytest.raises((ValueError, u.UnitConversionError), match=message):
        CutoutSet(images, **arguments)


class DeclinationSource(CutoutSource):
    """Gives images that hold the declination; a southern row has none."""

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
