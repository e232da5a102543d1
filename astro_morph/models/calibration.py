# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Probabilities that mean what they say, and sets of classes that hold the true one."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

__all__ = [
    'conformity_scores',
    'expected_calibration_error',
    'fit_temperature',
    'prediction_sets',
    'reliability',
]

# Beyond these a temperature is an accident of few labels.
TEMPERATURES = (0.1, 10.0)

# Bins of confidence, as in Guo et al. (2017).
N_BINS = 15

# Probabilities below this are taken for it, so that their logarithms are finite.
SMALLEST = 1e-30


def fit_temperature(logits, target, *, sample_weight=None):
    """
    Find the temperature at which held-out logits give the likeliest labels.

    Dividing the logits by it changes no prediction, only the confidence (Guo et al. 2017,
    arXiv:1706.04599, section 4.2).

    Parameters
    ----------
    logits : array_like, shape (n, n_classes)
        Logits of galaxies that the classifier was not trained on.
    target : array_like of int, shape (n,)
        Index of the true class.
    sample_weight : array_like, shape (n,), optional
        Weight of each galaxy.

    Returns
    -------
    temperature : float
        The temperature, between 0.1 and 10.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.models.calibration import fit_temperature
    >>> logits = np.tile([4.0, 0.0], (100, 1))  # claims 98 per cent
    >>> target = np.repeat([0, 1], [80, 20])    # is right in 80
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
    Say how far down the list of likely classes one must go to reach each class.

    The score of a class is the sum of the probabilities of the likelier ones, and a part
    :math:`u` of its own (Romano, Sesia & Candes 2020, arXiv:2006.02544, equation 5). The part is
    to be random, or sets would hold more than they promise; but a galaxy is to get the same set
    each time. It is therefore read off the probabilities: ten times the logarithm of the odds of
    the two likeliest classes, after the decimal point.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        The probabilities.

    Returns
    -------
    scores : ndarray, shape (n, n_classes)
        The scores, from 0 to 1: low ones for likely classes.

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
    part = np.mod(10 * (first - second), 1)
    scores = np.cumsum(descending, axis=1) - (1 - part)[:, np.newaxis] * descending
    return np.take_along_axis(scores, np.argsort(order, axis=1), axis=1)


def prediction_sets(probabilities, held_out, *, coverage=0.9):
    """
    Give sets of classes that hold the true one as often as is asked for.

    This is split conformal prediction with adaptive sets (Romano, Sesia & Candes 2020,
    arXiv:2006.02544). Whatever the classifier is worth, the sets of galaxies like those held out
    hold the true class with a probability of at least ``coverage``, and at most 1 / (m + 1) more.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_classes)
        The probabilities; NaN in the rows without an image.
    held_out : array_like, shape (m,)
        Scores, as `conformity_scores` gives them, of the true classes of galaxies held out.
    coverage : float, optional
        The probability, between 0 and 1.

    Returns
    -------
    sets : ndarray of bool, shape (n, n_classes)
        Whether each class is in the set; no class is in those of rows without an image.

    Raises
    ------
    ValueError
        If the coverage is not between 0 and 1, or nothing was held out.

    Examples
    --------
    >>> from astro_morph.models.calibration import prediction_sets
    >>> held_out = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.9]
    >>> prediction_sets([[0.5, 0.4, 0.1], [0.8, 0.15, 0.05]], held_out, coverage=0.8)
    array([[ True,  True, False],
           [ True, False, False]])
    """
    if not 0 < coverage < 1:
        msg = f'coverage must be between 0 and 1, got {coverage}'
        raise ValueError(msg)
    if len(held_out) == 0:
        msg = (
            'the model has no scores of galaxies held out, so that its sets would promise nothing; '
            'fit it with several labels of each class'
        )
        raise ValueError(msg)
    rank = int(np.ceil((len(held_out) + 1) * coverage))
    threshold = np.sort(held_out)[rank - 1] if rank <= len(held_out) else np.inf
    # NaN is in no set.
    return conformity_scores(probabilities) <= threshold


def reliability(confidence, is_right, *, n_bins=N_BINS):
    """
    Compare how sure predictions are with how often they are right.

    Parameters
    ----------
    confidence : array_like, shape (n,)
        Probability of the class predicted.
    is_right : array_like of bool, shape (n,)
        Whether it is the true one.
    n_bins : int, optional
        Bins of confidence, of the same width.

    Returns
    -------
    n, mean_confidence, accuracy : ndarray, shape (n_bins,)
        Predictions in each bin, their mean confidence, and the share that is right; NaN for none.

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
    Give the mean difference of confidence and accuracy (Guo et al. 2017, equation 3).

    Parameters
    ----------
    confidence, is_right, n_bins
        As in `reliability`.

    Returns
    -------
    error : float
        The mean over the bins, each by its number of predictions.

    Examples
    --------
    >>> from astro_morph.models.calibration import expected_calibration_error
    >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [True, True, True, False]), 2)
    0.15
    """
    n, mean_confidence, accuracy = reliability(confidence, is_right, n_bins=n_bins)
    return float(np.nansum(n * np.abs(mean_confidence - accuracy)) / n.sum())
