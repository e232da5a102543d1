# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Evaluate a classifier on galaxies of known class: accuracy, calibration, confusion, ROC."""

import dataclasses
import itertools
import warnings

import numpy as np
from astropy.table import Table, vstack
from astropy.utils.exceptions import AstropyUserWarning
from scipy.stats import rankdata
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_curve

from astro_morph.catalog import probability_columns
from astro_morph.cutouts import as_samples, catalog_of, holds_images
from astro_morph.evaluation.fractions import class_fractions
from astro_morph.evaluation.groups import N_BINS, find_groups
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
from astro_morph.utils.messages import as_written, cut_list, for_caller

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

# Metrics of each group of galaxies.
GROUP_METRICS = ('accuracy', 'calibration_error', 'coverage')


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
    columns : `~astropy.table.Table`, default=None
        Columns of the catalogue for the n galaxies, see `groups`.
    by : tuple of str, default=()
        Columns whose groups are printed.

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
    columns: Table | None = None
    by: tuple = ()

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

    def groups(self, by, *, n_bins=N_BINS):
        """
        Return accuracy, calibration and coverage for each bin or kind of galaxies.

        Parameters
        ----------
        by : str or array_like, shape (n,)
            A column of the catalogue, or a value for each evaluated galaxy. Numbers are cut into
            bins of equal counts; text, and numbers of at most ``n_bins`` different values, are
            kinds.
        n_bins : int, default=5
            Number of bins.

        Returns
        -------
        table : `~astropy.table.Table`
            ``group``, ``n`` (number of galaxies), and ``accuracy``, ``calibration_error`` and, if
            there are sets, ``coverage``, each with its 95 % confidence interval, such as
            ``accuracy_low`` and ``accuracy_high``. Galaxies whose value is masked or empty are in
            no group.

        Raises
        ------
        ValueError
            If there is no such column, if it has no values, or if the length of an array is not n.

        Examples
        --------
        >>> from astro_morph.evaluation import Evaluation
        >>> evaluation = Evaluation(['E', 'S'], ['E', 'E', 'S', 'S'],
        ...                         [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
        >>> evaluation.groups(['faint', 'faint', 'bright', 'bright'])['group', 'accuracy'].pprint()
        group  accuracy
        ------ --------
        bright      1.0
         faint      0.5
        """
        values = self._values(by)
        groups = find_groups(values, n_bins=n_bins)
        number = groups.assign(values)
        parts = [self._take(np.flatnonzero(number == i)) for i in range(len(groups.names))]
        table = Table({'group': groups.names, 'n': [len(part.true) for part in parts]})
        for name in GROUP_METRICS if self.sets is not None else GROUP_METRICS[:-1]:
            table[name] = [getattr(part, name) for part in parts]
            limits = np.transpose([part.interval(name) for part in parts])
            table[f'{name}_low'], table[f'{name}_high'] = limits
        return table

    def fractions(self, sample, *, by=None, n_bins=N_BINS, level=0.9, prefix='morph_'):
        """
        Estimate the fraction of each class in other galaxies, corrected for the confusion.

        The evaluated galaxies show how the classes are confused. See
        `~astro_morph.evaluation.fractions.class_fractions` for the method. The fractions of a bin
        or kind are corrected for the confusion among the evaluated galaxies of that bin or kind.

        Parameters
        ----------
        sample : `~astropy.table.Table` or array_like, shape (m, n_classes)
            A catalogue that the same model has annotated; or the probabilities of its galaxies.
        by : str, default=None
            Column of this catalogue and of the evaluated one, by whose bins or kinds, as in
            `groups`, the fractions are estimated; all galaxies together if None.
        n_bins : int, default=5
            Number of bins.
        level : float, default=0.9
            Confidence level.
        prefix : str, default='morph_'
            Prefix of the columns of the probabilities.

        Returns
        -------
        table : `~astropy.table.Table`
            ``class``, ``n``, ``counted``, ``fraction``, ``low`` and ``high``; and ``group``, if
            there is ``by``.

        Raises
        ------
        ValueError
            If the sample has no such columns or no predictions.

        Warns
        -----
        AstropyUserWarning
            If galaxies of the sample are in none of the groups of the evaluated galaxies, or a
            class has fewer than two evaluated galaxies, all together or in a group: its fractions
            are NaN.

        Examples
        --------
        >>> from astro_morph.evaluation import Evaluation
        >>> evaluation = Evaluation(['E', 'S'], ['E'] * 10 + ['S'] * 10,
        ...                         [[0.9, 0.1]] * 10 + [[0.9, 0.1]] * 2 + [[0.1, 0.9]] * 8)
        >>> sample = [[0.9, 0.1]] * 60 + [[0.1, 0.9]] * 40
        >>> evaluation.fractions(sample)['class', 'fraction'].pprint()
        class fraction
        ----- --------
            E    0.500
            S    0.500
        """
        probabilities = self._read_probabilities(sample, prefix)
        if by is None:
            return class_fractions(
                self.classes, self.true, self.probabilities, probabilities, level=level
            )
        _check_columns(by, sample)
        values = self._values(by)
        groups = find_groups(values, n_bins=n_bins)
        here, there = groups.assign(values), groups.assign(sample[by])
        if (there < 0).any():
            warnings.warn(
                f'{np.sum(there < 0)} of {len(there)} galaxies have no {by}, or one outside that '
                'of the evaluated galaxies, and are in no group; evaluate galaxies like them',
                AstropyUserWarning,
                stacklevel=2,
            )
        tables = []
        for i, name in enumerate(groups.names):
            if not (there == i).any():
                continue
            part = self._take(np.flatnonzero(here == i))
            table = class_fractions(
                part.classes, part.true, part.probabilities, probabilities[there == i], level=level
            )
            table.add_column(name, index=0, name='group')
            tables.append(table)
        return vstack(tables)

    def _values(self, by):
        """Return the values of a column, or those that are given, for the evaluated galaxies."""
        if isinstance(by, str):
            _check_columns(by, self.columns)
            return self.columns[by]
        if len(by) != len(self.true):
            msg = (
                f'by has {len(by)} values, expected one for each of the {len(self.true)} evaluated '
                'galaxies; take those of rows'
            )
            raise ValueError(msg)
        return by

    def _read_probabilities(self, sample, prefix):
        """Return the probabilities of a sample, in the order of the classes."""
        if isinstance(sample, Table):
            names = probability_columns(self.classes, prefix=prefix)
            _check_columns(names, sample, argument='sample')
            columns = (np.ma.asarray(sample[name]).astype(float) for name in names)
            return np.column_stack([column.filled(np.nan) for column in columns])
        sample = np.asarray(sample, float)
        if sample.ndim != 2 or sample.shape[1] != len(self.classes):
            msg = (
                f'sample has the shape {sample.shape}, expected an annotated table, or '
                f'probabilities of the {len(self.classes)} classes, one row a galaxy'
            )
            raise ValueError(msg)
        return sample

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
        """Return the metrics of all galaxies, classes and groups, formatted with three digits."""
        tables = [self.summary(), self.to_table(), self.ranking()]
        for name in self.by:
            tables.append(self.groups(name))
            if name not in tables[-1].colnames:
                tables[-1].rename_column('group', name)
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
            for name in ('true', 'probabilities', 'sets', 'rows')
            if (value := getattr(self, name)) is not None
        }
        columns = None if self.columns is None else self.columns[rows]
        return dataclasses.replace(self, columns=columns, n_missing=0, **taken)


