# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Votes of Galaxy Zoo 2 predicted from pictures: 5-fold cross-validation on gz2_votes.csv."""

import argparse
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from scipy.optimize import minimize_scalar
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from astro_morph import MorphologyEncoder, MorphologyVotes
from astro_morph.catalog.numbers import read_numbers
from astro_morph.catalog.vote_tree import VoteTree, galaxy_zoo_2
from astro_morph.cutouts import ImageFiles
from astro_morph.learning.fitting import seeded
from astro_morph.models.dirichlet import log_likelihood
from astro_morph.models.running import run_batches
from astro_morph.models.torch_model import TorchModel, build_network

BUNDLED = 'sdss-moco-resnet18'
VOTERS = 'total_classifications'
N_FOLDS = 5

# What most galaxies are asked; the rest is about arms, oddities and the bulges of edge-on disks.
MAIN = ('smooth_or_features', 'edgeon', 'bar', 'spiral', 'bulge_prominence', 'odd', 'rounded')

# Plain regression gets the best of these on the very galaxies that judge it.
PENALTIES = (80.0, 400.0, 2000.0, 10000.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of gz2_votes.csv and its images')
    options = parser.parse_args()

    table = Table.read(options.folder / 'gz2_votes.csv')
    cutouts = ImageFiles('image', folder=options.folder).fetch(table, size=64)
    tree = VoteTree(galaxy_zoo_2())
    fractions = read_numbers(table, tree.columns, 'tree')
    counts = tree.counts(fractions, voters=np.array(table[VOTERS]))
    is_asked = tree.totals(counts) > 0
    fractions = np.where(is_asked[:, tree.question], fractions, np.nan)
    print(f'{len(table)} galaxies, {N_FOLDS} folds, means with standard errors over the folds\n')

    truth = fractions, counts, tree
    base = in_folds(predict_mean, np.zeros((len(table), 1)), *truth)
    show_likelihood('mean prediction, constant dispersion', base)
    bundled = MorphologyEncoder.from_pretrained(BUNDLED, verbose=0)
    for label, encoder in (('random weights', randomised(bundled)), ('bundled encoder', bundled)):
        features = encode(encoder, cutouts)
        plain = [
            in_folds(predict_plainly, features, *truth, penalty=penalty) for penalty in PENALTIES
        ]
        best = max(plain, key=lambda result: result['likelihood'].mean())
        ours = in_folds(predict_votes, features, *truth)
        show_likelihood(f'{label}, softmax regression, constant dispersion', best)
        show_likelihood(f'{label}, Dirichlet-multinomial', ours)
        difference = ours['likelihood'] - best['likelihood']
        print(f'{"":8}gain per galaxy over softmax regression {with_error(difference)}')
        print(f'{"":8}rms of (votes - prediction) / uncertainty {with_error(ours["pull"])}\n')
        show_errors(label, ours['error'], base['error'], tree)


def encode(encoder, cutouts):
    """Give the frozen features that MorphologyVotes takes from an encoder."""
    votes = MorphologyVotes(galaxy_zoo_2(), voters=VOTERS, encoder=encoder, verbose=0)
    # Only the encoder counts here, which learns nothing: a few galaxies are enough.
    model = votes.fit(cutouts[:20]).model_
    return run_batches(model, cutouts)[1].astype(float)


def randomised(encoder):
    """Give an encoder of the same architecture with random weights."""
    with seeded(0):
        network = build_network(encoder.model_.spec)
    other = MorphologyEncoder(verbose=0)
    other.model_ = TorchModel(encoder.model_.spec, network)
    return other


def in_folds(predict, features, fractions, counts, tree, **options):
    """Predict each fold from the others; give likelihood, error and pull of each."""
    results = {'likelihood': [], 'error': [], 'pull': []}
    for train, test in KFold(N_FOLDS, shuffle=True, random_state=0).split(features):
        mean, total = predict(
            features[train], fractions[train], counts[train], features[test], tree, **options
        )
        likelihoods = log_likelihood(counts[test], mean * total[:, tree.question], tree)
        results['likelihood'].append(likelihoods.sum(1).mean())
        error = np.nanmean(np.abs(mean - fractions[test]), axis=0)
        # Those of a question alike: the answers of rare ones would vanish.
        n_answers = np.bincount(tree.question)
        results['error'].append(np.bincount(tree.question, error) / n_answers)
        results['pull'].append(pull(mean, total, fractions[test], counts[test], tree))
    return {name: np.array(values) for name, values in results.items()}


def predict_votes(features, fractions, counts, others, tree):
    """Predict as MorphologyVotes does."""
    votes = MorphologyVotes(tree.questions, verbose=0).fit(features, counts)
    mean, std = votes.predict(others, return_std=True)
    first = np.flatnonzero(np.diff(tree.question, prepend=-1))
    # The variance of a Dirichlet distribution is mean (1 - mean) / (total + 1).
    return mean, (mean * (1 - mean) / std**2 - 1)[:, first]


def predict_mean(features, fractions, counts, others, tree):
    """Predict the mean of the fractions for every galaxy."""
    mean = np.nanmean(fractions, axis=0)
    mean /= tree.totals(mean[np.newaxis])[0, tree.question]
    total = fit_dispersion(np.tile(mean, (len(counts), 1)), counts, tree)
    return np.tile(mean, (len(others), 1)), np.tile(total, (len(others), 1))


def predict_plainly(features, fractions, counts, others, tree, *, penalty):
    """Predict by softmax regression; then fit one dispersion for all galaxies to each question."""
    scaler = StandardScaler().fit(features)
    inputs, others = (torch.from_numpy(scaler.transform(values)) for values in (features, others))
    target, question = torch.from_numpy(counts), torch.from_numpy(tree.question)
    layer = torch.nn.Linear(inputs.shape[1], len(question), dtype=torch.float64)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=300, line_search_fn='strong_wolfe')

    def loss():
        optimizer.zero_grad()
        likelihood = (target * log_softmax(layer(inputs), question)).sum()
        value = (penalty * layer.weight.square().sum() - likelihood) / len(inputs)
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        seen, mean = (log_softmax(layer(x), question).exp().numpy() for x in (inputs, others))
    total = fit_dispersion(seen, counts, tree)
    return np.maximum(mean, 1e-9), np.tile(total, (len(mean), 1))


