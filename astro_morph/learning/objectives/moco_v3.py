# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Momentum Contrast without a queue: a view is told from the other galaxies of its batch."""

import copy

import torch
from torch import nn
from torch.nn import functional

from astro_morph.learning.objectives.momentum import follow, momentum_at
from astro_morph.learning.training import processes as parallel

__all__ = ['MoCoV3']

# Widths of the hidden layer and of the output of projection and prediction, those of the paper.
N_HIDDEN = 4096
N_OUT = 256


class MoCoV3(nn.Module):
    r"""
    Momentum Contrast, version 3, as for a ResNet.

    After Chen, Xie & He (2021, arXiv:2104.02057). A query :math:`q`, the encoded, projected and
    predicted view of a galaxy, is to recognise its key :math:`k_+`, another view of the same
    galaxy seen by a slowly following encoder, among the keys of the whole batch:

    .. math::

        L = -2 T \log \frac{\exp(q \cdot k_+ / T)}{\sum_i \exp(q \cdot k_i / T)}

    Each view is query and key in turn, and the two losses are added.

    Parameters
    ----------
    encoder : `torch.nn.Module`
        Network to train, with an attribute ``n_features``.
    views : RandomViews or FluxViews
        Draws the views.
    temperature : float, optional
        The temperature T.
    momentum : float, optional
        Share of the old weights that the momentum encoder keeps at a step, at the start; it
        rises to 1 along a half cosine.
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
        """The network that is kept; projection and prediction are thrown away."""
        return self.query_encoder[0]

    def forward(self, images, rows, generator, progress):
        """
        Draw two views of each image, compare them, and move the momentum encoder on.

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            What views are drawn from.
        rows : `torch.Tensor` of int, shape (n,)
            Which galaxies they are; not used.
        generator : `torch.Generator`
            Source of randomness.
        progress : float
            Share of the training that is done, from 0 to 1.

        Returns
        -------
        loss : `torch.Tensor`
            Mean of L over the batch, added for both directions.
        accuracy : `torch.Tensor`
            Share of queries that are closest to their own key.
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
        # Those of all processes.
        logits = queries @ parallel.gather(keys).T / self.temperature
        own = parallel.rank() * len(keys)
        target = torch.arange(own, own + len(keys), device=logits.device)
        loss = 2 * self.temperature * functional.cross_entropy(logits, target)
        return loss, (logits.argmax(1) == target).float().mean()


def _perceptron(n_in):
    # Without biases: the batch norm behind each, or the normalisation of the keys, replaces them.
    return [
        nn.Linear(n_in, N_HIDDEN, bias=False),
        nn.BatchNorm1d(N_HIDDEN),
        nn.ReLU(),
        nn.Linear(N_HIDDEN, N_OUT, bias=False),
    ]
