# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Convert nested values of Arrow - lists, tensors, structures - to arrays of NumPy and back."""

import numpy as np

__all__ = [
    'count_axes',
    'is_array',
    'is_text',
    'read_array',
    'read_objects',
    'to_python',
    'write_array',
    'write_objects',
]


def is_array(kind):
    """Check whether each value of a type is an array of numbers or text, all of one shape."""
    from pyarrow import types

    if _is_tensor(kind):
        return True
    if not types.is_fixed_size_list(kind):
        return False
    inner = kind.value_type
    return is_array(inner) or _is_number(inner) or is_text(inner)


def is_text(kind):
    """Check whether a type is one of text."""
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def count_axes(kind, fields=()):
    """
    Count the axes of the numbers in each value of a type.

    Parameters
    ----------
    kind : `pyarrow.DataType`
        The type.
    fields : sequence of str, default=()
        The fields of a structure that may hold the numbers; the first one that there is counts.

    Returns
    -------
    n_axes : int
        The number of axes; 0 for other values.
    """
    from pyarrow import types

    if _is_tensor(kind):
        return len(kind.shape)
    depth, kind = 0, _storage_type(kind)
    while _is_list(kind):
        depth, kind = depth + 1, _storage_type(kind.value_type)
    if types.is_struct(kind):
        inner = [kind.field(name).type for name in fields if kind.get_field_index(name) >= 0]
        n_axes = count_axes(inner[0]) if inner else 0
        return depth + n_axes if n_axes else 0
    return depth if _is_number(kind) else 0


def read_array(values):
    """
    Convert values of one shape to an array with more axes.

    Parameters
    ----------
    values : `pyarrow.ChunkedArray`
        Lists of fixed size, or tensors, see `is_array`.

    Returns
    -------
    array : ndarray, shape (n, ...)
        The values.
    mask : ndarray of bool, shape (n, ...)
        True where a value, or a list that holds it, is null.
    """
    kind = values.type
    flat = _combine(values)
    shape, mask = [len(flat)], np.zeros(len(flat), bool)
    while is_array(flat.type):
        flat = flat.storage if _is_tensor(flat.type) else flat
        size = flat.type.list_size
        mask = np.repeat(mask | flat.is_null().to_numpy(False), size)
        flat = flat.values.slice(flat.offset * size, len(flat) * size)
        shape.append(size)
    mask |= flat.is_null().to_numpy(False)
    if is_text(flat.type):
        array = np.array([value or '' for value in flat.to_pylist()], dtype=str)
    else:
        array = _to_numpy(flat)
    if not _is_tensor(kind):
        return array.reshape(shape), mask.reshape(shape)
    axes = [0, *(1 + np.array(kind.permutation or range(len(kind.shape)), int))]
    return tuple(part.reshape(shape[0], *kind.shape).transpose(axes) for part in (array, mask))


def read_objects(values):
    """
    Convert nested values to objects of Python.

    Parameters
    ----------
    values : `pyarrow.ChunkedArray`
        Lists of any length, structures, and other values.

    Returns
    -------
    objects : ndarray of object, shape (n,)
        Lists of numbers are arrays of as many axes, with a mask if a number is null, unless their
        lengths differ; structures are dictionaries of such objects; nulls are None.
    """
    objects = np.empty(len(values), object)
    for row, value in enumerate(value for chunk in values.chunks for value in _read(chunk)):
        objects[row] = value
    return objects


def write_array(array, mask, kind=None):
    """
    Convert an array of several axes to lists of fixed size.

    Parameters
    ----------
    array : `pyarrow.Array`
        The values of all rows, one after the other.
    mask : ndarray of bool, shape (n, ...)
        True where a value is null; a row of nulls is null.
    kind : `pyarrow.DataType`, default=None
        The type of tensors, if they were some.

    Returns
    -------
    values : `pyarrow.Array`
        The n rows.
    """
    import pyarrow as pa

    n, *sizes = mask.shape
    is_null = pa.array(mask.reshape(n, -1).all(axis=1) if mask.size else np.zeros(n, bool))
    if kind is not None and _is_tensor(kind) and kind.permutation is None:
        storage = pa.FixedSizeListArray.from_arrays(array, int(np.prod(sizes)), mask=is_null)
        return pa.ExtensionArray.from_storage(kind, storage.cast(kind.storage_type))
    for size in sizes[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return pa.FixedSizeListArray.from_arrays(array, sizes[0], mask=is_null)


def write_objects(objects, kind):
    """
    Convert objects, as `read_objects` returns them, to an array of Arrow.

    Parameters
    ----------
    objects : sequence of object
        The objects; None is null.
    kind : `pyarrow.DataType`
        Their type.

    Returns
    -------
    values : `pyarrow.Array`
        One value an object.
    """
    import pyarrow as pa

    kind = _storage_type(kind)
    is_null = np.array([value is None for value in objects], bool)
    if pa.types.is_struct(kind) and all(isinstance(value, dict) for value in objects if value):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        arrays = [
            write_objects([value and value.get(field.name) for value in objects], field.type)
            for field in fields
        ]
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=pa.array(is_null))
    depth = count_axes(kind)
    known = [value for value in objects if value is not None]
    if depth == 0 and _is_list(kind) and pa.types.is_struct(_storage_type(kind.value_type)):
        lengths = [0 if value is None else len(value) for value in objects]
        inner = write_objects([part for value in known for part in value], kind.value_type)
        return _make_lists(inner, lengths, is_null).cast(kind)
    are_arrays = all(isinstance(value, np.ndarray) and value.ndim == depth for value in known)
    if depth and known and are_arrays:
        return _write_lists(known, is_null).cast(kind)
    return pa.array(list(map(to_python, objects)), kind)


