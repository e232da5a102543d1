# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Monitor a training: what the encoder has learnt so far, and whether it has collapsed."""

import math
import warnings

import numpy as np
import torch
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog import read_labels
from astro_morph.learning.neighbors import nearest
from astro_morph.learning.training.batches import Batches
from astro_morph.learning.training.devices import autocast
from astro_morph.learning.training.views import FluxViews, RandomViews

__all__ = ['Monitor', 'effective_rank', 'feature_scatter', 'neighbor_accuracy']

# Images encoded after each epoch: enough to detect a collapse, with little work. Of small sets only
# a fraction is taken, because encoding an image takes a quarter of the time of learning from it.
WATCHED = 512
WATCHED_FRACTION = 1 / 8
FEWEST_WATCHED = 32

# Labelled images among which neighbours are searched.
PROBED = 1024

# Images encoded at once.
BATCH_SIZE = 256

# The scatter of features is 0.1 to 0.5, and after a collapse a tenth of this limit.
LEAST_SCATTER = 0.02

# At higher temperatures, the most and the least similar key hardly differ in the loss.
MOST_TEMPERATURE = 5.0

REMEDY = 'use a lower learning rate, or a temperature between 0.05 and 0.5'


def feature_scatter(features):
    """
    Measure how far features are from being identical.

    Parameters
    ----------
    features : `torch.Tensor`, shape (n, d)
        The features.

    Returns
    -------
    scatter : float
        Standard deviation of the features scaled to length 1, averaged over the dimensions, times
        the square root of d (Chen & He 2021, arXiv:2011.10566, section 4.1): 0 if all features are
        identical, and 1 if they point in all directions equally.

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
    Measure how many dimensions features occupy.

    This is RankMe, the exponential of the entropy of the singular values (Garrido et al. 2023,
    arXiv:2210.02885, equation 1). With :math:`p_i` a singular value divided by the sum of all, it
    is

    .. math::

        \exp\left(-\sum_i p_i \log p_i\right)

    Parameters
    ----------
    features : `torch.Tensor`, shape (n, d)
        The features.

    Returns
    -------
    rank : float
        From 1 to the smaller of n and d; NaN if a feature is not finite.

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
    # Features may all be zero.
    fractions = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(fractions).sum().exp().item()


def neighbor_accuracy(features, labels):
    """
    Measure how often the most similar other galaxy has the same label.

    Parameters
    ----------
    features : array_like, shape (n, d)
        The features; the smaller the angle between them, the more similar the galaxies.
    labels : array_like, shape (n,)
        The labels.

    Returns
    -------
    accuracy : float
        Fraction of such galaxies.

    Examples
    --------
    >>> from astro_morph.learning.training.monitoring import neighbor_accuracy
    >>> neighbor_accuracy([[1, 0], [2, 0.1], [0, 1], [0, 3]], ['a', 'a', 'b', 'b'])
    1.0
    """
    labels = np.asarray(labels)
    return float(np.mean(labels[nearest(features, 1)[:, 0]] == labels))


class Monitor:
    """
    Monitor an encoder during its training, as the ``callback`` of the training loop.

    It adds to the record of each epoch ``feature_scatter`` and ``effective_rank`` of up to 512
    images, and every few epochs, if there are labels, ``neighbor_accuracy`` of up to 1024. It
    warns once if the training has failed.

    Parameters
    ----------
    objective : `torch.nn.Module`
        The objective, which has an ``encoder`` and ``views``.
    images : array_like, shape (n, band, y, x)
        The training images, see `~astro_morph.learning.training.batches.Batches`.
    labels : array_like, shape (n,), default=None
        Classes, which the encoder does not learn from; masked or empty ones are unknown.
    every : int, default=5
        Epochs between two measurements of ``neighbor_accuracy``.
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
        Add measurements to the record of an epoch.

        Parameters
        ----------
        record : dict
            The record, with ``epoch`` and ``loss``.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the loss is not finite, the features are nearly identical, or the temperature is too
            high to learn anything.
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
        """Return the features of images, each in one view that is only turned and mirrored."""
        encoder, views = self._objective.encoder, _plain(self._objective.views)
        # The same views in each epoch.
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
    return min(n, max(FEWEST_WATCHED, min(WATCHED, int(WATCHED_FRACTION * n))))


def _spread(rows, n):
    """Return at most n of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int)]


def _sample(images, rows, device):
    """Copy some rows to the device, in parts: reading a file brings more into memory than asked."""
    source, parts = Batches(images, torch.device('cpu')), torch.from_numpy(rows).split(BATCH_SIZE)
    return Batches(torch.cat([source.take(part) for part in parts]), device)


def _plain(views):
    """Return views that only turn and mirror: without conditions, zoom, shift, gain and noise."""
    if isinstance(views, FluxViews):
        plain = _plain(views.views)
        return lambda images, generator: plain(views.stretch(images), generator)
    if isinstance(views, RandomViews):
        return RandomViews(views.size, field=views.field, mirrored=views.mirrored)
    return views


def _trouble(record, temperature):
    """Return what has gone wrong and what helps, or an empty string."""
    epoch, loss, scatter, rank = (
        record[name] for name in ('epoch', 'loss', 'feature_scatter', 'effective_rank')
    )
    if not all(map(math.isfinite, (loss, scatter, rank))):
        return f'the training has failed by epoch {epoch}: the loss is {loss}; {REMEDY}'
    if scatter < LEAST_SCATTER:
        return (
            f'the training has collapsed by epoch {epoch}: all galaxies have nearly the same '
            f'features (scatter {scatter:.2g}, effective rank {rank:.2g}); {REMEDY}, and check '
            'that the images differ from each other'
        )
    if temperature > MOST_TEMPERATURE:
        return (
            f'the training learns nothing: at a temperature of {temperature:g} all keys count '
            f'equally; {REMEDY}'
        )
    return ''
