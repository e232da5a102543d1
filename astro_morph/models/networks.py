# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Encoders and heads, with the layers named as torchvision names them."""

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


# A ResNet's first two layers divide the image by four, and spiral arms are a few pixels wide:
# enlarged, small images keep them. Larger ones have pixels enough.
ENLARGEMENT = 1.5


LARGEST_ENLARGED = 96


# Mergers and defects are told best by what the third stage sees: in the last, shapes that
# pretraining has not met look like those that it has. benchmarks/novelty.py
NOVELTY_STAGE = 3


def input_side(size):
    """
    Choose the side that images are given before they go into the encoder.

    Parameters
    ----------
    size : int
        Side of the images in pixels.

    Returns
    -------
    side : int
        One and a half times the size where that is at most 96; never below the size.
    """
    return max(size, min(round(ENLARGEMENT * size), LARGEST_ENLARGED))


def resnet(architecture='resnet18', *, n_bands=3):
    """
    Build a ResNet that turns images of any number of bands into pooled features.

    Parameters
    ----------
    architecture : {'resnet18', 'resnet34', 'resnet50'}, optional
        Which of the networks of He et al. (2016, CVPR, table 1).
    n_bands : int, optional
        Bands of the input.

    Returns
    -------
    encoder : `torchvision.models.ResNet`
        Maps (n, band, y, x) to (n, ``encoder.n_features``). The weights are random.

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
    Pool the output of a ResNet, and the scatter of several of its stages.

    Early stages see small shapes, such as arms and knots, that the last one has merged, and the
    scatter over the image tells a few of them from an even glow.

    Parameters
    ----------
    encoder : `torchvision.models.ResNet`
        An encoder made by `resnet`.
    images : `torch.Tensor`, shape (n, band, y, x)
        The images.
    stages : tuple of int
        Which of the four stages.

    Returns
    -------
    features : `torch.Tensor`, shape (n, d)
        The mean over the image of each channel of the last stage, and the standard deviation of
        each channel of the stages. Means and the deviations of each stage have length 1, so that
        none outweighs the others.
    """
    return _pool(_stage_maps(encoder, images), stages)


def _pool(maps, stages):
    deviations = (maps[stage - 1].std((2, 3), correction=0) for stage in stages)
    pooled = [maps[-1].mean((2, 3)), *deviations]
    return torch.cat([functional.normalize(vectors) for vectors in pooled], 1)


def _stage_maps(encoder, images):
    """Give the outputs of the four stages of a ResNet."""
    maps = [encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(images))))]
    for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        maps.append(layer(maps[-1]))
    return maps[1:]


def _mean_and_scatter(maps):
    return maps.mean((2, 3)), maps.std((2, 3), correction=0)


def adapt_bands(weights, n_bands, *, reverse=False):
    """
    Fit the first layer of an encoder's weights to other bands.

    The filters are interpolated along the band axis, which is taken to run in wavelength, and
    scaled so that their sum over bands, and with it the size of the responses, stays what it was.

    Parameters
    ----------
    weights : dict of str to `torch.Tensor`
        The state of an encoder made by `resnet`.
    n_bands : int
        Bands wanted.
    reverse : bool, optional
        Whether the new bands run in wavelength against those of the weights.

    Returns
    -------
    weights : dict of str to `torch.Tensor`
        The adapted state.
    """
    filters = weights['conv1.weight']
    if reverse:
        filters = filters.flip(1)
    n_old = filters.shape[1]
    if n_bands != n_old:
        along_bands = filters.flatten(2).transpose(1, 2)
        along_bands = functional.interpolate(
            along_bands, n_bands, mode='linear', align_corners=True
        )
        filters = along_bands.transpose(1, 2).unflatten(2, filters.shape[2:]) * n_old / n_bands
    return weights | {'conv1.weight': filters.contiguous()}


def classification_head(n_features, n_classes, *, n_hidden=0):
    """
    Build what turns features into logits.

    Parameters
    ----------
    n_features, n_classes : int
        Features of the encoder, and classes.
    n_hidden : int, optional
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
        Features of the encoder.
    n_hidden, n_out : int, optional
        Width of the hidden layer and of the projection.

    Returns
    -------
    head : `torch.nn.Sequential`
        Maps (n, n_features) to (n, n_out), not normalised.
    """
    return nn.Sequential(nn.Linear(n_features, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))


class MorphologyNetwork(nn.Module):
    """
    The whole way from raw images to logits and features, averaged over the views of the square.

    Parameters
    ----------
    stretch, encoder, head : `torch.nn.Module`
        Raw images to stretched ones, those to features, and features to logits.
    input_size : int, optional
        Side to which the images are enlarged before the encoder; by default they are not.
    views : {1, 4, 8}, optional
        8 averages the rotations and reflections of the square: a galaxy has no up. 4 leaves out
        the reflections.
    stages : tuple of int, optional
        Stages of the encoder whose scatter the features hold too, see `stage_features`; by default
        they are what the encoder gives.

    Attributes
    ----------
    n_features : int
        Features of an image.
    temperature : `torch.Tensor`
        The logits are divided by it (Guo et al. 2017, arXiv:1706.04599).
    novelty : `torch.nn.Module`
        The `~astro_morph.models.novelty.Novelty` of a classifier; until it is fitted, what it is
        to be fitted on passes unchanged.
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
        features, texture = self.describe(images)
        return self.head(features) / self.temperature, features, self.novelty(texture)

    def features(self, images):
        """Turn raw images (n, band, y, x) into features (n, d), averaged over the views."""
        return self.describe(images)[0]

    def describe(self, images):
        """Turn raw images into features, and into those that tell novelty."""
        images = self.stretched(images)
        if self.views == 1:
            return self._encode(images)
        outputs = self._encode(torch.cat(square_views(images)[: self.views]))
        return tuple(output.unflatten(0, (self.views, -1)).mean(0) for output in outputs)

    def stretched(self, images):
        """Turn raw images into what the encoder sees: stretched and enlarged."""
        images = self.stretch(images)
        if self.input_size is None:
            return images
        size = (self.input_size, self.input_size)
        return functional.interpolate(images, size, mode='bilinear', align_corners=False)

    def _encode(self, images):
        if not isinstance(self.encoder, torchvision.models.ResNet):
            features = self.encoder(images)
            return features, features
        # An encoder in half precision, as an ONNX file may hold it, is pooled in full.
        images = images.to(self.encoder.conv1.weight.dtype)
        maps = [stage.float() for stage in _stage_maps(self.encoder, images)]
        features = _pool(maps, self.stages) if self.stages else maps[-1].mean((2, 3))
        return features, torch.cat(_mean_and_scatter(maps[NOVELTY_STAGE - 1]), 1)


#: Rotations and reflections of the square: the views that a prediction averages.
SQUARE_SYMMETRIES = 8


def square_views(images):
    """
    Give the eight rotations and reflections of square images.

    Parameters
    ----------
    images : `torch.Tensor`, shape (n, band, y, x)
        The images.

    Returns
    -------
    views : list of `torch.Tensor`, each of shape (n, band, y, x)
        The first is the input.
    """
    mirrored = (images, images.flip(-1))
    return [torch.rot90(view, turns, (-2, -1)) for view in mirrored for turns in range(4)]
