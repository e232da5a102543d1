# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MoCo v3, without a queue: recognise a view of a galaxy among the others of its batch."""

import copy

import torch
from torch import nn
from torch.nn import functional

from astro_morph.learning.objectives.momentum import follow, momentum_at
from astro_morph.learning.training import processes

__all__ = ['MoCoV3']

# Widths of the hidden layer and the output of projection and prediction head, as in the paper.
N_HIDDEN = 4096
N_OUT = 256


class MoCoV3(nn.Module):
    r"""
    Momentum Contrast, version 3, as for a ResNet.

    After Chen, Xie & He (2021, arXiv:2104.02057). A query :math:`q`, the view of a galaxy after
    encoder, projection and prediction head, has to recognise its key :math:`k_+`, another view of
    the same galaxy encoded by the momentum encoder, among the keys of the whole batch:

    .. math::

        L = -2 T \log \frac{\exp(q \cdot k_+ / T)}{\sum_i \exp(q \cdot k_i / T)}

    Each view is query and key in turn, and the two losses are added.

    Parameters
    ----------
    encoder : `torch.nn.Module`
        Network to train, with an attribute ``n_features``.
    views : RandomViews or FluxViews
        Draws the views.
    temperature : float, default=0.2
        The temperature T.
    momentum : float, default=0.99
        Fraction of its old weights that the momentum encoder keeps in the first step; it rises to 1
        along a half cosine.
    """

    def __init__(self, encoder, views, *, temperature=0.2, momentum=0.99):
        super().__init__()
        self.views = views
        self.temperature = temperature
        self.momentum = momentum
        projection = [*_perceptron(encoder.n_features), nn.BatchNorm1d(N_OUT, affine=False)]
        self.query_encoder = nn.Sequential(encoder, nn.Sequential(*projection))
        self.key_encoder = copy.deepcopy(self.query_encoder).requires_grad_(False)
        self.predictor = nn.Sequential(*_perceptron(N_OUT))

    @property
    def encoder(self):
        """The network that is kept; projection and prediction head are discarded."""
        return self.query_encoder[0]

    def forward(self, images, rows, generator, progress):
        """
        Draw two views of each image, compare them, and update the momentum encoder.

        The arguments are those of all objectives, see `astro_morph.learning.objectives`.

        Returns
        -------
        loss : `torch.Tensor`
            Mean of L over the batch, summed over both directions.
        accuracy : `torch.Tensor`
            Fraction of queries that are closest to their own key.
        """
        first, second = (self.views(images, generator) for _ in range(2))
        follow(self.key_encoder, self.query_encoder, momentum_at(progress, self.momentum))
        terms = [self._contrast(first, second), self._contrast(second, first)]
        losses, accuracies = zip(*terms, strict=True)
        return sum(losses), sum(accuracies) / 2

    def _contrast(self, query_view, key_view):
        queries = functional.normalize(self.predictor(self.query_encoder(query_view)).float())
        with torch.no_grad():
            keys = functional.normalize(self.key_encoder(key_view).float())
        # The keys are those of all processes: logits (n, n of all processes).
        logits = queries @ processes.gather(keys).T / self.temperature
        own = processes.rank() * len(keys)
        target = torch.arange(own, own + len(keys), device=logits.device)
        loss = 2 * self.temperature * functional.cross_entropy(logits, target)
        return loss, (logits.argmax(1) == target).float().mean()


def _perceptron(n_in):
    # Without biases, as in the authors' code: batch norm would cancel most of them.
    return [
        nn.Linear(n_in, N_HIDDEN, bias=False),
        nn.BatchNorm1d(N_HIDDEN),
        nn.ReLU(),
        nn.Linear(N_HIDDEN, N_OUT, bias=False),
    ]
