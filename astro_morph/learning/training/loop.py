# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Train any objective: the training loop, its optimiser and its learning rate."""

import dataclasses
import math
import time
import zlib

import numpy as np
import torch

from astro_morph.learning.training import processes
from astro_morph.learning.training.batches import Batches
from astro_morph.learning.training.checkpoints import Checkpoint, Signals
from astro_morph.learning.training.devices import autocast, fast_dtype
from astro_morph.utils.messages import as_written
from astro_morph.utils.progress import progress_bar

__all__ = ['adamw', 'sgd', 'train']

# Fraction of the training in which the learning rate rises: large first steps spoil batch norm.
WARM_UP = 0.05

# From the MoCo authors' recipe for CIFAR-10. It has fewer images than ImageNet, so weights decay
# five times as fast.
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4

# Of AdamW, as ConvNeXt and vision transformers are fine-tuned (Liu et al. 2022, arXiv:2201.03545).
ADAM_DECAY = 0.05

# A checkpoint recognises the images of its run by the checksum of about as many of them.
CHECKED = 64


def sgd(objective, *, learning_rate):
    """
    Build the optimiser of an objective: stochastic gradient descent with momentum.

    Parameters
    ----------
    objective : `torch.nn.Module`
        The module to train.
    learning_rate : float
        Peak learning rate.

    Returns
    -------
    optimizer : `torch.optim.SGD`
        The optimiser. Weights decay; biases and batch norms do not, as they can hardly overfit.
    """
    groups = _groups(objective, WEIGHT_DECAY)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM, fused=True)


def adamw(objective, *, learning_rate):
    """
    Build the optimiser of an objective whose encoder has no batch norms.

    Parameters
    ----------
    objective : `torch.nn.Module`
        The module to train.
    learning_rate : float
        Peak learning rate.

    Returns
    -------
    optimizer : `torch.optim.AdamW`
        The optimiser (Loshchilov & Hutter 2019, arXiv:1711.05101). Biases and norms do not decay.
    """
    return torch.optim.AdamW(_groups(objective, ADAM_DECAY), lr=learning_rate, fused=True)


def _groups(objective, weight_decay):
    """Return the parameters that decay, and those that do not."""
    parameters = [p for p in objective.parameters() if p.requires_grad]
    return [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': weight_decay},
        {'params': [p for p in parameters if p.ndim < 2], 'weight_decay': 0.0},
    ]


