# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Stretch pixel values for the network: images in flux, or pictures."""

import math

import torch
from torch import nn

from astro_morph.catalog.bands import sort_bands
from astro_morph.images.euclid_pictures import EUCLID_CUT, EUCLID_FACTORS
from astro_morph.photometry.brightness import range_around

__all__ = ['EuclidStretch', 'FluxStretch', 'PictureStretch', 'flux_stretch']


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
    limits : tuple of float, default=None
        Range that the stretched pixels are cut to, for encoders of pictures; not cut if None.
    """

    # The constant beta, in units of the noise: the stretch of fainter pixels is linear.
    SOFTENING = 3.0

    # In units of the noise: no flux is as bright, and its square is in the range of float32.
    LARGEST = 1e15

    def __init__(self, noise, *, gain=1.0, limits=None):
        super().__init__()
        self.limits = limits
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
        stretched = signal * (self.gain / self.SOFTENING * _asinh(t) / t)
        return stretched if self.limits is None else stretched.clamp(*self.limits)


class EuclidStretch(FluxStretch):
    r"""
    Compress flux of Euclid as for the encoders that were trained on its galaxies.

    The flux :math:`f` of a band becomes :math:`\mathrm{asinh}(q f)`, with q = 100 in VIS and 0.2
    in Y, cut to 0 and its percentile of 99.85, and each channel is scaled to 0 to 1 by its minimum
    and maximum (Euclid Collaboration: Walmsley et al. 2025, arXiv:2503.15310). The channels are Y,
    the mean of both, and VIS; or VIS alone.

    Parameters
    ----------
    noise : sequence of float, shape (n_bands,)
        Noise of a pixel in each band, in the unit of the images, which is that of the mosaics.
    bands : tuple of str
        The bands, VIS and Y in any order, or VIS.
    """

    def __init__(self, noise, bands):
        super().__init__(noise)
        self._order = [bands.index(band) for band in sort_bands(bands)]
        factors = torch.tensor([*EUCLID_FACTORS.values()][: len(bands)], device='cpu')
        self.register_buffer('factors', factors.view(-1, 1, 1))

    def compress(self, signal):
        """Compress flux in units of the noise, and make the channels."""
        bands = (signal * self.noise).clamp(min=0).split(1, dim=1)
        flux = torch.cat([bands[place] for place in self._order], 1)
        visible, *infrared = _asinh(_cut(flux) * self.factors).split(1, dim=1)
        channels = visible
        if infrared:
            channels = torch.cat([infrared[0], (visible + infrared[0]) / 2, visible], 1)
        low, high = channels.amin((2, 3), keepdim=True), channels.amax((2, 3), keepdim=True)
        return (channels - low) / (high - low).clamp(min=1e-6)


def _asinh(t):
    """Return asinh of what is positive; torch.asinh takes five times as long on the CPU."""
    return torch.log1p(t + t.square() / (1 + torch.sqrt(1 + t.square())))


def _cut(flux):
    """Cut the brightest pixels of each band; not by torch.quantile, which ONNX lacks."""
    pixels = flux.flatten(2)
    place = EUCLID_CUT * (pixels.shape[2] - 1)
    n_above = pixels.shape[2] - int(place)
    brightest = pixels.topk(n_above, dim=2).values
    low, high = brightest[..., -1:], brightest[..., max(n_above - 2, 0) : n_above - 1]
    limit = low + (place - int(place)) * (high - low)
    return torch.minimum(pixels, limit).unflatten(2, flux.shape[2:])


def flux_stretch(noise, spec, *, gain=1.0):
    """
    Build the stretch of a model of flux.

    Parameters
    ----------
    noise : sequence of float, shape (n_bands,)
        Noise of a pixel in each band.
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model, whose encoder may have a contract.
    gain : float, default=1.0
        Factor of the brightness, where the contract does not fix it.

    Returns
    -------
    stretch : FluxStretch
        The stretch.
    """
    if spec.contract is None:
        return FluxStretch(noise, gain=gain)
    if spec.contract.stretch == 'euclid':
        return EuclidStretch(noise, spec.bands)
    return FluxStretch(noise, gain=gain, limits=spec.contract.range)
