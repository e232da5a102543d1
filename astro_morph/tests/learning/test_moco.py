# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Momentum Contrast against the same arithmetic in NumPy, in double precision."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from astro_morph.learning.objectives import MoCo, queue_size_for

TEMPERATURE, MOMENTUM = 0.2, 0.9
SHAPE = (2, 3, 3)


class TinyEncoder(nn.Module):
    """One linear layer, which a line of NumPy can repeat."""

    n_features = 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(np.prod(SHAPE), self.n_features)

    def forward(self, images):
        return self.linear(images.flatten(1))


class NoisyViews:
    """Adds noise to the images, and keeps the views."""

    def __init__(self):
        self.given = []

    def __call__(self, images, generator):
        self.given.append(images + 0.5 * torch.randn(images.shape, generator=generator))
        self.state = generator.get_state()
        return self.given[-1]


def make(queue_size=8, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        moco = MoCo(
            TinyEncoder(),
            NoisyViews(),
            queue_size=queue_size,
            temperature=TEMPERATURE,
            momentum=MOMENTUM,
            **options,
        )
        # The two encoders differ from the first step on.
        for parameter in moco.query_encoder.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return moco


def images_of(n, seed=1):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def step(moco, rows, *, progress=0.0, seed=2):
    rows = torch.as_tensor(rows)
    return moco(images_of(len(rows)), rows, torch.Generator().manual_seed(seed), progress)


class Reference:
    """MoCo in NumPy: takes over the state of one in PyTorch, and predicts its next step."""

    def __init__(self, moco):
        self.query = self.parameters(moco.query_encoder)
        self.key = self.parameters(moco.key_encoder)
        self.queue = moco.queue.numpy().astype(float)
        self.rows = moco.queue_rows.numpy()

    @staticmethod
    def parameters(module):
        return [p.detach().numpy().astype(float) for p in module.parameters()]

    @staticmethod
    def encode(parameters, views):
        weight, bias, weight_1, bias_1, weight_2, bias_2 = parameters
        features = views.numpy().astype(float).reshape(len(views), -1) @ weight.T + bias
        outputs = np.maximum(features @ weight_1.T + bias_1, 0) @ weight_2.T + bias_2
        return outputs / np.linalg.norm(outputs, axis=1, keepdims=True)

    def follow(self, momentum):
        self.key = [
            momentum * k + (1 - momentum) * q for k, q in zip(self.key, self.query, strict=True)
        ]

    def losses(self, query_view, key_view, rows):
        """Return the losses, the keys, and whether each query is closest to its own key."""
        queries, keys = self.encode(self.query, query_view), self.encode(self.key, key_view)
        losses, hits = [], []
        for query, key, row in zip(queries, keys, rows, strict=True):
            positive = query @ key / TEMPERATURE
            negatives = self.queue[self.rows != row] @ query / TEMPERATURE
            losses.append(np.logaddexp.reduce([positive, *negatives]) - positive)
            hits.append(positive > negatives.max())
        return losses, keys, hits

    def enqueue(self, keys, rows):
        size = len(self.queue)
        self.queue = np.concatenate([keys, self.queue])[:size]
        self.rows = np.concatenate([rows, self.rows])[:size]


def check_state(moco, reference):
    np.testing.assert_allclose(moco.queue, reference.queue, atol=1e-5)
    np.testing.assert_array_equal(moco.queue_rows, reference.rows)
    for value, expected in zip(Reference.parameters(moco.key_encoder), reference.key, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


# More rows than are encoded at once: the keys are shuffled, and put back in order.
@pytest.mark.parametrize('n', [1, 5, 150])
def test_step_is_that_of_the_paper(n):
    moco = make()
    # Galaxy 3 is in the queue already: it is not a negative of itself.
    moco.queue_rows[:4] = torch.tensor([3, 99, 3, 98])
    reference = Reference(moco)
    rows = np.arange(n)
    loss, accuracy = step(moco, rows)
    reference.follow(MOMENTUM)
    losses, keys, hits = reference.losses(*moco.views.given, rows)
    reference.enqueue(keys, rows)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert accuracy.item() == pytest.approx(np.mean(hits))
    check_state(moco, reference)


def test_symmetric_step_takes_each_view_as_query_and_key():
    moco = make(symmetric=True)
    reference = Reference(moco)
    rows = np.array([5, 6, 7])
    loss, _ = step(moco, rows)
    reference.follow(MOMENTUM)
    first, second = moco.views.given
    forth, keys, _ = reference.losses(first, second, rows)
    back, keys_back, _ = reference.losses(second, first, rows)
    reference.enqueue(keys, rows)
    reference.enqueue(keys_back, rows)
    assert loss.item() == pytest.approx(np.mean([forth, back]), rel=1e-5)
    check_state(moco, reference)


def test_keys_are_shuffled_into_chunks_of_their_own_batch_statistics():
    moco = make(queue_size=150)
    for encoder in (moco.query_encoder, moco.key_encoder):
        encoder[0] = nn.Sequential(encoder[0], nn.BatchNorm1d(TinyEncoder.n_features))
    with torch.no_grad():
        step(moco, range(150), progress=1.0)
    order = torch.randperm(150, generator=_generator(moco.views.state)).numpy()
    weight, bias, gain, offset, *rest = Reference.parameters(moco.key_encoder)
    views = moco.views.given[1].numpy().astype(float).reshape(150, -1)
    features = np.empty((150, TinyEncoder.n_features))
    # 64 keys a chunk, two chunks of 75.
    for chunk in (order[:75], order[75:]):
        x = views[chunk] @ weight.T + bias
        features[chunk] = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * gain + offset
    keys = Reference.encode([np.eye(6), np.zeros(6), *rest], torch.from_numpy(features))
    np.testing.assert_allclose(moco.queue, keys, atol=1e-5)


def _generator(state):
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def test_own_key_is_never_a_negative():
    moco = make(queue_size=6)
    step(moco, [4] * 6)
    # The queue holds other views of galaxy 4 only, so it has no negatives.
    loss, accuracy = step(moco, [4] * 6)
    assert loss == 0
    assert accuracy == 1
    # For another galaxy they are negatives.
    step(moco, [4] * 6)
    assert step(moco, [5] * 6)[0] > 0


def test_galaxies_of_other_surveys_are_no_negatives():
    moco = make(queue_size=6, surveys=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    # At first the queue holds random keys, of no survey.
    assert step(moco, [0, 1, 2, 4, 5, 6])[0] == 0
    reference = Reference(moco)
    loss = step(moco, [3])[0].item()
    reference.follow(MOMENTUM)
    reference.queue, reference.rows = reference.queue[:3], reference.rows[:3]
    expected = reference.losses(*moco.views.given[-2:], [3])[0]
    assert loss == pytest.approx(expected[0], rel=1e-4)


def test_queue_keeps_the_newest_keys_across_wraps_and_short_batches():
    moco = make(queue_size=8)
    rows, keys = [], []
    for number, n in enumerate([3, 3, 1, 5, 2, 8, 10, 3]):
        batch = np.arange(n) + 100 * number
        reference = Reference(moco)
        step(moco, batch, seed=number)
        reference.follow(MOMENTUM)
        new = reference.losses(*moco.views.given[-2:], batch)[1]
        rows, keys = [*batch, *rows][:8], [*new, *keys][:8]
        np.testing.assert_array_equal(moco.queue_rows[: len(rows)], rows)
        np.testing.assert_allclose(moco.queue[: len(keys)], keys, atol=1e-5)
        assert moco.queue.shape == (8, 128)


def test_queue_starts_with_keys_of_no_galaxy():
    moco = make()
    assert (moco.queue_rows < 0).all()
    np.testing.assert_allclose(moco.queue.norm(dim=1), 1, rtol=1e-5)


@pytest.mark.parametrize('symmetric', [False, True])
def test_only_the_query_encoder_learns(symmetric):
    moco = make(symmetric=symmetric)
    loss, _ = step(moco, range(5))
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in moco.query_encoder.parameters())
    assert all(p.grad is None for p in moco.key_encoder.parameters())
    assert not moco.queue.requires_grad


@pytest.mark.parametrize(
    ('progress', 'momentum'), [(0, MOMENTUM), (0.5, (1 + MOMENTUM) / 2), (1, 1)]
)
def test_momentum_rises_to_one(progress, momentum):
    moco = make()
    reference = Reference(moco)
    step(moco, range(3), progress=progress)
    reference.follow(momentum)
    for value, expected in zip(Reference.parameters(moco.key_encoder), reference.key, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def late_accuracy(learning_rate):
    """Train on 32 galaxies, and return the accuracy of the last steps."""
    moco = make(queue_size=16)
    optimizer = torch.optim.SGD(moco.query_encoder.parameters(), learning_rate, momentum=0.9)
    accuracies = []
    for number in range(150):
        rows = torch.arange(8) + 8 * (number % 4)
        images = images_of(32)[rows]
        generator = torch.Generator().manual_seed(number)
        loss, accuracy = moco(images, rows, generator, number / 150)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracies.append(accuracy.item())
    return np.mean(accuracies[-20:])


def test_galaxies_are_learnt_to_be_told_apart():
    assert late_accuracy(0.1) > late_accuracy(0) + 0.2


def test_a_saved_state_goes_on_alike():
    moco = make()
    step(moco, range(5))
    other = make()
    other.load_state_dict(copy.deepcopy(moco.state_dict()))
    assert torch.equal(step(other, range(5), seed=4)[0], step(moco, range(5), seed=4)[0])


@pytest.mark.parametrize(
    ('n_samples', 'batch_size', 'expected'),
    [
        (24_000, 256, 4096),  # as many as help
        (1_000_000, 256, 4096),
        (4_000, 256, 768),  # a quarter of the data, in whole batches
        (300, 256, 256),  # one batch at least
        (10, 10, 10),
    ],
)
def test_queue_is_shorter_than_the_data(n_samples, batch_size, expected):
    assert queue_size_for(n_samples, batch_size) == expected
