# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Load encoders that others publish as models of this package. No code in their files is run."""

import contextlib
import functools
import os
from pathlib import Path

import torch

from astro_morph.models.encoders.arguments import TIMM
from astro_morph.models.encoders.configuration import Configuration
from astro_morph.models.encoders.names import split_name
from astro_morph.models.encoders.resnet import ARCHITECTURES, resnet
from astro_morph.models.stretch import FluxStretch
from astro_morph.models.torch_model import (
    TorchModel,
    build_encoder,
    build_network,
    fill_network,
)
from astro_morph.models.weights import holds_safetensors
from astro_morph.models.weights.files import load_archive, read_safetensors
from astro_morph.utils.messages import in_one_line, naming_packages

__all__ = ['load_encoder']

CONFIG = 'config.json'
WEIGHTS = ('model.safetensors', 'pytorch_model.bin')

# Where checkpoints of trainings hold the weights.
CHECKPOINT_KEYS = ('state_dict', 'model')

# What PyTorch's wrappers of networks put before the names: torch.compile, DistributedDataParallel.
WRAPPERS = ('_orig_mod.', 'module.')


def load_encoder(name, *, device='cpu'):
    """
    Load an encoder of this package, or one that others publish.

    Parameters
    ----------
    name : path-like
        ``'hf-hub:owner/name'`` or ``'hf-hub:owner/name@revision'`` for a repository on
        huggingface.co, ``'local-dir:folder'`` for a folder with the files of one, ``'timm:name'``
        for weights of timm; a model file of this package; or a file of weights by name, of a ResNet
        of torchvision, or of a network of timm that the file is named for, as
        ``convnext_nano.pth``. A checkpoint may hold the weights as ``'state_dict'`` or ``'model'``,
        and their names may begin with ``'module.'``.
    device : `torch.device`, default='cpu'
        Where the model runs.

    Returns
    -------
    model : `~astro_morph.models.torch_model.TorchModel`
        The encoder. That of others takes the images of its
        `~astro_morph.models.encoders.contracts.Contract`, and its features are those published.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    OSError
        If a repository cannot be fetched.
    ModuleNotFoundError
        If a package is not installed; the message names the command that installs it.
    ValueError
        If the files are not those of an encoder, or are damaged.
    """
    parts = split_name(name)
    if parts is None:
        return _load_file(os.fspath(name), device)
    scheme, place = parts
    find = {'hf-hub': _download, 'local-dir': _find, 'timm': _download_of_timm}[scheme]
    config, weights = find(place)
    try:
        return _build(Configuration.read(config, name=place), _read(weights), device)
    except ValueError as error:
        msg = f'the encoder {name!r} cannot be used: {error}'
        raise ValueError(msg) from error


def _load_file(path, device):
    """Load a model file of this package, or the weights of a network by name."""
    weights = _read(path) if os.path.isfile(path) else None
    if not _are_named(weights):
        return TorchModel.load(path, device=device)
    architecture = _architecture_of(weights) or TIMM + Path(path).name.split('.')[0]
    try:
        configuration = Configuration.of_weights(
            architecture,
            _n_bands(weights, architecture),
            name=path,
            classifier=tuple(f'{name}.' for name in _layers(architecture, 'classifier')),
        )
        return _build(configuration, weights, device)
    except (ModuleNotFoundError, ValueError) as error:
        msg = (
            f'{path!r} holds the weights of no ResNet of torchvision, and is named for no '
            f"architecture of timm: {error}; pass 'local-dir:' and a folder with them and a "
            f'{CONFIG} that names the architecture'
        )
        raise type(error)(msg) from error


def _find(folder):
    """Return the paths of the configuration and the weights in a folder."""
    # The shell has not done it: the path follows a colon.
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        msg = f'there is no folder {os.fspath(folder)!r}; check its name'
        raise FileNotFoundError(msg)
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not found or not (folder / CONFIG).is_file():
        msg = (
            f'the folder {os.fspath(folder)!r} lacks {CONFIG}, or one of {WEIGHTS}; copy these '
            'files of a repository, or write them with encoder.to_hub'
        )
        raise FileNotFoundError(msg)
    return folder / CONFIG, found[0]


def _download(place):
    """Return the paths of the configuration and the weights of a repository, in a cache."""
    with naming_packages():
        import huggingface_hub as hub
    repository, _, revision = place.partition('@')
    try:
        config = _fetch(hub, repository, CONFIG, revision)
        for name in WEIGHTS:
            with contextlib.suppress(hub.errors.EntryNotFoundError):
                return config, _fetch(hub, repository, name, revision)
    # Of many types: versions of huggingface_hub use other packages for their requests.
    except Exception as error:
        msg = (
            f'{place!r} cannot be fetched from huggingface.co: {in_one_line(error)}; check its '
            "name and the connection, or download its files and pass 'local-dir:' and a folder"
        )
        raise OSError(msg) from error
    msg = f'the repository {place!r} has none of {WEIGHTS}; pass one of an encoder of timm'
    raise FileNotFoundError(msg)


