# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Search a catalogue for galaxies that look like examples, by the features of a model."""

from astro_morph.prediction.search.index import SearchIndex, build_index

__all__ = ['SearchIndex', 'build_index']
