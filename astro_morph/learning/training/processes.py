# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Train in several processes (torchrun): their numbers, and the data that they exchange."""

import atexit
import os

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

__all__ = [
    'broadcast',
    'gather',
    'is_first',
    'join',
    'largest',
    'n_processes',
    'rank',
    'share',
    'total',
    'wrap',
]


def join():
    """
    Join the other processes if ``torchrun`` or the like has started several.

    They find each other by the environment variables ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and
    ``MASTER_PORT``.
    """
    if int(os.environ.get('WORLD_SIZE', 1)) == 1 or distributed.is_initialized():
        return
    # gloo also beside GPUs: the settings that the processes compare are on the CPU.
    backend = 'cpu:gloo,cuda:nccl' if torch.cuda.is_available() else 'gloo'
    distributed.init_process_group(backend)
    atexit.register(distributed.destroy_process_group)


def n_processes():
    """Return the number of processes; 1 if this one is alone."""
    return distributed.get_world_size() if _is_one_of_several() else 1


def rank():
    """Return the number of this process, from 0."""
    return distributed.get_rank() if _is_one_of_several() else int(os.environ.get('RANK', 0))


def is_first():
    """Check whether this is the process that writes files and shows progress."""
    return rank() == 0


def wrap(module):
    """
    Wrap a module so that its gradients are averaged over the processes.

    Parameters
    ----------
    module : `torch.nn.Module`
        The same in each process; all take over the weights and buffers of the first one.

    Returns
    -------
    wrapped : `torch.nn.Module`
        Call it in place of the module. It is the module itself if the process is alone.
    """
    if n_processes() == 1:
        return module
    return DistributedDataParallel(module, gradient_as_bucket_view=True)


def share(tensor):
    """Return the part of a tensor (n, ...) that this process works on."""
    return tensor.tensor_split(n_processes())[rank()] if _is_one_of_several() else tensor


def gather(tensor):
    """Join the parts (m, ...) of all processes; gradients do not flow back through it."""
    if not _is_one_of_several():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(n_processes())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def broadcast(value):
    """Send a value from the first process to all, and return it; tensors are overwritten."""
    if not _is_one_of_several():
        return value
    if isinstance(value, torch.Tensor):
        distributed.broadcast(value, 0)
        return value
    values = [value]
    distributed.broadcast_object_list(values, 0, device=torch.device('cpu'))
    return values[0]


def largest(*values):
    """Return the maximum over all processes of each number, as a list."""
    if not _is_one_of_several():
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return tensor.tolist()


def total(tensor):
    """Sum a tensor over all processes, in place."""
    if _is_one_of_several():
        distributed.all_reduce(tensor)
    return tensor


def _is_one_of_several():
    return distributed.is_available() and distributed.is_initialized()
