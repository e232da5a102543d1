# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compute confidence intervals of metrics, which hold also for few galaxies and near 0 and 1."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit, ndtri, stdtrit
from scipy.stats import rankdata

from astro_morph.models.calibration import reliability

__all__ = [
    'brier_interval',
    'calibration_interval',
    'combine_intervals',
    'jump_interval',
    'mean_proportion_interval',
    'proportion_interval',
    'roc_area_interval',
    'set_size_interval',
]

# Simulated samples at each miscalibration, and the miscalibrations: rms change of the log-odds, in
# small steps where the error is small. At 8, all probabilities are 0 or 1.
N_SIMULATIONS = 800
CHANGES = 8 * np.linspace(0, 1, 25) ** 2

# Standard deviation of the prior of the log-odds' two changes, wide enough for any classifier.
PRIOR = 2.0

# Trials by which the recall of a class is drawn towards the mean of the classes.
DRAWN_BY = 8

# Galaxies of the rarer side by which the variance of an area is drawn towards that of Newcombe, and
# the limits of their ratio.
AREA_DRAWN_BY = 15
VARIANCE_RATIOS = (0.25, 4.0)

# Resolution of the interval of an area under the ROC curve.
AREAS = np.linspace(0, 1, 2001)


def proportion_interval(fraction, n, *, level=0.95):
    """
    Compute the score interval of a proportion (Wilson 1927, JASA 22, 209).

    Parameters
    ----------
    fraction : array_like
        Observed fraction; times ``n`` it need not be an integer.
    n : array_like
        Number of trials.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    low, high : ndarray
        The interval; NaN if ``n`` is 0. Unlike that of the bootstrap, it has a width if the
        fraction is 0 or 1.

    Examples
    --------
    >>> from astro_morph.evaluation.intervals import proportion_interval
    >>> low, high = proportion_interval(1.0, 20)
    >>> round(float(low), 2), float(high)
    (0.84, 1.0)
    """
    return _score_interval(fraction, n, _sigmas(level))


def mean_proportion_interval(fractions, n, *, level=0.95):
    """
    Compute the interval of the mean of several proportions, such as the recalls of classes.

    The mean has the interval of one proportion, whose number of trials gives it the variance of the
    mean. The fractions of few trials are drawn towards the mean for this: if all of them are 1, the
    true ones are not.

    Parameters
    ----------
    fractions, n : array_like, shape (k,)
        Observed fractions, and their numbers of trials.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    low, high : ndarray
        The interval.

    Examples
    --------
    >>> from astro_morph.evaluation.intervals import mean_proportion_interval
    >>> low, high = mean_proportion_interval([0.9, 0.7], [10, 10])
    >>> round(float(low), 2), round(float(high), 2)
    (0.59, 0.92)
    """
    fractions, n = np.asarray(fractions, float), np.asarray(n, float)
    mean = fractions.mean()
    drawn = mean + n / (n + DRAWN_BY) * (fractions - mean)
    variance = np.sum(drawn * (1 - drawn) / n) / len(n) ** 2
    if variance > 0:
        return proportion_interval(mean, mean * (1 - mean) / variance, level=level)
    return proportion_interval(mean, len(n) ** 2 / np.sum(1 / n), level=level)


def combine_intervals(values, low, high, *, correlation=None):
    """
    Compute the interval of a sum from those of its terms (Zou & Donner 2008, Stat. Med. 27, 1693).

    Parameters
    ----------
    values, low, high : array_like, shape (k,)
        The terms, and the bounds of their intervals.
    correlation : array_like, shape (k, k), default=None
        Correlation of their errors; None if they are independent.

    Returns
    -------
    low, high : float
        The interval, at the level of those of the terms.

    Examples
    --------
    >>> from astro_morph.evaluation.intervals import combine_intervals
    >>> combine_intervals([1.0, 2.0], [0.7, 1.6], [1.3, 2.4])
    (2.5, 3.5)
    """
    values = np.asarray(values, float)
    correlation = np.eye(len(values)) if correlation is None else correlation
    below, above = values - low, high - values
    to_low, to_high = (np.sqrt(max(span @ correlation @ span, 0)) for span in (below, above))
    return float(values.sum() - to_low), float(values.sum() + to_high)


