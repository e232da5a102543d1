# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Update a momentum encoder: a copy that slowly follows the encoder in training."""

import math

import torch

__all__ = ['follow', 'momentum_at']


def momentum_at(progress, start):
    """
    Compute the momentum: the fraction of its old weights that a momentum encoder keeps in a step.

    Parameters
    ----------
    progress : float
        Fraction of the training that is done, from 0 to 1.
    start : float
        Momentum in the first step.

    Returns
    -------
    momentum : float
        The momentum, which rises to 1 along a half cosine (Grill et al. 2020, arXiv:2006.07733).

    Examples
    --------
    >>> from astro_morph.learning.objectives.momentum import momentum_at
    >>> momentum_at(0.5, 0.99)
    0.995
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def follow(follower, leader, momentum):
    """
    Move the weights of a network towards those of another.

    Parameters
    ----------
    follower, leader : `torch.nn.Module`
        Networks of the same layers; the first is changed in place.
    momentum : float
        Fraction of the old weights that is kept.
    """
    torch._foreach_lerp_(list(follower.parameters()), list(leader.parameters()), 1 - momentum)
