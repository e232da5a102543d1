# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The scripts of the gallery: those of the first hour run, and all say what they need."""

import ast
import re
import runpy
import tempfile
from pathlib import Path

import pytest

from astro_morph import conf
from astro_morph.simulation import SimulatedSurvey, serve

FOLDER = Path(__file__).parents[2] / 'examples'
SCRIPTS = sorted(path.stem for path in FOLDER.glob('*.py'))

pytestmark = pytest.mark.skipif(not SCRIPTS, reason='the sources are not a checkout')


@pytest.fixture(autouse=True)
def run_in_a_new_folder(tmp_path, monkeypatch):
    """Let scripts write to a folder of the test."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))


def run(name):
    """Run a script and return its names."""
    return runpy.run_path(str(FOLDER / f'{name}.py'))


@pytest.mark.parametrize('name', SCRIPTS)
def test_page_says_what_it_needs_and_how_long_it_takes(name):
    page = ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text(encoding='utf-8')))
    last = ' '.join(page.split('\n\n')[-1].split())
    assert re.fullmatch(r'\*Needs .*\. Takes .*\.\*', last), last


# The longer scripts run when the documentation is built.
@pytest.mark.parametrize('name', [name for name in SCRIPTS if name.startswith('first_')])
def test_start_ends_with_an_annotated_table(name):
    names = run(name)
    assert (names['annotated']['morph_status'] == 'ok').all()
    assert names['figure'].axes


def test_script_of_a_real_survey(monkeypatch, tmp_path):
    """The catalogue and the images are simulated, as its servers would send them."""
    sdss = pytest.importorskip('astroquery.sdss')
    survey = SimulatedSurvey(n_galaxies=8, random_state=2)
    catalogue = survey.catalogue['ra', 'dec', 'petroR90_r']
    queries = []
    monkeypatch.setattr(
        sdss.SDSS, 'query_sql', lambda query: queries.append(query) or catalogue, raising=False
    )
    with serve(survey) as server, conf.set_temp('cache_file', str(tmp_path / 'cutouts.sqlite')):
        address = f'{server.url}/hips-image-services/hips2fits'
        monkeypatch.setattr('astro_morph.cutouts.services.hips2fits.SERVERS', (address,))
        names = run('sdss_online')
    assert 'petroR90_r' in queries[0]
    assert (names['annotated']['morph_status'] == 'ok').all()
    assert len(names['unusual']) == 8
