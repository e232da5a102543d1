# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
MoCo, auto-encoder and labels
=============================

The scripts of 2023 that this package grew out of compared three ways to an encoder: Momentum
Contrast, a convolutional auto-encoder, and labels alone. Here is the comparison again, in
miniature: so few galaxies and epochs that the result says nothing about the methods.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from astro_morph import MorphologyEncoder, plotting
from astro_morph.simulation import SimulatedSurvey

train = SimulatedSurvey(n_galaxies=120, random_state=7)
test = SimulatedSurvey(n_galaxies=60, random_state=8)
images = train.fetch(train.catalogue, size=32)
others = test.fetch(test.catalogue, size=32)
truth = np.array(others.table['morphology'])

# %%
# The same galaxies, the same network, the same number of epochs. Only ``'supervised'`` looks at the
# labels.
methods = {'moco': 'Momentum Contrast', 'autoencoder': 'auto-encoder', 'supervised': 'labels alone'}
settings = {'epochs': 4, 'batch_size': 40, 'random_state': 0, 'verbose': 0}
encoders = {method: MorphologyEncoder(method, **settings).fit(images) for method in methods}

# %%
# What the auto-encoder gives back of a galaxy: after so short a training, hardly anything.
figure = plotting.reconstructions(encoders['autoencoder'], others[:8])

# %%
# What the features of each know of the classes of other galaxies: a logistic regression on them, in
# five folds.
judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
features = {method: encoder.transform(others) for method, encoder in encoders.items()}
scores = {method: cross_val_score(judge, features[method], truth, cv=5) for method in methods}
figure = Figure(figsize=(5, 2.6), layout='constrained')
axes = figure.add_subplot(xlabel='accuracy, mean of five folds and its error', xlim=(0, 1))
for row, (method, name) in enumerate(methods.items()):
    error = scores[method].std() / np.sqrt(5)
    axes.barh(row, scores[method].mean(), xerr=error, color='tab:blue', label=name)
axes.set_yticks(range(len(methods)), methods.values())

# %%
# And the map of the features of Momentum Contrast.
figure = plotting.feature_map(features['moco'], truth, method='tsne')
