# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an encoder has learnt so far, and whether it still learns at all."""

import math
import warnings

import numpy as np
import torch
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from sklearn.neighbors import NearestNeighbors

from astro_morph.catalog import read_labels
from astro_morph.learning.training.batches import Batches
from astro_morph.learning.training.loop import autocast
from astro_morph.learning.training.views import FluxViews, RandomViews

__all__ = ['Monitor', 'effective_rank', 'feature_scatter', 'neighbor_accuracy']

# Images that are looked at after an epoch: enough to see a collapse, and little work. Of few
# images only a share: to encode one takes a fourth of the time of learning from it.
WATCHED = 512
WATCHED_SHARE = 1 / 8
FEWEST_WATCHED = 32

# Labelled images among which neighbours are looked for.
PROBED = 1024

BATCH_SIZE = 256

# Features scatter by 0.1 to 0.5; by a tenth of this after a collapse.
LEAST_SCATTER = 0.02

# Above it, the most and the least similar key differ little in the loss.
MOST_TEMPERATURE = 5.0

REMEDY = 'use a lower learning rate, or a temperature between 0.05 and 0.5'


def feature_scatter(features):
    """
    Measure how far features are from being all the same.

    Parameters
    ----------
    features : `torch.Tensor`, shape (n, d)
        The features.

    Returns
    -------
    scatter : float
        Mean over the dimensions of the standard deviation of the features of length 1, times the
        root of d (Chen & He 2021, arXiv:2011.10566, section 4.1): 0 if all are the same, and 1 if
        they point in all directions alike.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.training.monitoring import feature_scatter
    >>> feature_scatter(torch.ones(5, 3))
    0.0
    """
    unit = torch.nn.functional.normalize(features.double())
    return (unit.std(0, correction=0).mean() * math.sqrt(features.shape[1])).item()


def effective_rank(features):
    r"""
    Measure how many dimensions features take up.

    The exponential of the entropy of the singular values, RankMe (Garrido et al. 2023,
    arXiv:2210.02885, equation 1): with :math:`p_i` the share of a singular value in their sum,

    .. math::

        \exp\left(-\sum_i p_i \log p_i\right)

    Parameters
    ----------
    features : `torch.Tensor`, shape (n, d)
        The features.

    Returns
    -------
    rank : float
        From 1 to the smaller of n and d; NaN if a feature is.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.training.monitoring import effective_rank
    >>> round(effective_rank(torch.eye(7)), 3)
    7.0
    """
    features = features.double().cpu()
    if not features.isfinite().all():
        return math.nan
    values = torch.linalg.svdvals(features)
    # Of features that are all zero, no dimension is left.
    share = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(share).sum().exp().item()


def neighbor_accuracy(features, labels):
    """
    Measure how often the most similar other galaxy has the same label.

    Parameters
    ----------
    features : array_like, shape (n, d)
        The features; similar are those with a small angle between them.
    labels : array_like, shape (n,)
        The labels.

    Returns
    -------
    accuracy : float
        Share of the galaxies.

    Examples
    --------
    >>> from astro_morph.learning.training.monitoring import neighbor_accuracy
    >>> neighbor_accuracy([[1, 0], [2, 0.1], [0, 1], [0, 3]], ['a', 'a', 'b', 'b'])
    1.0
    """
    index = NearestNeighbors(n_neighbors=1, metric='cosine').fit(np.asarray(features))
    nearest = index.kneighbors(return_distance=False)[:, 0]
    labels = np.asarray(labels)
    return float(np.mean(labels[nearest] == labels))


