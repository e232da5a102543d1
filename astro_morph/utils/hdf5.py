# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Read HDF5 files of any origin, and write HDF5 files to disks that may be full.

A damaged or malicious file can end the process that opens it, keep it busy for ever, and make it
read other files. It is therefore opened in a process of its own, which tells where the values are;
they are then mapped into memory without the HDF5 library. Values that are compressed or in pieces
are unpacked by that process into a temporary file. This takes 0.2 seconds a file.
"""

import ast
import contextlib
import functools
import io
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

__all__ = ['Hdf5File', 'create_hdf5', 'is_hdf5']

SIGNATURE = b'\x89HDF\r\n\x1a\n'

_DAMAGED = 'it is damaged: HDF5 cannot read it'

# Bytes of the description of a file, and much more than a thousand datasets take.
_LONGEST = 2**24

# gzip packs at most 1032 bytes in one: a file that holds more was made to fill disks.
_PACKED = 1032

# Seconds after which the process is ended, whatever it does; and bytes that it may unpack in a
# further second. It limits its time of computing itself, where the system can.
_PATIENCE = 60
_SLOWEST = 1e6

_WORKER = Path(__file__).with_name('hdf5_worker.py')

# Its own folder must not be searched for modules: names such as csv would hide others.
_START = 'import runpy, sys; sys.path[:] = {path!r}; runpy.run_path({worker!r}, None, "__main__")'


def is_hdf5(path):
    """
    Check whether a file begins like one of HDF5.

    Parameters
    ----------
    path : path-like
        A file; it need not exist.

    Returns
    -------
    is_hdf5 : bool
        Whether the signature is where HDF5 looks for it: at the beginning, or behind 512 bytes,
        1024, 2048...
    """
    if not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        start = 0
        while True:
            file.seek(start)
            found = file.read(len(SIGNATURE))
            if len(found) < len(SIGNATURE) or found == SIGNATURE:
                return found == SIGNATURE
            start = max(512, 2 * start)


class Hdf5File:
    """
    An HDF5 file, which is not opened by this process.

    Parameters
    ----------
    path : path-like
        The file.

    Attributes
    ----------
    attributes : dict
        The attributes of the file that are numbers, text, or lists of these.
    datasets : dict of str to dict
        By name: ``is_table``; and either ``fault``, why the values can't be read, or ``shape``,
        ``dtype`` (None for text of any length), ``offset`` (None where the values must be unpacked)
        and ``attributes``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or no HDF5 file.

    Examples
    --------
    >>> import h5py
    >>> from astro_morph.utils.hdf5 import Hdf5File
    >>> path = getfixture('tmp_path') / 'numbers.h5'
    >>> with h5py.File(path, 'w') as file:
    ...     file['squares'] = [0, 1, 4]
    >>> Hdf5File(path).array('squares')
    array([0, 1, 4])
    """

    def __init__(self, path):
        self._path = Path(path)
        description = _describe(self._path, *_identify(self._path))
        self.attributes, self.datasets = description['attributes'], description['datasets']

    def array(self, name, *, is_mapped=False):
        """
        Return the values of a dataset: mapped into memory, where pages become copies if changed.

        Parameters
        ----------
        name : str
            Its name.
        is_mapped : bool, default=False
            Whether to refuse values that would have to be unpacked.

        Returns
        -------
        values : ndarray
            The values.

        Raises
        ------
        ValueError
            If there is no such dataset, or its values can't be read.
        """
        dataset = self.datasets.get(name, {'fault': 'is missing'})
        if 'fault' in dataset:
            msg = f'{name!r} {dataset["fault"]}'
            raise ValueError(msg)
        shape, offset = tuple(dataset['shape']), dataset['offset']
        if offset is not None or (0 in shape and dataset['dtype']):
            with self._path.open('rb') as file:
                return _map(file, _as_dtype(dataset['dtype']), shape, offset)
        if is_mapped:
            msg = f'{name!r} is compressed or in pieces, expected plain numbers in one piece'
            raise ValueError(msg)
        return self._unpack(name)

    def _unpack(self, name):
        size = self._path.stat().st_size
        seconds = _PATIENCE + _PACKED * size / _SLOWEST
        # The file has no name: it goes when the values are no longer used.
        with tempfile.TemporaryFile() as file:
            answer = _ask(file, seconds, self._path, name, _PACKED * size)
            return _map(file, _as_dtype(answer['dtype']), tuple(answer['shape']), file.tell())


@contextlib.contextmanager
def create_hdf5(path):
    """
    Create an HDF5 file; an error of the disk is raised as such.

    The HDF5 library ends the process if it can't write what it has kept to the end.

    Parameters
    ----------
    path : path-like
        The file; it is replaced if it exists.

    Yields
    ------
    file : `h5py.File`
        The open file.
    check : callable
        Raises the OSError of what was written so far, if there was one.
    """
    import h5py

    with _Disk(path, 'w+') as disk:
        try:
            with h5py.File(disk, 'w') as file:
                yield file, disk.check
        finally:
            # Where HDF5 reads what it could not write, it raises errors of its own.
            disk.check()


class _Disk(io.FileIO):
    """File that keeps the first error for `check`, after which nothing more is written."""

    _error = None

    def check(self):
        if self._error is not None:
            raise self._error

    def seek(self, *arguments):
        return self._try(super().seek, *arguments)

    def truncate(self, *arguments):
        return self._try(super().truncate, *arguments)

    def write(self, data):
        data = memoryview(data).cast('B')
        left = data
        # A disk that is nearly full takes a part, and raises an error for the rest.
        while len(left) and self._error is None:
            left = left[self._try(super().write, left) :]
        return len(data)

    def _try(self, task, *arguments):
        try:
            return task(*arguments) if self._error is None else None
        except BaseException as error:
            self._error = error


def _identify(path):
    """Return what changes when a file is replaced or written to."""
    if not path.exists():
        msg = f'there is no file {str(path)!r}; check its name and folder'
        raise FileNotFoundError(msg)
    if not is_hdf5(path):
        msg = 'it is no HDF5 file'
        raise ValueError(msg)
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


# A file is opened several times in a call.
@functools.lru_cache(maxsize=8)
def _describe(path, *identity):
    with tempfile.TemporaryFile() as file:
        return _ask(file, _PATIENCE, path)


def _ask(file, seconds, path, *question):
    """Write the answer of the process to a file, and return its first line, which is JSON."""
    import h5py  # noqa: F401 - one that is missing is missing here

    code = _START.format(path=sys.path, worker=str(_WORKER))
    command = [sys.executable, '-c', code, os.fspath(path), *map(str, question)]
    try:
        # The message of a crash is for developers.
        process = subprocess.run(  # noqa: S603 - runs code of this package
            command, stdout=file, stderr=subprocess.DEVNULL, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(_DAMAGED) from error
    file.seek(0)
    line = file.readline(_LONGEST)
    if process.returncode or not line.endswith(b'\n'):
        raise ValueError(_DAMAGED)
    answer = json.loads(line)
    if 'error' in answer:
        raise ValueError(answer['error'])
    return answer


def _as_dtype(text):
    return np.lib.format.descr_to_dtype(ast.literal_eval(text))


def _map(file, dtype, shape, offset):
    """Map an array in a file into memory; pages that are changed become private copies."""
    if 0 in shape:
        return np.zeros(shape, dtype)
    if offset + dtype.itemsize * math.prod(shape) > os.fstat(file.fileno()).st_size:
        raise ValueError(_DAMAGED)
    # A plain view: slices of numpy.memmap itself are several times slower.
    return np.asarray(np.memmap(file, dtype, 'c', offset, shape))
