# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The tasks of a search by example: build an index of a catalogue, and search it."""
