# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Supervised training: encoder and head learn the labels together."""

import torch
from torch import nn
from torch.nn import functional

from astro_morph.models.networks import stage_features

__all__ = ['Supervised']


class Supervised(nn.Module):
    """
    Cross-entropy between the logits of random views and the labels.

    The labels are smoothed, because some are wrong (Szegedy et al. 2016, arXiv:1512.00567,
    section 7).

    Parameters
    ----------
    encoder, head : `torch.nn.Module`
        Map images to features, and features to logits.
    views : RandomViews or FluxViews
        Draws the views.
    target : `torch.Tensor`, shape (n, n_classes)
        Probability of each class, for each row of the training images.
    weight : `torch.Tensor`, shape (n,)
        Weight of each row, with a mean of 1.
    stages : tuple of int, default=()
        Stages of the encoder whose scatter is part of the features, see
        `~astro_morph.models.networks.stage_features`; by default the features are the output of
        the encoder.
    label_smoothing : float, default=0.1
        Fraction of the probability of a label that is spread evenly over all classes.
    """

    def __init__(self, encoder, head, views, *, target, weight, stages=(), label_smoothing=0.1):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.views = views
        self.stages = stages
        self.label_smoothing = label_smoothing
        self.register_buffer('target', target)
        self.register_buffer('weight', weight)

    def forward(self, images, rows, generator, progress):
        """
        Compare the logits of a view of each image with its label.

        The arguments are those of all objectives, see `astro_morph.learning.objectives`.

        Returns
        -------
        loss, accuracy : `torch.Tensor`
            Mean weighted cross-entropy, and fraction of correct classes.
        """
        views = self.views(images, generator)
        features = (
            stage_features(self.encoder, views, self.stages) if self.stages else self.encoder(views)
        )
        logits = self.head(features).float()
        target = self.target[rows]
        losses = functional.cross_entropy(
            logits, target, label_smoothing=self.label_smoothing, reduction='none'
        )
        accuracy = (logits.argmax(1) == target.argmax(1)).float().mean()
        return torch.mean(losses * self.weight[rows]), accuracy
