# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Catalogues as people have them: what comes in, what is odd about it, and what must come out."""

import datetime
import gzip
import http.server
import io
import threading
from decimal import Decimal

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time, TimeDelta
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog import read_labels, read_positions, read_sizes
from astro_morph.catalog.io.chunks import TableChunks, find_representatives, write_chunks
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.catalog.nested import to_python
from astro_morph.tests.catalog.test_table_io import require

NAN = float('nan')
ENDINGS = ('.fits', '.ecsv', '.csv', '.h5', '.parquet', '.vot')

NOON = datetime.datetime(2020, 1, 1, 12)
DAY = datetime.date(2020, 1, 1)
HOUR = datetime.timedelta(hours=1)

TIME = datetime.time(1, 2, 3)
TEXT_TIME = '2020-01-01T12:00:00.000000'
ID = Decimal('0.123456789012345678')
LISTS = [[1.0, 2.0], None, [3.0]]
PAIRS = [[1, 2], [3, 4], [5, 6]]
NESTED = [[[1.0], [2.0, 3.0]], [[1.0, 2.0], [3.0, 4.0]], None]

# Of each type: its values; what comes out, or the words of the refusal; and in which formats it is
# something else.
TYPES = {
    'int8': ([1, -128, None], [1, -128, None], {}),
    'uint8': ([1, 255, None], [1, 255, None], {}),
    'uint16': ([1, 65535, None], [1, 65535, None], {}),
    'uint32': ([1, 2**32 - 1, None], [1, 2**32 - 1, None], {}),
    'uint64': ([1, 2**63 - 1, None], [1, 2**63 - 1, None], {}),
    # Beyond 2**63, VOTable has no integers, and those of CSV are text with all digits.
    'large uint64': (
        [2**64 - 1, 0, 5],
        [2**64 - 1, 0, 5],
        {'.vot': 'integers beyond 9223372036854775807', '.csv': [str(2**64 - 1), '0', '5']},
    ),
    # Some programs write 999999 for a missing integer.
    'int64': ([999999, 2**63 - 1, None], [999999, 2**63 - 1, None], {}),
    'int16': ([16959, -1, None], [16959, -1, None], {}),
    'halffloat': ([1.5, -2.0, None], [1.5, -2.0, None], {}),
    'bool': ([True, False, None], [True, False, None], {'.csv': ['True', 'False', None]}),
    'string': (['a', 'é螺', None], ['a', 'é螺', None], {'.fits': "the text 'é螺' beyond ASCII"}),
    'text of control': (
        ['a', 'b\x01', 'c'],
        ['a', 'b\x01', 'c'],
        {'.vot': r"control characters in the text 'b\x01'"},
    ),
    'large_string': (['a', 'longer', None], ['a', 'longer', None], {}),
    'dictionary': (['E', 'S', None], ['E', 'S', None], {}),
    'null': ([None] * 3, [None] * 3, {}),
    'binary': ([b'Sb', b'\xff\0', None], 'binary data', {'.parquet': [b'Sb', b'\xff\0', None]}),
    'text as binary': ([b'S', b'E', None], ['S', 'E', None], {'.parquet': [b'S', b'E', None]}),
    'date32': ([DAY, DAY, None], ['2020-01-01'] * 2 + [None], {'.parquet': [DAY, DAY, None]}),
    'timestamp': ([NOON, NOON, None], [TEXT_TIME] * 2 + [None], {'.parquet': [NOON, NOON, None]}),
    # What has a zone is written in UTC.
    'with zone': (
        [NOON, NOON, None],
        [f'{TEXT_TIME}Z'] * 2 + [None],
        {'.parquet': [NOON, NOON, None]},
    ),
    'time32': ([TIME, TIME, None], ['01:02:03'] * 2 + [None], {'.parquet': [TIME, TIME, None]}),
    'duration': ([HOUR, HOUR, None], [3600, 3600, None], {'.parquet': [HOUR, HOUR, None]}),
    'decimal': ([Decimal('1.5'), Decimal('-2'), None], [1.5, -2, None], {}),
    'decimal integer': ([Decimal(12), Decimal(-7), None], [12, -7, None], {}),
    'long decimal': (
        [ID, ID, None],
        [str(ID)] * 2 + [None],
        {'.parquet': [ID, ID, None], '.csv': [float(ID)] * 2 + [None]},
    ),
    # FITS and VOTable have empty lists for those that are missing.
    'list': (
        LISTS,
        LISTS,
        {'.csv': 'lists', '.h5': 'lists', '.fits': [[1, 2], [], [3]], '.vot': [[1, 2], [], [3]]},
    ),
    'list of text': (
        [['a'], ['b', 'c'], None],
        'lists',
        {end: [['a'], ['b', 'c'], None] for end in ('.parquet', '.ecsv')},
    ),
    'list of lists': (NESTED, 'lists', {'.parquet': NESTED, '.ecsv': NESTED}),
    'fixed list': (PAIRS, PAIRS, {'.csv': 'arrays of the shape (2,)'}),
    'struct': (
        [{'a': 1}, {'a': 2}, None],
        'structures',
        {end: [{'a': 1}, {'a': 2}, None] for end in ('.parquet', '.ecsv')},
    ),
    'struct of lists': (
        [{'a': [1.0]}, {'a': [2.0, 3.0]}, None],
        'structures',
        {end: [{'a': [1.0]}, {'a': [2.0, 3.0]}, None] for end in ('.parquet', '.ecsv')},
    ),
    'map': (
        [[('a', 1)], [], None],
        'lists',
        {'.parquet': [[('a', 1)], [], None], '.ecsv': [[['a', 1]], [], None]},
    ),
}


