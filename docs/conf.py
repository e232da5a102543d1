# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings of the documentation, added to those that Astropy's packages share."""

import importlib
import re
import socket
import sys
import tomllib
from pathlib import Path

from sphinx_astropy.conf.v3 import *

import astro_morph

# Sphinx pickles its settings, and functions can't be pickled: the gallery's are given by name.
sys.path.insert(0, str(Path(__file__).parent))
import rooms

with (Path(__file__).parents[1] / 'pyproject.toml').open('rb') as file:
    metadata = tomllib.load(file)['project']

project = 'astro_morph'
author = metadata['authors'][0]['name']
copyright = f'2026, {author}'
version = release = metadata['version']
html_title = f'{project} {release}'
# Astropy's analytics must not count visits to these pages.
html_theme_options = {'goatcounter_analytics_url': False}

extensions += ['sphinx_design', 'sphinx_gallery.gen_gallery']

sphinx_gallery_conf = {
    'examples_dirs': '../examples',
    'gallery_dirs': 'gallery',
    'filename_pattern': r'\.py$',
    'within_subsection_order': 'FileNameSortKey',
    'image_scrapers': 'gallery_figures.scrape',
    'reset_modules': 'gallery_figures.be_strict',
    'reset_modules_order': 'both',
    'remove_config_comments': True,
    'show_signature': False,
    'write_computation_times': False,
}
# Sources of the gallery, which lie beside the pages generated from them.
exclude_patterns += ['gallery/*.ipynb', 'gallery/*.py', 'gallery/*.md5']

# Inheritance diagrams need Graphviz, which is not a Python package.
automodapi_inheritance_diagram = False
nitpicky = True
# From the docstring inherited from torch.nn.Module.forward.
nitpick_ignore = [('py:class', 'Module')]


def has_network():
    """Check whether the inventories of other projects can be downloaded."""
    try:
        socket.create_connection(('docs.astropy.org', 443), timeout=5).close()
    except OSError:
        return False
    return True


if has_network():
    intersphinx_mapping |= {
        'flask': ('https://flask.palletsprojects.com/en/stable/', None),
        'pandas': ('https://pandas.pydata.org/docs/', None),
        'photutils': ('https://photutils.readthedocs.io/en/stable/', None),
        'sklearn': ('https://scikit-learn.org/stable/', None),
        'torch': ('https://docs.pytorch.org/docs/stable/', None),
    }
else:
    # Without a network, only links inside this project are checked.
    intersphinx_mapping = {}
    nitpick_ignore_regex = [
        (r'py:.*', r'(?!astro_morph\b)[a-z]\w*\..+'),
        # From the docstrings of methods inherited from scikit-learn.
        (r'std:(ref|term)', r'metadata_routing|meta-estimator'),
    ]


# Modules that make names of other modules public; the names are documented here.
DOORS = [
    'astro_morph',
    *(f'astro_morph.{room}' for room in rooms.read_rooms()),
    'astro_morph.learning.objectives',
    'astro_morph.simulation.services',
]


def public_names():
    """Return the documented name of each public object by the name of where it is defined."""
    names = {}
    for door in reversed(DOORS):
        module = importlib.import_module(door)
        for name in getattr(module, '__all__', ()):
            home = getattr(getattr(module, name), '__module__', door)
            names[f'{home}.{name}'] = f'{door}.{name}'
    return names


def resolve_public_name(app, env, node, contnode):
    """Resolve the full name of a public object to the page of its public name."""
    target = node['reftarget']
    short = re.search(rf'\b({"|".join(astro_morph.__all__)})\b.*', target)
    names = [
        f'{door}{target[len(home) :]}'
        for home, door in app.public_names.items()
        if f'{target}.'.startswith(f'{home}.')
    ]
    if short:
        names.append(f'astro_morph.{short[0]}')
    for name in names if node.get('refdomain') == 'py' else ():
        found = env.domains['py'].resolve_xref(
            env, node['refdoc'], app.builder, 'obj', name, node, contnode
        )
        if found is not None:
            return found
    return None


def setup(app):
    app.add_directive('modules', rooms.Modules)
    app.public_names = public_names()
    app.connect('missing-reference', resolve_public_name)
