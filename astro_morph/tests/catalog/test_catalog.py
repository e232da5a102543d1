# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of reading a catalogue, and of writing columns into it."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Latitude, Longitude, SkyCoord
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from numpy.testing import assert_allclose, assert_array_equal

from astro_morph.catalog import (
    as_table,
    find_image_column,
    probability_columns,
    read_labels,
    read_positions,
    write_numbers,
    write_predictions,
)

NAN = float('nan')


def assert_positions(table, ra, dec, *, status='ok', **kwargs):
    """Check that the positions of a table are these, in degrees."""
    coords, found = read_positions(table, **kwargs)
    assert coords.frame.name == 'icrs'
    assert coords.shape == (len(table),)
    assert_allclose(coords.ra.deg, ra, atol=1e-9)
    assert_allclose(coords.dec.deg, dec, atol=1e-9)
    assert_array_equal(found, np.broadcast_to(status, len(table)))


class TestAsTable:
    @pytest.mark.parametrize('table_class', [Table, QTable])
    def test_table_as_it_is(self, table_class):
        table = table_class({'id': [1]})
        assert as_table(table) is table

    def test_positions(self):
        coords = SkyCoord([1, 2] * u.deg, [3, 4] * u.deg, frame='galactic')
        assert_array_equal(as_table(coords)['coord'].b.deg, [3, 4])

    def test_one_position(self):
        table = as_table(SkyCoord(10 * u.deg, -5 * u.deg))
        assert len(table) == 1
        assert_positions(table, [10], [-5])

    def test_data_frame(self):
        pandas = pytest.importorskip('pandas')
        table = as_table(
            pandas.DataFrame({'ra': [1.0, None], 'dec': [2.0, 3.0], 'morphology': ['E', None]})
        )
        assert_positions(table, [1, NAN], [2, NAN], status=['ok', 'no_coordinates'])
        assert_array_equal(read_labels(table, 'morphology')[1], [True, False])

    @pytest.mark.parametrize('X', [[1, 2], np.zeros((2, 2)), 'table.fits', None])
    def test_anything_else(self, X):
        with pytest.raises(TypeError, match=f'got {type(X).__name__}'):
            as_table(X)

    def test_grid_of_positions(self):
        with pytest.raises(ValueError, match=r'shape \(2, 3\)'):
            as_table(SkyCoord(np.zeros((2, 3)) * u.deg, np.zeros((2, 3)) * u.deg))