def set_size_interval(sizes, *, level=0.95):
    """
    Compute the interval of the mean number of classes in a set.

    Most sets have the same size. Larger and smaller ones are jumps from it, whose numbers have
    Wilson intervals, see `jump_interval`.

    Parameters
    ----------
    sizes : array_like of int, shape (n,)
        Numbers of classes.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    low, high : float
        The interval.

    Examples
    --------
    >>> from astro_morph.evaluation.intervals import set_size_interval
    >>> low, high = set_size_interval([1] * 28 + [2, 2])
    >>> bool(low < 32 / 30 < high)
    True
    """
    sizes = np.asarray(sizes)
    common = np.bincount(sizes).argmax()
    more, less = np.maximum(sizes - common, 0), np.maximum(common - sizes, 0)
    more_low, more_high = jump_interval(more, 1.0, 1.0, level=level)
    less_low, less_high = jump_interval(less, 1.0, 1.0, level=level)
    low, high = combine_intervals(
        [more.mean(), -less.mean()],
        [more_low, -less_high],
        [more_high, -less_low],
        correlation=_correlate(np.transpose([more, -less]), unknown=0.0),
    )
    return max(common + low, 0.0), common + high


def jump_interval(jumps, expected, expected_square, *, level=0.95):
    """
    Compute the interval of the mean of jumps that few galaxies have.

    Divided by the size of a jump, the mean is a proportion, and has its interval. The size comes
    from the jumps and, as if it were one more, from the one that is expected: a small sample
    without any jump does not mean that there are none.

    Parameters
    ----------
    jumps : array_like, shape (n,)
        The jumps; 0 for galaxies without one.
    expected, expected_square : float
        Expected jump, and its square.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    low, high : float
        The interval.

    Examples
    --------
    >>> from astro_morph.evaluation.intervals import jump_interval
    >>> low, high = jump_interval([0.0] * 20, 2.0, 4.0)
    >>> float(low), round(float(high), 2)
    (0.0, 0.36)
    """
    jumps = np.asarray(jumps, float)
    total = jumps.sum() + expected
    if total <= 0:
        return 0.0, 0.0
    size = (np.sum(jumps**2) + expected_square) / total
    # The size is measured on the same galaxies: as wide as a t interval.
    sigmas = _t_sigmas(level, len(jumps))
    rate = jumps.mean() / size
    low, high = _score_interval(rate, len(jumps), sigmas)
    return size * low, size * high


def brier_interval(probabilities, is_true, *, level=0.95):
    """
    Compute the interval of the Brier score.

    The score is what it would be without any mistake, and a jump for each mistake. The mean of the
    first part has a t interval, and that of the second the interval of `jump_interval`, with the
    jump that the probabilities predict.

    Parameters
    ----------
    probabilities : ndarray, shape (n, n_classes)
        Predicted probabilities.
    is_true : ndarray of bool, shape (n, n_classes)
        Whether each class is the true one.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    low, high : float
        The interval.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.evaluation.intervals import brier_interval
    >>> probabilities = np.tile([0.9, 0.1], (20, 1))
    >>> low, high = brier_interval(probabilities, probabilities > 0.5)  # no mistake: 0.02
    >>> round(low, 2), round(high, 2)
    (0.02, 0.31)
    """
    n = len(probabilities)
    top = probabilities.max(axis=1)
    squares = np.sum(probabilities**2, axis=1)
    if_right = squares - 2 * top + 1
    jump = 2 * (top - np.sum(probabilities * is_true, axis=1))
    others = np.maximum(1 - top, 1e-12)
    predicted = 2 * (top - (squares - top**2) / others)
    expected = [np.average(predicted**power, weights=others) for power in (1, 2)]
    jumps_low, jumps_high = jump_interval(jump, *expected, level=level)
    half = _t_sigmas(level, n) * if_right.std(ddof=min(1, n - 1)) / np.sqrt(n)
    means = np.array([if_right.mean(), jump.mean()])
    low, high = combine_intervals(
        means,
        [means[0] - half, jumps_low],
        [means[0] + half, jumps_high],
        correlation=_correlate(np.transpose([if_right, jump]), unknown=0.0),
    )
    return max(low, 0.0), min(high, 2.0)


