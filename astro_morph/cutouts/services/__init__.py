# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cutouts from image services, one file a service."""
