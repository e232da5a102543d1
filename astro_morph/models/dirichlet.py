# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compute fractions and likelihoods of volunteers' votes: the Dirichlet-multinomial distribution.

The fractions of all people who would give each answer to a question follow a Dirichlet
distribution with the concentrations that a network predicts; the votes of those who were asked are
a multinomial draw from it (Walmsley et al. 2022, MNRAS 509, 3966, section 4.2).
"""

import numpy as np
from scipy.special import digamma, expit, gammaln, log_expit

__all__ = ['concentrations', 'expected_fractions', 'log_likelihood', 'log_likelihood_gradient']

# Added to the concentrations: rounding can make them zero, where the likelihood is not defined.
LEAST = 1e-3


def concentrations(logits):
    """
    Convert the logits of a network to concentrations, by a softplus.

    Parameters
    ----------
    logits : ndarray, shape (n, n_answers)
        Any numbers.

    Returns
    -------
    alpha : ndarray of float64, shape (n, n_answers)
        The concentrations. They grow linearly with the logits, not exponentially: a galaxy unlike
        all others would be predicted with unreasonable certainty.
    """
    return -log_expit(-np.asarray(logits, float)) + LEAST


def expected_fractions(alpha, tree):
    """
    Compute mean and standard deviation of the fractions of a Dirichlet distribution.

    Parameters
    ----------
    alpha : ndarray, shape (n, n_answers)
        The concentrations.
    tree : `~astro_morph.catalog.vote_tree.VoteTree`
        The questions.

    Returns
    -------
    mean, std : ndarray, shape (n, n_answers)
        Mean and standard deviation of the fraction of all people who would give the answer.
    """
    total = tree.totals(alpha)[:, tree.question]
    mean = alpha / total
    return mean, np.sqrt(mean * (1 - mean) / (total + 1))


def log_likelihood(counts, alpha, tree):
    r"""
    Compute the log-likelihood of the votes for each question.

    With :math:`N` votes in all, :math:`k_a` for an answer, and :math:`S = \sum_a \alpha_a`, it is

    .. math::

        \ln \frac{N!\, \Gamma(S)}{\Gamma(N + S)}
        + \sum_a \ln \frac{\Gamma(k_a + \alpha_a)}{k_a!\, \Gamma(\alpha_a)}

    Parameters
    ----------
    counts, alpha : ndarray, shape (n, n_answers)
        The votes for each answer, and its concentration.
    tree : `~astro_morph.catalog.vote_tree.VoteTree`
        The questions.

    Returns
    -------
    log_likelihood : ndarray, shape (n, n_questions)
        Natural logarithms; zero for a question that nobody was asked.
    """
    of_answer = gammaln(counts + alpha) - gammaln(counts + 1) - gammaln(alpha)
    votes, total = tree.totals(counts), tree.totals(alpha)
    of_question = gammaln(votes + 1) + gammaln(total) - gammaln(votes + total)
    return of_question + tree.totals(of_answer)


def log_likelihood_gradient(counts, logits, tree):
    """
    Compute the derivative of the log-likelihood with respect to the logits.

    Parameters
    ----------
    counts, logits : ndarray, shape (n, n_answers)
        The votes for each answer, and the logit of its concentration.
    tree : `~astro_morph.catalog.vote_tree.VoteTree`
        The questions.

    Returns
    -------
    gradient : ndarray, shape (n, n_answers)
        Derivative of the sum over the questions of `log_likelihood`.
    """
    alpha = concentrations(logits)
    votes, total = tree.totals(counts), tree.totals(alpha)
    by_total = digamma(total) - digamma(votes + total)
    by_alpha = by_total[:, tree.question] + digamma(counts + alpha) - digamma(alpha)
    return by_alpha * expit(logits)
