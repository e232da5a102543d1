# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Choose the device that networks run on (GPU or CPU), and half precision where it is fast."""

import contextlib
import os

import torch

__all__ = ['autocast', 'choose_device', 'fast_dtype']


def choose_device(device='auto'):
    """
    Choose the device that networks run on.

    Parameters
    ----------
    device : str or `torch.device`, default='auto'
        A device, or ``'auto'`` for CUDA, else MPS, else the CPU.

    Returns
    -------
    device : `torch.device`
        The device. With several processes on one machine, each gets a GPU of its own.
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
    Return a context in which networks run in half precision, where the device is fast at it.

    Parameters
    ----------
    device : `torch.device`
        The device.

    Returns
    -------
    context : context manager
        Half precision is bfloat16 where it is native, and float16 on older GPUs. On other devices
        the context does nothing.
    """
    dtype = fast_dtype(device)
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def fast_dtype(device):
    """Return the half-precision type that a device is fast at, None if there is none."""
    if device.type == 'cuda':
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_native else torch.float16
    is_native = device.type == 'cpu' and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if is_native else None
