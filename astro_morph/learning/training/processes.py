# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Several processes that train one network: who they are, and what they tell each other."""

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
    Join the other processes, if ``torchrun`` or the like has started this one beside others.

    They find each other by the variables ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and
    ``MASTER_PORT`` of the environment.
    """
    if int(os.environ.get('WORLD_SIZE', 1)) == 1 or distributed.is_initialized():
        return
    # gloo on the CPU also beside GPUs: what the processes agree on is known on the CPU.
    backend = 'cpu:gloo,cuda:nccl' if torch.cuda.is_available() else 'gloo'
    distributed.init_process_group(backend)
    atexit.register(distributed.destroy_process_group)


def n_processes():
    """Give the number of processes; 1 where this one is alone."""
    return distributed.get_world_size() if _is_one_of_several() else 1


def rank():
    """Give the number of this process, from 0."""
    return distributed.get_rank() if _is_one_of_several() else int(os.environ.get('RANK', 0))


def is_first():
    """Tell whether this is the process that writes files and shows progress."""
    return rank() == 0


def wrap(module):
    """
    Average the gradients of a module over the processes.

    Parameters
    ----------
    module : `torch.nn.Module`
        The same in each process; weights and buffers of the first one are given to all.

    Returns
    -------
    module : `torch.nn.Module`
        What is to be called in its place; the module itself where the process is alone.
    """
    if n_processes() == 1:
        return module
    return DistributedDataParallel(module, gradient_as_bucket_view=True)


def share(tensor):
    """
    Give the part of a tensor that belongs to this process.

    Parameters
    ----------
    tensor : `torch.Tensor`, shape (n, ...)
        The same in each process.

    Returns
    -------
    part : `torch.Tensor`, shape (m, ...)
        What `gather` would put together again.
    """
    return tensor.tensor_split(n_processes())[rank()] if _is_one_of_several() else tensor


def gather(tensor):
    """
    Put the parts of all processes together.

    Parameters
    ----------
    tensor : `torch.Tensor`, shape (m, ...)
        Of the same shape in each process. No gradient goes back through it.

    Returns
    -------
    tensor : `torch.Tensor`, shape (n, ...)
        The parts in the order of the processes.
    """
    if not _is_one_of_several():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(n_processes())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def broadcast(value):
    """
    Give all processes what the first one has.

    Parameters
    ----------
    value : object
        A tensor, which is changed in place, or any object that can be pickled.

    Returns
    -------
    value : object
        That of the first process.
    """
    if not _is_one_of_several():
        return value
    if isinstance(value, torch.Tensor):
        distributed.broadcast(value, 0)
        return value
    values = [value]
    distributed.broadcast_object_list(values, 0, device=torch.device('cpu'))
    return values[0]


def largest(*values):
    """
    Give the largest value that any process has of each number.

    Parameters
    ----------
    *values : float
        The numbers of this process.

    Returns
    -------
    values : list of float
        The largest ones.
    """
    if not _is_one_of_several():
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return tensor.tolist()


def total(tensor):
    """
    Add up the tensors of all processes.

    Parameters
    ----------
    tensor : `torch.Tensor`
        That of this process; it is changed.

    Returns
    -------
    tensor : `torch.Tensor`
        The sum.
    """
    if _is_one_of_several():
        distributed.all_reduce(tensor)
    return tensor


def _is_one_of_several():
    return distributed.is_available() and distributed.is_initialized()
