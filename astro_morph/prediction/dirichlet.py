# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Votes as draws of a Dirichlet-multinomial distribution.

The fractions of all people who would give each answer to a question follow a Dirichlet
distribution with the concentrations that a network predicts; those who were asked are a sample of
them (Walmsley et al. 2022, MNRAS 509, 3966, section 4.2).
"""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

__all__ = ['concentrations', 'expected_fractions', 'fit_head', 'log_likelihood']

# A concentration of zero has no likelihood, and rounding can bring it there.
LEAST = 1e-3

# Weight of the squared coefficients against the likelihood of all galaxies: with hundreds of
# correlated features it is best when strong. Between half and three times of it, the likelihood of
# held-out Galaxy Zoo 2 votes changes little.
PENALTY = 80.0

# The search ends before, on Galaxy Zoo 2.
MOST_STEPS = 300


def concentrations(logits):
    """
    Turn the outputs of a network into concentrations.

    Parameters
    ----------
    logits : `torch.Tensor`, shape (n, n_answers)
        Any numbers.

    Returns
    -------
    alpha : `torch.Tensor`, shape (n, n_answers)
        The concentrations. They grow as the logits do, not as their exponential: for a galaxy
        unlike all others, that would be a certainty beyond reason.
    """
    return functional.softplus(logits) + LEAST


def log_likelihood(counts, alpha, question):
    r"""
    Give the likelihood of the votes for each question.

    It is, with :math:`N` votes in all, :math:`k_a` for an answer, and :math:`S = \sum_a \alpha_a`,

    .. math::

        \ln \frac{N!\, \Gamma(S)}{\Gamma(N + S)}
        + \sum_a \ln \frac{\Gamma(k_a + \alpha_a)}{k_a!\, \Gamma(\alpha_a)}

    Parameters
    ----------
    counts, alpha : `torch.Tensor`, shape (n, n_answers)
        The votes for each answer, and its concentration.
    question : `torch.Tensor` of int, shape (n_answers,)
        Number of the question of each answer.

    Returns
    -------
    log_likelihood : `torch.Tensor`, shape (n, n_questions)
        Natural logarithms; zero for a question that nobody was asked.
    """
    of_answer = torch.lgamma(counts + alpha) - torch.lgamma(counts + 1) - torch.lgamma(alpha)
    votes, total = _per_question(counts, question), _per_question(alpha, question)
    of_question = torch.lgamma(votes + 1) + torch.lgamma(total) - torch.lgamma(votes + total)
    return of_question + _per_question(of_answer, question)


def expected_fractions(alpha, question):
    """
    Give mean and standard deviation of the fractions of a Dirichlet distribution.

    Parameters
    ----------
    alpha : `torch.Tensor`, shape (n, n_answers)
        The concentrations.
    question : `torch.Tensor` of int, shape (n_answers,)
        Number of the question of each answer.

    Returns
    -------
    mean, std : `torch.Tensor`, shape (n, n_answers)
        Of the fraction of all people who would give the answer.
    """
    total = _per_question(alpha, question)[:, question]
    mean = alpha / total
    return mean, torch.sqrt(mean * (1 - mean) / (total + 1))


def fit_head(features, counts, question, *, sample_weight, penalty=PENALTY):
    """
    Fit a linear head whose concentrations make the votes likeliest.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        The features.
    counts : ndarray, shape (n, n_answers)
        The votes.
    question : ndarray of int, shape (n_answers,)
        Number of the question of each answer.
    sample_weight : ndarray, shape (n,)
        Weight of each galaxy.
    penalty : float, optional
        Weight of the squared coefficients of the standardised features.

    Returns
    -------
    head : `torch.nn.Linear`
        Takes the features as they are.
    """
    scaler = StandardScaler().fit(features, sample_weight=sample_weight)
    # In double precision: the search for the optimum follows small differences.
    inputs = torch.from_numpy(scaler.transform(features)).double()
    target, weight = torch.from_numpy(counts).double(), torch.from_numpy(sample_weight).double()
    question = torch.from_numpy(question)
    head = nn.Linear(inputs.shape[1], len(question), dtype=torch.float64)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=MOST_STEPS, line_search_fn='strong_wolfe'
    )

    def loss():
        optimizer.zero_grad()
        of_galaxy = log_likelihood(target, concentrations(head(inputs)), question).sum(1)
        value = penalty * head.weight.square().sum() - (weight * of_galaxy).sum()
        # A mean, so that the tolerances of the search don't depend on the number of galaxies.
        value = value / len(inputs)
        value.backward()
        return value

    optimizer.step(loss)
    return _of_raw_features(head, scaler, features.dtype)


@torch.no_grad()
def _of_raw_features(head, scaler, dtype):
    """Turn a layer of standardised features into one of features as they are."""
    scale, mean = torch.from_numpy(scaler.scale_), torch.from_numpy(scaler.mean_)
    head.weight /= scale
    head.bias -= head.weight @ mean
    return head.to(getattr(torch, np.dtype(dtype).name)).requires_grad_(False)


def _per_question(values, question):
    """Sum over the answers of each question."""
    n_questions = int(question.max()) + 1
    sums = values.new_zeros(len(values), n_questions)
    return sums.index_add(1, question, values)