def roc_area_interval(probabilities, is_true, *, level=0.95):
    """
    Compute the interval of the mean area under the ROC curves of some classes.

    That of each class is the score interval of Newcombe (2006, Stat. Med. 25, 559, method 5), which
    has a width if the area is 1. The more galaxies there are, the more its variance is that of
    DeLong, DeLong & Clarke-Pearson (1988, Biometrics 44, 837), whose correlation combines them.

    Parameters
    ----------
    probabilities : ndarray, shape (n, k)
        Probabilities of k classes.
    is_true : ndarray of bool, shape (n, k)
        Whether each class is the true one; neither for all rows nor for none.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    low, high : float
        The interval.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.evaluation.intervals import roc_area_interval
    >>> is_true = np.arange(20)[:, np.newaxis] >= 10
    >>> low, high = roc_area_interval(is_true.astype(float), is_true)  # an area of 1
    >>> round(low, 2), high
    (0.8, 1.0)
    """
    n_classes = probabilities.shape[1]
    placements = np.empty(probabilities.shape)
    for scores, truth, placement in zip(probabilities.T, is_true.T, placements.T, strict=True):
        for rows, others in ((truth, ~truth), (~truth, truth)):
            beyond = rankdata(scores)[rows] - rankdata(scores[rows])
            placement[rows] = beyond / others.sum()
        placement[~truth] = 1 - placement[~truth]
    n_true = is_true.sum(axis=0)
    areas = np.sum(placements * is_true, axis=0) / n_true
    influence = (placements - areas) / np.where(is_true, n_true, len(is_true) - n_true)
    variance = np.sum(influence**2, axis=0)
    bounds = [
        _bound_area(*values, level)
        for values in zip(areas, variance, n_true, len(is_true) - n_true, strict=True)
    ]
    low, high = np.transpose(bounds)
    return combine_intervals(
        areas / n_classes,
        low / n_classes,
        high / n_classes,
        correlation=_correlate(influence, unknown=1.0),
    )


def _bound_area(area, measured_variance, n_true, n_false, level):
    """Return the areas whose standard error allows the one that was measured."""
    ratio = 1.0  # nothing is measured if all galaxies are in order
    if measured_variance > 0:
        ratio = np.clip(measured_variance / _area_variance(area, n_true, n_false), *VARIANCE_RATIOS)
    rarer = min(n_true, n_false)
    ratio = (rarer * ratio + AREA_DRAWN_BY) / (rarer + AREA_DRAWN_BY)
    error = np.sqrt(ratio * _area_variance(AREAS, n_true, n_false))
    is_possible = np.abs(AREAS - area) <= _sigmas(level) * error + 0.5 * AREAS[1]
    low, high = AREAS[is_possible][[0, -1]]
    return min(low, area), max(high, area)


def _area_variance(area, n_true, n_false):
    n_other = (n_true + n_false) / 2 - 1
    spread = 1 + n_other * ((1 - area) / (2 - area) + area / (1 + area))
    return area * (1 - area) * spread / (n_true * n_false)


