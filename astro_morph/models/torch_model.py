# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""TorchModel: a network with its specification, run by PyTorch, saved and loaded."""

import copy
import dataclasses
import hashlib
import math
import os

import torch
from torch import nn

from astro_morph.models.encoders.arguments import TIMM
from astro_morph.models.encoders.resnet import resnet
from astro_morph.models.encoders.timm_encoder import TimmEncoder
from astro_morph.models.networks import MorphologyNetwork, classification_head
from astro_morph.models.novelty import Novelty
from astro_morph.models.spec import ModelSpec
from astro_morph.models.stretch import PictureStretch, flux_stretch
from astro_morph.models.weights import bundled_path, holds_safetensors
from astro_morph.models.weights.files import (
    is_safetensors,
    load_archive,
    read_safetensors,
    write_safetensors,
)
from astro_morph.utils.files import atomic_file
from astro_morph.utils.messages import cut_list, for_caller

__all__ = ['TorchModel', 'build_encoder', 'build_network', 'fill_network']

# Recorded in each model file, to recognise other files of PyTorch.
FORMAT = 'astro_morph model 1'

# Range of the 8-bit integers, and the scale of a filter that is zero.
LARGEST_INTEGER = 127
SMALLEST_SCALE = 1e-12


def build_network(spec, *, n_features=None, encoder=None):
    """
    Build the network of a specification, with random weights.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        What the network takes and returns.
    n_features : int, default=None
        Number of features, for a model of plain features.
    encoder : `torch.nn.Module`, default=None
        The encoder, if it has been built.

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
        stretch = PictureStretch(unknown, unknown) if is_picture else flux_stretch(unknown, spec)
        encoder = build_encoder(spec) if encoder is None else encoder
    network = MorphologyNetwork(
        stretch,
        encoder,
        nn.Identity(),
        input_size=spec.input_size,
        field=spec.field if spec.contract else None,
        views=spec.views,
        stages=spec.stages,
    )
    if spec.classes:
        network.head = classification_head(network.n_features, spec.n_outputs, n_hidden=spec.hidden)
    return network.double() if is_of_features else network


def build_encoder(spec):
    """
    Build the encoder of a specification, with random weights.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of a model of images.

    Returns
    -------
    encoder : `torch.nn.Module`
        The encoder, see `astro_morph.models.encoders`.

    Raises
    ------
    ModuleNotFoundError
        If it is one of timm, which is not installed.
    ValueError
        If there is no such architecture.
    """
    n_channels = len(spec.channels)
    if not spec.architecture.startswith(TIMM):
        return resnet(spec.architecture, n_bands=n_channels)
    scaling = {}
    if spec.contract is not None:
        scaling = {'mean': spec.contract.mean, 'std': spec.contract.std}
    return TimmEncoder(
        spec.architecture.removeprefix(TIMM), n_channels, arguments=spec.arguments, **scaling
    )


def fill_network(build, weights):
    """
    Build a network and give it weights, which must be its own.

    Parameters
    ----------
    build : callable
        Returns the network.
    weights : dict of str to `torch.Tensor` or dict
        The weights by name, as tensors or packed.

    Returns
    -------
    network : `torch.nn.Module`
        The network, which holds the tensors of the weights.

    Raises
    ------
    ValueError
        If weights are missing, not known, or of another shape or type.
    """
    # On no device: what is declared may take more memory than there is.
    with torch.device('meta'):
        network = build()
    expected = network.state_dict()
    _check_names(set(weights), set(expected))
    for name, tensor in expected.items():
        _check_weight(name, weights[name], tensor)
    if any(name not in expected for name, _ in network.named_buffers()):
        # Buffers that are computed are in no file.
        with torch.random.fork_rng(devices=[]):
            network = build()
    weights = {name: _unpack(stored).contiguous() for name, stored in weights.items()}
    network.load_state_dict(weights, assign=True)
    return network


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

    def with_texture(self):
        """Return the model with the features that novelty is measured in as its third output."""
        network = copy.copy(self.network)
        network._modules = {**self.network._modules, 'novelty': nn.Identity()}
        return TorchModel(self.spec, network, device=self.device)

    def stamped(self, version):
        """Return the model with version and fingerprint of its weights in the specification."""
        identifier = _fingerprint(self.network.state_dict())[:12]
        spec = dataclasses.replace(self.spec, identifier=identifier, version=version)
        return TorchModel(spec, self.network, device=self.device)

    def save(self, path, *, overwrite=False, compact=False, base=None):
        """
        Write the model to a file.

        Parameters
        ----------
        path : path-like
            The file; of safetensors if its name ends so, else of PyTorch.
        overwrite : bool, default=False
            Whether to replace an existing file.
        compact : bool, default=False
            Whether to write the filters of the convolutions as 8-bit integers, into a file of
            PyTorch. This makes it four times smaller and changes the features by less than their
            noise.
        base : str, default=None
            Name of a bundled model: the weights that are the same in it are left out, and read
            from it. Bundled classifiers share their encoder so.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is false.
        ValueError
            If a compact file is to be one of safetensors.
        """
        if compact and is_safetensors(path):
            msg = f'compact=True writes no safetensors, got {os.fspath(path)!r}; name a .pt file'
            raise ValueError(msg)
        with atomic_file(path, overwrite=overwrite) as aside:
            weights = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
            shared = _weights_of_bundled(base) if base else {}
            weights = {
                name: tensor
                for name, tensor in weights.items()
                if name not in shared or not torch.equal(_unpack(shared[name]), tensor)
            }
            if compact:
                filters = {name: tensor for name, tensor in weights.items() if tensor.ndim == 4}
                weights |= {name: _pack(tensor) for name, tensor in filters.items()}
            if is_safetensors(path):
                # In the order in which they are read, for the fingerprint.
                weights = dict(sorted(weights.items()))
            spec = self.spec.to_json()
            read = {name: _unpack(stored) for name, stored in (shared | weights).items()}
            state = {'format': FORMAT, 'spec': spec, 'fingerprint': _fingerprint(read, spec)}
            if is_safetensors(path):
                base = {} if base is None else {'base': base}
                write_safetensors(aside, weights, state | base)
                return
            # Given an open file, PyTorch does not write the name of the temporary file into it.
            with aside.open('wb') as file:
                torch.save(state | {'weights': weights, 'base': base}, file)

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
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not a model of this package, or is damaged: weights are missing or not
            known, have another shape, or another fingerprint than when they were written.
        """
        name = os.fspath(path)
        state = _read(name)
        try:
            spec = ModelSpec.from_json(state['spec'])
            if state.get('base') is not None:
                state['weights'] = _weights_of_bundled(state['base']) | state['weights']
            network = _build(spec, state)
        except ValueError as error:
            msg = f'the model file {name!r} cannot be used: {error}'
            raise ValueError(msg) from error
        if spec.bands and spec.brightness is None:
            # Older models did not record the range.
            spec = dataclasses.replace(spec, brightness=network.stretch.brightness())
        return cls(spec, network, device=device)


