# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Measure how long the command line takes to answer mistakes: python benchmarks/mistakes.py.

Other programs on the machine lengthen the time, but hardly the time of the processor.
"""

import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from astro_morph.tests.cli.mistakes import MISTAKES, make_files


def main():
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        times, processor = [], []
        for mistake in MISTAKES:
            command = [sys.executable, '-m', 'astro_morph', *shlex.split(mistake.command)]
            start, used = time.perf_counter(), processor_time()
            answer = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            times.append(time.perf_counter() - start)
            processor.append(processor_time() - used)
            is_right = (
                answer.returncode == mistake.code
                and answer.stderr.count(os.linesep) == 1
                and mistake.says in answer.stderr
            )
            word = 'right' if is_right else 'WRONG'
            print(f'{times[-1]:5.2f} s {processor[-1]:5.2f} s  {word}  {answer.stderr.strip()}')
    for name, values in {'time': times, 'processor time': processor}.items():
        middle, most = statistics.median(values), max(values)
        print(f'{len(values)} mistakes: {name} {middle:.2f} s in the median, {most:.2f} s at most')


def processor_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == '__main__':
    main()
