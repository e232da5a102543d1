# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings of the tests: which versions pytest prints at the top, and a cache of their own."""

from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from pytest_astropy_header.display import PYTEST_HEADER_MODULES, TESTED_VERSIONS

from astro_morph import conf

# Distributions that are imported by another name.
MODULES = {'pillow': 'PIL', 'scikit-image': 'skimage', 'scikit-learn': 'sklearn'}


def pytest_configure():
    """List this package and what it needs, file formats included."""
    TESTED_VERSIONS['astro_morph'] = version('astro-morph')
    PYTEST_HEADER_MODULES.clear()
    for requirement in map(Requirement, requires('astro-morph')):
        if requirement.marker is None or requirement.marker.evaluate({'extra': 'all'}):
            PYTEST_HEADER_MODULES[requirement.name] = MODULES.get(
                requirement.name, requirement.name
            )


@pytest.fixture(autouse=True, scope='session')
def keep_out_of_the_users_cache(tmp_path_factory):
    """Keep the images that tests fetch in a folder of their own."""
    path = tmp_path_factory.mktemp('cache') / 'cutouts.sqlite'
    with conf.set_temp('cache_file', str(path)):
        yield
