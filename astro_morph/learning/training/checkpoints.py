# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Save and restore the state of a training run, and stop it at a signal without losing work."""

import os
import signal
import threading
import time

import torch

from astro_morph.learning.training import processes
from astro_morph.models.weights.files import load_archive
from astro_morph.utils.files import atomic_file
from astro_morph.utils.messages import as_written

__all__ = ['Checkpoint', 'Signals']

# Marks a checkpoint, and its version, among other files that PyTorch can read.
FORMAT = 'astro_morph checkpoint 1'

# Seconds between two writings: the most that a power cut can cost. Writing takes a fraction of one.
INTERVAL = 300.0


class Checkpoint:
    """
    File that holds the state of a training run. The first of several processes writes it.

    Parameters
    ----------
    path : path-like or None
        The file; if None, nothing is written.
    parts : dict
        Parts of the state by name, each with ``state_dict`` and ``load_state_dict``.
    settings : dict
        Settings, in plain values, that must be the same in a run that continues from the file.
    """

    def __init__(self, path, parts, *, settings):
        self._path = path
        self._parts = parts
        self._settings = settings
        self._written = time.monotonic()

    def load(self):
        """
        Restore the parts from the file, if it exists.

        Raises
        ------
        ValueError
            If the file is not a checkpoint, or is one of another run.
        """
        # Only the first process needs to see the file.
        state = processes.broadcast(self._read() if processes.is_first() else None)
        if state is None:
            return
        try:
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
        except Exception as error:
            # Each part has errors of its own for what is missing or of another shape.
            msg = (
                f'{as_written("checkpoint", os.fspath(self._path))} does not hold the state of '
                f'this run: {name} is missing, or of another shape or version; choose another '
                'file, or delete it to start anew'
            )
            raise ValueError(msg) from error

    def save(self):
        """Write the file atomically: a process killed meanwhile leaves the previous one."""
        self._written = time.monotonic()
        if self._path is None or not processes.is_first():
            return
        state = {name: part.state_dict() for name, part in self._parts.items()}
        with atomic_file(self._path, overwrite=True) as aside, aside.open('wb') as file:
            torch.save({'format': FORMAT, 'settings': self._settings, **state}, file)

    def save_if_due(self):
        """Write the file if it was last written minutes ago."""
        if time.monotonic() - self._written >= INTERVAL:
            self.save()

    def _read(self):
        if self._path is None or not os.path.exists(self._path):
            return None
        path = os.fspath(self._path)
        try:
            state = load_archive(path)
            is_ours = state['format'] == FORMAT
            settings = dict(state['settings']) if is_ours else {}
        except PermissionError:
            raise
        except Exception as error:
            msg = (
                f'{as_written("checkpoint", path)} is no checkpoint of astro_morph, or is damaged; '
                'choose another file, or delete it to start anew'
            )
            raise ValueError(msg) from error
        if not is_ours:
            msg = (
                f'{as_written("checkpoint", path)} has the format {state["format"]!r}, expected '
                f'{FORMAT!r}; continue with the version of astro_morph that wrote it, or choose '
                'another file'
            )
            raise ValueError(msg)
        for name, expected in self._settings.items():
            saved = settings.get(name)
            if type(saved) is not type(expected) or saved != expected:
                msg = (
                    f'{as_written("checkpoint", path)} is of another run, whose '
                    f'{as_written(name)} is {saved}, not {expected}; continue with the settings of '
                    'that run, or choose another file'
                )
                raise ValueError(msg)
        return state


class Signals:
    """
    Delay Ctrl-C and SIGTERM until a step of the training is complete.

    Within the context the number of a signal is only stored in ``received``, which is 0 before.
    `act` and the end of the context pass it on to the handler of before. A second signal goes
    there at once.

    Parameters
    ----------
    is_active : bool, default=True
        If false, signals are not delayed.
    """

    def __init__(self, *, is_active=True):
        # Python handles signals in the main thread only.
        self._is_active = is_active and threading.current_thread() is threading.main_thread()
        self._handlers = {}
        self.received = 0

    def __enter__(self):
        if self._is_active:
            for number in (signal.SIGINT, signal.SIGTERM):
                # The parent process may have chosen to ignore the signal.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, error_type, error, traceback):
        self._restore()
        if self.received and error is None:
            signal.raise_signal(self.received)

    def act(self, number):
        """
        Pass a signal on to the handler of before; if the process survives, delay signals again.

        Parameters
        ----------
        number : int
            Number of the signal, received by this process or another.
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
