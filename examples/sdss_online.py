# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Galaxies of a real survey
=========================

Select bright galaxies in the catalogue of SDSS, classify their pictures with the classifier that
comes with the package, and show the most unusual ones.

*Needs a network, for the catalogue of SkyServer and the pictures of CDS; if the documentation was
built without one, this page shows no results. Takes about a minute.*
"""

from collections import Counter

from astropy.table import Table
from astroquery.sdss import SDSS

from astro_morph import MorphologyClassifier, plotting
from astro_morph.cutouts import Hips2Fits

# %%
# Forty galaxies in two square degrees on the equator. ``petroR90_r`` is the radius that contains 90
# per cent of the Petrosian flux in r, in arcsec.
query = """
    SELECT TOP 40 ra, dec, petroR90_r, petroMag_r
    FROM Galaxy
    WHERE ra BETWEEN 180 AND 182 AND dec BETWEEN 0 AND 1
        AND petroMag_r BETWEEN 14 AND 16.5 AND petroR90_r BETWEEN 6 AND 20 AND clean = 1
    ORDER BY petroMag_r
"""
catalogue = Table(SDSS.query_sql(query))
catalogue[:5].pprint()

# %%
# Each picture is fetched once; the next run takes it from the cache.
source = Hips2Fits('sdss-dr9', bands='rgb')
classifier = MorphologyClassifier.from_pretrained('sdss-4class', source=source, verbose=0)
annotated = classifier.annotate(catalogue)
annotated['ra', 'dec', 'morph_class', 'morph_confidence', 'morph_status'].pprint(max_lines=10)

# %%
# Count the classes, and what has none.
for name in ['morph_class', 'morph_status']:
    print(name, dict(Counter(annotated[name].tolist())))

# %%
# The brightest galaxies, with their classes:
has_class = annotated['morph_status'] == 'ok'
brightest = annotated[has_class][:15]
pictures = source.fetch(brightest, size='3.28 * petroR90_r')
figure = plotting.cutouts(pictures, titles=brightest['morph_class'], n_columns=5)

# %%
# The galaxies that are least like those of the training set. A p-value of 0.01 means that one in a
# hundred galaxies of the training set is as unusual.
unusual = annotated[has_class]
unusual.sort('morph_novelty')
pictures = source.fetch(unusual[:15], size='3.28 * petroR90_r')
titles = [f'{row["morph_class"]} {row["morph_novelty"]:.3f}' for row in unusual[:15]]
figure = plotting.cutouts(pictures, titles=titles, n_columns=5)

# %%
# If you publish work with these images, acknowledge the survey:
print(source.survey.acknowledgement)
