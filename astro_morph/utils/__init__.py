# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Helpers without astronomy: files, databases, threads, cores, progress bars, messages."""
