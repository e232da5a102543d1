# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What frozen features know of the classes of kaggle4.csv, beside those of random weights."""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from astro_morph import MorphologyEncoder
from astro_morph.cutouts import ImageFiles
from astro_morph.fitting import seeded
from astro_morph.model import TorchModel, build_network

BUNDLED = 'sdss-moco-resnet18'
N_LABELS = (50, 100, 560)
N_FOLDS = 5

PROBES = {
    'logistic regression': make_pipeline(
        Normalizer(), StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)
    ),
    'nearest neighbours': make_pipeline(Normalizer(), KNeighborsClassifier(10)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of kaggle4.csv and its images')
    parser.add_argument(
        '--encoder', default=None, help='file of an encoder, beside the bundled one'
    )
    options = parser.parse_args()

    table = Table.read(options.folder / 'kaggle4.csv')
    cutouts = ImageFiles(folder=options.folder).fetch(table)
    labels = np.array(table['morphology'])
    encoders = {BUNDLED: MorphologyEncoder.from_pretrained(BUNDLED, verbose=0)}
    if options.encoder:
        encoders[options.encoder] = MorphologyEncoder.load(options.encoder, verbose=0)
    encoders = {'random weights': randomised(encoders[BUNDLED])} | encoders
    print(f'accuracy with {", ".join(map(str, N_LABELS))} labels, mean of {N_FOLDS} folds')
    for name, encoder in encoders.items():
        features = encoder.transform(cutouts)
        for probe_name, probe in PROBES.items():
            figures = [accuracy(probe, features, labels, n) for n in N_LABELS]
            text = '   '.join(f'{mean:.3f} +- {error:.3f}' for mean, error in figures)
            print(f'{name:20} {probe_name:20} {text}', flush=True)


def randomised(encoder):
    """Give an encoder of the same architecture with random weights."""
    with seeded(0):
        network = build_network(encoder.model_.spec)
    other = MorphologyEncoder(verbose=0)
    other.model_ = TorchModel(encoder.model_.spec, network)
    return other


def accuracy(probe, features, labels, n_labels):
    """Train on some labels of each fold; give mean and standard error of the accuracy."""
    scores = []
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    for seed, (train, test) in enumerate(folds.split(features, labels)):
        if n_labels < len(train):
            train, _ = train_test_split(
                train, train_size=n_labels, stratify=labels[train], random_state=seed
            )
        scores.append(probe.fit(features[train], labels[train]).score(features[test], labels[test]))
    return np.mean(scores), np.std(scores, ddof=1) / np.sqrt(N_FOLDS)


if __name__ == '__main__':
    main()
