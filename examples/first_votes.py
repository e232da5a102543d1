# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Start from Galaxy Zoo 2
=======================

Learn from the votes of volunteers, in the columns of the table of Galaxy Zoo 2, and predict the
votes for other galaxies.

*Needs no data and no network. Takes a few seconds on two cores.*
"""

import numpy as np

from astro_morph import MorphologyVotes, plotting
from astro_morph.catalog.vote_tree import galaxy_zoo
from astro_morph.simulation import SimulatedSurvey

# %%
# Four questions of the tree are enough here: the others need columns that this catalogue lacks.
names = ['smooth_or_features', 'edgeon', 'spiral', 'rounded']
tree = {name: question for name, question in galaxy_zoo('gz2').items() if name in names}

# %%
# Simulate the galaxies and the votes of forty people on each, as in the table of Willett et al.
# (2013). In a script of your own, read that table, and join it with positions or image paths.
survey = SimulatedSurvey(n_galaxies=50, kinds=['edge_on', 'round', 'spiral'], random_state=3)
catalogue = survey.catalogue['ra', 'dec', 'morphology']
random = np.random.default_rng(3)
believed = {'edge_on': [0.1, 0.8, 0.1], 'round': [0.8, 0.1, 0.1], 'spiral': [0.1, 0.1, 0.8]}
smooth, edge_on, spiral = np.transpose(
    [random.multinomial(40, believed[kind]) for kind in catalogue['morphology']]
)
nobody = np.zeros(len(catalogue), int)
votes = {
    'smooth_or_features': [smooth, edge_on + spiral, nobody],
    'edgeon': [edge_on, spiral],
    'spiral': [spiral, nobody],
    'rounded': [smooth, nobody, nobody],
}
for name, counts in votes.items():
    for column, count in zip(tree[name]['answers'].values(), counts, strict=True):
        catalogue[column] = count
print([name for name in catalogue.colnames if name.endswith('_count')][:3])

# %%
# Learn from the first forty galaxies, and predict all of them.
model = MorphologyVotes(tree, survey, size=48, random_state=0, verbose=0).fit(catalogue[:40])
annotated = model.annotate(catalogue)
annotated['morph_smooth_or_features_smooth', 'morph_edgeon_yes', 'morph_edgeon_asked'][40:].pprint()

# %%
# Galaxies that were not learnt from, with the expected fraction of people who see an edge-on disk:
fraction = annotated['morph_edgeon_yes'] * annotated['morph_edgeon_asked']
order = 40 + np.argsort(fraction[40:])
cutouts = survey.fetch(catalogue[order], size=48)
titles = [f'{value:.2f}' for value in fraction[order]]
figure = plotting.cutouts(cutouts, titles=titles, n_columns=5)
