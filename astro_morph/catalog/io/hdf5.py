# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read HDF5 tables, whole and in chunks of rows, write them, and join the files of chunks."""

import io

from astropy.table import Table

from astro_morph.utils.hdf5 import Hdf5File, create_hdf5

__all__ = ['Hdf5Reader', 'join_hdf5', 'read_hdf5', 'write_hdf5']

# Astropy keeps units, descriptions and other metadata of a table in a dataset with this suffix.
META = '.__table_column_meta__'

# The name of a table in a file that this package writes.
NAME = 'data'


def read_hdf5(path):
    """Read the first table in an HDF5 file."""
    reader = Hdf5Reader(Hdf5File(path))
    return reader.read(0, reader.n_rows)


def write_hdf5(table, path):
    """Write a table to an HDF5 file."""
    with create_hdf5(path) as (file, _):
        table.write(file, path=NAME, format='hdf5', serialize_meta=True)


class Hdf5Reader:
    """
    Read rows of a table in an HDF5 file.

    Parameters
    ----------
    file : path-like or `~astro_morph.utils.hdf5.Hdf5File`
        The file.
    name : str, default=None
        Name of the dataset; that of the first that is a table if None.
    table_class : type, default=Table
        Class of the tables that are read.
    """

    def __init__(self, file, name=None, *, table_class=Table):
        self._file = file if isinstance(file, Hdf5File) else Hdf5File(file)
        self._name = name or self._find_table()
        self._table_class = table_class
        self._rows = self._file.array(self._name)
        self.n_rows = len(self._rows)

    def read(self, start, stop):
        """Read some rows as a table."""
        import h5py

        # Astropy reads tables from open files of h5py only.
        with h5py.File(io.BytesIO(), 'w') as file:
            file[self._name] = self._rows[start:stop]
            file[self._name].attrs.update(self._file.datasets[self._name]['attributes'])
            if self._name + META in self._file.datasets:
                file[self._name + META] = self._file.array(self._name + META)
            return self._table_class.read(file, format='hdf5', path=self._name)

    def _find_table(self):
        for name, dataset in self._file.datasets.items():
            if dataset.get('is_table') and not name.endswith(META):
                return name
        msg = 'no dataset is a table'
        raise ValueError(msg)


def join_hdf5(files, path, *, n_rows, n_skip):
    """Write the rows of files of `write_hdf5` to one file, but the first ``n_skip`` of each."""
    import h5py

    n_done = 0
    with create_hdf5(path) as (output, check):
        for part in map(h5py.File, files):
            with part:
                rows = part[NAME][n_skip:]
                if n_done == 0:
                    dataset = output.create_dataset(NAME, (n_rows,), rows.dtype)
                    part.copy(NAME + META, output, NAME + META)
                dataset[n_done : n_done + len(rows)] = rows
            n_done += len(rows)
            check()
