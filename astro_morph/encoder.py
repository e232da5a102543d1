# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The estimator that turns galaxies into features, learnt without labels."""

import warnings
from numbers import Integral, Real

import astropy.units as u
import numpy as np
import torch
from astropy.utils.exceptions import AstropyUserWarning
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

import astro_morph
from astro_morph.augmentation import CONTRAST, SQUARE_SYMMETRIES, RandomViews
from astro_morph.bundled import bundled_path
from astro_morph.cutouts import CutoutSource, as_cutouts, holds_images
from astro_morph.fitting import (
    SMALLEST_SIDE,
    describe,
    network_for,
    seconds,
    seeded,
    stretched_images,
    usable,
)
from astro_morph.model import TorchModel, build_network
from astro_morph.networks import ARCHITECTURES
from astro_morph.prediction import ModelSpec, compute, request
from astro_morph.pretraining import MoCo, queue_size_for
from astro_morph.training import choose_device, progress_bar, sgd, train

__all__ = ['MorphologyEncoder']

# Views a contrastive training needs before its features are worth having; and no catalogue is
# so large that one pass is enough, nor so small that more than this many still teach.
VIEWS_WANTED = 400_000
EPOCHS_RANGE = (20, 200)

# Rate per 256 images, four times that of MoCo v2: with few galaxies there are few steps.
LEARNING_RATE = 0.12


class MorphologyEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """
    Turn images of galaxies into features of their shape, learnt without labels.

    A ResNet is pretrained by Momentum Contrast (He et al. 2020, arXiv:1911.05722; Chen et al.
    2020, arXiv:2003.04297). Features are those of the pooled backbone, averaged over the eight
    rotations and reflections of the square. Plain 2-D features are standardised.

    Parameters
    ----------
    method : {'moco'}, optional
        How the encoder is trained.
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from: a source, the name of a survey such as
        ``'legacy-dr10'``, the pattern of FITS mosaics, or ``'auto'`` for the table's column of
        image paths, else what ``astro_morph.conf.survey`` names.
    architecture : {'resnet18', 'resnet34', 'resnet50'}, optional
        The encoder.
    size : int, `~astropy.units.Quantity`, str or tuple, optional
        Side of the cutouts, in pixels or as an angle; or a column and a factor that it follows,
        such as ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`.
    bands : sequence of str or 'rgb', optional
        Bands to use, by default all; ``'rgb'`` for the colour pictures of a survey.
    epochs : int or 'auto', optional
        Passes over the images; ``'auto'`` takes the number of images into account.
    batch_size : int, optional
        Images a step.
    temperature, momentum : float, optional
        Temperature of the contrast, and share of its old weights that the momentum encoder keeps.
    queue_size : int or 'auto', optional
        Keys kept; ``'auto'`` takes min(4096, n / 4).
    device : str or `torch.device`, optional
        ``'auto'`` takes CUDA, else MPS, else the CPU.
    max_time : float or `~astropy.units.Quantity`, optional
        Time after which training ends, in seconds if it has no unit.
    random_state : int, `numpy.random.RandomState` or None, optional
        An integer makes the training repeat exactly on one machine.
    verbose : int, optional
        0 for silence.

    Attributes
    ----------
    history_ : list of dict
        A record an epoch: loss, contrastive accuracy, learning rate, seconds.
    model_ : `~astro_morph.model.TorchModel`
        The network and its specification.

    See Also
    --------
    MorphologyClassifier : Learns the classes.

    Examples
    --------
    >>> from astro_morph import MorphologyEncoder
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=16, random_state=0)
    >>> encoder = MorphologyEncoder(source=survey, epochs=1, random_state=0, verbose=0)
    >>> encoder.fit_transform(survey.catalogue).shape
    (16, 512)
    """

    _parameter_constraints = {
        'method': [StrOptions({'moco'})],
        'source': [str, CutoutSource],
        'architecture': [StrOptions(set(ARCHITECTURES))],
        'size': [
            None,
            Interval(Integral, SMALLEST_SIDE, None, closed='left'),
            u.Quantity,
            str,
            tuple,
        ],
        'bands': [None, str, 'array-like'],
        'epochs': [StrOptions({'auto'}), Interval(Integral, 1, None, closed='left')],
        'batch_size': [Interval(Integral, 2, None, closed='left')],
        'temperature': [Interval(Real, 0, None, closed='neither')],
        'momentum': [Interval(Real, 0, 1, closed='both')],
        'queue_size': [StrOptions({'auto'}), Interval(Integral, 1, None, closed='left')],
        'device': [str, torch.device],
        'max_time': [None, Interval(Real, 0, None, closed='neither'), u.Quantity],
        'random_state': ['random_state'],
        'verbose': ['verbose'],
    }

    def __init__(
        self,
        method='moco',
        source='auto',
        *,
        architecture='resnet18',
        size=None,
        bands=None,
        epochs='auto',
        batch_size=256,
        temperature=0.1,
        momentum=0.99,
        queue_size='auto',
        device='auto',
        max_time=None,
        random_state=None,
        verbose=1,
    ):
        self.method = method
        self.source = source
        self.architecture = architecture
        self.size = size
        self.bands = bands
        self.epochs = epochs
        self.batch_size = batch_size
        self.temperature = temperature
        self.momentum = momentum
        self.queue_size = queue_size
        self.device = device
        self.max_time = max_time
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None):
        """
        Train the encoder on every row that has an image.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            A catalogue, positions, cutouts, images (n, band, y, x), or plain features (n, d).
        y : None
            Not used: the encoder learns without labels.

        Returns
        -------
        self : MorphologyEncoder
            The fitted encoder.
        """
        self._validate_params()
        if not holds_images(X):
            return self._fit_features(validate_data(self, X, dtype=np.float64))
        cutouts = usable(as_cutouts(X, source=self.source, size=self.size, bands=self.bands))
        device = choose_device(self.device)
        with seeded(self.random_state) as seed:
            spec = describe(cutouts, architecture=self.architecture, views=SQUARE_SYMMETRIES)
            network = network_for(cutouts, spec)
            images = stretched_images(network, cutouts)
            batch_size = min(self.batch_size, len(images))
            objective = MoCo(
                network.encoder,
                RandomViews(spec.input_size, field=spec.size, **CONTRAST),
                queue_size=self._queue_size(len(images), batch_size),
                temperature=self.temperature,
                momentum=self.momentum,
            ).to(device, memory_format=torch.channels_last)
            self.history_ = train(
                objective,
                images,
                sgd(objective, learning_rate=LEARNING_RATE * batch_size / 256),
                epochs=_epochs(self.epochs, len(images)),
                batch_size=batch_size,
                device=device,
                random_state=seed,
                max_time=seconds(self.max_time),
                description='pretraining',
                verbose=bool(self.verbose),
            )
        self.model_ = TorchModel(spec, network, device=device).stamped(astro_morph.__version__)
        return self

    def transform(self, X):
        """
        Give the features of samples.

        Parameters
        ----------
        X : object
            Samples as in `fit`.

        Returns
        -------
        features : ndarray, shape (n, d)
            NaN in the rows without an image.
        """
        check_is_fitted(self)
        if not holds_images(X):
            X = validate_data(self, X, dtype=np.float64, reset=False)
        else:
            X = as_cutouts(X, **request(self.model_.spec, self.source))
        with progress_bar(len(X), 'encoding', verbose=bool(self.verbose)) as bar:
            return compute(self.model_, X, bar=bar)[1]

    def neighbors(self, X, n=10):
        """
        Find the galaxies that look most like each other.

        Parameters
        ----------
        X : object
            Samples as in `fit`.
        n : int, optional
            Neighbours of each.

        Returns
        -------
        rows : ndarray of int, shape (len(X), n)
            Row numbers, nearest first, by the angle between features; the galaxy itself is left
            out, and -1 stands in the rows without an image.
        """
        features = self.transform(X)
        is_ok = np.isfinite(features).all(axis=1)
        known = np.flatnonzero(is_ok)
        index = NearestNeighbors(n_neighbors=n, metric='cosine').fit(features[known])
        rows = np.full((len(features), n), -1)
        rows[known] = known[index.kneighbors(return_distance=False)]
        return rows

    def save(self, path):
        """
        Write the encoder to a file, which `load` reads.

        Parameters
        ----------
        path : path
            The file.
        """
        check_is_fitted(self)
        self.model_.save(path)

    @classmethod
    def load(cls, path, **parameters):
        """
        Read an encoder from a file; no code in the file is run.

        Parameters
        ----------
        path : path
            The file.
        **parameters
            Parameters of the encoder, such as ``source`` and ``device``.

        Returns
        -------
        encoder : MorphologyEncoder
            The fitted encoder.
        """
        encoder = cls(**parameters)
        encoder.model_ = TorchModel.load(path, device=choose_device(encoder.device))
        return encoder

    @classmethod
    def from_pretrained(cls, name, **parameters):
        """
        Load an encoder that comes with the package.

        Parameters
        ----------
        name : str
            Its name, such as ``'sdss-moco-resnet18'``.
        **parameters
            Parameters of the encoder.

        Returns
        -------
        encoder : MorphologyEncoder
            The fitted encoder.
        """
        return cls.load(bundled_path(name), **parameters)

    @property
    def _n_features_out(self):
        return self.model_.network.encoder.n_features

    def _fit_features(self, X):
        spec = ModelSpec(architecture='features', views=1)
        network = build_network(spec, n_features=X.shape[1])
        scaler = StandardScaler().fit(X)
        network.encoder.running_mean.copy_(torch.from_numpy(scaler.mean_))
        network.encoder.running_var.copy_(torch.from_numpy(scaler.scale_**2))
        self.model_ = TorchModel(spec, network).stamped(astro_morph.__version__)
        self.history_ = []
        return self

    def _queue_size(self, n_samples, batch_size):
        if self.queue_size == 'auto':
            return queue_size_for(n_samples, batch_size)
        if self.queue_size > n_samples:
            warnings.warn(
                f'queue_size={self.queue_size} is longer than the {n_samples} galaxies: it fills '
                "with other views of the same ones, which teach little; queue_size='auto' takes "
                f'{queue_size_for(n_samples, batch_size)}',
                AstropyUserWarning,
                stacklevel=3,
            )
        return self.queue_size


def _epochs(epochs, n_samples):
    return int(np.clip(VIEWS_WANTED // n_samples, *EPOCHS_RANGE)) if epochs == 'auto' else epochs
