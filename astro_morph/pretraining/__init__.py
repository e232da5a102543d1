# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an encoder learns from: one objective a file."""

from .moco import MoCo, queue_size_for
from .supervised import Supervised

__all__ = ['MoCo', 'Supervised', 'queue_size_for']
