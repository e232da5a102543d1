# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read positions, sizes and labels from a catalogue, and write columns into it."""

from astro_morph.catalog.columns import probability_columns, write_numbers, write_predictions
from astro_morph.catalog.image_paths import find_image_column
from astro_morph.catalog.labels import read_labels
from astro_morph.catalog.positions import read_positions
from astro_morph.catalog.sizes.reading import read_sizes
from astro_morph.catalog.tables import as_table

__all__ = [
    'as_table',
    'find_image_column',
    'probability_columns',
    'read_labels',
    'read_positions',
    'read_sizes',
    'write_numbers',
    'write_predictions',
]