def make_types(pa):
    """Return the types of Arrow by name."""
    plain = {name for name in TYPES if name.isidentifier()}
    composed = {
        'large uint64': pa.uint64(),
        'string': pa.string(),
        'text of control': pa.string(),
        'dictionary': pa.dictionary(pa.int8(), pa.string()),
        'text as binary': pa.binary(),
        'timestamp': pa.timestamp('us'),
        'with zone': pa.timestamp('us', 'Asia/Tokyo'),
        'time32': pa.time32('s'),
        'duration': pa.duration('us'),
        'decimal': pa.decimal128(4, 2),
        'decimal integer': pa.decimal128(10, 0),
        'long decimal': pa.decimal128(38, 18),
        'list': pa.list_(pa.float64()),
        'list of text': pa.list_(pa.string()),
        'list of lists': pa.list_(pa.list_(pa.float64())),
        'fixed list': pa.list_(pa.int16(), 2),
        'struct': pa.struct({'a': pa.int64()}),
        'struct of lists': pa.struct({'a': pa.list_(pa.float64())}),
        'map': pa.map_(pa.string(), pa.int32()),
    }
    return {name: pa.type_for_alias(name) for name in plain - composed.keys()} | composed


def make_parquet(path, values, kind=None):
    """Write a Parquet file with the column x, and one more."""
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    parquet.write_table(
        pyarrow.table({'x': pyarrow.array(values, kind), 'y': range(len(values))}), path
    )


def through(path, output):
    """Copy a table in chunks of one row; what its format cannot hold is refused before that."""
    chunks = TableChunks(path, 1)
    rows = find_representatives(chunks)
    write_chunks([rows], output, n_rows=len(rows), representatives=rows[:0])
    try:
        write_chunks(chunks, output, n_rows=chunks.n_rows, representatives=rows, overwrite=True)
    except ValueError as error:
        pytest.fail(f'not before the work: {error}')
    return read_table(output)


def plain(column):
    """Return the values of a column, arrays as lists and NaN as None."""
    values = list(map(to_python, column.tolist()))
    return [None if isinstance(value, float) and value != value else value for value in values]


def assert_refused(path, output, expected):
    """Check the words of a refusal, which comes before the work."""
    with pytest.raises(ValueError, match='x') as caught:
        through(path, output)
    message = str(caught.value)
    assert message.startswith(f"the column 'x' holds {expected}, which ")
    assert message.endswith('or leave the column out')
    assert '\n' not in message


def check(path, output, expected):
    """Check the values that come out, or the refusal."""
    if isinstance(expected, str):
        assert_refused(path, output, expected)
        return
    found = through(path, output)
    assert plain(found['x']) == expected
    assert found['y'].tolist() == list(range(len(expected)))


