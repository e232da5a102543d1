# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
MoCo, auto-encoder and labels
=============================

This package grew out of scripts from 2023, which compared three ways to train an encoder: Momentum
Contrast, a convolutional auto-encoder, and labels only. This example repeats the comparison with so
few galaxies and epochs that its result says nothing about the methods.

*Needs no data and no network. Takes about thirty seconds on two cores.*
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
# All methods use the same galaxies, the same network and the same number of epochs. Only
# ``'supervised'`` uses the labels.
methods = {'moco': 'Momentum Contrast', 'autoencoder': 'auto-encoder', 'supervised': 'labels only'}
settings = {'epochs': 4, 'batch_size': 40, 'random_state': 0, 'verbose': 0}
encoders = {method: MorphologyEncoder(method=method, **settings).fit(images) for method in methods}

# %%
# After such a short training, the auto-encoder reconstructs hardly anything of the galaxies.
figure = plotting.reconstructions(encoders['autoencoder'], others[:8])

# %%
# Compare how well the features of each encoder separate the classes of other galaxies, with a
# logistic regression and five folds.
regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
features = {method: encoder.transform(others) for method, encoder in encoders.items()}
scores = {method: cross_val_score(regression, features[method], truth, cv=5) for method in methods}
figure = Figure(figsize=(5, 2.6), layout='constrained')
axes = figure.add_subplot(xlabel='accuracy, mean and standard error of five folds', xlim=(0, 1))
for row, (method, name) in enumerate(methods.items()):
    error = scores[method].std() / np.sqrt(5)
    axes.barh(row, scores[method].mean(), xerr=error, color='tab:blue', label=name)
axes.set_yticks(range(len(methods)), methods.values())

# %%
# The map of the features from Momentum Contrast:
figure = plotting.feature_map(features['moco'], truth, method='tsne')
