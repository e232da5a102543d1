# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Probabilities that mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

__all__ = ['fit_temperature']

# Beyond these a temperature is an accident of few labels.
TEMPERATURES = (0.1, 10.0)


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
    >>> from astro_morph.calibration import fit_temperature
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
