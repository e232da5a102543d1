# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of what survives in table files."""

import os

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable.tree import VOTableFile
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from numpy.testing import assert_allclose, assert_array_equal

from astro_morph.catalog import read_labels, read_positions, write_predictions
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.tests.helpers import fill_disk

PROVENANCE = {
    'MORPHVER': '0.1',
    'MORPHMOD': 'resnet18 ' * 12,
    'MORPHSRC': 'https://example.org/?a=1&b=<2>"',
    'MORPHN': 3,
    'MORPHT': 0.25,
    'MORPHOK': True,
}


def make_annotated(table_class=QTable):
    """Make a catalogue with everything that files find hard, and predictions."""
    rng = np.random.default_rng(0)
    table = table_class(meta={'AUTHOR': 'me'})
    table['sky'] = SkyCoord(rng.uniform(0, 360, 3), rng.uniform(-90, 90, 3), unit='deg')
    table['flux'] = Masked(rng.normal(size=3) * u.nJy, mask=[False, True, False])
    table['flux'].info.description = 'Flux in r'
    table['count'] = MaskedColumn([1, 2, 3], unit='pix', mask=[False, True, False])
    table['good'] = MaskedColumn([True, False, True], mask=[True, False, False])
    table['morphology'] = MaskedColumn(['E', 'S', 'E'], mask=[False, False, True])
    table['name'] = Column(['a', 'bc', 'd'], description='Name', meta={'ucd': 'meta.id'})
    return write_predictions(
        table,
        classes=['E', 'S0/a, "odd" & <old>'],
        probabilities=[[0.2, 0.8], [np.nan, np.nan], [1, 0]],
        status=['ok', 'truncated', 'ok'],
        flags=[0, 3, 0],
        provenance=PROVENANCE,
    )


def assert_same_values(found, expected, names):
    """Check values, masks and kinds of columns."""
    for name in names:
        mask = np.broadcast_to(getattr(expected[name], 'mask', False), len(expected))
        assert_array_equal(np.broadcast_to(getattr(found[name], 'mask', False), len(found)), mask)
        assert_array_equal(np.asarray(found[name])[~mask], np.asarray(expected[name])[~mask])
        assert found[name].dtype.kind == expected[name].dtype.kind


def assert_same_columns(found, expected, names):
    """Check what columns hold and what they say of themselves."""
    assert_same_values(found, expected, names)
    for name in names:
        assert found[name].unit == expected[name].unit
        assert found[name].info.description == expected[name].info.description
        ucd = (expected[name].info.meta or {}).get('ucd')
        assert (found[name].info.meta or {}).get('ucd') == ucd
        assert found[name].dtype.newbyteorder('=') == expected[name].dtype


def require(ending):
    """Skip where the package that a format needs is missing."""
    package = {'.h5': 'h5py', '.hdf5': 'h5py', '.parquet': 'pyarrow'}.get(ending)
    if package:
        pytest.importorskip(package)


@pytest.mark.parametrize('table_class', [Table, QTable])
@pytest.mark.parametrize('ending', ['.fits', '.fits.gz', '.ecsv', '.hdf5', '.h5', '.parquet'])
def test_everything_survives(tmp_path, ending, table_class):
    require(ending)
    annotated = make_annotated(table_class)
    path = tmp_path / f'Table{ending}'
    write_table(annotated, path)
    found = read_table(path)
    assert type(found) is Table
    assert found.colnames == annotated.colnames
    assert_same_columns(found, annotated, annotated.colnames[1:])
    assert_allclose(found['sky'].separation(annotated['sky']).deg, 0, atol=1e-12)
    assert found['morph_class'].meta == annotated['morph_class'].meta
    assert found.meta == annotated.meta
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('table_class', [Table, QTable])
@pytest.mark.parametrize('ending', ['.vot', '.votable', '.xml'])
def test_votable(tmp_path, ending, table_class):
    annotated = make_annotated(table_class)
    annotated.meta['comments'] = ['one', 'two']
    annotated.meta['two lines'] = 'one\ntwo'
    annotated.meta['nested'] = {'number': np.float32(0.5), 'text': 'a\nb', 'unit': u.mag}
    write_table(annotated, tmp_path / f'table{ending}')
    found = read_table(tmp_path / f'table{ending}')
    assert found.colnames == ['ra', 'dec', *annotated.colnames[1:]]
    assert_same_columns(found, annotated, annotated.colnames[1:])
    assert_array_equal(found['ra'], annotated['sky'].ra.deg)
    assert found['ra'].unit == found['dec'].unit == u.deg
    assert found['dec'].meta['ucd'] == 'pos.eq.dec;meta.main'
    assert found.meta == annotated.meta | {'nested': {'number': 0.5, 'text': 'a\nb', 'unit': 'mag'}}


