# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Catalogues as people have them: what comes in, what is odd about it, and what must come out."""

import datetime
import gzip
import http.server
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
from astro_morph.tests.catalog.test_table_io import require

NAN = float('nan')
ENDINGS = ('.fits', '.ecsv', '.csv', '.h5', '.parquet', '.vot')

NOON = datetime.datetime(2020, 1, 1, 12)
DAY = datetime.date(2020, 1, 1)
HOUR = datetime.timedelta(hours=1)

# Of each type of Parquet: the values; what comes out of Parquet; what comes out of other formats,
# or the words of the refusal; and where it is another.
PARQUET = {
    'int8': ([1, -128, None], [1, -128, None], {}),
    'uint8': ([1, 255, None], [1, 255, None], {}),
    'uint16': ([1, 65535, None], [1, 65535, None], {}),
    'uint32': ([1, 2**32 - 1, None], [1, 2**32 - 1, None], {}),
    'uint64': ([1, 2**63 - 1, None], [1, 2**63 - 1, None], {}),
    # An integer that other programs take for a missing one.
    'int64': ([999999, 2**63 - 1, None], [999999, 2**63 - 1, None], {}),
    'int16': ([16959, -1, None], [16959, -1, None], {}),
    'halffloat': ([1.5, -2.0, None], [1.5, -2.0, None], {}),
    'bool': ([True, False, None], [True, False, None], {'.csv': ['True', 'False', None]}),
    'string': (['a', 'é螺', None], ['a', 'é螺', None], {'.fits': "the text 'é螺' beyond ASCII"}),
    'large_string': (['a', 'longer', None], ['a', 'longer', None], {}),
    'null': ([None] * 3, [None] * 3, {}),
    'binary': ([b'Sb', b'\xff\0', None], 'binary data', {'.parquet': [b'Sb', b'\xff\0', None]}),
    'date32': ([DAY, DAY, None], ['2020-01-01'] * 2 + [None], {'.parquet': [DAY, DAY, None]}),
    'duration[s]': ([HOUR, HOUR, None], [3600, 3600, None], {'.parquet': [HOUR, HOUR, None]}),
}


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
    values = [value.tolist() if hasattr(value, 'tolist') else value for value in column.tolist()]
    return [None if isinstance(value, float) and value != value else value for value in values]


def check(path, output, expected):
    """Check the values that come out, or the refusal."""
    if isinstance(expected, str):
        with pytest.raises(ValueError, match='x') as caught:
            through(path, output)
        message = str(caught.value)
        assert message.startswith(f"the column 'x' holds {expected}, which ")
        assert message.endswith('or leave the column out')
        assert '\n' not in message
        return
    found = through(path, output)
    assert plain(found['x']) == expected
    assert found['y'].tolist() == list(range(len(expected)))


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('kind', PARQUET)
def test_types_of_parquet(tmp_path, kind, ending):
    pyarrow = pytest.importorskip('pyarrow')
    require(ending)
    values, expected, others = PARQUET[kind]
    kind = pyarrow.string() if kind == 'string' else pyarrow.type_for_alias(kind)
    make_parquet(tmp_path / 'in.parquet', values, kind)
    check(tmp_path / 'in.parquet', tmp_path / f'out{ending}', others.get(ending, expected))


TEXT_TIME = '2020-01-01T12:00:00.000000'
LISTS = [[1.0, 2.0], [], [3.0]]
NESTED = [[[1.0], [2.0, 3.0]], [[1.0, 2.0], [3.0, 4.0]], None]


@pytest.mark.parametrize(
    ('make', 'values', 'expected', 'others'),
    [
        (
            lambda pa: pa.timestamp('us'),
            [NOON, None],
            [TEXT_TIME, None],
            {'.parquet': [NOON, None]},
        ),
        (
            # The zone is summer time, the text is UTC.
            lambda pa: pa.timestamp('us', 'Asia/Tokyo'),
            [NOON, None],
            [f'{TEXT_TIME}Z', None],
            {'.parquet': [NOON, None]},
        ),
        (
            lambda pa: pa.time32('s'),
            [datetime.time(1, 2, 3)],
            ['01:02:03'],
            {'.parquet': [datetime.time(1, 2, 3)]},
        ),
        (lambda pa: pa.decimal128(4, 2), [Decimal('1.50'), None], [1.5, None], {}),
        (lambda pa: pa.decimal128(10, 0), [Decimal(12), None], [12, None], {}),
        (
            lambda pa: pa.decimal128(38, 18),
            [Decimal('0.123456789012345678'), None],
            ['0.123456789012345678', None],
            {
                '.parquet': [Decimal('0.123456789012345678'), None],
                '.csv': [0.12345678901234568, None],
            },
        ),
        (
            lambda pa: pa.binary(),
            [b'Sb', b'spiral', None],
            ['Sb', 'spiral', None],
            {'.parquet': [b'Sb', b'spiral', None]},
        ),
        (
            lambda pa: pa.list_(pa.float64()),
            LISTS,
            LISTS,
            dict.fromkeys(['.csv', '.h5'], 'lists'),
        ),
        (
            lambda pa: pa.list_(pa.float64()),
            [[1.0], None, [2.0, 3.0]],
            [[1.0], None, [2.0, 3.0]],
            # Neither has lists that are missing.
            dict.fromkeys(['.csv', '.h5'], 'lists')
            | {end: [[1.0], [], [2.0, 3.0]] for end in ('.fits', '.vot')},
        ),
        (
            lambda pa: pa.list_(pa.string()),
            [['a'], ['b', 'c']],
            'lists',
            {e: [['a'], ['b', 'c']] for e in ('.parquet', '.ecsv')},
        ),
        (
            lambda pa: pa.list_(pa.list_(pa.float64())),
            NESTED,
            'lists',
            {'.parquet': NESTED, '.ecsv': NESTED},
        ),
        (
            lambda pa: pa.list_(pa.int16(), 2),
            [[1, 2], [3, 4]],
            [[1, 2], [3, 4]],
            {'.csv': r'arrays of the shape (2,)'},
        ),
        (
            lambda pa: pa.struct({'a': pa.int64()}),
            [{'a': 1}, None],
            'structures',
            {e: [{'a': 1}, None] for e in ('.parquet', '.ecsv')},
        ),
        (
            lambda pa: pa.map_(pa.string(), pa.int32()),
            [[('a', 1)]],
            'lists',
            {'.parquet': [[('a', 1)]], '.ecsv': [[['a', 1]]]},
        ),
        (lambda pa: pa.dictionary(pa.int8(), pa.string()), ['E', 'S', None], ['E', 'S', None], {}),
        (
            lambda pa: pa.uint64(),
            [2**64 - 1, 0],
            [2**64 - 1, 0],
            {
                '.vot': 'integers beyond 9223372036854775807',
                # Text, whose digits are all there.
                '.csv': [str(2**64 - 1), '0'],
            },
        ),
        (
            lambda pa: pa.string(),
            ['a', 'b\x01'],
            ['a', 'b\x01'],
            {'.vot': r"control characters in the text 'b\x01'"},
        ),
    ],
)
@pytest.mark.parametrize('ending', ENDINGS)
def test_types_that_numpy_lacks(tmp_path, make, values, expected, others, ending):
    pyarrow = pytest.importorskip('pyarrow')
    require(ending)
    make_parquet(tmp_path / 'in.parquet', values, make(pyarrow))
    check(tmp_path / 'in.parquet', tmp_path / f'out{ending}', others.get(ending, expected))


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


