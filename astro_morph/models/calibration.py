# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Calibrate probabilities by a temperature; compute conformal sets of classes and intervals."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

__all__ = [
    'conformity_scores',
    'expected_calibration_error',
    'fit_temperature',
    'interval_factors',
    'number_scores',
    'prediction_sets',
    'reliability',
    'split_outputs',
]

# A temperature beyond these limits is a chance result of too few labels.
TEMPERATURES = (0.1, 10.0)

# Number of bins of confidence, as in Guo et al. (2017).
N_BINS = 15

# Smaller probabilities are replaced by this one, so that their logarithms are finite.
SMALLEST = 1e-30

# Largest logarithm of the scale of an error: its exponential is still a number.
LARGEST_LOG_SCALE = 80.0


def fit_temperature(logits, target, *, sample_weight=None):
    """
    Fit the temperature that minimises the negative log-likelihood of held-out labels.

    Dividing the logits by the temperature changes the confidence, but no predicted class (Guo et
    al. 2017, arXiv:1706.04599, section 4.2).

    Parameters
    ----------
    logits : array_like, shape (n, n_classes)
        Logits of galaxies that the classifier was not trained on.
    target : array_like of int, shape (n,)
        Index of the true class.
    sample_weight : array_like, shape (n,), default=None
        Weight of each galaxy; equal weights if None.

    Returns
    -------
    temperature : float
        The temperature, between 0.1 and 10.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.models.calibration import fit_temperature
    >>> logits = np.tile([4.0, 0.0], (100, 1))  # a confidence of 98 %
    >>> target = np.repeat([0, 1], [80, 20])    # an accuracy of 80 %
    >>> round(fit_temperature(logits, target), 2)
    2.89
    """
    logits, target = np.asarray(logits, float), np.asarray(target)

    def loss(log_temperature):
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -np.average(scaled[np.arange(len(target)), target], weights=sample_weight)

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method='bounded').x))


def conformity_scores(probabilities):
    r"""
    Compute the conformity score of each class: the probability of all more probable classes.

    A fraction :math:`u` of the probability of the class itself is added (Romano, Sesia & Candes
    2020, arXiv:2006.02544, equation 5). The coverage of the sets is exact only if :math:`u` is
    random, but the set of a galaxy must not change from call to call. Therefore :math:`u` is
    computed from the probabilities: it is the fractional part of ten times the logarithm of the
    odds between the two most probable classes.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        The probabilities.

    Returns
    -------
    scores : ndarray, shape (n, n_classes)
        The scores, from 0 to 1, low for probable classes.

    Examples
    --------
    >>> from astro_morph.models.calibration import conformity_scores
    >>> scores = conformity_scores([[0.7, 0.2, 0.1]])[0]
    >>> bool(scores[0] < 0.7 < scores[1] < 0.9 < scores[2])
    True
    """
    probabilities = np.asarray(probabilities, float)
    order = np.argsort(-probabilities, axis=1, kind='stable')
    descending = np.take_along_axis(probabilities, order, axis=1)
    first, second = np.log(np.maximum(descending[:, :2], SMALLEST)).T
    fraction = np.mod(10 * (first - second), 1)
    scores = np.cumsum(descending, axis=1) - (1 - fraction)[:, np.newaxis] * descending
    return np.take_along_axis(scores, np.argsort(order, axis=1), axis=1)


def prediction_sets(probabilities, held_out, *, coverage=0.9):
    """
    Compute sets of classes that hold the true class with a given probability.

    This is split conformal prediction with adaptive sets (Romano, Sesia & Candes 2020,
    arXiv:2006.02544). However accurate the classifier is, the sets of galaxies like those held out
    hold the true class with a probability of at least ``coverage``, and at most 1 / (m + 1) more.
    This holds for scores of one classifier on galaxies that it has not learnt. For cross-fitted
    scores the guarantee is ``1 - 2 (1 - coverage)`` (Barber et al. 2021, arXiv:1905.02928).

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        The probabilities; NaN in the rows without an image.
    held_out : array_like, shape (m,)
        The `conformity_scores` of the true classes of m galaxies held out.
    coverage : float, default=0.9
        The probability, between 0 and 1.

    Returns
    -------
    sets : ndarray of bool, shape (n, n_classes)
        Whether each class is in the set; the sets of rows without an image are empty.

    Raises
    ------
    ValueError
        If the coverage is not between 0 and 1, or no galaxies were held out.

    Examples
    --------
    >>> from astro_morph.models.calibration import prediction_sets
    >>> held_out = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.9]
    >>> prediction_sets([[0.5, 0.4, 0.1], [0.8, 0.15, 0.05]], held_out, coverage=0.8)
    array([[ True,  True, False],
           [ True, False, False]])
    """
    _check_coverage(coverage)
    if len(held_out) == 0:
        msg = (
            'the model has no scores of galaxies held out, from which the sets are computed; fit '
            'it with several labels of each class'
        )
        raise ValueError(msg)
    rank = int(np.ceil((len(held_out) + 1) * coverage))
    threshold = np.sort(held_out)[rank - 1] if rank <= len(held_out) else np.inf
    # NaN is in no set.
    return conformity_scores(probabilities) <= threshold


