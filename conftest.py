# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings of the tests: the versions that pytest prints at the top, and a cache of their own."""

from importlib.metadata import requires, version

from packaging.requirements import Requirement
from pytest_astropy_header.display import PYTEST_HEADER_MODULES, TESTED_VERSIONS

# For the doctests of the modules, which are outside the folder of the tests.
from astro_morph.tests.helpers import keep_out_of_the_users_cache  # noqa: F401

# Modules whose names differ from those of their distributions.
MODULES = {'pillow': 'PIL', 'scikit-image': 'skimage', 'scikit-learn': 'sklearn'}


def pytest_configure():
    """Print the versions of this package and its requirements, those for file formats included."""
    TESTED_VERSIONS['astro_morph'] = version('astro-morph')
    PYTEST_HEADER_MODULES.clear()
    for requirement in map(Requirement, requires('astro-morph')):
        if requirement.marker is None or requirement.marker.evaluate({'extra': 'all'}):
            PYTEST_HEADER_MODULES[requirement.name] = MODULES.get(
                requirement.name, requirement.name
            )
