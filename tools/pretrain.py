# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Pretrain a bundled encoder on pictures of many surveys, by their labels, by contrast, or by both.

FOLDER has the folders ``galaxies`` and ``skies``. The training starts from an encoder that knows
SDSS, and continues from its checkpoint where it was interrupted.

    python tools/pretrain.py FOLDER skies-resnet18.pt --checkpoint skies.ckpt
    python tools/pretrain.py FOLDER skies-moco-resnet18.pt --learn contrast --minutes 600
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import torch
from astropy.table import Table
from torch import nn
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

# Twice that of one survey, as only keys of the query's survey are its negatives.
QUEUE_SIZE = 8192

# A checkpoint is resumed only with the same number of passes; the time ends the training.
MOST_PASSES = 1000

# Answers are about colour and shape, which gentler views than those of the contrast keep.
SAME_ANSWERS = {
    'zoom': (0.75, 2.0),
    'shift': 4.0,
    'common_gain': 0.3,
    'band_gain': 0.1,
    'stretch': 0.15,
    'swap': 0.1,
    'grey': 0.15,
    'seeing': 1.0,
    'noise': 0.05,
}


class Settings(NamedTuple):
    """How an objective is trained: batches, and the peak of the learning rate."""

    batch_size: int
    learning_rate: float


SETTINGS = {
    'answers': Settings(batch_size=128, learning_rate=0.03),
    'contrast': Settings(batch_size=256, learning_rate=0.06),
    'both': Settings(batch_size=256, learning_rate=0.06),
}


class AnswersOfViews(nn.Module):
    """An objective that predicts the answers of people from one view of each galaxy."""

    def __init__(self, encoder, views, answers):
        super().__init__()
        self.encoder, self.views, self.answers = encoder, views, answers

    def forward(self, images, rows, generator, progress):
        loss = self.answers(self.encoder(self.views(images, generator)), rows)
        return loss, -loss.detach()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', type=Path, help='folder of the folders galaxies and skies')
    parser.add_argument('output', type=Path, help='file of the encoder')
    parser.add_argument(
        '--learn',
        choices=SETTINGS,
        default='answers',
        help='classes and votes, contrast of views, or both (default: %(default)s)',
    )
    parser.add_argument(
        '--start', default=START, help='bundled encoder, or file of one (default: %(default)s)'
    )
    parser.add_argument(
        '--minutes', type=float, default=140, help='time of the training (default: %(default)s)'
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
    fractions, n_answers = read_answers(options.folder, pictures.files)
    if options.learn == 'answers':
        is_shown = fractions.any(axis=1)
        pictures, fractions = pictures.of_rows(is_shown), fractions[is_shown]
    print(f'{len(pictures.images)} pictures a pass')

    start = load(options.start)
    encoder = start.network.encoder.requires_grad_(True)
    with seeded(0):
        answers = Answers(encoder.n_features, torch.from_numpy(fractions), n_answers=n_answers)
        objective = make_objective(options.learn, encoder, pictures.surveys, answers)
        pretrain(objective, pictures.images, options)
    model = TorchModel(start.spec, start.network).stamped(astro_morph.__version__)
    model.save(options.output, compact=True, overwrite=True)


def load(encoder):
    if os.path.exists(encoder):
        return MorphologyEncoder.load(encoder, verbose=0).model_
    return MorphologyEncoder.from_pretrained(encoder, verbose=0).model_


def make_objective(learn, encoder, surveys, answers):
    if learn == 'answers':
        return AnswersOfViews(encoder, RandomViews(SIZE, **SAME_ANSWERS), answers)
    return MoCo(
        encoder,
        RandomViews(SIZE, **MANY_SKIES),
        queue_size=QUEUE_SIZE,
        surveys=torch.from_numpy(surveys),
        answers=answers if learn == 'both' else None,
    )


def pretrain(objective, images, options):
    device = choose_device()
    objective.to(device, memory_format=torch.channels_last)
    batch_size, learning_rate = SETTINGS[options.learn]
    train(
        objective,
        images,
        sgd(objective, learning_rate=learning_rate),
        epochs=MOST_PASSES,
        batch_size=batch_size,
        device=device,
        random_state=0,
        max_time=60 * options.minutes,
        checkpoint=options.checkpoint,
        callback=lambda record: print(record, flush=True),
        description='pretraining',
    )


if __name__ == '__main__':
    main()
