# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Named sky surveys: bands, pixel scale, depth, footprint and image service."""

from astro_morph.surveys.presets import ALIASES, SURVEYS
from astro_morph.surveys.reading import read
from astro_morph.surveys.registry import for_position, get, is_known, to_table
from astro_morph.surveys.survey import Circle, Patch, Survey

__all__ = [
    'ALIASES',
    'SURVEYS',
    'Circle',
    'Patch',
    'Survey',
    'for_position',
    'get',
    'is_known',
    'read',
    'to_table',
]
