# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The galaxies that look most like each other: exactly, or nearly where there are very many."""

import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

__all__ = ['nearest']

# Comparing each with each takes minutes for a hundred thousand galaxies, and hours for a million.
EXACT_UP_TO = 100_000

# Directions in which many galaxies are compared, and galaxies that tell them.
N_DIRECTIONS = 128
N_SAMPLE = 20_000

# Links of each galaxy in the graph that is searched, and candidates looked at in it.
N_LINKS = 32
N_CANDIDATES = 128


def nearest(features, n):
    """
    Find the nearest neighbours of each galaxy, by the angle between features.

    Up to a hundred thousand galaxies are compared with each other. Beyond, they are searched along
    a graph of their neighbourhoods (HNSW, Malkov & Yashunin 2020, IEEE PAMI 42, 824; the library
    is faiss), in the leading principal components: a few per cent of the neighbours are then
    others, about as near.

    Parameters
    ----------
    features : ndarray of float32, shape (m, d)
        Features of the galaxies.
    n : int
        Neighbours of each; fewer than there are galaxies.

    Returns
    -------
    rows : ndarray of int, shape (m, n)
        Row numbers, nearest first, without the galaxy itself.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.learning.neighbors import nearest
    >>> nearest(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)
    array([[1],
           [0],
           [1]])
    """
    if len(features) > EXACT_UP_TO:
        try:
            import faiss
        except ImportError:
            warnings.warn(
                f'{len(features)} galaxies are compared each with each, which may take hours; '
                "with faiss it takes minutes: pip install 'astro-morph[neighbors]'",
                AstropyUserWarning,
                stacklevel=3,
            )
        else:
            return _search_graph(faiss, features, n)
    index = NearestNeighbors(n_neighbors=n, metric='cosine').fit(features)
    return index.kneighbors(return_distance=False)


def _search_graph(faiss, features, n):
    # The distance of vectors of length 1 grows with the angle.
    directions = normalize(features)
    sample = directions[:: -(-len(directions) // N_SAMPLE)]
    pca = PCA(min(N_DIRECTIONS, *sample.shape), random_state=0).fit(sample)
    points = np.ascontiguousarray(pca.transform(directions), np.float32)
    index = faiss.IndexHNSWFlat(points.shape[1], N_LINKS)
    index.add(points)
    index.hnsw.efSearch = max(N_CANDIDATES, 2 * n)
    found = index.search(points, n + 1)[1]
    # The galaxy itself goes last, and is cut off; so is the farthest where it was not found.
    is_self = found == np.arange(len(found))[:, np.newaxis]
    order = np.argsort(is_self, axis=1, kind='stable')
    return np.take_along_axis(found, order, axis=1)[:, :n]
