# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How unlike the galaxies that a model has learnt from another one is."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from torch import nn

__all__ = ['Novelty', 'fit_novelty']

# Galaxies to compare with, for a state below a megabyte.
MOST_KNOWN = 1000

# Directions of the features that are kept; and so many galaxies are needed for each of them.
MOST_DIRECTIONS = 128
GALAXIES_A_DIRECTION = 4

# Added to the variance of each direction, in units of its mean over them: the last directions of
# few galaxies are hardly known.
SHRINKAGE = 0.05

# The distance is the mean of those to so many nearest galaxies.
N_NEAREST = 10

# Parts of which each is held out in its turn; fewer galaxies have nothing to tell.
FOLDS = 10


class Novelty(nn.Module):
    r"""
    The probability that a galaxy like those known is as far from them as this one.

    Features are whitened by their principal components. Of the whitened vector :math:`z`, with
    :math:`r = \sqrt{1 + |z|^2}`, the direction :math:`z / r` and the length :math:`\ln r` are
    coordinates of their own: galaxies with odd parts, such as mergers, are told by the direction,
    and what is no galaxy, such as a star or blank sky, by the length. The distance is the mean of
    those to the ten nearest galaxies known.

    The p-value is the share of galaxies held out that are as far (conformal, Vovk et al. 2005;
    Laxhammar & Falkman 2010), linear between them: a share :math:`p` of the galaxies like those
    known gets less than :math:`p`. Beyond the farthest it falls exponentially, which keeps the
    order but promises nothing.

    Parameters
    ----------
    mean : array_like, shape (d,)
        Mean of the features.
    axes : array_like, shape (d, m)
        Whitening of their principal components.
    known : array_like, shape (k, m + 1)
        Coordinates of the galaxies known.
    held_out : array_like, shape (n,)
        Distances of galaxies held out, sorted; none if there were too few.

    Examples
    --------
    `fit_novelty` makes one.

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
        """Turn features (n, d) into p-values (n,); NaN if there were too few galaxies."""
        n = len(self.held_out)
        if n == 0:
            return features[:, 0] * torch.nan
        distance = self.distance(features)[:, None]
        gaps = torch.diff(self.held_out).clamp(min=1e-6)
        passed = ((distance - self.held_out[:-1]) / gaps).clamp(0, 1).sum(1)
        beyond = (distance[:, 0] - self.held_out[-1]).clamp(min=0)
        # By how far the farthest is beyond the mean of its tenth: any scale would keep the order.
        tail = self.held_out[-1] - self.held_out[-1 - n // 10 :].mean() + 1e-6
        novelty = (n - passed) / (n + 1) * torch.exp(-beyond / tail)
        return novelty.to(features.dtype)

    def distance(self, features):
        """Turn features (n, d) into distances (n,) from the galaxies known."""
        here, known = self.coordinates(features), self.known.double()
        # In this form, and not as cdist, it can be written as ONNX.
        squares = here.square().sum(1, keepdim=True) + known.square().sum(1) - 2 * here @ known.T
        nearest = squares.topk(min(N_NEAREST, len(known)), dim=1, largest=False).values
        return nearest.clamp(min=0).sqrt().mean(1)

    def coordinates(self, features):
        """Turn features (n, d) into directions and lengths (n, m + 1), in double precision."""
        # Small differences of large sums, which would tell how many galaxies are measured at once.
        whitened = (features.double() - self.mean.double()) @ self.axes.double()
        length = (1 + whitened.square().sum(1, keepdim=True)).sqrt()
        return torch.cat([whitened / length, length.log()], 1)


def fit_novelty(features, *, random_state=None):
    """
    Learn what the galaxies known are like.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Their features.
    random_state : int, optional
        Seed of the folds.

    Returns
    -------
    novelty : `Novelty`
        Turns features into p-values.

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
    splits = list(folds.split(features)) if len(features) >= FOLDS else []
    # Distances grow with the number of directions, and shrink with that of the galaxies known.
    n_known = min([len(features), *(len(known) for known, _ in splits)])
    distances = [
        _describe(features[known], n_known).distance(torch.from_numpy(features[others])).numpy()
        for known, others in splits
    ]
    none = np.zeros(0, features.dtype)
    return _describe(features, n_known, np.sort(np.concatenate([none, *distances])))


def _describe(features, n_known, held_out=()):
    """Describe galaxies by their features: some of them stand for all."""
    n_directions = min(max(1, n_known // GALAXIES_A_DIRECTION), MOST_DIRECTIONS, features.shape[1])
    pca = PCA(n_directions, svd_solver='full').fit(features)
    variance = pca.explained_variance_
    axes = pca.components_.T / np.sqrt(variance + SHRINKAGE * variance.mean())
    novelty = Novelty(pca.mean_, axes.astype(features.dtype), np.zeros(0), np.asarray(held_out))
    rows = np.linspace(0, len(features) - 1, min(n_known, MOST_KNOWN)).astype(int)
    coordinates = novelty.coordinates(torch.from_numpy(features[rows]))
    novelty.known = coordinates.to(novelty.mean.dtype)
    return novelty
