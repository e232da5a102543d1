# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Build the model for a set of training cutouts: specification, stretch, starting weights."""

import dataclasses

import astropy.units as u
import numpy as np
import torch

from astro_morph.catalog.bands import runs_blue_to_red
from astro_morph.models.encoders.bands import adapt_bands
from astro_morph.models.networks import SQUARE_SYMMETRIES, input_side
from astro_morph.models.spec import SMALLEST_SIDE, ModelSpec
from astro_morph.models.stretch import FluxStretch, PictureStretch, flux_stretch
from astro_morph.models.torch_model import TorchModel, build_network
from astro_morph.photometry.brightness import brightness_range, measure_brightness
from astro_morph.photometry.extent import extent_of, measure_extent
from astro_morph.photometry.sky import border_noise
from astro_morph.utils.messages import as_written

__all__ = [
    'FEATURE_STAGES',
    'build_model',
    'build_spec',
    'known_brightness',
    'known_extent',
    'measure_stretch',
    'side_of',
]

# Stages of the encoder whose scatter is part of the features. This gains one to five points of
# accuracy on SDSS pictures.
FEATURE_STAGES = (2, 3, 4)

# Flux is stretched to this rms, that of SDSS colour pictures between 0 and 1, so that an encoder
# that was pretrained on pictures sees images of the same brightness.
STRETCHED_RMS = 0.16

# Number of cutouts on which noise and brightness are measured; more do not change the result.
MEASURED = 1000


def build_model(
    raw,
    clean,
    *,
    architecture,
    start=None,
    is_frozen=False,
    preprocessing=None,
    device='cpu',
    **spec,
):
    """
    Build the model that is trained on some cutouts: its specification and its network.

    Parameters
    ----------
    raw, clean : `~astro_morph.CutoutSet`
        The cutouts as they came from the source; and those with an image, cleaned.
    architecture : str
        Architecture of the encoder, where it starts from random weights.
    start : `~astro_morph.models.torch_model.TorchModel`, default=None
        Model whose encoder is the start; random weights if None.
    is_frozen : bool, default=False
        Whether that encoder is not trained: it then sees galaxies of the size of its training.
    preprocessing : dict, default=None
        Settings of the preprocessing.
    device : `torch.device`, default='cpu'
        Where the model runs.
    **spec
        ``views`` and ``stages`` of `build_spec`.

    Returns
    -------
    model : `~astro_morph.models.torch_model.TorchModel`
        The model, without classes.

    Raises
    ------
    ValueError
        If the cutouts are not square, or too small.
    """
    architecture = start.spec.architecture if start else architecture
    spec = build_spec(
        raw,
        architecture=architecture,
        preprocessing=preprocessing,
        enlarge=not (is_frozen and start) or start.spec.input_size is not None,
        **spec,
    )
    spec = dataclasses.replace(spec, brightness=known_brightness(clean), extent=known_extent(clean))
    if start is not None and start.spec.contract is not None:
        spec = _under_contract(spec, start.spec)
    network = build_network(spec)
    network.stretch = measure_stretch(clean, spec)
    if start is not None:
        weights = adapt_bands(
            start.network.encoder.state_dict(),
            len(spec.channels),
            reverse=_is_reverse(spec, start.spec),
            first_layer=network.encoder.first_layer,
        )
        network.encoder.load_state_dict(weights)
    return TorchModel(spec, network, device=device)


def _under_contract(spec, start):
    """Return the specification of a model that starts from a published encoder."""
    contract = start.contract.for_images(spec.bands, spec.kind, reverse=_is_reverse(spec, start))
    return dataclasses.replace(
        spec,
        contract=contract,
        arguments=start.arguments,
        input_size=contract.input_size,
        # Its features are those that were published.
        stages=start.stages,
    )


def _is_reverse(spec, start):
    return runs_blue_to_red(spec.channels) != runs_blue_to_red(start.channels)


def build_spec(
    cutouts,
    *,
    architecture,
    preprocessing=None,
    views=SQUARE_SYMMETRIES,
    stages=FEATURE_STAGES,
    enlarge=True,
):
    """
    Build the ModelSpec of a model trained on these cutouts.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The training cutouts, as they came from the source.
    architecture : str
        Architecture of the encoder.
    preprocessing : dict, default=None
        Settings of the preprocessing.
    views : int, default=8
        Number of views that a prediction averages.
    stages : tuple of int, default=(2, 3, 4)
        Stages of the encoder whose scatter the features hold beside the mean of the last one.
    enlarge : bool, default=True
        Whether small images are enlarged before the encoder.

    Returns
    -------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification, without classes.

    Raises
    ------
    ValueError
        If the cutouts are not square, or too small.
    """
    side = side_of(cutouts)
    scale = cutouts.pixel_scale
    has_one_scale = scale is not None and scale.isscalar
    return ModelSpec(
        bands=cutouts.bands,
        size=side,
        input_size=input_side(side) if enlarge else None,
        pixel_scale=float(scale.to_value(u.arcsec)) if has_one_scale else None,
        framing=cutouts.framing,
        kind=cutouts.kind,
        preprocessing=preprocessing,
        architecture=architecture,
        views=views,
        stages=stages,
    )


def side_of(cutouts):
    """
    Return the side of the images in pixels.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts.

    Returns
    -------
    side : int
        The side.

    Raises
    ------
    ValueError
        If the images are not square, or too small.
    """
    ny, nx = cutouts.shape[2:]
    if ny != nx or nx < SMALLEST_SIDE:
        msg = (
            f'images must be square, of at least {SMALLEST_SIDE} pixels a side, '
            f'got {ny} x {nx} pixels; cut them, or fetch with {as_written("size")}='
        )
        raise ValueError(msg)
    return nx


def measure_stretch(cutouts, spec):
    """
    Measure the noise and brightness of cutouts, and build the stretch for them.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Cutouts with images.
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model.

    Returns
    -------
    stretch : FluxStretch or PictureStretch
        Scales flux to the brightness of the pictures on which the bundled encoder was trained;
        leaves pictures as they are, and records their mean and standard deviation.
    """
    sample, variance = _sample(cutouts), cutouts.variance
    if cutouts.kind == 'picture':
        return PictureStretch(*(f(sample / 255.0, axis=(0, 2, 3)) for f in (np.nanmean, np.nanstd)))
    noise = border_noise(sample, None if variance is None else variance[:: _step(cutouts)])
    # The median over images, so that a defect in one image does not dim all galaxies.
    power = FluxStretch(noise)(torch.from_numpy(sample)).square().mean(dim=(1, 2, 3))
    gain = STRETCHED_RMS / max(float(power.median().sqrt()), 1e-6)
    return flux_stretch(noise, spec, gain=gain)


def known_brightness(cutouts):
    """
    Measure the range of brightness of training cutouts.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Cutouts with images.

    Returns
    -------
    known : dict
        As `~astro_morph.photometry.brightness.brightness_range` returns it.
    """
    brightness = measure_brightness(_sample(cutouts), cutouts.kind)
    return brightness_range(brightness, cutouts.kind)


def known_extent(cutouts):
    """
    Measure the range of flux, size and noise of training galaxies.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Cutouts with images.

    Returns
    -------
    known : dict or None
        As `~astro_morph.photometry.extent.extent_of` returns it.
    """
    return extent_of(measure_extent(_sample(cutouts)))


def _sample(cutouts):
    # Copied, since PyTorch takes no read-only or mirrored arrays.
    return cutouts[:: _step(cutouts)].filled().copy()


def _step(cutouts):
    return max(1, len(cutouts) // MEASURED)
