# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Pretrain on your own survey
===========================

An encoder learns from images without labels which galaxies look alike. A real training takes
thousands of galaxies and an hour or more. This example only shows the steps, and stops long before
the encoder has learnt much.

*Needs no data and no network. Takes about thirty seconds on two cores.*
"""

import numpy as np

from astro_morph import MorphologyEncoder, plotting
from astro_morph.simulation import SimulatedSurvey

survey = SimulatedSurvey('legacy', n_galaxies=160, bands=['g', 'r', 'z'], random_state=2)
cutouts = survey.fetch(survey.catalogue, size=32)

# %%
# First, check the views that the encoder will have to recognise. It learns to ignore what differs
# between the views of a galaxy.
figure = plotting.augmentations(cutouts[:4], contrast=True, survey=survey.survey)

# %%
# Train the encoder. For a real training, leave out ``epochs``; ``max_time`` limits the time.
encoder = MorphologyEncoder(epochs=6, batch_size=32, random_state=0, verbose=0)
encoder.fit(cutouts)

# %%
# Plot the progress. The loss rises while the queue fills; it falls again only in a longer training.
# The scatter of the features must not fall to zero.
figure = plotting.history(encoder.history_)

# %%
# Save the encoder to use it in a classifier: ``MorphologyClassifier(encoder='encoder.pt')``. Or use
# it to find galaxies that look alike. Each row of the figure shows a galaxy, followed by its
# nearest neighbours.
neighbors = encoder.neighbors(cutouts, 5)
rows = np.column_stack([np.arange(4), neighbors[:4]]).ravel()
figure = plotting.cutouts(cutouts[rows], titles=cutouts.table['morphology'][rows], n_columns=6)
