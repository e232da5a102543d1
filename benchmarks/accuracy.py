# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Accuracy on real galaxies with few labels: 5-fold cross-validation on the table kaggle4.csv."""

import argparse
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from sklearn.model_selection import StratifiedKFold

from astro_morph import MorphologyClassifier
from astro_morph.evaluation import Evaluation, evaluate

N_FOLDS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of kaggle4.csv and its images')
    parser.add_argument('--encoder', default='auto', help="'auto', 'random', 'moco' or a file")
    parser.add_argument('--strategy', default='auto', help="'auto', 'linear' or 'fine-tune'")
    options = parser.parse_args()

    table = Table.read(options.folder / 'kaggle4.csv')
    table['image'] = [str(options.folder / name) for name in table['image']]
    labels = np.array(table['morphology'])
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    results = []
    for number, (train, test) in enumerate(folds.split(labels, labels), start=1):
        start = time.perf_counter()
        classifier = MorphologyClassifier(
            encoder=options.encoder, strategy=options.strategy, random_state=0, verbose=0
        ).fit(table[train])
        results.append(evaluate(classifier, table[test]))
        print(
            f'fold {number}: accuracy {results[-1].accuracy:.3f} with {len(train)} labels, '
            f'{time.perf_counter() - start:.0f} s',
            flush=True,
        )
    accuracies = [result.accuracy for result in results]
    error = np.std(accuracies, ddof=1) / np.sqrt(N_FOLDS)
    print(f'\nmean accuracy {np.mean(accuracies):.3f} +- {error:.3f} (standard error), all folds:')
    print(
        Evaluation(
            results[0].classes,
            true=np.concatenate([result.true for result in results]),
            predicted=np.concatenate([result.predicted for result in results]),
        )
    )


if __name__ == '__main__':
    main()
