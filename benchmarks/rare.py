# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Rare kinds found from a few examples: mergers (gz1.csv), rings (rings.csv), spirals (kaggle4.csv).

Frozen features of an encoder. Each draw has its own examples, and its own half of the galaxies that
the examples are drawn from and questions are asked about; the measures are of the other half, which
is without any label. The rings are pictures of the Legacy Surveys: they are searched for among
those without a ring from there, and the SDSS pictures of gz2_votes.csv and pool.csv. The spirals
are one of four classes, as frequent as in GalaxyMNIST, for which others have published a figure.

    python benchmarks/rare.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from sklearn.preprocessing import normalize, scale

from astro_morph import MorphologyEncoder
from astro_morph.cutouts import ImageFiles
from astro_morph.evaluation.ranking import NAMES, ranking_measures
from astro_morph.learning.active import choose
from astro_morph.learning.heads import fit_head, linear_head
from astro_morph.learning.rare import OTHER, add_weak_negatives
from astro_morph.prediction.predict import Predictions

KIND = 'kind'

# Rings that are hidden in the other pictures, so that they are as rare as the mergers are.
N_RINGS = 60

# Labels that are asked for in a round, and rounds.
N_ASKED = 10
N_ROUNDS = 3

PUBLISHED = (
    'published: area under precision-recall 0.77, 94 % of the top 1 %, from 5 to 10 labels '
    '(AnomalyMatch, GalaxyMNIST, where a quarter is of the kind)'
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('folder', type=Path, help='folder of the tables and their images')
    parser.add_argument('--encoder', default='sdss-moco-resnet18', help='bundled or published')
    parser.add_argument('--examples', type=int, nargs='+', default=[5, 10])
    parser.add_argument('--draws', type=int, default=10)
    parser.add_argument('--rows', type=int, help='read no more rows of each table than this')
    options = parser.parse_args()

    encoder = MorphologyEncoder.from_pretrained(options.encoder, verbose=0)
    tables = {
        name: read(options.folder, name, encoder, options.rows)
        for name in ('gz1', 'rings', 'gz2_votes', 'pool', 'kaggle4')
    }
    for find in (mergers, rings, spirals):
        features, is_kind = find(tables)
        for n_examples in options.examples:
            print(f'\n{find.__name__}: {is_kind.sum()} of {len(is_kind)}, {n_examples} examples')
            print(f'{"":34}', *(f'{name:>16}' for name in NAMES))
            draws = [run(features, is_kind, n_examples, seed) for seed in range(options.draws)]
            show(draws)
    print(PUBLISHED)


def read(folder, name, encoder, n_rows):
    """Return a table of pictures and their features."""
    table = Table.read(folder / f'{name}.csv')[:n_rows]
    cutouts = ImageFiles('image', folder=folder).fetch(table, size=64)
    return table, encoder.transform(cutouts).astype(float)


def mergers(tables):
    """Return features of the labelled galaxies of Galaxy Zoo 1, and which are mergers."""
    table, features = tables['gz1']
    labels = table['morphology'].filled('')
    return features[labels != ''], labels[labels != ''] == 'merger'


def rings(tables):
    """Return features of rings among others, and which are rings."""
    table, features = tables['rings']
    is_ring = np.array(table['ring']) == 1
    hidden = np.random.default_rng(0).permutation(np.flatnonzero(is_ring))[:N_RINGS]
    others = [features[~is_ring], tables['gz2_votes'][1], tables['pool'][1]]
    features = np.concatenate([features[hidden], *others])
    return features, np.arange(len(features)) < len(hidden)


def spirals(tables):
    """Return features of galaxies of four classes, and which are spirals."""
    table, features = tables['kaggle4']
    return features, np.array(table['morphology']) == 'spiral'


def run(features, is_kind, n_examples, seed):
    """Return the measures of each way to search, from the same examples."""
    random = np.random.default_rng(seed)
    is_searched = random.permutation(len(is_kind)) % 2 == 0
    examples = random.choice(np.flatnonzero(is_kind & ~is_searched), n_examples, replace=False)
    others = random.choice(np.flatnonzero(~is_kind & ~is_searched), n_examples, replace=False)
    labels = np.full(len(is_kind), '', object)
    labels[examples] = KIND
    scores = {
        'chance': random.random(len(is_kind)),
        'likeness to the examples': likeness(features, examples),
        'linear head, as many others': linear(features, examples, others),
        'rare': rare(features, labels),
    }
    for criterion in ('most probable', 'uncertain-positive'):
        asked = ask(features, labels.copy(), is_kind, ~is_searched, criterion)
        scores[f'rare, {N_ROUNDS} x {N_ASKED} {criterion}'] = rare(features, asked)
    return {
        name: ranking_measures(score[is_searched], is_kind[is_searched])
        for name, score in scores.items()
    }


def likeness(features, examples):
    """Return the mean cosine of the angles to the examples."""
    directions = normalize(scale(features))
    return directions @ directions[examples].mean(axis=0)


def linear(features, examples, others):
    """Return the score of a linear head that learns from as many galaxies of other kinds."""
    rows = np.append(examples, others)
    return score(features, rows, np.isin(rows, examples), np.ones(len(rows)))


def rare(features, labels):
    """Return the score of the strategy 'rare'."""
    labels, weight = add_weak_negatives(labels, labels != '')
    return score(features, np.arange(len(labels)), labels != OTHER, weight)


def score(features, rows, is_kind, weight):
    """Fit a linear head to some rows, and return the score of all."""
    head = fit_head(linear_head(), features[rows], is_kind.astype(int), weight)
    logits = head(torch.from_numpy(features)).numpy()
    return logits[:, 1] - logits[:, 0]


def ask(features, labels, is_kind, may_ask, criterion):
    """Ask for labels of some galaxies, round after round, and return all labels."""
    for _ in range(N_ROUNDS):
        unknown = np.flatnonzero((labels == '') & may_ask)
        margin = rare(features, labels)[unknown]
        if criterion == 'most probable':
            chosen = np.argsort(-margin)[:N_ASKED]
        else:
            chosen = choose(as_predictions(margin), N_ASKED, criterion=criterion, positive=1)
        labels[unknown[chosen]] = np.where(is_kind[unknown[chosen]], KIND, OTHER)
    return labels


def as_predictions(margin):
    """Return predictions of two classes with a difference of their logits."""
    n = len(margin)
    logits = np.column_stack([np.zeros(n), margin])
    return Predictions(
        logits, np.full(n, np.nan), np.zeros((n, 0)), np.full(n, 'ok'), np.zeros(n, int)
    )


def show(draws):
    for name in draws[0]:
        values = np.array([draw[name] for draw in draws])
        errors = values.std(axis=0, ddof=1) / np.sqrt(len(draws))
        figures = (
            f'{mean:7.{digits}f} +-{error:6.{digits}f}'
            for mean, error, digits in zip(values.mean(axis=0), errors, (3, 3, 0), strict=True)
        )
        print(f'{name:34}', *figures)


if __name__ == '__main__':
    main()
