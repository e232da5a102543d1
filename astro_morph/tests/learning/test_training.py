# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The training loop: the rows of each epoch, the learning rate, and runs that were interrupted."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from astro_morph.learning.objectives import MoCo, Supervised
from astro_morph.learning.objectives.supervised import cross_entropy
from astro_morph.learning.training.checkpoints import Checkpoint
from astro_morph.learning.training.conditions import RandomConditions
from astro_morph.learning.training.devices import choose_device
from astro_morph.learning.training.loop import sgd, train
from astro_morph.learning.training.views import CONTRAST, FluxViews, RandomViews
from astro_morph.models.stretch import FluxStretch
from astro_morph.tests.helpers import fill_disk
from astro_morph.utils.progress import progress_bar

CPU = torch.device('cpu')


class Recorder(nn.Module):
    """An objective that keeps its arguments; its parameter falls by the learning rate."""

    def __init__(self, pause=0.0):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.pause = pause
        self.rows, self.progress = [], []

    def forward(self, images, rows, generator, progress):
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

    def test_callback_ends_the_training(self):
        history, _ = run(Recorder(), epochs=9, callback=lambda record: record['epoch'] == 2)
        assert [record['epoch'] for record in history] == [1, 2]

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
        # The parameter's gradient is 1: it has moved by the sum of the learning rates.
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


