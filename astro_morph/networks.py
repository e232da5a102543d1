# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Encoders and heads, with the layers named as torchvision names them."""

import torch
import torchvision
from torch import nn
from torch.nn import functional

from astro_morph.augmentation import square_views

__all__ = [
    'ARCHITECTURES',
    'FluxStretch',
    'MorphologyNetwork',
    'PictureStretch',
    'adapt_bands',
    'input_side',
    'projection_head',
    'resnet',
]

ARCHITECTURES = ('resnet18', 'resnet34', 'resnet50')

# A ResNet's first two layers divide the image by four, and spiral arms are a few pixels wide:
# enlarged, small images keep them. Larger ones have pixels enough.
ENLARGEMENT = 1.5
LARGEST_ENLARGED = 96


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
    >>> from astro_morph.networks import resnet
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


class PictureStretch(nn.Module):
    """Bring the 0 to 255 of a picture to 0 to 1; a missing pixel is black."""

    def forward(self, images):
        return torch.nan_to_num(images) / 255


class FluxStretch(nn.Module):
    r"""
    Compress flux so that faint arms and bright cores are both seen, and colour is kept.

    With :math:`x_b` the flux in units of the noise and :math:`I` the mean of :math:`|x_b|` over the
    bands, the stretched image is :math:`g\, x_b\, \mathrm{asinh}(I / \beta) / I` (Lupton et al.
    2004, PASP 116, 133, equation 2; absolute values keep a defect that is bright in one band and
    negative in another from escaping the asinh). A missing or infinite pixel is sky.

    Parameters
    ----------
    noise : sequence of float, one a band
        Noise of a pixel, in the unit of the images.
    gain : float, optional
        The factor g.
    """

    # In units of the noise: below it the stretch is linear, so that noise stays noise.
    SOFTENING = 3.0

    def __init__(self, noise, *, gain=1.0):
        super().__init__()
        self.register_buffer('noise', torch.as_tensor(noise, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer('gain', torch.tensor(float(gain)))

    def forward(self, images):
        signal = torch.nan_to_num(images, posinf=0.0, neginf=0.0) / self.noise
        # asinh(t) / t has the limit 1 at zero, where the division has none.
        t = (signal.abs().mean(1, keepdim=True) / self.SOFTENING).clamp(min=1e-4)
        return signal * self.gain * torch.asinh(t) / t / self.SOFTENING


class MorphologyNetwork(nn.Module):
    """
    The whole way from raw images to logits and features, averaged over the views of the square.

    Parameters
    ----------
    stretch, encoder, head : `torch.nn.Module`
        Raw images to stretched ones, those to features, and features to logits.
    input_size : int, optional
        Side to which the images are enlarged before the encoder; by default they are not.
    views : {1, 8}, optional
        8 averages the rotations and reflections of the square: a galaxy has no up.

    Attributes
    ----------
    temperature : `torch.Tensor`
        The logits are divided by it (Guo et al. 2017, arXiv:1706.04599).
    """

    def __init__(self, stretch, encoder, head, *, input_size=None, views=8):
        super().__init__()
        self.stretch = stretch
        self.encoder = encoder
        self.head = head
        self.input_size = input_size
        self.views = views
        self.register_buffer('temperature', torch.tensor(1.0))

    def forward(self, images):
        features = self.features(images)
        return self.head(features) / self.temperature, features

    def features(self, images):
        """Turn raw images (n, band, y, x) into features (n, d), averaged over the views."""
        images = self.stretch(images)
        if self.input_size is not None:
            size = (self.input_size, self.input_size)
            images = functional.interpolate(images, size, mode='bilinear', align_corners=False)
        if self.views == 1:
            return self.encoder(images)
        views = torch.cat(square_views(images))
        return self.encoder(views).unflatten(0, (self.views, -1)).mean(0)
