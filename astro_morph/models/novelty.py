# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compute novelty: p-values of galaxies unlike those on which a model was trained."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from torch import nn

__all__ = ['Novelty', 'fit_novelty']

# Largest number of galaxies to compare with; their coordinates take less than a megabyte.
MOST_KNOWN = 1000

# Largest number of principal components, and the number of galaxies required for each of them.
MOST_DIRECTIONS = 128
GALAXIES_A_DIRECTION = 4

# Added to the variance of each component, in units of the mean variance: with few galaxies the
# last components are poorly known.
SHRINKAGE = 0.05

# Number of nearest galaxies over which the distance is averaged.
N_NEAREST = 10

# Number of parts, each of which is held out in turn; with fewer galaxies there are no p-values.
FOLDS = 10

# The p-values of galaxies beyond the most distant held-out one differ by less than this fraction of
# themselves: enough to sort by in single precision, too little to say more than 1 / (n + 1).
ORDER = 1e-3


class Novelty(nn.Module):
    r"""
    Compute p-values: the fraction of training-like galaxies at least this unusual.

    Features are whitened by their principal components. The coordinates of a whitened vector
    :math:`z`, with :math:`r = \sqrt{1 + |z|^2}`, are its direction :math:`z / r` and its length
    :math:`\ln r`: galaxies with odd parts, such as mergers, differ in direction, and objects that
    are not galaxies, such as stars or blank sky, in length. The distance of a galaxy is the mean
    of the distances to its ten nearest training galaxies.

    The p-value is conformal (Vovk et al. 2005; Laxhammar & Falkman 2010): with :math:`n` held-out
    galaxies, of which :math:`k` are at least as distant, it is :math:`(k + 1) / (n + 1)`. Of the
    galaxies like those of the training, a fraction :math:`p` has a p-value of at most :math:`p`. At
    the distance of a held-out galaxy it is the smaller of the values on both sides, and between two
    such distances it is interpolated linearly. It is never smaller than :math:`1 / (n + 1)`: fewer
    than 100 galaxies cannot show that another one is more unusual than 99 % of them. Beyond the
    most distant held-out galaxy the p-value differs from :math:`1 / (n + 1)` by at most a
    thousandth of it, which only orders galaxies by their distance.

    Parameters
    ----------
    mean : array_like, shape (d,)
        Mean of the features.
    axes : array_like, shape (d, m)
        Principal components, scaled to whiten the features.
    known : array_like, shape (k, m + 1)
        Coordinates of training galaxies.
    held_out : array_like, shape (n,)
        Sorted distances of held-out galaxies; empty if there were too few galaxies.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_morph.models.novelty import fit_novelty
    >>> features = np.random.default_rng(0).normal(size=(200, 8))
    >>> novelty = fit_novelty(features, random_state=0)
    >>> novelty(torch.from_numpy(features[:3])).shape
    torch.Size([3])
    """

    STATE = ('mean', 'axes', 'known', 'held_out')

    def __init__(self, mean, axes, known, held_out):
        super().__init__()
        for name, values in zip(self.STATE, (mean, axes, known, held_out), strict=True):
            self.register_buffer(name, torch.as_tensor(values))

    def forward(self, features):
        """Compute the p-values (n,) of features (n, d); NaN if there were too few galaxies."""
        n = len(self.held_out)
        if n == 0:
            return features[:, 0] * torch.nan
        distance = self.distance(features)
        gaps = torch.diff(self.held_out).clamp(min=1e-6)
        passed = ((distance[:, None] - self.held_out[:-1]) / gaps).clamp(0, 1).sum(1)
        beyond = (distance - self.held_out[-1]).clamp(min=0)
        return ((n - passed + ORDER / (1 + beyond)) / (n + 1)).to(features.dtype)

    def distance(self, features):
        """Compute the distances (n,) of features (n, d) from the training galaxies."""
        here, known = self.coordinates(features), self.known.double()
        # Not by torch.cdist, which cannot be exported to ONNX.
        squares = here.square().sum(1, keepdim=True) + known.square().sum(1) - 2 * here @ known.T
        nearest = squares.topk(min(N_NEAREST, len(known)), dim=1, largest=False).values
        return nearest.clamp(min=0).sqrt().mean(1)

    def coordinates(self, features):
        """Compute the directions and lengths (n, m + 1) of features (n, d), in float64."""
        # In single precision, rounding would depend on the number of galaxies in a batch.
        whitened = (features.double() - self.mean.double()) @ self.axes.double()
        length = (1 + whitened.square().sum(1, keepdim=True)).sqrt()
        return torch.cat([whitened / length, length.log()], 1)


def fit_novelty(features, *, random_state=None):
    """
    Fit the p-values of novelty to training galaxies.

    Each tenth of the galaxies is held out in turn, and its distances to the others are measured.
    New galaxies are compared with those known in the first fold, nine tenths of all.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Their features.
    random_state : int, default=None
        Seed of the folds.

    Returns
    -------
    novelty : `Novelty`
        Computes the p-values of features; NaN if there are fewer than ten galaxies.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_morph.models.novelty import fit_novelty
    >>> random = np.random.default_rng(0)
    >>> novelty = fit_novelty(random.normal(size=(500, 8)), random_state=0)
    >>> normal, odd = random.normal(size=(1000, 8)), random.normal(5, size=(1, 8))
    >>> bool((novelty(torch.from_numpy(normal)) < 0.1).double().mean() < 0.13)
    True
    >>> bool(novelty(torch.from_numpy(odd)) < 0.01)
    True
    """
    folds = KFold(FOLDS, shuffle=True, random_state=random_state)
    if len(features) < FOLDS:
        return _novelty_of(features, len(features))
    splits = list(folds.split(features))
    # Distances depend on the number of known galaxies, so it is the same in all folds.
    n_known = min(len(known) for known, _ in splits)
    novelties = [_novelty_of(features[known], n_known) for known, _ in splits]
    held_out = [
        novelty.distance(torch.from_numpy(features[others])).numpy()
        for novelty, (_, others) in zip(novelties, splits, strict=True)
    ]
    # New galaxies are compared with as many as the held-out ones were. Whitened by all, 30 galaxies
    # would have a third more p-values below 0.1 (benchmarks/coverage.py).
    novelty = novelties[0]
    novelty.held_out = torch.from_numpy(np.sort(np.concatenate(held_out)))
    return novelty


def _novelty_of(features, n_known):
    """Build the Novelty of known galaxies: their whitening, and the coordinates of some of them."""
    n_directions = min(max(1, n_known // GALAXIES_A_DIRECTION), MOST_DIRECTIONS, features.shape[1])
    pca = PCA(n_directions, svd_solver='full').fit(features)
    variance = pca.explained_variance_
    axes = pca.components_.T / np.sqrt(variance + SHRINKAGE * variance.mean())
    none = np.zeros(0, features.dtype)
    novelty = Novelty(pca.mean_, axes.astype(features.dtype), none, none)
    rows = np.linspace(0, len(features) - 1, min(n_known, MOST_KNOWN)).astype(int)
    coordinates = novelty.coordinates(torch.from_numpy(features[rows]))
    novelty.known = coordinates.to(novelty.mean.dtype)
    return novelty
