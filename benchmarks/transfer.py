# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
What an encoder is worth on each sky: few labels on frozen features, beside random weights.

A task is a survey and a question. Its head learns from 20, 100 or all labels of the galaxies that
are not held back, ten times, each time from others ('all' are then four fifths), and is judged on
those that are held back: by the area under the ROC curve for two classes, else by the balanced
accuracy. The head is the logistic regression of `MorphologyClassifier`; ``--fit`` adds its default
``fit``, of one draw, which takes much longer.

The last lines are the mean gains over random weights at home, in the survey of the first
pretraining, and abroad. FOLDER has the folders ``galaxies`` and ``skies``.

An encoder that others publish is adapted to the size of the pictures.

    python benchmarks/transfer.py FOLDER
    python benchmarks/transfer.py FOLDER --encoder mine=encoder.pt --rows 200
    python benchmarks/transfer.py FOLDER --encoder nano=local-dir:zoobot-encoder-convnext_nano
"""

import argparse
from pathlib import Path

import numpy as np
from probe import randomised
from skies import TASKS, is_held_back
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedShuffleSplit

from astro_morph import CutoutSet, MorphologyClassifier, MorphologyEncoder
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.learning.heads import linear_head
from astro_morph.models.weights import bundled_names

N_LABELS = (20, 100, None)
N_DRAWS = 10
# 'All' labels are this fraction of them, so that the draws differ.
MOST = 0.8

# Most galaxies of a task, to learn from and held back, so that all takes less than an hour.
N_ROWS = 600

# A class with fewer galaxies can't be drawn into all parts.
SMALLEST_CLASS = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='folder of the folders galaxies and skies')
    parser.add_argument(
        '--encoder',
        action='append',
        default=[],
        metavar='NAME=ENCODER',
        help='an encoder to judge: a file, hf-hub:OWNER/NAME, local-dir:FOLDER or timm:NAME',
    )
    parser.add_argument(
        '--rows',
        type=int,
        default=N_ROWS,
        help='most galaxies of a task to learn from, and half as many held back '
        '(default: %(default)s)',
    )
    parser.add_argument('--tasks', default='', help='only tasks whose name has this text')
    parser.add_argument('--size', type=int, default=64, help='side of the pictures (default: 64)')
    parser.add_argument('--fit', action='store_true', help='also the default fit')
    options = parser.parse_args()

    encoders = encoders_to_judge(options.encoder)
    names = ', '.join('all' if n is None else str(n) for n in N_LABELS)
    print(f'area under ROC or balanced accuracy with {names} labels, {N_DRAWS} draws')
    gains = {}
    for make in TASKS:
        task = make(options.folder)
        if options.tasks not in task.name:
            continue
        known, held_back = split(task, options.rows)
        print(f'\n{task.name}: {len(known)} galaxies, {len(held_back)} held back')
        rows = np.concatenate([known, held_back])
        images = task.images(options.folder, rows, size=options.size)
        cutouts = CutoutSet(images, bands=PICTURE_BANDS, kind='picture')
        labels = task.labels[rows]
        scores = {}
        for name, encoder in encoders.items():
            if encoder.model_.spec.contract is not None:
                encoder = encoder.adapt(cutouts)
            scores[name] = judge(encoder.transform(cutouts), labels, len(known))
            show(name, scores[name])
            gain = (scores[name] - scores['random weights']).mean(axis=1)
            gains.setdefault((name, task.is_home), []).append(gain)
        if options.fit:
            show('default fit', fit(cutouts, labels, len(known)))
    print('\nmean gain over random weights, in points')
    for (name, is_home), of_tasks in gains.items():
        points = '   '.join(f'{100 * value:+6.1f}' for value in np.mean(of_tasks, axis=0))
        print(f'{name:24} {"at home" if is_home else "abroad":8} {points}')


def encoders_to_judge(named):
    """Return the encoders by name, random weights first."""
    bundled = {
        name: MorphologyEncoder.from_pretrained(name, verbose=0)
        for name in bundled_names()
        if 'resnet' in name
    }
    names = dict(text.split('=', 1) for text in named)
    others = {name: MorphologyEncoder.load(encoder, verbose=0) for name, encoder in names.items()}
    return {'random weights': randomised(next(iter(bundled.values()))), **bundled, **others}


def split(task, n_rows):
    """Return the rows to learn from and those held back, at most so many and half of them."""
    classes, counts = np.unique(task.labels, return_counts=True)
    is_used = np.isin(task.labels, classes[counts >= SMALLEST_CLASS])
    is_test = is_held_back(task.pictures)
    random = np.random.default_rng(0)
    parts = (is_used & ~is_test, n_rows), (is_used & is_test, n_rows // 2)
    return [np.sort(random.permutation(np.flatnonzero(part))[:n]) for part, n in parts]


def judge(features, labels, n_known):
    """Return the scores of linear heads, shape (numbers of labels, draws)."""
    test, head = slice(n_known, None), linear_head()
    return np.array(
        [
            [
                score(head.fit(features[rows], labels[rows]), features[test], labels[test])
                for rows in draws(labels[:n_known], n_labels)
            ]
            for n_labels in N_LABELS
        ]
    )


def fit(cutouts, labels, n_known):
    """Return the scores of the default classifier, of one draw for each number of labels."""
    scores = []
    for n_labels in N_LABELS:
        rows = next(draws(labels[:n_known], n_labels))
        classifier = MorphologyClassifier(verbose=0, random_state=0).fit(
            cutouts[rows], labels[rows]
        )
        scores.append([score(classifier, cutouts[n_known:], labels[n_known:])])
    return np.array(scores)


def draws(labels, n_labels):
    """Yield the rows of each draw, with the classes in about their proportions."""
    most = int(MOST * len(labels))
    n = most if n_labels is None else min(n_labels, most)
    for rows, _ in StratifiedShuffleSplit(N_DRAWS, train_size=n, random_state=0).split(
        labels, labels
    ):
        yield rows


def score(classifier, X, labels):
    """Return the area under the ROC curve for two classes, else the balanced accuracy."""
    if len(classifier.classes_) == 2:
        return roc_auc_score(labels == classifier.classes_[1], classifier.predict_proba(X)[:, 1])
    return balanced_accuracy_score(labels, classifier.predict(X))


def show(name, scores):
    errors = scores.std(axis=1) / np.sqrt(max(1, scores.shape[1] - 1))
    pairs = zip(scores.mean(axis=1), errors, strict=True)
    text = '   '.join(f'{mean:.3f} +- {error:.3f}' for mean, error in pairs)
    print(f'{name:24} {text}', flush=True)


if __name__ == '__main__':
    main()
