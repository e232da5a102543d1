# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which galaxies a person should look at: those worth a label, and those of a doubtful label."""

import numpy as np
from astropy.table import Table
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from astro_morph.learning.heads import linear_head

__all__ = [
    'STRATEGIES',
    'choose',
    'confident_learning',
    'suspect_labels',
    'typical',
]

STRATEGIES = ('diverse', 'margin', 'entropy', 'novelty')

FOLDS = 5

# Galaxies that are looked through for each that is chosen, and what is seen of their features.
CANDIDATES = 4
DIRECTIONS = 32


def choose(predictions, n, *, strategy='diverse', random_state=None):
    """
    Choose the galaxies whose label would teach most.

    Parameters
    ----------
    predictions : `~astro_morph.prediction.predict.Predictions`
        Of galaxies without a label, with their features.
    n : int
        How many to choose, of those that have an image.
    strategy : {'diverse', 'margin', 'entropy', 'novelty'}, optional
        ``'margin'`` takes those whose two likeliest classes are closest, ``'entropy'`` those
        whose probabilities are most even, ``'novelty'`` those most unlike the training.
        ``'diverse'`` takes galaxies of close classes that are unlike each other, after
        Cluster-Margin (Citovsky et al. 2021, arXiv:2107.14263): one from each of n clusters of
        the 4 n of smallest margin.
    random_state : int, optional
        Seed of ``'diverse'``.

    Returns
    -------
    rows : ndarray of int
        Row numbers, the most instructive first.

    Raises
    ------
    ValueError
        If the strategy is not known.
    """
    if strategy not in STRATEGIES:
        msg = f'strategy must be one of {STRATEGIES}, got {strategy!r}'
        raise ValueError(msg)
    known = np.flatnonzero(predictions.status == 'ok')
    n = min(n, len(known))
    probabilities = predictions.probabilities[known]
    if strategy == 'novelty':
        priority = -predictions.novelty[known]
    elif strategy == 'entropy':
        priority = entropy(probabilities, axis=1)
    else:
        second, first = np.sort(probabilities, axis=1)[:, -2:].T
        priority = second - first
    order = np.argsort(-priority, kind='stable')
    # Where all are chosen, there are no clusters to take one of.
    if strategy == 'diverse' and 0 < n < len(order):
        order = order[: CANDIDATES * n]
        _, clusters = _cluster(predictions.features[known[order]], n, random_state)
        order = order[np.sort(np.unique(clusters.labels_, return_index=True)[1])]
    return known[order[:n]]


def typical(features, n, *, random_state=None):
    """
    Choose galaxies before there are labels: the middle one of each of n clusters.

    A first few labels teach most on typical galaxies that are unlike each other (Hacohen, Dekel &
    Weinshall 2022, arXiv:2202.02794).

    Parameters
    ----------
    features : ndarray, shape (m, d)
        Features of the galaxies.
    n : int
        How many to choose.
    random_state : int, optional
        Seed of the clusters.

    Returns
    -------
    rows : ndarray of int
        Row numbers, that of the largest cluster first.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.learning.active import typical
    >>> typical(np.array([[0.0], [9.0], [1.0], [2.0], [10.0], [11.0], [0.5]]), 2, random_state=0)
    array([2, 4])
    """
    if n >= len(features):
        return np.arange(len(features))
    reduced, clusters = _cluster(features, n, random_state)
    largest_first = np.argsort(-np.bincount(clusters.labels_, minlength=n), kind='stable')
    return clusters.transform(reduced).argmin(axis=0)[largest_first]


def _cluster(features, n, random_state):
    """Give the main directions of features, and n clusters in them."""
    scaled = StandardScaler().fit_transform(features)
    pca = PCA(min(DIRECTIONS, *scaled.shape), random_state=random_state)
    reduced = pca.fit_transform(scaled)
    return reduced, KMeans(n, random_state=random_state).fit(reduced)


def suspect_labels(features, labels, *, random_state=0):
    """
    Find labels that are likely wrong, each predicted from the others.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Features of the galaxies, learnt without these labels.
    labels : ndarray, shape (n,)
        The labels.
    random_state : int, optional
        Seed of the folds of which each is predicted by a linear head from the others.

    Returns
    -------
    table : `~astropy.table.Table`
        As from `confident_learning`, with the labels themselves.
    """
    classes, target = np.unique(labels, return_inverse=True)
    n_folds = min(FOLDS, np.bincount(target).min())
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    probabilities = cross_val_predict(
        linear_head(), features, target, cv=folds, method='predict_proba'
    )
    table = confident_learning(probabilities, target)
    for name in ('label', 'suggested'):
        table[name] = classes[table[name]]
    return table


def confident_learning(probabilities, target):
    r"""
    Find labels that are likely wrong, by how sure the model is of each class elsewhere.

    From the probability of a class its mean over the galaxies that are labelled so is taken away:
    a class that is hard to see needs less to be believed (Northcutt, Jiang & Chuang 2021,
    arXiv:1911.00068; in the form of Kuan & Mueller 2022, arXiv:2207.03061). A label is doubtful
    where another class then stands higher, and is likelier too.

    Parameters
    ----------
    probabilities : ndarray, shape (n, n_classes)
        Of a model that has not seen the label.
    target : ndarray of int, shape (n,)
        Index of the class that each galaxy is labelled with.

    Returns
    -------
    table : `~astropy.table.Table`
        ``row``, ``label`` and ``suggested`` (indices), ``p_label`` and ``p_suggested``, the most
        doubtful first.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.learning.active import confident_learning
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.95, 0.05]])
    >>> confident_learning(probabilities, np.array([0, 0, 1, 1])).pprint()
    row label suggested p_label p_suggested
    --- ----- --------- ------- -----------
      3     1         0    0.05        0.95
    """
    n, n_classes = probabilities.shape
    usual = [np.mean(probabilities[target == k, k]) for k in range(n_classes)]
    belief = probabilities - usual
    suggested = np.argmax(belief, axis=1)
    everyone = np.arange(n)
    p_label, p_suggested = probabilities[everyone, target], probabilities[everyone, suggested]
    lead = belief[everyone, suggested] - belief[everyone, target]
    rows = np.flatnonzero((suggested != target) & (p_suggested > p_label))
    rows = rows[np.argsort(-lead[rows], kind='stable')]
    return Table(
        {
            'row': rows,
            'label': target[rows],
            'suggested': suggested[rows],
            'p_label': p_label[rows],
            'p_suggested': p_suggested[rows],
        }
    )
