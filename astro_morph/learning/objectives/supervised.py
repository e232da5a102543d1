# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Classification of labelled galaxies: encoder and head learn together."""

import torch
from torch import nn
from torch.nn import functional

from astro_morph.models.networks import stage_features

__all__ = ['Supervised']


class Supervised(nn.Module):
    """
    Cross-entropy of the labels of random views.

    The labels are smoothed, because volunteers err (Szegedy et al. 2016, arXiv:1512.00567,
    section 7).

    Parameters
    ----------
    encoder, head : `torch.nn.Module`
        Images to features, and features to logits.
    views : RandomViews or FluxViews
        Draws the views.
    target : `torch.Tensor`, shape (n, n_classes)
        Probability of each class, for each row of the training images.
    weight : `torch.Tensor`, shape (n,)
        Weight of each row, of mean 1.
    stages : tuple of int, optional
        Stages of the encoder whose scatter the head sees too, see
        `~astro_morph.models.networks.stage_features`; by default it sees what the encoder gives.
    label_smoothing : float, optional
        Share of the probability that a label leaves to all classes alike.
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

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            What views are drawn from.
        rows : `torch.Tensor` of int, shape (n,)
            Which training rows they are.
        generator : `torch.Generator`
            Source of randomness.
        progress : float
            Share of the training that is done; not used.

        Returns
        -------
        loss, accuracy : `torch.Tensor`
            Mean weighted cross-entropy, and share of right classes.
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