def split_outputs(outputs):
    """
    Return the predictions of numbers and the scales of their errors.

    Parameters
    ----------
    outputs : ndarray, shape (n, 2 k)
        Outputs of a model of k numbers: the predictions, then the logarithms of their scales.

    Returns
    -------
    predicted, scale : ndarray of float64, shape (n, k)
        In standard deviations of the numbers.

    Examples
    --------
    >>> from astro_morph.models.calibration import split_outputs
    >>> split_outputs([[0.5, 0.0]])
    (array([[0.5]]), array([[1.]]))
    """
    predicted, log_scale = np.split(np.asarray(outputs, float), 2, axis=1)
    return predicted, np.exp(np.clip(log_scale, -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE))


def number_scores(outputs, target):
    """
    Compute the conformity scores of numbers: their errors, divided by the predicted scales.

    Errors keep their sign (Linusson, Johansson & Lofstrom 2014, PAKDD, 224), so that intervals
    follow skewed errors, such as those of fractions near 0. Their normalisation (Lei et al. 2018,
    arXiv:1604.04173, section 5.2) makes intervals wide where predictions are bad.

    Parameters
    ----------
    outputs : ndarray, shape (n, 2 k)
        As for `split_outputs`.
    target : ndarray, shape (n, k)
        True numbers, in standard deviations.

    Returns
    -------
    scores : ndarray, shape (n, k)
        The scores; NaN where a number is NaN.

    Examples
    --------
    >>> from astro_morph.models.calibration import number_scores
    >>> number_scores([[0.5, 0.0]], [[0.75]])
    array([[0.25]])
    """
    predicted, scale = split_outputs(outputs)
    return (target - predicted) / scale


def interval_factors(held_out, *, coverage=0.9):
    """
    Compute how many scales an interval extends from the prediction, on either side.

    This is split conformal prediction with signed errors: each end misses at most half of
    ``1 - coverage``. However bad the predictions are, the intervals of galaxies like those held out
    hold the true number with a probability of at least ``coverage``, and at most 2 / (m + 1) more.
    This holds for scores of one model on galaxies that it has not learnt. For cross-fitted scores
    the guarantee is ``1 - 2 (1 - coverage)`` (Barber et al. 2021, arXiv:1905.02928).

    Parameters
    ----------
    held_out : array_like, shape (m,)
        The `number_scores` of m galaxies held out.
    coverage : float, default=0.9
        The probability, between 0 and 1.

    Returns
    -------
    low, high : float
        The interval in scales; infinite if m is too small for the coverage.

    Raises
    ------
    ValueError
        If the coverage is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.models.calibration import interval_factors
    >>> interval_factors(np.arange(-9, 11), coverage=0.8)
    (-8.0, 9.0)
    """
    _check_coverage(coverage)
    held_out = np.sort(np.asarray(held_out, float))
    rank = int(np.ceil((len(held_out) + 1) * (1 + coverage) / 2))
    if rank > len(held_out):
        return -np.inf, np.inf
    return float(held_out[-rank]), float(held_out[rank - 1])


def _check_coverage(coverage):
    is_number = np.ndim(coverage) == 0 and np.asarray(coverage).dtype.kind in 'iufb'
    if not is_number or not 0 < coverage < 1:
        msg = f'coverage must be between 0 and 1, got {coverage!r}; pass a number such as 0.9'
        raise ValueError(msg)


def reliability(confidence, is_right, *, n_bins=N_BINS):
    """
    Compute the accuracy of predictions as a function of their confidence.

    Parameters
    ----------
    confidence : array_like, shape (n,)
        Probability of the predicted class.
    is_right : array_like of bool, shape (n,)
        Whether it is the true class.
    n_bins : int, default=15
        Number of bins of confidence, of equal width.

    Returns
    -------
    n, mean_confidence, accuracy : ndarray, shape (n_bins,)
        Number of predictions in each bin, their mean confidence, and their accuracy; NaN for an
        empty bin.

    Examples
    --------
    >>> from astro_morph.models.calibration import reliability
    >>> reliability([0.9, 0.9, 0.6, 0.6], [True, True, True, False], n_bins=2)
    (array([0, 4]), array([ nan, 0.75]), array([ nan, 0.75]))
    """
    confidence, is_right = np.asarray(confidence, float), np.asarray(is_right)
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    n = np.bincount(bins, minlength=n_bins)
    sums = (np.bincount(bins, values, minlength=n_bins) for values in (confidence, is_right))
    with np.errstate(invalid='ignore'):
        return n, *(total / n for total in sums)


def expected_calibration_error(confidence, is_right, *, n_bins=N_BINS):
    """
    Compute the expected calibration error (Guo et al. 2017, equation 3).

    Parameters
    ----------
    confidence, is_right, n_bins
        As in `reliability`.

    Returns
    -------
    error : float
        Mean absolute difference of confidence and accuracy over the bins, weighted by their
        numbers of predictions.

    Examples
    --------
    >>> from astro_morph.models.calibration import expected_calibration_error
    >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [True, True, True, False]), 2)
    0.15
    """
    n, mean_confidence, accuracy = reliability(confidence, is_right, n_bins=n_bins)
    return float(np.nansum(n * np.abs(mean_confidence - accuracy)) / n.sum())
