# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The light installation: an ONNX model runs with few packages, all others are hidden."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from packaging.requirements import Requirement
from PIL import Image

from astro_morph import CutoutSet, MorphologyClassifier, OnnxClassifier
from astro_morph.catalog.io.chunks import TableChunks
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts import Hips2Fits, ImageFiles, Mosaics, as_pictures
from astro_morph.models.weights import bundled_path
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.helpers import make_blobs

# The packages of the light installation, without their own requirements.
LIGHT = (
    *('astropy', 'jinja2', 'matplotlib', 'numpy', 'onnx', 'onnxruntime', 'pillow'),
    *('scikit-learn', 'scipy', 'tqdm'),
)

PAGE = Path(__file__).parents[2] / 'docs' / 'install.rst'

CENTRE = SkyCoord([180], [5], unit='deg')
PATHS = Table({'path': ['0.jpg']})

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
    write_table(catalogue, folder / 'survey.parquet')
    (folder / 'survey.h5').write_bytes(b'\x89HDF\r\n\x1a\n')
    pictures = as_pictures(survey.fetch(catalogue, size=24))
    for number, picture in enumerate(pictures.images):
        Image.fromarray(np.moveaxis(picture, 0, -1).astype(np.uint8)).save(folder / f'{number}.jpg')
    paths = Table({'path': [f'{number}.jpg' for number in range(24)]})
    paths['morphology'] = catalogue['morphology']
    paths.write(folder / 'paths.csv')
    of_pictures = MorphologyClassifier(
        encoder='random', strategy='linear', random_state=0, verbose=0
    )
    of_pictures.fit(pictures, catalogue['morphology']).to_onnx(folder / 'pictures.onnx')
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


@pytest.mark.parametrize('name', ['torch', 'h5py', 'photutils'])
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


COMMANDS = {
    'annotate paths.csv out.csv --model pictures.onnx': '24 of 24 galaxies have a class',
    'evaluate survey.fits --model model.onnx --source sdss-{band}.fits': 'accuracy',
    'evaluate paths.csv --model pictures.onnx --report report.html': 'accuracy',
}
MISSING = {
    'annotate survey.parquet new.csv --model model.onnx': 'python -m pip install pyarrow',
    'annotate survey.h5 new.csv --model model.onnx': 'python -m pip install h5py',
    'annotate survey.fits out.h5 --model model.onnx --source sdss-{band}.fits': (
        'python -m pip install h5py'
    ),
    'annotate survey.fits out.fits --model model.onnx --source sdss-dr9': (
        'python -m pip install astroquery'
    ),
    'fetch survey.fits --source sdss-{band}.fits': 'python -m pip install h5py',
    'fit survey.fits out.pt --source sdss-{band}.fits': 'python -m pip install torch',
    'label survey.fits --classes a,b --source sdss-{band}.fits': 'python -m pip install flask',
    'export out.onnx --model bundled.pt': 'python -m pip install torch',
}
# Runs each command, and prints its exit code and what it has printed.
RUN_ALL = """
import contextlib, io
from astro_morph.cli import main

for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = main([*command.split(), '--quiet'])
    print(json.dumps([code, out.getvalue()]))
"""


def test_pictures_evaluation_and_report(run, folder):
    result = run(RUN_ALL, *COMMANDS)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == len(COMMANDS), result.stderr
    for (code, printed), expected in zip(answers, COMMANDS.values(), strict=True):
        assert code == 0, printed
        assert expected in printed
    assert '24 of 24 rows have a label' in (folder / 'report.html').read_text(encoding='utf-8')


def test_what_lacks_is_named_with_its_pip_line(run, folder):
    shutil.copy(bundled_path('sdss-4class'), folder / 'bundled.pt')
    result = run(RUN_ALL, *MISSING)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == len(MISSING), result.stderr
    for (code, printed), remedy in zip(answers, MISSING.values(), strict=True):
        assert code == 1, printed
        assert printed.endswith(f'; {remedy}\n')
        assert printed.count('\n') == 1


@pytest.mark.parametrize('name', ['MorphologyClassifier', 'MorphologyEncoder', 'MorphologyVotes'])
def test_what_lacks_is_named_in_python(run, name):
    result = run(f'from astro_morph import {name}')
    assert result.returncode == 1
    assert 'torch, which is not installed; python -m pip install torch' in result.stderr


@pytest.mark.skipif(not PAGE.exists(), reason='the sources are not a checkout')
def test_documentation_lists_these_packages():
    listed = re.search(r'--no-deps\n\s+python -m pip install (.*)\n', PAGE.read_text('utf-8'))
    assert sorted(listed[1].split()) == sorted(LIGHT)


@pytest.mark.parametrize(
    ('module', 'package', 'read'),
    [
        (
            'PIL',
            'pillow',
            lambda folder: ImageFiles(folder=folder).fetch(Table({'path': ['0.jpg']})),
        ),
        ('pyarrow', 'pyarrow', lambda folder: read_table(folder / 'survey.parquet')),
        ('pyarrow', 'pyarrow', lambda folder: TableChunks(folder / 'survey.parquet', 8)),
        ('h5py', 'h5py', lambda folder: write_table(Table({'id': [1]}), folder / 'table.h5')),
        ('h5py', 'h5py', lambda folder: CutoutSet.read(folder / 'survey.h5', format='hdf5')),
        ('h5py', 'h5py', lambda folder: make_blobs(2).write(folder / 'blobs.h5')),
        ('astroquery', 'astroquery', lambda folder: Hips2Fits('sdss', cache=False).fetch(CENTRE)),
    ],
)
def test_a_package_that_lacks_is_named_where_it_is_needed(
    monkeypatch, folder, module, package, read
):
    monkeypatch.setitem(sys.modules, module, None)
    for name in [name for name in sys.modules if name.startswith(f'{module}.')]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match=f'python -m pip install {package}'):
        read(folder)
