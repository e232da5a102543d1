# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Supervised training: encoder and head learn classes or numbers together."""

import math

import torch
from torch import nn
from torch.nn import functional

from astro_morph.models.networks import stage_features

__all__ = ['Supervised', 'cross_entropy', 'number_loss']

# Error of a number, in standard deviations, within which a training counts it as right.
RIGHT_WITHIN = 0.5


def cross_entropy(logits, target, *, label_smoothing=0.1):
    """
    Compare logits with the probabilities of classes.

    The labels are smoothed, because some are wrong (Szegedy et al. 2016, arXiv:1512.00567,
    section 7).

    Parameters
    ----------
    logits, target : `torch.Tensor`, shape (n, n_classes)
        The logits, and the probability of each class.
    label_smoothing : float, default=0.1
        Fraction of the probability of a label that is spread evenly over all classes.

    Returns
    -------
    losses : `torch.Tensor`, shape (n,)
        Cross-entropies.
    accuracy : `torch.Tensor`
        Fraction of correct classes.
    """
    losses = functional.cross_entropy(
        logits, target, label_smoothing=label_smoothing, reduction='none'
    )
    return losses, (logits.argmax(1) == target.argmax(1)).float().mean()


def number_loss(outputs, target):
    r"""
    Compare predicted numbers and their scales with the true numbers.

    The loss of a number :math:`y` is that of Huber for the prediction :math:`\mu`, and the negative
    log-likelihood of a Laplace distribution for its scale :math:`b`:
    :math:`H(y - \mu) + \ln b + |y - \mu| / b`. The scale does not change the gradient of the
    prediction: otherwise numbers that are badly predicted at first would hardly be learnt
    (Seitzer et al. 2022, arXiv:2203.09168). Beyond :math:`e` scales, :math:`|y - \mu| / b` is
    replaced by its tangent in :math:`\ln b`: a scale that is much too small has a bounded gradient
    then. Without it, a training on equal numbers diverges.

    Parameters
    ----------
    outputs : `torch.Tensor`, shape (n, 2 k)
        The k predictions of each galaxy, then the logarithms of their scales.
    target : `torch.Tensor`, shape (n, k)
        The numbers, in standard deviations; NaN where unknown.

    Returns
    -------
    losses : `torch.Tensor`, shape (n,)
        Mean over the known numbers of each galaxy.
    accuracy : `torch.Tensor`
        Fraction of the known numbers with an error of less than half a standard deviation.
    """
    predicted, log_scale = outputs.chunk(2, dim=1)
    is_known = target.isfinite()
    # A gradient would be NaN even where a loss of NaN has no weight.
    target = torch.where(is_known, target, predicted.detach())
    errors = (target - predicted).detach().abs()
    losses = functional.huber_loss(predicted, target, reduction='none')
    log_ratio = errors.log() - log_scale
    beyond = (log_ratio - 1).clamp(min=0)
    losses = losses + log_scale + log_ratio.clamp(max=1).exp() + math.e * beyond
    n_known = is_known.sum(1).clamp(min=1)
    is_right = (errors < RIGHT_WITHIN) & is_known
    accuracy = is_right.sum() / is_known.sum().clamp(min=1)
    return (losses * is_known).sum(1) / n_known, accuracy


class Supervised(nn.Module):
    """
    Comparison of the outputs for random views with the labels.

    Parameters
    ----------
    encoder, head : `torch.nn.Module`
        Map images to features, and features to logits.
    views : RandomViews or FluxViews
        Draws the views.
    target : `torch.Tensor`, shape (n, n_targets)
        Target of each row of the training images: the probability of each class, or numbers.
    weight : `torch.Tensor`, shape (n,)
        Weight of each row, with a mean of 1.
    stages : tuple of int, default=()
        Stages of the encoder whose scatter is part of the features, see
        `~astro_morph.models.networks.stage_features`; by default the features are the output of
        the encoder.
    compare : callable, default=cross_entropy
        Returns the losses of outputs and targets, and an accuracy: ``cross_entropy`` for classes,
        ``number_loss`` for numbers.
    """

    def __init__(self, encoder, head, views, *, target, weight, stages=(), compare=cross_entropy):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.views = views
        self.stages = stages
        self.compare = compare
        self.register_buffer('target', target)
        self.register_buffer('weight', weight)

    def forward(self, images, rows, generator, progress):
        """
        Compare the outputs for a view of each image with its label.

        The arguments are those of all objectives, see `astro_morph.learning.objectives`.

        Returns
        -------
        loss, accuracy : `torch.Tensor`
            Mean weighted loss, and the accuracy.
        """
        views = self.views(images, generator)
        features = (
            stage_features(self.encoder, views, self.stages) if self.stages else self.encoder(views)
        )
        losses, accuracy = self.compare(self.head(features).float(), self.target[rows])
        return torch.mean(losses * self.weight[rows]), accuracy
