# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The public names of the package, its version, and what importing it loads."""

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import astro_morph

PACKAGE = Path(astro_morph.__file__).parent
LICENCE_LINE = '# Licensed under a 3-clause BSD style license - see LICENSE.rst'
HEAVY = {'astroquery', 'matplotlib', 'photutils', 'torch'}


def run_in_fresh_python(code):
    command = [sys.executable, '-c', code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    imported = run_in_fresh_python('import sys, astro_morph; print(*sys.modules)').split()
    assert 'astro_morph' in imported
    assert HEAVY.isdisjoint(imported)


@pytest.mark.parametrize('name', astro_morph.__all__)
def test_public_name_is_there(name):
    assert getattr(astro_morph, name) is not None
    assert name in dir(astro_morph)


@pytest.mark.parametrize(
    'room',
    [
        'catalog',
        'cutouts',
        'evaluation',
        'labelling',
        'photometry',
        'plotting',
        'simulation',
        'surveys',
    ],
)
def test_public_room_has_its_names(room):
    module = importlib.import_module(f'astro_morph.{room}')
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'astro_morph' has no attribute 'nonsense'"):
        _ = astro_morph.nonsense


def test_version_is_the_installed_one():
    version = run_in_fresh_python('import astro_morph; print(astro_morph.__version__)')
    assert version == importlib.metadata.version('astro-morph')


@pytest.mark.parametrize(
    'path', sorted(PACKAGE.rglob('*.py')), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_file_opens_with_the_licence_line(path):
    assert path.read_text(encoding='utf-8').splitlines()[:1] == [LICENCE_LINE]
