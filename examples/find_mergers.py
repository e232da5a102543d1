# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Find mergers without labels
===========================

A classifier of four other classes gives one of them to a merger. But it also measures how unusual a
galaxy is compared with its training set. Sort the galaxies by this novelty to find the mergers, and
some unusual spirals.

*Needs no data and no network. Takes about twenty seconds on two cores.*
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from astro_morph import MorphologyClassifier, plotting
from astro_morph.simulation import SimulatedSurvey

known = ['edge_on', 'in_between', 'round', 'spiral']
train = SimulatedSurvey(n_galaxies=220, kinds=known, random_state=4)
classifier = MorphologyClassifier(train, size=40, strategy='linear', random_state=0, verbose=0)
classifier.fit(train.catalogue)

# %%
# Annotate another field, which also has mergers.
field = SimulatedSurvey(n_galaxies=100, random_state=5)
cutouts = field.fetch(field.catalogue, size=40)
annotated = classifier.annotate(cutouts)
is_merger = np.array(annotated['morphology']) == 'merger'
print(f'{is_merger.sum()} of {len(annotated)} galaxies are mergers')

# %%
# The novelty is a p-value. It is small for galaxies unlike those of the training set. Of galaxies
# like those of the training set, a fraction p has a p-value below p.
novelty = np.array(annotated['morph_novelty'])
false, true, _ = roc_curve(is_merger, -novelty)
figure = Figure(figsize=(7.5, 3.4), layout='constrained')
histogram, curve = figure.subplots(1, 2)
values = [novelty[~is_merger], novelty[is_merger]]
histogram.hist(values, np.linspace(0, 1, 21), stacked=True, label=['others', 'mergers'])
histogram.set(xlabel='p-value', ylabel='number of galaxies')
histogram.legend()
curve.step(false, true, where='post')
curve.plot([0, 1], [0, 1], color='0.7', linestyle=':')
curve.set(xlabel='fraction of the other galaxies', ylabel='fraction of the mergers')
curve.set_title(f'area {roc_auc_score(is_merger, -novelty):.2f}', fontsize=10)

# %%
# The sixteen most unusual galaxies. Mergers have black titles, others red ones.
unusual = np.argsort(novelty)[:16]
titles = [f'{row["morphology"]} {row["morph_novelty"]:.3f}' for row in annotated[unusual]]
figure = plotting.cutouts(cutouts[unusual], titles=titles, is_right=is_merger[unusual])
