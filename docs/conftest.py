# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings for the examples of the documentation when they run as tests."""

import pytest

from astro_morph import conf

# Parts of Sphinx's configuration, which import what only the documentation needs.
collect_ignore = ['conf.py', 'gallery_figures.py', 'rooms.py', 'survey_tables.py']


@pytest.fixture(autouse=True)
def run_in_a_new_folder(tmp_path, monkeypatch):
    """Run each example in a new folder, with an image cache of its own."""
    monkeypatch.chdir(tmp_path)
    with conf.set_temp('cache_file', str(tmp_path / 'cutouts.sqlite')):
        yield