class Monitor:
    """
    Watch an encoder while it is trained, as the ``callback`` of the training loop.

    It adds to the record of an epoch ``feature_scatter`` and ``effective_rank`` of up to 512
    images, and every few epochs, if there are labels, ``neighbor_accuracy`` of up to 1024. It
    warns once if the training has failed.

    Parameters
    ----------
    objective : `torch.nn.Module`
        What is trained; has an ``encoder`` and ``views``.
    images : array_like, shape (n, band, y, x)
        What it is trained on, see `~astro_morph.learning.training.batches.Batches`.
    labels : array_like, shape (n,), optional
        Classes, which are looked at and not learnt; masked or empty ones are unknown.
    every : int, optional
        Epochs from one look at the neighbours to the next.
    """

    def __init__(self, objective, images, *, labels=None, every=5):
        self._objective = objective
        self._every = every
        self._has_warned = False
        device = next(objective.parameters()).device
        watched = _spread(np.arange(len(images)), _n_watched(len(images)))
        self._watched = _sample(images, watched, device)
        self._labels = ()
        if labels is not None:
            labels, is_labelled = read_labels(Table([labels], names=['label']), 'label')
            probed = _spread(np.flatnonzero(is_labelled), PROBED)
            self._probed, self._labels = _sample(images, probed, device), labels[probed]

    def __call__(self, record):
        """
        Add what there is to say of an epoch to its record.

        Parameters
        ----------
        record : dict
            The record, with ``epoch`` and ``loss``.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the loss is no number, the features are nearly all the same, or the temperature
            leaves nothing to learn.
        """
        features = self._encode(self._watched)
        record['feature_scatter'] = feature_scatter(features)
        record['effective_rank'] = effective_rank(features)
        is_due = (record['epoch'] - 1) % self._every == 0
        if is_due and len(self._labels) > 1 and features.isfinite().all():
            record['neighbor_accuracy'] = neighbor_accuracy(
                self._encode(self._probed), self._labels
            )
        trouble = _trouble(record, getattr(self._objective, 'temperature', 0.0))
        if trouble and not self._has_warned:
            self._has_warned = True
            warnings.warn(trouble, AstropyUserWarning, stacklevel=2)

    @torch.no_grad()
    def _encode(self, images):
        """Give the features of some images as they are, but for one random turn."""
        encoder, views = self._objective.encoder, _plain(self._objective.views)
        # The same turns each time.
        generator = torch.Generator(images.device).manual_seed(0)
        encoder.eval()
        with autocast(images.device):
            features = [
                encoder(views(images.take(rows), generator)).float()
                for rows in torch.arange(len(images)).split(BATCH_SIZE)
            ]
        encoder.train()
        return torch.cat(features).cpu()


def _n_watched(n):
    return min(n, max(FEWEST_WATCHED, min(WATCHED, int(WATCHED_SHARE * n))))


def _spread(rows, n):
    """Give at most n of the rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int)]


def _sample(images, rows, device):
    """Copy some rows to the device, not all at once: of a file, each brings a part along."""
    source, parts = Batches(images, torch.device('cpu')), torch.from_numpy(rows).split(BATCH_SIZE)
    return Batches(torch.cat([source.take(part) for part in parts]), device)


def _plain(views):
    """Give views without what hides a galaxy: no other conditions, zoom, shift, gain or noise."""
    if isinstance(views, FluxViews):
        plain = _plain(views.views)
        return lambda images, generator: plain(views.stretch(images), generator)
    return RandomViews(views.size, field=views.field) if isinstance(views, RandomViews) else views


def _trouble(record, temperature):
    """Say what is wrong and what helps, or nothing."""
    epoch, loss, scatter, rank = (
        record[name] for name in ('epoch', 'loss', 'feature_scatter', 'effective_rank')
    )
    if not all(map(math.isfinite, (loss, scatter, rank))):
        return f'the training has failed by epoch {epoch}: the loss is {loss}; {REMEDY}'
    if scatter < LEAST_SCATTER:
        return (
            f'the training has collapsed by epoch {epoch}: all galaxies have nearly the same '
            f'features (scatter {scatter:.2g}, effective rank {rank:.2g}); {REMEDY}, and see that '
            'the images are not all alike'
        )
    if temperature > MOST_TEMPERATURE:
        return (
            f'the training learns nothing: at a temperature of {temperature:g} all keys count '
            f'alike; {REMEDY}'
        )
    return ''
