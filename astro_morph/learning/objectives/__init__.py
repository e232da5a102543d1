# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Objectives that an encoder is trained with, one per file; ``methods`` lists them by name.

An objective is a `torch.nn.Module` that holds an ``encoder`` and draws ``views``. Its ``forward``
returns the loss and an accuracy of a batch, and takes these arguments:

- ``images``: what views are drawn from, a tensor of shape (n, band, y, x);
- ``rows``: the row number of each image among all training images, shape (n,);
- ``generator``: the `torch.Generator` that all random numbers must come from;
- ``progress``: the fraction of the training that is done, from 0 to 1.
"""

from astro_morph.learning.objectives.answers import Answers
from astro_morph.learning.objectives.autoencoder import AutoEncoder
from astro_morph.learning.objectives.distillation import Distillation
from astro_morph.learning.objectives.methods import METHODS
from astro_morph.learning.objectives.moco import MoCo, queue_size_for
from astro_morph.learning.objectives.moco_v3 import MoCoV3
from astro_morph.learning.objectives.supervised import Supervised

__all__ = [
    'METHODS',
    'Answers',
    'AutoEncoder',
    'Distillation',
    'MoCo',
    'MoCoV3',
    'Supervised',
    'queue_size_for',
]