def test_csv_holds_names_and_values(tmp_path):
    annotated = make_annotated()
    write_table(annotated, tmp_path / 'table.csv')
    found = read_table(tmp_path / 'table.csv')
    assert found.colnames == ['ra', 'dec', *annotated.colnames[1:]]
    assert_same_values(found, annotated, ['flux', 'count', 'morphology', 'name', 'morph_class'])
    assert_allclose(found['morph_entropy'], annotated['morph_entropy'], rtol=1e-6)
    coords, status = read_positions(found)
    assert_allclose(coords.separation(annotated['sky']).deg, 0, atol=1e-12)
    assert_array_equal(status, 'ok')


@pytest.mark.parametrize('ending', ['.vot', '.csv'])
def test_sky_columns_apart(tmp_path, ending):
    sky = SkyCoord(Masked([10.0, 20.0] * u.deg, mask=[False, True]), [1, 2] * u.deg)
    path = tmp_path / f'table{ending}'

    write_table(QTable({'ra': ['x', 'y'], 'sky': sky, 'id': [1, 2]}), path)
    found = read_table(path)
    assert found.colnames == ['ra', 'sky_ra', 'sky_dec', 'id']
    assert found['sky_ra'].tolist() == [10.0, None]

    galactic = SkyCoord([0] * u.deg, [90] * u.deg, frame='galactic')
    write_table(QTable({'a': galactic, 'b': sky[:1]}), path, overwrite=True)
    found = read_table(path)
    assert found.colnames == ['a_ra', 'a_dec', 'b_ra', 'b_dec']
    assert_allclose(found['a_ra'], 192.8595, atol=1e-3)


@pytest.mark.parametrize('ending', ['.fits', '.ecsv', '.csv', '.vot', '.h5', '.parquet'])
def test_catalogue_can_be_used_again(tmp_path, ending):
    require(ending)
    annotated = make_annotated()
    write_table(annotated, tmp_path / f'table{ending}')
    found = read_table(tmp_path / f'table{ending}')
    coords, status = read_positions(found)
    assert_allclose(coords.separation(annotated['sky']).deg, 0, atol=1e-12)
    assert_array_equal(status, 'ok')
    labels, is_labelled = read_labels(found, 'morphology')
    assert labels.dtype.kind == 'U'
    assert_array_equal(labels[is_labelled], ['E', 'S'])
    assert_array_equal(is_labelled, [True, True, False])


@pytest.mark.parametrize(
    ('ending', 'options'),
    [
        ('.fits', {}),
        ('.ecsv', {}),
        ('.h5', {'path': 'data', 'serialize_meta': True}),
        ('.parquet', {}),
        ('.vot', {'format': 'votable'}),
        ('.csv', {}),
    ],
)
@pytest.mark.parametrize('table_class', [Table, QTable])
def test_plain_astropy(tmp_path, ending, options, table_class):
    """What a user writes with Table.write, as far as astropy carries it."""
    require(ending)
    annotated = make_annotated(table_class)
    if ending == '.vot':
        annotated.remove_column('sky')
    path = tmp_path / f'table{ending}'
    annotated.write(path, **options)
    found = Table.read(path, **{name: options[name] for name in options if name == 'format'})
    assert_allclose(found['morph_p_E'].filled(-1), [0.2, -1, 1], rtol=1e-6)
    assert found['morph_status'].tolist() == ['ok', 'truncated', 'ok']
    # A VOTable's text cannot be masked, so that the value under the mask counts.
    assert found['morph_class'][1] in ('', np.ma.masked)
    if ending != '.csv':
        ucd = annotated['morph_class'].info.meta['ucd']
        assert found['morph_class'].info.meta['ucd'] == ucd
        assert found['morph_class'].description == annotated['morph_class'].description
    if ending not in ('.csv', '.vot'):
        assert found.meta == annotated.meta
        assert found['morph_class'].info.meta['MORPHVER'] == '0.1'


@pytest.mark.parametrize('ending', ['.ecsv', '.h5', '.parquet', '.vot', '.csv'])
def test_text_beyond_ascii(tmp_path, ending):
    require(ending)
    table = Table({'Größe': ['élliptique', '螺旋'], 'a b': [1, 2]})
    write_table(table, tmp_path / f'table{ending}')
    found = read_table(tmp_path / f'table{ending}')
    assert found.colnames == table.colnames
    assert found['Größe'].tolist() == ['élliptique', '螺旋']


