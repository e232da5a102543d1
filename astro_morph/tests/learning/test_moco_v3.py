# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Momentum Contrast without a queue against the same arithmetic in NumPy, in double precision."""

import numpy as np
import pytest
import torch

from astro_morph.learning.objectives import MoCoV3
from astro_morph.tests.learning.test_moco import NoisyViews, TinyEncoder, images_of

TEMPERATURE, MOMENTUM = 0.3, 0.9


def make():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        moco = MoCoV3(TinyEncoder(), NoisyViews(), temperature=TEMPERATURE, momentum=MOMENTUM)
        # The two encoders differ from the first step on.
        for parameter in moco.query_encoder.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return moco


def step(moco, images, *, progress=0.0, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return moco(images, torch.arange(len(images)), generator, progress)


def parameters_of(module):
    return [p.detach().numpy().astype(float) for p in module.parameters()]


def standardised(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def perceptron(parameters, x):
    weight, gain, offset, last_weight = parameters
    return np.maximum(standardised(x @ weight.T) * gain + offset, 0) @ last_weight.T


def project(parameters, views):
    weight, bias, *rest = parameters
    features = views.numpy().astype(float).reshape(len(views), -1) @ weight.T + bias
    return standardised(perceptron(rest, features))


def contrast(queries, keys):
    """The loss of section 3 of the paper, and the fraction of queries nearest to their own key."""
    queries, keys = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, keys))
    logits = queries @ keys.T / TEMPERATURE
    losses = np.logaddexp.reduce(logits, axis=1) - np.diag(logits)
    return 2 * TEMPERATURE * losses.mean(), np.mean(logits.argmax(1) == np.arange(len(logits)))


@pytest.mark.parametrize('progress', [0, 0.5])
@pytest.mark.parametrize('n', [3, 40])
def test_step_is_that_of_the_paper(n, progress):
    moco = make()
    query, key, predictor = map(
        parameters_of, (moco.query_encoder, moco.key_encoder, moco.predictor)
    )
    loss, accuracy = step(moco, images_of(n), progress=progress)

    momentum = 1 - (1 - MOMENTUM) * (1 + np.cos(np.pi * progress)) / 2
    key = [momentum * k + (1 - momentum) * q for k, q in zip(key, query, strict=True)]
    first, second = moco.views.given
    loss_1, accuracy_1 = contrast(
        perceptron(predictor, project(query, first)), project(key, second)
    )
    loss_2, accuracy_2 = contrast(
        perceptron(predictor, project(query, second)), project(key, first)
    )
    assert loss.item() == pytest.approx(loss_1 + loss_2, rel=1e-4)
    assert accuracy.item() == pytest.approx((accuracy_1 + accuracy_2) / 2)
    for value, expected in zip(parameters_of(moco.key_encoder), key, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_only_query_encoder_and_predictor_learn():
    moco = make()
    step(moco, images_of(8))[0].backward()
    learning = [*moco.query_encoder.parameters(), *moco.predictor.parameters()]
    assert all(p.grad is not None and p.grad.any() for p in learning)
    assert all(p.grad is None for p in moco.key_encoder.parameters())


def late_accuracy(learning_rate):
    """Train on 8 galaxies, and return the accuracy of the last steps."""
    moco = make()
    optimizer = torch.optim.SGD(moco.parameters(), learning_rate, momentum=0.9)
    accuracies = []
    for number in range(30):
        loss, accuracy = step(moco, images_of(8), progress=number / 30, seed=number)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracies.append(accuracy.item())
    return np.mean(accuracies[-10:])


def test_galaxies_are_learnt_to_be_told_apart():
    assert late_accuracy(0.1) > late_accuracy(0) + 0.2