def log_softmax(logits, question):
    """Give the logarithm of the softmax over the answers of each question."""
    parts = [torch.log_softmax(logits[:, question == k], 1) for k in range(int(question.max()) + 1)]
    return torch.cat(parts, 1)


def fit_dispersion(mean, counts, tree):
    """Find the total concentration of each question that makes the votes likeliest."""
    mean = np.maximum(mean, 1e-9)

    def loss(log_total, k):
        return -log_likelihood(counts, mean * np.exp(log_total), tree)[:, k].sum()

    return np.exp(
        [
            minimize_scalar(loss, args=(k,), bounds=(-3, 8), method='bounded').x
            for k in range(len(tree.questions))
        ]
    )


def pull(mean, total, fractions, counts, tree):
    """Compare the scatter of the votes with what the prediction says of it: 1 if it is right."""
    votes, total = tree.totals(counts)[:, tree.question], total[:, tree.question]
    # A handful of votes has hardly a fraction.
    is_many = votes >= 5
    variance = mean * (1 - mean) * (total + votes) / np.maximum(votes, 1) / (total + 1)
    return np.sqrt(np.mean(((fractions - mean) ** 2 / variance)[is_many]))


def show_likelihood(name, result):
    print(f'{name:58} log-likelihood per galaxy {with_error(result["likelihood"])}')


def show_errors(label, errors, base, tree):
    """Print the mean absolute errors of the fractions beside those of predicting the mean."""
    print(f'{label + ", mean absolute error of":38} mean prediction   ours      less by')
    for k, question in enumerate(tree.questions):
        print_error(question, errors[:, k], base[:, k])
    main = [list(tree.questions).index(question) for question in MAIN]
    print_error(
        'the first seven together', errors[:, main].mean(axis=1), base[:, main].mean(axis=1)
    )
    print(flush=True)


def print_error(name, errors, base):
    less = with_error(100 * (1 - errors / base), digits=1)
    print(f'{name:38} {base.mean():<17.3f} {errors.mean():<9.3f} {less} %')


def with_error(values, *, digits=3):
    """Write a mean with its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f'{np.mean(values):.{digits}f} +- {error:.{digits}f}'


if __name__ == '__main__':
    main()
