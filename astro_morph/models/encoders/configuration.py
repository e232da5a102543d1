# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write the configuration of a published encoder, ``config.json`` as timm has it."""

import dataclasses
import json
import os

from astro_morph.models.encoders.arguments import TIMM, check_arguments
from astro_morph.models.encoders.contracts import MOST_CHANNELS, Contract, contract_of
from astro_morph.models.encoders.resnet import ARCHITECTURES
from astro_morph.models.spec import ModelSpec

__all__ = ['Configuration']

# Bytes of a configuration; those of timm have about a thousand.
LARGEST = 1_000_000

# Arguments of the constructor that are given otherwise: the last layer is left out.
_NOT_HANDED_ON = ('num_classes', 'in_chans')

# The entry of our own, beside those of timm.
OWN = 'astro_morph'


@dataclasses.dataclass(frozen=True)
class Configuration:
    """
    How an encoder is built, and what it takes.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model.
    classifier : tuple of str, default=()
        What the names of the last layers begin with, which are left out.
    stretch : dict of str to list, default=None
        State of the stretch, if the encoder is one of this package.
    """

    spec: ModelSpec
    classifier: tuple = ()
    stretch: dict | None = None

    @classmethod
    def read(cls, path, *, name):
        """
        Read a file.

        Parameters
        ----------
        path : path-like
            The file.
        name : str
            Name of the repository or folder, by which the family of the encoder is known.

        Returns
        -------
        configuration : Configuration
            The configuration.

        Raises
        ------
        ValueError
            If it is no configuration of a network of timm, or has an argument that is not known.
        """
        config = _read_json(path)
        own = config.get(OWN)
        if isinstance(own, dict) and isinstance(own.get('spec'), str):
            return cls._of_ours(own)
        # Older files have no part of their own for what describes the weights.
        trained = config.get('pretrained_cfg', config)
        arguments = config.get('model_args') or {}
        architecture = config.get('architecture')
        is_dict = isinstance(trained, dict) and isinstance(arguments, dict)
        if not is_dict or not isinstance(architecture, str):
            msg = f'its {os.path.basename(path)} names no architecture of timm with its arguments'
            raise ValueError(msg)
        declared, side = _input_size(trained, path)
        n_bands = arguments.get('in_chans', declared)
        if not isinstance(n_bands, int) or not 1 <= n_bands <= MOST_CHANNELS:
            msg = f'its {os.path.basename(path)} has {str(n_bands)[:50]} channels, expected 1 to 64'
            raise ValueError(msg)
        contract = contract_of(
            f'{name} {trained.get("hf_hub_id")}',
            n_bands=n_bands,
            input_size=side,
            mean=trained.get('mean') or (),
            std=trained.get('std') or (),
        )
        arguments = {n: v for n, v in arguments.items() if n not in _NOT_HANDED_ON}
        check_arguments(arguments)
        if arguments.get('img_size') is not None:
            # It was built for this size, whatever its family.
            contract = Contract.from_dict(
                dataclasses.asdict(contract) | {'input_size': _side_of(arguments['img_size'])}
            )
        classifier = trained.get('classifier')
        classifier = classifier if isinstance(classifier, list) else [classifier]
        return cls(_spec_of(architecture, arguments, contract), tuple(f'{n}.' for n in classifier))

    @classmethod
    def of_weights(cls, architecture, n_bands, *, name, classifier):
        """
        Return the configuration of weights that have no file of it.

        Parameters
        ----------
        architecture : str
            Their architecture, one of ours or of timm.
        n_bands : int
            Number of their bands.
        name : str
            Name of their file, by which the family of the encoder is known.
        classifier : tuple of str
            What the names of the last layers begin with.

        Returns
        -------
        configuration : Configuration
            That of pictures from 0 to 1, unless the family is known.
        """
        contract = contract_of(name, n_bands=n_bands, input_size=224, mean=(), std=())
        return cls(_spec_of(architecture, {}, contract), classifier)

    @classmethod
    def _of_ours(cls, own):
        spec, stretch = ModelSpec.from_json(own['spec']), own.get('stretch')
        if not spec.bands or spec.classes or not isinstance(stretch, dict):
            msg = f'the entry {OWN!r} of its configuration is not that of an encoder of images'
            raise ValueError(msg)
        return cls(spec, stretch=stretch)


def _spec_of(architecture, arguments, contract):
    is_plain = arguments.keys() <= {'global_pool'} and arguments.get('global_pool', 'avg') == 'avg'
    if architecture in ARCHITECTURES and is_plain and not contract.mean:
        arguments = {}
    elif not architecture.startswith(TIMM):
        architecture = TIMM + architecture
    return ModelSpec(
        bands=contract.bands,
        # The centre that the encoder sees then has the pixels of its input.
        size=contract.input_size + 2 * round(contract.input_size * (contract.zoom - 1) / 2),
        input_size=contract.input_size,
        kind=contract.kind,
        architecture=architecture,
        arguments=arguments or None,
        contract=contract,
    )


def _read_json(path):
    """Return the dictionary in a file of JSON."""
    if os.path.getsize(path) > LARGEST:
        msg = f'its {os.path.basename(path)} has more than {LARGEST} bytes'
        raise ValueError(msg)
    try:
        with open(path, encoding='utf-8') as file:
            config = json.load(file)
    except (ValueError, RecursionError) as error:
        msg = f'its {os.path.basename(path)} is no JSON'
        raise ValueError(msg) from error
    if not isinstance(config, dict):
        msg = f'its {os.path.basename(path)} holds no dictionary'
        raise ValueError(msg)
    return config


def _side_of(size):
    """Return the side of a square, which may be given as a list of two."""
    return size[0] if isinstance(size, list) and len({*size}) == 1 else size


def _input_size(trained, path):
    """Return channels and side of the input; those of most encoders if they are not declared."""
    size = trained.get('input_size', [3, 224, 224])
    is_list = isinstance(size, list) and len(size) == 3
    if not is_list or not all(type(n) is int and n > 0 for n in size) or size[1] != size[2]:
        msg = (
            f'its {os.path.basename(path)} has the input size {str(size)[:50]}, expected channels '
            'and two equal sides'
        )
        raise ValueError(msg)
    return size[0], size[1]