@pytest.mark.parametrize('ending', ENDINGS)
def test_types_of_parquet(tmp_path, ending):
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    require(ending)
    types = make_types(pyarrow)
    assert types.keys() == TYPES.keys()
    held = {}
    for name, (values, expected, others) in TYPES.items():
        expected = others.get(ending, expected)
        column = pyarrow.array(values, types[name])
        if not isinstance(expected, str):
            held[name] = column, expected
            continue
        parquet.write_table(pyarrow.table({'x': column}), tmp_path / 'in.parquet')
        assert_refused(tmp_path / 'in.parquet', tmp_path / f'out{ending}', expected)
    rows = pyarrow.table({name: column for name, (column, _) in held.items()})
    parquet.write_table(rows, tmp_path / 'in.parquet')
    found = through(tmp_path / 'in.parquet', tmp_path / f'out{ending}')
    assert {name: plain(found[name]) for name in held} == {
        name: expected for name, (_, expected) in held.items()
    }


def test_parquet_keeps_its_types(tmp_path):
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    types = [
        pyarrow.decimal128(4, 2),
        pyarrow.decimal128(10, 0),
        pyarrow.timestamp('us', 'Asia/Tokyo'),
        pyarrow.timestamp('ns'),
        pyarrow.date32(),
        pyarrow.list_(pyarrow.struct({'a': pyarrow.int8()})),
        pyarrow.binary(),
    ]
    columns = {str(kind): pyarrow.nulls(2, kind) for kind in types}
    parquet.write_table(pyarrow.table(columns), tmp_path / 'in.parquet')
    through(tmp_path / 'in.parquet', tmp_path / 'out.parquet')
    found = parquet.read_table(tmp_path / 'out.parquet')
    assert {str(kind): found[str(kind)].type for kind in types} == {
        str(kind): kind for kind in types
    }
    assert all(found[str(kind)].null_count == 2 for kind in types)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('#Table1\nx,y\n1,0\n', [1]),
        ('# by me\n# 2020\n\nx,y\n#a comment\n1,0\n#end\n', [1]),
        ('# x, y\n1.5,0\n', [1.5]),
        ('x,y\n007,0\n010,1\n', ['007', '010']),
        ('x,y\n12,0\n"007",1\n', ['12', '007']),
        ('x,y\nnull,0\n0.5,1\nNULL,2\n', [None, 0.5, None]),
        ('x,y\n-,0\n5,1\n', [None, 5]),
        ('x,y\nnull,0\nspiral,1\n', ['null', 'spiral']),
        ('x,y\n9223372036854775808,0\n', ['9223372036854775808']),
        ('x;y\n1,5;0\n-2,25;1\n', [1.5, -2.25]),
        ('x\ty\n1\t0\n\t1\n', [1, None]),
        ('x|y\na b|0\n', ['a b']),
        ('x;y\n"a;b";0\n', ['a;b']),
        ('\ufeffx,y\n1,0\n', [1]),
        ('x,y\r\nSérsic,0\r\n', ['Sérsic']),
        ('x,y\r1,0\r2,1\r', [1, 2]),
        ('"x","line\nbreak",y\n1,2,0\n', [1]),
    ],
)
def test_csv_of_other_programs(tmp_path, text, expected):
    path = tmp_path / 'in.csv'
    path.write_bytes(text.encode())
    assert plain(read_table(path)['x']) == expected
    for ending in ('.csv', '.ecsv'):
        check(path, tmp_path / f'out{ending}', expected)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'latin-1'])
@pytest.mark.parametrize('ending', ['.csv', '.ecsv'])
def test_encodings(tmp_path, ending, encoding):
    if ending == '.ecsv' and encoding.startswith('utf-16'):
        pytest.skip('ECSV is UTF-8')
    path, other = tmp_path / f'in{ending}', tmp_path / f'other{ending}'
    write_table(Table({'x': ['Sérsic', 'E'], 'y': [0, 1]}), other)
    path.write_bytes(other.read_text('utf-8').encode(encoding))
    if encoding == 'latin-1':
        with pytest.warns(AstropyUserWarning, match='is not UTF-8, and is read as Latin-1'):
            found = read_table(path)
    else:
        found = read_table(path)
    assert found['x'].tolist() == ['Sérsic', 'E']


def make_votable(fields, rows, *, before='', after=''):
    cells = ''.join('<TR>' + ''.join(f'<TD>{cell}</TD>' for cell in row) + '</TR>' for row in rows)
    columns = ''.join(f'<FIELD name="{name}" {kind}/>' for name, kind in fields.items())
    return (
        '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results">{before}<TABLE>{columns}<DATA><TABLEDATA>{cells}'
        f'</TABLEDATA></DATA></TABLE>{after}</RESOURCE></VOTABLE>'
    )


