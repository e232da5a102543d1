# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command line: ``astro-morph``."""

from astro_morph.cli.parser import main

__all__ = ['main']
