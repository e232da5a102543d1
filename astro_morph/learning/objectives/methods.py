# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""List the pretraining methods by name, with their views and objectives: add a new one here."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import one_hot

from astro_morph.learning.labels import encode_labels
from astro_morph.learning.objectives.autoencoder import AutoEncoder
from astro_morph.learning.objectives.moco import MoCo
from astro_morph.learning.objectives.moco_v3 import MoCoV3
from astro_morph.learning.objectives.supervised import Supervised
from astro_morph.learning.training.views import CLASSIFICATION, CONTRAST

__all__ = ['METHODS']


class Method(NamedTuple):
    """Recipe of the views, see `training_views`, and the function that builds the objective."""

    views: dict
    build: Callable


# Each builder takes the encoder, the object that draws views, and as keywords ``spec``, ``labels``
# (of the images, or None), ``queue_size`` and ``contrast`` (temperature and momentum).


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


#: Pretraining methods by the name that `~astro_morph.MorphologyEncoder` takes.
METHODS = {
    'moco': Method(CONTRAST, _moco),
    'moco-v3': Method(CONTRAST, _moco_v3),
    'autoencoder': Method(CLASSIFICATION, _autoencoder),
    'supervised': Method(CLASSIFICATION, _supervised),
}