# Of each field: its cells, and what comes out.
FIELDS = {
    'datatype="char" arraysize="*"': (['NGC 1', ''], ['NGC 1', None]),
    'datatype="unicodeChar" arraysize="*"': (['S0', 'Sb'], ['S0', 'Sb']),
    'datatype="char"': (['E', 'S'], ['E', 'S']),
    'datatype="short"': (['', '7'], [None, 7]),
    'datatype="unsignedByte"': (['255', '0'], [255, 0]),
    'datatype="char" arraysize="*" xtype="timestamp"': (['2020-01-01', ''], ['2020-01-01', None]),
}
ARRAYS = {
    'datatype="double" arraysize="*"': (['1 2', '3'], [[1, 2], [3]]),
    'datatype="int" arraysize="*"': (['1 2', ''], [[1, 2], []]),
    'datatype="boolean"': (['T', '?'], [True, None]),
}


@pytest.mark.parametrize('ending', ENDINGS)
def test_votables_of_services(tmp_path, ending):
    require(ending)
    fields = FIELDS if ending in ('.csv', '.h5') else FIELDS | ARRAYS
    names = {f'x{number}': kind for number, kind in enumerate(fields)}
    rows = zip(*(cells for cells, _ in fields.values()), strict=True)
    (tmp_path / 'in.vot').write_text(make_votable(names, rows))
    found = through(tmp_path / 'in.vot', tmp_path / f'out{ending}')
    assert {name: plain(found[name]) for name in names} == {
        name: fields[kind][1] for name, kind in names.items()
    }


@pytest.mark.parametrize('ending', ['.csv', '.h5'])
def test_arrays_of_services_are_refused(tmp_path, ending):
    require(ending)
    field = {'x': 'datatype="double" arraysize="*"'}
    (tmp_path / 'in.vot').write_text(make_votable(field, [('1 2',), ('3',)]))
    assert_refused(tmp_path / 'in.vot', tmp_path / f'out{ending}', 'lists')


def test_votable_that_a_service_has_cut(tmp_path):
    after = '<INFO name="QUERY_STATUS" value="OVERFLOW">2000 rows</INFO>'
    (tmp_path / 'in.vot').write_text(make_votable({'x': 'datatype="int"'}, [(1,)], after=after))
    with pytest.warns(AstropyUserWarning, match='first rows only, .*2000 rows'):
        assert read_table(tmp_path / 'in.vot')['x'].tolist() == [1]


def make_fits_bytes():
    file = io.BytesIO()
    table = Table({'x': np.random.default_rng(0).normal(size=500)})
    fits.table_to_hdu(table).writeto(file)
    return file.getvalue()


