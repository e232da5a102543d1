# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Label a survey field
====================

FITS images of a field and a catalogue with a label in some rows: from these to a catalogue with a
class and a probability in every row, and to a picture of how far to trust them.
"""

import tempfile

import numpy as np

from astro_morph import MorphologyClassifier, plotting
from astro_morph.catalog.io.tables import write_table
from astro_morph.simulation import SimulatedSurvey

# %%
# The data: here a simulated field of SDSS, written as one FITS image a band, as a survey would
# give them. Of every second galaxy the label is hidden.
folder = tempfile.mkdtemp()
survey = SimulatedSurvey('sdss', n_galaxies=80, random_state=0)
survey.write(folder)
truth = survey.catalogue['ra', 'dec', 'morphology']
catalogue = truth.copy()
catalogue['morphology'][::2] = ''

# %%
# The images are named by a pattern, and the cutouts are made on the way. Few labels: a linear head
# is set on the features of the encoder that comes with the package.
images = f'{folder}/sdss-{{band}}.fits'
classifier = MorphologyClassifier(images, size=48, random_state=0, verbose=0)
classifier.fit(catalogue)

# %%
# The same rows come back, with new columns.
annotated = classifier.annotate(catalogue)
write_table(annotated, f'{folder}/annotated.ecsv')
annotated['morphology', 'morph_class', 'morph_confidence', 'morph_status'][:6].pprint()

# %%
# How good is it? Only galaxies that it has not learnt from can tell.
evaluation = classifier.evaluate(truth[::2])
print(evaluation)

# %%
# The picture of these figures is the confusion matrix: a row for each true class.
figure = plotting.confusion(evaluation)

# %%
# And the galaxies themselves, those it has not learnt from, with the class that it gave them.
# Titles are red where it is wrong.
shown = np.arange(0, 48, 2)
figure = plotting.cutouts(
    survey.fetch(truth[shown], size=48),
    titles=annotated['morph_class'][shown],
    is_right=annotated['morph_class'][shown] == truth['morphology'][shown],
)
