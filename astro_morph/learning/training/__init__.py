# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Training of a network: the loop, batches, random views, checkpoints and monitoring."""
