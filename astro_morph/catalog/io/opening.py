# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Check a file before it is read as a table, and turn what readers raise into one error."""

import contextlib
import os
from pathlib import Path

from astro_morph.catalog.io.formats import NAMES
from astro_morph.utils.messages import in_one_line

__all__ = ['check_content', 'refuse_damage']

# How files begin. Of text files, only some begin in a way of their own.
_BEGINNINGS = {
    b'SIMPLE  =': 'FITS',
    b'\x89HDF\r\n': 'HDF5',
    b'PAR1': 'Parquet',
    b'# %ECSV': 'ECSV',
    b'<?xml': 'VOTable',
    b'<VOTABLE': 'VOTable',
    b'<!DOCTYPE html': 'HTML',
    b'<html': 'HTML',
    b'{': 'JSON',
    b'\x1f\x8b': 'gzip',
    b'BZh': 'bzip2',
    b'\xfd7zXZ': 'xz',
    b'PK\x03\x04': 'zip or Excel',
    b'\x28\xb5\x2f\xfd': 'Zstandard',
    b'%PDF': 'PDF',
}

# The formats whose files begin in one way only.
_MARKED = ('fits', 'parquet', 'ascii.ecsv')


def check_content(path, file_format):
    """
    Check that a file is a file, and holds what the end of its name says.

    Parameters
    ----------
    path : path-like
        The file.
    file_format : str
        Astropy's name of the format.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a folder or a device, if it is empty, or if it begins like one of another format.
    """
    path = Path(path)
    if not path.exists():
        msg = f'there is no file {str(path)!r}; check its name and folder'
        raise FileNotFoundError(msg)
    if not path.is_file():
        msg = f'{str(path)!r} is a folder or a device, expected a file; name a file'
        raise ValueError(msg)
    with path.open('rb') as file:
        start = file.read(64)
    if not start:
        msg = 'it is empty; write or download it again'
        raise ValueError(msg)
    found = _find_content(start)
    expected = NAMES[file_format]
    # FITS may be compressed whatever its name.
    if found == expected or (expected, found) == ('FITS', 'gzip'):
        return
    if found in ('gzip', 'bzip2', 'xz', 'zip or Excel', 'Zstandard'):
        msg = f'it is compressed ({found}); unpack it, or save it as {expected}'
        raise ValueError(msg)
    if found is not None:
        msg = f'it begins like {found}, expected {expected}; rename it, or download it again'
        raise ValueError(msg)
    if file_format in _MARKED:
        msg = f'it does not begin like {expected}; check what the file holds, and rename it'
        raise ValueError(msg)


@contextlib.contextmanager
def refuse_damage(path):
    """
    Turn the errors of readers into a ValueError that names the file.

    Parameters
    ----------
    path : path-like
        The file that is read in the block.

    Raises
    ------
    ValueError
        If the block raises any error other than that there is no file or package, or no memory.
    """
    try:
        yield
    except (FileNotFoundError, ImportError, MemoryError, PermissionError):
        raise
    except Exception as error:
        # A file may be damaged anywhere: libraries raise errors of all kinds, and their own.
        msg = f'the catalogue {os.fspath(path)!r} cannot be read: {_describe(error)}'
        raise ValueError(msg) from error


def _find_content(start):
    """Return the format that the beginning of a file is of; None if it may be any text."""
    text = start.removeprefix(b'\xef\xbb\xbf').lstrip()
    for beginning, name in _BEGINNINGS.items():
        if start.startswith(beginning) or text.lower().startswith(beginning.lower()):
            return name
    return None


def _describe(error):
    if isinstance(error, EOFError):
        return 'it ends too early; download or copy it again'
    text = in_one_line(error)
    is_plain = isinstance(error, (ValueError, OSError))
    return text if is_plain else f'it is damaged ({text})'
