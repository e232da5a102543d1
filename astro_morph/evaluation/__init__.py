# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How good a model is: evaluation against known classes, and a report."""

from astro_morph.evaluation.evaluation import Evaluation, compare, evaluate, known_classes

__all__ = ['Evaluation', 'compare', 'evaluate', 'known_classes']