def evaluate(classifier, X, y=None, *, label_column='morphology', by=None):
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
    by : str or sequence of str, default=None
        Columns of the catalogue by whose bins or kinds the evaluation is printed too, see
        `Evaluation.groups`.

    Returns
    -------
    evaluation : `Evaluation`
        The predictions, with metrics and tables.

    Raises
    ------
    ValueError
        If no galaxy has a label, or none with a label has an image, or no label is a class of the
        classifier, or the catalogue lacks a column of ``by``.

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
    by = read_groups(X, by)
    labels, is_labelled = read_true_classes(X, y, label_column, classes)
    probabilities = classifier.predict_proba(as_samples(X)[is_labelled])
    rows = np.flatnonzero(is_labelled)
    evaluation = evaluate_probabilities(classifier.model_.spec, probabilities, labels, rows)
    return with_columns(evaluation, X, by)


def read_groups(X, by):
    """Return the names of columns to group by, as given to `evaluate`, if they are there."""
    names = (by,) if isinstance(by, str) else tuple(by or ())
    table = _table_of(X)
    for name in names:
        _check_columns(name, table)
        find_groups(table[name])
    return names


def with_columns(evaluation, X, by):
    """Return an evaluation with the columns of its galaxies, and those it is printed by."""
    table = _table_of(X)
    if table is None:
        return evaluation
    flat = [name for name in table.colnames if len(table[name].shape) == 1]
    return dataclasses.replace(evaluation, columns=Table(table[flat][evaluation.rows]), by=by)


def _table_of(X):
    return catalog_of(X) if holds_images(X) else None


def _check_columns(names, table, argument='by'):
    """Check that a table has a column, or several."""
    names = [names] if isinstance(names, str) else names
    there = [] if table is None else table.colnames
    missing = [name for name in names if name not in there]
    if missing:
        msg = (
            f'{as_written(argument)} names {cut_list(missing)}, expected columns of the table, '
            f'{cut_list(there)}; name one of them'
        )
        raise ValueError(msg)


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
