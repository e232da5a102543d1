# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A table that comes from a file in chunks, and goes to one in chunks, is the table as a whole."""

import gzip

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from numpy.testing import assert_array_equal

from astro_morph.catalog.io.chunks import TableChunks, find_representatives, write_chunks
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.tests.catalog.test_table_io import make_annotated, require

ENDINGS = ['.fits', '.fits.gz', '.ecsv', '.csv', '.h5', '.parquet', '.vot']


def assert_same_table(found, expected):
    """Check values, masks, types, and all that is said of the table and its columns."""
    assert found.colnames == expected.colnames
    assert found.meta == expected.meta
    assert len(found) == len(expected)
    for name in expected.colnames:
        one, other = found[name], expected[name]
        assert one.info.description == other.info.description
        assert (one.info.meta or {}) == (other.info.meta or {})
        assert one.info.unit == other.info.unit
        if isinstance(other, SkyCoord):
            assert_array_equal(one.ra.deg, other.ra.deg)
            continue
        assert one.dtype == other.dtype
        assert_array_equal(*(np.ma.getmaskarray(np.ma.asarray(values)) for values in (one, other)))
        assert one.tolist() == other.tolist()


def through_chunks(path, output, size):
    """Copy a table from file to file in chunks of so many rows."""
    chunks = TableChunks(path, size)
    write_chunks(chunks, output, n_rows=chunks.n_rows, representatives=find_representatives(chunks))


@pytest.mark.parametrize('output', ENDINGS)
@pytest.mark.parametrize('ending', ENDINGS)
def test_every_format_in_and_out_holds_what_it_holds_whole(tmp_path, ending, output):
    require(ending)
    require(output)
    annotated = make_annotated(QTable)
    annotated.meta['comments'] = ['one "inch', 'two']
    path = tmp_path / f'table{ending}'
    write_table(annotated, path)
    write_table(read_table(path), tmp_path / f'whole{output}')
    # With one row a chunk, masks and long text are in some and not in others.
    through_chunks(path, tmp_path / f'chunks{output}', 1)
    found, expected = (read_table(tmp_path / f'{name}{output}') for name in ('chunks', 'whole'))
    assert_same_table(found, expected)


