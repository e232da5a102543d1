# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Label a simulated survey from few labels, and write catalogue, model and picture."""

from astro_morph import MorphologyClassifier, plotting
from astro_morph.evaluation import evaluate
from astro_morph.simulation import SimulatedSurvey
from astro_morph.table_io import write_table

# A sky of known galaxies; of every second one the label is hidden.
survey = SimulatedSurvey('sdss', n_galaxies=120, random_state=0)
catalogue = survey.catalogue['ra', 'dec', 'morphology']
catalogue['morphology'][::2] = ''

# Few labels: a linear head on the features of the bundled encoder.
classifier = MorphologyClassifier(survey, random_state=0).fit(catalogue)
annotated = classifier.annotate(catalogue)
print(evaluate(classifier, survey.catalogue[::2]))

write_table(annotated, 'annotated.ecsv', overwrite=True)
classifier.to_onnx('morphology.onnx')

shown = annotated[::2][:16]
figure = plotting.cutouts(survey.fetch(shown), titles=shown['morph_class'])
figure.savefig('galaxies.png')
