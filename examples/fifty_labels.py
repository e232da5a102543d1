# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Select the galaxies to label
============================

Labels cost time. Starting with twenty labels, the classifier selects the galaxies whose labels
would help it most, ten at a time. For comparison, another classifier gets labels for random
galaxies.

*Needs no data and no network. Takes about twenty seconds on two cores.*
"""

import numpy as np
from matplotlib.figure import Figure

from astro_morph import MorphologyClassifier, MorphologyEncoder, plotting
from astro_morph.simulation import SimulatedSurvey

survey = SimulatedSurvey(n_galaxies=240, random_state=3)
cutouts = survey.fetch(survey.catalogue, size=32)
truth = np.array(cutouts.table['morphology'])

# %%
# Compute the features of the images once. The bundled encoder was trained on pictures of SDSS, and
# is adapted to these images in flux. The last hundred galaxies are the test set.
encoder = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0).adapt(cutouts)
features = encoder.transform(cutouts)
pool, test = np.arange(140), np.arange(140, 240)

# %%
# Start with twenty random labels, and add ten labels three times.
classifier = MorphologyClassifier(strategy='linear', random_state=0, verbose=0)


def select(unlabelled, random):
    """Return the ten rows whose labels would help the classifier most."""
    return unlabelled[classifier.query(features[unlabelled], 10)]


def draw(unlabelled, random):
    """Return ten random rows."""
    return random.choice(unlabelled, 10, replace=False)


def learn(choose, seed):
    """Return the accuracy with 20, 30, 40 and 50 labels, and the labelled rows."""
    random = np.random.default_rng(seed)
    rows, accuracy = random.choice(pool, 20, replace=False), []
    while True:
        classifier.fit(features[rows], truth[rows])
        accuracy.append(classifier.score(features[test], truth[test]))
        if len(rows) == 50:
            return accuracy, rows
        rows = np.concatenate([rows, choose(np.setdiff1d(pool, rows), random)])


# %%
# Plot the mean of four runs with different first labels. The gain depends on the galaxies. With few
# labels, the selection can even be worse than random. ``benchmarks/active.py`` makes the same
# comparison with real galaxies.
figure = Figure(figsize=(5, 3.6), layout='constrained')
axes = figure.add_subplot(xlabel='number of labels', ylabel='accuracy on 100 other galaxies')
for name, choose in [('random', draw), ('selected', select)]:
    runs = [learn(choose, seed) for seed in range(4)]
    mean = np.mean([accuracy for accuracy, _ in runs], axis=0)
    axes.plot([20, 30, 40, 50], mean, 'o-', label=name)
axes.legend(title='labels')

# %%
# The galaxies that it would select next: mostly those between two classes.
_, rows = runs[-1]
selected = select(np.setdiff1d(pool, rows), None)
figure = plotting.cutouts(cutouts[selected], titles=truth[selected], n_columns=5)