def test_text_that_fits_does_not_take(tmp_path):
    with pytest.raises(ValueError, match="column 'type' holds the text 'élliptique' beyond ASCII"):
        write_table(Table({'type': ['élliptique']}), tmp_path / 'table.fits')
    assert list(tmp_path.iterdir()) == []


def test_text_of_a_service(tmp_path):
    """Text of any length is a column of objects when astropy reads it."""
    path = tmp_path / 'table.vot'
    path.write_text(
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        '<RESOURCE type="results"><TABLE>'
        '<FIELD name="type" datatype="char" arraysize="*"/>'
        '<FIELD name="RAJ2000" datatype="char" arraysize="*" unit="&quot;h:m:s&quot;"/>'
        '<FIELD name="DEJ2000" datatype="char" arraysize="*" unit="&quot;d:m:s&quot;"/>'
        '<DATA><TABLEDATA>'
        '<TR><TD>E</TD><TD>10 30 00</TD><TD>-05 15 00</TD></TR><TR><TD/><TD/><TD/></TR>'
        '</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>'
    )
    found = read_table(path)
    assert found['type'].tolist() == ['E', None]
    coords, status = read_positions(found)
    assert_allclose([coords.ra.deg[0], coords.dec.deg[0]], [157.5, -5.25])
    assert_array_equal(status, ['ok', 'no_coordinates'])


def test_input_unchanged(tmp_path):
    annotated = make_annotated()
    names = annotated.colnames
    for ending in ('.fits', '.vot', '.csv'):
        write_table(annotated, tmp_path / f'table{ending}')
    assert annotated.colnames == names
    assert annotated['good'].info.serialize_method['fits'] == 'null_value'


def test_overwrite(tmp_path):
    path = tmp_path / 'table.ecsv'
    write_table(Table({'id': [1]}), path)
    with pytest.raises(FileExistsError, match='overwrite=True'):
        write_table(Table({'id': [2]}), path)
    assert read_table(path)['id'].tolist() == [1]
    write_table(Table({'id': [2]}), path, overwrite=True)
    assert read_table(path)['id'].tolist() == [2]


@pytest.mark.parametrize(
    'ending', ['.fits', '.fits.gz', '.ecsv', '.csv', '.h5', '.parquet', '.vot']
)
def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch, ending):
    require(ending)

    class FullDisk(Table):
        def write(self, file, **kwargs):
            if isinstance(file, os.PathLike):
                file.write_text('half a table')
            raise OSError(28, 'No space left on device')

    path = tmp_path / f'table{ending}'
    write_table(Table({'id': [1]}), path)
    fill_disk(monkeypatch, VOTableFile, 'to_xml')
    if ending == '.parquet':
        fill_disk(monkeypatch, pytest.importorskip('pyarrow.parquet'), 'write_table')
    with pytest.raises(OSError, match='No space'):
        write_table(FullDisk({'id': [2]}), path, overwrite=True)
    assert read_table(path)['id'].tolist() == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_link_stays_a_link(tmp_path):
    target, link = tmp_path / 'target.csv', tmp_path / 'link.csv'
    write_table(Table({'id': [1]}), target)
    link.symlink_to(target)
    write_table(Table({'id': [2]}), link, overwrite=True)
    assert link.is_symlink()
    assert read_table(target)['id'].tolist() == [2]


@pytest.mark.parametrize('name', ['table.txt', 'table', 'fits'])
def test_unknown_format(tmp_path, name):
    with pytest.raises(ValueError, match=r'must end in one of \.fits'):
        write_table(Table({'id': [1]}), tmp_path / name)
    with pytest.raises(ValueError, match=r'must end in one of \.fits'):
        read_table(tmp_path / name)


def test_parquet_of_other_programs(tmp_path):
    """What pandas and the catalogues of archives hold: nulls, and nothing said of columns."""
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    columns = {
        'id': pyarrow.array([1, None, 2**60 + 1]),
        'name': pyarrow.array(['a', None, 'longer']),
        'good': pyarrow.array([True, None, False]),
        'flux': pyarrow.array([0.5, None, 1.5], pyarrow.float32()),
        'type': pyarrow.array(['E', 'S', 'E']).dictionary_encode(),
        'shape': pyarrow.array([[1.0, 2.0]] * 3, pyarrow.list_(pyarrow.float64(), 2)),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / 'table.parquet')
    found = read_table(tmp_path / 'table.parquet')
    assert {name: found[name].tolist() for name in found.colnames} == {
        name: column.to_pylist() for name, column in columns.items()
    }
    assert found['id'].dtype == np.int64
    write_table(found, tmp_path / 'again.parquet')
    assert read_table(tmp_path / 'again.parquet')['id'].tolist() == [1, None, 2**60 + 1]
