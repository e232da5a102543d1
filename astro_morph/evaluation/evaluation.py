# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Evaluate a classifier on galaxies of known class: accuracy, calibration, confusion, ROC."""

import dataclasses
import itertools

import numpy as np
from astropy.table import Table
from scipy.stats import rankdata
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_curve

from astro_morph.cutouts import as_samples, catalog_of
from astro_morph.evaluation.intervals import (
    brier_interval,
    calibration_interval,
    mean_proportion_interval,
    proportion_interval,
    roc_area_interval,
    set_size_interval,
)
from astro_morph.evaluation.ranking import NAMES, ranking_measures
from astro_morph.learning.labels import check_known, labels_of
from astro_morph.models.calibration import prediction_sets, reliability
from astro_morph.utils.messages import as_written, for_caller

__all__ = ['Evaluation', 'evaluate']

# Nominal coverage of the sets of classes.
COVERAGE = 0.9

# Metrics of all galaxies together; the last two need sets.
METRICS = (
    'accuracy',
    'balanced_accuracy',
    'roc_auc',
    'calibration_error',
    'brier_score',
    'coverage',
    'set_size',
)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """
    Predictions for labelled galaxies, and metrics of how good they are.

    Parameters
    ----------
    classes : ndarray, shape (n_classes,)
        The classes of the model and of the labels.
    true : ndarray, shape (n,)
        True classes of the galaxies with a label and an image.
    probabilities : ndarray, shape (n, n_classes)
        Predicted probabilities; 0 for a class that the model does not know.
    sets : ndarray of bool, shape (n, n_classes), default=None
        Sets of classes that should contain the true class for 90 % of the galaxies.
    rows : ndarray of int, shape (n,), default=None
        Row numbers of the galaxies in the evaluated samples.
    n_missing : int, default=0
        Number of labelled galaxies without an image, which are omitted.

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
        Join evaluations of different galaxies, such as the folds of a cross-validation.

        Parameters
        ----------
        evaluations : sequence of Evaluation
            Evaluations with the same classes.

        Returns
        -------
        evaluation : Evaluation
            The joint evaluation, without row numbers.
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
        """The most probable classes, an ndarray of shape (n,)."""
        return np.asarray(self.classes)[np.argmax(self.probabilities, axis=1)]

    @property
    def is_right(self):
        """Whether each predicted class is true, an ndarray of bool of shape (n,)."""
        return self.predicted == np.asarray(self.true)

    @property
    def is_true(self):
        """Whether each class is the true one, an ndarray of bool of shape (n, n_classes)."""
        return np.asarray(self.true)[:, np.newaxis] == np.asarray(self.classes)

    @property
    def accuracy(self):
        """Fraction of galaxies with the right class."""
        return float(np.mean(self.is_right))

    @property
    def balanced_accuracy(self):
        """Mean recall of the true classes, so that rare classes count as much as others."""
        is_true = self.is_true[:, self.is_true.any(axis=0)]
        return float(np.mean(is_true[self.is_right].sum(axis=0) / is_true.sum(axis=0)))

    @property
    def confusion(self):
        """Confusion matrix of shape (n_classes, n_classes): rows are true, columns predicted."""
        return confusion_matrix(self.true, self.predicted, labels=self.classes)

    @property
    def roc_auc(self):
        """Mean area under the ROC curves of the classes; NaN if no class has one."""
        areas = self._areas()
        return float(np.nanmean(areas)) if np.isfinite(areas).any() else np.nan

    @property
    def calibration_error(self):
        """
        Expected calibration error in 15 bins, without the part that is due to chance.

        See `~astro_morph.evaluation.intervals.calibration_interval`. The error of Guo et al. (2017,
        equation 3) is `~astro_morph.models.calibration.expected_calibration_error`.
        """
        return calibration_interval(np.max(self.probabilities, axis=1), self.is_right)[0]

    @property
    def brier_score(self):
        """Mean squared error of the probabilities, summed over the classes (Brier 1950)."""
        return float(np.mean(np.sum((self.probabilities - self.is_true) ** 2, axis=1)))

    @property
    def coverage(self):
        """Fraction of the 90 % sets that contain the true class; NaN without sets."""
        return np.nan if self.sets is None else float(np.mean(self.sets[self.is_true]))

    @property
    def set_size(self):
        """Mean number of classes in a set; NaN without sets."""
        return np.nan if self.sets is None else float(np.mean(np.sum(self.sets, axis=1)))

    def roc(self, label):
        """
        Compute the receiver operating characteristic (ROC) of one class against the others.

        Parameters
        ----------
        label : object
            The class.

        Returns
        -------
        false_positives, true_positives : ndarray
            False positive rate and true positive rate at each threshold.
        """
        k = list(self.classes).index(label)
        return roc_curve(self.is_true[:, k], np.asarray(self.probabilities)[:, k])[:2]

    def reliability(self):
        """Return number, mean confidence and accuracy of the galaxies in 15 bins of confidence."""
        return reliability(np.max(self.probabilities, axis=1), self.is_right)

    def interval(self, metric, *, level=0.95):
        """
        Compute the confidence interval of a metric.

        It says how far the metric of these galaxies can be from that of all galaxies like them, by
        chance. How the classifier would change with other training galaxies is not included.
        `astro_morph.evaluation.intervals` describes the methods.

        Parameters
        ----------
        metric : {'accuracy', 'balanced_accuracy', 'roc_auc', 'calibration_error', 'brier_score', \
                'coverage', 'set_size'}
            Name of the property.
        level : float, default=0.95
            Confidence level.

        Returns
        -------
        low, high : float
            The interval; NaN if the metric is NaN.

        Raises
        ------
        ValueError
            If the metric has no interval.

        Examples
        --------
        >>> from astro_morph.evaluation import Evaluation
        >>> result = Evaluation(['E', 'S'], ['E'] * 20, [[0.9, 0.1]] * 20)
        >>> low, high = result.interval('accuracy')  # 20 of 20 are right
        >>> round(low, 2), high
        (0.84, 1.0)
        """
        if metric not in METRICS:
            msg = f'metric is {metric!r}, expected one of {METRICS}'
            raise ValueError(msg)
        # The calibration error is always known, and takes a simulation.
        if metric != 'calibration_error' and np.isnan(getattr(self, metric)):
            return np.nan, np.nan
        low, high = getattr(self, f'_{metric}_interval')(level)
        return float(low), float(high)

    def _accuracy_interval(self, level):
        return proportion_interval(self.accuracy, len(self.true), level=level)

    def _coverage_interval(self, level):
        return proportion_interval(self.coverage, len(self.true), level=level)

    def _balanced_accuracy_interval(self, level):
        is_true = self.is_true[:, self.is_true.any(axis=0)]
        n = is_true.sum(axis=0)
        recall = is_true[self.is_right].sum(axis=0) / n
        return mean_proportion_interval(recall, n, level=level)

    def _roc_auc_interval(self, level):
        columns = np.isfinite(self._areas())
        probabilities = np.asarray(self.probabilities)[:, columns]
        return roc_area_interval(probabilities, self.is_true[:, columns], level=level)

    def _calibration_error_interval(self, level):
        confidence = np.max(self.probabilities, axis=1)
        return calibration_interval(confidence, self.is_right, level=level)[1:]

    def _brier_score_interval(self, level):
        return brier_interval(np.asarray(self.probabilities), self.is_true, level=level)

    def _set_size_interval(self, level):
        return set_size_interval(np.sum(self.sets, axis=1), level=level)

    def worst(self, n=24):
        """
        Return the most confident misclassifications.

        Parameters
        ----------
        n : int, default=24
            Largest number of galaxies.

        Returns
        -------
        table : `~astropy.table.Table`
            ``row`` in the evaluated samples, ``true`` and ``predicted`` class, ``confidence``.
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
        Return the metrics of each class.

        Returns
        -------
        table : `~astropy.table.Table`
            ``class``, ``n`` (number of galaxies of the class), ``precision``, ``recall`` and
            ``roc_auc``; and ``precision_low``, ``precision_high``, ``recall_low`` and
            ``recall_high``, 95 % confidence intervals (Wilson 1927). NaN if undefined.
        """
        precision, recall, _, n = precision_recall_fscore_support(
            self.true, self.predicted, labels=self.classes, zero_division=np.nan
        )
        table = Table(
            {
                'class': self.classes,
                'n': n,
                'precision': precision,
                'recall': recall,
                'roc_auc': self._areas(),
            }
        )
        n_predicted = self.confusion.sum(axis=0)
        for name, fraction, of in (('precision', precision, n_predicted), ('recall', recall, n)):
            table[f'{name}_low'], table[f'{name}_high'] = proportion_interval(fraction, of)
        return table

    def ranking(self):
        """
        Return how well the probability of each class ranks its galaxies before all others.

        Returns
        -------
        table : `~astropy.table.Table`
            ``class``, ``n`` (number of galaxies of the class), ``pr_auc``, ``precision_top`` and
            ``n_for_90``, see `~astro_morph.evaluation.ranking.ranking_measures`.
        """
        of_classes = zip(np.transpose(self.probabilities), self.is_true.T, strict=True)
        measures = [ranking_measures(scores, is_true) for scores, is_true in of_classes]
        table = Table({'class': self.classes, 'n': self.is_true.sum(axis=0)})
        for name, values in zip(NAMES, np.transpose(measures), strict=True):
            table[name] = values
        return table

    def summary(self):
        """
        Return the metrics of all galaxies together.

        Returns
        -------
        table : `~astropy.table.Table`
            ``figure``, its ``value``, and ``low`` and ``high``, its 95 % confidence interval.
        """
        names = list(METRICS if self.sets is not None else METRICS[:-2])
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
            align = '<' if 'figure' in table.colnames else None
            # All columns, also where the output is no terminal.
            lines += ['', *table.pformat(align=align, max_lines=-1, max_width=-1)]
        return '\n'.join(lines)

    def _repr_html_(self):
        tables = (table.pformat(html=True, max_lines=-1, max_width=-1) for table in self._tables())
        return '\n'.join([f'<p>{self._count()}</p>', *itertools.chain(*tables)])

    def _count(self):
        missing = f', {self.n_missing} more have no image' if self.n_missing else ''
        return f'{len(self.true)} galaxies{missing}'

    def _tables(self):
        """Return the metrics of all galaxies and of each class, formatted with three digits."""
        tables = self.summary(), self.to_table(), self.ranking()
        for table in tables:
            for column in table.itercols():
                if column.dtype.kind == 'f':
                    column.format = '.0f' if column.name == 'n_for_90' else '.3f'
        return tables

    def _areas(self):
        """Return the area under each ROC curve; NaN for a class of all galaxies, or of none."""
        # The Mann-Whitney statistic.
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
    Evaluate a fitted classifier on labelled galaxies.

    Parameters
    ----------
    classifier : `~astro_morph.MorphologyClassifier` or `~astro_morph.OnnxClassifier`
        The fitted classifier.
    X : object
        Samples, as in ``classifier.predict``; those without a label are omitted.
    y : array_like, shape (n,), default=None
        The true classes; by default those in the column ``label_column``.
    label_column : str, default='morphology'
        Column with the true classes.

    Returns
    -------
    evaluation : `Evaluation`
        The predictions, with metrics and tables.

    Raises
    ------
    ValueError
        If no galaxy has a label, or none with a label has an image, or no label is a class of the
        classifier.

    Warns
    -----
    AstropyUserWarning
        If some labels are no classes of the classifier; they count as wrong.

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
    classes = classifier.model_.spec.classes
    labels, is_labelled = read_true_classes(X, y, label_column, classes)
    probabilities = classifier.predict_proba(as_samples(X)[is_labelled])
    rows = np.flatnonzero(is_labelled)
    return evaluate_probabilities(classifier.model_.spec, probabilities, labels, rows)


def read_true_classes(X, y, label_column, classes):
    """Return the true classes of samples, as given to `evaluate`, and whether each has one."""
    if y is None and catalog_of(X) is None:
        msg = 'y is None, and X has no table with true classes; pass them as y'
        raise ValueError(msg)
    labels, is_labelled = labels_of(X, y, label_column)
    if not is_labelled.any():
        msg = (
            f'{as_written("label_column")} names {label_column!r}, in which no row has a label, '
            'expected the true classes of some rows; fill them in'
            + for_caller(', or pass y', ', or name another column')
        )
        raise ValueError(msg)
    check_known(labels[is_labelled], classes)
    return labels, is_labelled


def evaluate_probabilities(spec, probabilities, labels, rows):
    """
    Evaluate the probabilities that a model predicted for labelled rows.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        Specification of the model.
    probabilities : ndarray, shape (m, n_classes)
        Probabilities for the labelled rows; NaN for a row without an image.
    labels : ndarray, shape (n,)
        True classes of all rows.
    rows : ndarray of int, shape (m,)
        Numbers of the labelled rows.

    Returns
    -------
    evaluation : `Evaluation`
        The evaluation of the rows with an image.

    Raises
    ------
    ValueError
        If no labelled row has an image.
    """
    has_image = np.isfinite(probabilities).all(axis=1)
    if not has_image.any():
        msg = (
            f'none of the {len(has_image)} rows with a label has an image; annotate X to see why, '
            'in the column morph_status'
        )
        raise ValueError(msg)
    rows, probabilities = rows[has_image], probabilities[has_image]
    known, held_out = np.array(spec.classes), spec.conformity
    sets = prediction_sets(probabilities, held_out, coverage=COVERAGE) if held_out else None
    # A label that the model does not know counts as wrong, and appears in the tables.
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
    """Return a column for each class, zero for those that the model does not know."""
    spread = np.zeros((len(values), len(classes)), values.dtype)
    spread[:, np.searchsorted(classes, known)] = values
    return spread
