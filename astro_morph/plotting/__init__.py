# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Figures: sheets of cutouts, and charts of evaluations, training and features."""

from astro_morph.images.pictures import rgb
from astro_morph.plotting.charts import (
    confusion,
    feature_map,
    groups,
    history,
    reliability,
    roc,
)
from astro_morph.plotting.sheets import (
    augmentations,
    cutouts,
    mistakes,
    neighbors,
    preprocessing,
    reconstructions,
)

__all__ = [
    'augmentations',
    'confusion',
    'cutouts',
    'feature_map',
    'groups',
    'history',
    'mistakes',
    'neighbors',
    'preprocessing',
    'reconstructions',
    'reliability',
    'rgb',
    'roc',
]
