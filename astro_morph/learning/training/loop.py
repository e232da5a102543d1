# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The one training loop, for every objective."""

import contextlib
import dataclasses
import math
import os
import time
import zlib

import numpy as np
import torch

from astro_morph.learning.training import processes as parallel
from astro_morph.learning.training.batches import Batches
from astro_morph.learning.training.checkpoints import Checkpoint, Signals
from astro_morph.utils.progress import progress_bar

__all__ = ['autocast', 'choose_device', 'sgd', 'train']

# Share of the training in which the learning rate rises: large first steps spoil batch norm.
WARM_UP = 0.05

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4

# Images by which a checkpoint knows its run again.
CHECKED = 64


def choose_device(device='auto'):
    """
    Choose where the network runs.

    Parameters
    ----------
    device : str or `torch.device`, optional
        A device, or ``'auto'`` for CUDA, else MPS, else the CPU.

    Returns
    -------
    device : `torch.device`
        The device; of several processes on one machine, each gets a GPU of its own.
    """
    if device != 'auto':
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)))
    if torch.backends.mps.is_available():
        return torch.device('mps')
    return torch.device('cpu')


def autocast(device):
    """
    Give the context in which networks run in half precision, where the device is fast at it.

    Parameters
    ----------
    device : `torch.device`
        The device.

    Returns
    -------
    context : context manager
        Of bfloat16 where it is native, of float16 on older GPUs; does nothing elsewhere.
    """
    dtype = _fast_dtype(device)
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def _fast_dtype(device):
    if device.type == 'cuda':
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_native else torch.float16
    is_native = device.type == 'cpu' and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if is_native else None


def sgd(objective, *, learning_rate):
    """
    Make the optimiser of an objective: stochastic gradient descent with momentum.

    Parameters
    ----------
    objective : `torch.nn.Module`
        What is trained.
    learning_rate : float
        The learning rate at its peak.

    Returns
    -------
    optimizer : `torch.optim.SGD`
        Biases and batch norms are not decayed: they have no direction that could overfit.
    """
    parameters = [p for p in objective.parameters() if p.requires_grad]
    groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': WEIGHT_DECAY},
        {'params': [p for p in parameters if p.ndim < 2], 'weight_decay': 0.0},
    ]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM, fused=True)


