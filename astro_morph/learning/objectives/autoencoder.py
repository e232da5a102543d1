# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Auto-encoder: learn features from which the image can be reconstructed."""

import itertools

from torch import nn
from torch.nn import functional

__all__ = ['AutoEncoder', 'decoder']

# Channels of the decoder, from the features to the image; each layer doubles the side.
CHANNELS = (256, 128, 64, 32, 16)


class AutoEncoder(nn.Module):
    """
    Mean squared error of views reconstructed from their features.

    It is the baseline without contrast. What covers many pixels is learnt first, so the features
    hold brightness, size and orientation better than shape.

    Parameters
    ----------
    encoder : `torch.nn.Module`
        Network to train, with an attribute ``n_features``.
    views : RandomViews or FluxViews
        Draws the views.
    n_bands, size : int
        Bands, and side in pixels, of the views.
    """

    def __init__(self, encoder, views, *, n_bands, size):
        super().__init__()
        self.views = views
        self.encoder = encoder
        self.decoder = decoder(encoder.n_features, n_bands=n_bands, size=size)

    def forward(self, images, rows, generator, progress):
        """
        Draw a view of each image, and compare it with its reconstruction.

        The arguments are those of all objectives, see `astro_morph.learning.objectives`.

        Returns
        -------
        loss : `torch.Tensor`
            Mean squared error of the pixels.
        accuracy : `torch.Tensor`
            Fraction of the variance of the pixels that the reconstructions explain.
        """
        views = self.views(images, generator)
        loss = functional.mse_loss(self.decoder(self.encoder(views)).float(), views)
        return loss, 1 - loss.detach() / views.var(correction=0)


def decoder(n_features, *, n_bands, size):
    """
    Build the network that reconstructs images from features.

    Parameters
    ----------
    n_features : int
        Features of the encoder.
    n_bands, size : int
        Bands, and side in pixels, of the images.

    Returns
    -------
    decoder : `torch.nn.Sequential`
        Maps (n, n_features) to (n, n_bands, size, size).

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.objectives.autoencoder import decoder
    >>> decoder(512, n_bands=5, size=50)(torch.zeros(2, 512)).shape
    torch.Size([2, 5, 50, 50])
    """
    side = -(-size // 2 ** (len(CHANNELS) - 1))
    layers = [
        nn.Linear(n_features, CHANNELS[0] * side**2),
        nn.Unflatten(1, (CHANNELS[0], side, side)),
    ]
    for n_in, n_out in itertools.pairwise(CHANNELS):
        # Upsampling and convolution: a transposed convolution leaves a chequered pattern.
        layers += [
            nn.Upsample(scale_factor=2),
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
        ]
    resize = nn.Upsample((size, size), mode='bilinear')
    return nn.Sequential(*layers, resize, nn.Conv2d(CHANNELS[-1], n_bands, 3, padding=1))
