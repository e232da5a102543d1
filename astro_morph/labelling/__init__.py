# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Label galaxies by eye: the session, and the web page that is its front end."""

import importlib

__all__ = ['LabellingSession', 'Progress', 'cross_validate', 'label', 'start']

# Imported on first use: the table of labels is checked before PyTorch is imported.
_HOMES = {
    'LabellingSession': 'astro_morph.labelling.session',
    'Progress': 'astro_morph.labelling.progress',
    'cross_validate': 'astro_morph.labelling.progress',
    'label': 'astro_morph.labelling.starting',
    'start': 'astro_morph.labelling.starting',
}


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f'module {__name__!r} has no attribute {name!r}'
    raise AttributeError(msg)