def learning_rate_factor(progress):
    """
    Return the factor of the peak learning rate at a progress of 0 to 1.

    It rises linearly to 1, then falls to 0 along a half cosine (Loshchilov & Hutter 2017,
    arXiv:1608.03983).
    """
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

    Where ``torchrun`` has started several processes, each takes its part of every batch, and their
    gradients are averaged. If the images do not divide evenly among the processes, each epoch
    leaves out a few of them, different ones each time.

    Parameters
    ----------
    objective : `torch.nn.Module`
        Its ``forward(images, rows, generator, progress)`` returns the loss and an accuracy. All its
        random numbers come from the generator.
    images : array_like, shape (n, band, y, x)
        Input of the objective, see `~astro_morph.learning.training.batches.Batches`.
    optimizer : `torch.optim.Optimizer`
        Optimiser of the objective's parameters, with the peak learning rates.
    epochs : int
        Passes over the images.
    batch_size : int
        Largest number of images per step, over all processes.
    device : `torch.device`
        Device of the objective.
    random_state : int
        Seed of the order of the images and of the views.
    max_time : float, default=None
        Seconds after which training ends; the learning rate then falls with the time used. The
        time that a run used before it was interrupted counts.
    checkpoint : path-like, default=None
        File to which the state is written every few minutes, at the end, and before Ctrl-C or
        SIGTERM end the process. If it exists, the run continues from it, with its
        ``random_state``, and ends as if it had not been interrupted.
    callback : callable, default=None
        Called after each epoch with its record, to which it may add numbers. Training ends if it
        returns True.
    description : str, default='training'
        Title of the progress bar.
    verbose : bool, default=True
        Whether to show progress.

    Returns
    -------
    history : list of dict
        A record for each epoch: ``epoch``, ``loss``, ``accuracy``, ``learning_rate`` and
        ``seconds``.

    Raises
    ------
    ValueError
        If the checkpoint is of another run, if the processes have different images or settings, or
        if ``batch_size`` is less than the number of processes.
    """
    processes.join()
    for group in optimizer.param_groups:
        group.setdefault('initial_lr', group['lr'])
    batches = Batches(images, device)
    settings = {'epochs': epochs, 'batch_size': batch_size}
    settings |= _identity(objective, optimizer, images)
    _check_processes(settings)
    run = _Run(processes.broadcast(random_state), torch.zeros(2, device=device))
    # float16 would lose small gradients if the loss were not scaled.
    scaler = torch.amp.GradScaler(device.type, enabled=fast_dtype(device) == torch.float16)
    parts = {'objective': objective, 'optimizer': optimizer, 'scaler': scaler, 'run': run}
    saved = Checkpoint(checkpoint, parts, settings=settings)
    saved.load()
    generator = torch.Generator(device)
    max_time = math.inf if max_time is None else max_time
    n_batches = math.ceil(len(batches) / batch_size)
    n_steps = epochs * n_batches
    order = None
    common = processes.wrap(objective).train()
    with (
        Signals(is_active=checkpoint is not None) as signals,
        progress_bar(epochs * len(batches), description, verbose=verbose) as bar,
    ):
        bar.update(run.step * len(batches) // n_batches)
        start = time.perf_counter() - run.seconds
        while run.step < n_steps:
            # All processes stop at the same step, whichever clock or signal was first.
            run.seconds, signal = processes.largest(run.seconds, signals.received)
            if signal:
                saved.save()
                signals.act(int(signal))
            if run.seconds >= max_time:
                break
            epoch, number = divmod(run.step, n_batches)
            if order is None or number == 0:
                order = _shuffled_batches(len(batches), n_batches, run.random_state, epoch)
            rows = order[number].sort().values  # (m,), sorted to read a file in one direction
            progress = min(1.0, max((run.step + 0.5) / n_steps, run.seconds / max_time))
            for group in optimizer.param_groups:
                group['lr'] = group['initial_lr'] * learning_rate_factor(progress)
            # A seed for each step: a run that continues draws the same numbers as one that was
            # never interrupted.
            generator.manual_seed(_seed(run.random_state, 1 + processes.rank(), run.step))
            # Images (m, band, y, x) and rows (m,) on the device.
            inputs = batches.take(rows), rows.to(device, non_blocking=True), generator, progress
            run.add(_learn(common, inputs, optimizer, scaler), len(rows))
            run.seconds = time.perf_counter() - start
            bar.update(len(rows) * processes.n_processes())
            if run.step % n_batches == 0 and run.end_epoch(optimizer, callback):
                break
            saved.save_if_due()
        if run.n_seen:
            run.end_epoch(optimizer, callback)
        saved.save()
    objective.eval()
    return run.history


def _learn(objective, inputs, optimizer, scaler):
    """Take one step of the optimiser; return loss and accuracy, shape (2,), still on the device."""
    images, *_ = inputs
    with autocast(images.device):
        loss, accuracy = objective(*inputs)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return torch.stack([loss.detach(), accuracy])


class _Run:
    """State of a run: steps done, time used, and the history of its epochs."""

    def __init__(self, random_state, sums):
        self.random_state = random_state
        self.step = 0
        self.seconds = 0.0
        self.sums = sums  # of loss and accuracy over the images of this epoch, shape (2,)
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
        """Append the record of an epoch; return whether the callback ends the training."""
        loss, accuracy = processes.total(self.sums) / (self.n_seen * processes.n_processes())
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


def _shuffled_batches(n, n_batches, random_state, epoch):
    """Return the rows of this process in an epoch, shuffled, in batches of nearly equal size."""
    generator = torch.Generator().manual_seed(_seed(random_state, 0, epoch))
    order = torch.randperm(n, generator=generator)
    n_processes = processes.n_processes()
    # All processes get equally many rows: they wait for each other in each step.
    return order[: n - n % n_processes][processes.rank() :: n_processes].tensor_split(n_batches)


def _seed(*numbers):
    """Return a seed for a tuple of numbers; other numbers give another seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _identity(objective, optimizer, images):
    """Return what identifies a run: its objective and options, learning rate and images."""
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
    if settings['batch_size'] < processes.n_processes():
        msg = (
            f'{as_written("batch_size", settings["batch_size"])} is less than the number of '
            f'processes, {processes.n_processes()}; use at least one image per process'
        )
        raise ValueError(msg)
    first = processes.broadcast(settings)
    if settings != first:
        msg = (
            'the processes do not have the same images and settings; start all with the same '
            'options, and fetch the images into one file first'
        )
        raise ValueError(msg)
