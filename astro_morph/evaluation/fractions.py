# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Estimate class fractions of a population, corrected for confusion, with intervals."""

import warnings

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import ndtri

from astro_morph.utils.messages import cut_list

__all__ = ['class_fractions']

# Smallest fraction to which the probabilities are adapted: that of a class would be zero for all
# galaxies below it.
SMALLEST = 0.01

# Steps after which the fractions to which the probabilities are adapted no longer change much.
N_STEPS = 2

# Part of the way to the predicted variance within a class, if that is larger than the measured one:
# rare confusions are missing among few galaxies (benchmarks/class_fractions.py).
DRAWN_BY = 0.5


def class_fractions(classes, true, evaluated, probabilities, *, level=0.9):
    r"""
    Estimate the fraction of each class in a sample, corrected for the confusion of the classes.

    If galaxies of class :math:`j` have the mean probabilities :math:`m_j`, those of a sample with
    fractions :math:`\pi_j` have the mean :math:`\sum_j \pi_j m_j`, which is solved for the
    fractions (adjusted counts of probabilities, Bella et al. 2010, ICDM, 737). No calibration is
    needed for this. The probabilities are first adapted to the fractions (Saerens, Latinne &
    Decaestecker 2002, Neural Computation 14, 21, equation 2.4), which makes the error of rare
    classes two times smaller. It is assumed that the galaxies of a class look like the evaluated
    ones of that class: only the fractions differ.

    The interval has the fractions from which the estimate differs by no more than the standard
    error allows that is expected with them (Wilson 1927; Fieller 1954). The error comes from the
    sample and from the evaluated galaxies.

    Parameters
    ----------
    classes : array_like, shape (k,)
        The classes.
    true : array_like, shape (n,)
        True classes of evaluated galaxies, which the classifier has not learnt.
    evaluated : array_like, shape (n, k)
        Their probabilities.
    probabilities : array_like, shape (m, k)
        Probabilities of the sample; rows with NaN are left out.
    level : float, default=0.9
        Confidence level.

    Returns
    -------
    table : `~astropy.table.Table`
        ``class``; ``n``, the number of galaxies of the sample; ``counted``, the fraction that is
        predicted as the class; ``fraction``, the corrected one; and its interval, ``low`` and
        ``high``. NaN, and intervals from 0 to 1, if the probabilities do not tell classes apart,
        or too few galaxies were evaluated.

    Raises
    ------
    ValueError
        If no galaxy has probabilities.

    Warns
    -----
    AstropyUserWarning
        If a class has fewer than two evaluated galaxies: fractions are NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.evaluation.fractions import class_fractions
    >>> sure, unsure = [0.9, 0.1], [0.3, 0.7]
    >>> true = np.repeat(['E', 'S'], 100)
    >>> evaluated = [sure] * 90 + [unsure] * 10 + [sure] * 30 + [unsure] * 70
    >>> table = class_fractions(['E', 'S'], true, evaluated, [sure] * 480 + [unsure] * 520)
    >>> table['class', 'counted', 'fraction'].pprint(align='<')
    class counted fraction
    ----- ------- --------
    E     0.480   0.300
    S     0.520   0.700
    """
    probabilities = np.asarray(probabilities, float)
    probabilities = probabilities[np.isfinite(probabilities).all(axis=1)]
    is_true = np.asarray(true)[:, np.newaxis] == np.asarray(classes)
    n_true = is_true.sum(axis=0)
    if len(probabilities) == 0:
        msg = 'no galaxy of the sample has probabilities; annotate it to see why in morph_status'
        raise ValueError(msg)
    if n_true.min() < 2:
        few = [str(name) for name, n in zip(classes, n_true, strict=True) if n < 2]
        warnings.warn(
            f'the classes {cut_list(few)} have fewer than 2 evaluated galaxies, from which their '
            'confusion is known, so fractions are not; evaluate more of them',
            AstropyUserWarning,
            stacklevel=3,
        )
    counted = np.bincount(probabilities.argmax(axis=1), minlength=len(n_true)) / len(probabilities)
    fraction, low, high = _correct(np.asarray(evaluated, float), is_true, probabilities, level)
    table = Table({'class': classes, 'n': np.full(len(n_true), len(probabilities))})
    columns = {'counted': counted, 'fraction': fraction, 'low': low, 'high': high}
    for name, values in columns.items():
        # Sums of rounded numbers.
        table[name] = np.round(values, 12)
        table[name].format = '.3f'
    return table