@pytest.mark.parametrize('ending', ENDINGS)
def test_chunks_of_any_size(tmp_path, ending):
    require(ending)
    path = tmp_path / f'table{ending}'
    write_table(Table({'id': np.arange(5000), 'x': np.linspace(0, 1, 5000)}), path)
    for size in (1, 700, 2048, 5000, 9999):
        chunks = TableChunks(path, size)
        assert chunks.n_rows == 5000
        assert len(chunks) == -(-5000 // size)
        # Back and forth, as a run that goes on from somewhere reads them.
        for number in (len(chunks) - 1, 0, len(chunks) // 2):
            start = number * size
            assert_array_equal(chunks[number]['id'], np.arange(start, min(start + size, 5000)))
    with pytest.raises(IndexError, match='no chunk 1'):
        chunks[1]


@pytest.mark.parametrize('ending', ENDINGS)
def test_table_without_rows(tmp_path, ending):
    require(ending)
    write_table(Table({'id': np.zeros(0, int), 'x': np.zeros(0)}), tmp_path / f'table{ending}')
    through_chunks(tmp_path / f'table{ending}', tmp_path / f'out{ending}', 3)
    found = read_table(tmp_path / f'out{ending}')
    assert (found.colnames, len(found)) == (['id', 'x'], 0)


@pytest.mark.parametrize('ending', ['.ecsv', '.h5', '.parquet'])
def test_times_and_arrays(tmp_path, ending):
    require(ending)
    table = Table(
        {
            'spectrum': np.arange(12.0).reshape(6, 2),
            'time': Time(51544.0 + np.arange(6), format='mjd'),
        }
    )
    write_table(table, tmp_path / f'table{ending}')
    through_chunks(tmp_path / f'table{ending}', tmp_path / f'out{ending}', 4)
    found = read_table(tmp_path / f'out{ending}')
    assert_array_equal(found['spectrum'], table['spectrum'])
    assert_array_equal(found['time'].mjd, table['time'].mjd)


class TestFits:
    def test_unsigned_integers_and_null_values(self, tmp_path):
        columns = [
            fits.Column('u', 'J', bzero=2**31, array=np.array([1, 2**32 - 1, 7], np.uint32)),
            fits.Column('n', 'I', null=-1, array=np.array([1, -1, 3])),
        ]
        fits.BinTableHDU.from_columns(columns).writeto(tmp_path / 'table.fits')
        first, last = TableChunks(tmp_path / 'table.fits', 2)
        whole = read_table(tmp_path / 'table.fits')
        assert_same_table(first, whole[:2])
        assert_same_table(last, whole[2:])

    @pytest.mark.parametrize('code', ['PD()', 'QJ()'])
    def test_arrays_of_varying_length(self, tmp_path, code):
        arrays = np.empty(5, dtype=object)
        arrays[:] = [np.arange(n) for n in (3, 1, 0, 2, 4)]
        columns = [
            fits.Column('a', code, array=arrays),
            fits.Column('pair', '2J', array=np.arange(10).reshape(5, 2)),
            fits.Column('b', 'PE()', array=arrays[::-1]),
        ]
        fits.BinTableHDU.from_columns(columns).writeto(tmp_path / 'table.fits')
        chunks = TableChunks(tmp_path / 'table.fits', 2)
        assert [row.tolist() for row in chunks[1]['a']] == [[], [0, 1]]
        for name in ('out.fits', 'out.fits.gz'):
            through_chunks(tmp_path / 'table.fits', tmp_path / name, 2)
            found = read_table(tmp_path / name)
            expected = {'a': arrays, 'pair': np.arange(10).reshape(5, 2), 'b': arrays[::-1]}
            for column, values in expected.items():
                assert list(map(list, found[column])) == list(map(list, values))

    def test_file_without_a_table(self, tmp_path):
        fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / 'image.fits')
        with pytest.raises(ValueError, match=r"image\.fits' cannot be read: no HDU holds a table"):
            TableChunks(tmp_path / 'image.fits', 2)

    def test_compressed_file_is_compressed(self, tmp_path):
        write_table(Table({'id': [1, 2, 3]}), tmp_path / 'table.fits')
        through_chunks(tmp_path / 'table.fits', tmp_path / 'out.fits.gz', 2)
        with gzip.open(tmp_path / 'out.fits.gz') as file:
            assert file.read(6) == b'SIMPLE'


class TestText:
    @pytest.mark.parametrize('ending', ['.csv', '.ecsv'])
    def test_line_breaks_and_quotation_marks_inside_text(self, tmp_path, ending):
        text = ['one\ntwo', 'say "so"', 'a, b', ' c ', '"']
        write_table(Table({'text': text, 'id': range(5)}), tmp_path / f'table{ending}')
        chunks = TableChunks(tmp_path / f'table{ending}', 2)
        expected = read_table(tmp_path / f'table{ending}')['text'].tolist()
        assert [text for chunk in chunks for text in chunk['text'].tolist()] == expected
        assert chunks.n_rows == 5

    def test_columns_of_csv_are_of_the_types_of_the_whole_file(self, tmp_path):
        path = tmp_path / 'table.csv'
        path.write_text('a,b,c,d\n1,01,,1\n\n2,2,,\n3.5,x,,3\n4,,7,4\n')
        whole = read_table(path)
        chunks = list(TableChunks(path, 1))
        assert [chunk['a'].dtype.kind for chunk in chunks] == ['f'] * 4
        assert [chunk['b'].tolist() for chunk in chunks] == [['01'], ['2'], ['x'], [None]]
        assert [chunk['c'].tolist() for chunk in chunks] == [[None], [None], [None], [7]]
        write_chunks(
            chunks, tmp_path / 'out.ecsv', n_rows=4, representatives=find_representatives(chunks)
        )
        found = read_table(tmp_path / 'out.ecsv')
        assert [found[name].tolist() for name in 'abcd'] == [whole[n].tolist() for n in 'abcd']

    def test_quotation_marks_that_do_not_match(self, tmp_path):
        path = tmp_path / 'table.csv'
        path.write_text('a,b\n1,5" wide\n2,x\n3,7" wide\n4,y\n')
        assert [chunk['b'].tolist() for chunk in TableChunks(path, 1)] == [
            ['5" wide'],
            ['x'],
            ['7" wide'],
            ['y'],
        ]
        path.write_text('a,b\n1,"5 wide\n2,x\n')
        with pytest.raises(ValueError, match=r'behind row 0 .* quotation marks do not match'):
            TableChunks(path, 1)

    def test_spaces_and_line_breaks_as_other_programs_write_them(self, tmp_path):
        path = tmp_path / 'table.csv'
        path.write_bytes(b'\r\na, b\r\n1, "x, y"\r\n   \r\n2,"u\r\n\r\nv"\r\n3\r\n4,""')
        whole = read_table(path)
        assert [chunk['b'].tolist() for chunk in TableChunks(path, 2)] == [
            whole['b'][:2].tolist(),
            whole['b'][2:].tolist(),
        ]
        assert whole['b'].tolist() == ['x, y', 'u\n\nv', None, None]

    def test_values_that_are_missing_or_of_another_type_in_some_chunks(self, tmp_path, monkeypatch):
        monkeypatch.setattr('astro_morph.catalog.io.csv.BLOCK', 2)
        path = tmp_path / 'table.csv'
        path.write_text('i,f,u,none\n1,1,1,\n2,2,,\n,2.5,x y,\n4,,007,\n5,5,5,\n')
        whole, chunks = read_table(path), TableChunks(path, 2)
        through_chunks(path, tmp_path / 'out.ecsv', 2)
        assert_same_table(read_table(tmp_path / 'out.ecsv'), whole)
        # Back and forth.
        for number in (2, 0, 1, 2):
            assert chunks[number].dtype.kind == whole[:1].dtype.kind
            assert chunks[number]['u'].tolist() == whole['u'][2 * number : 2 * number + 2].tolist()

    def test_column_of_csv_without_values(self, tmp_path):
        path = tmp_path / 'table.csv'
        path.write_text('none\n""\n""\n""\n')
        assert [chunk['none'].tolist() for chunk in TableChunks(path, 2)] == [[None] * 2, [None]]

    def test_rows_that_cannot_be_parsed(self, tmp_path):
        path = tmp_path / 'table.csv'
        path.write_text('a,b\n1,2\n3,4,5\n')
        with pytest.raises(ValueError, match=r"table\.csv' cannot be read: .*inconsistent"):
            TableChunks(path, 1)
        path.write_text(f'a\n"{"x" * 200_000}\n')
        with pytest.raises(ValueError, match=r"table\.csv' cannot be read: line 2: field larger"):
            TableChunks(path, 1)


def test_parquet_in_many_groups_of_rows(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    write_table(Table({'id': np.arange(100), 'x': ['abc'] * 100}), tmp_path / 'one.parquet')
    parquet.write_table(
        parquet.read_table(tmp_path / 'one.parquet'), tmp_path / 'many.parquet', row_group_size=7
    )
    chunks = TableChunks(tmp_path / 'many.parquet', 10)
    for number in (3, 0, 9, 4, 5):
        assert_array_equal(chunks[number]['id'], np.arange(10 * number, 10 * number + 10))


def test_text_that_a_format_cannot_hold_is_among_the_representative_rows(tmp_path):
    chunks = [Table({'name': ['plain', 'longest of all']}), Table({'name': ['é', 'b']})]
    representatives = find_representatives(chunks)
    assert set(representatives['name']) == {'plain', 'longest of all', 'é'}
    with pytest.raises(ValueError, match="'name' holds the text 'é' beyond ASCII"):
        write_chunks(chunks, tmp_path / 'out.fits', n_rows=4, representatives=representatives)


def test_array_with_a_masked_value_is_among_the_representative_rows():
    values = np.arange(12.0).reshape(6, 2)
    table = Table({'spectrum': MaskedColumn(values, mask=values == 7)})
    assert find_representatives([table[:3], table[3:]])['spectrum'].tolist() == [[0, 1], [6, None]]


@pytest.mark.parametrize('ending', ENDINGS)
def test_full_disk_leaves_nothing(tmp_path, ending):
    require(ending)

    def chunks():
        yield Table({'id': [1, 2]})
        raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space'):
        write_chunks(
            chunks(), tmp_path / f'out{ending}', n_rows=4, representatives=Table({'id': [1]})
        )
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_if_asked(tmp_path):
    path, chunks = tmp_path / 'out.csv', [Table({'a': [1]})]
    options = {'n_rows': 1, 'representatives': chunks[0][:0]}
    write_chunks(chunks, path, **options)
    with pytest.raises(FileExistsError, match=r'out\.csv exists already; use overwrite=True'):
        write_chunks(chunks, path, **options)
    write_chunks(chunks, path, **options, overwrite=True)


def test_columns_that_differ_between_chunks_are_refused(tmp_path):
    chunks = [Table({'a': [1]}), Table({'a': MaskedColumn([0.5])})]
    with pytest.raises(ValueError, match='cannot be written in chunks'):
        write_chunks(chunks, tmp_path / 'out.fits', n_rows=2, representatives=chunks[0][:0])


def test_of_one_large_group_of_parquet_only_pages_are_in_memory(tmp_path):
    pyarrow = pytest.importorskip('pyarrow')
    allocated = []
    for n in (200_000, 600_000):
        path = tmp_path / f'{n}.parquet'
        write_table(Table(np.random.default_rng(0).normal(size=(n, 8))), path)
        before = pyarrow.total_allocated_bytes()
        chunks = TableChunks(path, 1000)
        assert len(chunks[0]) == 1000
        allocated.append(pyarrow.total_allocated_bytes() - before)
        del chunks
    assert allocated[1] < 1.2 * allocated[0]
