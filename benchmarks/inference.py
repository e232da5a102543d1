# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Galaxies a second through the network alone, by what computes it, and what integers cost.

Each is run in turn, several times on the same pictures of 64 x 64 pixels, and its fastest turn
counts; ratios are to ONNX in 32-bit floats at the same number of views. With a FOLDER, the
accuracy on the real galaxies of ``kaggle4.csv`` in it is compared too, on folds held out.

    python benchmarks/inference.py FOLDER
    python benchmarks/inference.py FOLDER --strategy linear --galaxies 128
"""

import argparse
import copy
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from sklearn.model_selection import StratifiedKFold

from astro_morph import CutoutSet, MorphologyClassifier, OnnxClassifier
from astro_morph.cutouts import ImageFiles
from astro_morph.models.export import PRECISIONS
from astro_morph.models.onnx_model import OnnxModel
from astro_morph.models.torch_model import TorchModel
from astro_morph.utils.cores import n_cores

SIZE = 64
N_CLASSES = 4
VIEWS = (1, 8)
BATCH_SIZE = 32

# The bars of the project: how many times as fast integers are, and by how many points less right.
LEAST_SPEEDUP = 2.5
LARGEST_LOSS = 0.5


def make_classifier(cutouts, **parameters):
    """Train in silence; fine-tuning, a network sees enlarged pictures, as the default does."""
    return MorphologyClassifier(random_state=0, verbose=0, **parameters).fit(cutouts)


def noise(n):
    """Give pictures that cost as much to label as any, with labels that mean nothing."""
    images = np.random.default_rng(0).integers(0, 255, (n, 3, SIZE, SIZE), np.uint8)
    labels = np.resize([f'class {number}' for number in range(N_CLASSES)], n)
    return CutoutSet(
        images,
        bands=('red', 'green', 'blue'),
        kind='picture',
        table=Table({'morphology': labels}),
    )


def contenders(classifier, cutouts, folder, views):
    """Give what turns a batch into logits, by name."""
    for precision in PRECISIONS:
        path = folder / f'{precision}-{views}.onnx'
        classifier.to_onnx(path, cutouts, precision=precision, views=views)
    network = copy.deepcopy(classifier.model_.network)
    network.views = views
    pytorch = TorchModel(classifier.model_.spec, network)

    @torch.inference_mode()
    def bfloat16(images):
        with torch.autocast('cpu', torch.bfloat16):
            return pytorch.network(torch.from_numpy(images))

    onnx = {
        f'ONNX {precision}': OnnxModel(folder / f'{precision}-{views}.onnx').run
        for precision in PRECISIONS
    }
    return {'torch float32': pytorch.run, 'torch bfloat16': bfloat16} | onnx


def measure(run, images):
    """Give the galaxies a second of one turn."""
    start = time.perf_counter()
    for first in range(0, len(images), BATCH_SIZE):
        run(images[first : first + BATCH_SIZE])
    return len(images) / (time.perf_counter() - start)


def compare_speed(classifier, cutouts, turns):
    """Print the rates; return those of integers in units of those of floats."""
    images = cutouts.images.astype(np.float32)
    speedups = {}
    with tempfile.TemporaryDirectory() as folder:
        for views in VIEWS:
            runs = contenders(classifier, cutouts, Path(folder), views)
            for run in runs.values():
                run(images[:BATCH_SIZE])  # the first time, memory is found
            rates = dict.fromkeys(runs, 0.0)
            for _ in range(turns):
                for name, run in runs.items():
                    rates[name] = max(rates[name], measure(run, images))
            print(f'\n{views} view{"s"[: views > 1]}       galaxies per second   ratio')
            for name, rate in rates.items():
                ratio = rate / rates['ONNX float32']
                print(f'{name:16} {rate:19.1f} {ratio:7.2f}', flush=True)
            speedups[views] = rates['ONNX int8'] / rates['ONNX float32']
    return speedups


def compare_accuracy(cutouts, n_folds, **parameters):
    """Print the accuracy on each fold held out; return that in all, of each precision."""
    labels = np.array(cutouts.table['morphology'])
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    is_right = {precision: np.zeros(len(labels), bool) for precision in PRECISIONS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        for number, (train, test) in enumerate(folds.split(labels, labels), start=1):
            classifier = make_classifier(cutouts[train], **parameters)
            for precision, right in is_right.items():
                cost = classifier.to_onnx(path, cutouts[train], precision=precision, overwrite=True)
                right[test] = OnnxClassifier(path).predict(cutouts[test]) == labels[test]
                print(f'fold {number}: accuracy {right[test].mean():.4f}; said of the training')
                print(f'  {cost}', flush=True)
    return {precision: 100 * right.mean() for precision, right in is_right.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', nargs='?', type=Path, help='folder of kaggle4.csv and its images')
    parser.add_argument('--strategy', default='auto', help="'auto', 'linear' or 'fine-tune'")
    parser.add_argument('--encoder', default='auto', help="'auto', 'random' or a file")
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--epochs', type=int, help='of the fine-tuning, instead of the default')
    parser.add_argument('--galaxies', type=int, default=256, help='of each turn')
    parser.add_argument('--turns', type=int, default=5)
    parser.add_argument('--cores', type=int, default=2)
    options = parser.parse_args()

    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    torch.set_num_threads(n_cores())
    print(f'{n_cores()} cores, pictures of {SIZE} x {SIZE} pixels, batches of {BATCH_SIZE}')
    parameters = {'strategy': options.strategy, 'encoder': options.encoder}
    if options.epochs:
        parameters['epochs'] = options.epochs

    images = noise(options.galaxies)
    # For the speed it does not matter what a network of this size has learnt.
    untrained = make_classifier(images[:64], encoder='random', strategy='linear')
    speedups = compare_speed(untrained, images, options.turns)
    for views, speedup in speedups.items():
        verdict = 'met' if speedup >= LEAST_SPEEDUP else 'MISSED'
        print(f'int8 / float32, views={views}: {speedup:.2f} (at least {LEAST_SPEEDUP}: {verdict})')
    if not options.folder:
        return
    cutouts = ImageFiles(folder=options.folder).fetch(Table.read(options.folder / 'kaggle4.csv'))
    accuracy = compare_accuracy(cutouts, options.folds, **parameters)
    print(', '.join(f'{name} {value:.2f} %' for name, value in accuracy.items()))
    loss = accuracy['float32'] - accuracy['int8']
    verdict = 'met' if loss <= LARGEST_LOSS else 'MISSED'
    print(f'int8 loses {loss:.2f} points (at most {LARGEST_LOSS}: {verdict})')


if __name__ == '__main__':
    main()
