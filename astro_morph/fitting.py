# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the estimators share: seeds, networks made for some cutouts, images and views of them."""

import contextlib
import dataclasses

import astropy.units as u
import numpy as np
import torch
from astropy.table import Table
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from astro_morph import conf, surveys
from astro_morph.augmentation import FluxViews, RandomConditions, RandomViews
from astro_morph.catalog import read_labels
from astro_morph.cleaning import preprocess
from astro_morph.cutouts import as_cutouts, catalogue_of, holds_images
from astro_morph.model import build_network
from astro_morph.networks import FluxStretch, PictureStretch, adapt_bands, input_side
from astro_morph.prediction import ModelSpec
from astro_morph.preprocessing import Preprocessor
from astro_morph.sky import border_noise

__all__ = [
    'FEATURE_STAGES',
    'describe',
    'encode_labels',
    'fetch',
    'labels_of',
    'measured_stretch',
    'network_for',
    'seconds',
    'seeded',
    'survey_of',
    'training_images',
    'training_views',
    'usable',
]

# Their scatter in frozen features helps by one to five points of accuracy on SDSS pictures.
FEATURE_STAGES = (2, 3, 4)

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

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        All rows.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        Those whose status is ok.

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
    # Not copied where nothing is left out: the images may be a file that memory can't hold.
    return cutouts if cutouts.is_ok.all() else cutouts[cutouts.is_ok]


def labels_of(X, y, label_column):
    """
    Read the labels of samples.

    Parameters
    ----------
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`, or plain features.
    y : array_like, shape (n,), or None
        The labels, if they are not in the catalogue.
    label_column : str
        Column of the catalogue that holds them.

    Returns
    -------
    labels : ndarray, shape (n,)
        The labels.
    is_labelled : ndarray of bool, shape (n,)
        False where they are masked or empty.

    Raises
    ------
    ValueError
        If there are no labels.
    """
    if y is not None:
        check_consistent_length(X, y)
        return read_labels(Table([y], names=['y']), 'y')
    table = catalogue_of(X) if holds_images(X) else None
    if table is None:
        msg = (
            'to learn from labels requires y to be passed, but the target y is None: '
            'X is no table that could hold the labels'
        )
        raise ValueError(msg)
    return read_labels(table, label_column)


def encode_labels(labels, *, of=''):
    """
    Give each class a number.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        The labels, without those that are masked.
    of : str, optional
        Which labels they are, for the error.

    Returns
    -------
    classes : ndarray, shape (n_classes,)
        The classes, sorted.
    target : ndarray of int, shape (n,)
        Index of the class of each label.

    Raises
    ------
    ValueError
        If there are fewer than two classes.
    """
    classes, target = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        msg = (
            f'the labels{of} hold {len(classes)} class{"es" * (len(classes) != 1)} '
            f'{classes.tolist()}; a classifier needs at least two classes: label some galaxies of '
            'another'
        )
        raise ValueError(msg)
    return classes, target


def fetch(estimator, X):
    """
    Fetch the cutouts that an estimator is to learn from, and clean them.

    Parameters
    ----------
    estimator : object
        Has ``source``, ``size``, ``bands`` and ``preprocessing``.
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`.

    Returns
    -------
    raw, clean : `~astro_morph.CutoutSet`
        The cutouts as they came, and clean.
    settings : dict or None
        Those of the preprocessing.

    Raises
    ------
    ValueError
        If no row has an image, or the images are not square, or too small.
    """
    raw = as_cutouts(X, source=estimator.source, size=estimator.size, bands=estimator.bands)
    # Before it takes time to clean them.
    usable(raw)
    _side(raw)
    preprocessor = estimator.preprocessing
    if preprocessor == 'auto':
        preprocessor = Preprocessor() if raw.kind == 'flux' else None
    settings = None if preprocessor is None else preprocessor.settings()
    return raw, preprocess(raw, settings), settings


