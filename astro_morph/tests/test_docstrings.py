# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Docstrings: complete as numpydoc sees it, and with an example wherever the reference leads."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import FunctionType

import pytest
from numpydoc.hooks.validate_docstrings import parse_config
from numpydoc.validate import validate

import astro_morph

ROOT = Path(__file__).parents[2]
REFERENCE = sorted((ROOT / 'docs' / 'reference').glob('*.rst'))

pytestmark = pytest.mark.skipif(not REFERENCE, reason='the sources are not a checkout')

# The checks that hold here, and why others don't.
CONFIG = parse_config(ROOT)

MODULES = [
    module.name
    for module in pkgutil.walk_packages(astro_morph.__path__, 'astro_morph.')
    if not re.search(r'\.(tests|conftest|__main__)\b', module.name)
]


def public_objects(module):
    """Give the classes and functions that a module has made public, whatever file they are in."""
    module = importlib.import_module(module)
    objects = (getattr(module, name) for name in getattr(module, '__all__', ()))
    return [item for item in objects if inspect.isclass(item) or inspect.isfunction(item)]


def with_methods(item):
    """Give the full names of an object, and of the public methods that are written in it."""
    name = f'{item.__module__}.{item.__qualname__}'
    methods = vars(item).items() if inspect.isclass(item) else ()
    # Not Astropy's read and write, properties too, which write text of their own.
    kinds = (FunctionType, classmethod, staticmethod, property)
    return [name] + [
        f'{name}.{method}'
        for method, value in methods
        if not method.startswith('_') and type(value) in kinds
    ]


@pytest.mark.parametrize('module', MODULES)
def test_docstrings_are_complete(module):
    found = []
    for item in public_objects(module):
        if item.__module__ != module:
            continue
        for name in with_methods(item):
            result = validate(name)
            found += [
                f'{name}: {code} {message}'
                for code, message in result['errors']
                if code in CONFIG['checks']
                and not (
                    code in CONFIG['overrides']
                    and CONFIG['overrides'][code].search(result['docstring'])
                )
            ]
    assert not found, '\n'.join(found)


def referred_modules():
    pages = [page.read_text(encoding='utf-8') for page in REFERENCE]
    return sorted(set(re.findall(r'automodapi:: ([\w.]+)', '\n'.join(pages))))


@pytest.mark.parametrize('module', referred_modules())
def test_what_the_reference_shows_has_an_example(module):
    bare = [
        item.__qualname__
        for item in public_objects(module)
        if not issubclass_of_error(item) and '>>> ' not in inspect.getdoc(item)
    ]
    assert not bare, bare


def issubclass_of_error(item):
    """Tell exceptions: an example of one is that of what raises it."""
    return inspect.isclass(item) and issubclass(item, Exception)
