# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compare with Gini and M20
=========================

Compute the classical measures of some galaxies, and compare a classifier of these measures with a
classifier of the images.

*Needs no data and no network. Takes about twenty seconds on two cores.*
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from astro_morph import MorphologyClassifier, MorphologyEncoder, plotting
from astro_morph.evaluation import Evaluation
from astro_morph.photometry import measure
from astro_morph.simulation import SimulatedSurvey

survey = SimulatedSurvey(n_galaxies=150, random_state=6)
truth = np.array(survey.catalogue['morphology'])

# %%
# Measures need sky around the galaxy, and therefore larger cutouts than the classifier.
measures = measure(survey.fetch(survey.catalogue, size=96))
measures['gini', 'm20', 'concentration', 'asymmetry', 'measure_status'][:5].pprint()

# %%
# The Gini-M20 plane of Lotz et al. (2004). Most galaxies on the left side are mergers, but not all
# mergers are on the left side.
figure = Figure(figsize=(5, 4), layout='constrained')
axes = figure.add_subplot(xlabel='M20', ylabel='Gini')
for kind in np.unique(truth):
    rows = truth == kind
    axes.plot(measures['m20'][rows], measures['gini'][rows], 'o', markersize=4, label=kind)
axes.invert_xaxis()
axes.legend(fontsize=8)

# %%
# Train a random forest on six measures, and a linear head on the features of the bundled encoder.
# Evaluate both by cross-validation with five folds.
names = ['gini', 'm20', 'concentration', 'asymmetry', 'smoothness', 'ellipticity']
numbers = np.column_stack([np.ma.filled(measures[name].astype(float), np.nan) for name in names])
cutouts = survey.fetch(survey.catalogue, size=32)
encoder = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0).adapt(cutouts)
features = encoder.transform(cutouts)
methods = {
    'measures': (RandomForestClassifier(random_state=0), numbers),
    'images': (MorphologyClassifier(strategy='linear', random_state=0, verbose=0), features),
}
evaluations = {}
for name, (method, samples) in methods.items():
    probabilities = cross_val_predict(method, samples, truth, cv=5, method='predict_proba')
    evaluations[name] = Evaluation(np.unique(truth), truth, probabilities)
    print(f'{name}: accuracy {evaluations[name].accuracy:.2f}')

# %%
# The confusion matrix with the measures:
figure = plotting.confusion(evaluations['measures'])

# %%
# The confusion matrix with the images:
figure = plotting.confusion(evaluations['images'])
