# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write cutouts to HDF5 files and read them."""

import contextlib
import os

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table

from astro_morph.catalog.io.formats import fit_columns
from astro_morph.catalog.io.hdf5 import Hdf5Reader
from astro_morph.catalog.io.tables import decode_text
from astro_morph.cutouts.cutout_set import PLANES, CutoutSet
from astro_morph.cutouts.storage.rows import rehearse
from astro_morph.utils.files import atomic_file
from astro_morph.utils.hdf5 import Hdf5File, create_hdf5, is_hdf5
from astro_morph.utils.messages import in_one_line, naming_packages

__all__ = [
    'check_catalog',
    'holds_cutouts',
    'looks_like',
    'read_cutouts',
    'write_batches',
    'write_cutouts',
]

# The attribute that marks these files among other HDF5 files.
FORMAT = 'astro_morph cutouts 1'

# Datasets with a value for each row: the types that it may have, and its shape.
_ROWS = {
    'status': (np.bytes_, ()),
    'flags': (np.integer, ()),
    'pixel_scale': (np.floating, ()),
    'rotation': (np.floating, ()),
    'parity': (np.number, ()),
    'centers': (np.number, (2,)),
}


def holds_cutouts(path):
    """Check whether a file is an HDF5 file of cutouts; a ValueError names one that is damaged."""
    if not is_hdf5(path):
        return False
    with _naming(path):
        return Hdf5File(path).attributes.get('format') == FORMAT


def looks_like(path):
    """Check whether a file has the format, whatever it holds."""
    return is_hdf5(path)


def check_catalog(table):
    """Raise a ValueError if HDF5 cannot hold a column of a catalogue."""
    rehearse(table, '.h5')


@naming_packages()
def read_cutouts(path):
    """
    Read cutouts from an HDF5 file.

    The images are mapped into memory: they are read when they are used. Changing them does not
    change the file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, with their table.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or does not hold cutouts as `write_cutouts` writes them: plain
        numbers in one piece.
    """
    if not isinstance(path, (str, os.PathLike)):
        # Astropy passes an open file if the caller did not name the format.
        path = path.name
    with _naming(path):
        file = Hdf5File(path)
    if file.attributes.get('format') != FORMAT:
        msg = f'{str(path)!r} is no file of cutouts; name one that CutoutSet.write wrote'
        raise ValueError(msg)
    with _naming(path):
        return _build(file)


def write_cutouts(cutouts, path, *, overwrite=False):
    """
    Write cutouts to an HDF5 file, atomically.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts.
    path : path-like
        The file.
    overwrite : bool, default=False
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    """
    write_batches([cutouts], path, table=cutouts.table, n_rows=len(cutouts), overwrite=overwrite)


@naming_packages()
def write_batches(batches, path, *, table, n_rows, overwrite=False):
    """
    Write batches of cutouts to an HDF5 file, atomically; only one need fit into memory.

    Parameters
    ----------
    batches : iterable of `~astro_morph.CutoutSet`
        The cutouts in order, with the same bands and size.
    path : path-like
        The file.
    table : `~astropy.table.Table` or None
        The catalogue of all rows.
    n_rows : int
        Number of rows of all batches together.
    overwrite : bool, default=False
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ValueError
        If HDF5 cannot hold a column of the catalogue.
    """
    # First of all: what HDF5 cannot hold is refused before images are fetched.
    columns = None if table is None else fit_columns(table, 'hdf5')
    with atomic_file(path, overwrite=overwrite) as aside, create_hdf5(aside) as (file, check):
        start = 0
        for cutouts in batches:
            if start == 0:
                file.attrs.update(_attributes(cutouts))
            for name, values in _datasets(cutouts).items():
                shape = (n_rows, *values.shape[1:])
                blank = PLANES.get(name)
                dataset = file.require_dataset(
                    name, shape, values.dtype, exact=True, fillvalue=blank
                )
                dataset[start : start + len(values)] = values
            # On a full disk, no further cutouts are fetched.
            check()
            start += len(cutouts)
        if columns is not None:
            columns.write(file, path='table', serialize_meta=True, append=True)
            file.attrs['has_quantities'] = isinstance(table, QTable)


