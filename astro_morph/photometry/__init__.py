# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Photometry of cutouts: cleaning, sky, segmentation, and classical measures of morphology."""

import importlib

from astro_morph.utils.messages import naming_packages

__all__ = ['Preprocessor', 'measure']

# Imported on first use: a light installation has neither scikit-learn nor photutils.
_HOMES = {
    'Preprocessor': 'astro_morph.photometry.preprocessor',
    'measure': 'astro_morph.photometry.measures',
}


def __getattr__(name):
    if name in _HOMES:
        with naming_packages():
            return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f'module {__name__!r} has no attribute {name!r}'
    raise AttributeError(msg)