class TestReadPositions:
    @pytest.mark.parametrize(
        ('ra', 'dec'),
        [
            ('ra', 'dec'),
            ('RA', 'DEC'),
            ('Ra', 'Dec'),
            ('RAJ2000', 'DEJ2000'),
            ('_RAJ2000', '_DEJ2000'),
            ('raMean', 'decMean'),
            ('_RA', '_DE'),
            ('ALPHA_J2000', 'DELTA_J2000'),
            ('RA_ICRS', 'DE_ICRS'),
            ('ra_deg', 'dec_deg'),
            ('RADEG', 'DECDEG'),
            ('right_ascension', 'declination'),
            ('TARGET_RA', 'TARGET_DEC'),
            ('coord_ra', 'coord_dec'),
        ],
    )
    def test_names(self, ra, dec):
        table = Table({'ra_error': [9.0], 'dec_error': [9.0], 'rate': [0], dec: [-5.0], ra: [10.0]})
        assert_positions(table, [10], [-5])

    def test_no_names(self):
        table = Table({'x': [1], 'rate': [2], 'dec': [3]})
        with pytest.raises(ValueError, match=r"\['x', 'rate', 'dec'\].*coord_columns"):
            read_positions(table)

    def test_ambiguous_names(self):
        table = Table({'ra': [1], 'dec': [2], 'RAJ2000': [3], 'DEJ2000': [4]})
        with pytest.raises(ValueError, match=r'several positions.*RAJ2000.*coord_columns'):
            read_positions(table)
        assert_positions(table, [3], [4], coord_columns=('RAJ2000', 'DEJ2000'))

    def test_names_that_differ_in_case(self):
        with pytest.raises(ValueError, match='several positions'):
            read_positions(Table({'ra': [1], 'RA': [1], 'dec': [2]}))

    def test_main_position_by_ucd(self):
        table = Table({'ra': [1.0], 'dec': [2.0], 'RAJ2000': [3.0], 'DEJ2000': [4.0]})
        table['RAJ2000'].meta['ucd'] = 'pos.eq.ra;meta.main'
        table['DEJ2000'].meta['ucd'] = 'pos.eq.dec;meta.main'
        assert_positions(table, [3], [4])

    def test_named_columns_win(self):
        table = QTable({'sky': SkyCoord([1] * u.deg, [2] * u.deg), 'x': [3.0], 'y': [4.0]})
        assert_positions(table, [1], [2])
        assert_positions(table, [3], [4], coord_columns=['x', 'y'])
        assert_positions(table, [1], [2], coord_columns='sky')

    @pytest.mark.parametrize(
        ('coord_columns', 'problem'),
        [
            (('ra', 'nope'), "'nope', which is not among the columns"),
            ('ra', 'not a SkyCoord column'),
            (('ra', 'dec', 'z'), 'one name or two'),
        ],
    )
    def test_wrong_names(self, coord_columns, problem):
        table = Table({'ra': [1.0], 'dec': [2.0], 'z': [0.1]})
        with pytest.raises(ValueError, match=problem):
            read_positions(table, coord_columns=coord_columns)

    def test_sky_column_in_another_frame(self):
        # The galactic pole and centre, from the definition of the frame (IAU 1958).
        sky = SkyCoord([0, 0] * u.deg, [90, 0] * u.deg, frame='galactic')
        table = Table({'position': sky, 'ra': [0.0, 0.0], 'dec': [0.0, 0.0]})
        coords, status = read_positions(table)
        assert_allclose(coords.ra.deg, [192.8595, 266.4050], atol=1e-3)
        assert_allclose(coords.dec.deg, [27.1283, -28.9362], atol=1e-3)
        assert_array_equal(status, 'ok')

    def test_several_sky_columns(self):
        sky = SkyCoord([1] * u.deg, [2] * u.deg)
        table = QTable({'a': sky, 'b': sky.galactic, 'ra': [5.0], 'dec': [6.0]})
        with pytest.raises(ValueError, match=r"several positions, \['a', 'b'\]"):
            read_positions(table)

    def test_masked_sky_column(self):
        ra = Masked([1.0, 2.0, 3.0] * u.deg, mask=[False, True, False])
        sky = SkyCoord(ra, [4, 5, NAN] * u.deg).galactic
        status = ['ok', 'no_coordinates', 'no_coordinates']
        assert_positions(QTable({'sky': sky}), [1, NAN, NAN], [4, NAN, NAN], status=status)

    def test_bad_rows(self):
        table = Table(
            {
                'ra': MaskedColumn([10, 20, NAN, 40, -999, np.inf, 7], mask=[0, 1, 0, 0, 0, 0, 0]),
                'dec': MaskedColumn([1, 2, 3, 90.1, 5, 6, 7], mask=[0, 0, 0, 0, 0, 0, 1]),
            }
        )
        missing, wrong = 'no_coordinates', 'invalid_coordinates'
        assert_positions(
            table,
            [10, *[NAN] * 6],
            [1, *[NAN] * 6],
            status=['ok', missing, missing, wrong, wrong, wrong, missing],
        )

    def test_edges_of_the_range(self):
        table = Table({'ra': [0.0, 360.0, -10.0], 'dec': [90.0, -90.0, 0.0]})
        assert_positions(table, [0, 0, 350], [90, -90, 0])

    def test_masked_quantities(self):
        table = QTable(
            {
                'ra': Masked([1.0, 2.0] * u.rad, mask=[False, True]),
                'dec': Masked([60.0, 120.0] * u.arcmin, mask=[False, False]),
            }
        )
        status = ['ok', 'no_coordinates']
        assert_positions(table, [180 / np.pi, NAN], [1, NAN], status=status)

    @pytest.mark.parametrize('table_class', [Table, QTable])
    def test_units(self, table_class):
        table = table_class(
            {
                'ra': Column([1.5], unit='hourangle'),
                'dec': Column([0.5], unit='rad'),
            }
        )
        assert_positions(table, [22.5], [90 / np.pi])

    def test_angles(self):
        table = QTable({'ra': Longitude([1] * u.hourangle), 'dec': Latitude([2] * u.deg)})
        assert_positions(table, [15], [2])

    def test_integers_and_no_dimension(self):
        table = Table({'ra': Column([10], unit=''), 'dec': [-5]})
        assert_positions(table, [10], [-5])

    @pytest.mark.parametrize('dtype', [str, bytes, object])
    def test_text(self, dtype):
        ra = ['10:30:00', '10 30 00', '10h30m', '157.5', '157d30m', '', 'abc', '10:75:00']
        dec = ['-05:15:00', '-5 15 0', '-5d15m', '-5.25', '-5.25d', '1', '1', '1']
        table = Table({'ra': np.array(ra, dtype=dtype), 'dec': np.array(dec, dtype=dtype)})
        assert_positions(
            table,
            [157.5] * 5 + [NAN] * 3,
            [-5.25] * 5 + [NAN] * 3,
            status=['ok'] * 5 + ['no_coordinates'] + ['invalid_coordinates'] * 2,
        )

    def test_text_with_missing_values(self):
        table = Table(
            {
                'ra': MaskedColumn(['10:30:00', 'unknown'], mask=[False, True]),
                'dec': np.array(['+5', None], dtype=object),
            }
        )
        assert_positions(table, [157.5, NAN], [5, NAN], status=['ok', 'no_coordinates'])

    def test_text_in_the_unit_of_its_column(self):
        table = Table({'ra': Column(['10:30:00'], unit='deg'), 'dec': ['1']})
        assert_positions(table, [10.5], [1])

    def test_text_with_the_unit_of_vizier(self):
        unit = u.Unit('"h:m:s"', parse_strict='silent')
        table = Table({'RAJ2000': Column(['10 30 00'], unit=unit), 'DEJ2000': ['-05 15 00']})
        assert_positions(table, [157.5], [-5.25])

    def test_wrong_unit(self):
        table = Table({'ra': Column([1.0], unit='mag'), 'dec': [2.0]})
        with pytest.raises(ValueError, match="'ra' has the unit 'mag', which is no angle"):
            read_positions(table)

    def test_several_values_a_row(self):
        with pytest.raises(ValueError, match=r"'ra' of shape \(2, 3\), expected one value per row"):
            read_positions(Table({'ra': np.zeros((2, 3)), 'dec': [0.0, 0.0]}))

    def test_no_rows(self):
        assert_positions(Table({'ra': [], 'dec': []}), [], [])
        assert_positions(Table({'ra': np.array([], str), 'dec': np.array([], str)}), [], [])

    def test_input_unchanged(self):
        table = Table({'ra': [1.0, 500.0], 'dec': [2.0, 3.0]})
        read_positions(table)
        assert_array_equal(table['ra'], [1, 500])