def _read(name):
    """Read what `TorchModel.save` has written: format, specification and weights."""
    writer = for_caller('save', 'fit')
    if not os.path.exists(name):
        msg = f'there is no file {name!r}; check its name and folder'
        raise FileNotFoundError(msg)
    try:
        if holds_safetensors(name):
            weights, state = read_safetensors(name)
            state = {**state, 'weights': weights}
        else:
            state = load_archive(name)
        form = state['format']
    except (ModuleNotFoundError, PermissionError):
        raise
    except Exception as error:
        msg = f'{name!r} is not a model file of astro_morph; name one that {writer} wrote'
        raise ValueError(msg) from error
    if form != FORMAT:
        msg = (
            f'{name!r} has the format {form!r}, expected {FORMAT!r}; read it with the version '
            'that wrote it, or train the model again'
        )
        raise ValueError(msg)
    if not isinstance(state.get('spec'), str) or not isinstance(state.get('weights'), dict):
        msg = f'{name!r} lacks its specification or its weights; name one that {writer} wrote'
        raise ValueError(msg)
    return state


def _weights_of_bundled(name):
    """Return the weights of a bundled model, as they are stored."""
    return _read(os.fspath(bundled_path(name)))['weights']


def _build(spec, state):
    """Build the network of a specification with the weights of a file, which must be its own."""
    if not spec.bands and spec.architecture != 'features':
        msg = f"the specification has no 'bands' for its 'architecture' {spec.architecture!r}"
        raise ValueError(msg)
    weights = state['weights']
    mean, known = (weights.get(name) for name in ('encoder.running_mean', 'novelty.known'))

    def build():
        n_features = len(mean) if isinstance(mean, torch.Tensor) and mean.ndim else 0
        network = build_network(spec, n_features=n_features)
        if isinstance(known, torch.Tensor) and known.ndim == 2:
            network.novelty = _build_novelty(network.n_texture, known, weights)
        return network

    if spec.kind == 'picture' and not any(name.startswith('stretch.') for name in weights):
        # Older models of pictures lack the mean and standard deviation of the pictures.
        unknown = [math.nan] * len(spec.bands)
        stretch = PictureStretch(unknown, unknown).state_dict()
        weights = weights | {f'stretch.{name}': values for name, values in stretch.items()}
    network = fill_network(build, weights)
    filled = network.state_dict()
    # In the order of the file, in which it was made.
    _check_fingerprint(spec, state, {name: filled[name] for name in weights})
    return network


