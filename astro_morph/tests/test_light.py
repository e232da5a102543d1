# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The light installation: an ONNX model runs with few packages, all others are hidden."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from packaging.requirements import Requirement

from astro_morph import MorphologyClassifier, OnnxClassifier
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts import Mosaics
from astro_morph.simulation import SimulatedSurvey

# The packages of the light installation, without their own requirements.
LIGHT = ('astropy', 'numpy', 'onnx', 'onnxruntime', 'scipy', 'tqdm')

PAGE = Path(__file__).parents[2] / 'docs' / 'install.rst'

# Runs code as if the modules in the first argument were not installed.
PRELUDE = """
import json, sys, sysconfig

# This reads a module of the standard library that is named after the platform and not listed.
sysconfig.get_config_vars()

class Without:
    hidden = {*json.loads(sys.argv.pop(1))}

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] not in self.hidden:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def with_requirements(names):
    """Return the distributions and all of their requirements, without extras."""
    found, wanted = set(), {*names}
    while wanted:
        name = wanted.pop()
        found.add(name)
        needed = [Requirement(text) for text in requires(name) or ()]
        wanted |= {
            item.name for item in needed if not item.marker or item.marker.evaluate({'extra': ''})
        } - found
    return found


@pytest.fixture(scope='module')
def hidden():
    """All installed modules, except this package and the light installation."""
    there = {canonical(name) for name in with_requirements(LIGHT)} | {'astro-morph'}
    return [
        module
        for module, distributions in packages_distributions().items()
        if there.isdisjoint(map(canonical, distributions))
    ]


def canonical(name):
    return name.replace('_', '-').lower()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with mosaics, a catalogue, a model, and the expected annotated catalogue."""
    folder = tmp_path_factory.mktemp('light')
    survey = SimulatedSurvey(n_galaxies=24, kinds=['edge_on', 'round'])
    survey.write(folder)
    catalogue = Table(survey.catalogue['ra', 'dec', 'morphology'])
    images = Mosaics(folder / 'sdss-{band}.fits')
    classifier = MorphologyClassifier(
        images, size=24, encoder='random', strategy='linear', random_state=0, verbose=0
    )
    classifier.fit(catalogue).to_onnx(folder / 'model.onnx')
    write_table(catalogue, folder / 'survey.fits')
    annotated = OnnxClassifier(folder / 'model.onnx', images).annotate(catalogue)
    write_table(annotated, folder / 'expected.ecsv')
    return folder


@pytest.fixture
def run(folder, hidden):
    """Return a function that runs code in the folder with the light installation only."""

    def run(code, *arguments):
        command = [sys.executable, '-c', PRELUDE + code, json.dumps(hidden), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder)

    return run


def assert_as_expected(folder, name):
    expected, came = read_table(folder / 'expected.ecsv'), read_table(folder / name)
    assert came.colnames == expected.colnames
    assert (came['morph_status'] == 'ok').all()
    assert came['morph_class'].tolist() == expected['morph_class'].tolist()
    assert came['morph_flags'].tolist() == expected['morph_flags'].tolist()
    np.testing.assert_allclose(came['morph_p_round'], expected['morph_p_round'], atol=1e-5)


@pytest.mark.parametrize('name', ['torch', 'torchvision', 'sklearn', 'astroquery', 'photutils'])
def test_what_is_not_on_the_list_is_not_there(run, name):
    result = run(f'import {name}')
    assert result.returncode == 1
    assert f"No module named '{name}'" in result.stderr


def test_annotate_in_a_script(run, folder):
    result = run(
        """
from astro_morph import OnnxClassifier
from astro_morph.catalog.io.tables import read_table, write_table
classifier = OnnxClassifier('model.onnx', 'sdss-{band}.fits')
write_table(classifier.annotate(read_table('survey.fits')), 'script.ecsv')
"""
    )
    assert result.returncode == 0, result.stderr
    assert_as_expected(folder, 'script.ecsv')


def test_annotate_on_the_command_line(run, folder):
    result = run(
        'from astro_morph.cli import main; sys.exit(main(sys.argv[1:]))',
        *('annotate', '--model', 'model.onnx', '--images', 'sdss-{band}.fits'),
        *('survey.fits', 'command.ecsv'),
    )
    assert result.returncode == 0, result.stderr
    assert_as_expected(folder, 'command.ecsv')


@pytest.mark.skipif(not PAGE.exists(), reason='the sources are not a checkout')
def test_documentation_lists_these_packages():
    listed = re.search(r'--no-deps\n\s+python -m pip install (.*)\n', PAGE.read_text('utf-8'))
    assert sorted(listed[1].split()) == sorted(LIGHT)