def learning_rate_factor(progress):
    """Rise linearly to 1, then fall to 0 along a half cosine (Loshchilov & Hutter 2017)."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def train(
    objective,
    images,
    optimizer,
    *,
    epochs,
    batch_size,
    device,
    random_state,
    max_time=None,
    checkpoint=None,
    callback=None,
    description='training',
    verbose=True,
):
    """
    Minimise an objective over images.

    Where ``torchrun`` has started several processes, each takes its share of every batch, and their
    gradients are averaged. If the processes do not divide the images evenly, the odd ones are left
    out of an epoch, others in each.

    Parameters
    ----------
    objective : `torch.nn.Module`
        Its ``forward(images, rows, generator, progress)`` gives the loss and an accuracy. All that
        is random comes from the generator.
    images : array_like, shape (n, band, y, x)
        What the objective takes, see `~astro_morph.learning.training.batches.Batches`.
    optimizer : `torch.optim.Optimizer`
        Changes the objective's parameters; its learning rates are those of the peak.
    epochs, batch_size : int
        Passes over the images, and the largest number of images a step, in all processes together.
    device : `torch.device`
        Where the objective is.
    random_state : int
        Seed of the order and of the views.
    max_time : float, optional
        Seconds after which training ends; the learning rate then falls with the time used. What
        a run used before it was stopped counts.
    checkpoint : path, optional
        File that is written every few minutes, at the end, and before Ctrl-C or SIGTERM end the
        process. If it is there, the run goes on from it, with its ``random_state``, and ends as one
        that was never stopped.
    callback : callable, optional
        Called with the epoch's record after each epoch; may add numbers to it. Training ends where
        it returns True.
    description : str, optional
        Name of the work in the progress bar.
    verbose : bool, optional
        Whether to show progress.

    Returns
    -------
    history : list of dict
        A record an epoch: ``epoch``, ``loss``, ``accuracy``, ``learning_rate`` and ``seconds``.

    Raises
    ------
    ValueError
        If the checkpoint is of another run, the processes have different images, or there are
        fewer images a batch than processes.
    """
    parallel.join()
    for group in optimizer.param_groups:
        group.setdefault('initial_lr', group['lr'])
    batches = Batches(images, device)
    settings = {'epochs': epochs, 'batch_size': batch_size}
    settings |= _describe(objective, optimizer, images)
    _check_processes(settings)
    run = _Run(parallel.broadcast(random_state), torch.zeros(2, device=device))
    # float16 would lose small gradients if the loss were not scaled.
    scaler = torch.amp.GradScaler(device.type, enabled=_fast_dtype(device) == torch.float16)
    parts = {'objective': objective, 'optimizer': optimizer, 'scaler': scaler, 'run': run}
    saved = Checkpoint(checkpoint, parts, settings=settings)
    saved.load()
    generator = torch.Generator(device)
    max_time = math.inf if max_time is None else max_time
    n_batches = math.ceil(len(batches) / batch_size)
    n_steps = epochs * n_batches
    order = None
    common = parallel.wrap(objective).train()
    with (
        Signals(is_active=checkpoint is not None) as signals,
        progress_bar(epochs * len(batches), description, verbose=verbose) as bar,
    ):
        bar.update(run.step * len(batches) // n_batches)
        start = time.perf_counter() - run.seconds
        while run.step < n_steps:
            # What the clocks and the signals say, all processes hear alike.
            run.seconds, signal = parallel.largest(run.seconds, signals.received)
            if signal:
                saved.save()
                signals.act(int(signal))
            if run.seconds >= max_time:
                break
            epoch, number = divmod(run.step, n_batches)
            if order is None or number == 0:
                order = _deal(len(batches), n_batches, run.random_state, epoch)
            # Sorted: a file is read in one direction.
            rows = order[number].sort().values
            progress = min(1.0, max((run.step + 0.5) / n_steps, run.seconds / max_time))
            for group in optimizer.param_groups:
                group['lr'] = group['initial_lr'] * learning_rate_factor(progress)
            # Seeded anew, so that a step draws the same in a run that was stopped before it.
            generator.manual_seed(_seed(run.random_state, 1 + parallel.rank(), run.step))
            inputs = batches.take(rows), rows.to(device, non_blocking=True), generator, progress
            run.add(_learn(common, inputs, optimizer, scaler), len(rows))
            run.seconds = time.perf_counter() - start
            bar.update(len(rows) * parallel.n_processes())
            if run.step % n_batches == 0 and run.end_epoch(optimizer, callback):
                break
            saved.save_if_due()
        if run.n_seen:
            run.end_epoch(optimizer, callback)
        saved.save()
    objective.eval()
    return run.history


def _learn(objective, inputs, optimizer, scaler):
    """Make one step; give loss and accuracy, without waiting for them."""
    images, *_ = inputs
    with autocast(images.device):
        loss, accuracy = objective(*inputs)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return torch.stack([loss.detach(), accuracy])


class _Run:
    """How far a run has come."""

    def __init__(self, random_state, sums):
        self.random_state = random_state
        self.step = 0
        self.seconds = 0.0
        # Of loss and accuracy, over the images seen in this epoch.
        self.sums = sums
        self.n_seen = 0
        self.history = []

    def state_dict(self):
        return vars(self)

    def load_state_dict(self, state):
        vars(self).update(state, sums=state['sums'].to(self.sums))

    def add(self, values, n):
        self.step += 1
        self.sums += values * n
        self.n_seen += n

    def end_epoch(self, optimizer, callback):
        """Write the record of an epoch; tell whether the callback wants it to be the last."""
        loss, accuracy = parallel.total(self.sums) / (self.n_seen * parallel.n_processes())
        record = {
            'epoch': len(self.history) + 1,
            'loss': loss.item(),
            'accuracy': accuracy.item(),
            'learning_rate': optimizer.param_groups[0]['lr'],
            'seconds': self.seconds - sum(record['seconds'] for record in self.history),
        }
        is_over = callback is not None and callback(record)
        self.history.append(record)
        self.sums.zero_()
        self.n_seen = 0
        return is_over


def _deal(n, n_batches, random_state, epoch):
    """Shuffle the rows, and deal them out to processes and batches of nearly one size."""
    generator = torch.Generator().manual_seed(_seed(random_state, 0, epoch))
    order = torch.randperm(n, generator=generator)
    n_processes = parallel.n_processes()
    # All processes have equally many: they wait for each other in each step.
    return order[: n - n % n_processes][parallel.rank() :: n_processes].tensor_split(n_batches)


def _seed(*numbers):
    """Give a seed to each tuple of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _describe(objective, optimizer, images):
    """Tell a run from others, in words and numbers."""
    images = np.asarray(images)
    sample = np.ascontiguousarray(images[:: 1 + len(images) // CHECKED])
    named = {
        name: repr(value)
        for name, value in vars(objective).items()
        if isinstance(value, int | float) or dataclasses.is_dataclass(value)
    }
    named.pop('training')
    return named | {
        'objective': type(objective).__name__,
        'number of parameters': sum(p.numel() for p in objective.parameters()),
        'learning rate': optimizer.param_groups[0]['initial_lr'],
        'shape of the images': images.shape,
        'checksum of the images': zlib.crc32(sample),
    }


def _check_processes(settings):
    if settings['batch_size'] < parallel.n_processes():
        msg = (
            f'batch_size={settings["batch_size"]} is less than the number of processes, '
            f'{parallel.n_processes()}; pass a larger one'
        )
        raise ValueError(msg)
    first = parallel.broadcast(settings)
    if settings != first:
        msg = (
            'the processes do not have the same images and settings; fetch the images into one '
            'file first'
        )
        raise ValueError(msg)
