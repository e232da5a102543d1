# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The estimator that labels galaxies by morphology."""

import os
from numbers import Integral

import numpy as np
import torch
from astropy.coordinates import SkyCoord
from astropy.table import Table
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

import astro_morph
from astro_morph import prediction
from astro_morph.augmentation import SQUARE_SYMMETRIES
from astro_morph.bundled import bundled_names, bundled_path
from astro_morph.catalog import as_table, read_labels
from astro_morph.cutouts import CutoutSource, as_cutouts, catalogue_of, holds_images
from astro_morph.encoder import MorphologyEncoder
from astro_morph.fitting import (
    describe,
    network_for,
    seconds,
    seeded,
    usable,
)
from astro_morph.model import TorchModel
from astro_morph.networks import ARCHITECTURES
from astro_morph.strategies import fine_tune, fit_features, fit_linear
from astro_morph.training import choose_device, progress_bar

__all__ = ['MorphologyClassifier']

# The bundled encoder from which a fit starts by default.
DEFAULT_ENCODER = 'sdss-moco-resnet18'

# With fewer labels than this a linear head on frozen features is better than moving the encoder.
FINE_TUNE_FROM = 100


class MorphologyClassifier(ClassifierMixin, BaseEstimator):
    """
    Label galaxies by morphology, from few labels.

    Every row of the catalogue is an image; some rows carry a label, and a masked or empty one
    means unlabelled. An encoder that was pretrained without labels is trained on, or a linear head
    is set on its features. Predictions average the eight rotations and reflections of the square,
    and their confidence is calibrated on labels held out (Guo et al. 2017, arXiv:1706.04599).

    Parameters
    ----------
    source : `~astro_morph.cutouts.CutoutSource` or str, optional
        Where a catalogue's cutouts come from: a source, the name of a survey such as
        ``'legacy-dr10'``, the pattern of FITS mosaics, or ``'auto'`` for the table's column of
        image paths, else what ``astro_morph.conf.survey`` names.
    label_column : str, optional
        Column of the labels, used where ``y`` is not given.
    encoder : str or MorphologyEncoder, optional
        What the encoder starts from: ``'auto'`` or a name for a bundled one, ``'moco'`` to
        pretrain on all rows first, ``'random'`` for none, the path of a saved one, or an encoder;
        one that is not fitted is fitted on all rows.
    strategy : {'auto', 'linear', 'fine-tune'}, optional
        How the classes are learnt: a linear head on frozen features, or encoder and head together.
        ``'auto'`` fine-tunes from 100 labels on.
    size : int, `~astropy.units.Quantity`, str or tuple, optional
        Side of the cutouts, in pixels or as an angle; or a column and a factor that it follows,
        such as ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`.
    bands : sequence of str or 'rgb', optional
        Bands to use, by default all; ``'rgb'`` for the colour pictures of a survey.
    device : str or `torch.device`, optional
        ``'auto'`` takes CUDA, else MPS, else the CPU.
    max_time : float or `~astropy.units.Quantity`, optional
        Time after which training ends, in seconds if it has no unit.
    random_state : int, `numpy.random.RandomState` or None, optional
        An integer makes the training repeat exactly on one machine.
    verbose : int, optional
        0 for silence.
    architecture : {'resnet18', 'resnet34', 'resnet50'}, optional
        The encoder, where it starts from random weights.
    epochs : int or 'auto', optional
        Passes over the labelled images when fine-tuning; ``'auto'`` takes their number into
        account.
    batch_size : int, optional
        Images a step when fine-tuning.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The classes, sorted.
    encoder_ : MorphologyEncoder or None
        What the classifier started from.
    history_ : list of dict
        A record an epoch of fine-tuning: loss, accuracy, learning rate, seconds.
    model_ : `~astro_morph.model.TorchModel`
        The network and its specification.

    See Also
    --------
    MorphologyEncoder : Features without labels.
    OnnxClassifier : The same predictions without PyTorch.

    Examples
    --------
    >>> from astro_morph import MorphologyClassifier
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=60, random_state=0)
    >>> classifier = MorphologyClassifier(survey, strategy='linear', verbose=0)
    >>> annotated = classifier.fit(survey.catalogue).annotate(survey.catalogue)
    >>> annotated.colnames[-3:]
    ['morph_entropy', 'morph_flags', 'morph_status']
    """

    _parameter_constraints = {
        'source': [str, CutoutSource],
        'label_column': [str],
        'encoder': [str, MorphologyEncoder],
        'strategy': [StrOptions({'auto', 'linear', 'fine-tune'})],
        'size': MorphologyEncoder._parameter_constraints['size'],
        'bands': [None, str, 'array-like'],
        'device': [str, torch.device],
        'max_time': MorphologyEncoder._parameter_constraints['max_time'],
        'random_state': ['random_state'],
        'verbose': ['verbose'],
        'architecture': [StrOptions(set(ARCHITECTURES))],
        'epochs': [StrOptions({'auto'}), Interval(Integral, 1, None, closed='left')],
        'batch_size': [Interval(Integral, 2, None, closed='left')],
    }

    def __init__(
        self,
        source='auto',
        *,
        label_column='morphology',
        encoder='auto',
        strategy='auto',
        size=None,
        bands=None,
        device='auto',
        max_time=None,
        random_state=None,
        verbose=1,
        architecture='resnet18',
        epochs='auto',
        batch_size=64,
    ):
        self.source = source
        self.label_column = label_column
        self.encoder = encoder
        self.strategy = strategy
        self.size = size
        self.bands = bands
        self.device = device
        self.max_time = max_time
        self.random_state = random_state
        self.verbose = verbose
        self.architecture = architecture
        self.epochs = epochs
        self.batch_size = batch_size

    def fit(self, X, y=None, sample_weight=None):
        """
        Learn the classes from the labelled rows.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            A catalogue, positions, cutouts, images (n, band, y, x), or plain features (n, d).
        y : array_like, shape (n,), optional
            The labels; masked or empty ones are unlabelled. By default those of the column
            ``label_column``.
        sample_weight : array_like, shape (n,), optional
            Weight of each row.

        Returns
        -------
        self : MorphologyClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If there are no labels, fewer than two classes, or no images.
        """
        self._validate_params()
        if not holds_images(X):
            return self._fit_features(X, y, sample_weight)
        labels, is_labelled = self._labels(X, y)
        # Labels that can't be learnt are known before hours go into images and pretraining.
        _encode(labels[is_labelled])
        cutouts = as_cutouts(X, source=self.source, size=self.size, bands=self.bands)
        pool = usable(cutouts)
        rows = np.flatnonzero(is_labelled & cutouts.is_ok)
        self.classes_, target = _encode(labels[rows], of=' of the rows with an image')
        labelled = cutouts[rows]
        start = self._start(pool)
        weight = _check_sample_weight(sample_weight, cutouts)[rows]
        with seeded(self.random_state) as seed:
            architecture = start.spec.architecture if start else self.architecture
            learner, options = self._learner(len(rows))
            spec = describe(
                labelled,
                architecture=architecture,
                views=SQUARE_SYMMETRIES,
                # A frozen encoder knows galaxies of one size; one that is trained learns another.
                enlarge=learner is fine_tune or not start or start.spec.input_size is not None,
            )
            network = network_for(pool, spec, start=start)
            model, self.history_ = learner(
                TorchModel(spec, network, device=choose_device(self.device)),
                labelled,
                target,
                classes=tuple(self.classes_.tolist()),
                sample_weight=weight,
                random_state=seed,
                verbose=bool(self.verbose),
                **options,
            )
        self.model_ = model.stamped(astro_morph.__version__)
        return self

    def predict(self, X):
        """
        Predict the class of each sample.

        Parameters
        ----------
        X : object
            Samples as in `fit`.

        Returns
        -------
        classes : ndarray, shape (n,)
            A masked array, where rows without an image are masked, if there are any.
        """
        # The probabilities first: asking for classes_ of an estimator that is not fitted would
        # be the wrong error.
        probabilities = self.predict_proba(X)
        return prediction.most_probable(self.classes_, probabilities)

    def predict_proba(self, X):
        """
        Predict the probability of each class.

        Parameters
        ----------
        X : object
            Samples as in `fit`.

        Returns
        -------
        probabilities : ndarray, shape (n, n_classes)
            In the order of ``classes_``; NaN in the rows without an image.
        """
        return self._predict(prediction.predict_proba, X)[0]

    def decision_function(self, X):
        """
        Give the calibrated logits.

        Parameters
        ----------
        X : object
            Samples as in `fit`.

        Returns
        -------
        logits : ndarray, shape (n, n_classes), or (n,) for two classes
            Log-probabilities; for two classes the logarithm of the odds of the second.
        """
        with np.errstate(divide='ignore'):
            logits = np.log(self.predict_proba(X))
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def score(self, X, y=None, sample_weight=None):
        """
        Give the accuracy on the labelled samples that have an image.

        Parameters
        ----------
        X : object
            Samples as in `fit`.
        y : array_like, shape (n,), optional
            True labels; by default those of the column ``label_column``.
        sample_weight : array_like, shape (n,), optional
            Weight of each sample.

        Returns
        -------
        accuracy : float
            Share of right classes.
        """
        labels, is_labelled = self._labels(X, y)
        predicted = self.predict(X)
        rows = is_labelled & ~np.ma.getmaskarray(predicted)
        weight = _check_sample_weight(sample_weight, labels)[rows]
        return float(np.average(np.asarray(predicted)[rows] == labels[rows], weights=weight))

    def annotate(self, table, *, prefix='morph_', overwrite=False):
        """
        Add the predictions to a catalogue.

        Parameters
        ----------
        table : object
            The catalogue, or other samples as in `fit`.
        prefix : str, optional
            What the names of the new columns begin with.
        overwrite : bool, optional
            Whether columns of these names may be replaced.

        Returns
        -------
        annotated : `~astropy.table.Table`
            A copy of the same class, length and order, with the new columns that
            `~astro_morph.catalog.write_predictions` lists.
        """
        return self._predict(prediction.annotate, table, prefix=prefix, overwrite=overwrite)

    def save(self, path):
        """
        Write the model to a file, which `load` reads: stretch, weights, calibration and classes.

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
        Read a model from a file; no code in the file is run.

        Parameters
        ----------
        path : path
            The file.
        **parameters
            Parameters of the classifier, such as ``source`` and ``device``.

        Returns
        -------
        classifier : MorphologyClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If the file is not a classifier of this package.
        """
        classifier = cls(**parameters)
        model = TorchModel.load(path, device=choose_device(classifier.device))
        if not model.spec.classes:
            msg = f'{str(path)!r} holds an encoder; pass it to MorphologyClassifier as encoder='
            raise ValueError(msg)
        classifier.model_ = model
        classifier.classes_ = np.array(model.spec.classes)
        return classifier

    @classmethod
    def from_pretrained(cls, name, **parameters):
        """
        Load a classifier that comes with the package.

        Parameters
        ----------
        name : str
            Its name.
        **parameters
            Parameters of the classifier.

        Returns
        -------
        classifier : MorphologyClassifier
            The fitted classifier.
        """
        return cls.load(bundled_path(name), **parameters)

    def to_onnx(self, path, *, precision='float32'):
        """
        Write the model as one ONNX file, which `~astro_morph.OnnxClassifier` reads.

        The file takes raw images and holds stretch, views, calibration and class names. It is
        kept only if ONNX Runtime gives what PyTorch gives.

        Parameters
        ----------
        path : path
            The file.
        precision : {'float32'}, optional
            Precision of the weights.
        """
        from astro_morph.onnx import export

        check_is_fitted(self)
        export(self.model_, path, precision=precision)

    def __sklearn_is_fitted__(self):
        return hasattr(self, 'model_')

    def _predict(self, task, X, **options):
        check_is_fitted(self)
        if not holds_images(X):
            X = validate_data(self, X, dtype=np.float64, reset=False)
        elif isinstance(X, SkyCoord):
            X = as_table(X)  # a single position has no length
        with progress_bar(len(X), 'predicting', verbose=bool(self.verbose)) as bar:
            return task(self.model_, X, source=self.source, bar=bar, **options)

    def _labels(self, X, y):
        """Give the labels, and whether each row has one, from y or the catalogue."""
        if y is not None:
            check_consistent_length(X, y)
            return read_labels(Table([y], names=['y']), 'y')
        table = catalogue_of(X) if holds_images(X) else None
        if table is None:
            msg = (
                f'{type(self).__name__} requires y to be passed, but the target y is None: '
                'X is no table that could hold the labels'
            )
            raise ValueError(msg)
        return read_labels(table, self.label_column)

    def _start(self, cutouts):
        """Give the model from which the encoder starts, or None for random weights."""
        encoder = self.encoder
        if encoder == 'auto':
            encoder = DEFAULT_ENCODER
        if encoder == 'random':
            self.encoder_ = None
            return None
        shared = {name: getattr(self, name) for name in ('device', 'random_state', 'verbose')}
        if encoder == 'moco':
            encoder = MorphologyEncoder(
                architecture=self.architecture, max_time=self.max_time, **shared
            )
        if isinstance(encoder, MorphologyEncoder):
            is_fitted = hasattr(encoder, 'model_')
            self.encoder_ = encoder if is_fitted else clone(encoder).fit(cutouts)
        elif encoder in bundled_names():
            self.encoder_ = MorphologyEncoder.from_pretrained(encoder, **shared)
        elif os.path.exists(encoder):
            self.encoder_ = MorphologyEncoder.load(encoder, **shared)
        else:
            msg = (
                f"encoder must be 'auto', 'moco', 'random', one of {bundled_names()}, the path of "
                f'a saved encoder, or a MorphologyEncoder; {encoder!r} is none of these'
            )
            raise ValueError(msg)
        return self.encoder_.model_

    def _learner(self, n_labels):
        is_few = n_labels < FINE_TUNE_FROM
        if self.strategy == 'linear' or (self.strategy == 'auto' and is_few):
            return fit_linear, {}
        return fine_tune, {
            'epochs': self.epochs,
            'batch_size': self.batch_size,
            'max_time': seconds(self.max_time),
        }

    def _fit_features(self, X, y, sample_weight):
        if y is None:
            self._labels(X, y)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X)
        self.classes_, target = _encode(y)
        with seeded(self.random_state) as seed:
            model, self.history_ = fit_features(
                X,
                target,
                classes=tuple(self.classes_.tolist()),
                sample_weight=weight,
                random_state=seed,
            )
        self.model_ = model.stamped(astro_morph.__version__)
        self.encoder_ = None
        return self


def _encode(labels, *, of=''):
    classes, target = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        msg = (
            f'the labels{of} hold {len(classes)} class{"es" * (len(classes) != 1)} '
            f'{classes.tolist()}; a classifier needs at least two classes'
        )
        raise ValueError(msg)
    return classes, target
