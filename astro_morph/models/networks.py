# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Build networks: heads, and the averaging of an encoder over rotations and reflections."""

import torch
from torch import nn
from torch.nn import functional

__all__ = [
    'ROTATIONS',
    'SQUARE_SYMMETRIES',
    'VIEWS',
    'MorphologyNetwork',
    'classification_head',
    'input_side',
    'projection_head',
    'square_views',
    'stage_features',
]

#: Rotations and reflections of the square: the views that a prediction averages.
SQUARE_SYMMETRIES = 8

#: Its rotations: the views of a model that tells a galaxy from its mirror image.
ROTATIONS = 4

#: Number of views by what the estimators call them.
VIEWS = {'all': SQUARE_SYMMETRIES, 'rotations': ROTATIONS}

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


def stage_features(encoder, images, stages):
    """
    Compute the features of an encoder, and the scatter of several of its stages.

    Early stages respond to small shapes, such as arms and knots, that the last one merges. The
    scatter over the image distinguishes a few such shapes from smooth light.

    Parameters
    ----------
    encoder : `torch.nn.Module`
        An encoder, see `astro_morph.models.encoders`.
    images : `torch.Tensor`, shape (n, band, y, x)
        The images.
    stages : tuple of int
        Numbers of the stages, from 1 to 4.

    Returns
    -------
    features : `torch.Tensor`, shape (n, d)
        The features of the encoder, which of a ResNet are the mean over the image of each channel
        of the last stage; and the standard deviation of each channel of the stages. The vector of
        features, and that of deviations of each stage, are normalised to length 1, so that none
        outweighs the others.
    """
    return _pool(*encoder.forward_stages(images), stages)


def _pool(features, maps, stages):
    deviations = (maps[stage - 1].std((2, 3), correction=0) for stage in stages)
    return torch.cat([functional.normalize(vectors) for vectors in (features, *deviations)], 1)


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
    field : int, default=None
        Side in pixels of the central part that the encoder sees; all if None.
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

    def __init__(self, stretch, encoder, head, *, input_size=None, field=None, views=8, stages=()):
        super().__init__()
        self.stretch = stretch
        self.encoder = encoder
        self.head = head
        self.input_size = input_size
        self.field = field
        self.views = views
        self.stages = stages
        self.novelty = nn.Identity()
        self.register_buffer('temperature', torch.tensor(1.0))

    @property
    def n_features(self):
        channels = (self.encoder.stage_channels[stage - 1] for stage in self.stages)
        return self.encoder.n_features + sum(channels)

    @property
    def n_texture(self):
        """Number of features that novelty is measured in."""
        if not hasattr(self.encoder, 'forward_stages'):
            return self.encoder.n_features
        return 2 * self.encoder.stage_channels[NOVELTY_STAGE - 1]

    def forward(self, images):
        images = self.stretched(images)
        if self.views == 1:
            features, texture = self._pooled(images)
        else:
            outputs = self._pooled(torch.cat(square_views(images)[: self.views]))
            features, texture = (o.unflatten(0, (self.views, -1)).mean(0) for o in outputs)
        return self.head(features) / self.temperature, features, self.novelty(texture)

    def look(self, images):
        """
        Compute the outputs of single views, as a training compares them.

        Parameters
        ----------
        images : `torch.Tensor`, shape (n, band, y, x)
            Stretched images, not yet enlarged.

        Returns
        -------
        logits, features, texture : `torch.Tensor`, each of shape (n, d)
            Logits, features, and the features that novelty is measured in.
        """
        features, texture = self._pooled(self._enlarged(images))
        return self.head(features) / self.temperature, features, texture

    def stretched(self, images):
        """Return raw images as the encoder takes them: stretched and enlarged."""
        return self._enlarged(self.stretch(images))

    def _enlarged(self, images):
        if self.field is not None:
            rim = (images.shape[-1] - self.field) // 2
            inside = slice(rim, rim + self.field)
            images = images[..., inside, inside]
        if self.input_size is None:
            return images
        size = (self.input_size, self.input_size)
        return functional.interpolate(images, size, mode='bilinear', align_corners=False)

    def _pooled(self, images):
        """Return the features of stretched images, and those that novelty is measured in."""
        if not hasattr(self.encoder, 'forward_stages'):
            features = self.encoder(images)
            return features, features
        # The encoder is in half precision where it is written so as ONNX.
        images = images.to(next(self.encoder.parameters()).dtype)
        features, maps = self.encoder.forward_stages(images)
        if self.stages:
            features = _pool(features, maps, self.stages)
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
