# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Find mergers that nobody has labelled
=====================================

A classifier that knows four classes gives one of them to a merger, too. But it also tells how
unlike all that it knows a galaxy is. Sort by that, and the mergers come up, odd spirals
among them.
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
# Another field, with mergers among the others.
field = SimulatedSurvey(n_galaxies=100, random_state=5)
cutouts = field.fetch(field.catalogue, size=40)
annotated = classifier.annotate(cutouts)
is_merger = np.array(annotated['morphology']) == 'merger'
print(f'{is_merger.sum()} of {len(annotated)} galaxies are mergers')

# %%
# The p-value of novelty is small for what is unlike the training. Of galaxies like those known, a
# share p has a p-value below p.
novelty = np.array(annotated['morph_novelty'])
false, true, _ = roc_curve(is_merger, -novelty)
figure = Figure(figsize=(7.5, 3.4), layout='constrained')
shares, found = figure.subplots(1, 2)
counted = [novelty[~is_merger], novelty[is_merger]]
shares.hist(counted, np.linspace(0, 1, 21), stacked=True, label=['others', 'mergers'])
shares.set(xlabel='p-value of novelty', ylabel='galaxies')
shares.legend()
found.step(false, true, where='post')
found.plot([0, 1], [0, 1], color='0.7', linestyle=':')
found.set(xlabel='share of the others looked at', ylabel='share of the mergers found')
found.set_title(f'area {roc_auc_score(is_merger, -novelty):.2f}', fontsize=10)

# %%
# The sixteen most unlike the training. Mergers have black titles.
oddest = np.argsort(novelty)[:16]
titles = [f'{row["morphology"]} {row["morph_novelty"]:.3f}' for row in annotated[oddest]]
figure = plotting.cutouts(cutouts[oddest], titles=titles, is_right=is_merger[oddest])
