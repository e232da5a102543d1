# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Random views a second of one core of the CPU, beside lightly's transform for MoCo v2.

The galaxies are simulated, and the same for all. lightly takes them as colour pictures, one after
another, as a worker of a data loader does, and crops, flips, blurs and colours them. We take them
in batches: their pictures; and their flux, with dust, seeing and noise. All views hang together as
one batch at the end. Each side has its turn in each round, so that a busy machine slows all alike.

It needs lightly, which the package does not: pip install --no-deps lightly lightning-utilities

    python benchmarks/augmentation.py
"""

import argparse
import time

import numpy as np
import torch
from lightly.transforms import MoCoV2Transform
from PIL import Image

from astro_morph import CutoutSet, plotting
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.learning.training.batches import Batches, training_images
from astro_morph.learning.training.views import CONTRAST, FluxViews, RandomViews, training_views
from astro_morph.models.building import build_model
from astro_morph.simulation import SimulatedSurvey

N_GALAXIES = 256
ROUNDS = 9
GOAL = 2


def lightly_transform(pictures, size):
    """Make what gives a batch of views with lightly; its transform draws two of each image."""
    transform = MoCoV2Transform(input_size=size)
    pictures = [Image.fromarray(picture) for picture in pictures]

    def draw():
        return torch.stack([view for picture in pictures for view in transform(picture)])

    return draw


def our_views(cutouts, size, survey=None):
    """Make what gives two views of each image, with the network's stretch where it is flux."""
    model = build_model(cutouts, cutouts, architecture='resnet18', views=1, stages=())
    spec, network = model.spec, model.network
    images = Batches(training_images(network, cutouts), torch.device('cpu'))
    views = training_views(network, spec, CONTRAST, survey=survey)
    if isinstance(views, FluxViews):
        views = FluxViews(views.conditions, views.stretch, sized(views.views, size))
    else:
        views = sized(views, size)
    generator = torch.Generator().manual_seed(0)

    def draw():
        batch = images.take(torch.arange(N_GALAXIES))
        return torch.cat([views(batch, generator) for _ in range(2)])

    return draw


def sized(views, size):
    return RandomViews(**vars(views) | {'size': size})


def seconds(draw):
    start = time.process_time()
    views = draw()
    elapsed = time.process_time() - start
    assert len(views) == 2 * N_GALAXIES
    return elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--sizes', type=int, nargs='+', default=[64, 96], help='sides of the views')
    options = parser.parse_args()

    torch.set_num_threads(1)
    sky = SimulatedSurvey(n_galaxies=N_GALAXIES)
    cutouts = sky.fetch(sky.catalogue, size=64)
    rgb = plotting.rgb(cutouts.images)
    pictures = CutoutSet(rgb.transpose(0, 3, 1, 2), bands=PICTURE_BANDS, kind='picture')
    print(f'{cutouts}, views a second of one core, median of {ROUNDS} rounds')
    for size in options.sizes:
        sides = {
            'lightly MoCo v2, pictures': lightly_transform(rgb, size),
            'astro_morph, pictures': our_views(pictures, size),
            'astro_morph, flux with all physics': our_views(cutouts, size, sky.survey),
        }
        for draw in sides.values():
            draw()
        times = np.array([[seconds(draw) for draw in sides.values()] for _ in range(ROUNDS)])
        print(f'\nviews of {size} x {size} pixels')
        for name, spent in zip(sides, times.T, strict=True):
            speed = 2 * N_GALAXIES / np.median(spent)
            ratio = np.median(times[:, 0] / spent)
            print(f'  {name:36s}{speed:8.0f} a second{ratio:7.1f} times lightly')
        worst = np.median(times[:, 0] / times[:, -1])
        print(f'  goal: {GOAL} times, {"reached" if worst >= GOAL else "missed"}')


if __name__ == '__main__':
    main()
