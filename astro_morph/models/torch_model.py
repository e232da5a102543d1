# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""TorchModel: a network with its specification, run by PyTorch, saved and loaded."""

import dataclasses
import hashlib
import math
import os

import torch
from torch import nn

from astro_morph.models.networks import MorphologyNetwork, classification_head, resnet
from astro_morph.models.novelty import Novelty
from astro_morph.models.spec import ModelSpec
from astro_morph.models.stretch import FluxStretch, PictureStretch
from astro_morph.utils.files import atomic_file
from astro_morph.utils.messages import for_caller

__all__ = ['TorchModel', 'build_network']

# Recorded in each model file, to recognise other files of PyTorch.
FORMAT = 'astro_morph model 1'

# Range of the 8-bit integers, and the scale of a filter that is zero.
LARGEST_INTEGER = 127
SMALLEST_SCALE = 1e-12


def build_network(spec, *, n_features=None):
    """
    Build the network of a specification, with random weights.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        What the network takes and returns.
    n_features : int, default=None
        Number of features, for a model of plain features.

    Returns
    -------
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The network; its head is the identity if the specification has no classes.
    """
    is_of_features = spec.architecture == 'features'
    if is_of_features:
        # In evaluation mode a batch norm standardises features; initially by mean 0 and rms 1.
        stretch, encoder = nn.Identity(), nn.BatchNorm1d(n_features, eps=0, affine=False)
        encoder.n_features = n_features
    else:
        unknown = [math.nan] * len(spec.bands)
        is_picture = spec.kind == 'picture'
        stretch = PictureStretch(unknown, unknown) if is_picture else FluxStretch(unknown)
        encoder = resnet(spec.architecture, n_bands=len(spec.bands))
    network = MorphologyNetwork(
        stretch,
        encoder,
        nn.Identity(),
        input_size=spec.input_size,
        views=spec.views,
        stages=spec.stages,
    )
    if spec.classes:
        network.head = classification_head(
            network.n_features, len(spec.classes), n_hidden=spec.hidden
        )
    return network.double() if is_of_features else network


class TorchModel:
    """
    A network and its specification, run by PyTorch.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        What the network takes and returns.
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The network.
    device : `torch.device`, default='cpu'
        Where it runs.
    """

    def __init__(self, spec, network, *, device='cpu'):
        self.spec = spec
        self.device = torch.device(device)
        # Channels-last convolutions are faster on CPUs and GPUs alike.
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()

    def __repr__(self):
        return f'<TorchModel: {self.spec}>'

    @property
    def n_features(self):
        """Number of features of a sample."""
        return self.network.n_features

    @torch.inference_mode()
    def run(self, samples):
        """
        Compute logits, features and novelty of a batch.

        Parameters
        ----------
        samples : ndarray of float32, shape (n, band, y, x) or (n, d)
            Raw images or features.

        Returns
        -------
        logits, features, novelty : ndarray of float32
            Of shape (n, n_classes), (n, d) and (n,).
        """
        # In full precision, so that ONNX Runtime and PyTorch agree.
        outputs = self.network(torch.from_numpy(samples).to(self.device))
        return tuple(output.cpu().numpy() for output in outputs)

    def stamped(self, version):
        """Return the model with version and fingerprint of its weights in the specification."""
        digest = hashlib.sha256()
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        spec = dataclasses.replace(self.spec, identifier=digest.hexdigest()[:12], version=version)
        return TorchModel(spec, self.network, device=self.device)

    def save(self, path, *, overwrite=False, compact=False):
        """
        Write the model to a file.

        Parameters
        ----------
        path : path-like
            The file.
        overwrite : bool, default=False
            Whether to replace an existing file.
        compact : bool, default=False
            Whether to write the filters of the convolutions as 8-bit integers. This makes the
            file four times smaller and changes the features by less than their noise.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is false.
        """
        # Given an open file, PyTorch does not write the name of the temporary file into it.
        with atomic_file(path, overwrite=overwrite) as aside, aside.open('wb') as file:
            weights = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
            if compact:
                filters = {name: tensor for name, tensor in weights.items() if tensor.ndim == 4}
                weights |= {name: _pack(tensor) for name, tensor in filters.items()}
            torch.save({'format': FORMAT, 'spec': self.spec.to_json(), 'weights': weights}, file)

    @classmethod
    def load(cls, path, *, device='cpu'):
        """
        Read a model from a file; no code in the file is run.

        Parameters
        ----------
        path : path-like
            A file that `save` wrote.
        device : `torch.device`, default='cpu'
            Where the model runs.

        Returns
        -------
        model : `TorchModel`
            The model.

        Raises
        ------
        ValueError
            If the file is not a model of this package.
        """
        try:
            state = torch.load(path, map_location='cpu', weights_only=True)
            is_ours = state['format'] == FORMAT
        except FileNotFoundError:
            raise
        except Exception as error:
            writer = for_caller('save', 'fit')
            msg = (
                f'{os.fspath(path)!r} is not a model file of astro_morph; name one that {writer} '
                'wrote'
            )
            raise ValueError(msg) from error
        if not is_ours:
            msg = (
                f'{os.fspath(path)!r} has the format {state["format"]!r}, expected {FORMAT!r}; '
                'read it with the version that wrote it, or train the model again'
            )
            raise ValueError(msg)
        spec = ModelSpec.from_json(state['spec'])
        weights = {name: _unpack(stored) for name, stored in state['weights'].items()}
        mean = weights.get('encoder.running_mean')
        network = build_network(spec, n_features=None if mean is None else len(mean))
        novelty = {name: weights.get(f'novelty.{name}') for name in Novelty.STATE}
        if novelty['known'] is not None:
            network.novelty = Novelty(**novelty)
        # Older models of pictures lack the mean and standard deviation of the pictures.
        network.load_state_dict(network.state_dict() | weights)
        if spec.bands and spec.brightness is None:
            # Older models did not record the range.
            spec = dataclasses.replace(spec, brightness=network.stretch.brightness())
        return cls(spec, network, device=device)


def _pack(filters):
    """Return filters (n, ...) as 8-bit integers, with a scale for each filter."""
    scale = filters.abs().flatten(1).amax(1).clamp(min=SMALLEST_SCALE) / LARGEST_INTEGER
    return {'integers': (filters / _along(scale, filters)).round().to(torch.int8), 'scale': scale}


def _unpack(stored):
    """Return a tensor that was stored, as it is or packed."""
    if isinstance(stored, torch.Tensor):
        return stored
    integers, scale = stored['integers'], stored['scale']
    return integers * _along(scale, integers)


def _along(scale, filters):
    return scale.view(-1, *[1] * (filters.ndim - 1))
