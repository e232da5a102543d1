# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pretrain the bundled encoder on unlabelled pictures, from scratch or from a checkpoint."""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from astropy.table import Table, vstack

import astro_morph
from astro_morph.cutouts import ImageFiles
from astro_morph.learning.fitting import seeded
from astro_morph.learning.objectives import MoCo
from astro_morph.learning.training.batches import training_images
from astro_morph.learning.training.devices import choose_device
from astro_morph.learning.training.loop import sgd, train
from astro_morph.learning.training.views import CONTRAST, RandomViews
from astro_morph.models.building import FEATURE_STAGES, measure_stretch
from astro_morph.models.networks import SQUARE_SYMMETRIES
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import TorchModel, build_network

TABLES = ('pool.csv', 'gz1.csv', 'gz2_votes.csv')

# Users' pictures have 64 pixels. Views of this size are drawn from the central 96 pixels, so that
# no view has a corner without sky.
SIZE = 64
IMAGE_SIZE = 96

BATCH_SIZE = 256
QUEUE_SIZE = 3072


class Stage(NamedTuple):
    """A part of the training: side that views are enlarged to, epochs and learning rate."""

    view_size: int
    epochs: int
    learning_rate: float


# Enlarged views show spiral arms better, but take more than twice the time, so they come last.
STAGES = (Stage(64, epochs=68, learning_rate=0.12), Stage(96, epochs=28, learning_rate=0.06))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of the tables and their pictures')
    parser.add_argument('output', type=Path, help='file of the encoder')
    parser.add_argument(
        '--checkpoint', type=Path, help='checkpoint to resume from, one for each stage'
    )
    parser.add_argument(
        '--start', type=Path, help='encoder to start from; only the last stage is trained'
    )
    parser.add_argument(
        '--exclude',
        type=Path,
        help='table whose column image names pictures to leave out, such as those of galaxies that '
        'encoders are tested on',
    )
    options = parser.parse_args()

    pictures = vstack([Table.read(options.folder / name)['image',] for name in TABLES])
    if options.exclude:
        pictures = pictures[~np.isin(pictures['image'], Table.read(options.exclude)['image'])]
    source = ImageFiles(folder=options.folder)
    spec = ModelSpec(
        bands=('red', 'green', 'blue'),
        size=SIZE,
        input_size=STAGES[-1].view_size,
        kind='picture',
        views=SQUARE_SYMMETRIES,
        stages=FEATURE_STAGES,
    )
    with seeded(0):
        network = build_network(spec)
        network.stretch = measure_stretch(source.fetch(pictures, size=SIZE))
        if options.start:
            start = TorchModel.load(options.start).network
            network.encoder.load_state_dict(start.encoder.state_dict())
        images = training_images(network, source.fetch(pictures, size=IMAGE_SIZE))
        for stage in STAGES[-1:] if options.start else STAGES:
            pretrain(network.encoder, images, stage, checkpoint=options.checkpoint)
    model = TorchModel(spec, network).stamped(astro_morph.__version__)
    model.save(options.output, compact=True, overwrite=True)


def pretrain(encoder, images, stage, *, checkpoint):
    device = choose_device()
    objective = MoCo(
        encoder,
        RandomViews(stage.view_size, field=SIZE, **CONTRAST),
        queue_size=QUEUE_SIZE,
    ).to(device, memory_format=torch.channels_last)
    train(
        objective,
        images,
        sgd(objective, learning_rate=stage.learning_rate),
        epochs=stage.epochs,
        batch_size=BATCH_SIZE,
        device=device,
        random_state=0,
        checkpoint=checkpoint and checkpoint.with_suffix(f'.{stage.view_size}'),
        callback=lambda record: print(record, flush=True),
        description=f'pretraining at {stage.view_size} pixels',
    )


if __name__ == '__main__':
    main()
