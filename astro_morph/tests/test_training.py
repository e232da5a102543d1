# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The training loop: what each epoch sees, how the rate runs, and how a killed run goes on."""

import time
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from astro_morph.augmentation import CONTRAST, RandomViews
from astro_morph.networks import resnet
from astro_morph.pretraining import MoCo, Supervised
from astro_morph.training import choose_device, progress_bar, sgd, train

CPU = torch.device('cpu')


class Recorder(nn.Module):
    """An objective that remembers what it was given; its parameter falls by the learning rate."""

    def __init__(self, pause=0.0):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.pause = pause
        self.rows, self.progress = [], []

    def loss(self, images, rows, generator, progress):
        time.sleep(self.pause)
        assert images.dtype == torch.float32
        assert torch.equal(images[:, 0, 0, 0], rows.float())
        self.rows.append(rows.tolist())
        self.progress.append(progress)
        return self.parameter + rows.float().mean(), (rows < 5).float().mean()


def numbered_images(n):
    return torch.arange(n).view(n, 1, 1, 1).double()


def run(objective, *, n=10, epochs=3, batch_size=4, learning_rate=1.0, **options):
    optimizer = torch.optim.SGD(objective.parameters(), lr=learning_rate)
    rates = []
    optimizer.register_step_post_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]['lr'])
    )
    options = {'device': CPU, 'random_state': 0, 'verbose': False} | options
    history = train(
        objective, numbered_images(n), optimizer, epochs=epochs, batch_size=batch_size, **options
    )
    return history, rates


class TestEpochs:
    def test_each_sample_is_seen_once_an_epoch_in_another_order(self):
        objective = Recorder()
        run(objective, n=10, epochs=3, batch_size=4)
        epochs = [list(chain(*objective.rows[i : i + 3])) for i in (0, 3, 6)]
        assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 3
        assert epochs[0] != epochs[1] != epochs[2]

    @pytest.mark.parametrize(('n', 'batch_size'), [(10, 4), (9, 8), (8, 8), (3, 8), (17, 4)])
    def test_batches_are_of_nearly_one_size(self, n, batch_size):
        objective = Recorder()
        run(objective, n=n, epochs=1, batch_size=batch_size)
        sizes = [len(rows) for rows in objective.rows]
        assert sum(sizes) == n
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1

    def test_random_state_sets_the_order(self):
        first, again, other = Recorder(), Recorder(), Recorder()
        for objective, random_state in ((first, 1), (again, 1), (other, 2)):
            run(objective, random_state=random_state)
        assert first.rows == again.rows
        assert first.rows != other.rows

    def test_history_has_the_means_over_the_samples(self):
        history, rates = run(Recorder(), n=10, epochs=2, learning_rate=1e-9)
        assert [record['epoch'] for record in history] == [1, 2]
        for record, rate in zip(history, rates[2::3], strict=True):
            assert set(record) == {'epoch', 'loss', 'accuracy', 'learning_rate', 'seconds'}
            assert record['loss'] == pytest.approx(4.5)
            assert record['accuracy'] == pytest.approx(0.5)
            assert record['learning_rate'] == rate
            assert 0 < record['seconds'] < 10

    def test_callback_sees_and_adds_to_each_record(self):
        history, _ = run(
            Recorder(), callback=lambda record: record.update(twice=record['epoch'] * 2)
        )
        assert [record['twice'] for record in history] == [2, 4, 6]

    def test_objective_is_left_in_evaluation(self):
        objective = Recorder()
        run(objective)
        assert not objective.training


class TestLearningRate:
    def test_rises_then_falls_along_a_half_cosine(self):
        n_steps = 200
        objective = Recorder()
        _, rates = run(objective, n=40, epochs=20, batch_size=4, learning_rate=0.3)
        progress = (np.arange(n_steps) + 0.5) / n_steps
        np.testing.assert_allclose(objective.progress, progress)
        expected = np.where(
            progress < 0.05,
            0.3 * progress / 0.05,
            0.15 * (1 + np.cos(np.pi * (progress - 0.05) / 0.95)),
        )
        np.testing.assert_allclose(rates, expected, rtol=1e-6)
        # The parameter's gradient is 1: it has gone as far as the rates add up to.
        assert -objective.parameter.item() == pytest.approx(sum(rates), rel=1e-4)

    def test_groups_keep_their_ratio(self):
        objective = Recorder()
        objective.other = nn.Parameter(torch.zeros(()))
        groups = [
            {'params': [objective.parameter], 'lr': 0.1},
            {'params': [objective.other], 'lr': 1},
        ]
        optimizer = torch.optim.SGD(groups)
        train(
            objective,
            numbered_images(6),
            optimizer,
            epochs=2,
            batch_size=2,
            device=CPU,
            random_state=0,
            verbose=False,
        )
        first, second = (group['lr'] for group in optimizer.param_groups)
        assert second == pytest.approx(10 * first)

    def test_biases_and_batch_norms_are_not_decayed(self):
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
        network[2].weight.requires_grad_(False)
        decay = {
            id(p): group['weight_decay']
            for group in sgd(network, learning_rate=0.5).param_groups
            for p in group['params']
        }
        is_decayed = {name: decay.get(id(p), -1) > 0 for name, p in network.named_parameters()}
        assert [name for name, value in is_decayed.items() if value] == ['0.weight']
        assert len(decay) == 5


