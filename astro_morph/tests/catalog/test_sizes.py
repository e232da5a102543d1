# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Sizes from columns and expressions of them."""

import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable

from astro_morph.catalog import read_sizes
from astro_morph.catalog.sizes.expressions import Expression
from astro_morph.catalog.tables import MissingColumnError

TABLE = QTable(
    {
        'r90': [4.0, 8.0] * u.arcsec,
        'minutes': [0.1, 0.2] * u.arcmin,
        'bare': [1, 2],
        'pixels': [10.0, 20.0] * u.pix,
        'my radius': [1.0, 2.0],
        'r-90': [3.0, 4.0],
        'bad': MaskedColumn([5.0, 5.0], mask=[True, False]),
        'mas': [1.0, 2.0],
    }
)


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ('r90', [4, 8]),
        ('r-90', [3, 4]),
        ('2 * "r-90"', [6, 8]),
        ('my radius', [1, 2]),
        ('1.5*my radius', [1.5, 3]),
        ('3.28 * r90', [13.12, 26.24]),
        ('r90 + minutes', [10, 20]),
        ('r90 + 2 * arcsec', [6, 10]),
        ('2 * (r90 - minutes / 6)', [6, 12]),
        ('3 * pixels * 0.2 * arcsec / pix', [6, 12]),
        ('hypot(r90, 3 * arcsec)', [5, np.hypot(8, 3)]),
        ('sqrt(r90 * minutes)', [np.sqrt(24), np.sqrt(96)]),
        ('maximum(bare, 1.5)', [1.5, 2]),
        ('bare ** 2', [1, 4]),
        ('-bare', [np.nan, np.nan]),
        ('10 - 6 * bare', [4, np.nan]),
        ('1 / (bare - 1)', [np.nan, 1]),
        ('2 * bad', [np.nan, 10]),
        ('20 arcsec', [20, 20]),
        ('0.5arcmin', [30, 30]),
        # A column is no unit.
        ('2 * mas', [2, 4]),
    ],
)
def test_value_of_an_expression(size, expected):
    sizes = read_sizes(TABLE, size)
    assert sizes.unit == u.arcsec
    np.testing.assert_allclose(sizes.value, expected)


@pytest.mark.parametrize(
    ('size', 'message'),
    [
        ('4 * nothing', "size names 'nothing', which is not among"),
        ('pixels', "'pixels', of the unit 'pix', expected an angle.*0.2 \\* arcsec / pix"),
        ('r90 * minutes', "of the unit 'arcmin arcsec', expected an angle"),
        ('r90 + pixels', 'units do not fit together'),
        ('r90 ** bare', 'units do not fit together'),
        ('0 * r90', 'it is zero'),
        ('3 * 4', 'names neither a column nor a unit'),
        ('', "must be a column and a factor, as in '4 \\* petroR90_r', or an expression"),
        ('r90 if bare else 1', 'neither a number, a name nor arithmetic'),
        ('r90.max()', 'neither a number, a name nor arithmetic'),
        ('r90[0]', 'neither a number, a name nor arithmetic'),
        ('open("/etc/passwd")', 'neither a number, a name nor arithmetic'),
        ('sqrt(r90, r90)', 'neither a number, a name nor arithmetic'),
        ('(' * 400 + 'r90', 'more than 300'),
        ('True * r90', 'neither a number, a name nor arithmetic'),
    ],
)
def test_anything_else_is_refused(size, message):
    with pytest.raises(ValueError, match=message):
        read_sizes(TABLE, size)


def test_large_powers_cost_nothing():
    assert np.isnan(read_sizes(TABLE, '9 ** 9 ** 9 ** 9 * r90')).all()


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('r90*4.0', '4 * r90'),
        (' r90', '1 * r90'),
        ('4 * my radius', '4 * my radius'),
        ('2*(a+b)', '2 * (a + b)'),
        ('20arcsec', '20 * arcsec'),
    ],
)
def test_an_expression_has_one_form(text, expected):
    assert str(Expression(text)) == expected
    assert str(Expression(expected)) == expected


def test_missing_column_goes_from_process_to_process():
    error = pickle.loads(pickle.dumps(MissingColumnError('no column', 'r90')))
    assert (str(error), error.name) == ('no column', 'r90')
