# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Start from positions alone
==========================

Classify galaxies of which only the positions are known. Their images come from a survey, and the
classifier comes with the package.

*Needs no data. The survey is simulated and served by this machine, so it needs no network either.
Takes a few seconds on two cores.*
"""

from astropy.coordinates import SkyCoord

from astro_morph import MorphologyClassifier, plotting
from astro_morph.cutouts import Hips2Fits
from astro_morph.simulation import SimulatedSurvey, serve

# %%
# In a script of your own, these are your positions, and the source is ``'sdss-dr9'``. Here, it is
# the client of the same service, with the address of a server that answers like it.
survey = SimulatedSurvey('sdss', n_galaxies=10, kinds=['edge_on', 'round'], random_state=2)
positions = SkyCoord(survey.catalogue['ra'], survey.catalogue['dec'], unit='deg')

# %%
# The classifier of SDSS pictures wants each galaxy to fill the same part of its cutout. Without a
# column of sizes, it measures the size on the image, and flags that.
with serve(survey) as server:
    address = f'{server.url}/hips-image-services/hips2fits'
    source = Hips2Fits('sdss-dr9', bands='gri', server=address, cache=False)
    classifier = MorphologyClassifier.from_pretrained('sdss-4class', source=source, verbose=0)
    annotated = classifier.annotate(positions)
annotated['morph_class', 'morph_confidence', 'morph_flags', 'morph_status'].pprint(max_lines=10)

# %%
# The simulated galaxies, with the classes that the classifier predicts. It was trained on real
# pictures.
cutouts = survey.fetch(survey.catalogue, size=48)
figure = plotting.cutouts(cutouts, titles=annotated['morph_class'], n_columns=5)