class TestTime:
    def test_training_ends_with_the_time_and_the_rate_at_zero(self):
        start = time.perf_counter()
        history, rates = run(Recorder(pause=0.01), epochs=100_000, max_time=0.5)
        assert time.perf_counter() - start < 3
        assert 1 < len(history) < 100
        assert rates[-1] < 0.1
        assert max(rates) > 0.5

    def test_training_ends_within_an_epoch(self):
        objective = Recorder(pause=0.01)
        history, _ = run(objective, n=10_000, epochs=5, batch_size=4, max_time=0.2)
        assert len(history) == 1
        seen = list(chain(*objective.rows))
        assert 4 < len(seen) < 400
        assert history[0]['accuracy'] == pytest.approx(np.mean(np.array(seen) < 5))

    def test_enough_time_changes_nothing(self):
        _, rates = run(Recorder(), max_time=1e9)
        assert rates == run(Recorder())[1]


def _moco():
    encoder = resnet('resnet18', n_bands=2)
    return MoCo(encoder, RandomViews(20, **CONTRAST), queue_size=8)


def _supervised():
    head = nn.Linear(512, 2)
    target = torch.arange(12) % 2
    encoder = resnet('resnet18', n_bands=2)
    return Supervised(
        encoder, head, RandomViews(20, **CONTRAST), target=target, weight=torch.ones(12)
    )


class Kill(Exception):  # noqa: N818
    """Stands for a cluster that ends the job."""


class TestCheckpoint:
    IMAGES = torch.rand(12, 2, 20, 20, generator=torch.Generator().manual_seed(5)).half()

    def fit(self, make, *, checkpoint=None, kill_at=None, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            objective = make()

        def callback(record):
            if record['epoch'] == kill_at:
                raise Kill

        history = train(
            objective,
            self.IMAGES,
            sgd(objective, learning_rate=0.05),
            epochs=4,
            batch_size=5,
            device=CPU,
            random_state=7,
            checkpoint=checkpoint,
            callback=callback,
            verbose=False,
        )
        return objective.state_dict(), history

    @pytest.mark.parametrize('make', [_moco, _supervised])
    def test_killed_run_goes_on_as_if_undisturbed(self, make, tmp_path):
        expected, expected_history = self.fit(make)
        checkpoint = tmp_path / 'run.pt'
        with pytest.raises(Kill):
            self.fit(make, checkpoint=checkpoint, kill_at=3)
        # The new process has other weights: all must come from the checkpoint.
        state, history = self.fit(make, checkpoint=checkpoint, seed=99)
        assert state.keys() == expected.keys()
        for name, value in state.items():
            assert torch.equal(value, expected[name]), name
        for record, undisturbed in zip(history, expected_history, strict=True):
            timeless = [{**r, 'seconds': None} for r in (record, undisturbed)]
            assert timeless[0] == timeless[1]

    def test_finished_run_is_not_repeated(self, tmp_path):
        checkpoint = tmp_path / 'run.pt'
        state, history = self.fit(_supervised, checkpoint=checkpoint)
        again, history_again = self.fit(_supervised, checkpoint=checkpoint, kill_at=4, seed=99)
        assert history_again == history
        assert all(torch.equal(again[name], value) for name, value in state.items())

    def test_nothing_but_the_checkpoint_is_left_behind(self, tmp_path):
        run(Recorder(), checkpoint=tmp_path / 'run.pt')
        assert [path.name for path in tmp_path.iterdir()] == ['run.pt']


class TestSupervised:
    def test_loss_is_the_weighted_smoothed_cross_entropy(self):
        logits = np.array([[2.0, 0.0, -1.0], [0.5, 1.0, 3.0]])
        target, weight = torch.tensor([2, 0, 1]), torch.tensor([0.5, 1.0, 1.5])
        objective = Supervised(
            nn.Identity(),
            nn.Flatten(),
            lambda images, generator: images,
            target=target,
            weight=weight,
            label_smoothing=0.3,
        )
        rows = torch.tensor([1, 0])
        images = torch.from_numpy(logits).float().view(2, 3, 1, 1)
        loss, accuracy = objective.loss(images, rows, None, 0.0)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        wanted = np.full((2, 3), 0.1) + 0.7 * np.eye(3)[[0, 2]]
        expected = np.mean(-(wanted * log_p).sum(axis=1) * [1.0, 0.5])
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert accuracy == 1


class TestProgress:
    def test_silent_run_prints_nothing(self, capsys):
        run(Recorder(pause=0.001), epochs=20)
        assert capsys.readouterr() == ('', '')

    def test_bar_counts_images_unless_silent(self):
        with progress_bar(10, 'encoding') as bar:
            assert (bar.total, bar.desc, bar.disable) == (10, 'encoding', False)
        assert progress_bar(10, 'encoding', verbose=False).disable


def test_device_is_the_one_asked_for_or_the_best_there_is(monkeypatch):
    assert choose_device('cpu') == CPU
    assert choose_device(torch.device('cpu')) == CPU
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert choose_device() == CPU
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    assert choose_device().type == 'mps'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert choose_device().type == 'cuda'


def test_rate_factor_never_leaves_zero_to_one():
    _, rates = run(Recorder(), n=50, epochs=4, batch_size=2)
    assert 0 <= min(rates) <= max(rates) <= 1
    assert max(rates) == pytest.approx(1, abs=0.01)
