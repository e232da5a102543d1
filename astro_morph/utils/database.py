# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""An SQLite file that threads, processes and killed runs may share."""

import os
import sqlite3
import warnings
import weakref
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ['Database', 'transaction']

# How long to wait for other writers; each holds the file for milliseconds.
PATIENCE = 60  # seconds

MARKS = """
    SELECT application_id, user_version, (SELECT COUNT(*) FROM sqlite_master)
    FROM pragma_application_id, pragma_user_version
"""
MARKS_OF_EMPTY = (0, 0, 0)

# SQLite's own files beside a database. The database is last: whoever is killed while setting
# aside leaves it in place, to be set aside by the next.
SUFFIXES = ('-wal', '-shm', '-journal', '')

# What SQLite says of a file that it cannot make sense of: no lock, permission or full disk is here.
DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """
    A database in write-ahead mode: what was committed is there, whatever happens to a process.

    A file that is broken, or of another program, is renamed with a warning, and a new one begun.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    schema : str
        The script that fills a new file, all or nothing.
    marks : (int, int, int)
        By which the file is known as ours: its application's number, its version, and how many
        tables and indices it has.

    Raises
    ------
    OSError
        If the file can be neither opened nor made.
    """

    def __init__(self, path, *, schema, marks):
        self.path = path
        self._schema = schema
        self._marks = marks
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begin_pool()
        self.do(lambda connection: None)

    def do(self, work):
        """
        Do some work on the file, or on a new one if it turns out to be damaged.

        Parameters
        ----------
        work : callable
            Called with an `sqlite3.Connection` in autocommit mode, once or twice.

        Returns
        -------
        result : object
            What ``work`` returns.

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
        """Close the file; the next use opens it again."""
        _close(self._idle, self._process)

    def _begin_pool(self):
        """Forget all connections, for instance those of the process that this one is a child of."""
        self._idle, self._process = [], os.getpid()
        weakref.finalize(self, _close, self._idle, self._process)

    def _try(self, work):
        try:
            with self._connection() as connection:
                return work(connection)
        except sqlite3.DatabaseError as error:
            kind = _DamageError if _is_damage(error) else OSError
            msg = (
                f'the file {str(self.path)!r} cannot be used ({error}); see to its folder, or name '
                'another by astro_morph.conf.cache_file'
            )
            raise kind(msg) from error

    @contextmanager
    def _connection(self):
        """Lend a connection that no other thread has, and none from before a fork."""
        if self._process != os.getpid():
            self._begin_pool()
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
        """Open the file, or begin a new one in place of what is there and not ours."""
        # One at a time: SQLite reads a file that is renamed meanwhile with its successor's journal.
        with _alone_with(self.path):
            connection = _connect(self.path)
            if _marks(connection) not in (self._marks, MARKS_OF_EMPTY):
                connection.close()
                _set_aside(self.path)
                connection = _connect(self.path)
            if _marks(connection) == MARKS_OF_EMPTY:
                connection.executescript(self._schema)
        # Enough in write-ahead mode: a power cut may lose the last commits, but breaks nothing.
        connection.execute('PRAGMA synchronous = NORMAL')
        return connection

    def _set_aside_if_damaged(self):
        """Set the file aside, unless another thread or process has done so before."""
        self.close()
        self._begin_pool()
        with _alone_with(self.path):
            with closing(_connect(self.path)) as connection:
                is_sound = _is_sound(connection)
            if not is_sound:
                _set_aside(self.path)


class _DamageError(OSError):
    """The file is not what SQLite wrote."""


@contextmanager
def transaction(connection, kind):
    """
    Do all or nothing.

    Parameters
    ----------
    connection : `sqlite3.Connection`
        The connection.
    kind : {'DEFERRED', 'IMMEDIATE'}
        Whether to read, or to write.
    """
    connection.execute(f'BEGIN {kind}')
    with connection:
        yield


def _connect(path):
    connection = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    # A damaged text is nothing to stop at.
    connection.text_factory = partial(str, encoding='utf-8', errors='replace')
    return connection


def _close(connections, process):
    """Close connections; a child process must not touch those of its parent, says SQLite."""
    while connections and process == os.getpid():
        connections.pop().close()


@contextmanager
def _alone_with(path):
    """Keep others from opening or renaming a file; the lock of one that was killed is free."""
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
    # SQLite puts details into the higher bytes of a code; Python's own errors have none.
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
    msg = f'{path} is broken or of another program: it is now {aside}, and a new one is begun'
    warnings.warn(msg, AstropyUserWarning, stacklevel=2)
