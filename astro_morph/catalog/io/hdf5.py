# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read HDF5 tables in chunks of rows, and join the files of chunks."""

import io

from astropy.table import Table

__all__ = ['Hdf5Reader', 'join_hdf5']

# Astropy keeps units, descriptions and other metadata of a table in a dataset with this suffix.
META = '.__table_column_meta__'


class Hdf5Reader:
    """Read rows of the first dataset in an HDF5 file that is a table."""

    def __init__(self, path):
        import h5py

        def as_table(name, item):
            is_table = isinstance(item, h5py.Dataset) and item.dtype.kind == 'V'
            return item if is_table else None

        self.file = h5py.File(path)
        self.dataset = self.file.visititems(as_table)
        if self.dataset is None:
            msg = 'no dataset is a table'
            raise ValueError(msg)
        self.n_rows = len(self.dataset)

    def read(self, start, stop):
        """Read some rows as a table."""
        import h5py

        with h5py.File(io.BytesIO(), 'w') as file:
            self.create_like(file, stop - start)[:] = self.dataset[start:stop]
            return Table.read(file, format='hdf5', path=self.dataset.name)

    def create_like(self, file, n_rows):
        """Create a dataset with these columns, their metadata and so many rows in a file."""
        name = self.dataset.name
        dataset = file.create_dataset(name, (n_rows,), self.dataset.dtype)
        dataset.attrs.update(self.dataset.attrs)
        if f'{name}{META}' in self.file:
            self.file.copy(f'{name}{META}', file, f'{name}{META}')
        return dataset


def join_hdf5(files, path, *, n_rows, n_skip):
    """Write the rows of HDF5 files, but for the first ``n_skip`` of each, to one file."""
    import h5py

    n_done = 0
    with h5py.File(path, 'w') as output:
        for number, reader in enumerate(map(Hdf5Reader, files)):
            if number == 0:
                dataset = reader.create_like(output, n_rows)
            n_new = reader.n_rows - n_skip
            dataset[n_done : n_done + n_new] = reader.dataset[n_skip:]
            n_done += n_new
            reader.file.close()
