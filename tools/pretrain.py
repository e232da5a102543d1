# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Pretrain a bundled encoder on pictures of many surveys, without labels or with those there are.

FOLDER has the folders ``galaxies`` and ``skies``. The training starts from an encoder that knows
SDSS, and continues from its checkpoint where it was interrupted.

    python tools/pretrain.py FOLDER skies-moco-resnet18.pt --checkpoint moco.ckpt
    python tools/pretrain.py FOLDER skies-hybrid-resnet18.pt --labels --start skies-moco-resnet18.pt
"""

import argparse
import os
from pathlib import Path

import torch
from astropy.table import Table
from training_data import read_all, read_answers

import astro_morph
from astro_morph import MorphologyEncoder
from astro_morph.learning.fitting import seeded
from astro_morph.learning.objectives import Answers, MoCo
from astro_morph.learning.training.devices import choose_device
from astro_morph.learning.training.loop import sgd, train
from astro_morph.learning.training.views import MANY_SKIES, RandomViews
from astro_morph.models.torch_model import TorchModel

START = 'sdss-moco-resnet18'

# Users' pictures have 64 pixels.
SIZE = 64

BATCH_SIZE = 256
LEARNING_RATE = 0.06

# Twice that of one survey, as only keys of the query's survey are its negatives.
QUEUE_SIZE = 8192

# A checkpoint is resumed only with the same number of passes; the time ends the training.
MOST_PASSES = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='folder of the folders galaxies and skies')
    parser.add_argument('output', type=Path, help='file of the encoder')
    parser.add_argument('--labels', action='store_true', help='also learn classes and votes')
    parser.add_argument(
        '--start', default=START, help='bundled encoder, or file of one (default: %(default)s)'
    )
    parser.add_argument(
        '--minutes', type=float, default=600, help='time of the training (default: %(default)s)'
    )
    parser.add_argument('--checkpoint', type=Path, help='file to resume from')
    parser.add_argument(
        '--exclude',
        type=Path,
        help='table whose column image names pictures to leave out, such as those of galaxies that '
        'encoders are tested on',
    )
    options = parser.parse_args()

    exclude = Table.read(options.exclude)['image'] if options.exclude else ()
    pictures = read_all(options.folder, exclude=exclude)
    print(f'{len(pictures.images)} pictures a pass')
    load = (
        MorphologyEncoder.load
        if os.path.exists(options.start)
        else MorphologyEncoder.from_pretrained
    )
    start = load(options.start, verbose=0).model_
    encoder = start.network.encoder.requires_grad_(True)
    with seeded(0):
        answers = None
        if options.labels:
            fractions, n_answers = read_answers(options.folder, pictures.files)
            answers = Answers(encoder.n_features, torch.from_numpy(fractions), n_answers=n_answers)
        pretrain(encoder, pictures, answers, options)
    model = TorchModel(start.spec, start.network).stamped(astro_morph.__version__)
    model.save(options.output, compact=True, overwrite=True)


def pretrain(encoder, pictures, answers, options):
    device = choose_device()
    objective = MoCo(
        encoder,
        RandomViews(SIZE, **MANY_SKIES),
        queue_size=QUEUE_SIZE,
        surveys=torch.from_numpy(pictures.surveys),
        answers=answers,
    ).to(device, memory_format=torch.channels_last)
    train(
        objective,
        pictures.images,
        sgd(objective, learning_rate=LEARNING_RATE),
        epochs=MOST_PASSES,
        batch_size=BATCH_SIZE,
        device=device,
        random_state=0,
        max_time=60 * options.minutes,
        checkpoint=options.checkpoint,
        callback=lambda record: print(record, flush=True),
        description='pretraining',
    )


if __name__ == '__main__':
    main()
