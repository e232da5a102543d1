# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Requests over a network: HTTP, downloads, failures, and the cache."""
