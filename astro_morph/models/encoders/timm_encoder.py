# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Encoders of timm: convolutional networks and vision transformers of any architecture."""

import torch
from torch import nn

from astro_morph.utils.messages import naming_packages

__all__ = ['TimmEncoder']

# A network with as many parts or fewer has stages, each of half the side of the one before. One of
# more parts has equal blocks, as vision transformers do.
_MOST_STAGES = 6


class TimmEncoder(nn.Module):
    """
    A network of timm without its last layer.

    Its features are those that ``timm.create_model(architecture, num_classes=0)`` returns. Stages
    are the last four of a convolutional network, or the tokens after each quarter of the blocks of
    a vision transformer, in their places in the image.

    Parameters
    ----------
    architecture : str
        Name of the architecture in timm.
    n_bands : int
        Number of bands of the input.
    arguments : dict, default=None
        Other arguments of the constructor, such as ``img_size``.
    mean, std : sequence of float, default=()
        Mean and standard deviation of each band, by which the input is normalised; none if empty.

    Raises
    ------
    ModuleNotFoundError
        If timm is not installed.
    ValueError
        If timm has no such architecture, or none with these arguments.
    """

    def __init__(self, architecture, n_bands, *, arguments=None, mean=(), std=()):
        super().__init__()
        with naming_packages():
            import timm
        if not timm.is_model(architecture):
            msg = f'timm {timm.__version__} has no architecture {architecture!r}; update timm'
            raise ValueError(msg)
        try:
            self.network = timm.create_model(
                architecture, in_chans=n_bands, num_classes=0, **(arguments or {})
            )
            parts = self.network.feature_info
        except (TypeError, AttributeError, AssertionError, IndexError, RuntimeError) as error:
            msg = f'timm builds no {architecture!r} with the arguments {arguments}: {error}'
            raise ValueError(msg) from error
        if len(parts) < 4:
            msg = f'{architecture!r} with the arguments {arguments} has fewer than four stages'
            raise ValueError(msg)
        _replace_pools(self.network)
        self.n_features = getattr(self.network, 'head_hidden_size', self.network.num_features)
        n = len(parts)
        chosen = range(n - 4, n) if n <= _MOST_STAGES else [(k * n) // 4 - 1 for k in (1, 2, 3, 4)]
        self._stages = list(chosen)
        self.stage_channels = tuple(parts[k]['num_chs'] for k in self._stages)
        self.first_layer = f'network.{self.network.pretrained_cfg["first_conv"]}'
        # Not stored with the weights: they are part of the contract.
        for name, values in (('mean', mean or [0.0]), ('std', std or [1.0])):
            values = torch.tensor(values, device='cpu').view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, images):
        return self.network(self._normalised(images))

    def forward_stages(self, images):
        """Return the features, and the outputs of the four stages."""
        last, maps = self.network.forward_intermediates(
            self._normalised(images), indices=self._stages
        )
        features = self.network.forward_head(last, pre_logits=True)
        return features.float(), [stage.float() for stage in maps]

    def _normalised(self, images):
        return (images - self.mean) / self.std


class _Mean(nn.Module):
    """The mean over the image, as an `torch.nn.AdaptiveAvgPool2d` of one pixel."""

    def forward(self, maps):
        return maps.mean((2, 3), keepdim=True)


def _replace_pools(module):
    """Replace pools that PyTorch writes as ONNX with an operator for each number."""
    for name, part in module.named_children():
        if isinstance(part, nn.AdaptiveAvgPool2d) and part.output_size in (1, (1, 1)):
            setattr(module, name, _Mean())
        else:
            _replace_pools(part)
