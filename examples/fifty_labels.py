# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Fifty labels, well chosen
=========================

Labels are what costs. Beginning with twenty, the classifier asks for the galaxies whose label would
teach it most, ten at a time; beside it, another one gets labels at random.
"""

import numpy as np
from matplotlib.figure import Figure

from astro_morph import MorphologyClassifier, MorphologyEncoder, plotting
from astro_morph.simulation import SimulatedSurvey

survey = SimulatedSurvey(n_galaxies=240, random_state=3)
cutouts = survey.fetch(survey.catalogue, size=32)
truth = np.array(cutouts.table['morphology'])

# %%
# The images are turned into features once. The bundled encoder has learnt on pictures of SDSS, and
# is fitted to these images in flux. The last hundred galaxies are kept aside to judge by.
encoder = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0).adapt(cutouts)
features = encoder.transform(cutouts)
pool, test = np.arange(140), np.arange(140, 240)

# %%
# Twenty labels to begin with, drawn at random. Then three rounds of asking.
classifier = MorphologyClassifier(strategy='linear', random_state=0, verbose=0)


def ask(unlabelled, random):
    """Give the ten rows whose labels the classifier wants."""
    return unlabelled[classifier.query(features[unlabelled], 10)]


def draw(unlabelled, random):
    """Give ten rows at random."""
    return random.choice(unlabelled, 10, replace=False)


def learn(choose, seed):
    """Give the accuracy with 20, 30, 40 and 50 labels, and the rows that got one."""
    random = np.random.default_rng(seed)
    rows, accuracy = random.choice(pool, 20, replace=False), []
    while True:
        classifier.fit(features[rows], truth[rows])
        accuracy.append(classifier.score(features[test], truth[test]))
        if len(rows) == 50:
            return accuracy, rows
        rows = np.concatenate([rows, choose(np.setdiff1d(pool, rows), random)])


# %%
# The mean of four beginnings. How much asking gains depends on the galaxies; at first, when the
# classifier knows little, it may even lose. ``benchmarks/active.py`` does this with real galaxies.
figure = Figure(figsize=(5, 3.6), layout='constrained')
axes = figure.add_subplot(xlabel='labels', ylabel='accuracy on 100 others')
for name, choose in [('at random', draw), ('asked for', ask)]:
    runs = [learn(choose, seed) for seed in range(4)]
    mean = np.mean([accuracy for accuracy, _ in runs], axis=0)
    axes.plot([20, 30, 40, 50], mean, 'o-', label=name)
axes.legend(title='labels')

# %%
# The galaxies that it would ask for next: mostly those between two classes.
_, rows = runs[-1]
wanted = ask(np.setdiff1d(pool, rows), None)
figure = plotting.cutouts(cutouts[wanted], titles=truth[wanted], n_columns=5)
