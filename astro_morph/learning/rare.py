# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Learn a rare kind from a few examples: the galaxies without a label are weak negatives."""

import numpy as np

from astro_morph.utils.messages import as_written

__all__ = ['OTHER', 'add_weak_negatives', 'find_positive']

# The class of galaxies that are of no kind with a label.
OTHER = 'other'


def add_weak_negatives(labels, is_labelled):
    """
    Label the galaxies without a label ``'other'``, as weak examples of it.

    Some of them are of the rare kind, but few (learning from positive and unlabelled examples,
    Elkan & Noto 2008, KDD 213). All together they weigh as much as the examples of the kind, and
    galaxies that a person has labelled ``'other'`` weigh as much as one of these each.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        The labels.
    is_labelled : ndarray of bool, shape (n,)
        Whether each galaxy has one.

    Returns
    -------
    labels : ndarray of str, shape (n,)
        The labels of all galaxies.
    weight : ndarray, shape (n,)
        Their weights.

    Raises
    ------
    ValueError
        If no label names a kind, or one differs from ``'other'`` by capitals only.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.learning.rare import add_weak_negatives
    >>> labels = np.array(['ring', 'other', '', '', '', ''])
    >>> labels, weight = add_weak_negatives(labels, labels != '')
    >>> labels.tolist(), weight.tolist()
    (['ring', 'other', 'other', 'other', 'other', 'other'], [1.0, 1.0, 0.25, 0.25, 0.25, 0.25])
    """
    labels = np.where(is_labelled, np.asarray(labels).astype(str), OTHER)
    _refuse_unclear(np.unique(labels[is_labelled]).tolist())
    n_examples = np.sum(labels != OTHER)
    return labels, np.where(is_labelled, 1.0, n_examples / max(1, np.sum(~is_labelled)))


def _refuse_unclear(kinds):
    """Raise a ValueError if no label names a kind, or one is spelt almost as ``'other'``."""
    nearly = [kind for kind in kinds if kind != OTHER == kind.strip().casefold()]
    if nearly:
        msg = (
            f'the labels hold {nearly[0]!r}, and {as_written("strategy", "rare")} calls galaxies '
            f'of no kind {OTHER!r}; write {OTHER!r} if it means the same, or another name'
        )
        raise ValueError(msg)
    if {*kinds} <= {OTHER}:
        msg = (
            f'the labels hold the classes {kinds}, expected examples of the kind to search for; '
            f'label five or more, {OTHER!r} is for galaxies of no kind'
        )
        raise ValueError(msg)


def find_positive(positive, classes):
    """
    Return the number of the class that is searched for.

    Parameters
    ----------
    positive : object
        The class; if None, the only one beside ``'other'``.
    classes : sequence
        The classes of a model.

    Returns
    -------
    number : int
        Its number.

    Raises
    ------
    ValueError
        If there is no such class, or several if it is None.

    Examples
    --------
    >>> from astro_morph.learning.rare import find_positive
    >>> find_positive(None, ['other', 'ring']), find_positive('merger', ['merger', 'ring'])
    (1, 0)
    """
    # By their text, since labels that are searched for become text.
    classes = [str(kind) for kind in classes]
    kinds = [kind for kind in classes if kind != OTHER] if positive is None else [str(positive)]
    if len(kinds) != 1 or kinds[0] not in classes:
        msg = f'{as_written("positive")} is {positive!r}, expected one of the classes {classes}'
        raise ValueError(msg)
    return classes.index(kinds[0])
