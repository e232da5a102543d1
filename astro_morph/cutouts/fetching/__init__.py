# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetching images over a network: polite requests, failures, and the cache."""