def _correct(evaluated, is_true, sample, level):
    """Return the fractions of the classes and their intervals."""
    n_true = is_true.sum(axis=0)
    known, adapted = evaluated, sample
    for _ in range(N_STEPS):
        inverse = _invert(known, is_true)
        if inverse is None:
            break
        factor = np.maximum(_limit(inverse @ adapted.mean(axis=0)), SMALLEST) * len(is_true)
        known, adapted = (_weighted(p, factor / n_true) for p in (evaluated, sample))
    inverse = _invert(known, is_true)
    if inverse is None:
        unknown = np.full(len(n_true), np.nan)
        return unknown, np.zeros(len(n_true)), np.ones(len(n_true))
    # What a galaxy adds to the fraction of each class, and its variance within the true classes.
    terms = known @ inverse.T
    measured = _variances(terms, is_true) * (n_true / (n_true - 1))[:, np.newaxis]
    predicted = _variances(terms, evaluated)
    variances = measured + DRAWN_BY * np.maximum(predicted - measured, 0)
    estimate = inverse @ adapted.mean(axis=0)
    limits = [
        _interval(k, estimate, variances[:, k], n_true, len(sample), ndtri((1 + level) / 2))
        for k in range(len(n_true))
    ]
    return _limit(estimate), *np.transpose(limits)


def _invert(probabilities, is_true):
    """Return the inverse of the mean probabilities of the true classes; None if there is none."""
    n_true = is_true.sum(axis=0)
    if n_true.min() < 2:
        return None
    means = probabilities.T @ is_true / n_true
    return None if np.linalg.cond(means) > 1e6 else np.linalg.inv(means)


def _limit(fractions):
    """Return the fractions without negative ones; their sum is 1."""
    fractions = np.maximum(fractions, 0)
    return fractions / fractions.sum()


def _weighted(probabilities, factor):
    weighted = probabilities * factor
    return weighted / weighted.sum(axis=1, keepdims=True)


def _variances(terms, weights):
    """Return the variance of the terms (n, k) of each class, whose galaxies have weights (n, j)."""
    total = np.maximum(weights.sum(axis=0), 1e-12)[:, np.newaxis]
    return weights.T @ terms**2 / total - (weights.T @ terms / total) ** 2


def _interval(k, estimate, variances, n_true, n, sigmas):
    """
    Return the fractions of class k from which the estimate differs by so many standard errors.

    With the fraction t of class k, and (1 - t) times those of the others, the squared error is a
    polynomial in t; so is the condition, of which the interval has the roots.
    """
    others = np.maximum(estimate, 0) * (np.arange(len(estimate)) != k)
    total = others.sum()
    others = others / total if total > 0 else (np.arange(len(estimate)) != k) / (len(estimate) - 1)
    of_k, of_others = variances[k], others @ variances
    of_confusion = others**2 @ (variances / n_true)
    error = np.array(
        [
            of_k / n_true[k] + of_confusion - 1 / n,
            (of_k - of_others + 1) / n - 2 * of_confusion,
            of_others / n + of_confusion,
        ]
    )
    square, linear, constant = [1, -2 * estimate[k], estimate[k] ** 2] - sigmas**2 * error
    if square <= 0:
        return 0.0, 1.0
    half = np.sqrt(max(linear**2 - 4 * square * constant, 0))
    return tuple(np.clip((-linear + np.array([-half, half])) / (2 * square), 0, 1))
