# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pretrain the bundled encoder on unlabelled pictures, from scratch, or from where it stopped."""

import argparse
from pathlib import Path

import torch
from astropy.table import Table, vstack

import astro_morph
from astro_morph.augmentation import CONTRAST, SQUARE_SYMMETRIES, RandomViews
from astro_morph.cutouts import ImageFiles
from astro_morph.encoder import LEARNING_RATE
from astro_morph.fitting import seeded, training_images
from astro_morph.model import TorchModel, build_network
from astro_morph.prediction import ModelSpec
from astro_morph.pretraining import MoCo
from astro_morph.training import choose_device, sgd, train

TABLES = ('pool.csv', 'gz1.csv', 'gz2_votes.csv')

# Views of 64 pixels are drawn from the central 96, so that no view has a corner without sky.
VIEW_SIZE = 64
IMAGE_SIZE = 96

BATCH_SIZE = 256
QUEUE_SIZE = 3072


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of the tables and their pictures')
    parser.add_argument('output', type=Path, help='file of the encoder')
    parser.add_argument('--epochs', type=int, default=90)
    parser.add_argument('--checkpoint', type=Path, help='file to go on from, written each epoch')
    options = parser.parse_args()

    pictures = vstack([Table.read(options.folder / name)['image',] for name in TABLES])
    cutouts = ImageFiles(folder=options.folder).fetch(pictures, size=IMAGE_SIZE)
    device = choose_device()
    spec = ModelSpec(
        bands=('red', 'green', 'blue'), size=VIEW_SIZE, kind='picture', views=SQUARE_SYMMETRIES
    )
    with seeded(0):
        network = build_network(spec)
        images = training_images(network, cutouts)
        objective = MoCo(
            network.encoder,
            RandomViews(VIEW_SIZE, **CONTRAST),
            queue_size=QUEUE_SIZE,
        ).to(device, memory_format=torch.channels_last)
        train(
            objective,
            images,
            sgd(objective, learning_rate=LEARNING_RATE),
            epochs=options.epochs,
            batch_size=BATCH_SIZE,
            device=device,
            random_state=0,
            checkpoint=options.checkpoint,
            callback=print,
            description='pretraining',
        )
    model = TorchModel(spec, network).stamped(astro_morph.__version__)
    # Half precision halves the file, and changes no feature by more than its own noise.
    model.save(options.output, dtype=torch.float16)


if __name__ == '__main__':
    main()
