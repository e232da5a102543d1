# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The methods of pretraining by their names: the views they learn from, and their objectives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import one_hot

from astro_morph.learning.labels import encode_labels
from astro_morph.learning.objectives.autoencoder import AutoEncoder
from astro_morph.learning.objectives.moco import MoCo
from astro_morph.learning.objectives.moco_v3 import MoCoV3
from astro_morph.learning.objectives.supervised import Supervised
from astro_morph.learning.training.views import CLASSIFICATION, CONTRAST

__all__ = ['METHODS', 'Method']


@dataclass(frozen=True)
class Method:
    """
    A way to train an encoder.

    Parameters
    ----------
    views : dict
        Options of `~astro_morph.learning.training.views.RandomViews`.
    build : callable
        Takes the encoder, what draws the views, and, by keyword, ``spec`` (what the network
        takes), ``labels`` (of the images, or None), ``queue_size`` and ``contrast`` (options of the
        contrastive methods); gives the objective.
    """

    views: dict
    build: Callable


def _moco(encoder, views, *, queue_size, contrast, **_):
    return MoCo(encoder, views, queue_size=queue_size, **contrast)


def _moco_v3(encoder, views, *, contrast, **_):
    return MoCoV3(encoder, views, **contrast)


def _autoencoder(encoder, views, *, spec, **_):
    return AutoEncoder(encoder, views, n_bands=len(spec.bands), size=spec.input_size)


def _supervised(encoder, views, *, labels, **_):
    classes, target = encode_labels(labels.data)
    return Supervised(
        encoder,
        nn.Linear(encoder.n_features, len(classes)),
        views,
        target=one_hot(torch.from_numpy(target)).float(),
        weight=torch.ones(len(target)),
    )


METHODS = {
    'moco': Method(CONTRAST, _moco),
    'moco-v3': Method(CONTRAST, _moco_v3),
    'autoencoder': Method(CLASSIFICATION, _autoencoder),
    'supervised': Method(CLASSIFICATION, _supervised),
}
