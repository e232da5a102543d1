# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Objectives that an encoder is trained with, one per file; `methods` lists them by name."""

from astro_morph.learning.objectives.autoencoder import AutoEncoder
from astro_morph.learning.objectives.methods import METHODS
from astro_morph.learning.objectives.moco import MoCo, queue_size_for
from astro_morph.learning.objectives.moco_v3 import MoCoV3
from astro_morph.learning.objectives.supervised import Supervised

__all__ = ['METHODS', 'AutoEncoder', 'MoCo', 'MoCoV3', 'Supervised', 'queue_size_for']
