# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Docstrings: complete by numpydoc's rules, with true defaults, and examples in the reference."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from pydoc import locate
from types import FunctionType

import astropy.units as u
import numpy as np
import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.hooks.validate_docstrings import parse_config
from numpydoc.validate import validate

import astro_morph

ROOT = Path(__file__).parents[2]
REFERENCE = sorted((ROOT / 'docs' / 'reference').glob('*.rst'))

pytestmark = pytest.mark.skipif(not REFERENCE, reason='the sources are not a checkout')

# The checks that apply here; pyproject.toml explains those that are left out.
CONFIG = parse_config(ROOT)

MODULES = [
    module.name
    for module in pkgutil.walk_packages(astro_morph.__path__, 'astro_morph.')
    if not re.search(r'\.(tests|conftest|__main__)\b', module.name)
]


def public_objects(module):
    """Return the classes and functions that a module makes public, wherever they are defined."""
    module = importlib.import_module(module)
    objects = (getattr(module, name) for name in getattr(module, '__all__', ()))
    return [item for item in objects if inspect.isclass(item) or inspect.isfunction(item)]


def with_methods(item):
    """Return the full names of an object and of the public methods defined in it."""
    name = f'{item.__module__}.{item.__qualname__}'
    methods = vars(item).items() if inspect.isclass(item) else ()
    # Astropy's read and write are left out: their docstrings are generated.
    kinds = (FunctionType, classmethod, staticmethod, property)
    return [name] + [
        f'{name}.{method}'
        for method, value in methods
        if not method.startswith('_')
        and type(value) in kinds
        # Matplotlib adds methods to the subclasses of its artists.
        and getattr(value, '__module__', item.__module__) == item.__module__
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


def stated_default(text, module):
    """Return the default at the end of a parameter's type, evaluated where it is Python."""
    text = re.search(r'(?:^|, )default=(.+)$', text)[1].strip('`')
    try:
        return eval(text, {'np': np, 'u': u} | vars(module))
    except (NameError, SyntaxError):
        return text


def false_defaults(name):
    """Return a message for each documented parameter whose default is missing or wrong."""
    item = locate(name)
    signature = {} if isinstance(item, property) else inspect.signature(item).parameters
    found = []
    for entry in get_doc_object(item)['Parameters'] if signature else ():
        parameter = signature.get(entry.name)
        # Several parameters in a line share a type; one without a type refers to another function.
        if parameter is None or not entry.type or parameter.default is parameter.empty:
            continue
        default = parameter.default
        if repr(default) == '<factory>':  # a field of a dataclass
            default = item.__dataclass_fields__[entry.name].default_factory()
        if 'default=' not in entry.type:
            found.append(f'{name}: {entry.name} : {entry.type} lacks default={default!r}')
        elif stated_default(entry.type, inspect.getmodule(item)) not in (
            default,
            repr(default),
            str(default),
        ):
            found.append(f'{name}: {entry.name} : {entry.type} differs from default={default!r}')
    return found


@pytest.mark.parametrize('module', MODULES)
def test_docstrings_state_the_defaults(module):
    found = []
    for item in public_objects(module):
        if item.__module__ == module and (inspect.getdoc(item) or '').count('\n'):
            for name in with_methods(item):
                found += false_defaults(name)
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
    """Check for an exception, whose example is in the docstring of what raises it."""
    return inspect.isclass(item) and issubclass(item, Exception)
