# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a run that was stopped goes on from, and how it is stopped without a loss."""

import os
import signal
import threading
import time

import torch

from astro_morph.learning.training import processes as parallel

__all__ = ['Checkpoint', 'Signals']

# First word of a checkpoint, so that another torch file is told from ours.
FORMAT = 'astro_morph checkpoint 1'

# Seconds of work that a power cut may cost; writing takes a fraction of a second.
INTERVAL = 300.0


class Checkpoint:
    """
    A file that holds the state of a run; of several processes, the first one writes it.

    Parameters
    ----------
    path : path or None
        The file; without one, nothing is written.
    parts : dict
        What makes up the state, by name; each with ``state_dict`` and ``load_state_dict``.
    settings : dict
        What must be the same in a run that goes on from the file, in plain values.
    """

    def __init__(self, path, parts, *, settings):
        self._path = path
        self._parts = parts
        self._settings = settings
        self._written = time.monotonic()

    def load(self):
        """
        Bring the parts into the state of the file, if it is there.

        Raises
        ------
        ValueError
            If the file is no checkpoint, or one of another run.
        """
        # The first process alone needs to see the file.
        state = parallel.broadcast(self._read() if parallel.is_first() else None)
        if state is not None:
            for name, part in self._parts.items():
                part.load_state_dict(state[name])

    def save(self):
        """Write the file; a process that is killed meanwhile leaves the last whole one."""
        self._written = time.monotonic()
        if self._path is None or not parallel.is_first():
            return
        state = {name: part.state_dict() for name, part in self._parts.items()}
        aside = f'{os.fspath(self._path)}.part'
        torch.save({'format': FORMAT, 'settings': self._settings, **state}, aside)
        os.replace(aside, self._path)

    def save_if_due(self):
        """Write the file if that was minutes ago."""
        if time.monotonic() - self._written >= INTERVAL:
            self.save()

    def _read(self):
        if self._path is None or not os.path.exists(self._path):
            return None
        path = os.fspath(self._path)
        try:
            state = torch.load(path, map_location='cpu', weights_only=True)
            is_ours = state['format'] == FORMAT
        except Exception as error:
            msg = f'{path!r} is no checkpoint of astro_morph; name another file for checkpoint='
            raise ValueError(msg) from error
        if not is_ours:
            msg = (
                f'{path!r} has the format {state["format"]!r}, expected {FORMAT!r}; go on with the '
                'version that wrote it, or name another file for checkpoint='
            )
            raise ValueError(msg)
        for name, expected in self._settings.items():
            saved = state['settings'].get(name)
            if saved != expected:
                msg = (
                    f'checkpoint={path!r} is of another run, whose {name} is {saved}, not '
                    f'{expected}; go on as that run was begun, or name another file'
                )
                raise ValueError(msg)
        return state


class Signals:
    """
    Keep Ctrl-C and SIGTERM waiting while a step is made.

    Within the context they are only noted in ``received``, 0 if there was none. `act` and the end
    of the context let them do what they did before. A second one does it at once.

    Parameters
    ----------
    is_active : bool, optional
        Whether to do anything at all.
    """

    def __init__(self, *, is_active=True):
        # Python lets only the main thread see to signals.
        self._is_active = is_active and threading.current_thread() is threading.main_thread()
        self._handlers = {}
        self.received = 0

    def __enter__(self):
        if self._is_active:
            for number in (signal.SIGINT, signal.SIGTERM):
                # Who started the process may have chosen that it hears none.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, error_type, error, traceback):
        self._restore()
        if self.received and error is None:
            signal.raise_signal(self.received)

    def act(self, number):
        """
        Let a signal do what it did before; go on as before if the process is still there.

        Parameters
        ----------
        number : int
            Which one: that received here or in another process.
        """
        self.received = 0
        self._restore()
        signal.raise_signal(number)
        self.__enter__()

    def _note(self, number, frame):
        self.received = number
        self._restore()

    def _restore(self):
        while self._handlers:
            signal.signal(*self._handlers.popitem())
