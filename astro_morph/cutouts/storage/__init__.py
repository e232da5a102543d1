# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write cutouts to files and folders, behind ``CutoutSet.write``, and read them again."""

import os
from pathlib import Path

from astropy.io import registry

from astro_morph.cutouts.cutout_set import CutoutSet
from astro_morph.cutouts.storage import hats, hdf5, zarr

__all__ = ['ENDINGS', 'FOLDERS', 'check_catalog', 'holds_cutouts', 'is_folder', 'write_batches']

# The module of each format, by the endings of names.
_FORMATS = {'.h5': hdf5, '.hdf5': hdf5, '.zarr': zarr, '.hats': hats}

ENDINGS = tuple(_FORMATS)

# The endings of folders.
FOLDERS = ('.zarr', '.hats')


def holds_cutouts(path):
    """
    Check whether a file or a folder holds cutouts.

    Parameters
    ----------
    path : path-like
        A file of any format, or a folder.

    Returns
    -------
    holds_cutouts : bool
        Whether `~astro_morph.CutoutSet.write` wrote it.

    Raises
    ------
    ValueError
        If it is an HDF5 file that is damaged.

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
    if Path(path).is_dir():
        return zarr.holds_cutouts(path) or hats.holds_cutouts(path)
    return hdf5.holds_cutouts(path)


def is_folder(path):
    """Check whether a path is a folder in a format of cutouts, whatever it holds."""
    return os.path.isdir(path) and (zarr.looks_like(path) or hats.looks_like(path))


def check_catalog(table, path):
    """
    Check that the format of a path can hold a catalogue beside its cutouts.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.
    path : path-like
        The file or folder to be written.

    Raises
    ------
    ValueError
        If it cannot hold a column or a row.
    """
    _find_format(path).check_catalog(table)


def write_batches(batches, path, *, table, n_rows, overwrite=False):
    """
    Write batches of cutouts to a file or folder, atomically; only one need fit into memory.

    Parameters
    ----------
    batches : iterable of `~astro_morph.CutoutSet`
        The cutouts in order, with the same bands and size.
    path : path-like
        The file or folder, in the format that its ending names.
    table : `~astropy.table.Table` or None
        The catalogue of all rows.
    n_rows : int
        Number of rows of all batches together.
    overwrite : bool, default=False
        Whether to replace an existing file, or folder of cutouts.

    Raises
    ------
    FileExistsError
        If it exists and ``overwrite`` is false.
    ValueError
        If the format cannot hold a column of the catalogue, or a batch has other bands or another
        size than the first.
    """
    write = _find_format(path).write_batches
    write(_alike(batches), path, table=table, n_rows=n_rows, overwrite=overwrite)


def _alike(batches):
    """Yield the batches; raise a ValueError at one of another shape."""
    expected = None
    for cutouts in batches:
        shape, expected = cutouts.shape[1:], expected or cutouts.shape[1:]
        if shape != expected:
            msg = (
                f'a batch has cutouts of the shape {shape}, those before are {expected}; write '
                'cutouts of the same bands and size'
            )
            raise ValueError(msg)
        yield cutouts


def _find_format(path):
    return _FORMATS[Path(path).suffix]


def _identify(module):
    """Return the function with which Astropy finds the format of a path."""
    endings = tuple(ending for ending, its in _FORMATS.items() if its is module)

    def identify(origin, filepath, fileobj, *args, **kwargs):
        # Of folders, Astropy passes only what the caller did.
        path = filepath or next(iter(args), None)
        if not isinstance(path, (str, os.PathLike)):
            return False
        path = os.fspath(path).rstrip('/')
        return path.endswith(endings) or (origin == 'read' and module.looks_like(path))

    return identify


for _name, _module in {'hdf5': hdf5, 'zarr': zarr, 'hats': hats}.items():
    registry.register_reader(_name, CutoutSet, _module.read_cutouts)
    registry.register_writer(_name, CutoutSet, _module.write_cutouts)
    registry.register_identifier(_name, CutoutSet, _identify(_module))
