# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the estimators share: seeds, networks made for some cutouts, and stretched images."""

import contextlib

import astropy.units as u
import numpy as np
import torch
from sklearn.utils import check_random_state

from astro_morph.model import build_network
from astro_morph.networks import FluxStretch, adapt_bands, input_side
from astro_morph.prediction import ModelSpec
from astro_morph.preprocessing import border_noise

__all__ = ['describe', 'network_for', 'seconds', 'seeded', 'stretched_images', 'usable']

# In smaller images the last layers see one pixel: in bfloat16 on a CPU, PyTorch then gives the
# weights that meet no pixel gradients from uninitialised memory.
SMALLEST_SIDE = 17

# Flux is stretched to this rms, that of the SDSS colour pictures between 0 and 1, so that an
# encoder that was pretrained on pictures sees what it knows.
STRETCHED_RMS = 0.16

# Cutouts from which noise and brightness are measured: more change neither.
MEASURED = 1000

# Bands by wavelength: weights that learnt them in one direction are turned for the other.
BY_WAVELENGTH = ('u', 'blue', 'g', 'green', 'r', 'red', 'i', 'z', 'y', 'Y', 'J', 'H', 'K', 'Ks')


def seconds(time):
    """Turn a time, in seconds or a quantity, into seconds; None stays None."""
    return None if time is None else u.Quantity(time, u.s).to_value(u.s)


@contextlib.contextmanager
def seeded(random_state):
    """
    Make random weights repeat, and leave PyTorch's global generator as it was.

    Parameters
    ----------
    random_state : None, int or `numpy.random.RandomState`
        As scikit-learn takes it.

    Yields
    ------
    seed : int
        A seed for generators.
    """
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    with torch.random.fork_rng(devices=[]):
        # Only the CPU's: that of the GPU is not forked, and weights are drawn on the CPU.
        torch.default_generator.manual_seed(seed)
        yield seed


def usable(cutouts):
    """
    Give the rows that have an image.

    Raises
    ------
    ValueError
        If no row has one; says why.
    """
    if not cutouts.is_ok.any():
        reasons, counts = np.unique(cutouts.status, return_counts=True)
        why = ', '.join(f'{n} {reason}' for reason, n in zip(reasons, counts, strict=True))
        msg = f'X has no row with an image ({why or "it is empty"}); check source= and the paths'
        raise ValueError(msg)
    return cutouts[cutouts.is_ok]


def describe(cutouts, *, architecture, views, enlarge=True):
    """
    Write down what a model that is trained on some cutouts takes.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The training cutouts.
    architecture : str
        The encoder.
    views : int
        Views that a prediction averages.
    enlarge : bool, optional
        Whether the encoder sees small images enlarged.

    Returns
    -------
    spec : `~astro_morph.prediction.ModelSpec`
        The specification, without classes.

    Raises
    ------
    ValueError
        If the cutouts are not square, or too small.
    """
    ny, nx = cutouts.shape[2:]
    if ny != nx or nx < SMALLEST_SIDE:
        msg = (
            f'images must be square, of at least {SMALLEST_SIDE} pixels a side, '
            f'got {ny} x {nx} pixels; cut them, or fetch with size='
        )
        raise ValueError(msg)
    scale = cutouts.pixel_scale
    has_one_scale = scale is not None and scale.isscalar
    return ModelSpec(
        bands=cutouts.bands,
        size=nx,
        input_size=input_side(nx) if enlarge else None,
        pixel_scale=float(scale.to_value(u.arcsec)) if has_one_scale else None,
        framing=cutouts.framing,
        kind=cutouts.kind,
        architecture=architecture,
        views=views,
    )


def network_for(cutouts, spec, *, start=None):
    """
    Make a network whose stretch fits the cutouts.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Cutouts with images.
    spec : `~astro_morph.prediction.ModelSpec`
        What the network is to take and give.
    start : `~astro_morph.model.TorchModel`, optional
        Model whose encoder is the start; random weights by default.

    Returns
    -------
    network : `~astro_morph.networks.MorphologyNetwork`
        The network.
    """
    network = build_network(spec)
    if spec.kind == 'flux':
        # A copy, here and below: PyTorch takes no read-only or mirrored arrays.
        sample = cutouts.images[:: max(1, len(cutouts) // MEASURED)].copy()
        noise = border_noise(sample)
        # The median over images: one defect is not to dim all galaxies.
        power = FluxStretch(noise)(torch.from_numpy(sample)).square().mean(dim=(1, 2, 3))
        gain = STRETCHED_RMS / max(float(power.median().sqrt()), 1e-6)
        network.stretch = FluxStretch(noise, gain=gain)
    if start is not None:
        weights = adapt_bands(
            start.network.encoder.state_dict(),
            len(spec.bands),
            reverse=_is_reddening(spec.bands) != _is_reddening(start.spec.bands),
        )
        network.encoder.load_state_dict(weights)
    return network


@torch.no_grad()
def stretched_images(network, cutouts):
    """
    Stretch the cutouts once, for training.

    Returns
    -------
    images : `torch.Tensor` of float16, shape (n, band, y, x)
        Half precision: the stretch leaves no range to lose.
    """
    starts = range(0, len(cutouts), MEASURED)
    batches = (cutouts.images[start : start + MEASURED].copy() for start in starts)
    return torch.cat([network.stretch(torch.from_numpy(batch)).half() for batch in batches])


def _is_reddening(bands):
    """Tell whether bands run from blue to red; unknown ones are taken as red first."""
    if not set(bands) <= set(BY_WAVELENGTH) or len(bands) < 2:
        return False
    return BY_WAVELENGTH.index(bands[0]) < BY_WAVELENGTH.index(bands[-1])
