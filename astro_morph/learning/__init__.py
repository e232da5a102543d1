# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Learn: fit a model to labels, pretrain without any, adapt it, and choose what to label next."""