def _attributes(cutouts):
    """Return the values that are the same for all rows."""
    attributes = {'format': FORMAT, 'bands': list(cutouts.bands), 'kind': cutouts.kind}
    if cutouts.framing is not None:
        attributes['framing'] = cutouts.framing
    if cutouts.zero_point is not None:
        attributes['zero_point'] = cutouts.zero_point
    if cutouts.pixel_scale is not None and cutouts.pixel_scale.isscalar:
        attributes['pixel_scale'] = cutouts.pixel_scale.to_value(u.arcsec)
    return attributes


def _datasets(cutouts):
    """Return the arrays that have a value for each row."""
    rows = {
        'images': cutouts.images,
        'status': cutouts.status.astype('S20'),
        'flags': cutouts.flags,
        'rotation': cutouts.rotation.to_value(u.deg),
        'parity': cutouts.parity,
        'centers': cutouts.centers,
    }
    if cutouts.pixel_scale is not None and not cutouts.pixel_scale.isscalar:
        rows['pixel_scale'] = cutouts.pixel_scale.to_value(u.arcsec)
    planes = {name: getattr(cutouts, name) for name in PLANES}
    return rows | {name: plane for name, plane in planes.items() if plane is not None}


def _build(file):
    """Build the cutouts that a file holds."""
    attributes = file.attributes
    bands = list(map(str, attributes['bands']))
    images = file.array('images', is_mapped=True)
    _check('images', images, (np.floating, np.uint8), (len(images), len(bands), *images.shape[2:]))
    planes = {name: file.array(name, is_mapped=True) for name in PLANES if name in file.datasets}
    for name, plane in planes.items():
        _check(name, plane, PLANES[name].dtype, images.shape)
    # Files written before 0.1 lack some.
    rows = {name: file.array(name) for name in _ROWS if name in file.datasets}
    for name, values in rows.items():
        types, shape = _ROWS[name]
        _check(name, values, types, (len(images), *shape))
    scale = rows.get('pixel_scale', attributes.get('pixel_scale'))
    return CutoutSet(
        images,
        bands=bands,
        pixel_scale=None if scale is None else scale * u.arcsec,
        framing=attributes.get('framing'),
        kind=attributes['kind'],
        zero_point=attributes.get('zero_point'),
        status=rows['status'],
        flags=rows['flags'],
        table=_read_table(file, len(images)) if 'table' in file.datasets else None,
        rotation=rows.get('rotation'),
        parity=rows.get('parity'),
        centers=rows.get('centers'),
        **planes,
    )


def _check(name, values, types, shape):
    """Refuse an array of another type or shape than that of cutouts."""
    is_known = any(np.issubdtype(values.dtype, known) for known in np.atleast_1d(types))
    if not is_known or values.shape != shape:
        msg = f'{name!r} has the type {values.dtype} and the shape {values.shape}, expected {shape}'
        raise ValueError(msg)


def _read_table(file, n_rows):
    table_class = QTable if file.attributes['has_quantities'] else Table
    reader = Hdf5Reader(file, 'table', table_class=table_class)
    if reader.n_rows != n_rows:
        msg = f"'table' has {reader.n_rows} rows, expected {n_rows}"
        raise ValueError(msg)
    table = reader.read(0, n_rows)
    decode_text(table)
    return table


@contextlib.contextmanager
def _naming(path):
    """Turn the errors of a damaged file into a ValueError that names it."""
    try:
        yield
    except (ImportError, MemoryError, OSError):
        raise
    except Exception as error:
        # What is of another type anywhere is found by NumPy, Astropy or Python.
        what = f'{error} is missing' if isinstance(error, KeyError) else in_one_line(error)
        msg = f'the HDF5 file {os.fspath(path)!r} cannot be read: {what}; write or copy it again'
        raise ValueError(msg) from error
