# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Nested values of Arrow: lists, tensors and structures become arrays, and keep their types."""

import numpy as np
import pytest
from astropy.table import Table

from astro_morph.catalog.io.tables import read_table, write_table

arrow = pytest.importorskip('pyarrow')
parquet = pytest.importorskip('pyarrow.parquet')

IMAGE = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
NUMBER = arrow.float32()
NESTED = arrow.list_(arrow.list_(NUMBER))
BAND = arrow.struct({'band': arrow.string(), 'flux': NESTED})
GRI = {'band': ['g', 'r'], 'flux': [IMAGE, IMAGE], 'scale': [0.25, 0.25]}
BANDS = arrow.struct(
    {'band': arrow.list_(arrow.string()), 'flux': arrow.list_(NESTED), 'scale': arrow.list_(NUMBER)}
)


def tensor(shape, **options):
    return arrow.fixed_shape_tensor(arrow.float32(), shape, **options)


def make_column(values, kind):
    """Return values in two chunks, of which the first is a slice of a longer array."""
    storage = getattr(kind, 'storage_type', kind)
    chunks = [arrow.array([values[-1], *values], storage)[1:], arrow.array(values[:1], storage)]
    if storage is not kind:
        chunks = [arrow.ExtensionArray.from_storage(kind, chunk) for chunk in chunks]
    return arrow.chunked_array(chunks, kind)


def plain(value):
    """Return a value with arrays as lists."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(plain, value))
    return value.tolist() if isinstance(value, np.ndarray) else value


FLAT = [*IMAGE[0], *IMAGE[1]]

# By what comes in: the values of a column, their type, and what must come out, None where masked.
KINDS = {
    'fixed lists': ([IMAGE, None], arrow.list_(arrow.list_(NUMBER, 3), 2), [IMAGE, None]),
    'tensor': ([FLAT, None], tensor([2, 3]), [IMAGE, None]),
    'tensor with names': ([FLAT, FLAT], tensor([2, 3], dim_names=['y', 'x']), [IMAGE, IMAGE]),
    'lists': ([IMAGE, None], NESTED, [IMAGE, None]),
    'large lists': ([IMAGE], arrow.large_list(arrow.large_list(NUMBER)), [IMAGE]),
    'fixed lists in a list': ([IMAGE, None], arrow.list_(arrow.list_(NUMBER, 3)), [IMAGE, None]),
    'lists of two lengths': ([[[1.0], [2.0, 3.0]], IMAGE], NESTED, [[[1.0], [2.0, 3.0]], IMAGE]),
    'a list that is null': ([[[1.0], None], IMAGE], NESTED, [[[1.0], None], IMAGE]),
    'a number that is null': ([[[1.0, None]], IMAGE], NESTED, [[[1.0, None]], IMAGE]),
    'empty lists': ([[], [[]], IMAGE], NESTED, [[], [[]], IMAGE]),
    'structures of lists': ([GRI, None], BANDS, [GRI, None]),
    'lists of structures': (
        [[{'band': 'g', 'flux': IMAGE}], [], None],
        arrow.list_(BAND),
        [[{'band': 'g', 'flux': IMAGE}], [], None],
    ),
    'no row': ([None], BANDS, [None]),
}


@pytest.mark.parametrize('name', KINDS)
def test_nested_values_of_parquet(tmp_path, name):
    values, kind, expected = KINDS[name]
    column = make_column(values, kind)
    parquet.write_table(arrow.table({'x': column}), tmp_path / 'in.parquet')
    table = read_table(tmp_path / 'in.parquet')
    mask = np.ma.getmaskarray(table['x'].data).reshape(len(table), -1).all(axis=1)
    found = [None if null else plain(x) for x, null in zip(table['x'], mask, strict=True)]
    # Masked numbers equal nothing.
    assert str(found) == str([*expected, expected[0]])
    write_table(table, tmp_path / 'out.parquet')
    again = parquet.read_table(tmp_path / 'out.parquet')
    assert again['x'].type == kind
    assert again['x'].to_pylist() == column.to_pylist()


def test_structures_of_arrays_made_by_hand(tmp_path):
    flux = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    column = np.empty(2, object)
    column[:] = [{'band': ['g', 'r'], 'flux': flux}, None]
    write_table(Table({'image': column}), tmp_path / 'table.parquet')
    again = read_table(tmp_path / 'table.parquet')['image']
    assert again.mask.tolist() == [False, True]
    assert list(again[0]['band']) == ['g', 'r']
    np.testing.assert_array_equal(again[0]['flux'], flux)
    assert again[0]['flux'].dtype == np.float32


def test_lists_are_arrays_of_numpy():
    column = read_table_of({'x': make_column([IMAGE, IMAGE], NESTED)})
    assert all(isinstance(cell, np.ndarray) and cell.dtype == np.float32 for cell in column['x'])
    column['x'][0][0, 0] = 7
    assert column['x'][1][0, 0] == 1


def read_table_of(columns):
    from astro_morph.catalog import as_table

    return as_table(arrow.table(columns))


def test_a_tensor_whose_axes_are_swapped():
    column = make_column([FLAT], tensor([2, 3], permutation=[1, 0]))
    table = read_table_of({'x': column})
    np.testing.assert_array_equal(table['x'][0], np.transpose(IMAGE))


def test_columns_of_nested_pandas():
    pandas = pytest.importorskip('pandas')
    nested = pytest.importorskip('nested_pandas')
    from astro_morph.catalog import as_table

    kind = tensor([2, 3])
    frame = nested.NestedFrame(
        {
            'tensor': pandas.array(make_column([FLAT, None], kind), nested.TensorDtype(kind)),
            'bands': pandas.Series(
                arrow.array([GRI, None, GRI], BANDS), dtype=nested.NestedDtype(BANDS)
            ),
        }
    )
    table = as_table(frame)
    assert plain(np.asarray(table['tensor'][0])) == IMAGE
    assert table['tensor'].mask.all(axis=(1, 2)).tolist() == [False, True, False]
    assert table['bands'].mask.tolist() == [False, True, False]
    assert list(map(plain, table['bands'][[0, 2]])) == [GRI, GRI]
