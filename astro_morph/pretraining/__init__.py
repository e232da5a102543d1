# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an encoder learns from: one objective a file."""

from .autoencoder import AutoEncoder
from .methods import METHODS
from .moco import MoCo, queue_size_for
from .moco_v3 import MoCoV3
from .supervised import Supervised

__all__ = ['METHODS', 'AutoEncoder', 'MoCo', 'MoCoV3', 'Supervised', 'queue_size_for']
