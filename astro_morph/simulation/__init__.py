# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A simulated survey of galaxies of known morphology, and servers that imitate archives."""

from astro_morph.simulation.services import serve
from astro_morph.simulation.survey import SimulatedSurvey

__all__ = ['SimulatedSurvey', 'serve']