class SmallEncoder(nn.Sequential):
    """A convolution and a batch norm, with buffers like those of a large encoder."""

    n_features = 8

    def __init__(self):
        layers = [nn.Conv2d(2, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _moco():
    return MoCo(SmallEncoder(), RandomViews(20, **CONTRAST), queue_size=8)


def _supervised():
    encoder, head = SmallEncoder(), nn.Linear(8, 2)
    target = torch.eye(2).repeat(6, 1)
    stretch = FluxStretch([1.0, 1.0]).compress
    views = FluxViews(RandomConditions.of('gr'), stretch, RandomViews(20, **CONTRAST))
    return Supervised(encoder, head, views, target=target, weight=torch.ones(12))


OBJECTIVES = {'moco': _moco, 'supervised': _supervised}
STEPS = 12


def fit(name, *, checkpoint=None, seed=0, after_step=lambda number: None, **options):
    """Train for 4 epochs of 3 steps; return weights and buffers, and the history."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        objective = OBJECTIVES[name]()
    optimizer = sgd(objective, learning_rate=0.05)
    numbers = iter(range(1, STEPS + 1))
    optimizer.register_step_post_hook(lambda *_: after_step(next(numbers)))
    images = torch.rand(12, 2, 20, 20, generator=torch.Generator().manual_seed(5))
    options = {'epochs': 4, 'batch_size': 5, 'random_state': 7, 'device': CPU} | options
    history = train(
        objective, images.half(), optimizer, checkpoint=checkpoint, verbose=False, **options
    )
    return objective.state_dict(), history


def is_same_run(first, second):
    """Compare two results of `fit` bit by bit, except for the time they took."""
    (state, history), (other, other_history) = first, second
    timeless = [[{**r, 'seconds': None} for r in h] for h in (history, other_history)]
    return timeless[0] == timeless[1] and all(
        torch.equal(value, other[name]) for name, value in state.items()
    )


class TestCheckpoint:
    @pytest.mark.parametrize('name', OBJECTIVES)
    @pytest.mark.parametrize('last_step', [1, 5, 6, 12])
    def test_interrupted_run_goes_on_as_if_undisturbed(self, name, last_step, tmp_path):
        def interrupt(number):
            if number == last_step:
                signal.raise_signal(signal.SIGINT)

        handler = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                fit(name, checkpoint=tmp_path / 'run.pt', after_step=interrupt)
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        finally:
            signal.signal(signal.SIGINT, handler)
        # The new process has other weights: all must come from the checkpoint, as must the seed.
        n_steps = []
        resumed = fit(
            name,
            checkpoint=tmp_path / 'run.pt',
            seed=99,
            random_state=99,
            after_step=n_steps.append,
        )
        assert len(n_steps) == STEPS - last_step
        assert is_same_run(resumed, fit(name))

    @pytest.mark.skipif(sys.platform == 'win32', reason='Windows ends processes without a word')
    @pytest.mark.parametrize(
        ('number', 'interval'), [(signal.SIGTERM, 300), (signal.SIGKILL, 0)], ids=['TERM', 'KILL']
    )
    def test_killed_process_goes_on_as_if_undisturbed(self, number, interval, tmp_path):
        code = (
            'from astro_morph.learning.training import checkpoints\n'
            'from astro_morph.tests.learning.test_training import fit\n'
            f'checkpoints.INTERVAL = {interval}\n'
            f'fit("moco", checkpoint={str(tmp_path / "run.pt")!r},'
            ' after_step=lambda number: print(number, flush=True))'
        )
        with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as process:
            for _ in range(5):
                process.stdout.readline()
            process.send_signal(number)
            # Read to the end, so that the process does not write into a closed pipe.
            process.communicate()
        assert process.returncode == -number
        n_steps = []
        resumed = fit('moco', checkpoint=tmp_path / 'run.pt', seed=99, after_step=n_steps.append)
        assert 0 < len(n_steps) < STEPS
        assert is_same_run(resumed, fit('moco'))

    def test_full_disk_leaves_the_previous_checkpoint(self, tmp_path, monkeypatch):
        path = tmp_path / 'run.pt'
        checkpoint = Checkpoint(path, {}, settings={'epochs': 4})
        checkpoint.save()
        content = path.read_bytes()
        fill_disk(monkeypatch, torch, 'save')
        with pytest.raises(OSError, match='No space left'):
            checkpoint.save()
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ['run.pt']

    def test_error_in_a_callback_costs_no_step(self, tmp_path, monkeypatch):
        monkeypatch.setattr('astro_morph.learning.training.checkpoints.INTERVAL', 0)

        def fail(record):
            assert record['epoch'] < 3

        with pytest.raises(AssertionError):
            fit('supervised', checkpoint=tmp_path / 'run.pt', callback=fail)
        assert is_same_run(fit('supervised', checkpoint=tmp_path / 'run.pt'), fit('supervised'))

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'epochs': 5}, 'whose epochs is 4, not 5; continue with the settings of that run'),
            ({'name': 'supervised'}, 'another run'),
        ],
    )
    def test_checkpoint_of_another_run_is_refused(self, change, message, tmp_path):
        checkpoint = tmp_path / 'run.pt'
        fit('moco', checkpoint=checkpoint)
        with pytest.raises(ValueError, match=message):
            fit(**{'name': 'moco', 'checkpoint': checkpoint} | change)

    def test_checkpoint_of_other_images_is_refused(self, tmp_path):
        run(Recorder(), checkpoint=tmp_path / 'run.pt')
        with pytest.raises(ValueError, match=r'shape of the images is .10, 1, 1, 1., not .11, 1'):
            run(Recorder(), n=11, checkpoint=tmp_path / 'run.pt')

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'objective': {}}, 'of this run: objective is missing'),
            ({'objective': {'weight': 1}}, 'of this run: objective is missing'),
            ({'optimizer': []}, 'of this run: optimizer is missing, or of another shape'),
            ({'run': None}, 'of this run: run is missing, or of another shape or version'),
            ({'settings': 5}, 'is no checkpoint of astro_morph, or is damaged'),
            ({'settings': {}}, 'is of another run, whose .* is None'),
            ({'format': 'astro_morph checkpoint 2'}, "has the format 'astro_morph checkpoint 2'"),
            ({'format': 2}, 'has the format 2'),
        ],
    )
    def test_checkpoint_with_other_entries_is_refused(self, change, message, tmp_path):
        path = tmp_path / 'run.pt'
        run(Recorder(), checkpoint=path)
        torch.save(torch.load(path, weights_only=True) | change, path)
        with pytest.raises(ValueError, match=rf'run\.pt.*{message}'):
            run(Recorder(), checkpoint=path)

    def test_part_that_is_missing_is_named(self, tmp_path):
        path = tmp_path / 'run.pt'
        run(Recorder(), checkpoint=path)
        state = torch.load(path, weights_only=True)
        del state['scaler']
        torch.save(state, path)
        with pytest.raises(ValueError, match='scaler is missing'):
            run(Recorder(), checkpoint=path)

    @pytest.mark.parametrize('size', [0, 10, 500, -30])
    def test_checkpoint_that_was_cut_off_is_refused(self, tmp_path, size):
        path = tmp_path / 'run.pt'
        run(Recorder(), checkpoint=path)
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match='is no checkpoint of astro_morph, or is damaged'):
            run(Recorder(), checkpoint=path)

    def test_other_file_is_refused(self, tmp_path):
        (tmp_path / 'run.pt').write_bytes(b'nothing of the kind')
        with pytest.raises(ValueError, match='is no checkpoint of astro_morph'):
            run(Recorder(), checkpoint=tmp_path / 'run.pt')
        torch.save({'format': 'another'}, tmp_path / 'run.pt')
        with pytest.raises(ValueError, match="has the format 'another'"):
            run(Recorder(), checkpoint=tmp_path / 'run.pt')

    def test_handler_of_the_user_lets_the_run_go_on(self, tmp_path):
        heard = []
        handler = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
        try:
            result = fit(
                'supervised',
                checkpoint=tmp_path / 'run.pt',
                after_step=lambda number: number == 5 and signal.raise_signal(signal.SIGTERM),
            )
        finally:
            signal.signal(signal.SIGTERM, handler)
        assert heard == [signal.SIGTERM]
        assert is_same_run(result, fit('supervised'))

    def test_finished_run_is_not_repeated(self, tmp_path):
        checkpoint = tmp_path / 'run.pt'
        result = fit('supervised', checkpoint=checkpoint)
        n_steps = []
        again = fit('supervised', checkpoint=checkpoint, seed=99, after_step=n_steps.append)
        assert n_steps == []
        assert is_same_run(again, result)

    def test_nothing_but_the_checkpoint_is_left_behind(self, tmp_path):
        run(Recorder(), checkpoint=tmp_path / 'run.pt')
        assert [path.name for path in tmp_path.iterdir()] == ['run.pt']


class TestSupervised:
    def test_loss_is_the_weighted_smoothed_cross_entropy(self):
        logits = np.array([[2.0, 0.0, -1.0], [0.5, 1.0, 3.0]])
        target = torch.tensor([[0.0, 0.0, 1.0], [0.8, 0.2, 0.0], [0.0, 1.0, 0.0]])
        weight = torch.tensor([0.5, 1.0, 1.5])
        objective = Supervised(
            nn.Identity(),
            nn.Flatten(),
            lambda images, generator: images,
            target=target,
            weight=weight,
            compare=partial(cross_entropy, label_smoothing=0.3),
        )
        rows = torch.tensor([1, 0])
        images = torch.from_numpy(logits).float().view(2, 3, 1, 1)
        loss, accuracy = objective(images, rows, None, 0.0)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        wanted = 0.1 + 0.7 * np.array([[0.8, 0.2, 0.0], [0.0, 0.0, 1.0]])
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
