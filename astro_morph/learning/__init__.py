# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From labels, or none, to a fitted model."""
