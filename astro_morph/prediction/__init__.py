# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Predictions of any model: in memory, as columns, in files, and on a cluster."""
