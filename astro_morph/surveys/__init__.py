# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Named sky surveys: what their images are like, where they lie, and which service has them."""

from astro_morph.surveys.presets import ALIASES, SURVEYS
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
    'to_table',
]