class TestFindImageColumn:
    @pytest.mark.parametrize(
        'name', ['image', 'path', 'file', 'FileName', 'image_path', 'file_loc', 'ImagePath']
    )
    @pytest.mark.parametrize('dtype', [str, bytes, object])
    def test_names(self, name, dtype):
        table = Table({'name': ['x'], name: np.array(['a.png'], dtype=dtype)})
        assert find_image_column(table) == name

    def test_the_most_telling_name(self):
        assert find_image_column(Table({'file': ['x'], 'image_path': ['a']})) == 'image_path'

    def test_none(self):
        table = QTable({'image': [1], 'path': [2] * u.m, 'name': ['a.png']})
        table['file'] = SkyCoord([1] * u.deg, [2] * u.deg)
        assert find_image_column(table) is None


class TestReadLabels:
    @pytest.mark.parametrize(
        ('column', 'labels', 'is_labelled'),
        [
            (['E', 'S ', '', '  '], ['E', 'S'], [1, 1, 0, 0]),
            ([b'E', b'S', b'', b' '], ['E', 'S'], [1, 1, 0, 0]),
            (MaskedColumn(['E', 'S'], mask=[1, 0]), ['S'], [0, 1]),
            (MaskedColumn([b'E', b'S'], mask=[1, 0]), ['S'], [0, 1]),
            ([3, 0, -1], [3, 0, -1], [1, 1, 1]),
            (MaskedColumn([3, 0], mask=[1, 0]), [0], [0, 1]),
            ([True, False], [True, False], [1, 1]),
            ([1.0, NAN, 0.0], [1, 0], [1, 0, 1]),
            ([0.5, NAN], [0.5], [1, 0]),
            ([np.inf, 1.0, -np.inf, 0.0], [1, 0], [0, 1, 0, 1]),
            (np.array([np.inf, 1, None], object), [1], [0, 1, 0]),
            (np.array(['E', None, NAN, b'S', ''], object), ['E', 'S'], [1, 0, 0, 1, 0]),
            (np.array([True, None], object), [True], [1, 0]),
            (MaskedColumn(['E', 'E'], mask=True), [], [0, 0]),
        ],
    )
    def test_values(self, column, labels, is_labelled):
        found, found_labelled = read_labels(Table({'morphology': column}), 'morphology')
        assert found_labelled.dtype == bool
        assert found.shape == found_labelled.shape
        assert_array_equal(found_labelled, np.array(is_labelled, bool))
        assert found[found_labelled].tolist() == labels
        assert [type(value) for value in found[found_labelled].tolist()] == list(map(type, labels))

    def test_missing_column(self):
        with pytest.raises(ValueError, match=r"label_column names 'm', .*\['id', 'type'\]"):
            read_labels(Table({'id': [1], 'type': ['E']}), 'm')

    def test_votes(self):
        with pytest.raises(ValueError, match='one value per row'):
            read_labels(Table({'votes': np.zeros((2, 3))}), 'votes')


