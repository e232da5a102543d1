# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Figures: sheets of cutouts and charts."""

from astro_morph.plotting.sheets import (
    augmentations,
    confusion,
    cutouts,
    feature_map,
    history,
    mistakes,
    neighbors,
    preprocessing,
    reconstructions,
    reliability,
    rgb,
    roc,
)

__all__ = [
    'augmentations',
    'confusion',
    'cutouts',
    'feature_map',
    'history',
    'mistakes',
    'neighbors',
    'preprocessing',
    'reconstructions',
    'reliability',
    'rgb',
    'roc',
]
