# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The process that opens an HDF5 file: a damaged file ends it or keeps it busy, and nothing else.

It is run as a script, so that it starts without the package. An answer is one line of JSON on
standard output, with the key ``error`` if there is one.
"""

import contextlib
import json
import sys

import numpy as np

# Memory that opening a file or unpacking some rows may take.
MOST_BYTES = 10**9

# Datasets that are described; nobody keeps a table behind more.
MOST_DATASETS = 1000

# Seconds of computing that this may take; it takes less than one. Unpacking may take a second more
# for so many bytes: gzip unpacks ten times as many.
SECONDS = 2
BYTES_A_SECOND = 10**7

# Bytes that are unpacked at a time.
BLOCK = 2**24


class _RefusedError(Exception):
    pass


def describe(file):
    """Return the attributes of a file, and descriptions of the datasets in it."""
    import h5py

    datasets = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            try:
                datasets[name] = _describe(item)
            except Exception as error:
                datasets[name] = {'fault': f'cannot be read ({error})'}
        # Anything but None ends the visit.
        return True if len(datasets) == MOST_DATASETS else None

    # Follows no link to another file.
    file.visititems(add)
    return {'attributes': _read_attributes(file), 'datasets': datasets}


def unpack(dataset, most_bytes, output):
    """Write the dtype and the shape of a dataset as a line, and then its values."""
    dtype = _without_objects(dataset)
    n_bytes = dtype.itemsize * dataset.size
    if n_bytes > most_bytes:
        msg = f'the values of {dataset.name!r} take {n_bytes / 1e9:.3g} GB, too many for its file'
        raise _RefusedError(msg)
    _limit_time(SECONDS + n_bytes / BYTES_A_SECOND)
    _answer(output, {'dtype': _as_text(dtype), 'shape': dataset.shape})
    for rows in _blocks(dataset):
        output.write(np.ascontiguousarray(dataset[rows].astype(dtype)).data.cast('B'))


def _describe(dataset):
    """Return what is known of a dataset without its values, and why these can't be read."""
    dtype = dataset.dtype
    description = {'is_table': dtype.names is not None and dataset.ndim == 1}
    if dataset.external or dataset.is_virtual:
        return description | {'fault': 'has its values in other files, which are not opened'}
    faults = list(filter(None, map(_find_fault, _list_types(dtype))))
    if faults:
        return description | {'fault': faults[0]}
    return description | {
        'dtype': None if dtype.hasobject else _as_text(dtype),
        'shape': dataset.shape,
        'offset': dataset.id.get_offset() if _is_plain(dataset) else None,
        'attributes': _read_attributes(dataset),
    }


def _is_plain(dataset):
    """Check that the bytes of the file are those of an array of NumPy, in one piece."""
    import h5py

    is_same = dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype, logical=True)
    n_bytes = dataset.dtype.itemsize * dataset.size
    return is_same and dataset.chunks is None and dataset.id.get_storage_size() == n_bytes


def _list_types(dtype):
    """List the types of the columns of a table, by name; of other arrays, their type."""
    return [(name, dtype[name].base) for name in dtype.names] if dtype.names else [('', dtype.base)]


def _find_fault(column):
    """Return why the values of a column can't be read, None if they can."""
    import h5py

    name, dtype = column
    if dtype.hasobject and h5py.check_string_dtype(dtype) is None:
        what = f'has a column {name!r} of' if name else 'has'
        return f'{what} objects, expected numbers or text; leave it out'
    return None


def _without_objects(dataset):
    """Return the dtype of a dataset with room for its longest text, which HDF5 keeps apart."""
    dtype = dataset.dtype
    if not dtype.hasobject:
        return dtype
    if dtype.names is None:
        return np.dtype(f'S{max(1, *_longest(dataset, lambda block: block))}')
    fields = []
    for name in dtype.names:
        base, shape = dtype[name].base, dtype[name].shape
        if base.hasobject:
            base = f'S{max(1, *_longest(dataset, lambda block, name=name: block[name]))}'
        fields.append((name, base, shape))
    return np.dtype(fields)


def _longest(dataset, column):
    """Return the length of the longest text in each block of a column."""
    return [0, *(max(map(len, column(dataset[rows]).flat)) for rows in _blocks(dataset))]


def _blocks(dataset):
    """Yield slices of rows whose values fit into memory, whole chunks of them."""
    if not dataset.ndim:
        yield ()
        return
    n_rows = len(dataset)
    a_row = max(1, dataset.dtype.itemsize * dataset.size // max(1, n_rows))
    a_chunk = dataset.chunks[0] if dataset.chunks else 1
    step = max(1, BLOCK // (a_row * a_chunk)) * a_chunk
    for start in range(0, n_rows, step):
        yield slice(start, start + step)


def _read_attributes(item):
    """Return the attributes that are numbers or text, or lists of these."""
    attributes = {}
    for name in item.attrs:
        with contextlib.suppress(Exception):
            value = item.attrs[name]
            value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
            json.dumps(value)
            attributes[name] = value
    return attributes


def _as_text(dtype):
    return repr(np.lib.format.dtype_to_descr(dtype))


def _answer(output, answer):
    output.write(json.dumps(answer).encode() + b'\n')


def _limit_time(seconds):
    """Let the system end this process when it has computed for so many seconds more, on Unix."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _limit_memory():
    """Raise MemoryError where a file wants much more than its values take, on Unix."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open('/proc/self/statm') as file:
            in_use = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_BYTES, resource.RLIM_INFINITY))


def main(path, name='', most_bytes='0'):
    """Describe a file; or, with its name, unpack one of the datasets."""
    import h5py

    _limit_memory()
    _limit_time(SECONDS)
    try:
        with h5py.File(path) as file:
            if name:
                unpack(file[name], int(most_bytes), sys.stdout.buffer)
            else:
                _answer(sys.stdout.buffer, describe(file))
    except _RefusedError as error:
        _answer(sys.stdout.buffer, {'error': str(error)})
    except Exception as error:
        # Behind values that were written before, this only makes the answer too short.
        reason = f'{error}' or type(error).__name__
        _answer(sys.stdout.buffer, {'error': f'it is damaged: HDF5 cannot read it ({reason})'})


if __name__ == '__main__':
    main(*sys.argv[1:])
