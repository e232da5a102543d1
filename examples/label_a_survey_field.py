# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Label a survey field
====================

Start with FITS images of a field and a catalogue with labels in some rows. Write a catalogue with a
class and probabilities in every row, and check how accurate they are.

*Needs no data and no network. Takes about fifteen seconds on two cores.*
"""

import tempfile

import numpy as np

from astro_morph import MorphologyClassifier, plotting
from astro_morph.catalog.io.tables import write_table
from astro_morph.simulation import SimulatedSurvey

# %%
# The data are a simulated SDSS field, written as one FITS image for each band, as a survey would
# publish them. The label of every second galaxy is hidden.
folder = tempfile.mkdtemp()
survey = SimulatedSurvey('sdss', n_galaxies=80, random_state=0)
survey.write(folder)
truth = survey.catalogue['ra', 'dec', 'morphology']
catalogue = truth.copy()
catalogue['morphology'][::2] = ''

# %%
# Pass the path pattern of the images; the classifier makes the cutouts itself. As there are few
# labels, it trains a linear head on the features of the encoder that comes with the package.
images = f'{folder}/sdss-{{band}}.fits'
classifier = MorphologyClassifier(images, size=48, random_state=0, verbose=0)
classifier.fit(catalogue)

# %%
# The annotated catalogue has the same rows, with new columns.
annotated = classifier.annotate(catalogue)
write_table(annotated, f'{folder}/annotated.ecsv')
annotated['morphology', 'morph_class', 'morph_confidence', 'morph_status'][:6].pprint()

# %%
# Evaluate the classifier on the galaxies that were not used for training.
evaluation = classifier.evaluate(truth[::2])
print(evaluation)

# %%
# The confusion matrix has a row for each true class.
figure = plotting.confusion(evaluation)

# %%
# Finally, look at some of these galaxies with their predicted classes. The titles of wrong ones are
# red.
shown = np.arange(0, 48, 2)
figure = plotting.cutouts(
    survey.fetch(truth[shown], size=48),
    titles=annotated['morph_class'][shown],
    is_right=annotated['morph_class'][shown] == truth['morphology'][shown],
)
