# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""ResNet encoders, with the layers of torchvision."""

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

__all__ = ['ARCHITECTURES', 'ResNet', 'resnet']

_LAYERS = {
    'resnet18': (BasicBlock, (2, 2, 2, 2)),
    'resnet34': (BasicBlock, (3, 4, 6, 3)),
    'resnet50': (Bottleneck, (3, 4, 6, 3)),
}

ARCHITECTURES = tuple(_LAYERS)


class ResNet(torchvision.models.ResNet):
    """
    A ResNet without its last layer, for any number of bands, see `resnet`.

    Parameters
    ----------
    architecture : {'resnet18', 'resnet34', 'resnet50'}
        The network.
    n_bands : int
        Number of bands of the input.
    """

    first_layer = 'conv1'

    def __init__(self, architecture, n_bands):
        super().__init__(*_LAYERS[architecture])
        self.n_features = self.fc.in_features
        # Each stage has twice the channels of the one before.
        self.stage_channels = tuple(self.n_features // 2 ** (4 - stage) for stage in (1, 2, 3, 4))
        self.fc = nn.Identity()
        if n_bands != self.conv1.in_channels:
            self.conv1 = nn.Conv2d(n_bands, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode='fan_out', nonlinearity='relu')

    def forward_stages(self, images):
        """Return the mean of the last stage, and the outputs of the four stages."""
        maps = [self.maxpool(self.relu(self.bn1(self.conv1(images))))]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        maps = [stage.float() for stage in maps[1:]]
        return maps[-1].mean((2, 3)), maps


def resnet(architecture='resnet18', *, n_bands=3):
    """
    Build a ResNet that turns images of any number of bands into pooled features.

    Parameters
    ----------
    architecture : {'resnet18', 'resnet34', 'resnet50'}, default='resnet18'
        One of the networks of He et al. (2016, CVPR, table 1).
    n_bands : int, default=3
        Number of bands of the input.

    Returns
    -------
    encoder : `ResNet`
        Maps (n, band, y, x) to (n, ``encoder.n_features``); its weights are random, and its layers
        have the names of torchvision.

    Raises
    ------
    ValueError
        If the architecture is not known.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.models.encoders.resnet import resnet
    >>> encoder = resnet('resnet18', n_bands=5)
    >>> encoder(torch.zeros(2, 5, 64, 64)).shape
    torch.Size([2, 512])
    """
    if architecture not in ARCHITECTURES:
        msg = f'architecture must be one of {ARCHITECTURES}, got {architecture!r}'
        raise ValueError(msg)
    return ResNet(architecture, n_bands)
