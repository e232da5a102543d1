# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write cutouts to HDF5 files and read them, behind `CutoutSet.write` and `CutoutSet.read`."""

import os

import astropy.units as u
import numpy as np
from astropy.io import registry
from astropy.table import QTable, Table

from astro_morph.catalog.io.tables import decode_text
from astro_morph.cutouts.cutout_set import CutoutSet
from astro_morph.utils.files import atomic_file

__all__ = ['holds_cutouts', 'read_cutouts', 'write_batches', 'write_cutouts']

# The attribute that marks these files among other HDF5 files.
FORMAT = 'astro_morph cutouts 1'

ENDINGS = ('.h5', '.hdf5')

# Datasets beside the images, with a value for each row.
_ROWS = ('status', 'flags', 'pixel_scale', 'rotation', 'parity', 'centers')


def holds_cutouts(path):
    """
    Check whether a file holds cutouts.

    Parameters
    ----------
    path : path-like
        A file of any format.

    Returns
    -------
    holds_cutouts : bool
        Whether `~astro_morph.CutoutSet.write` wrote it.

    Examples
    --------
    >>> import tempfile
    >>> from astro_morph.cutouts import holds_cutouts
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4)
    >>> path = f'{tempfile.mkdtemp()}/cutouts.h5'
    >>> survey.fetch(survey.catalogue).write(path)
    >>> holds_cutouts(path)
    True
    """
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path) as file:
        return file.attrs.get('format') == FORMAT


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
    ValueError
        If the file does not hold cutouts.
    """
    import h5py

    if not isinstance(path, (str, os.PathLike)):
        # Astropy passes an open file if the caller did not name the format.
        path = path.name
    if not holds_cutouts(path):
        msg = f'{str(path)!r} is no file of cutouts; name one that CutoutSet.write wrote'
        raise ValueError(msg)
    with h5py.File(path) as file:
        rows = {name: file[name][:] for name in _ROWS if name in file}
        scale = rows.get('pixel_scale', file.attrs.get('pixel_scale'))
        return CutoutSet(
            _map_images(path, file['images']),
            bands=file.attrs['bands'].tolist(),
            pixel_scale=None if scale is None else scale * u.arcsec,
            framing=file.attrs.get('framing'),
            kind=file.attrs['kind'],
            zero_point=file.attrs.get('zero_point'),
            status=rows['status'],
            flags=rows['flags'],
            table=_read_table(file) if 'table' in file else None,
            # Files written before 0.1 lack them.
            rotation=rows.get('rotation'),
            parity=rows.get('parity'),
            centers=rows.get('centers'),
        )


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
    """
    import h5py

    with atomic_file(path, overwrite=overwrite) as aside, h5py.File(aside, 'w') as file:
        start = 0
        for cutouts in batches:
            if start == 0:
                file.attrs.update(_attributes(cutouts))
            for name, values in _datasets(cutouts).items():
                shape = (n_rows, *values.shape[1:])
                dataset = file.require_dataset(name, shape, values.dtype, exact=True)
                dataset[start : start + len(values)] = values
            start += len(cutouts)
        if table is not None:
            table.write(file, path='table', serialize_meta=True, append=True)
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
    return rows


def _map_images(path, dataset):
    """Map a dataset into memory; pages that are changed become private copies."""
    if dataset.size == 0:
        return dataset[:]
    offset = dataset.id.get_offset()
    # A plain view: slices of numpy.memmap itself are several times slower.
    return np.asarray(np.memmap(path, dataset.dtype, 'c', offset, dataset.shape))


def _read_table(file):
    table_class = QTable if file.attrs['has_quantities'] else Table
    table = table_class.read(file, path='table')
    decode_text(table)
    return table


def _is_hdf5(origin, filepath, fileobj, *args, **kwargs):
    """Check whether a file holds cutouts; of a file to be written, check the name."""
    if origin == 'write':
        return str(filepath).endswith(ENDINGS)
    return filepath is not None and holds_cutouts(filepath)


registry.register_reader('hdf5', CutoutSet, read_cutouts)
registry.register_writer('hdf5', CutoutSet, write_cutouts)
registry.register_identifier('hdf5', CutoutSet, _is_hdf5)
