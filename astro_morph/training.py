# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The one training loop, for every objective."""

import contextlib
import math
import os
import sys
import time

import torch
from tqdm.auto import tqdm

__all__ = ['autocast', 'choose_device', 'progress_bar', 'sgd', 'train']

# Share of the training in which the learning rate rises: large first steps spoil batch norm.
WARM_UP = 0.05

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4


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
        The device.
    """
    if device != 'auto':
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device('cuda')
    if torch.backends.mps.is_available():
        return torch.device('mps')
    return torch.device('cpu')


def autocast(device):
    """
    Give the context in which networks run in bfloat16, where the device is fast at it.

    Parameters
    ----------
    device : `torch.device`
        The device.

    Returns
    -------
    context : context manager
        Does nothing where bfloat16 is not native.
    """
    is_native = {
        'cuda': torch.cuda.is_bf16_supported,
        'cpu': torch.ops.mkldnn._is_mkldnn_bf16_supported,
    }
    if is_native.get(device.type, lambda: False)():
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def progress_bar(total, description, *, verbose=True):
    """
    Make a progress bar that counts images, shown when the work takes longer than two seconds.

    Parameters
    ----------
    total : int
        Images to come.
    description : str
        What is being done.
    verbose : bool, optional
        False for none.

    Returns
    -------
    bar : `tqdm.tqdm`
        Call its ``update`` with the number of images done.
    """
    return tqdm(
        total=total,
        desc=description,
        unit=' images',
        unit_scale=True,
        delay=2,
        # A log file is not to be filled with bars.
        mininterval=0.5 if sys.stderr.isatty() else 10,
        disable=not verbose,
    )


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
    return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM)


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

    Parameters
    ----------
    objective : `torch.nn.Module`
        Its ``loss(images, rows, generator, progress)`` gives the loss and an accuracy.
    images : `torch.Tensor`, shape (n, band, y, x)
        Stretched images, of any floating type.
    optimizer : `torch.optim.Optimizer`
        Changes the objective's parameters; its learning rates are those of the peak.
    epochs, batch_size : int
        Passes over the images, and the largest number of images a step.
    device : `torch.device`
        Where the objective is.
    random_state : int
        Seed of the order and of the views.
    max_time : float, optional
        Seconds after which training ends; the learning rate then falls with the time used.
    checkpoint : path, optional
        File that is written after each epoch, and from which a run goes on if it is there: it
        ends as a run that was never stopped.
    callback : callable, optional
        Called with the epoch's record after each epoch; may add to it.
    description : str, optional
        Name of the work in the progress bar.
    verbose : bool, optional
        Whether to show progress.

    Returns
    -------
    history : list of dict
        A record an epoch: ``epoch``, ``loss``, ``accuracy``, ``learning_rate`` and ``seconds``.
    """
    generator = torch.Generator(device).manual_seed(random_state)
    history = _resume(checkpoint, objective, optimizer, generator)
    for group in optimizer.param_groups:
        group.setdefault('initial_lr', group['lr'])
    n_batches = math.ceil(len(images) / batch_size)
    max_time = math.inf if max_time is None else max_time
    seconds = sum(record['seconds'] for record in history)
    objective.train()
    with progress_bar(epochs * len(images), description, verbose=verbose) as bar:
        bar.update(len(history) * len(images))
        for epoch in range(len(history), epochs):
            start = time.perf_counter()
            order = torch.randperm(
                len(images), generator=torch.Generator().manual_seed(random_state + epoch)
            )
            loss_sum = accuracy_sum = n_seen = 0
            # Batches of nearly one size: nothing is dropped, and no last batch is tiny.
            for step, rows in enumerate(order.tensor_split(n_batches)):
                progress = (epoch + (step + 0.5) / n_batches) / epochs
                elapsed = seconds + time.perf_counter() - start
                progress = min(1.0, max(progress, elapsed / max_time))
                for group in optimizer.param_groups:
                    group['lr'] = group['initial_lr'] * learning_rate_factor(progress)
                batch = images[rows].to(device, torch.float32)
                rows = rows.to(device)
                with autocast(device):
                    loss, accuracy = objective.loss(batch, rows, generator, progress)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach() * len(rows)
                accuracy_sum += accuracy.detach() * len(rows)
                n_seen += len(rows)
                bar.update(len(rows))
                if elapsed >= max_time:
                    break
            seconds += time.perf_counter() - start
            history.append(
                {
                    'epoch': epoch + 1,
                    'loss': float(loss_sum) / n_seen,
                    'accuracy': float(accuracy_sum) / n_seen,
                    'learning_rate': optimizer.param_groups[0]['lr'],
                    'seconds': time.perf_counter() - start,
                }
            )
            if callback is not None:
                callback(history[-1])
            _save(checkpoint, objective, optimizer, generator, history)
            if seconds >= max_time:
                break
    objective.eval()
    return history


def _save(checkpoint, objective, optimizer, generator, history):
    if checkpoint is None:
        return
    state = {
        'objective': objective.state_dict(),
        'optimizer': optimizer.state_dict(),
        'generator': generator.get_state(),
        'history': history,
    }
    # Written aside and moved: a run killed now leaves the last whole checkpoint.
    aside = f'{os.fspath(checkpoint)}.part'
    torch.save(state, aside)
    os.replace(aside, checkpoint)


def _resume(checkpoint, objective, optimizer, generator):
    if checkpoint is None or not os.path.exists(checkpoint):
        return []
    state = torch.load(checkpoint, map_location='cpu', weights_only=True)
    objective.load_state_dict(state['objective'])
    optimizer.load_state_dict(state['optimizer'])
    generator.set_state(state['generator'])
    return state['history']
