# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MorphologyEncoder: turn galaxies into features, learnt with or without labels."""

import os
import warnings
from numbers import Integral, Real
from typing import NamedTuple

import astropy.units as u
import numpy as np
import torch
from astropy.utils.exceptions import AstropyUserWarning
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

import astro_morph
from astro_morph.cutouts import CutoutSource, holds_images
from astro_morph.estimators.trained import Trained
from astro_morph.learning.fitting import fetch_and_clean, seconds, seeded, survey_of, usable
from astro_morph.learning.labels import check_classes, has_labels, labels_of
from astro_morph.learning.neighbors import nearest
from astro_morph.learning.objectives import METHODS, queue_size_for
from astro_morph.learning.training.batches import training_images
from astro_morph.learning.training.devices import choose_device
from astro_morph.learning.training.loop import sgd, train
from astro_morph.learning.training.monitoring import Monitor
from astro_morph.learning.training.views import training_views
from astro_morph.models.building import build_model
from astro_morph.models.encoders.hub import load_encoder
from astro_morph.models.encoders.names import SCHEMES, split_name
from astro_morph.models.encoders.publishing import write_hub_folder
from astro_morph.models.encoders.resnet import ARCHITECTURES
from astro_morph.models.networks import VIEWS
from astro_morph.models.running import run_batches
from astro_morph.models.spec import SMALLEST_SIDE, ModelSpec
from astro_morph.models.torch_model import TorchModel, build_network
from astro_morph.models.weights import DEFAULT_ENCODER, bundled_names, bundled_path
from astro_morph.photometry import Preprocessor
from astro_morph.prediction.brightness import Brightness
from astro_morph.prediction.framing import fetch_framed, reframed
from astro_morph.prediction.predict import prepare, request
from astro_morph.prediction.search import SearchIndex, build_index
from astro_morph.utils.progress import progress_bar

__all__ = ['MorphologyEncoder']


