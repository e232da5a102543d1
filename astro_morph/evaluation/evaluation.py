# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How well a fitted model does on galaxies of known class."""

import dataclasses
import itertools

import numpy as np
from astropy.table import Table
from scipy.stats import rankdata
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_curve

from astro_morph.catalog import read_labels
from astro_morph.cutouts import catalog_of
from astro_morph.models.calibration import expected_calibration_error, prediction_sets, reliability

__all__ = ['Evaluation', 'compare', 'evaluate', 'known_classes']

# Coverage of the sets whose share of true classes is compared with it.
COVERAGE = 0.9


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """
    True classes and predicted probabilities of labelled galaxies, and what follows from them.

    Parameters
    ----------
    classes : ndarray, shape (n_classes,)
        The classes that were predicted or are true.
    true : ndarray, shape (n,)
        Classes of the labelled galaxies that have an image.
    probabilities : ndarray, shape (n, n_classes)
        Predicted probabilities of the classes; 0 for one that the model does not know.
    sets : ndarray of bool, shape (n, n_classes), optional
        Sets that are to hold the true class in 90 % of the cases.
    rows : ndarray of int, shape (n,), optional
        Where the galaxies are in what was evaluated.
    n_missing : int, optional
        Labelled galaxies without an image, which are left out.

    Examples
    --------
    >>> from astro_morph.evaluation import Evaluation
    >>> result = Evaluation(['E', 'S'], ['E', 'E', 'S', 'S'],
    ...                     [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
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
    probabilities: np.ndarray
    sets: np.ndarray | None = None
    rows: np.ndarray | None = None
    n_missing: int = 0

    @classmethod
    def joined(cls, evaluations):
        """
        Put evaluations of different galaxies together, such as those of the folds of one table.

        Parameters
        ----------
        evaluations : sequence of Evaluation
            With the same classes.

        Returns
        -------
        evaluation : Evaluation
            Without the rows, which count anew in each.
        """
        names = ['true', 'probabilities']
        if all(evaluation.sets is not None for evaluation in evaluations):
            names.append('sets')
        return cls(
            evaluations[0].classes,
            n_missing=sum(evaluation.n_missing for evaluation in evaluations),
            **{
                name: np.concatenate([getattr(evaluation, name) for evaluation in evaluations])
                for name in names
            },
        )

    @property
    def predicted(self):
        """The classes of the highest probability, an ndarray of shape (n,)."""
        return np.asarray(self.classes)[np.argmax(self.probabilities, axis=1)]

    @property
    def is_right(self):
        """Whether each predicted class is the true one, an ndarray of shape (n,)."""
        return self.predicted == np.asarray(self.true)

    @property
    def is_true(self):
        """Whether each class is the true one, an ndarray of shape (n, n_classes)."""
        return np.asarray(self.true)[:, np.newaxis] == np.asarray(self.classes)

    @property
    def accuracy(self):
        """Share of galaxies whose class is right."""
        return float(np.mean(self.is_right))

    @property
    def balanced_accuracy(self):
        """Mean over the true classes of the share that is right: rare classes count as much."""
        is_true = self.is_true[:, self.is_true.any(axis=0)]
        return float(np.mean(is_true[self.is_right].sum(axis=0) / is_true.sum(axis=0)))

    @property
    def confusion(self):
        """Counts, an ndarray of shape (n_classes, n_classes): rows are true, columns predicted."""
        return confusion_matrix(self.true, self.predicted, labels=self.classes)

    @property
    def roc_auc(self):
        """Mean over the classes of the area under the curve of `roc`; NaN where there is none."""
        areas = self._areas()
        return float(np.nanmean(areas)) if np.isfinite(areas).any() else np.nan

    @property
    def calibration_error(self):
        """Expected calibration error, in 15 bins (Guo et al. 2017, equation 3)."""
        return expected_calibration_error(np.max(self.probabilities, axis=1), self.is_right)

    @property
    def brier_score(self):
        """Mean squared error of the probabilities, summed over the classes (Brier 1950)."""
        return float(np.mean(np.sum((self.probabilities - self.is_true) ** 2, axis=1)))

    @property
    def coverage(self):
        """Share of the sets that hold the true class, to be compared with 0.9; NaN for no sets."""
        return np.nan if self.sets is None else float(np.mean(self.sets[self.is_true]))

    @property
    def set_size(self):
        """Mean number of classes in a set."""
        return np.nan if self.sets is None else float(np.mean(np.sum(self.sets, axis=1)))

    def roc(self, label):
        """
        Give the receiver operating characteristic of one class against the others.

        Parameters
        ----------
        label : object
            The class.

        Returns
        -------
        false_positives, true_positives : ndarray
            Share of the other galaxies, and of those of the class, above each threshold.
        """
        k = list(self.classes).index(label)
        return roc_curve(self.is_true[:, k], np.asarray(self.probabilities)[:, k])[:2]

    def reliability(self):
        """Give number, mean confidence and accuracy of the predictions in 15 bins."""
        return reliability(np.max(self.probabilities, axis=1), self.is_right)

    def interval(self, figure, *, level=0.95, n_samples=200, random_state=0):
        """
        Give the bootstrap interval of a figure: that of galaxies drawn anew, with replacement.

        Parameters
        ----------
        figure : str
            Name of the property, such as ``'accuracy'``.
        level : float, optional
            Share of the draws that the interval holds.
        n_samples : int, optional
            Draws.
        random_state : int, optional
            Seed.

        Returns
        -------
        low, high : float
            The interval; NaN for a figure that is.
        """
        random = np.random.default_rng(random_state)
        n = len(self.true)
        figures = [
            getattr(self._take(random.integers(n, size=n)), figure) for _ in range(n_samples)
        ]
        if np.isnan(figures).all():
            return np.nan, np.nan
        low, high = np.nanquantile(figures, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def worst(self, n=24):
        """
        List the mistakes of which the model is surest.

        Parameters
        ----------
        n : int, optional
            How many.

        Returns
        -------
        table : `~astropy.table.Table`
            ``row`` in what was evaluated, ``true`` and ``predicted`` class, ``confidence``.
        """
        confidence = np.max(self.probabilities, axis=1)
        wrong = np.flatnonzero(~self.is_right)
        wrong = wrong[np.argsort(-confidence[wrong], kind='stable')][:n]
        rows = np.arange(len(self.true)) if self.rows is None else self.rows
        return Table(
            {
                'row': rows[wrong],
                'true': np.asarray(self.true)[wrong],
                'predicted': self.predicted[wrong],
                'confidence': confidence[wrong],
            }
        )

    def to_table(self):
        """
        Give the figures of each class.

        Returns
        -------
        table : `~astropy.table.Table`
            ``class``, ``n`` (galaxies of it), ``precision`` (share of those predicted that are
            right), ``recall`` (share of those there are that are found) and ``roc_auc``; NaN for
            none.
        """
        precision, recall, _, n = precision_recall_fscore_support(
            self.true, self.predicted, labels=self.classes, zero_division=np.nan
        )
        return Table(
            {
                'class': self.classes,
                'n': n,
                'precision': precision,
                'recall': recall,
                'roc_auc': self._areas(),
            }
        )

    def summary(self):
        """
        Give the figures of all galaxies together.

        Returns
        -------
        table : `~astropy.table.Table`
            ``figure``, its ``value``, and ``low`` and ``high``, its interval of 95 %.
        """
        names = ['accuracy', 'balanced_accuracy', 'roc_auc', 'calibration_error', 'brier_score']
        if self.sets is not None:
            names += ['coverage', 'set_size']
        low, high = np.transpose([self.interval(name) for name in names])
        values = [getattr(self, name) for name in names]
        return Table({'figure': names, 'value': values, 'low': low, 'high': high})

    def __repr__(self):
        return (
            f'<Evaluation: {len(self.true)} galaxies of {len(self.classes)} classes, accuracy '
            f'{self.accuracy:.3f}>'
        )

    def __str__(self):
        lines = [self._count()]
        for table in self._tables():
            lines += ['', *table.pformat(align='<' if 'figure' in table.colnames else None)]
        return '\n'.join(lines)

    def _repr_html_(self):
        tables = (table.pformat(html=True, max_lines=-1, max_width=-1) for table in self._tables())
        return '\n'.join([f'<p>{self._count()}</p>', *itertools.chain(*tables)])

    def _count(self):
        left_out = f', {self.n_missing} more have no image' if self.n_missing else ''
        return f'{len(self.true)} galaxies{left_out}'

    def _tables(self):
        """Give the figures of all galaxies and of each class, in as many digits as they deserve."""
        tables = self.summary(), self.to_table()
        for table in tables:
            for column in table.itercols():
                if column.dtype.kind == 'f':
                    column.format = '.3f'
        return tables

    def _areas(self):
        """Give the area under the ROC of each class; NaN where all galaxies are of it, or none."""
        # The statistic of Mann and Whitney, fast enough for the bootstrap.
        ranks = np.sum(rankdata(self.probabilities, axis=0) * self.is_true, axis=0)
        n_true = self.is_true.sum(axis=0)
        n_pairs = n_true * (len(self.true) - n_true)
        with np.errstate(invalid='ignore'):
            return (ranks - n_true * (n_true + 1) / 2) / n_pairs

    def _take(self, rows):
        taken = {
            name: np.asarray(value)[rows]
            for name in ('true', 'probabilities', 'sets')
            if (value := getattr(self, name)) is not None
        }
        return dataclasses.replace(self, **taken)


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
    labels, is_labelled = known_classes(X, y, label_column)
    probabilities = classifier.predict_proba(X[is_labelled])
    return compare(classifier.model_.spec, probabilities, labels, np.flatnonzero(is_labelled))


def known_classes(X, y, label_column):
    """
    Find the samples whose true class is known.

    Parameters
    ----------
    X, y, label_column
        As in `evaluate`.

    Returns
    -------
    labels : ndarray, shape (n,)
        The true classes.
    is_labelled : ndarray of bool, shape (n,)
        Whether there is one.

    Raises
    ------
    ValueError
        If there is none at all.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.evaluation import known_classes
    >>> labels, is_labelled = known_classes(Table({'type': ['E', '', 'S']}), None, 'type')
    >>> labels[is_labelled].tolist()
    ['E', 'S']
    """
    table = catalog_of(X) if y is None else Table([y], names=[label_column])
    if table is None:
        msg = 'y is None, and X is no table that could hold the true classes; pass them as y'
        raise ValueError(msg)
    labels, is_labelled = read_labels(table, label_column)
    if not is_labelled.any():
        msg = (
            f'no row has a label in {label_column!r}; evaluation needs known classes, give them '
            'to some rows'
        )
        raise ValueError(msg)
    return labels, is_labelled


def compare(spec, probabilities, labels, rows):
    """
    Compare probabilities with known classes.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model that gave them.
    probabilities : ndarray, shape (n, n_classes)
        Of the rows with a label; NaN where there is no image.
    labels : ndarray
        The classes of all rows.
    rows : ndarray of int, shape (n,)
        Which rows have a label.

    Returns
    -------
    evaluation : `Evaluation`
        The comparison.

    Raises
    ------
    ValueError
        If there is no image of a galaxy that has a label.

    Examples
    --------
    The second of three galaxies has no label, and the third no image:

    >>> import numpy as np
    >>> from astro_morph.evaluation import compare
    >>> from astro_morph.models.spec import ModelSpec
    >>> spec = ModelSpec(('E', 'S'))
    >>> probabilities = np.array([[0.9, 0.1], [np.nan, np.nan]])
    >>> result = compare(spec, probabilities, np.array(['E', '', 'S']), np.array([0, 2]))
    >>> result.accuracy, result.n_missing
    (1.0, 1)
    """
    has_image = np.isfinite(probabilities).all(axis=1)
    if not has_image.any():
        msg = (
            f'none of the {len(has_image)} rows with a label has an image; annotate them to see why'
        )
        raise ValueError(msg)
    rows, probabilities = rows[has_image], probabilities[has_image]
    known, held_out = np.array(spec.classes), spec.conformity
    sets = prediction_sets(probabilities, held_out, coverage=COVERAGE) if held_out else None
    # A label that the model has never met is wrong whatever it says, and shows in the tables.
    classes = np.union1d(known, labels[rows])
    return Evaluation(
        classes,
        true=labels[rows],
        probabilities=_spread(probabilities, known, classes),
        sets=None if sets is None else _spread(sets, known, classes),
        rows=rows,
        n_missing=int(np.sum(~has_image)),
    )


def _spread(values, known, classes):
    """Give the columns of all classes, zero for those that the model does not know."""
    spread = np.zeros((len(values), len(classes)), values.dtype)
    spread[:, np.searchsorted(classes, known)] = values
    return spread