def describe(cutouts, *, architecture, views, stages=(), preprocessing=None, enlarge=True):
    """
    Write down what a model that is trained on some cutouts takes.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The training cutouts, as they came from the source.
    architecture : str
        The encoder.
    views : int
        Views that a prediction averages.
    stages : tuple of int, optional
        Stages of the encoder whose scatter the features hold beside the mean of the last one.
    preprocessing : dict, optional
        How they are cleaned.
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
    side = _side(cutouts)
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


def _side(cutouts):
    ny, nx = cutouts.shape[2:]
    if ny != nx or nx < SMALLEST_SIDE:
        msg = (
            f'images must be square, of at least {SMALLEST_SIDE} pixels a side, '
            f'got {ny} x {nx} pixels; cut them, or fetch with size='
        )
        raise ValueError(msg)
    return nx


def measured_stretch(cutouts):
    """
    Make the stretch that fits the noise and the brightness of cutouts.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Cutouts with images.

    Returns
    -------
    stretch : `~astro_morph.networks.FluxStretch` or `~astro_morph.networks.PictureStretch`
        Flux gets the brightness of the pictures on which the bundled encoder was trained; of
        pictures it is only written down what they are like.
    """
    # A copy, here and below: PyTorch takes no read-only or mirrored arrays.
    sample = cutouts.images[:: max(1, len(cutouts) // MEASURED)].copy()
    if cutouts.kind == 'picture':
        return PictureStretch(*(f(sample / 255.0, axis=(0, 2, 3)) for f in (np.nanmean, np.nanstd)))
    noise = border_noise(sample)
    # The median over images: one defect is not to dim all galaxies.
    power = FluxStretch(noise)(torch.from_numpy(sample)).square().mean(dim=(1, 2, 3))
    gain = STRETCHED_RMS / max(float(power.median().sqrt()), 1e-6)
    return FluxStretch(noise, gain=gain)


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
    network.stretch = measured_stretch(cutouts)
    if start is not None:
        weights = adapt_bands(
            start.network.encoder.state_dict(),
            len(spec.bands),
            reverse=_is_reddening(spec.bands) != _is_reddening(start.spec.bands),
        )
        network.encoder.load_state_dict(weights)
    return network


@torch.no_grad()
def training_images(network, cutouts):
    """
    Give what views are drawn from, for training.

    Parameters
    ----------
    network : `~astro_morph.networks.MorphologyNetwork`
        The network, on the CPU.
    cutouts : `~astro_morph.CutoutSet`
        The cutouts.

    Returns
    -------
    images : ndarray of uint8 or float16, shape (n, band, y, x)
        The bytes of pictures as they are, not copied; other pictures from 0 to 1; or flux in units
        of the noise, without holes, which is stretched after it was seen in other conditions.
        `~astro_morph.batches.Batches` takes them.
    """
    if cutouts.images.dtype == np.uint8:
        return cutouts.images
    scale = network.stretch.scale if cutouts.kind == 'flux' else network.stretch
    # A star may be brighter than half precision can hold: after the stretch, it hardly matters.
    largest = torch.finfo(torch.float16).max
    scaled = np.empty(cutouts.shape, np.float16)
    for start in range(0, len(cutouts), MEASURED):
        part = slice(start, start + MEASURED)
        batch = scale(torch.from_numpy(cutouts.images[part].copy()))
        scaled[part] = batch.clamp_(-largest, largest).half()
    return scaled


def training_views(network, spec, recipe, *, survey=None):
    """
    Make what draws the views that a network is trained on.

    Parameters
    ----------
    network : `~astro_morph.networks.MorphologyNetwork`
        The network: its stretch is used.
    spec : `~astro_morph.prediction.ModelSpec`
        What it takes.
    recipe : dict
        Options of `~astro_morph.augmentation.RandomViews`. Its noise is for pictures: the noise of
        flux is that of the survey.
    survey : `~astro_morph.surveys.Survey`, optional
        Whose images they are, where it is known.

    Returns
    -------
    views : `~astro_morph.augmentation.RandomViews` or `~astro_morph.augmentation.FluxViews`
        Takes what `training_images` gives.
    """
    views = RandomViews(spec.input_size or spec.size, field=spec.size, **recipe)
    if spec.kind == 'picture':
        return views
    conditions = RandomConditions.of(spec.bands, survey=survey, pixel_scale=spec.pixel_scale)
    return FluxViews(conditions, network.stretch.compress, dataclasses.replace(views, noise=0.0))


def survey_of(source):
    """Give the survey whose images a source has, None where that is not known."""
    if source == 'auto':
        source = conf.survey
    return surveys.get(source) if surveys.is_known(source) else getattr(source, 'survey', None)


def _is_reddening(bands):
    """Tell whether bands run from blue to red; unknown ones are taken as red first."""
    if not set(bands) <= set(BY_WAVELENGTH) or len(bands) < 2:
        return False
    return BY_WAVELENGTH.index(bands[0]) < BY_WAVELENGTH.index(bands[-1])
