# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Methods that all fitted models of numbers share: predict, predict_interval, score, evaluate."""

import astropy.units as u
import numpy as np

from astro_morph.estimators.predictor import Predictor
from astro_morph.learning.labels import numbers_of, weights_of
from astro_morph.prediction.numbers import expected_numbers, number_intervals, units_of
from astro_morph.prediction.predict import predict

__all__ = ['NumberPredictor']


class NumberPredictor(Predictor):
    """
    Mixin of a model of numbers.

    A subclass has the attributes ``model_``, ``source``, ``target`` and ``verbose``.
    """

    @property
    def targets_(self):
        """Names of the numbers, an ndarray of str, shape (k,)."""
        self._check_fitted()
        return np.array(self.model_.spec.classes)

    @property
    def units_(self):
        """Units of the numbers, a list of `~astropy.units.Unit`; None for those without one."""
        self._check_fitted()
        return units_of(self.model_.spec)

    def predict(self, X):
        """
        Predict the numbers of each sample.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.

        Returns
        -------
        numbers : ndarray, shape (n,), or (n, k) for several numbers
            In the order and units of ``targets_`` and ``units_``; NaN in the rows without an image.
        """
        predictions = self._run(predict, X)
        return _squeeze(expected_numbers(self.model_.spec, predictions.logits))

    def predict_interval(self, X, coverage=0.9):
        """
        Predict an interval for each sample that holds the true number with a given probability.

        For galaxies like the labelled ones, ``coverage`` is guaranteed on average under the
        conditions of `MorphologyClassifier.predict_set
        <astro_morph.MorphologyClassifier.predict_set>`. The intervals are wide where predictions
        are bad, and follow skewed errors, see
        `~astro_morph.models.calibration.number_scores`.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.
        coverage : float, default=0.9
            Fraction of galaxies whose interval is to hold the true number, between 0 and 1.

        Returns
        -------
        low, high : ndarray, shape (n,), or (n, k) for several numbers
            The ends, in the units of the numbers; NaN in the rows without an image. They are
            infinite if fewer galaxies than ``2 / (1 - coverage)`` were held out.

        Raises
        ------
        ValueError
            If the labels were too few to hold some out.
        """
        self._check_fitted()
        spec = self.model_.spec
        if not any(number['scores'] for number in spec.numbers.values()):
            msg = (
                'the model has no scores of galaxies held out, from which the intervals are '
                'computed; fit it with more numbers'
            )
            raise ValueError(msg)
        ends = number_intervals(spec, self._run(predict, X).logits, coverage=coverage)
        return tuple(map(_squeeze, ends))

    def score(self, X, y=None, sample_weight=None):
        """
        Compute the coefficient of determination, R squared, of the rows with a number and an image.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`.
        y : array_like, shape (n,) or (n, k), default=None
            True numbers; those of the columns ``target``, or of the names of the numbers, if None.
        sample_weight : array_like, shape (n,), default=None
            Weight of each sample; equal weights if None.

        Returns
        -------
        r2 : float
            1 for perfect predictions, 0 for the mean; the mean over several numbers that are known.

        Raises
        ------
        ValueError
            If no row has both a number and an image.
        """
        from sklearn.metrics import r2_score

        from astro_morph.evaluation.numbers import check_any_known

        true, predicted = self._true_numbers(X, y), self.predict(X).reshape(len(X), -1)
        is_known = np.isfinite(true) & np.isfinite(predicted)
        check_any_known(is_known)
        weights = np.zeros(len(true))
        rows = np.flatnonzero(is_known.any(axis=1))
        weights[rows] = weights_of(sample_weight, X, rows)
        scores = [
            r2_score(true[known, k], predicted[known, k], sample_weight=weights[known])
            for k, known in enumerate(is_known.T)
            if known.any()
        ]
        return float(np.mean(scores))

    def evaluate(self, X, y=None):
        """
        Compare the predictions with known numbers.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `annotate`, preferably not those of the training.
        y : array_like, shape (n,) or (n, k), default=None
            True numbers; those of the columns ``target``, or of the names of the numbers, if None.

        Returns
        -------
        errors : `~astropy.table.Table`
            A row for each number, see `~astro_morph.evaluation.numbers.compare_numbers`.

        Raises
        ------
        ValueError
            If no row has both a number and an image.
        """
        from astro_morph.evaluation.numbers import compare_numbers

        true = self._true_numbers(X, y)
        spec, outputs = self.model_.spec, self._run(predict, X).logits
        ends = number_intervals(spec, outputs)
        return compare_numbers(
            self.targets_, true, expected_numbers(spec, outputs), ends, units=self.units_
        )

    def _true_numbers(self, X, y):
        """Return the true numbers in the units of the model, shape (n, k)."""
        names = self.target or [*self.model_.spec.classes]
        table = numbers_of(X, y, names)
        if len(table.colnames) != len(self.units_):
            what = 'y' if y is not None else 'target'
            msg = (
                f'{what} has {len(table.colnames)} columns, the model predicts '
                f'{len(self.units_)} numbers {[*self.model_.spec.classes]}; pass those'
            )
            raise ValueError(msg)
        if set(table.colnames) == set(self.model_.spec.classes):
            table = table[[*self.model_.spec.classes]]
        columns = zip(table.itercols(), self.units_, strict=True)
        return np.column_stack([_in_unit(column, unit) for column, unit in columns])


def _in_unit(column, unit):
    """Return the values of a column in a unit; numbers without a unit stay as they are."""
    if unit is None or column.unit is None:
        return np.array(column)
    if not column.unit.is_equivalent(unit):
        msg = (
            f'the numbers {column.name!r} have the unit {str(column.unit)!r}, the model predicts '
            f'them in {str(unit)!r}; pass the same quantity'
        )
        raise u.UnitConversionError(msg)
    return np.array(column.to(unit))


def _squeeze(numbers):
    return numbers[:, 0] if numbers.shape[1] == 1 else numbers
