# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""End a command as a shell expects it: signals, pipes that were closed, exit codes."""

import atexit
import contextlib
import os
import signal
import sys
from functools import partial

__all__ = ['INTERRUPTED', 'TerminatedError', 'exit_code_of', 'run_as_process']

# 128 and the number of the signal, as shells report them.
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
CLOSED_PIPE = 141  # SIGPIPE is 13; Windows does not define it


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, which ends a command in the same way as Ctrl-C."""


def exit_code_of(interrupt):
    """
    Return the exit code of a command that was interrupted.

    Parameters
    ----------
    interrupt : KeyboardInterrupt
        The interrupt.

    Returns
    -------
    code : int
        130 after Ctrl-C, 143 after SIGTERM.

    Examples
    --------
    >>> from astro_morph.utils.process import exit_code_of
    >>> exit_code_of(KeyboardInterrupt())
    130
    """
    return TERMINATED if isinstance(interrupt, TerminatedError) else INTERRUPTED


def run_as_process(command):
    """
    Run a command, and end the process with its exit code.

    SIGTERM raises `TerminatedError`, so that temporary files are removed. If the reader of a pipe
    has ended, as in ``| head``, the process ends silently with the code 141.

    Parameters
    ----------
    command : callable
        Called without arguments; returns the exit code, or raises SystemExit.
    """
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, partial(_terminate, os.getpid()))
    for stream in filter(None, (sys.stdout, sys.stderr)):
        # Names of files may hold characters that the terminal can't show.
        stream.reconfigure(errors='backslashreplace')
    try:
        code = command()
    except SystemExit as end:
        code = end.code or 0
    except KeyboardInterrupt as interrupt:
        code = exit_code_of(interrupt)
    except BrokenPipeError:
        code = CLOSED_PIPE
    _end(code)


def _terminate(parent, number, frame):
    """Raise an error in the process itself; end its child processes at once."""
    if os.getpid() != parent:
        os._exit(TERMINATED)
    raise TerminatedError


def _end(code):
    """
    End the process without waiting for its threads.

    A thread that is inside ONNX Runtime or PyTorch while the interpreter shuts down aborts the
    process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Temporary folders are removed.
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
