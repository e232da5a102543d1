# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write files atomically: a file has its name only when it is complete."""

import contextlib
import os
import secrets
from pathlib import Path

from astro_morph.utils.messages import as_written

__all__ = ['atomic_file', 'check_new']


def check_new(path, *, overwrite=False):
    """
    Refuse a file that exists, so that nothing is replaced unasked.

    Parameters
    ----------
    path : path-like
        The file to be written.
    overwrite : bool, default=False
        Whether it may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    """
    if os.path.exists(path) and not overwrite:
        msg = f'{os.fspath(path)} exists already; use {as_written("overwrite", True)} to replace it'
        raise FileExistsError(msg)


@contextlib.contextmanager
def atomic_file(path, *, overwrite=False):
    """
    Write a file atomically: under another name beside it, renamed when it is complete.

    Parameters
    ----------
    path : path-like
        The file to be written. A symbolic link stays a link, to the new file.
    overwrite : bool, default=False
        Whether a file of that name may be replaced.

    Yields
    ------
    aside : `pathlib.Path`
        Write to this path, which has the same suffix. If the block raises, it is removed.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.

    Examples
    --------
    >>> from astro_morph.utils.files import atomic_file
    >>> path = getfixture('tmp_path') / 'notes.txt'
    >>> with atomic_file(path) as aside:
    ...     written = aside.write_text('complete')
    >>> path.read_text()
    'complete'
    """
    check_new(path, overwrite=overwrite)
    path = Path(path).resolve()
    aside = path.with_name(f'.{secrets.token_hex(4)}-{path.name}')
    try:
        yield aside
        # The data are on the disk before the name is, even if the power fails.
        with aside.open('rb+') as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
