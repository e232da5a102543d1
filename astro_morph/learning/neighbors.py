# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the galaxies that look most alike: exactly, or approximately if there are very many."""

import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

__all__ = ['nearest']

# Comparing all pairs takes minutes for a hundred thousand galaxies, and hours for a million.
EXACT_UP_TO = 100_000

# Principal components in which many galaxies are compared, and galaxies that they are fitted to.
N_DIRECTIONS = 128
N_SAMPLE = 20_000

# Links of each galaxy in the graph, and candidates examined in each search.
N_LINKS = 32
N_CANDIDATES = 128


def nearest(features, n):
    """
    Find the nearest neighbours of each galaxy, by the angle between features.

    Up to a hundred thousand galaxies are all compared with each other. Of more, a graph of their
    neighbourhoods is searched (HNSW, Malkov & Yashunin 2020, IEEE PAMI 42, 824; the library is
    faiss), in the leading principal components. A few per cent of the neighbours found are then
    not the nearest, but about as near.

    Parameters
    ----------
    features : ndarray of float32, shape (m, d)
        Features of the galaxies.
    n : int
        Number of neighbours of each galaxy, less than m.

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
                f'comparing all pairs of {len(features)} galaxies may take hours; install faiss '
                'to do it in minutes: python -m pip install faiss-cpu',
                AstropyUserWarning,
                stacklevel=3,
            )
        else:
            return _search_graph(faiss, features, n)
    index = NearestNeighbors(n_neighbors=n, metric='cosine').fit(features)
    return index.kneighbors(return_distance=False)


def _search_graph(faiss, features, n):
    # The Euclidean distance of vectors of length 1 grows with the angle between them.
    directions = normalize(features)
    sample = directions[:: -(-len(directions) // N_SAMPLE)]
    pca = PCA(min(N_DIRECTIONS, *sample.shape), random_state=0).fit(sample)
    points = np.ascontiguousarray(pca.transform(directions), np.float32)
    index = faiss.IndexHNSWFlat(points.shape[1], N_LINKS)
    index.add(points)
    index.hnsw.efSearch = max(N_CANDIDATES, 2 * n)
    found = index.search(points, n + 1)[1]
    # The galaxy itself is sorted to the end, and the last column is dropped: the galaxy, or the
    # farthest neighbour if the search did not find the galaxy itself.
    is_self = found == np.arange(len(found))[:, np.newaxis]
    order = np.argsort(is_self, axis=1, kind='stable')
    return np.take_along_axis(found, order, axis=1)[:, :n]
