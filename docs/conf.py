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
import survey_tables

with (Path(__file__).parents[1] / 'pyproject.toml').open('rb') as file:
    metadata = tomllib.load(file)['project']

project = 'astro_morph'
author = metadata['authors'][0]['name']
copyright = f'2026, {author}'
version = release = astro_morph.__version__
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
# From docstrings inherited from PyTorch and scikit-learn.
nitpick_ignore = [('py:class', 'Module')]
nitpick_ignore_regex = [
    (r'py:obj', r'X|y|fit_params|"\w+"|\["class_name0".*'),
    (r'std:(ref|term)', r'df_output_transform|sphx_glr_.*'),
]


def has_network(host='docs.astropy.org'):
    """Check whether a host can be reached, by default that of the inventories of projects."""
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return False
    return True


# Scripts that use a real survey are shown, but not run, where its servers can't be reached.
if not all(map(has_network, ['skyserver.sdss.org', 'alasky.cds.unistra.fr'])):
    sphinx_gallery_conf['filename_pattern'] = r'(?<!_online)\.py$'

if has_network():
    intersphinx_mapping |= {
        'flask': ('https://flask.palletsprojects.com/en/stable/', None),
        'pandas': ('https://pandas.pydata.org/docs/', None),
        'photutils': ('https://photutils.readthedocs.io/en/stable/', None),
        'pyvo': ('https://pyvo.readthedocs.io/en/stable/', None),
        'requests': ('https://requests.readthedocs.io/en/stable/', None),
        'sklearn': ('https://scikit-learn.org/stable/', None),
        'torch': ('https://docs.pytorch.org/docs/stable/', None),
    }
else:
    # Without a network, only links inside this project are checked.
    intersphinx_mapping = {}
    nitpick_ignore_regex += [
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
    """Resolve the name of a public object, full or alone, to the page of its public name."""
    if node.get('refdomain') != 'py':
        return None
    target = node['reftarget']
    # A name alone is one of the module in whose docstring it is.
    module = sys.modules.get(node.get('py:module'))
    defined_in = getattr(getattr(module, target, None), '__module__', None)
    full = f'{defined_in}.{target}' if defined_in else target
    names = [
        f'{door}{full[len(home) :]}'
        for home, door in app.public_names.items()
        if f'{full}.'.startswith(f'{home}.')
    ]
    if match := re.search(rf'\b({"|".join(astro_morph.__all__)})\b.*', target):
        names.append(f'astro_morph.{match[0]}')
    for name in names:
        found = env.domains['py'].resolve_xref(
            env, node['refdoc'], app.builder, 'obj', name, node, contnode
        )
        if found is not None:
            return found
    return None


def escape_defaults(app, what, name, obj, options, lines):
    """Escape the underscore at the end of a default, which would make it a link."""
    lines[:] = [re.sub(r"(default='\w+)_'", r"\1\\_'", line) for line in lines]


def setup(app):
    app.add_directive('modules', rooms.Modules)
    app.add_directive('services', survey_tables.Services)
    app.add_directive('surveys', survey_tables.Surveys)
    app.public_names = public_names()
    app.connect('missing-reference', resolve_public_name)
    # Before numpydoc, whose priority is 500.
    app.connect('autodoc-process-docstring', escape_defaults, priority=400)
