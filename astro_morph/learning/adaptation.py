# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A model for the images of another survey, of which nobody has labelled any."""

import copy

import torch
from torch import nn

from astro_morph.cutouts import as_cutouts
from astro_morph.learning.fitting import usable
from astro_morph.models.building import measured_stretch
from astro_morph.models.running import BATCH_SIZE
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction.predict import prepare, request

__all__ = ['adapt']

# What a model has learnt of the scatter of its features weighs as much as so many galaxies
# (Schneider et al. 2020, arXiv:2006.16971, section 3).
PRIOR = 16


def adapt(model, X, *, source='auto'):
    """
    Fit what a model knows of brightness, noise and scatter to the images of another survey.

    The noise and the brightness of flux are measured anew; mean and standard deviation of each
    band of pictures are brought to those of the training pictures. Where encoder and head were
    trained together, the statistics of the batch norms are measured anew too (Li et al. 2016,
    arXiv:1603.04779). No weight is trained.

    Parameters
    ----------
    model : `~astro_morph.models.torch_model.TorchModel`
        The model; it stays as it is.
    X : object
        Samples of the other survey, as in `~astro_morph.cutouts.as_cutouts`.
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from.

    Returns
    -------
    adapted : `~astro_morph.models.torch_model.TorchModel`
        Another model.

    Raises
    ------
    ValueError
        If the model takes plain features, or does not know what its training pictures were like;
        or if no row has an image.
    """
    if not model.spec.bands:
        msg = (
            'only a model of images can be adapted, this one takes plain features; fit it on images'
        )
        raise ValueError(msg)
    cutouts = usable(prepare(model.spec, as_cutouts(X, **request(model.spec, source))))
    adapted = TorchModel(model.spec, copy.deepcopy(model.network), device=model.device)
    _match_brightness(adapted, cutouts)
    # The statistics of a frozen encoder are not those of the training images, and the head relies
    # on them.
    if not model.spec.frozen:
        _measure_scatter(adapted, cutouts)
    return adapted


def _match_brightness(model, cutouts):
    """Let the network see images as bright as those that it was trained on."""
    network, measured = model.network, measured_stretch(cutouts).to(model.device)
    if model.spec.kind == 'flux':
        network.stretch = measured
        return
    if network.stretch.mean.isnan().any():
        msg = (
            'this model was made by a version that did not keep what its training pictures were '
            'like; train it again to adapt it'
        )
        raise ValueError(msg)
    network.stretch.match(measured.mean, measured.std)


def _measure_scatter(model, cutouts):
    """Measure the statistics of the batch norms on other images."""
    norms = [part for part in model.network.encoder.modules() if isinstance(part, nn.BatchNorm2d)]
    learnt = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.no_grad():
        for start in range(0, len(cutouts), BATCH_SIZE):
            model.run(cutouts.images[start : start + BATCH_SIZE].astype('float32'))
    weight = PRIOR / (PRIOR + len(cutouts))
    for norm, (mean, variance) in zip(norms, learnt, strict=True):
        norm.running_mean.lerp_(mean, weight)
        norm.running_var.lerp_(variance, weight)
        norm.eval()