def _fetch(hub, repository, name, revision):
    """Return the path of a file of a repository in the cache; download it if it is not there."""
    file = {'repo_id': repository, 'filename': name, 'revision': revision or None}
    with contextlib.suppress(hub.errors.LocalEntryNotFoundError):
        return hub.hf_hub_download(**file, local_files_only=True)
    # Without a connection, this fails at once, and the download after half a minute.
    hub.get_hf_file_metadata(hub.hf_hub_url(**file))
    return hub.hf_hub_download(**file)


def _download_of_timm(name):
    """Return the paths of the configuration and the weights of timm, in a cache."""
    with naming_packages():
        import timm
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None or not config.hf_hub_id:
        msg = f'timm {timm.__version__} has no weights {name!r}; timm.list_pretrained() lists them'
        raise ValueError(msg)
    named = f'{config.architecture}.{config.tag}' if config.tag else config.architecture
    return _download(config.hf_hub_id + named if config.hf_hub_id[-1] == '/' else config.hf_hub_id)


def _read(path):
    """Read the weights in a file, or what else it holds."""
    try:
        if holds_safetensors(path):
            weights, metadata = read_safetensors(path)
            return None if 'spec' in metadata else weights
        content = load_archive(path)
    except (ModuleNotFoundError, PermissionError):
        raise
    except Exception as error:
        # Without the message of PyTorch, which advises to run the code in the file.
        msg = (
            f'{os.fspath(path)!r} is not a model file of astro_morph and holds no weights, or it '
            'is damaged; name one that save or fit wrote, or weights of torchvision or timm'
        )
        raise ValueError(msg) from error
    return _unwrap(content)


def _unwrap(content):
    """Return the weights in a checkpoint by the names that they have in the network."""
    for key in CHECKPOINT_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    for prefix in WRAPPERS:
        if _are_named(content) and all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): tensor for name, tensor in content.items()}
    return content


def _are_named(weights):
    """Check for tensors by name."""
    return (
        isinstance(weights, dict)
        and len(weights) > 0
        and all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor)
            for name, tensor in weights.items()
        )
    )


def _architecture_of(weights):
    """Return the ResNet that has weights of these names and shapes, or None."""
    shapes = {name: tensor.shape for name, tensor in weights.items() if name[:3] != 'fc.'}
    filters = shapes.get('conv1.weight', ())
    for architecture in ARCHITECTURES if len(filters) == 4 else ():
        with torch.device('meta'):
            state = resnet(architecture, n_bands=filters[1]).state_dict()
        if shapes == {name: tensor.shape for name, tensor in state.items()}:
            return architecture
    return None


def _layers(architecture, part):
    """Return the names of the layers that take the bands ('first_conv') or follow the features."""
    if not architecture.startswith(TIMM):
        return {'first_conv': ['conv1'], 'classifier': ['fc']}[part]
    with naming_packages():
        import timm
    name = architecture.removeprefix(TIMM)
    found = timm.get_pretrained_cfg_value(name, part) if timm.is_model(name) else None
    return [found] if isinstance(found, str) else list(found or [])


def _n_bands(weights, architecture):
    """Return the number of bands that the first filters take."""
    first = (f'{name}.weight' for name in _layers(architecture, 'first_conv'))
    return next((weights[name].shape[1] for name in first if name in weights), 3)


def _build(configuration, weights, device):
    """Build the model of an encoder from its configuration and its weights."""
    if not _are_named(weights):
        msg = 'its file of weights holds anything but tensors by name'
        raise ValueError(msg)
    spec = configuration.spec
    # The names of timm stand within our own module.
    prefix = 'network.' if spec.architecture.startswith(TIMM) else ''
    weights = {
        prefix + name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
        if not name.startswith(configuration.classifier)
    }
    encoder = fill_network(functools.partial(build_encoder, spec), weights)
    _check_runs(encoder, spec)
    network = build_network(spec, encoder=encoder)
    _set_stretch(network.stretch, configuration.stretch)
    return TorchModel(spec, network, device=device).stamped('')


@torch.no_grad()
def _check_runs(encoder, spec):
    """Refuse an encoder that has no finite features of an image."""
    side = spec.input_size or spec.size
    image = torch.rand(1, len(spec.channels), side, side, generator=torch.Generator())
    try:
        features, _ = encoder.eval().forward_stages(image)
    except (IndexError, RuntimeError) as error:
        msg = f'it takes no image of {side} x {side} pixels: {in_one_line(error)}'
        raise ValueError(msg) from error
    if features.shape != (1, encoder.n_features) or not features.isfinite().all():
        msg = f'its features of an image are not {encoder.n_features} finite numbers'
        raise ValueError(msg)


def _set_stretch(stretch, state):
    """Give a stretch its state; flux of Euclid is stretched in its own unit, without noise."""
    if state is None:
        if isinstance(stretch, FluxStretch):
            stretch.noise.fill_(1.0)
        return
    try:
        stretch.load_state_dict({name: torch.tensor(values) for name, values in state.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        msg = f'its configuration has another stretch: {error}'
        raise ValueError(msg) from error
