# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Start from the labelling page
=============================

Label galaxies on the page in the browser, and classify the others. In this script, a program
answers the page in place of a person.

*Needs Flask, and no data and no network. Takes a few seconds on two cores.*
"""

import tempfile

from astro_morph import MorphologyClassifier, plotting
from astro_morph.labelling import start
from astro_morph.labelling.page import make_app
from astro_morph.simulation import SimulatedSurvey

# %%
# The catalogue has no labels. The parameters of the classifier name the source of the images.
survey = SimulatedSurvey(n_galaxies=30, kinds=['edge_on', 'round'], random_state=4)
catalogue = survey.catalogue['ra', 'dec']
classifier = MorphologyClassifier(survey, size=48, random_state=0, verbose=0)

# %%
# With a person, this is one call of `astro_morph.labelling.label`, which opens the page and returns
# the table with the labels when you press Ctrl-C, or ``astro-morph label`` on the command line.
path = f'{tempfile.mkdtemp()}/labelled.fits'
session = start(catalogue, path, classifier=classifier, classes=['edge_on', 'round'])
page = make_app(session, 'secret').test_client()
for _ in range(14):
    row = page.get('/secret/state').json['row']
    answer = {'row': row, 'label': survey.catalogue['morphology'][row]}
    page.post('/secret/label', data=answer)

# %%
# Each label is in the file at once. Learn from them, and classify all galaxies.
labelled = session.table
annotated = classifier.fit(labelled).annotate(labelled)
annotated['ra', 'dec', 'morphology', 'morph_class', 'morph_confidence'].pprint(max_lines=10)

# %%
# Galaxies without a label, and their predicted classes. The titles of wrong ones are red.
rows = [row for row, label in enumerate(labelled['morphology'].filled('')) if label == ''][:15]
figure = plotting.cutouts(
    survey.fetch(survey.catalogue[rows], size=48),
    titles=annotated['morph_class'][rows],
    is_right=annotated['morph_class'][rows] == survey.catalogue['morphology'][rows],
    n_columns=5,
)
