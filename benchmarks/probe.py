# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What frozen features know of the classes of kaggle4.csv, by method, beside random weights."""

import argparse
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import Table, vstack
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from astro_morph import MorphologyEncoder
from astro_morph.cutouts import ImageFiles
from astro_morph.learning.fitting import seeded
from astro_morph.models.torch_model import TorchModel, build_network

BUNDLED = 'sdss-moco-resnet18'
METHODS = ('autoencoder', 'moco', 'moco-v3')
UNLABELLED = ('pool.csv', 'gz1.csv', 'gz2_votes.csv')
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
    parser.add_argument('folder', type=Path, help='folder of the tables and their pictures')
    parser.add_argument(
        '--minutes', type=float, default=15, help='training of each method (default: %(default)s)'
    )
    parser.add_argument(
        '--encoder',
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='a saved encoder to probe; if its name is that of a method, this is not trained',
    )
    options = parser.parse_args()

    table = Table.read(options.folder / 'kaggle4.csv')
    cutouts = ImageFiles(folder=options.folder).fetch(table)
    labels = np.array(table['morphology'])
    bundled = MorphologyEncoder.from_pretrained(BUNDLED, verbose=0)
    files = dict(text.split('=', 1) for text in options.encoder)
    methods = [method for method in METHODS if method not in files]
    pictures = unlabelled(options.folder, size=cutouts.shape[-1]) if methods else ()
    if methods:
        print(
            f'{", ".join(methods)}: trained here, {options.minutes:g} minutes each, '
            f'on {len(pictures)} pictures without labels'
        )
    print(f'accuracy with {", ".join(map(str, N_LABELS))} labels, mean of {N_FOLDS} folds')
    show('random weights', randomised(bundled), cutouts, labels)
    for method in methods:
        encoder = MorphologyEncoder(method=method, max_time=options.minutes * u.min, random_state=0)
        name = f'{method}, {options.minutes:g} min'
        show(name, encoder.fit(pictures), cutouts, labels)
    for name, file in files.items():
        show(name, MorphologyEncoder.load(file, verbose=0), cutouts, labels)
    show(BUNDLED, bundled, cutouts, labels)


def unlabelled(folder, *, size):
    """Fetch the pictures whose labels, if there are any, are not looked at."""
    tables = [Table.read(folder / name)['image',] for name in UNLABELLED]
    return ImageFiles(folder=folder).fetch(vstack(tables), size=size)


def randomised(encoder):
    """Give an encoder of the same architecture with random weights."""
    with seeded(0):
        network = build_network(encoder.model_.spec)
    other = MorphologyEncoder(verbose=0)
    other.model_ = TorchModel(encoder.model_.spec, network)
    return other


def show(name, encoder, cutouts, labels):
    """Print what the features of an encoder reach."""
    features = encoder.transform(cutouts)
    for probe_name, probe in PROBES.items():
        figures = [accuracy(probe, features, labels, n) for n in N_LABELS]
        text = '   '.join(f'{mean:.3f} +- {error:.3f}' for mean, error in figures)
        print(f'{name:20} {probe_name:20} {text}', flush=True)


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
