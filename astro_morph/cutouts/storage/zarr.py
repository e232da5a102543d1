# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write cutouts to folders of Zarr and read them, batch by batch."""

import contextlib
import errno
import json
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
from astropy.table import vstack

from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts.cutout_set import PLANES, CutoutSet
from astro_morph.cutouts.storage.rows import (
    BATCH,
    FORMAT,
    attributes_of,
    check_names,
    in_batches,
    join_rows,
    pixels_of,
    rehearse,
    rows_of,
    split_rows,
)
from astro_morph.images.planes.lazy import LazyArray
from astro_morph.utils.files import atomic_folder
from astro_morph.utils.messages import in_one_line, naming_packages

__all__ = [
    'check_catalog',
    'holds_cutouts',
    'looks_like',
    'read_cutouts',
    'write_batches',
    'write_cutouts',
]

# Bytes of a chunk, which is a file.
CHUNK_BYTES = 2**22

# Where the catalogue stands, beside the arrays.
TABLE = 'table.parquet'


def holds_cutouts(path):
    """Check whether a folder is one of Zarr with cutouts."""
    try:
        about = json.loads((Path(path) / 'zarr.json').read_text())
        return about['attributes']['format'] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        return False


def looks_like(path):
    """Check whether a folder has the format, whatever it holds."""
    return os.path.isfile(os.path.join(path, 'zarr.json'))


def check_catalog(table):
    """Raise a ValueError if the folder cannot hold a column of a catalogue."""
    check_names(table)
    rehearse(table, '.parquet')


@naming_packages()
def read_cutouts(path):
    """
    Read cutouts from a folder of Zarr.

    The pixels of rows are read when they are used.

    Parameters
    ----------
    path : path-like
        The folder.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, with their table.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the folder is damaged, or does not hold cutouts as `write_cutouts` writes them.
    """
    import zarr

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if not holds_cutouts(path):
        msg = f'{str(path)!r} is no folder of cutouts; name one that CutoutSet.write wrote'
        raise ValueError(msg)
    with _naming(path):
        group = zarr.open_group(path, mode='r')
        arrays = {name: group[name] for name in ('images', *PLANES) if name in group}
        pixels = {
            name: LazyArray(partial(_read_rows, array), array.shape, array.dtype)
            for name, array in arrays.items()
        }
        table, options = split_rows(read_table(path / TABLE), dict(group.attrs))
        return CutoutSet(**pixels, **options, table=table)


def write_cutouts(cutouts, path, *, overwrite=False):
    """
    Write cutouts to a folder of Zarr, atomically.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts.
    path : path-like
        The folder.
    overwrite : bool, default=False
        Whether to replace an existing folder of cutouts.

    Raises
    ------
    FileExistsError
        If it exists and ``overwrite`` is false.
    """
    batches, n_rows = in_batches(cutouts), len(cutouts)
    write_batches(batches, path, table=cutouts.table, n_rows=n_rows, overwrite=overwrite)


@naming_packages()
def write_batches(batches, path, *, table, n_rows, overwrite=False):
    """
    Write batches of cutouts to a folder of Zarr, atomically; only one need fit into memory.

    Parameters
    ----------
    batches, path, table, n_rows, overwrite
        As in `astro_morph.cutouts.storage.write_batches`.
    """
    import zarr

    check_names(table)
    holds = partial(holds_cutouts, path)
    with atomic_folder(path, overwrite=overwrite, may_replace=holds) as aside:
        group = zarr.open_group(aside, mode='w')
        rows, start = [], 0
        for cutouts in batches:
            if not rows:
                group.attrs.update(attributes_of(cutouts, table))
            for name, values in pixels_of(cutouts).items():
                if name not in group:
                    _create_array(group, name, (n_rows, *values.shape[1:]), values.dtype)
                group[name][start : start + len(values)] = values
            rows.append(rows_of(cutouts))
            start += len(cutouts)
        write_table(join_rows(table, vstack(rows)), aside / TABLE)


def _create_array(group, name, shape, dtype):
    """Create an array whose chunks are batches, or fractions of one."""
    n_rows = CHUNK_BYTES // max(1, math.prod(shape[1:]) * dtype.itemsize)
    chunk = min(BATCH, 2 ** max(0, n_rows.bit_length() - 1))
    blank = PLANES.get(name, np.nan if dtype.kind == 'f' else 0)
    group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(chunk, *(max(1, side) for side in shape[1:])),
        # Pixels in a chunk that is lost are missing.
        fill_value=blank,
        dimension_names=('row', 'band', 'y', 'x'),
    )


def _read_rows(array, rows):
    """Read some rows of an array, in any order."""
    first, last = rows.min(), rows.max()
    if len(rows) == last - first + 1 and (np.diff(rows) == 1).all():
        return array[first : last + 1]
    unique, index = np.unique(rows, return_inverse=True)
    return array.oindex[unique][index]


@contextlib.contextmanager
def _naming(path):
    """Turn the errors of a damaged folder into a ValueError that names it."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        what = f'{error} is missing' if isinstance(error, KeyError) else in_one_line(error)
        msg = f'the folder {str(path)!r} cannot be read: {what}; write or copy it again'
        raise ValueError(msg) from error
