# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Share an SQLite file between threads and processes, safe against killed runs and damage."""

import os
import sqlite3
import warnings
import weakref
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ['Database', 'transaction']

# Time to wait for other writers, each of which locks the file for milliseconds.
PATIENCE = 60  # seconds

MARKS = """
    SELECT application_id, user_version, (SELECT COUNT(*) FROM sqlite_master)
    FROM pragma_application_id, pragma_user_version
"""
MARKS_OF_EMPTY = (0, 0, 0)

# SQLite's own files beside a database. The database is renamed last, so that after a killed process
# the next one still finds and renames it.
SUFFIXES = ('-wal', '-shm', '-journal', '')

# Error codes of damaged files, not of locks, permissions or full disks.
DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """
    A database in write-ahead mode: commits survive the end of a process, however it ends.

    A file that is damaged, or of another program, is renamed with a warning, and a new one created.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    schema : str
        The script that initialises a new file, in one transaction.
    marks : (int, int, int)
        These identify the file as ours: its application's number, its version, and the number of
        its tables and indices.

    Raises
    ------
    OSError
        If the file can be neither opened nor created.
    """

    def __init__(self, path, *, schema, marks):
        self.path = path
        self._schema = schema
        self._marks = marks
        path.parent.mkdir(parents=True, exist_ok=True)
        self._reset_pool()
        self.do(lambda connection: None)

    def do(self, work):
        """
        Call a function with the file, or with a new one if the file is damaged.

        Parameters
        ----------
        work : callable
            Called with an `sqlite3.Connection` in autocommit mode, once or twice.

        Returns
        -------
        result : object
            The result of ``work``.

        Raises
        ------
        OSError
            If the file cannot be used, for instance because the disk is full.
        """
        try:
            return self._try(work)
        except _DamageError:
            self._set_aside_if_damaged()
            return self._try(work)

    def close(self):
        """Close the file until the next use."""
        _close(self._idle, self._process)

    def _reset_pool(self):
        """Start without connections, for instance in the child of a process that has some."""
        self._idle, self._process = [], os.getpid()
        weakref.finalize(self, _close, self._idle, self._process)

    def _try(self, work):
        try:
            with self._connection() as connection:
                return work(connection)
        except sqlite3.DatabaseError as error:
            kind = _DamageError if _is_damage(error) else OSError
            msg = (
                f'the file {str(self.path)!r} cannot be used ({error}); check its folder, or name '
                'another file in astro_morph.conf.cache_file'
            )
            raise kind(msg) from error

    @contextmanager
    def _connection(self):
        """Yield a connection that no other thread uses, and none from before a fork."""
        if self._process != os.getpid():
            self._reset_pool()
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        idle.append(connection)

    def _open(self):
        """Open the file, or create a new one if there is none of ours."""
        # One at a time: SQLite reads a file that is renamed meanwhile with its successor's journal.
        with _locked(self.path):
            connection = _connect(self.path)
            if _marks(connection) not in (self._marks, MARKS_OF_EMPTY):
                connection.close()
                _set_aside(self.path)
                connection = _connect(self.path)
            if _marks(connection) == MARKS_OF_EMPTY:
                connection.executescript(self._schema)
        # Enough in write-ahead mode: a power cut may lose the last commits, but damages nothing.
        connection.execute('PRAGMA synchronous = NORMAL')
        return connection

    def _set_aside_if_damaged(self):
        """Rename the file, unless another thread or process has done so."""
        self.close()
        self._reset_pool()
        with _locked(self.path):
            with closing(_connect(self.path)) as connection:
                is_sound = _is_sound(connection)
            if not is_sound:
                _set_aside(self.path)


class _DamageError(OSError):
    """The file is damaged."""


@contextmanager
def transaction(connection, kind):
    """
    Run a block as one transaction.

    Parameters
    ----------
    connection : `sqlite3.Connection`
        The connection.
    kind : {'DEFERRED', 'IMMEDIATE'}
        The first to read, the second to write.
    """
    connection.execute(f'BEGIN {kind}')
    with connection:
        yield


def _connect(path):
    connection = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    # Damaged text is no error.
    connection.text_factory = partial(str, encoding='utf-8', errors='replace')
    return connection


def _close(connections, process):
    """Close connections, but in a child process not those of its parent, as SQLite demands."""
    while connections and process == os.getpid():
        connections.pop().close()


@contextmanager
def _locked(path):
    """Lock out others that open or rename the file; a killed process holds no lock."""
    with closing(_connect(f'{path}.lock')) as lock:
        lock.execute('BEGIN EXCLUSIVE')
        yield


def _marks(connection):
    try:
        return connection.execute(MARKS).fetchone()
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            return None
        raise


def _is_sound(connection):
    try:
        return connection.execute('PRAGMA integrity_check(1)').fetchone() == ('ok',)
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            return False
        raise


def _is_damage(error):
    # The higher bytes of a code are details; Python's own errors have no code.
    return getattr(error, 'sqlite_errorcode', 0) & 0xFF in DAMAGE


def _set_aside(path):
    aside = next(
        name
        for name in (f'{path}.broken-{n}' for n in count(1))
        if not any(os.path.lexists(f'{name}{suffix}') for suffix in SUFFIXES)
    )
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            os.rename(f'{path}{suffix}', f'{aside}{suffix}')
    msg = f'{path} is damaged or of another program; it is now {aside}, and a new one is created'
    warnings.warn(msg, AstropyUserWarning, stacklevel=2)