class Pace(NamedTuple):
    """Views that a training needs, the least and most passes, and the rate of 256 images."""

    n_views: int
    passes: tuple
    learning_rate: float

    def epochs(self, n_images):
        return int(np.clip(self.n_views // n_images, *self.passes))


# Too few views teach little even on a large catalogue, and more passes teach nothing on a small
# one. The rate is four times that of MoCo v2, since few galaxies make few steps.
FROM_RANDOM = Pace(n_views=400_000, passes=(20, 200), learning_rate=0.12)

# Ten minutes on two cores for 5,000 galaxies. A larger rate would undo what the encoder knows.
TO_CONTINUE = Pace(n_views=45_000, passes=(3, 30), learning_rate=0.03)


class MorphologyEncoder(Trained, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """
    Turn images of galaxies into features of their morphology, learnt without labels.

    A ResNet is pretrained by Momentum Contrast (He et al. 2020, arXiv:1911.05722), or by another
    method for comparison. Features are those of the pooled backbone, see
    `~astro_morph.models.networks.stage_features`, averaged over the eight rotations and
    reflections of the square. Plain 2-D features are standardised.

    Parameters
    ----------
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from: a source, the name of a survey such as
        ``'legacy-dr10'`` or its TOML file, the pattern of FITS mosaics, or ``'auto'`` for the
        table's column of image paths, else the survey that ``astro_morph.conf.survey`` names.
    method : {'moco', 'moco-v3', 'autoencoder', 'supervised'}, default='moco'
        How the encoder is trained: ``'moco'`` by Momentum Contrast, version 2 with its queue
        (Chen et al. 2020, arXiv:2003.04297); ``'moco-v3'`` by version 3 without one (Chen, Xie &
        He 2021, arXiv:2104.02057); ``'autoencoder'`` by reconstructing images from their features;
        ``'supervised'`` by the labels alone.
    label_column : str, default='morphology'
        Column of the labels, masked or empty where there is none. ``'supervised'`` learns from
        them where ``y`` is not given; the other methods only monitor how often neighbours share
        one, if the catalogue has the column.
    start : str or MorphologyEncoder, default=None
        Encoder whose training is continued on these images, with fewer epochs and a smaller
        learning rate: ``'auto'`` for the bundled one, a name or path as in `from_pretrained`, or a
        fitted encoder. None starts from random weights.
    architecture : {'resnet18', 'resnet34', 'resnet50'}, default='resnet18'
        The encoder, where it starts from random weights.
    size, bands, preprocessing, device, max_time, random_state, verbose : object
        As for `MorphologyClassifier`.
    epochs : int or 'auto', default='auto'
        Passes over the images; ``'auto'`` depends on the number of images.
    batch_size : int, default=256
        Images a step.
    temperature : float or 'auto', default='auto'
        Temperature of the contrastive loss; ``'auto'`` is 0.1 for ``'moco'`` and 0.2 for
        ``'moco-v3'``.
    momentum : float or 'auto', default='auto'
        Momentum of the momentum encoder at the start; ``'auto'`` is 0.99.
    queue_size : int or 'auto', default='auto'
        Number of keys in the queue of ``'moco'``; ``'auto'`` is min(4096, n / 4).
    checkpoint : path-like, default=None
        File from which an interrupted training continues, see
        `~astro_morph.learning.training.loop.train`.
    views : {'all', 'rotations'}, default='all'
        What training and features average over, as for `MorphologyClassifier`.

    Attributes
    ----------
    history_ : list of dict
        A record an epoch: loss, accuracy of the task, learning rate and seconds, and what
        `~astro_morph.learning.training.monitoring.Monitor` records. The accuracy of an
        auto-encoder is the fraction of the variance that it explains.
    decoder_ : `torch.nn.Module` or None
        Network that reconstructs images from features, if the method is ``'autoencoder'``. It is
        not saved.
    model_ : `~astro_morph.models.torch_model.TorchModel`
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
    (16, 1408)
    """

    _parameter_constraints = {
        'source': [str, CutoutSource],
        'method': [StrOptions(set(METHODS))],
        'label_column': [str],
        'start': [None, str, BaseEstimator],
        'architecture': [StrOptions(set(ARCHITECTURES))],
        'size': [
            None,
            Interval(Integral, SMALLEST_SIDE, None, closed='left'),
            u.Quantity,
            str,
            tuple,
        ],
        'bands': [None, str, 'array-like'],
        'preprocessing': [StrOptions({'auto'}), Preprocessor, None],
        'epochs': [StrOptions({'auto'}), Interval(Integral, 1, None, closed='left')],
        'batch_size': [Interval(Integral, 2, None, closed='left')],
        'temperature': [StrOptions({'auto'}), Interval(Real, 0, None, closed='neither')],
        'momentum': [StrOptions({'auto'}), Interval(Real, 0, 1, closed='both')],
        'queue_size': [StrOptions({'auto'}), Interval(Integral, 1, None, closed='left')],
        'device': [str, torch.device],
        'max_time': [None, Interval(Real, 0, None, closed='neither'), u.Quantity],
        'checkpoint': [None, str, os.PathLike],
        'random_state': ['random_state'],
        'verbose': ['verbose'],
        'views': [StrOptions(set(VIEWS))],
    }

    def __init__(
        self,
        source='auto',
        *,
        method='moco',
        label_column='morphology',
        start=None,
        architecture='resnet18',
        size=None,
        bands=None,
        preprocessing='auto',
        epochs='auto',
        batch_size=256,
        temperature='auto',
        momentum='auto',
        queue_size='auto',
        device='auto',
        max_time=None,
        checkpoint=None,
        random_state=None,
        verbose=1,
        views='all',
    ):
        self.source = source
        self.method = method
        self.label_column = label_column
        self.start = start
        self.architecture = architecture
        self.size = size
        self.bands = bands
        self.preprocessing = preprocessing
        self.epochs = epochs
        self.batch_size = batch_size
        self.temperature = temperature
        self.momentum = momentum
        self.queue_size = queue_size
        self.device = device
        self.max_time = max_time
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose
        self.views = views

    def fit(self, X, y=None):
        """
        Train the encoder on every row with an image; by ``'supervised'``, also with a label.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            A catalogue, positions, cutouts, images (n, band, y, x), or plain features (n, d).
        y : array_like, shape (n,), default=None
            Labels, used by the method ``'supervised'`` only; masked or empty ones are unlabelled.
            If None, those of the column ``label_column``.

        Returns
        -------
        self : MorphologyEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If there are no images, no labels of at least two classes to learn from, or no encoder
            to start from.
        """
        self._validate_params()
        if not holds_images(X):
            return self._fit_features(validate_data(self, X, dtype=np.float64))
        start = self._start()
        labels = self._labels(X, y)
        raw, clean, preprocessing = fetch_and_clean(self, X)
        if self.method == 'supervised':
            clean, labels = clean[~labels.mask], labels[~labels.mask]
        cutouts = usable(clean)
        labels = None if labels is None else labels[clean.is_ok]
        method = METHODS[self.method]
        pace = FROM_RANDOM if start is None else TO_CONTINUE
        device = choose_device(self.device)
        with seeded(self.random_state) as seed:
            model = build_model(
                raw,
                cutouts,
                architecture=self.architecture,
                start=start,
                preprocessing=preprocessing,
                views=VIEWS[self.views],
            )
            spec, network = model.spec, model.network
            images = training_images(network, cutouts)
            batch_size = min(self.batch_size, len(images))
            objective = method.build(
                network.encoder,
                training_views(network, spec, method.views, survey=survey_of(self.source)),
                spec=spec,
                labels=labels,
                queue_size=self._queue_size(len(images), batch_size),
                contrast=self._contrast(),
            ).to(device, memory_format=torch.channels_last)
            self.history_ = train(
                objective,
                images,
                sgd(objective, learning_rate=pace.learning_rate * batch_size / 256),
                epochs=pace.epochs(len(images)) if self.epochs == 'auto' else self.epochs,
                batch_size=batch_size,
                device=device,
                random_state=seed,
                max_time=seconds(self.max_time),
                checkpoint=self.checkpoint,
                callback=Monitor(objective, images, labels=labels),
                description='pretraining',
                verbose=bool(self.verbose),
            )
        self.decoder_ = getattr(objective, 'decoder', None)
        self.model_ = TorchModel(spec, network, device=device).stamped(astro_morph.__version__)
        return self

    def transform(self, X):
        """
        Compute the features of samples.

        Parameters
        ----------
        X : object
            Samples as in `fit`.

        Returns
        -------
        features : ndarray, shape (n, d)
            NaN in the rows without an image.
        """
        X = self._check_samples(X)
        if holds_images(X):
            X = self._cutouts(X)
        with progress_bar(len(X), 'encoding', verbose=bool(self.verbose)) as bar:
            return run_batches(self.model_, X, bar=bar)[1]

    _read = staticmethod(load_encoder)

    @classmethod
    def from_pretrained(cls, name, **parameters):
        """
        Load an encoder that comes with the package, or one that others publish.

        An encoder of others takes images of the size and bands that it was trained on; `adapt`
        adapts it to other images.

        Parameters
        ----------
        name : str
            The name of a bundled one, such as ``'sdss-moco-resnet18'``; ``'hf-hub:owner/name'``,
            ``'local-dir:folder'`` or ``'timm:name'``; or the path of a file of weights, see
            `~astro_morph.models.encoders.hub.load_encoder`.
        **parameters
            Parameters of the estimator.

        Returns
        -------
        encoder : MorphologyEncoder
            The fitted encoder.

        Raises
        ------
        ModuleNotFoundError
            If a package is not installed; the message names the command that installs it.
        ValueError
            If there is no such encoder.

        Examples
        --------
        >>> from astro_morph import MorphologyEncoder
        >>> encoder = MorphologyEncoder.from_pretrained('sdss-moco-resnet18')
        >>> encoder.model_.n_features
        1408
        """
        if name in bundled_names():
            return cls.load(bundled_path(name), **parameters)
        if not split_name(name) and not os.path.exists(name):
            msg = (
                f'name must be one of {bundled_names()}, begin with one of {list(SCHEMES)} and a '
                f'colon, or be the path of a file of weights; {name!r} is none of these'
            )
            raise ValueError(msg)
        return cls.load(name, **parameters)

    def to_hub(self, folder, *, overwrite=False):
        """
        Write the encoder so that others load it with timm alone.

        The folder gets the files of a repository on huggingface.co: the weights
        (``model.safetensors``), the configuration (``config.json``) and a model card
        (``README.md``). ``timm.create_model('local-dir:' + folder, pretrained=True)`` loads it, and
        so does `from_pretrained`, with its stretch and its features of several stages.

        Parameters
        ----------
        folder : path-like
            The folder, which is made if there is none.
        overwrite : bool, default=False
            Whether files of these names may be replaced.

        Raises
        ------
        FileExistsError
            If there is such a file and ``overwrite`` is false.
        NotADirectoryError
            If the folder is a file.
        ValueError
            If the encoder takes plain features.
        """
        check_is_fitted(self)
        write_hub_folder(self.model_, folder, overwrite=overwrite)

    def neighbors(self, X, n=10):
        """
        Find the galaxies that look most similar to each galaxy.

        Parameters
        ----------
        X : object
            Samples as in `fit`.
        n : int, default=10
            Number of neighbours of each galaxy.

        Returns
        -------
        rows : ndarray of int, shape (len(X), n)
            Row numbers, nearest first, by the angle between features, without the galaxy itself;
            -1 in the rows without an image. Beyond a hundred thousand galaxies the search is
            approximate, see `~astro_morph.learning.neighbors.nearest`.
        """
        features = self.transform(X)
        known = np.flatnonzero(np.isfinite(features).all(axis=1))
        if n >= len(known):
            msg = (
                f'n={n} neighbours of {len(known)} galaxies: each has only the others; pass at '
                f'most {len(known) - 1}'
            )
            raise ValueError(msg)
        rows = np.full((len(features), n), -1)
        rows[known] = known[nearest(features[known], n)]
        return rows

    def index(self, X, path, *, overwrite=False):
        """
        Write the features of a catalogue to disk, to search it by example.

        Memory does not grow with the number of rows, see
        `~astro_morph.prediction.search.build_index`.

        Parameters
        ----------
        X : path-like or object
            The file of a catalogue, whatever its number of rows; or samples as in `fit`.
        path : path-like
            The folder of the index, written atomically.
        overwrite : bool, default=False
            Whether an index of that name may be replaced.

        Returns
        -------
        index : `~astro_morph.prediction.search.SearchIndex`
            Its ``search`` finds galaxies like an example.

        Raises
        ------
        FileExistsError
            If the folder exists and ``overwrite`` is false, or it is no index.
        ModuleNotFoundError
            If pyarrow is not installed.
        ValueError
            If no row has an image.
        """
        check_is_fitted(self)
        is_file = isinstance(X, (str, os.PathLike))
        return build_index(
            self.model_,
            X if is_file else self._check_samples(X),
            path,
            source=self.source,
            overwrite=overwrite,
            verbose=bool(self.verbose),
        )

    def open_index(self, path):
        """
        Open an index that this encoder has written.

        Parameters
        ----------
        path : path-like
            The folder of the index.

        Returns
        -------
        index : `~astro_morph.prediction.search.SearchIndex`
            The index, whose examples may also be images, and positions outside the catalogue.

        Raises
        ------
        ValueError
            If the folder is no index, or that of another model.
        """
        check_is_fitted(self)
        return SearchIndex(path, model=self.model_, source=self.source)

    def adapt(self, X):
        """
        Adapt a pretrained encoder to images of other bands, brightness or size.

        Nothing is trained. The filters of the first layer are interpolated between bands, and
        flux is stretched to the brightness of the pictures of the pretraining.

        Parameters
        ----------
        X : object
            Samples as in `fit`.

        Returns
        -------
        encoder : MorphologyEncoder
            Another encoder, for such images.
        """
        check_is_fitted(self)
        start = self.model_
        raw, clean, preprocessing = fetch_and_clean(self, X)
        other = clone(self)
        other.model_ = build_model(
            raw,
            usable(clean),
            architecture=self.architecture,
            start=start,
            preprocessing=preprocessing,
            is_frozen=True,
            device=start.device,
            views=start.spec.views,
            stages=start.spec.stages,
        ).stamped(astro_morph.__version__)
        return other

    @property
    def _n_features_out(self):
        return self.model_.n_features

    def _labels(self, X, y):
        """Return the labels to learn from, or to monitor, masked where there is none; or None."""
        if self.method != 'supervised':
            y = None
            if not has_labels(X, self.label_column):
                return None
        labels, is_labelled = labels_of(X, y, self.label_column)
        if self.method == 'supervised':
            # Labels that can't be learnt are refused before hours go into images.
            check_classes(labels[is_labelled])
        return np.ma.array(labels, mask=~is_labelled)

    def _cutouts(self, X):
        """Fetch and clean cutouts like those of the training."""
        spec = reframed(self.model_, self.size).spec
        brightness = Brightness(spec)
        try:
            cutouts = fetch_framed(X, **request(spec, self.source))
            cutouts = prepare(spec, cutouts, brightness=brightness)
        except ValueError as error:
            error.add_note('encoder.adapt(X) adapts an encoder to images of other bands or size')
            raise
        brightness.warn()
        return cutouts

    def _start(self):
        """Return the model whose training is continued, None for random weights."""
        if self.start is None:
            return None
        if isinstance(self.start, MorphologyEncoder):
            check_is_fitted(self.start)
            return self.start.model_
        name = DEFAULT_ENCODER if self.start == 'auto' else self.start
        return self.from_pretrained(name, device=self.device, verbose=0).model_

    def _contrast(self):
        options = {'temperature': self.temperature, 'momentum': self.momentum}
        return {name: value for name, value in options.items() if value != 'auto'}

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
