# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Answers: learn from the classes and votes that some galaxies have, beside another objective."""

import torch
from torch import nn

__all__ = ['Answers']


class Answers(nn.Module):
    r"""
    Cross-entropy between the answers that features predict and those that people gave.

    With the contrastive loss, this is the hybrid of Walmsley et al. (2022, arXiv:2206.11927): all
    galaxies are contrasted, and those with labels or votes, of whatever survey, also teach their
    answers. Of a galaxy with fractions :math:`f_a` of the votes for the answers :math:`a`,

    .. math::

        L = -\sum_a f_a \log p_a

    with probabilities :math:`p_a` that are a softmax over the answers of each question.

    Parameters
    ----------
    n_features : int
        Features of the encoder.
    fractions : `torch.Tensor`, shape (n_images, n_answers)
        Fraction of the votes for each answer, for each training image; zero for all answers of a
        question that was not asked. A class is one vote.
    n_answers : sequence of int
        Number of answers of each question, in the order of the columns.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.objectives import Answers
    >>> fractions = torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    >>> answers = Answers(512, fractions, n_answers=[2, 2])
    >>> answers(torch.zeros(2, 512), torch.tensor([0, 1])) < 1
    tensor(True)
    """

    def __init__(self, n_features, fractions, *, n_answers):
        super().__init__()
        self.n_answers = tuple(n_answers)
        self.head = nn.Linear(n_features, sum(self.n_answers))
        self.register_buffer('fractions', fractions)

    def forward(self, features, rows):
        """
        Compare the predicted answers with those of the votes.

        Parameters
        ----------
        features : `torch.Tensor`, shape (n, n_features)
            Features of views.
        rows : `torch.Tensor` of int, shape (n,)
            Row number of each image among all training images.

        Returns
        -------
        loss : `torch.Tensor`
            Mean of L over all questions that were asked; 0 if none was.
        """
        by_question = self.head(features).float().split(self.n_answers, dim=1)
        log_probabilities = torch.cat([logits.log_softmax(1) for logits in by_question], 1)
        fractions = self.fractions[rows]
        return -(fractions * log_probabilities).sum() / fractions.sum().clamp(min=1)
