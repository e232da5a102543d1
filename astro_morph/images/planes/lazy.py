# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Arrays whose rows are read from files when they are used."""

import numpy as np

__all__ = ['LazyArray', 'ReadWhenUsed']


class LazyArray:
    """
    Array whose rows are read when it is converted to one of NumPy.

    Indexing by a slice, a mask or row numbers reads nothing.

    Parameters
    ----------
    read : callable
        Returns the rows of some numbers, an ndarray of int, as an ndarray.
    shape : tuple of int
        Shape of all rows.
    dtype : dtype
        Type of the values.
    rows : ndarray of int, default=None
        The rows of this array; all if None.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.images.planes.lazy import LazyArray
    >>> squares = LazyArray(lambda rows: rows**2, (1000,), int)
    >>> np.asarray(squares[500:][::250])
    array([250000, 562500])
    """

    def __init__(self, read, shape, dtype, *, rows=None):
        self._read, self._all = read, tuple(shape)
        self._rows = np.arange(shape[0]) if rows is None else rows
        self.dtype = np.dtype(dtype)

    @property
    def shape(self):
        """Shape of the rows."""
        return len(self._rows), *self._all[1:]

    @property
    def ndim(self):
        """Number of axes."""
        return len(self._all)

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        return LazyArray(self._read, self._all, self.dtype, rows=self._rows[rows])

    def __array__(self, dtype=None, copy=None):
        if not len(self):
            return np.zeros(self.shape, dtype or self.dtype)
        return np.asarray(self._read(self._rows), dtype or self.dtype)


class ReadWhenUsed:
    """Attribute of an object that is an array, or a lazy one until it is first used."""

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, owner, kind=None):
        if owner is None:
            return self
        values = vars(owner)[self._name]
        if isinstance(values, LazyArray):
            values = vars(owner)[self._name] = np.asarray(values)
        return values

    def __set__(self, owner, values):
        vars(owner)[self._name] = values
