# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Start from a folder of pictures
===============================

Classify JPEG pictures. Some of them are in folders that are named after their class.

*Needs no data and no network. Takes a few seconds on two cores.*
"""

import tempfile
from pathlib import Path

from astropy.table import Table
from PIL import Image

from astro_morph import MorphologyClassifier, plotting
from astro_morph.cutouts import as_pictures
from astro_morph.simulation import SimulatedSurvey

# %%
# The pictures are simulated: half of them in the folders ``round`` and ``spiral``, the others in
# the folder ``unknown``. The first row of a picture file is the highest.
folder = Path(tempfile.mkdtemp())
survey = SimulatedSurvey(n_galaxies=30, kinds=['round', 'spiral'], random_state=1)
pictures = as_pictures(survey.fetch(survey.catalogue, size=48))
for row, image in enumerate(pictures.images.astype('uint8')):
    kind = str(pictures.table['morphology'][row])
    path = folder / (kind if row % 2 else 'unknown') / f'{row}.jpg'
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image[:, ::-1].transpose(1, 2, 0)).save(path)

# %%
# List the files in a table. The name of the folder is the label, and an empty label is none.
paths = sorted(folder.glob('*/*.jpg'))
catalogue = Table({'image_path': [str(path) for path in paths]})
catalogue['morphology'] = [path.parent.name.replace('unknown', '') for path in paths]

# %%
# Learn from the pictures that have a label, and classify all of them.
classifier = MorphologyClassifier(random_state=0, verbose=0).fit(catalogue)
annotated = classifier.annotate(catalogue)
annotated['morphology', 'morph_class', 'morph_confidence', 'morph_status'].pprint(max_lines=10)

# %%
# Pictures without a label, and their predicted classes:
is_new = catalogue['morphology'] == ''
unlabelled = annotated[is_new][:10]
shown = [int(Path(path).stem) for path in unlabelled['image_path']]
figure = plotting.cutouts(pictures[shown], titles=unlabelled['morph_class'], n_columns=5)