CLASSES = ['E', 'S', 'irregular']
PROBABILITIES = [[0.5, 0.25, 0.25], [NAN, NAN, NAN], [0.0, 1.0, 0.0]]
STATUS = ['ok', 'truncated', 'ok']
PROVENANCE = {'MORPHVER': '0.1', 'MORPHN': 3}


def make_catalogue(table_class=Table):
    table = table_class({'id': [1, 2, 3]}, meta={'AUTHOR': 'me', 'nested': {'list': [1]}})
    table['mag'] = Column([17.0, 18.0, 19.0], unit='mag', description='r', meta={'a': {'b': 1}})
    table['position'] = SkyCoord([1, 2, 3] * u.deg, [4, 5, 6] * u.deg)
    return table


def annotate(table, **changes):
    arguments = {
        'classes': CLASSES,
        'probabilities': PROBABILITIES,
        'status': STATUS,
        'flags': [0, 3, 1],
        'provenance': PROVENANCE,
    }
    return write_predictions(table, **arguments | changes)


class TestWritePredictions:
    @pytest.mark.parametrize('table_class', [Table, QTable])
    def test_columns(self, table_class):
        annotated = annotate(make_catalogue(table_class))
        assert type(annotated) is table_class
        assert annotated.colnames == [
            'id',
            'mag',
            'position',
            'morph_class',
            'morph_p_E',
            'morph_p_S',
            'morph_p_irregular',
            'morph_confidence',
            'morph_entropy',
            'morph_flags',
            'morph_status',
        ]
        assert annotated['morph_class'].tolist() == ['E', None, 'S']
        assert annotated['morph_p_S'].tolist() == [0.25, None, 1.0]
        assert annotated['morph_confidence'].tolist() == [0.5, None, 1.0]
        assert annotated['morph_entropy'].tolist() == [1.5, None, 0.0]
        assert annotated['morph_flags'].tolist() == [0, 3, 1]
        assert annotated['morph_status'].tolist() == STATUS
        assert annotated['morph_flags'].dtype == np.int32
        for name in annotated.colnames[4:9]:
            assert annotated[name].dtype == np.float32
            assert annotated[name].unit is None
            # What a format without masks would store.
            assert np.isnan(annotated[name].data.data[1])
        assert annotated['morph_class'].data.data[1] == ''

    @pytest.mark.parametrize('table_class', [Table, QTable])
    def test_what_was_there(self, table_class):
        catalogue = make_catalogue(table_class)
        annotated = annotate(catalogue)
        for name in catalogue.colnames:
            assert np.all(annotated[name] == catalogue[name])
            assert type(annotated[name]) is type(catalogue[name])
            assert annotated[name].info.unit == catalogue[name].info.unit
            assert annotated[name].info.description == catalogue[name].info.description
            assert annotated[name].info.meta == catalogue[name].info.meta
        assert annotated.meta == catalogue.meta | PROVENANCE

    def test_input_unchanged(self):
        catalogue = make_catalogue()
        annotated = annotate(catalogue)
        annotated.meta['nested']['list'].append(2)
        annotated['mag'].meta['a']['b'] = 2
        annotated['id'][0] = 99
        assert catalogue.colnames == ['id', 'mag', 'position']
        assert catalogue.meta == {'AUTHOR': 'me', 'nested': {'list': [1]}}
        assert catalogue['mag'].meta == {'a': {'b': 1}}
        assert catalogue['id'][0] == 1

    def test_novelty_stands_before_the_flags(self):
        annotated = annotate(make_catalogue(), novelty=[0.5, 0.5, NAN])
        assert annotated.colnames[-3:] == ['morph_novelty', 'morph_flags', 'morph_status']
        assert annotated['morph_novelty'].dtype == np.float32
        assert annotated['morph_novelty'].mask.tolist() == [False, True, True]
        with pytest.raises(ValueError, match=r'novelty has the shape \(2,\), expected \(3,\)'):
            annotate(make_catalogue(), novelty=[0.5, 0.5])

    def test_what_columns_say_of_themselves(self):
        annotated = annotate(Table({'id': [1, 2, 3]}), novelty=[0.1, 0.2, 0.3])
        annotated.remove_column('id')
        for column in annotated.itercols():
            assert column.info.description
            parse_ucd(column.info.meta['ucd'], check_controlled_vocabulary=True)
        assert annotated['morph_class'].meta['classes'] == CLASSES
        assert annotated['morph_class'].meta['MORPHVER'] == '0.1'
        assert annotated['morph_p_irregular'].meta['label'] == 'irregular'

    @pytest.mark.parametrize('odd', [NAN, float('inf'), -float('inf')])
    def test_what_is_not_finite_is_never_ok(self, odd):
        table, options = Table({'id': [1, 2]}), {'flags': [0, 0], 'provenance': {}}
        of_classes = write_predictions(
            table,
            classes=['E', 'S'],
            probabilities=[[0.25, 0.75], [odd, 0.5]],
            status=['ok', 'ok'],
            **options,
        )
        votes = Table({'bar': [0.5, odd], 'bar_std': [0.1, 0.1]})
        of_votes = write_numbers(table, votes, status=['ok', 'ok'], **options)
        for annotated in (of_classes, of_votes):
            assert annotated['morph_status'].tolist() == ['ok', 'not_finite']
        assert of_classes['morph_class'].tolist() == ['S', None]
        assert of_votes['morph_bar_std'].mask.tolist() == [False, True]

    def test_provenance_that_fits_headers(self):
        annotated = annotate(make_catalogue(), provenance={'MORPHSRC': 'Bücher/a\nb'})
        assert annotated.meta['MORPHSRC'] == r'B\xfccher/a b'

    @pytest.mark.parametrize('name', ['morphver', 'MORPHVERSION', 'MORPH VER', ''])
    def test_provenance_that_fits_no_header(self, name):
        with pytest.raises(ValueError, match='provenance has the names'):
            annotate(make_catalogue(), provenance={name: 1})

    def test_prefix(self):
        twice = annotate(annotate(make_catalogue()), prefix='new_')
        assert {'morph_class', 'new_class', 'new_p_E', 'new_status'} <= set(twice.colnames)

    def test_columns_that_are_there(self):
        annotated = annotate(make_catalogue())
        with pytest.raises(ValueError, match=r"'morph_class'.*overwrite=True"):
            annotate(annotated)
        # FITS ignores case.
        with pytest.raises(ValueError, match='MORPH_FLAGS'):
            annotate(Table({'MORPH_FLAGS': [0, 0, 0]}))

    def test_overwrite(self):
        first = annotate(make_catalogue())
        first['morph_p_value'] = [0.1, 0.2, 0.3]
        again = annotate(
            first,
            classes=['E', 'S'],
            probabilities=[[0, 1], [1, 0], [0.5, 0.5]],
            status=['ok'] * 3,
            overwrite=True,
        )
        assert again['morph_class'].tolist() == ['S', 'E', 'E']
        # The class of the first model is removed, the user's own column is kept.
        assert 'morph_p_irregular' not in again.colnames
        assert again['morph_p_value'].tolist() == [0.1, 0.2, 0.3]
        assert first['morph_class'].tolist() == ['E', None, 'S']

    def test_stale_columns_stay_without_overwrite(self):
        first = annotate(make_catalogue(), classes=['a', 'b', 'c'])['id', 'morph_p_a']
        assert 'morph_p_a' in annotate(first).colnames

    @pytest.mark.parametrize('classes', [[0, 1, 2], np.array([0, 1, 2])])
    def test_classes_that_are_numbers(self, classes):
        annotated = annotate(make_catalogue(), classes=classes)
        assert annotated['morph_class'].tolist() == ['0', None, '1']
        assert annotated['morph_class'].meta['classes'] == ['0', '1', '2']
        assert annotated['morph_p_2'].tolist() == [0.25, None, 0.0]

    @pytest.mark.parametrize(
        ('argument', 'value'),
        [('classes', ['E', 'S']), ('status', ['ok']), ('flags', [0]), ('probabilities', [0.5])],
    )
    def test_wrong_shape(self, argument, value):
        with pytest.raises(ValueError, match='has the shape'):
            annotate(make_catalogue(), **{argument: value})

    def test_no_rows(self):
        annotated = annotate(
            make_catalogue()[:0], probabilities=np.zeros((0, 3)), status=[], flags=[]
        )
        assert len(annotated) == 0
        assert 'morph_class' in annotated.colnames


def test_probability_columns():
    classes = ['Élliptique', 'S0/a', 'S0 a', 's0_A', '+', '-', 'x' * 90, '螺旋', True, 1.5]
    names = probability_columns(classes)
    assert names[:6] == [
        'morph_p_Elliptique',
        'morph_p_S0_a',
        'morph_p_S0_a_2',
        'morph_p_s0_A_3',
        'morph_p_class',
        'morph_p_class_2',
    ]
    assert names[-2:] == ['morph_p_True', 'morph_p_1_5']
    assert len({name.lower() for name in names}) == len(classes)
    for name in names:
        assert name.isascii()
        assert name.isidentifier()
        # The limit of PostgreSQL.
        assert len(name) <= 63
