# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Catalogues of photutils, SExtractor and sep: names of columns, positions and radii."""
