# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The style of the sources, as ruff sees it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / 'pyproject.toml').exists(), reason='the sources are not a checkout')
@pytest.mark.parametrize('arguments', [['check'], ['format', '--check']], ids=' '.join)
def test_ruff_has_nothing_to_say(arguments):
    command = [sys.executable, '-m', 'ruff', *arguments, '--no-cache', str(ROOT)]
    ruff = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr
