# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write files and folders atomically, one run at a time: they are named when complete."""

import contextlib
import os
import secrets
import shutil
import warnings
from pathlib import Path

from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.utils.messages import as_written

try:
    import fcntl
except ImportError:  # on Windows
    import msvcrt

    fcntl = None

__all__ = ['atomic_file', 'atomic_folder', 'check_new', 'locked']


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
        If the file exists and ``overwrite`` is false, also if it has appeared meanwhile.

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
        if overwrite:
            aside.replace(path)
        else:
            _name_new(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path, *, overwrite=False, may_replace, holds='cutouts'):
    """
    Write a folder atomically: under another name beside it, renamed when it is complete.

    Parameters
    ----------
    path : path-like
        The folder to be written.
    overwrite : bool, default=False
        Whether a folder of that name may be replaced.
    may_replace : callable
        Returns whether what has the name is a folder that may be replaced with all its files.
    holds : str, default='cutouts'
        What the folder holds, for messages.

    Yields
    ------
    aside : `pathlib.Path`
        An empty folder to write to. If the block raises, it is removed.

    Raises
    ------
    FileExistsError
        If there is a file or folder of that name and ``overwrite`` is false, or if it must not be
        replaced.

    Examples
    --------
    >>> from astro_morph.utils.files import atomic_folder
    >>> path = getfixture('tmp_path') / 'notes'
    >>> with atomic_folder(path, may_replace=lambda: False) as aside:
    ...     written = (aside / 'notes.txt').write_text('complete')
    >>> [file.name for file in path.iterdir()]
    ['notes.txt']
    """
    path = Path(path).resolve()

    def check():
        check_new(path, overwrite=overwrite)
        if path.exists() and not may_replace():
            msg = (
                f'{path} exists already, and is no folder of {holds}, which '
                f'{as_written("overwrite", True)} would replace; choose another name'
            )
            raise FileExistsError(msg)

    check()
    aside, replaced = (path.with_name(f'.{secrets.token_hex(4)}-{path.name}') for _ in range(2))
    aside.mkdir(parents=True)
    try:
        yield aside
        check()
        with contextlib.suppress(FileNotFoundError):
            path.rename(replaced)
        aside.rename(path)
    finally:
        for folder in (aside, replaced):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(path):
    """
    Keep other runs from writing a file.

    The lock is a hidden file beside it, which is removed at the end. It ends with the process:
    what a killed process leaves is no lock. Folders that are missing are created, and those that
    stay empty are removed.

    Parameters
    ----------
    path : path-like
        The file to be written; it need not exist.

    Raises
    ------
    BlockingIOError
        If another run has locked the file.

    Examples
    --------
    >>> from astro_morph.utils.files import locked
    >>> path = getfixture('tmp_path') / 'annotated.fits'
    >>> with locked(path), locked(path):
    ...     pass
    Traceback (most recent call last):
    BlockingIOError: ...annotated.fits is being written by another run; wait until it has ended...
    """
    path = Path(path).resolve()
    missing = [folder for folder in path.parents if not folder.exists()]
    lock = path.with_name(f'.{path.name}.lock')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _take(lock, path)
        try:
            yield
        finally:
            _release(lock, file)
    finally:
        with contextlib.suppress(OSError):  # of the first folder that is not empty
            for folder in missing:
                folder.rmdir()


def _name_new(aside, path):
    """Rename a complete file, unless there is a file of that name."""
    try:
        os.link(aside, path)  # unlike renaming, this never replaces a file
    except FileExistsError:
        check_new(path)
    except OSError:  # some file systems have no links
        check_new(path)
        aside.replace(path)


def _take(lock, path):
    """Open and lock a file, and return it."""
    while True:
        file = lock.open('ab')
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:
            file.close()
            msg = (
                f'{path} is being written by another run; wait until it has ended, or name '
                f'another {as_written("output")}'
            )
            raise BlockingIOError(msg) from error
        except OSError as error:
            msg = (
                f'{path} cannot be locked ({error}); make sure that no other run writes it at the '
                'same time'
            )
            warnings.warn(msg, AstropyUserWarning, stacklevel=4)
        # The run that had locked the file may have removed it before it was locked here.
        if os.path.exists(lock) and os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
            return file
        file.close()


def _lock(file):
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def _release(lock, file):
    """Remove a lock. Its file is removed first where the system removes open files."""
    if fcntl is None:
        file.close()
    with contextlib.suppress(OSError):
        lock.unlink()
    file.close()
