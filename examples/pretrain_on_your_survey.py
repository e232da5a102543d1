# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Pretrain on your own survey
===========================

Many galaxies, no labels: an encoder learns from the images alone which of them look alike. A real
training takes thousands of galaxies and an hour or more; this one shows the way, and stops long
before it has learnt much.
"""

import numpy as np

from astro_morph import MorphologyEncoder, plotting
from astro_morph.simulation import SimulatedSurvey

survey = SimulatedSurvey('legacy', n_galaxies=160, bands=['g', 'r', 'z'], random_state=2)
cutouts = survey.fetch(survey.catalogue, size=32)

# %%
# First look at the views that the encoder will have to recognise: what changes in them is what it
# learns to ignore.
figure = plotting.augmentations(cutouts[:4], contrast=True, survey=survey.survey)

# %%
# Train. Leave ``epochs`` out for a training of a sensible length, and bound it by ``max_time``.
encoder = MorphologyEncoder('moco', epochs=6, batch_size=32, random_state=0, verbose=0)
encoder.fit(cutouts)

# %%
# How it went: the loss rises while the queue fills, and it takes a longer training than this to
# fall again; the features must not shrink to a point.
figure = plotting.history(encoder.history_)

# %%
# Keep the encoder for a classifier: ``MorphologyClassifier(encoder='encoder.pt')``. Or ask it at
# once which galaxies look alike. The first of each row of the sheet is the galaxy, the others are
# its nearest neighbours.
neighbors = encoder.neighbors(cutouts, 5)
rows = np.column_stack([np.arange(4), neighbors[:4]]).ravel()
figure = plotting.cutouts(cutouts[rows], titles=cutouts.table['morphology'][rows], n_columns=6)
