# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Size and speed of the architectures of published encoders, with random weights.

An image is encoded in one view, as often as a prediction has views. No weights are downloaded.

    python benchmarks/encoders.py
    python benchmarks/encoders.py --size 64 --architecture resnet18 \\
        --architecture timm:convnext_nano
"""

import argparse
import time

import numpy as np
import torch

from astro_morph.models.encoders.contracts import Contract
from astro_morph.models.spec import ModelSpec
from astro_morph.models.torch_model import TorchModel, build_network

ARCHITECTURES = (
    'resnet18',
    'resnet50',
    *(f'timm:convnext_{size}' for size in ('pico', 'nano', 'tiny', 'small', 'base')),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--architecture', action='append', help='an architecture to measure')
    parser.add_argument('--size', type=int, default=224, help='side of the input (default: 224)')
    parser.add_argument('--images', type=int, default=32, help='number of images (default: 32)')
    options = parser.parse_args()
    print(f'{options.images} images of {options.size} pixels, {torch.get_num_threads()} threads')
    print(f'{"architecture":24} {"weights":>10} {"features":>8} {"galaxies a second":>18}')
    for architecture in options.architecture or ARCHITECTURES:
        model = build(architecture, options.size)
        n_weights = sum(part.numel() for part in model.network.encoder.parameters())
        rate = measure(model, options.images)
        print(f'{architecture:24} {n_weights / 1e6:8.1f} M {model.n_features:8} {rate:18.1f}')


def build(architecture, size):
    """Return a model of pictures of one view."""
    contract = Contract(input_size=size)
    spec = ModelSpec(
        bands=contract.bands,
        size=size,
        input_size=size,
        kind='picture',
        architecture=architecture,
        views=1,
        contract=contract,
    )
    return TorchModel(spec, build_network(spec))


def measure(model, n_images):
    """Return the number of images that are encoded in a second."""
    images = np.zeros((n_images, 3, model.spec.size, model.spec.size), np.float32)
    model.run(images[:2])
    start = time.perf_counter()
    model.run(images)
    return n_images / (time.perf_counter() - start)


if __name__ == '__main__':
    main()
