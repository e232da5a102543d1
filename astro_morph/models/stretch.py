# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Stretch pixel values for the network: images in flux, or pictures."""

import math

import torch
from torch import nn

from astro_morph.photometry.brightness import range_around

__all__ = ['FluxStretch', 'PictureStretch']


class PictureStretch(nn.Module):
    """
    Scale the pixel values of pictures from 0 to 255 to 0 to 1; missing pixels are black.

    Parameters
    ----------
    mean, std : sequence of float, shape (n_bands,), default=(nan,)
        Mean and standard deviation of the scaled pixels in each band; NaN if unknown.

    Attributes
    ----------
    gain, offset : `torch.Tensor`, shape (band, 1, 1)
        Scale the pictures of another survey to this mean and standard deviation, see `match`.
    """

    def __init__(self, mean=(math.nan,), std=(math.nan,)):
        super().__init__()
        mean, std = (torch.as_tensor(v, dtype=torch.float32).view(-1, 1, 1) for v in (mean, std))
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)
        self.register_buffer('gain', torch.ones_like(mean))
        self.register_buffer('offset', torch.zeros_like(mean))

    def forward(self, images):
        return torch.nan_to_num(images) / 255 * self.gain + self.offset

    def brightness(self):
        """Return the range of brightness around the mean of the training pictures."""
        # Through the gain, pictures of another survey have the same mean.
        mean = ((self.mean - self.offset) / self.gain).mean()
        return range_around([255 * float(mean)], 'picture')

    def match(self, mean, std):
        """Set gain and offset for pictures that have another mean and standard deviation."""
        # The standard deviation of a black band is zero.
        self.gain = self.std / std.clamp(min=1 / 255)
        self.offset = self.mean - mean * self.gain


class FluxStretch(nn.Module):
    r"""
    Compress flux so that faint arms and bright cores are both visible, and preserve colour.

    With :math:`x_b` the flux in units of the noise and :math:`I` the mean of :math:`|x_b|` over the
    bands, the stretched image is :math:`g\, x_b\, \mathrm{asinh}(I / \beta) / I` (Lupton et al.
    2004, PASP 116, 133, equation 2; with absolute values, since the mean of a defect that is
    bright in one band and negative in another is near zero). Missing and infinite pixels are set to
    zero, and others are cut at :math:`10^{15}` times the noise.

    Parameters
    ----------
    noise : sequence of float, shape (n_bands,)
        Noise of a pixel in each band, in the unit of the images.
    gain : float, default=1.0
        The factor g.
    """

    # The constant beta, in units of the noise: the stretch of fainter pixels is linear.
    SOFTENING = 3.0

    # In units of the noise: no flux is as bright, and its square is in the range of float32.
    LARGEST = 1e15

    def __init__(self, noise, *, gain=1.0):
        super().__init__()
        self.register_buffer('noise', torch.as_tensor(noise, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer('gain', torch.tensor(float(gain)))

    def forward(self, images):
        return self.compress(self.scale(images))

    def brightness(self):
        """Return the range of brightness around the noise of the training images."""
        return range_around(self.noise.flatten().tolist(), 'flux')

    def scale(self, images):
        """Return flux in units of the noise, with missing pixels set to zero."""
        signal = torch.nan_to_num(images, posinf=0.0, neginf=0.0) / self.noise
        return signal.clamp(-self.LARGEST, self.LARGEST)

    def compress(self, signal):
        """Compress flux in units of the noise."""
        # asinh(t) / t has the limit 1 at zero, where the division has none.
        t = (signal.abs().mean(1, keepdim=True) / self.SOFTENING).clamp(min=1e-4)
        # By a logarithm, since torch.asinh takes five times as long on the CPU.
        asinh = torch.log1p(t + t.square() / (1 + torch.sqrt(1 + t.square())))
        return signal * (self.gain / self.SOFTENING * asinh / t)
