# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A process ends as a shell expects it, whatever its threads are doing."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

# Ctrl-C raises, also where the tests run in the background of a script.
PRELUDE = """
import os, signal, sys, tempfile, threading, time
from astro_morph.utils.process import exit_code_of, run_as_process
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def start(code, **options):
    """Start a process that runs some code."""
    script = PRELUDE + textwrap.dedent(code)
    streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, '-c', script], text=True, **streams)


@pytest.mark.parametrize(
    ('code', 'expected'),
    [
        ('print("done"); return 0', 0),
        ('return 1', 1),
        ('sys.exit(2)', 2),
        ('sys.exit()', 0),
        ('raise KeyboardInterrupt', 130),
        ('os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)', 143),
    ],
)
def test_exit_code(code, expected):
    process = start(f'def command(): {code}\nrun_as_process(command)')
    output, error = process.communicate()
    assert process.returncode == expected
    assert error == ''
    assert output == ('done\n' if 'print' in code else '')


@pytest.mark.parametrize(('number', 'expected'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_threads_and_removes_temporary_folders(number, expected, tmp_path):
    code = """
    class Folder:
        kept = tempfile.TemporaryDirectory()  # held to the end, as by a thread

    def command():
        threading.Thread(target=time.sleep, args=[60], daemon=False).start()
        print(Folder.kept.name, flush=True)
        time.sleep(60)

    run_as_process(command)
    """
    process = start(code)
    folder = process.stdout.readline().strip()
    assert os.path.isdir(folder)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == expected
    assert error == ''
    assert not os.path.exists(folder)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are not forked here')
def test_a_child_process_ends_without_a_word():
    code = """
    def command():
        is_ready, ready = os.pipe()
        child = os.fork()
        if not child:
            os.write(ready, b'.')
            while True:
                time.sleep(1)
        os.read(is_ready, 1)
        os.kill(child, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    run_as_process(command)
    """
    process = start(code)
    assert process.communicate() == ('', '')
    assert process.returncode == 143


def test_a_closed_pipe_is_no_error_to_report():
    code = """
    def command():
        for _ in range(10**6):
            print('a line')
        return 0

    run_as_process(command)
    """
    with start(code) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ''
    assert process.returncode == 141


def test_names_that_the_terminal_cannot_show_are_printed():
    code = r"run_as_process(lambda: print('galaxi\xe9s \udce9') or 0)"
    process = start(code, env={**os.environ, 'PYTHONIOENCODING': 'ascii'})
    assert process.communicate() == ('galaxi\\xe9s \\udce9\n', '')
