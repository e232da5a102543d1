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

# Time to wait for other writers, each of which locks the file for milliseconds. One that has kept
# it for so long is stuck: from then on, nothing waits for it.
PATIENCE = 20  # seconds
NO_PATIENCE = 0.1

MARKS = """
    SELECT application_id, user_version, (SELECT COUNT(*) FROM sqlite_master)
    FROM pragma_application_id, pragma_user_version
"""
MARKS_OF_EMPTY = (0, 0, 0)

# SQLite's own files beside a database. The database is renamed last, so that after a killed process
# the next one still finds and renames it.
SUFFIXES = ('-wal', '-shm', '-journal', '')

# How to open a file that can only be read: with the journal of its writers, or without, which needs
# no other file in its folder.
READ_ONLY = ('mode=ro', 'immutable=1')

# Error codes of damaged files, not of locks, permissions or full disks.
DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Database:
    """
    A database in write-ahead mode: commits survive the end of a process, however it ends.

    A file that is damaged, of another program or of an older version is renamed with a warning, and
    a new one created. If the file or its folder can only be read, so can the database.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file, opened at the first use.
    schema : str
        The script that initialises a new file, in one transaction.
    marks : (int, int, int)
        These identify the file as ours: its application's number, its version, and the number of
        its tables and indices.
    """

    def __init__(self, path, *, schema, marks):
        self.path = path
        self._schema = schema
        self._marks = marks
        self._patience = PATIENCE
        self._reset_pool()

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
            If the file cannot be used, for instance because the disk is full, or because it is of
            a later version.
        """
        try:
            return self._try(work)
        except _DamageError:
            with self._os_errors():
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
        with self._os_errors(), self._connection() as connection:
            return work(connection)

    @contextmanager
    def _os_errors(self):
        """Turn errors of SQLite and of the file system into an OSError that names the file."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if _code(error) in LOCKED:
                self._patience = NO_PATIENCE
                self.close()
            can = (
                'can only be read' if _code(error) == sqlite3.SQLITE_READONLY else 'cannot be used'
            )
            msg = (
                f'the file {str(self.path)!r} {can} ({error}); check its folder, or name another '
                'file in astro_morph.conf.cache_file'
            )
            raise (_DamageError if _is_damage(error) else OSError)(msg) from error

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
        """Open the file; if it or its folder can only be read, to read it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._open_to_write()
        except (sqlite3.OperationalError, OSError) as error:
            if isinstance(error, _LaterVersionError) or _code(error) in LOCKED:
                raise
            connection = self._open_to_read()
            if connection is None:
                raise
            return connection

    def _open_to_write(self):
        """Open the file, or create a new one if there is none of ours."""
        # One at a time: SQLite reads a file that is renamed meanwhile with its successor's journal.
        with self._locked():
            connection = self._connect()
            marks = _marks(connection)
            if marks not in (self._marks, MARKS_OF_EMPTY):
                connection.close()
                self._refuse_later_version(marks)
                _set_aside(self.path)
                connection = self._connect()
            if _marks(connection) == MARKS_OF_EMPTY:
                connection.executescript(self._schema)
        # Enough in write-ahead mode: a power cut may lose the last commits, but damages nothing.
        connection.execute('PRAGMA synchronous = NORMAL')
        return connection

    def _open_to_read(self):
        """Open the file as it is, or return None if it is not ours, or can't be read."""
        for how in READ_ONLY:
            with suppress(sqlite3.OperationalError):
                connection = self._connect(f'{self.path.absolute().as_uri()}?{how}', uri=True)
                if _marks(connection) == self._marks:
                    return connection
                connection.close()
        return None

    def _refuse_later_version(self, marks):
        application, version, _ = self._marks
        if marks is not None and marks[0] == application and marks[1] > version:
            msg = f'it is of version {marks[1]}, and this release of the package knows {version}'
            raise _LaterVersionError(msg)

    def _connect(self, path=None, **options):
        return _connect(self.path if path is None else path, self._patience, **options)

    @contextmanager
    def _locked(self):
        """Lock out others that open or rename the file; a killed process holds no lock."""
        with closing(self._connect(f'{self.path}.lock')) as lock:
            lock.execute('BEGIN EXCLUSIVE')
            yield

    def _set_aside_if_damaged(self):
        """Rename the file, unless another thread or process has done so."""
        self.close()
        self._reset_pool()
        with self._locked():
            with closing(self._connect()) as connection:
                is_sound = _is_sound(connection)
            if not is_sound:
                _set_aside(self.path)


class _DamageError(OSError):
    """The file is damaged."""


class _LaterVersionError(OSError):
    """The file is of a later version, which is left as it is."""


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


def _connect(path, patience, **options):
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False, **options
    )
    # Damaged text is no error.
    connection.text_factory = partial(str, encoding='utf-8', errors='replace')
    return connection


def _close(connections, process):
    """Close connections, but in a child process not those of its parent, as SQLite demands."""
    while connections and process == os.getpid():
        connections.pop().close()


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
    return _code(error) in DAMAGE


def _code(error):
    # The higher bytes of a code are details; Python's own errors have no code.
    return getattr(error, 'sqlite_errorcode', 0) & 0xFF


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
