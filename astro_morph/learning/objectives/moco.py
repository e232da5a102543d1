# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MoCo, Momentum Contrast: recognise a view of a galaxy among a queue of other galaxies."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional

from astro_morph.learning.objectives.momentum import follow, momentum_at
from astro_morph.learning.training.processes import broadcast, gather, share
from astro_morph.models.networks import projection_head

__all__ = ['MoCo', 'queue_size_for']

# He et al. (2020) find that accuracy saturates near 4096 keys on small data sets.
MAX_QUEUE_SIZE = 4096

# Keys are encoded in chunks of this many views, shuffled over all processes. Each chunk has its own
# batch statistics, so that they can't reveal which query a key belongs to (shuffled batch norm,
# He et al. 2020, section 3.3).
KEY_CHUNK = 64


def queue_size_for(n_samples, batch_size):
    """
    Choose the length of the queue: a queue longer than the data holds the query's own views.

    Parameters
    ----------
    n_samples, batch_size : int
        Numbers of galaxies in the data and in a batch.

    Returns
    -------
    queue_size : int
        The smaller of 4096 and n_samples / 4, rounded down to a multiple of the batch size; at
        least one batch.
    """
    n_batches = min(MAX_QUEUE_SIZE, n_samples // 4) // batch_size
    return max(1, n_batches) * batch_size


class MoCo(nn.Module):
    r"""
    Momentum Contrast, version 2.

    After He et al. (2020, arXiv:1911.05722) and Chen et al. (2020, arXiv:2003.04297). A query
    :math:`q`, the encoded view of a galaxy, has to recognise its key :math:`k_+`, another view of
    the same galaxy encoded by the momentum encoder, among the keys of other galaxies in a queue:

    .. math::

        L = -\log \frac{\exp(q \cdot k_+ / T)}{\exp(q \cdot k_+ / T) + \sum_i \exp(q \cdot k_i / T)}

    Keys of the query's own galaxy that are still in the queue are not negatives: they are left out
    by their row number.

    Parameters
    ----------
    encoder : `torch.nn.Module`
        Network to train, with an attribute ``n_features``.
    views : RandomViews or FluxViews
        Draws the views.
    queue_size : int
        Number of keys in the queue.
    temperature : float, default=0.1
        The temperature T.
    momentum : float, default=0.99
        Fraction of its old weights that the momentum encoder keeps in the first step; it rises to 1
        along a half cosine.
    symmetric : bool, default=False
        Whether each view is query and key in turn, which doubles the work per step.
    surveys : `torch.Tensor` of int, shape (n_images,), default=None
        Number of the survey of each training image. Only keys of the query's survey are negatives:
        otherwise the survey would be the easiest way to tell two galaxies apart. None is one
        survey.
    answers : `~astro_morph.learning.objectives.Answers`, default=None
        Loss of the labels that some of the galaxies have, which is added to L; None without.
    """

    def __init__(
        self,
        encoder,
        views,
        *,
        queue_size,
        temperature=0.1,
        momentum=0.99,
        symmetric=False,
        surveys=None,
        answers=None,
    ):
        super().__init__()
        self.views = views
        self.temperature = temperature
        self.momentum = momentum
        self.symmetric = symmetric
        self.answers = answers
        self.query_encoder = nn.Sequential(encoder, projection_head(encoder.n_features))
        self.key_encoder = copy.deepcopy(self.query_encoder).requires_grad_(False)
        n_out = self.query_encoder[1][-1].out_features
        self.register_buffer('queue', functional.normalize(torch.randn(queue_size, n_out)))
        self.register_buffer('queue_rows', torch.full((queue_size,), -1))
        self.register_buffer('surveys', surveys)

    @property
    def encoder(self):
        """The network that is kept; the projection is discarded."""
        return self.query_encoder[0]

    def forward(self, images, rows, generator, progress):
        """
        Draw two views of each image, compare them, and update queue and momentum encoder.

        The arguments are those of all objectives, see `astro_morph.learning.objectives`.

        Returns
        -------
        loss : `torch.Tensor`
            Mean of L over the batch, with that of the answers.
        accuracy : `torch.Tensor`
            Fraction of queries that are closest to their own key.
        """
        first, second = (self.views(images, generator) for _ in range(2))
        follow(self.key_encoder, self.query_encoder, momentum_at(progress, self.momentum))
        pairs = [(first, second), (second, first)] if self.symmetric else [(first, second)]
        terms = []
        for query_view, key_view in pairs:
            keys = self._encode_keys(key_view, generator)
            features = self.encoder(query_view)
            terms.append((self._logits(features, share(keys), rows), keys, features))
        all_rows = gather(rows)
        for _, keys, _ in terms:
            self._enqueue(keys, all_rows)
        logits = torch.cat([logits for logits, _, _ in terms])
        target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        loss = functional.cross_entropy(logits, target)
        if self.answers is not None:
            features = torch.cat([features for _, _, features in terms])
            loss = loss + self.answers(features, rows.repeat(len(terms)))
        return loss, (logits.argmax(1) == 0).float().mean()

    def _logits(self, features, keys, rows):
        projection = self.query_encoder[1]
        queries = functional.normalize(projection(features).float())  # (n, d)
        positive = (queries * keys).sum(1, keepdim=True)  # (n, 1)
        negative = queries @ self.queue.T  # (n, queue_size)
        negative = negative.masked_fill(~self._are_negatives(rows), -math.inf)
        return torch.cat([positive, negative], 1) / self.temperature

    def _are_negatives(self, rows):
        """Return which keys of the queue each query is told from, of shape (n, queue_size)."""
        are_negatives = self.queue_rows != rows[:, None]
        if self.surveys is None:
            return are_negatives
        # The random keys that fill the queue at first (row -1) are of no survey.
        queue_surveys = self.surveys[self.queue_rows].masked_fill(self.queue_rows < 0, -1)
        return are_negatives & (queue_surveys == self.surveys[rows][:, None])

    @torch.no_grad()
    def _encode_keys(self, views, generator):
        """Encode the views of all processes as keys, shape (n of all processes, d)."""
        views = gather(views)
        order = torch.randperm(len(views), generator=generator, device=views.device)
        order = broadcast(order)
        part = share(order)
        n_chunks = max(1, len(part) // KEY_CHUNK)
        keys = torch.cat([self.key_encoder(views[rows]) for rows in part.tensor_split(n_chunks)])
        return gather(functional.normalize(keys.float()))[order.argsort()]

    @torch.no_grad()
    def _enqueue(self, keys, rows):
        # A new tensor with the newest first, so that batches may differ in length.
        self.queue = torch.cat([keys, self.queue])[: len(self.queue)]
        self.queue_rows = torch.cat([rows, self.queue_rows])[: len(self.queue_rows)]
