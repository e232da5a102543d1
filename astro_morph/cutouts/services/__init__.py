# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts from image services, one file a service."""
