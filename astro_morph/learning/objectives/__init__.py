# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an encoder learns from: one objective a file."""

from astro_morph.learning.objectives.autoencoder import AutoEncoder
from astro_morph.learning.objectives.methods import METHODS
from astro_morph.learning.objectives.moco import MoCo, queue_size_for
from astro_morph.learning.objectives.moco_v3 import MoCoV3
from astro_morph.learning.objectives.supervised import Supervised

__all__ = ['METHODS', 'AutoEncoder', 'MoCo', 'MoCoV3', 'Supervised', 'queue_size_for']
