# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The bundled classifiers on pictures of SDSS galaxies that they have not learnt, nor their encoder.

The labels are the clean classes of Galaxy Zoo 2; two fifteenths of the galaxies, chosen by their
names, are left out of all training (`skies.is_tested`). FOLDER has the folders ``galaxies`` and
``skies``.

    python benchmarks/bundled.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
from skies import FIVE_CLASSES, is_tested

from astro_morph import CutoutSet, MorphologyClassifier
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.evaluation import evaluate


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='folder of the folders galaxies and skies')
    options = parser.parse_args()

    task = FIVE_CLASSES(options.folder)
    rows = np.flatnonzero(is_tested(task.pictures))
    images = task.images(options.folder, rows)
    cutouts = CutoutSet(images, bands=PICTURE_BANDS, kind='picture')
    labels = task.labels[rows]
    of_name = {
        'gz2-5class': labels,
        'sdss-4class': np.where(labels == 'cigar', 'edge_on', labels),
    }
    for name, truth in of_name.items():
        classifier = MorphologyClassifier.from_pretrained(name, verbose=0)
        result = evaluate(classifier, cutouts, truth)
        error = np.sqrt(result.accuracy * (1 - result.accuracy) / len(truth))
        print(f'{name}: accuracy {result.accuracy:.3f} +- {error:.3f}\n{result}\n', flush=True)


if __name__ == '__main__':
    main()