def flip(data):
    """Return data with a wrong byte in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def half(data):
    return data[: len(data) // 2]


def make_parquet_bytes(tmp_path):
    make_parquet(tmp_path / 'whole.parquet', [1.5] * 1000)
    return (tmp_path / 'whole.parquet').read_bytes()


ERROR = '<INFO name="QUERY_STATUS" value="ERROR">no such table</INFO>'
EMPTY = '<VOTABLE version="1.3"><RESOURCE>{}</RESOURCE></VOTABLE>'


@pytest.mark.parametrize(
    ('name', 'data', 'message'),
    [
        *((f'a{ending}', b'', 'it is empty') for ending in ENDINGS),
        ('a.fits', lambda _: half(make_fits_bytes()), 'it ends too early'),
        ('a.fits.gz', lambda _: half(gzip.compress(make_fits_bytes())), 'it ends too early'),
        ('a.fits.gz', lambda _: flip(gzip.compress(make_fits_bytes())), ''),
        ('a.fits', b'SIMPLE  =                    T', ''),
        ('a.parquet', lambda path: half(make_parquet_bytes(path)), ''),
        ('a.parquet', lambda _: make_fits_bytes(), 'begins like FITS, expected Parquet; rename'),
        ('a.csv', lambda _: make_fits_bytes(), 'begins like FITS, expected CSV; rename'),
        ('a.csv', b'<!DOCTYPE html><html>502</html>', 'begins like HTML, expected CSV'),
        ('a.csv', gzip.compress(b'a,b\n1,2\n', mtime=0), r'is compressed \(gzip\); unpack it'),
        ('a.csv', b'1.5,2.5\n3.5,4.5\n', 'first line .* holds numbers, expected the names'),
        ('a.csv', b'\n\n', 'no line with the names'),
        ('a.ecsv', b'a,b\n1,2\n', 'does not begin like ECSV'),
        ('a.ecsv', b'# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, dat', ''),
        ('a.vot', b'{"error": 404}', 'begins like JSON, expected VOTable'),
        ('a.vot', EMPTY.format(ERROR).encode(), "service returned an error .*: 'no such table'"),
        (
            'a.vot',
            EMPTY.format('<INFO ID="Error" name="Error" value="SR too large"/>').encode(),
            "service returned an error .*: 'SR too large'",
        ),
        ('a.vot', EMPTY.format('').encode(), 'holds no TABLE'),
        ('a.vot', half(make_votable({'x': 'datatype="int"'}, [(1,)] * 9).encode()), 'damaged'),
        ('a.vot', make_votable({'x': 'datatype="odd"'}, [(1,)]).encode(), "'odd'"),
        (
            'a.vot',
            b'<!DOCTYPE V [<!ENTITY a "aaa">]>' + EMPTY.format('&a;').encode(),
            "defines the entity 'a'",
        ),
    ],
)
def test_damaged_files(tmp_path, name, data, message):
    require(f'.{name.split(".")[1]}')
    (tmp_path / name).write_bytes(data(tmp_path) if callable(data) else data)
    for read in (read_table, lambda path: list(TableChunks(path, 7))):
        with pytest.raises(
            ValueError, match=rf"the catalogue .*{name}' cannot be read: .*{message}"
        ):
            read(tmp_path / name)


def test_no_file_and_no_regular_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*'; check its name"):
        read_table(tmp_path / 'a.csv')
    (tmp_path / 'b.csv').mkdir()
    with pytest.raises(ValueError, match='is a folder or a device'):
        read_table(tmp_path / 'b.csv')


@pytest.mark.parametrize('prefix', ['', 'v:'])
def test_votable_opens_no_other_file_or_address(tmp_path, prefix):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / 'secret').write_bytes(b'secret')
    for href in (f'file://{tmp_path}/secret', f'http://127.0.0.1:{server.server_port}/'):
        names = {name: f'{prefix}{name}' for name in ('VOTABLE', 'RESOURCE', 'TABLE', 'STREAM')}
        (tmp_path / 'in.vot').write_text(
            f'<{names["VOTABLE"]} version="1.3" xmlns:v="http://www.ivoa.net/xml/VOTable/v1.3">'
            f'<{prefix}RESOURCE><{prefix}TABLE><{prefix}FIELD name="x" datatype="unsignedByte"/>'
            f'<{prefix}DATA><{prefix}BINARY><{prefix}STREAM href="{href}"/></{prefix}BINARY>'
            f'</{prefix}DATA></{prefix}TABLE></{prefix}RESOURCE></{names["VOTABLE"]}>'
        )
        with pytest.raises(ValueError, match=r'in another place, .*, which is not opened'):
            read_table(tmp_path / 'in.vot')
    server.shutdown()
    server.server_close()
    assert asked == []


class TestFits:
    def make_latin(self, path):
        columns = [
            fits.Column('x', '8A', array=np.array([b'S\xe9rsic', b'NGC 1'])),
            fits.Column('y', 'J', array=[0, 1]),
        ]
        fits.BinTableHDU.from_columns(columns).writeto(path)

    def test_text_in_latin_1(self, tmp_path):
        self.make_latin(tmp_path / 'in.fits')
        assert read_table(tmp_path / 'in.fits')['x'].tolist() == ['Sérsic', 'NGC 1']
        for ending in ('.ecsv', '.csv', '.vot'):
            check(tmp_path / 'in.fits', tmp_path / f'out{ending}', ['Sérsic', 'NGC 1'])

    def test_text_in_latin_1_stays_as_it_is_in_fits(self, tmp_path):
        self.make_latin(tmp_path / 'in.fits')
        through(tmp_path / 'in.fits', tmp_path / 'out.fits')
        with fits.open(tmp_path / 'out.fits') as hdus:
            assert b'S\xe9rsic' in hdus[1].data.tobytes()

    def test_packed_file_without_the_ending(self, tmp_path):
        (tmp_path / 'in.fits').write_bytes(gzip.compress(make_fits_bytes()))
        assert len(read_table(tmp_path / 'in.fits')) == 500
        assert len(TableChunks(tmp_path / 'in.fits', 7)[0]) == 7


@pytest.mark.parametrize('ending', ['.ecsv', '.vot', '.h5', '.fits', '.parquet'])
def test_objects_of_tables_in_memory(tmp_path, ending):
    require(ending)
    columns = {
        'text': (['a', None, 'ccc'], ['a', None, 'ccc']),
        'integers': ([1, None, 3], [1, None, 3]),
        'flags': ([True, None, False], [True, None, False]),
        'numbers': ([0.5, None, NAN], [0.5, None, None]),
        'days': ([DAY, None, DAY], ['2020-01-01', None, '2020-01-01']),
    }
    table = Table({name: np.array(values, object) for name, (values, _) in columns.items()})
    table['masked'] = MaskedColumn(np.array(['a', '', 'c'], object), mask=[False, True, False])
    table['latin'] = np.array([b'S\xe9', b'E', b'S'])
    table['hour'] = np.array(['2020-01-01T12', 'NaT', '2020-01-01T13'], 'M8[h]')
    expected = {name: values for name, (_, values) in columns.items()}
    expected['masked'] = ['a', None, 'c']
    expected['latin'] = ['Sé', 'E', 'S']
    expected['hour'] = ['2020-01-01T12', None, '2020-01-01T13']
    if ending == '.parquet':
        expected['days'] = [DAY, None, DAY]
        expected['hour'] = [NOON, None, NOON + HOUR]
    write_table(table, tmp_path / f'out{ending}')
    found = read_table(tmp_path / f'out{ending}')
    assert {name: plain(found[name]) for name in expected} == expected


def test_columns_beyond_the_limit_of_fits(tmp_path):
    table = Table({f'x{number}': [1] for number in range(1000)})
    with pytest.raises(ValueError, match='has 1000 columns, and FITS holds 999 at most; write'):
        write_table(table, tmp_path / 'out.fits')


@pytest.mark.parametrize('ending', ['.csv', '.vot'])
def test_times_of_astropy_are_text_where_there_are_none(tmp_path, ending):
    table = Table({'x': Time(['2020-01-01T12:00:00']), 'd': TimeDelta([1.5], format='sec')})
    write_table(table, tmp_path / f'out{ending}')
    found = read_table(tmp_path / f'out{ending}')
    assert found['x'].tolist() == ['2020-01-01T12:00:00.000']
    assert found['d'].tolist() == [1.5]


@pytest.mark.parametrize(
    ('column', 'ending'),
    [
        (np.array([1j]), '.parquet'),
        (np.array([1], 'longdouble'), '.fits'),
        (np.array([object()], object), '.ecsv'),
        (np.array([('a', 1)], 'U1,i4'), '.vot'),
        (np.array(['a', 1], object), '.fits'),
    ],
)
def test_refusals_name_the_column(tmp_path, column, ending):
    require(ending)
    table = Table({'y': np.zeros(len(column)), 'x': column})
    with pytest.raises(ValueError, match=r"^the column 'x' .*; write .*, or leave the column out$"):
        write_table(table, tmp_path / f'out{ending}')
    assert list(tmp_path.iterdir()) == []


def test_decimal_numbers_are_positions_and_sizes():
    values = np.array([Decimal('10.5'), None], object)
    table = Table({'ra': values, 'dec': values, 'radius': values})
    coords, status = read_positions(table)
    assert (coords.ra.deg[0], status.tolist()) == (10.5, ['ok', 'no_coordinates'])
    assert read_sizes(table, 'radius').value[0] == 10.5


def test_lists_are_no_positions():
    values = np.empty(2, object)
    values[:] = [[1.0, 2.0], 5.0]
    _, status = read_positions(Table({'ra': values, 'dec': [1.0, 2.0]}))
    assert status.tolist() == ['invalid_coordinates', 'ok']


def test_labels_as_bytes_in_latin_1():
    labels, is_labelled = read_labels(Table({'x': np.array([b'S\xe9rsic', b''], object)}), 'x')
    assert (labels[0], is_labelled.tolist()) == ('Sérsic', [True, False])
