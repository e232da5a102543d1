# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The momentum encoder: a copy that slowly follows the encoder that learns."""

import math

import torch

__all__ = ['follow', 'momentum_at']


def momentum_at(progress, start):
    """
    Give the share of its old weights that a momentum encoder keeps at a step.

    Parameters
    ----------
    progress : float
        Share of the training that is done, from 0 to 1.
    start : float
        The momentum at the start.

    Returns
    -------
    momentum : float
        It rises to 1 along a half cosine (Grill et al. 2020, arXiv:2006.07733).

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
        Networks of the same layers; the first is changed.
    momentum : float
        Share of the old weights that is kept.
    """
    torch._foreach_lerp_(list(follower.parameters()), list(leader.parameters()), 1 - momentum)
