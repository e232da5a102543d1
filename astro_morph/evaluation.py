# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How well a fitted model does on galaxies of known class."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    recall_score,
)

from astro_morph.catalog import read_labels
from astro_morph.cutouts import catalogue_of

__all__ = ['Evaluation', 'evaluate']


@dataclass(frozen=True)
class Evaluation:
    """
    True and predicted classes of labelled galaxies, and what follows from them.

    Parameters
    ----------
    classes : ndarray, shape (n_classes,)
        The classes that were predicted or are true.
    true, predicted : ndarray, shape (n,)
        Classes of the labelled galaxies that have an image.
    n_missing : int, optional
        Labelled galaxies without an image, which are left out.

    Examples
    --------
    >>> from astro_morph.evaluation import Evaluation
    >>> result = Evaluation(['E', 'S'], ['E', 'E', 'S', 'S'], ['E', 'S', 'S', 'S'])
    >>> result.accuracy
    0.75
    >>> result.to_table()['class', 'recall'].pprint()
    class recall
    ----- ------
        E    0.5
        S    1.0
    """

    classes: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    n_missing: int = 0

    @property
    def accuracy(self):
        """Share of galaxies whose class is right."""
        return float(accuracy_score(self.true, self.predicted))

    @property
    def balanced_accuracy(self):
        """Mean over the true classes of the share that is right: rare classes count as much."""
        there = np.unique(self.true)
        return float(recall_score(self.true, self.predicted, labels=there, average='macro'))

    @property
    def confusion(self):
        """Counts, an ndarray of shape (n_classes, n_classes): rows are true, columns predicted."""
        return confusion_matrix(self.true, self.predicted, labels=self.classes)

    def to_table(self):
        """
        Give precision and recall of each class.

        Returns
        -------
        table : `~astropy.table.Table`
            ``class``, ``n`` (galaxies of it), ``precision`` (share of those predicted that are
            right) and ``recall`` (share of those there are that are found); NaN for none.
        """
        precision, recall, _, n = precision_recall_fscore_support(
            self.true, self.predicted, labels=self.classes, zero_division=np.nan
        )
        return Table({'class': self.classes, 'n': n, 'precision': precision, 'recall': recall})

    def __str__(self):
        table = self.to_table()
        for name in ('precision', 'recall'):
            table[name].format = '.3f'
        left_out = f', {self.n_missing} more have no image' if self.n_missing else ''
        lines = [
            f'{len(self.true)} galaxies{left_out}',
            f'accuracy           {self.accuracy:.3f}',
            f'balanced accuracy  {self.balanced_accuracy:.3f}',
            '',
            *table.pformat(),
        ]
        return '\n'.join(lines)


def evaluate(classifier, X, y=None, *, label_column='morphology'):
    """
    Compare a model's predictions with known classes.

    Parameters
    ----------
    classifier : `~astro_morph.MorphologyClassifier` or `~astro_morph.OnnxClassifier`
        The fitted model.
    X : object
        Samples as the model takes them; those without a label are left out.
    y : array_like, shape (n,), optional
        The true classes; by default those of the column ``label_column``.
    label_column : str, optional
        Column of the true classes.

    Returns
    -------
    evaluation : `Evaluation`
        The comparison.

    Raises
    ------
    ValueError
        If there is no label, or no image of a galaxy that has one.

    Examples
    --------
    >>> from astro_morph import MorphologyClassifier
    >>> from astro_morph.evaluation import evaluate
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=40, kinds=['edge_on', 'round'])
    >>> train, test = survey.catalogue[::2], survey.catalogue[1::2]
    >>> classifier = MorphologyClassifier(survey, size=32, encoder='random', verbose=0)
    >>> evaluation = evaluate(classifier.fit(train), test)
    >>> len(evaluation.true), evaluation.confusion.shape
    (20, (2, 2))
    """
    table = catalogue_of(X) if y is None else Table([y], names=[label_column])
    if table is None:
        msg = 'y is None, and X is no table that could hold the true classes; pass them as y'
        raise ValueError(msg)
    labels, is_labelled = read_labels(table, label_column)
    if not is_labelled.any():
        msg = f'no row has a label in {label_column!r}; evaluation needs known classes'
        raise ValueError(msg)
    predicted = classifier.predict(X[is_labelled])
    has_image = ~np.ma.getmaskarray(predicted)
    if not has_image.any():
        msg = (
            f'none of the {len(has_image)} rows with a label has an image; annotate them to see why'
        )
        raise ValueError(msg)
    true = labels[is_labelled][has_image]
    return Evaluation(
        # A label that the model has never met is wrong whatever it says, and shows in the table.
        np.union1d(classifier.classes_, true),
        true=true,
        predicted=np.asarray(predicted)[has_image],
        n_missing=int(np.sum(~has_image)),
    )
