# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Imitations of the archives that have no client in astroquery."""
