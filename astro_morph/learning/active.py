# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Active learning: rank the galaxies to label next, and find labels that are likely wrong."""

import warnings
from numbers import Integral

import numpy as np
from astropy.table import Table
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_scalar

from astro_morph.learning.heads import linear_head
from astro_morph.utils.messages import as_written

__all__ = [
    'CRITERIA',
    'choose',
    'confident_learning',
    'suspect_labels',
    'typical',
]

CRITERIA = ('diverse', 'margin', 'entropy', 'novelty', 'uncertain-positive')

# Folds of cross-validation that predict each label from the others.
FOLDS = 5

# Candidates of smallest margin for each galaxy chosen, and principal components of their features.
CANDIDATES = 4
DIRECTIONS = 32


def choose(predictions, n, *, criterion='diverse', positive=None, random_state=None):
    """
    Choose the galaxies whose labels would improve a classifier most.

    Parameters
    ----------
    predictions : `~astro_morph.prediction.predict.Predictions`
        Predictions of galaxies without a label, with their features.
    n : int
        Number of galaxies to choose, among those that have an image.
    criterion : {'diverse', 'margin', 'entropy', 'novelty', 'uncertain-positive'}, \
            default='diverse'
        ``'margin'`` chooses galaxies whose two most probable classes are closest, ``'entropy'``
        those of highest entropy of the probabilities, and ``'novelty'`` those most unlike the
        training. ``'diverse'`` chooses galaxies of small margin that differ from each other, after
        Cluster-Margin (Citovsky et al. 2021, arXiv:2107.14263): one from each of n clusters of the
        4 n with the smallest margin. ``'uncertain-positive'`` chooses those with a probability of
        one class of a half or more, the smallest first: those at the limits of a rare class.
    positive : int, default=None
        Number of the class for ``'uncertain-positive'``; the least probable on average if None.
    random_state : int, default=None
        Seed of the clustering of ``'diverse'``.

    Returns
    -------
    rows : ndarray of int
        Row numbers, the most informative first.

    Raises
    ------
    TypeError, ValueError
        If the criterion is unknown, or n is no positive integer.
    """
    if criterion not in CRITERIA:
        msg = f'{as_written("criterion")} must be one of {CRITERIA}, got {criterion!r}'
        raise ValueError(msg)
    check_scalar(n, 'n', Integral, min_val=1)
    known = np.flatnonzero(predictions.status == 'ok')
    if len(known) == 0:
        return known
    n = min(n, len(known))
    probabilities = predictions.probabilities[known]
    if criterion == 'uncertain-positive':
        positive = probabilities.mean(axis=0).argmin() if positive is None else positive
        priority = _doubt_of_positive(probabilities[:, positive])
    elif criterion == 'novelty':
        priority = -predictions.novelty[known]
    elif criterion == 'entropy':
        priority = entropy(probabilities, axis=1)
    else:
        second, first = np.sort(probabilities, axis=1)[:, -2:].T
        priority = second - first
    order = np.argsort(-priority, kind='stable')
    # If all are chosen, there is no need of clusters.
    if criterion == 'diverse' and 0 < n < len(order):
        order = order[: CANDIDATES * n]
        _, clusters = _cluster(predictions.features[known[order]], n, random_state)
        order = order[np.sort(np.unique(clusters.labels_, return_index=True)[1])]
    return known[order[:n]]


def _doubt_of_positive(probability):
    """Return high values where a class is barely probable, then where it is barely not."""
    return np.where(probability >= 0.5, 1 - probability, probability - 1)


def typical(features, n, *, random_state=None):
    """
    Choose typical galaxies to label first: the most central one of each of n clusters.

    The first labels are most informative on typical galaxies that differ from each other (Hacohen,
    Dekel & Weinshall 2022, arXiv:2202.02794).

    Parameters
    ----------
    features : ndarray, shape (m, d)
        Features of the galaxies.
    n : int
        Number of galaxies to choose.
    random_state : int, default=None
        Seed of the clustering.

    Returns
    -------
    rows : ndarray of int
        Row numbers, that from the largest cluster first.

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
    """Return the principal components of features, shape (m, d), and n clusters in them."""
    scaled = StandardScaler().fit_transform(features)
    pca = PCA(min(DIRECTIONS, *scaled.shape), random_state=random_state)
    reduced = pca.fit_transform(scaled)
    return reduced, KMeans(n, random_state=random_state).fit(reduced)


def suspect_labels(features, labels, *, random_state=0):
    """
    Find labels that are likely wrong: a linear head predicts each from the others.

    The only label of a class has no other of its class to be predicted from: it is listed if its
    galaxy resembles another class more than the average galaxy of that class does. If fewer than
    two classes have several labels, nothing can be predicted, and no label is listed.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Features of the galaxies, learnt without these labels.
    labels : ndarray, shape (n,)
        The labels.
    random_state : int, default=0
        Seed of the folds of the cross-validation.

    Returns
    -------
    table : `~astropy.table.Table`
        As from `confident_learning`, with labels in place of their indices.
    """
    classes, target = np.unique(labels, return_inverse=True)
    counts = np.bincount(target)
    probabilities = np.eye(len(classes))[target]
    if np.sum(counts > 1) > 1:
        n_folds = min(FOLDS, counts[counts > 1].min())
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
        probabilities[:] = 0
        with warnings.catch_warnings():
            # A class of fewer labels than folds is absent from some of the folds.
            warnings.filterwarnings('ignore', 'The least populated class', UserWarning)
            splits = list(folds.split(features, target))
        for rows, held_out in splits:
            head = linear_head().fit(features[rows], target[rows])
            probabilities[np.ix_(held_out, head.classes_)] = head.predict_proba(features[held_out])
    table = confident_learning(probabilities, target)
    for name in ('label', 'suggested'):
        table[name] = classes[table[name]]
    return table


def confident_learning(probabilities, target):
    r"""
    Find labels that are likely wrong, by confident learning.

    From the probability of each class, its mean over the galaxies with that label is subtracted:
    for a class that is hard to recognise, a lower probability suffices (Northcutt, Jiang & Chuang
    2021, arXiv:1911.00068; in the form of Kuan & Mueller 2022, arXiv:2207.03061). A label is likely
    wrong if another class is then higher, and is more probable too.

    Parameters
    ----------
    probabilities : ndarray, shape (n, n_classes)
        Predictions of a model that was not trained on the label.
    target : ndarray of int, shape (n,)
        Index of the class that each galaxy is labelled with.

    Returns
    -------
    table : `~astropy.table.Table`
        ``row``, ``label`` and ``suggested`` (indices of classes), ``p_label`` and ``p_suggested``,
        the label most likely wrong first.

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
    excess = probabilities - usual
    suggested = np.argmax(excess, axis=1)
    everyone = np.arange(n)
    p_label, p_suggested = probabilities[everyone, target], probabilities[everyone, suggested]
    margin = excess[everyone, suggested] - excess[everyone, target]
    rows = np.flatnonzero((suggested != target) & (p_suggested > p_label))
    rows = rows[np.argsort(-margin[rows], kind='stable')]
    return Table(
        {
            'row': rows,
            'label': target[rows],
            'suggested': suggested[rows],
            'p_label': p_label[rows],
            'p_suggested': p_suggested[rows],
        }
    )
