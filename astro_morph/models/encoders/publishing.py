# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write an encoder as timm and huggingface.co have them: weights, configuration, model card."""

import dataclasses
import json
from pathlib import Path

from astro_morph.models.encoders.arguments import TIMM
from astro_morph.models.encoders.configuration import OWN
from astro_morph.models.encoders.hub import CONFIG, WEIGHTS
from astro_morph.models.weights.files import write_safetensors
from astro_morph.utils.files import atomic_file, check_new

__all__ = ['write_hub_folder']

CARD = 'README.md'

_CARD = """\
---
library_name: timm
tags:
- astronomy
- galaxies
- morphology
- image-feature-extraction
---
# Encoder of galaxy images

`{architecture}` as trained or adapted by astro_morph {version}, fingerprint `{identifier}`.

- Input: {n_channels} channels ({channels}), {side} x {side} pixels. {pixels}
- Output: {n_features} features.

With timm:

```python
import timm
encoder = timm.create_model('local-dir:folder', pretrained=True, num_classes=0)
```

With astro_morph, which also prepares the images{stages}:

```python
from astro_morph import MorphologyEncoder
encoder = MorphologyEncoder.from_pretrained('local-dir:folder')
```
"""


def write_hub_folder(model, folder, *, overwrite=False):
    """
    Write an encoder so that timm loads it.

    Parameters
    ----------
    model : `~astro_morph.models.torch_model.TorchModel`
        The encoder, or a model that has one; only its encoder is written.
    folder : path-like
        The folder.
    overwrite : bool, default=False
        Whether files of the same names may be replaced.

    Raises
    ------
    FileExistsError
        If there is such a file and ``overwrite`` is false.
    NotADirectoryError
        If the folder is a file.
    ValueError
        If the model takes plain features.
    """
    if not model.spec.bands:
        msg = 'this encoder takes plain features, and timm has networks of images; save it'
        raise ValueError(msg)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        msg = f'folder is {str(folder)!r}, which is a file; name a folder'
        raise NotADirectoryError(msg)
    weights, config, card = (folder / name for name in (WEIGHTS[0], CONFIG, CARD))
    for path in (weights, config, card):
        check_new(path, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    prefix = 'network.' if model.spec.architecture.startswith(TIMM) else ''
    tensors = {
        name.removeprefix(prefix): tensor.cpu()
        for name, tensor in model.network.encoder.state_dict().items()
    }
    with atomic_file(weights, overwrite=True) as aside:
        # timm looks for the library that the tensors are of.
        write_safetensors(aside, tensors, {'format': 'pt'})
    _write_text(config, json.dumps(_configuration(model), indent=2))
    _write_text(card, _CARD.format(**_facts(model)))


def _write_text(path, text):
    with atomic_file(path, overwrite=True) as aside:
        aside.write_text(text + '\n', encoding='utf-8')


def _configuration(model):
    spec, n = model.spec, len(model.spec.channels)
    contract = spec.contract
    mean, std = (contract.mean, contract.std) if contract is not None else ((), ())
    side = spec.input_size or spec.size
    encoder = model.network.encoder
    arguments = {'in_chans': n, **(spec.arguments or {})}
    return {
        'architecture': spec.architecture.removeprefix(TIMM),
        'num_classes': 0,
        'num_features': encoder.n_features,
        'model_args': {'num_classes': 0, **arguments},
        'pretrained_cfg': {
            'input_size': [n, side, side],
            'fixed_input_size': False,
            'interpolation': 'bilinear',
            'crop_pct': 1.0,
            'mean': list(mean) or [0.0] * n,
            'std': list(std) or [1.0] * n,
            'num_classes': 0,
            'first_conv': encoder.first_layer.removeprefix('network.'),
            'custom_load': False,
        },
        # What timm has no place for: bands, stretch, and features of several stages.
        OWN: {
            'spec': _of_encoder(spec).to_json(),
            'stretch': {
                name: values.tolist() for name, values in model.network.stretch.state_dict().items()
            },
        },
    }


def _of_encoder(spec):
    """Return the specification without what belongs to a head."""
    return dataclasses.replace(
        spec, classes=(), tree=None, conformity=(), hidden=0, frozen=False, identifier=''
    )


def _facts(model):
    """Return what the card says of a model."""
    spec = model.spec
    pixels = 'Pixels are those of colour pictures, from 0 to 1.'
    if spec.kind == 'flux':
        pixels = (
            'Pixels are flux after the stretch of astro_morph, '
            f'`{type(model.network.stretch).__name__}`, whose numbers `{CONFIG}` holds.'
        )
    mean = spec.contract.mean if spec.contract else ()
    if mean:
        pixels += f' They are then normalised by mean and deviation, see `{CONFIG}`.'
    return {
        'architecture': spec.architecture.removeprefix(TIMM),
        'version': spec.version,
        'identifier': spec.identifier,
        'n_channels': len(spec.channels),
        'channels': ', '.join(spec.channels),
        'side': spec.input_size or spec.size,
        'pixels': pixels,
        'n_features': model.network.encoder.n_features,
        'stages': ' and adds the scatter of several stages to the features' if spec.stages else '',
    }