def calibration_interval(confidence, is_right, *, level=0.95, random_state=0):
    r"""
    Estimate the expected calibration error without its bias, and its interval.

    By chance alone the accuracy in a bin differs from the confidence, so the mean absolute
    difference is larger than the true one (Bröcker & Smith 2007, Weather and Forecasting 22, 651;
    Roelofs et al. 2022, arXiv:2012.08668). Therefore samples are simulated whose true error is
    known: classes are drawn with the predicted confidence, and with log-odds changed more and more
    in the direction :math:`a + b\,\mathrm{logit}(p)` that fits the galaxies best. The interval has
    the true errors for which the observed difference is not unusual (Neyman 1937); the estimate is
    the one for which it is the median.

    Parameters
    ----------
    confidence : array_like, shape (n,)
        Probability of the predicted class.
    is_right : array_like of bool, shape (n,)
        Whether it is the true class.
    level : float, default=0.95
        Confidence level.
    random_state : int, default=0
        Seed of the simulation.

    Returns
    -------
    error, low, high : float
        Estimate and interval. For a calibrated classifier the estimate is 0 in half of the cases,
        and ``low`` is 0 with a probability of ``level``.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.evaluation.intervals import calibration_interval
    >>> is_right = np.repeat([True, False], [180, 20])
    >>> error, low, high = calibration_interval(np.full(200, 0.9), is_right)
    >>> error, low
    (0.0, 0.0)
    """
    random = np.random.default_rng(random_state)
    n, mean, accuracy = reliability(confidence, is_right)
    is_filled = n > 0
    n, mean, n_right = n[is_filled], mean[is_filled], (n * accuracy)[is_filled]
    observed = np.sum(np.abs(n * mean - n_right)) / n.sum()
    odds = logit(np.clip(mean, 1e-3, 1 - 1e-3))
    change = _fit_change(odds, n, n_right)
    drawn = random.multinomial(n.sum(), n / n.sum(), size=N_SIMULATIONS)
    true = np.append([mean], expit(odds + np.outer(CHANGES[1:], change)), axis=0).clip(0, 1)
    errors = np.sum(n * np.abs(true - mean), axis=1) / n.sum()
    right = random.binomial(drawn, true[:, np.newaxis])
    simulated = np.sort(np.sum(np.abs(drawn * mean - right), axis=2) / n.sum(), axis=1)
    # A small difference says nothing against a small error: only where the error can be told from
    # 0, both tails are left out (as in Feldman & Cousins 1998, section 4).
    overlap = np.mean(simulated < np.median(simulated[0]), axis=1)
    left_out = (1 - level) / 2 * np.clip(1 - 2 * overlap, 0, 1)

    def error_at(quantile):
        places = np.rint(quantile * (N_SIMULATIONS - 1)).astype(int)
        expected = np.maximum.accumulate(simulated[np.arange(len(errors)), places])
        return float(np.interp(observed, expected, errors, left=0.0))

    error = error_at(np.full(len(errors), 0.5))
    return error, error_at(left_out + level), max(error_at(left_out), error)


def _fit_change(odds, n, n_right):
    """Return the change of the log-odds in each bin that fits best, scaled to an rms of 1."""
    centred = odds - np.average(odds, weights=n)

    def loss(weights):
        z = odds + weights[0] + weights[1] * centred
        likelihood = np.sum(n_right * log_expit(z) + (n - n_right) * log_expit(-z))
        return np.sum(weights**2) / (2 * PRIOR**2) - likelihood

    constant, slope = minimize(loss, [0.0, 0.0]).x
    change = constant + slope * centred
    return change / max(np.sqrt(np.average(change**2, weights=n)), 1e-9)


def _correlate(values, *, unknown):
    """Return the correlation of columns; ``unknown`` for one that is constant."""
    deviations = values - values.mean(axis=0)
    norms = np.linalg.norm(deviations, axis=0)
    is_known = norms > 1e-12
    unit = deviations / np.where(is_known, norms, 1)
    correlation = np.where(np.outer(is_known, is_known), unit.T @ unit, unknown)
    np.fill_diagonal(correlation, 1)
    return correlation


def _score_interval(fraction, n, sigmas):
    """Return the proportions from which the observed one differs by so many standard errors."""
    fraction, n = np.asarray(fraction, float), np.asarray(n, float)
    with np.errstate(invalid='ignore', divide='ignore'):
        centre = (n * fraction + sigmas**2 / 2) / (n + sigmas**2)
        half = np.sqrt(n * fraction * (1 - fraction) + sigmas**2 / 4) * sigmas / (n + sigmas**2)
    bounds = (np.clip(bound, 0, 1) for bound in (centre - half, centre + half))
    return tuple(np.where(n > 0, bound, np.nan) for bound in bounds)


def _sigmas(level):
    """Return the half-width of the interval of a normal distribution with this probability."""
    return ndtri((1 + level) / 2)


def _t_sigmas(level, n):
    """Return the half-width of the interval of a mean of n values, in its standard errors."""
    return stdtrit(max(n - 1, 1), (1 + level) / 2)