def to_python(value):
    """Return an object without arrays: these as lists, also within lists and dictionaries."""
    if isinstance(value, dict):
        return {name: to_python(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(to_python, value))
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _write_lists(arrays, is_null):
    """Return arrays of one number of axes as lists of lists, with null rows among them."""
    import pyarrow as pa

    numbers = np.concatenate([np.ravel(np.ma.getdata(array)) for array in arrays])
    mask = np.concatenate([np.ravel(np.ma.getmaskarray(array)) for array in arrays])
    values = pa.array(numbers.astype(numbers.dtype.newbyteorder('='), copy=False), mask=mask)
    shapes = np.array([array.shape for array in arrays])
    for axis in range(shapes.shape[1] - 1, -1, -1):
        lengths = np.repeat(shapes[:, axis], shapes[:, :axis].prod(axis=1))
        if axis == 0:
            lengths = np.zeros(len(is_null), int)
            lengths[~is_null] = shapes[:, 0]
        values = _make_lists(values, lengths, is_null if axis == 0 else None)
    return values


def _make_lists(values, lengths, is_null):
    """Return an array of lists of some lengths."""
    import pyarrow as pa

    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    mask = None if is_null is None else pa.array(is_null)
    return pa.LargeListArray.from_arrays(offsets, values, mask=mask)


def _read(array):
    """Return the values of an array of Arrow as a list of objects."""
    from pyarrow import types

    kind = array.type
    if _is_tensor(kind):
        values, mask = read_array(array)
        return [None if m.all() else value for value, m in zip(values, mask, strict=True)]
    if kind != _storage_type(kind):
        return _read(array.storage)
    is_null = array.is_null().to_numpy(False)
    if types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        columns = zip(*map(_read, array.flatten()), strict=True)
        rows = [dict(zip(names, values, strict=True)) for values in columns]
        return [None if null else row for row, null in zip(rows, is_null, strict=True)]
    if count_axes(kind):
        return _read_lists(array, is_null)
    if _is_list(kind) and types.is_struct(_storage_type(kind.value_type)):
        bounds, inner = _open(array)
        rows = _read(inner)
        spans = zip(bounds[:-1], bounds[1:], is_null, strict=True)
        return [None if null else rows[start:stop] for start, stop, null in spans]
    return array.to_pylist()


def _read_lists(array, is_null):
    """Return lists of numbers as arrays; those whose lengths differ stay lists."""
    bounds, numbers = _open(array)
    levels, is_whole = [bounds], True
    while _is_list(numbers.type) or numbers.type != _storage_type(numbers.type):
        if not _is_list(numbers.type):
            numbers = numbers.storage
            continue
        is_whole &= numbers.null_count == 0
        bounds, numbers = _open(numbers)
        levels.append(bounds)
    values, mask = _to_numpy(numbers), numbers.is_null().to_numpy(False)
    is_any_masked = numbers.null_count > 0
    objects = []
    for row, null in enumerate(is_null):
        shape, start, stop = _find_shape(levels, row) if is_whole and not null else (None, 0, 0)
        if null:
            objects.append(None)
        elif shape is None:
            objects.append(array[row].as_py())
        elif is_any_masked and mask[start:stop].any():
            part = np.ma.array(values[start:stop], mask=mask[start:stop])
            objects.append(part.reshape(shape))
        else:
            objects.append(values[start:stop].reshape(shape))
    return objects


def _find_shape(levels, row):
    """Return the shape of the lists of a row, None if lengths differ, and where its numbers lie."""
    shape, start, stop = [], row, row + 1
    for bounds in levels:
        lengths = np.diff(bounds[start : stop + 1])
        if not len(lengths) or (lengths != lengths[0]).any():
            return None, 0, 0
        shape.append(int(lengths[0]))
        start, stop = bounds[start], bounds[stop]
    return shape, start, stop


def _open(array):
    """Return where the lists of an array begin and end among their values, and the values."""
    from pyarrow import types

    kind = array.type
    if types.is_fixed_size_list(kind):
        size = kind.list_size
        bounds = np.arange(len(array) + 1) * size
        return bounds, array.values.slice(array.offset * size, len(array) * size)
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        import pyarrow as pa

        return _open(array.cast(pa.large_list(kind.value_type)))
    bounds = array.offsets.to_numpy()
    return bounds - bounds[0], array.values.slice(bounds[0], bounds[-1] - bounds[0])


def _combine(values):
    """Return a chunked array as one array."""
    import pyarrow as pa

    if not isinstance(values, pa.ChunkedArray):
        return values
    if values.num_chunks == 1:
        return values.chunk(0)
    if not _is_tensor(values.type):
        return values.combine_chunks()
    lists = [chunk.storage for chunk in values.chunks]
    storage = pa.chunked_array(lists, values.type.storage_type).combine_chunks()
    return pa.ExtensionArray.from_storage(values.type, storage)


def _to_numpy(numbers):
    """Return numbers as an array of NumPy that may be changed; nulls are zero."""
    if numbers.null_count:
        numbers = numbers.fill_null(False if str(numbers.type) == 'bool' else 0)
    return numbers.to_numpy(zero_copy_only=False, writable=True)


def _storage_type(kind):
    """Return a type without the extensions that its library may not know."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType) and not _is_tensor(kind):
        kind = kind.storage_type
    return kind


def _is_tensor(kind):
    import pyarrow as pa

    return isinstance(kind, pa.FixedShapeTensorType)


def _is_list(kind):
    from pyarrow import types

    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _is_number(kind):
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
