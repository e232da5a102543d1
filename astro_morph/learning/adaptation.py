# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Adapt a model to the images of another survey, without labels."""

import copy
import dataclasses
import math
import warnings

import torch
from astropy.utils.exceptions import AstropyUserWarning
from torch import nn

from astro_morph.learning.fitting import usable
from astro_morph.models.building import known_brightness, known_extent, measure_stretch
from astro_morph.models.novelty import MOST_KNOWN, Novelty, fit_novelty
from astro_morph.models.running import BATCH_SIZE, run_batches
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction.framing import fetch_framed
from astro_morph.prediction.predict import prepare, request
from astro_morph.utils.messages import as_written

__all__ = ['adapt']

# The batch norm statistics of the training weigh as much as those of this many galaxies (Schneider
# et al. 2020, arXiv:2006.16971, section 3).
PRIOR = 16


def adapt(model, X, *, source='auto'):
    """
    Adapt the stretch and the batch norm statistics of a model to the images of another survey.

    For flux, noise and brightness are measured again. If encoder and head were trained together,
    the statistics of the batch norms are measured again too (Li et al. 2016, arXiv:1603.04779).
    For pictures, mean and standard deviation of each band are matched to those of the training
    pictures. No weights are trained.

    The new statistics are kept only if they bring the features of the images nearer to those of the
    training, by the median distance of `~astro_morph.models.novelty.Novelty`. Those of images that
    are already near, such as galaxies of a single class, would make the model worse.

    Novelty is measured anew: the p-values are those of galaxies unlike the ones adapted to, each of
    which is held out in turn, and no longer of galaxies unlike the ones of the training. With fewer
    than ten of them it is not known, and masked in the catalogue; with fewer than a hundred, no
    galaxy is flagged as novel.

    Parameters
    ----------
    model : `~astro_morph.models.torch_model.TorchModel`
        The model, which is not changed.
    X : object
        Samples of the other survey, as in `~astro_morph.cutouts.as_cutouts`.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Source of a catalogue's cutouts.

    Returns
    -------
    adapted : `~astro_morph.models.torch_model.TorchModel`
        The adapted copy. A warning tells if it keeps the statistics of the training.

    Raises
    ------
    ValueError
        If the model takes plain features, if it lacks the statistics of its training pictures, or
        if no row has an image.
    """
    if not model.spec.bands:
        msg = (
            'this model takes plain features, and only a model of images can be adapted; fit it to '
            'images'
        )
        raise ValueError(msg)
    cutouts = usable(prepare(model.spec, fetch_framed(X, **request(model.spec, source))))
    spec = dataclasses.replace(
        model.spec, brightness=known_brightness(cutouts), extent=known_extent(cutouts)
    )
    adapted = TorchModel(spec, copy.deepcopy(model.network), device=model.device)
    _match_brightness(adapted, cutouts)
    # A frozen encoder keeps its statistics: they are not those of the training images, and the head
    # relies on them. So do pictures: with new ones, the classifier of SDSS gets worse on DECaLS.
    if model.spec.kind == 'flux' and not model.spec.frozen and _find_norms(model):
        adapted = _bring_nearer(adapted, cutouts)
    if isinstance(model.network.novelty, Novelty):
        _measure_novelty(adapted, cutouts)
    return adapted


def _bring_nearer(model, cutouts):
    """Return a copy with new batch norm statistics, or the model if they bring nothing nearer."""
    changed = TorchModel(model.spec, copy.deepcopy(model.network), device=model.device)
    _measure_statistics(changed, cutouts)
    before, after = (_distance(m, cutouts) for m in (model, changed))
    # NaN, if the training galaxies were too few to know the distance.
    if not after >= before:
        return changed
    warnings.warn(
        f'{as_written("X")}: new statistics of the network do not bring these images nearer to '
        f'those of the training (median distance {before:.3f} before, {after:.3f} after), so only '
        'brightness and noise are adapted to; images of another survey need labels of their own',
        AstropyUserWarning,
        stacklevel=4,
    )
    return model


def _distance(model, cutouts):
    """Return the median distance of images from those of the training, NaN if not known."""
    novelty = model.network.novelty
    if not isinstance(novelty, Novelty) or len(novelty.known) == 0:
        return math.nan
    texture = run_batches(model.with_texture(), _some(cutouts))[2]
    return float(novelty.distance(torch.from_numpy(texture).to(model.device)).median())


def _some(cutouts):
    """Return at most as many cutouts as novelty compares with."""
    return cutouts[:: -(-len(cutouts) // MOST_KNOWN)]


def _match_brightness(model, cutouts):
    """Set the stretch so that the network sees images as bright as those it was trained on."""
    network, measured = model.network, measure_stretch(cutouts, model.spec).to(model.device)
    if model.spec.kind == 'flux':
        network.stretch = measured
        return
    if network.stretch.mean.isnan().any():
        msg = (
            'this model was written by a version that did not save the brightness of the training '
            'pictures; train it again to adapt it'
        )
        raise ValueError(msg)
    network.stretch.match(measured.mean, measured.std)


def _find_norms(model):
    """Return the batch norms of an encoder, of which some networks have none."""
    return [part for part in model.network.encoder.modules() if isinstance(part, nn.BatchNorm2d)]


def _measure_statistics(model, cutouts):
    """Measure mean and variance of the batch norms on other images."""
    norms = _find_norms(model)
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


def _measure_novelty(model, cutouts):
    """Fit the novelty to other images: their features are unlike those of the training."""
    texture = run_batches(model.with_texture(), _some(cutouts))[2]
    model.network.novelty = fit_novelty(texture, random_state=0).to(model.device)
