# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Evaluation of a model on galaxies of known class: metrics, and a report as a web page."""

from astro_morph.evaluation.evaluation import Evaluation, evaluate

__all__ = ['Evaluation', 'evaluate']
