# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings of the documentation's examples when they are run as tests."""

import pytest

from astro_morph import conf

# Parts of Sphinx's configuration: they need what only the documentation's builder has.
collect_ignore = ['conf.py', 'gallery_figures.py']


@pytest.fixture(autouse=True)
def run_in_a_new_folder(tmp_path, monkeypatch):
    """Let the examples write files, and keep images."""
    monkeypatch.chdir(tmp_path)
    with conf.set_temp('cache_file', str(tmp_path / 'cutouts.sqlite')):
        yield
