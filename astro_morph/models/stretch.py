# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Stretch of pixel values before the network: flux or pictures."""

import math

import torch
from torch import nn

__all__ = ['FluxStretch', 'PictureStretch']


class PictureStretch(nn.Module):
    """
    Bring the 0 to 255 of a picture to 0 to 1; a missing pixel is black.

    Parameters
    ----------
    mean, std : sequence of float, one a band, optional
        Mean and standard deviation of the pixels of the pictures, from 0 to 1, where known.

    Attributes
    ----------
    gain, offset : `torch.Tensor`, shape (band, 1, 1)
        What brings the pictures of another survey to this mean and deviation, see `match`.
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

    def match(self, mean, std):
        """Bring pictures of another mean and standard deviation to those that are known."""
        # A band that is all black has nothing to be brought up.
        self.gain = self.std / std.clamp(min=1 / 255)
        self.offset = self.mean - mean * self.gain


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
        return self.compress(self.scale(images))

    def scale(self, images):
        """Give flux in units of the noise, without holes."""
        return torch.nan_to_num(images, posinf=0.0, neginf=0.0) / self.noise

    def compress(self, signal):
        """Compress flux in units of the noise."""
        # asinh(t) / t has the limit 1 at zero, where the division has none.
        t = (signal.abs().mean(1, keepdim=True) / self.SOFTENING).clamp(min=1e-4)
        # As a logarithm: PyTorch's own asinh takes five times as long on the CPU.
        asinh = torch.log1p(t + t.square() / (1 + torch.sqrt(1 + t.square())))
        return signal * (self.gain / self.SOFTENING * asinh / t)
