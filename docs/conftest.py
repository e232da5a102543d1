# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings of the documentation's examples when they are run as tests."""

import pytest


@pytest.fixture(autouse=True)
def run_in_a_new_folder(tmp_path, monkeypatch):
    """Let the examples write files."""
    monkeypatch.chdir(tmp_path)
