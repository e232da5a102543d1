# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Decode image files of any origin: within limits of memory, and apart from this process."""
