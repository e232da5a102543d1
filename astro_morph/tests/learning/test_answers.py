# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The loss of labels and votes that only some galaxies have, against its formula."""

import numpy as np
import pytest
import torch
from torch import nn

from astro_morph.learning.objectives import Answers, MoCo

FRACTIONS = torch.tensor([[0.7, 0.3, 0, 0, 0], [0, 0, 0, 0, 0], [0.2, 0.8, 0, 0.5, 0.5]])


def make():
    answers = Answers(4, FRACTIONS, n_answers=[2, 3])
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return answers, features


def test_loss_is_the_mean_cross_entropy_of_the_questions_asked():
    answers, features = make()
    logits = answers.head(features).detach().numpy().astype(float)
    expected = []
    for part in (slice(0, 2), slice(2, 5)):
        log_p = logits[:, part] - np.logaddexp.reduce(logits[:, part], axis=1)[:, None]
        asked = FRACTIONS[:, part].sum(1) > 0
        expected += list(-(FRACTIONS[:, part].numpy() * log_p).sum(1)[asked])
    assert answers(features, torch.arange(3)).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_galaxies_without_votes_teach_nothing():
    answers, features = make()
    loss = answers(features[:2], torch.tensor([1, 1]))
    loss.backward()
    assert loss == 0
    assert not answers.head.weight.grad.any()


def test_rows_choose_the_votes():
    answers, features = make()
    one = answers(features[[0, 2]], torch.tensor([2, 0]))
    other = answers(features[[2, 0]], torch.tensor([0, 2]))
    assert one.item() == pytest.approx(other.item())


class Flat(nn.Module):
    n_features = 4

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 4)

    def forward(self, images):
        return self.linear(images.flatten(1))


@pytest.mark.parametrize('symmetric', [False, True])
def test_moco_adds_the_loss_of_the_answers(symmetric):
    images = torch.rand(3, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    answers, _ = make()
    encoder = Flat()
    losses = []
    for added in (None, answers):
        torch.manual_seed(1)
        moco = MoCo(
            encoder, lambda images, _: images, queue_size=4, symmetric=symmetric, answers=added
        )
        generator = torch.Generator().manual_seed(0)
        losses.append(moco(images, torch.arange(3), generator, 0.0)[0])
    expected = losses[0] + answers(encoder(images), torch.arange(3))
    assert losses[1].item() == pytest.approx(expected.item(), rel=1e-5)
