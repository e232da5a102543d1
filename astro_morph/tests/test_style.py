# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The style of the sources, checked by ruff, and of the pages that Sphinx does not check."""

import subprocess
import sys
from pathlib import Path

import pytest
from docutils.core import publish_doctree

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / 'pyproject.toml').exists(), reason='the sources are not a checkout')
@pytest.mark.parametrize('arguments', [['check'], ['format', '--check']], ids=' '.join)
def test_ruff_has_nothing_to_say(arguments):
    command = [sys.executable, '-m', 'ruff', *arguments, '--no-cache', str(ROOT)]
    ruff = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


@pytest.mark.skipif(not (ROOT / 'pyproject.toml').exists(), reason='the sources are not a checkout')
@pytest.mark.parametrize('name', ['README.rst', 'astro_morph/models/weights/README.rst'])
def test_pages_that_sphinx_does_not_see_have_no_errors(name):
    # The package index rejects pages with warnings.
    settings = {'halt_level': 2, 'report_level': 5}
    publish_doctree((ROOT / name).read_text(encoding='utf-8'), settings_overrides=settings)