def _build_novelty(n_features, known, weights):
    """Build the Novelty of a number of features, with as many galaxies as a file has."""
    stored = [weights.get(f'novelty.{name}') for name in Novelty.STATE]
    # In single or double precision, as the features were.
    is_float = [isinstance(item, torch.Tensor) and item.is_floating_point() for item in stored]
    types = [item.dtype if ok else known.dtype for item, ok in zip(stored, is_float, strict=True)]
    n_held_out = stored[-1].numel() if is_float[-1] else 0
    n_known, n_coordinates = known.shape
    shapes = (n_features,), (n_features, n_coordinates - 1), (n_known, n_coordinates), (n_held_out,)
    return Novelty(
        *(torch.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, types, strict=True))
    )


def _check_names(came, expected):
    for what, names in {'lacks': expected - came, 'has the unknown': came - expected}.items():
        if names:
            names = sorted(map(str, names))
            msg = f'it {what} weights {cut_list(names)}; copy it again, or train the model again'
            raise ValueError(msg)


def _check_weight(name, stored, expected):
    """Refuse weights of another type or shape than the network has, before they take memory."""
    if isinstance(stored, dict):
        shapes = {'integers': expected.shape, 'scale': expected.shape[:1]}
        types = {'integers': torch.int8, 'scale': expected.dtype}
    else:
        stored, shapes, types = {'': stored}, {'': expected.shape}, {'': expected.dtype}
    is_valid = stored.keys() == shapes.keys() and all(
        _is_plain(tensor) and (tensor.shape, tensor.dtype) == (shapes[part], types[part])
        for part, tensor in stored.items()
    )
    if not is_valid:
        msg = (
            f'the weights {name!r} are not of the shape {tuple(expected.shape)} and the type '
            f'{expected.dtype}, as the specification wants; copy it again, or train it again'
        )
        raise ValueError(msg)


def _is_plain(tensor):
    """Check that a tensor has a number in memory for each of its elements."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == 'cpu'
        and not tensor.is_quantized
        and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    )


def _check_fingerprint(spec, state, weights):
    """Refuse weights and a specification that are not those that were written."""
    if 'fingerprint' in state:
        came, expected = _fingerprint(weights, state['spec']), state['fingerprint']
    elif any(isinstance(stored, dict) for stored in state['weights'].values()):
        return  # an older file whose weights were rounded after the fingerprint
    else:
        came, expected = _fingerprint(weights)[:12], spec.identifier
    if expected and came != expected:
        msg = (
            f'its weights have the fingerprint {came[:12]}, expected {str(expected)[:12]}: the '
            'file was changed or damaged; copy it again'
        )
        raise ValueError(msg)


def _fingerprint(weights, spec=''):
    """Return the fingerprint of weights by name, and of their specification."""
    digest = hashlib.sha256(spec.encode())
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


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
