# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write files of weights: archives of PyTorch and safetensors. No code in them is run."""

import os
import zipfile
from pathlib import Path

import torch

from astro_morph.utils.messages import naming_packages

__all__ = ['is_safetensors', 'load_archive', 'read_safetensors', 'write_safetensors']


def is_safetensors(path):
    """Check whether the name of a file is that of safetensors, as it is to be written."""
    return Path(path).suffix.lower() == '.safetensors'


def load_archive(path):
    """
    Read what `torch.save` has written, of any origin; no code in the file is run.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    content : object
        What was written, on the CPU.

    Raises
    ------
    ValueError
        If the archive is compressed, which PyTorch never does: it could take any memory.
    Exception
        Of many types, if the file is damaged or holds more than tensors in plain containers.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > os.path.getsize(path):
        msg = 'the archive is compressed'
        raise ValueError(msg)
    # Given an open file, PyTorch does not read another format than this if the name ends so.
    with open(path, 'rb') as file:
        return torch.load(file, map_location='cpu', weights_only=True)


def read_safetensors(path):
    """
    Read a file of safetensors, of any origin.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    weights : dict of str to `torch.Tensor`
        The tensors, in the order of their names.
    metadata : dict of str to str
        The metadata.

    Raises
    ------
    Exception
        Of many types, if the file is damaged.
    """
    with naming_packages():
        from safetensors import safe_open
    with safe_open(os.fspath(path), 'pt') as file:
        # Copied: the file may be replaced later.
        weights = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
        return weights, file.metadata() or {}


def write_safetensors(path, weights, metadata):
    """
    Write a file of safetensors.

    Parameters
    ----------
    path : path-like
        The file.
    weights : dict of str to `torch.Tensor`
        The tensors.
    metadata : dict of str to str
        The metadata.
    """
    with naming_packages():
        from safetensors.torch import save_file
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(weights, os.fspath(path), metadata)
