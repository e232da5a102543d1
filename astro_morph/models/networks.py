# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Build networks: ResNet encoders, heads, and the averaging over rotations and reflections."""

import torch
import torchvision
from torch import nn
from torch.nn import functional

__all__ = [
    'ARCHITECTURES',
    'SQUARE_SYMMETRIES',
    'MorphologyNetwork',
    'adapt_bands',
    'classification_head',
    'input_side',
    'projection_head',
    'resnet',
    'square_views',
    'stage_features',
]

ARCHITECTURES = ('resnet18', 'resnet34', 'resnet50')

#: Rotations and reflections of the square: the views that a prediction averages.
SQUARE_SYMMETRIES = 8

# The first two layers of a ResNet reduce an image by a factor of four, and spiral arms are a few
# pixels wide: small images are enlarged to keep them, up to this side.
ENLARGEMENT = 1.5
LARGEST_ENLARGED = 96

# Stage in which novelty is measured. The third is best for mergers and defects: in the fourth,
# shapes unseen in pretraining look like those that were seen (benchmarks/novelty.py).
NOVELTY_STAGE = 3


def input_side(size):
    """
    Compute the side to which images are enlarged before the encoder.

    Parameters
    ----------
    size : int
        Side of the images in pixels.

    Returns
    -------
    side : int
        1.5 times the size, but at most 96 or the size, whichever is larger.
    """
    return max(size, min(round(ENLARGEMENT * size), LARGEST_ENLARGED))


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
    encoder : `torchvision.models.ResNet`
        Maps (n, band, y, x) to (n, ``encoder.n_features``); its weights are random, and its layers
        have the names of torchvision.

    Raises
    ------
    ValueError
        If the architecture is not known.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.models.networks import resnet
    >>> encoder = resnet('resnet18', n_bands=5)
    >>> encoder(torch.zeros(2, 5, 64, 64)).shape
    torch.Size([2, 512])
    """
    if architecture not in ARCHITECTURES:
        msg = f'architecture must be one of {ARCHITECTURES}, got {architecture!r}'
        raise ValueError(msg)
    encoder = torchvision.models.get_model(architecture, weights=None)
    encoder.n_features = encoder.fc.in_features
    encoder.fc = nn.Identity()
    if n_bands != encoder.conv1.in_channels:
        encoder.conv1 = nn.Conv2d(n_bands, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(encoder.conv1.weight, mode='fan_out', nonlinearity='relu')
    return encoder


def stage_features(encoder, images, stages):
    """
    Compute the mean of the last stage of a ResNet, and the scatter of several of its stages.

    Early stages respond to small shapes, such as arms and knots, that the last one merges. The
    scatter over the image distinguishes a few such shapes from smooth light.

    Parameters
    ----------
    encoder : `torchvision.models.ResNet`
        An encoder made by `resnet`.
    images : `torch.Tensor`, shape (n, band, y, x)
        The images.
    stages : tuple of int
        Numbers of the stages, from 1 to 4.

    Returns
    -------
    features : `torch.Tensor`, shape (n, d)
        The mean over the image of each channel of the last stage, and the standard deviation of
        each channel of the stages. The vector of means, and that of deviations of each stage, are
        normalised to length 1, so that none outweighs the others.
    """
    return _pool(_stage_maps(encoder, images), stages)


def _pool(maps, stages):
    deviations = (maps[stage - 1].std((2, 3), correction=0) for stage in stages)
    pooled = [maps[-1].mean((2, 3)), *deviations]
    return torch.cat([functional.normalize(vectors) for vectors in pooled], 1)


def _stage_maps(encoder, images):
    """Return the outputs of the four stages of a ResNet."""
    maps = [encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(images))))]
    for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        maps.append(layer(maps[-1]))
    return maps[1:]


def adapt_bands(weights, n_bands, *, reverse=False):
    """
    Adapt the first layer of an encoder's weights to other bands.

    The bands are assumed to be in order of wavelength and to divide the same range of it. Each
    filter is shared among the new bands in proportion to their overlap with its old band, so that
    the sum over bands is unchanged: an image that is the same in all bands gives the same response.

    Parameters
    ----------
    weights : dict of str to `torch.Tensor`
        The ``state_dict`` of an encoder made by `resnet`.
    n_bands : int
        Number of new bands.
    reverse : bool, default=False
        Whether the new bands are in the reverse order of wavelength.

    Returns
    -------
    weights : dict of str to `torch.Tensor`
        The adapted state.
    """
    filters = weights['conv1.weight']
    if reverse:
        filters = filters.flip(1)
    if n_bands != filters.shape[1]:
        filters = torch.einsum('fbyx,nb->fnyx', filters, _band_overlaps(n_bands, filters))
    return weights | {'conv1.weight': filters.contiguous()}


def _band_overlaps(n_bands, filters):
    """Return the fraction of each old band that each new one covers, of shape (n_bands, old)."""
    old, new = (torch.linspace(0, 1, n + 1).to(filters) for n in (filters.shape[1], n_bands))
    low = torch.maximum(new[:-1, None], old[:-1])
    high = torch.minimum(new[1:, None], old[1:])
    return (high - low).clamp(min=0) * filters.shape[1]


def classification_head(n_features, n_classes, *, n_hidden=0):
    """
    Build a head that maps features to logits.

    Parameters
    ----------
    n_features, n_classes : int
        Numbers of features and of classes.
    n_hidden : int, default=0
        Width of a hidden layer; 0 for none.

    Returns
    -------
    head : `torch.nn.Module`
        Maps (n, n_features) to (n, n_classes).
    """
    if not n_hidden:
        return nn.Linear(n_features, n_classes)
    return nn.Sequential(nn.Linear(n_features, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_classes))


def projection_head(n_features, *, n_hidden=512, n_out=128):
    """
    Build the two-layer head of MoCo v2 (Chen et al. 2020, arXiv:2003.04297).

    Parameters
    ----------
    n_features : int
        Number of features of the encoder.
    n_hidden : int, default=512
        Width of the hidden layer.
    n_out : int, default=128
        Width of the projection.

    Returns
    -------
    head : `torch.nn.Sequential`
        Maps (n, n_features) to (n, n_out), not normalised.
    """
    return nn.Sequential(nn.Linear(n_features, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))


class MorphologyNetwork(nn.Module):
    """
    Map raw images to logits, features and novelty, averaged over rotations and reflections.

    Parameters
    ----------
    stretch, encoder, head : `torch.nn.Module`
        Map raw images to stretched ones, those to features, and features to logits.
    input_size : int, default=None
        Side to which the images are enlarged before the encoder; not enlarged if None.
    views : {1, 4, 8}, default=8
        Number of views to average: 8 rotations and reflections of the square, 4 rotations, or the
        image alone. Galaxies have no preferred orientation.
    stages : tuple of int, default=()
        Stages of the encoder whose scatter is added to the features, see `stage_features`. If
        empty, the features are the output of the encoder.

    Attributes
    ----------
    n_features : int
        Number of features of an image.
    temperature : `torch.Tensor`
        The logits are divided by it (Guo et al. 2017, arXiv:1706.04599).
    novelty : `torch.nn.Module`
        The `~astro_morph.models.novelty.Novelty` of a classifier; until it is fitted, the identity,
        which returns the features to fit it to.
    """

    def __init__(self, stretch, encoder, head, *, input_size=None, views=8, stages=()):
        super().__init__()
        self.stretch = stretch
        self.encoder = encoder
        self.head = head
        self.input_size = input_size
        self.views = views
        self.stages = stages
        self.novelty = nn.Identity()
        self.register_buffer('temperature', torch.tensor(1.0))

    @property
    def n_features(self):
        n_last = self.encoder.n_features
        # Each stage has twice the channels of the one before.
        return n_last + sum(n_last // 2 ** (4 - stage) for stage in self.stages)

    def forward(self, images):
        images = self.stretched(images)
        if self.views == 1:
            features, texture = self._pooled(images)
        else:
            outputs = self._pooled(torch.cat(square_views(images)[: self.views]))
            features, texture = (o.unflatten(0, (self.views, -1)).mean(0) for o in outputs)
        return self.head(features) / self.temperature, features, self.novelty(texture)

    def stretched(self, images):
        """Return raw images as the encoder takes them: stretched and enlarged."""
        images = self.stretch(images)
        if self.input_size is None:
            return images
        size = (self.input_size, self.input_size)
        return functional.interpolate(images, size, mode='bilinear', align_corners=False)

    def _pooled(self, images):
        """Return the features of stretched images, and those that novelty is measured in."""
        if not isinstance(self.encoder, torchvision.models.ResNet):
            features = self.encoder(images)
            return features, features
        # The outputs of an encoder in half precision, as for ONNX, are pooled in single precision.
        images = images.to(self.encoder.conv1.weight.dtype)
        maps = [stage.float() for stage in _stage_maps(self.encoder, images)]
        features = _pool(maps, self.stages) if self.stages else maps[-1].mean((2, 3))
        third = maps[NOVELTY_STAGE - 1]
        return features, torch.cat([third.mean((2, 3)), third.std((2, 3), correction=0)], 1)


def square_views(images):
    """
    Return the eight rotations and reflections of square images.

    Parameters
    ----------
    images : `torch.Tensor`, shape (n, band, y, x)
        The images.

    Returns
    -------
    views : list of `torch.Tensor`, each of shape (n, band, y, x)
        The first four are rotations, of which the first is the input.
    """
    mirrored = (images, images.flip(-1))
    return [torch.rot90(view, turns, (-2, -1)) for view in mirrored for turns in range(4)]