@pytest.mark.parametrize(
    ('kind', 'cells', 'expected', 'others'),
    [
        ('datatype="char" arraysize="*"', ['NGC 1', ''], ['NGC 1', None], {}),
        ('datatype="unicodeChar" arraysize="*"', ['S0', 'Sb'], ['S0', 'Sb'], {}),
        ('datatype="char"', ['E', 'S'], ['E', 'S'], {}),
        ('datatype="short"', ['', '7'], [None, 7], {}),
        ('datatype="unsignedByte"', ['255', '0'], [255, 0], {}),
        ('datatype="boolean"', ['T', '?'], [True, None], {'.csv': ['True', None]}),
        ('datatype="char" arraysize="*" xtype="timestamp"', ['2020-01-01'], ['2020-01-01'], {}),
        (
            'datatype="double" arraysize="*"',
            ['1 2', '3'],
            [[1, 2], [3]],
            dict.fromkeys(['.csv', '.h5'], 'lists'),
        ),
        (
            'datatype="int" arraysize="2"',
            ['1 2', '3 4'],
            [[1, 2], [3, 4]],
            {'.csv': 'arrays of the shape (2,)'},
        ),
    ],
)
@pytest.mark.parametrize('ending', ENDINGS)
def test_votables_of_services(tmp_path, kind, cells, expected, others, ending):
    require(ending)
    rows = [(cell, number) for number, cell in enumerate(cells)]
    (tmp_path / 'in.vot').write_text(make_votable({'x': kind, 'y': 'datatype="int"'}, rows))
    check(tmp_path / 'in.vot', tmp_path / f'out{ending}', others.get(ending, expected))


def test_votable_that_a_service_has_cut(tmp_path):
    after = '<INFO name="QUERY_STATUS" value="OVERFLOW">2000 rows</INFO>'
    (tmp_path / 'in.vot').write_text(make_votable({'x': 'datatype="int"'}, [(1,)], after=after))
    with pytest.warns(AstropyUserWarning, match='first rows only, .*2000 rows'):
        assert read_table(tmp_path / 'in.vot')['x'].tolist() == [1]


def make_fits_bytes():
    table = Table({'x': np.random.default_rng(0).normal(size=500)})
    return b''.join(bytes(part) for part in _write_to_memory(table))


def _write_to_memory(table):
    import io

    file = io.BytesIO()
    fits.table_to_hdu(table).writeto(file)
    yield file.getvalue()


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
        ('a.csv', gzip.compress(b'a,b\n1,2\n'), r'is compressed \(gzip\); unpack it'),
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


@pytest.mark.parametrize(
    ('column', 'expected'),
    [
        (np.array(['a', None, 'ccc'], object), ['a', None, 'ccc']),
        (
            MaskedColumn(np.array(['a', '', 'c'], object), mask=[False, True, False]),
            ['a', None, 'c'],
        ),
        (np.array([1, None, 3], object), [1, None, 3]),
        (np.array([True, None, False], object), [True, None, False]),
        (np.array([0.5, None, NAN], object), [0.5, None, None]),
        (np.array([DAY, None, DAY], object), ['2020-01-01', None, '2020-01-01']),
        (np.array(['2020-01-01T12', 'NaT'], 'M8[h]'), ['2020-01-01T12', None]),
        (np.array([b'S\xe9', b'E']), ['Sé', 'E']),
    ],
)
@pytest.mark.parametrize('ending', ['.ecsv', '.vot', '.h5', '.parquet'])
def test_columns_of_tables_in_memory(tmp_path, column, expected, ending):
    require(ending)
    table = Table({'x': column})
    if ending == '.parquet' and table['x'].dtype.kind in 'OM':
        expected = [
            value if not isinstance(value, str) or len(value) < 9 else ... for value in expected
        ]
    write_table(table, tmp_path / f'out{ending}')
    found = plain(read_table(tmp_path / f'out{ending}')['x'])
    assert [e is ... or f == e for f, e in zip(found, expected, strict=True)] == [True] * len(found)


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
