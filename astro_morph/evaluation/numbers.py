# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compare predicted numbers with known ones: bias, scatter, outliers, coverage of intervals."""

import numpy as np
from astropy.stats import mad_std
from astropy.table import Column, Table
from sklearn.metrics import r2_score

__all__ = ['check_any_known', 'compare_numbers']

# Errors beyond this many NMAD are outliers, as usual for photometric redshifts.
OUTLIER = 5


def compare_numbers(names, true, predicted, intervals, *, units=None):
    """
    Compare predicted numbers with known ones.

    Parameters
    ----------
    names : sequence of str
        Names of the k numbers.
    true, predicted : ndarray, shape (n, k)
        True and predicted numbers; NaN where unknown.
    intervals : tuple of ndarray, shape (n, k)
        Lower and upper ends of the intervals.
    units : sequence of `~astropy.units.Unit` or None, default=None
        Units of the numbers; they are in the column ``unit``.

    Returns
    -------
    errors : `~astropy.table.Table`
        A row for each number: its ``name`` and ``unit``; ``n``, how many galaxies were compared; of
        the errors (predicted minus true) the mean ``bias``, the root of the mean square ``rms`` and
        the normalised median absolute deviation ``nmad``; the fraction of ``outliers``, which are
        further than 5 nmad from the median error; the coefficient of determination ``r2``; and the
        ``coverage`` and the median ``width`` of the intervals. NaN if undefined.

    Raises
    ------
    ValueError
        If no galaxy has both a true and a predicted number.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.evaluation.numbers import compare_numbers
    >>> true = np.array([[1.0], [2.0], [3.0], [np.nan]])
    >>> predicted = true + 0.5
    >>> errors = compare_numbers(['bulge'], true, predicted, (predicted - 1, predicted + 1))
    >>> errors['name', 'n', 'bias', 'coverage'].pprint()
     name  n  bias coverage
    ----- --- ---- --------
    bulge   3  0.5        1
    """
    is_known = np.isfinite(true) & np.isfinite(predicted)
    check_any_known(is_known)
    low, high = intervals
    rows = [
        _compare(*(values[known, k] for values in (true, predicted, low, high)))
        for k, known in enumerate(is_known.T)
    ]
    table = Table(rows)
    units = [''] * len(names) if units is None else [str(unit or '') for unit in units]
    table.add_columns([Column(list(names)), Column(units)], [0, 0], ['name', 'unit'])
    for column in table.columns[3:].values():
        column.format = '.3g'
    return table


def check_any_known(is_known):
    """
    Check that there is anything to compare.

    Parameters
    ----------
    is_known : ndarray of bool
        Whether both a true and a predicted number are known.

    Raises
    ------
    ValueError
        If none are.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.evaluation.numbers import check_any_known
    >>> check_any_known(np.array([True, False]))
    """
    if not is_known.any():
        msg = (
            'no galaxy has both a known number and a prediction; check that the true numbers are '
            'not all masked, and annotate X to see in the column morph_status who has no image'
        )
        raise ValueError(msg)


def _compare(true, predicted, low, high):
    """Return the measures of one number by name."""
    n = len(true)
    if n == 0:
        names = ('bias', 'rms', 'nmad', 'outliers', 'r2', 'coverage', 'width')
        return {'n': 0} | dict.fromkeys(names, np.nan)
    error = predicted - true
    is_known = ~np.isnan(low)
    is_covered = ((low <= true) & (true <= high))[is_known]
    nmad = mad_std(error)
    return {
        'n': n,
        'bias': np.mean(error),
        'rms': np.sqrt(np.mean(error**2)),
        'nmad': nmad,
        'outliers': np.mean(np.abs(error - np.median(error)) > OUTLIER * nmad),
        'r2': r2_score(true, predicted) if n > 1 else np.nan,
        'coverage': np.mean(is_covered) if is_known.any() else np.nan,
        'width': np.median((high - low)[is_known]) if is_known.any() else np.nan,
    }
