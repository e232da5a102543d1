# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Train the bundled classifier on labelled pictures of SDSS galaxies.

The bundled classifier is ``MorphologyClassifier()``, trained on all labels of ``kaggle4.csv``. Its
pictures show the central part of those of Galaxy Zoo 2: 164 of 424 pixels of 0.02 Petrosian radii
(Willett et al. 2013, MNRAS 435, 2835). The model asks its sources for this framing.
``benchmarks/accuracy.py`` measures the accuracy by cross-validation.

    python tools/train_classifier.py FOLDER astro_morph/models/weights/sdss-4class.pt
"""

import argparse
from pathlib import Path

from astropy.table import Table

from astro_morph import MorphologyClassifier
from astro_morph.cutouts import ImageFiles

FRAMING = '3.28 * petroR90_r'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='folder of kaggle4.csv and its pictures')
    parser.add_argument('output', type=Path, help='file of the classifier')
    options = parser.parse_args()

    table = Table.read(options.folder / 'kaggle4.csv')
    cutouts = ImageFiles(folder=options.folder).fetch(table).replace(framing=FRAMING)
    classifier = MorphologyClassifier(random_state=0).fit(cutouts)
    classifier.model_.save(options.output, compact=True, overwrite=True)


if __name__ == '__main__':
    main()
