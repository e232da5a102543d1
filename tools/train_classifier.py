# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Train a bundled classifier on the frozen features of a bundled encoder.

The encoder has learnt labels of other galaxies. The head learns from those held back from it, so
that their features are like those of galaxies that no one has labelled. Two fifths of these are
left out: ``benchmarks/bundled.py`` tests the classifier on them.

    python tools/train_classifier.py FOLDER gz2-5class astro_morph/models/weights/gz2-5class.pt
    python tools/train_classifier.py FOLDER sdss-4class astro_morph/models/weights/sdss-4class.pt
    python tools/train_classifier.py FOLDER gz2-votes astro_morph/models/weights/gz2-votes.pt
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_morph import CutoutSet, MorphologyClassifier, MorphologyVotes
from astro_morph.catalog.vote_tree import galaxy_zoo_2
from astro_morph.cutouts import ImageFiles
from astro_morph.cutouts.cutout_set import PICTURE_BANDS

sys.path.append(str(Path(__file__).parents[1] / 'benchmarks'))

from skies import FIVE_CLASSES, is_held_back, is_tested

ENCODER = 'skies-resnet18'

# The pictures show the central part of those of Galaxy Zoo 2: 164 of 424 pixels of 0.02 Petrosian
# radii (Willett et al. 2013, MNRAS 435, 2835). The model asks its sources for this framing.
FRAMING = '3.28 * petroR90_r'

VOTERS = 'total_classifications'


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='folder of the folders galaxies and skies')
    parser.add_argument('name', choices=TRAININGS, help='the classifier')
    parser.add_argument('output', type=Path, help='its file')
    options = parser.parse_args()

    model = TRAININGS[options.name](options.folder).model_
    model.save(options.output, compact=True, base=ENCODER, overwrite=True)


def train_five_classes(folder):
    return fit_classes(*clean_galaxies(folder))


def train_four_classes(folder):
    """The cigars of Galaxy Zoo 2 are smooth and edge-on."""
    cutouts, labels = clean_galaxies(folder)
    return fit_classes(cutouts, np.where(labels == 'cigar', 'edge_on', labels))


def clean_galaxies(folder):
    task = FIVE_CLASSES(folder)
    rows = np.flatnonzero(is_held_back(task.pictures) & ~is_tested(task.pictures))
    cutouts = CutoutSet(task.images(folder, rows), bands=PICTURE_BANDS, kind='picture')
    return cutouts.replace(framing=FRAMING), task.labels[rows]


def fit_classes(cutouts, labels):
    classifier = MorphologyClassifier(encoder=ENCODER, strategy='linear', random_state=0)
    return classifier.fit(cutouts, labels)


def train_votes(folder):
    """The encoder has learnt no votes of these galaxies."""
    table = Table.read(folder / 'galaxies/gz2_votes.csv')
    cutouts = ImageFiles(folder=folder / 'galaxies').fetch(table, size=64).replace(framing=FRAMING)
    return MorphologyVotes(galaxy_zoo_2(), voters=VOTERS, encoder=ENCODER).fit(cutouts)


TRAININGS = {
    'gz2-5class': train_five_classes,
    'sdss-4class': train_four_classes,
    'gz2-votes': train_votes,
}


if __name__ == '__main__':
    main()
