# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The trees of questions of citizen science projects such as Galaxy Zoo, and their votes."""

from astro_morph.catalog.vote_tree.paths import VotePath
from astro_morph.catalog.vote_tree.projects import GALAXY_ZOO, galaxy_zoo, galaxy_zoo_2
from astro_morph.catalog.vote_tree.tree import VoteTree

__all__ = ['GALAXY_ZOO', 'VotePath', 'VoteTree', 'galaxy_zoo', 'galaxy_zoo_2']
