# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The estimator that labels galaxies by morphology."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from astropy.coordinates import SkyCoord
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

import astro_morph
from astro_morph.catalog import as_table, read_labels
from astro_morph.cutouts import CutoutSource, as_cutouts, catalog_of, holds_images
from astro_morph.estimators.encoder import MorphologyEncoder
from astro_morph.estimators.starting import clone_with_encoder, starting_encoder
from astro_morph.evaluation import evaluate
from astro_morph.learning.active import choose, suspect_labels
from astro_morph.learning.adaptation import adapt
from astro_morph.learning.fitting import fetch, seconds, seeded, survey_of, usable
from astro_morph.learning.labels import encode_labels, labels_of
from astro_morph.learning.strategies import fine_tune, fit_features, fit_frozen
from astro_morph.learning.training.loop import choose_device
from astro_morph.models.building import FEATURE_STAGES, describe, network_for
from astro_morph.models.bundled import bundled_path
from astro_morph.models.networks import ARCHITECTURES, SQUARE_SYMMETRIES
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction import annotate, streaming
from astro_morph.prediction import predict as prediction
from astro_morph.utils.progress import progress_bar

__all__ = ['MorphologyClassifier']

STRATEGIES = ('linear', 'head', 'fine-tune', 'semi-supervised')

# With fewer labels than this a head on frozen features is better than moving the encoder.
FINE_TUNE_FROM = 200

# Samples that an ONNX file is measured on: they tell its accuracy to a point or two, and stay in
# memory after `fit`. A classifier that was not fitted here has none.
MOST_SAMPLES = 256
NO_SAMPLES = None, None


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
    strategy : {'auto', 'linear', 'head', 'fine-tune', 'semi-supervised'}, optional
        How the classes are learnt: a head on frozen features, linear or with a hidden layer;
        encoder and head together; or these, from the unlabelled rows too. ``'auto'`` takes what
        predicts labels held out best: of the two heads below 200 labels, of linear head and
        fine-tuning from there on.
    class_weight : {'balanced'}, dict or None, optional
        Weight of each class, as scikit-learn takes it. ``'balanced'`` gives all classes the same,
        however rare: more of the rare ones are found, and the probabilities are those of a sky
        where all are equally frequent.
    label_smoothing : float, optional
        Share of the probability that a label leaves to all classes alike when fine-tuning: more
        for labels that are often wrong.
    size : int, `~astropy.units.Quantity`, str or tuple, optional
        Side of the cutouts, in pixels or as an angle; or a column and a factor that it follows,
        such as ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`.
    bands : sequence of str or 'rgb', optional
        Bands to use, by default all; ``'rgb'`` for the colour pictures of a survey.
    preprocessing : 'auto', `~astro_morph.photometry.Preprocessor` or None, optional
        How images in flux are cleaned before the network sees them. ``'auto'`` takes the
        preprocessor's defaults, and leaves pictures as they are. The model keeps the settings.
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
        Passes over the labelled images when fine-tuning, after as many without those that are
        held out for the calibration; ``'auto'`` takes the number of images into account.
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
    model_ : `~astro_morph.models.torch_model.TorchModel`
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
    ['morph_novelty', 'morph_flags', 'morph_status']
    """

    _parameter_constraints = {
        'source': [str, CutoutSource],
        'label_column': [str],
        'encoder': [str, MorphologyEncoder],
        'strategy': [StrOptions({'auto', *STRATEGIES})],
        'class_weight': [None, dict, StrOptions({'balanced'})],
        'label_smoothing': [Interval(Real, 0, 1, closed='left')],
        'size': MorphologyEncoder._parameter_constraints['size'],
        'bands': [None, str, 'array-like'],
        'preprocessing': MorphologyEncoder._parameter_constraints['preprocessing'],
        'device': [str, torch.device],
        'max_time': MorphologyEncoder._parameter_constraints['max_time'],
        'random_state': ['random_state'],
        'verbose': ['verbose'],
        'architecture': [StrOptions(set(ARCHITECTURES))],
        'epochs': [StrOptions({'auto'}), Interval(Integral, 1, None, closed='left')],
        'batch_size': [Interval(Integral, 2, None, closed='left')],
    }

    _samples = NO_SAMPLES

    def __init__(
        self,
        source='auto',
        *,
        label_column='morphology',
        encoder='auto',
        strategy='auto',
        class_weight=None,
        label_smoothing=0.1,
        size=None,
        bands=None,
        preprocessing='auto',
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
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.size = size
        self.bands = bands
        self.preprocessing = preprocessing
        self.device = device
        self.max_time = max_time
        self.random_state = random_state
        self.verbose = verbose
        self.architecture = architecture
        self.epochs = epochs
        self.batch_size = batch_size

    def fit(self, X, y=None, sample_weight=None, *, validation=None):
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
        validation : array_like of bool, shape (n,), optional
            Rows whose labels are not learnt: they say how sure to be and, when fine-tuning, which
            epoch was the best, whose weights are kept. By default some labels are held out for a
            part of the training, and learnt in the end.

        Returns
        -------
        self : MorphologyClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If there are no labels, fewer than two classes, or no images; or if a class has no
            label outside the rows to validate on, or these have none.
        """
        self._validate_params()
        if not holds_images(X):
            return self._fit_features(X, y, sample_weight, validation)
        labels, is_labelled = labels_of(X, y, self.label_column)
        # Labels that can't be learnt are known before hours go into images and pretraining.
        encode_labels(labels[is_labelled])
        raw, cutouts, settings = fetch(self, X)
        pool = usable(cutouts)
        rows = np.flatnonzero(is_labelled & cutouts.is_ok)
        self.classes_, target = encode_labels(labels[rows], of=' of the rows with an image')
        labelled = cutouts[rows]
        validation = _held_out(validation, len(cutouts), rows, target)
        self.encoder_ = starting_encoder(self, raw)
        start = self.encoder_ and self.encoder_.model_
        weight = _check_sample_weight(sample_weight, cutouts)[rows]
        weight = weight * compute_sample_weight(self.class_weight, labels[rows])
        with seeded(self.random_state) as seed:
            architecture = start.spec.architecture if start else self.architecture
            learner, options = self._learner(len(rows))
            is_unlabelled = ~is_labelled & cutouts.is_ok
            if self.strategy == 'semi-supervised' and is_unlabelled.any():
                options['unlabelled'] = cutouts[is_unlabelled]
            spec = describe(
                raw,
                architecture=architecture,
                views=SQUARE_SYMMETRIES,
                stages=FEATURE_STAGES,
                preprocessing=settings,
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
                validation=validation,
                **options,
            )
        self.model_ = model.stamped(astro_morph.__version__)
        self._samples = _some(labelled.images, target)
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

    def predict_set(self, X, coverage=0.9):
        """
        Predict the classes that each sample may be of.

        Parameters
        ----------
        X : object
            Samples as in `fit`.
        coverage : float, optional
            The share of galaxies whose set is to hold the true class, between 0 and 1.

        Returns
        -------
        sets : ndarray of bool, shape (n, n_classes)
            Whether each of ``classes_`` is in the set, see
            `~astro_morph.models.calibration.prediction_sets`. None is in those of rows without an
            image, and in some others, where the classifier is right more often than ``coverage``.

        Raises
        ------
        ValueError
            If the labels were too few to hold some out.
        """
        return self._predict(prediction.predict_set, X, coverage=coverage)

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
        labels, is_labelled = labels_of(X, y, self.label_column)
        predicted = self.predict(X)
        rows = is_labelled & ~np.ma.getmaskarray(predicted)
        weight = _check_sample_weight(sample_weight, labels)[rows]
        return float(np.average(np.asarray(predicted)[rows] == labels[rows], weights=weight))

    def evaluate(self, X, y=None):
        """
        Compare the predictions with known classes.

        Parameters
        ----------
        X : object
            Samples as in `fit`; best some that it was not fitted on.
        y : array_like, shape (n,), optional
            The true classes; by default those of the column ``label_column``.

        Returns
        -------
        evaluation : `~astro_morph.evaluation.Evaluation`
            Accuracy, calibration, coverage, and more.
        """
        return evaluate(self, X, y, label_column=self.label_column)

    def report(self, X, path, y=None):
        """
        Compare the predictions with known classes, and write what is found as a web page.

        Parameters
        ----------
        X : object
            Samples as in `fit`; best some that it was not fitted on.
        path : path-like
            The HTML file, which needs nothing but itself; one that is there is replaced.
        y : array_like, shape (n,), optional
            The true classes; by default those of the column ``label_column``.

        Returns
        -------
        evaluation : `~astro_morph.evaluation.Evaluation`
            The comparison that the page shows.
        """
        from astro_morph.evaluation.report import write_report

        return self._predict(write_report, X, path=path, y=y, label_column=self.label_column)

    def query(self, X, n=20, *, strategy='diverse'):
        """
        Choose the unlabelled galaxies that are most worth a label.

        Parameters
        ----------
        X : object
            Samples as in `fit`; those with a label are left out, where a table holds labels.
        n : int, optional
            How many to choose.
        strategy : {'diverse', 'margin', 'entropy', 'novelty'}, optional
            By what, see `~astro_morph.learning.active.choose`.

        Returns
        -------
        rows : ndarray of int
            Row numbers, the most instructive first.
        """
        is_unlabelled = _is_unlabelled(X, self.label_column)
        predictions = self._predict(prediction.predict, X[is_unlabelled], with_features=True)
        chosen = choose(predictions, n, strategy=strategy, random_state=0)
        return np.flatnonzero(is_unlabelled)[chosen]

    def suspect_labels(self, X, y=None):
        """
        List the labels that are likely wrong, by confident learning.

        Each label is predicted from the others, by a linear head on the features of the encoder
        that `fit` starts from: they have not learnt the labels. The classifier need not be fitted.

        Parameters
        ----------
        X : object
            Samples as in `fit`.
        y : array_like, shape (n,), optional
            Their labels; by default those of the column ``label_column``.

        Returns
        -------
        table : `~astropy.table.Table`
            ``row``, ``label``, ``suggested``, ``p_label`` and ``p_suggested``, the most doubtful
            first, see `~astro_morph.learning.active.suspect_labels`.
        """
        labels, is_labelled = labels_of(X, y, self.label_column)
        frozen = clone(self).set_params(strategy='linear').fit(X, y)
        predictions = frozen._predict(prediction.predict, X[is_labelled], with_features=True)
        is_ok = predictions.status == 'ok'
        table = suspect_labels(predictions.features[is_ok], labels[is_labelled][is_ok])
        table['row'] = np.flatnonzero(is_labelled)[is_ok][table['row']]
        return table

    def annotate(self, table, *, measures=False, prefix='morph_', overwrite=False):
        """
        Add the predictions to a catalogue.

        Parameters
        ----------
        table : object
            The catalogue, or other samples as in `fit`.
        measures : bool, optional
            Whether to add the classical measures of `astro_morph.photometry.measure` too.
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
        return self._predict(
            annotate.annotate, table, measures=measures, prefix=prefix, overwrite=overwrite
        )

    def annotate_file(self, input, output, *, prefix='morph_', overwrite=False, resume=False):  # noqa: A002
        """
        Add the predictions to a catalogue in a file, however many rows it has.

        Parameters
        ----------
        input : path-like
            The catalogue: a FITS, Parquet, HDF5, ECSV, VOTable or CSV file, told by the end of its
            name. Relative image paths in it start from its folder.
        output : path-like
            The file of the annotated catalogue, in any of these formats. It appears when it is
            whole.
        prefix : str, optional
            What the names of the new columns begin with.
        overwrite : bool, optional
            Whether a file, and columns of these names, may be replaced.
        resume : bool, optional
            Whether to go on with a run that was stopped.

        Returns
        -------
        counts : `~collections.Counter`
            How many rows have each status, see `~astro_morph.prediction.streaming.annotate_file`.
        """
        check_is_fitted(self)
        return streaming.annotate_file(
            self.model_,
            input,
            output,
            source=self.source,
            prefix=prefix,
            overwrite=overwrite,
            resume=resume,
            verbose=bool(self.verbose),
        )

    def adapt(self, X):
        """
        Fit the classifier to the images of another survey, without labels.

        Brightness and noise are measured anew and, where encoder and head were trained together,
        the statistics of the batch norms, see `astro_morph.learning.adaptation.adapt`. Take
        galaxies of all kinds, about as frequent as those the classifier has learnt from: a hundred
        or more.

        Parameters
        ----------
        X : object
            Samples as in `fit`; the more alike to what is to be predicted, the better.

        Returns
        -------
        classifier : MorphologyClassifier
            Another classifier, for such images; its calibration is still that of the old ones.
        """
        check_is_fitted(self)
        other = copy.copy(self)
        other.model_ = adapt(self.model_, X, source=self.source).stamped(astro_morph.__version__)
        other._samples = NO_SAMPLES  # those of the other survey are unlike what it is for
        return other

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
        if model.spec.tree is not None:
            msg = f'{str(path)!r} holds a model of votes; read it with MorphologyVotes.load'
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

    def to_onnx(self, path, X=None, y=None, *, precision='float32', views=None):
        """
        Write the model as one ONNX file, which `~astro_morph.OnnxClassifier` reads.

        The file takes raw images and holds stretch, views, calibration and class names. It is
        kept only if ONNX Runtime gives what PyTorch gives. Integers and fewer views are faster and
        change the answers; by how much is measured, see `astro_morph.models.export.export`.

        Parameters
        ----------
        path : path
            The file.
        X : object, optional
            Samples as in `fit`, a few hundred, to scale the integers by and to measure on; by
            default some of those that `fit` has just learnt from, of which the classifier knows
            more than of others. A classifier that was loaded has none.
        y : array_like, shape (n,), optional
            Their classes; by default those of the column ``label_column``, if there is one.
        precision : {'float32', 'float16', 'int8'}, optional
            Precision of the encoder: 16-bit floats halve the file, 8-bit integers are also faster
            on processors.
        views : {1, 4, 8}, optional
            How many of the eight rotations and reflections to average; the time grows with it.

        Returns
        -------
        cost : `~astro_morph.models.onnx_model.Cost`
            What precision and views change; it is written into the file too.

        Raises
        ------
        ValueError
            If precision or views are not known, or there are no samples to measure on.
        """
        from astro_morph.models.export import export

        check_is_fitted(self)
        images, target = self._samples if X is None else self._measured_on(X, y)
        return export(
            self.model_, path, precision=precision, views=views, images=images, target=target
        )

    def __sklearn_clone__(self):
        return clone_with_encoder(self)

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

    def _measured_on(self, X, y):
        """Give the images of samples, as the model sees them, and the indices of their classes."""
        spec = self.model_.spec
        if y is None and _is_without_labels(X, self.label_column):
            y = np.ma.masked_all(len(X), 'U1')
        labels, is_labelled = labels_of(X, y, self.label_column)
        cutouts = prediction.prepare(spec, as_cutouts(X, **prediction.request(spec, self.source)))
        rows = cutouts.is_ok
        is_class = labels[:, np.newaxis] == self.classes_
        is_known = is_labelled & is_class.any(axis=1)
        target = np.where(is_known, is_class.argmax(axis=1), -1)
        return _some(usable(cutouts).images, target[rows])

    def _learner(self, n_labels):
        """Give what learns the classes, and its options."""
        is_auto = self.strategy == 'auto'
        if self.strategy in ('linear', 'head'):
            return fit_frozen, {'heads': [self.strategy]}
        if is_auto and n_labels < FINE_TUNE_FROM:
            return fit_frozen, {'heads': ['linear', 'head']}
        return fine_tune, {
            'may_stay': is_auto,
            'label_smoothing': self.label_smoothing,
            'epochs': self.epochs,
            'batch_size': self.batch_size,
            'max_time': seconds(self.max_time),
            'survey': survey_of(self.source),
        }

    def _fit_features(self, X, y, sample_weight, validation):
        if y is None:
            labels_of(X, y, self.label_column)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X)
        weight = weight * compute_sample_weight(self.class_weight, y)
        self.classes_, target = encode_labels(y)
        validation = _held_out(validation, len(X), np.arange(len(X)), target)
        with seeded(self.random_state) as seed:
            model, self.history_ = fit_features(
                X,
                target,
                classes=tuple(self.classes_.tolist()),
                sample_weight=weight,
                random_state=seed,
                validation=validation,
            )
        self.model_ = model.stamped(astro_morph.__version__)
        self.encoder_ = None
        return self


def _held_out(validation, n, rows, target):
    """Tell which of the labelled rows are to validate on, None for no choice."""
    if validation is None:
        return None
    validation = np.asarray(validation)
    if validation.dtype != bool or validation.shape != (n,):
        msg = (
            f'validation must be an array of {n} bool, one a row of X, got {validation.dtype} of '
            f"shape {validation.shape}; pass for example table['split'] == 'validation'"
        )
        raise ValueError(msg)
    validation = validation[rows]
    if not validation.any() or len(np.unique(target[~validation])) < len(np.unique(target)):
        msg = (
            f'validation holds out {validation.sum()} of {len(rows)} labels; some labels of every '
            'class must be left to learn from, and at least one must be held out'
        )
        raise ValueError(msg)
    return validation


def _is_without_labels(X, label_column):
    """Tell whether no table holds labels."""
    table = catalog_of(X) if holds_images(X) else None
    return table is None or label_column not in table.colnames


def _is_unlabelled(X, label_column):
    """Tell for each row whether it lacks a label; where no table holds labels, all do."""
    if _is_without_labels(X, label_column):
        return np.ones(len(X), bool)
    return ~read_labels(catalog_of(X), label_column)[1]


def _some(images, target):
    """Take samples for `to_onnx`, evenly from all."""
    step = -(-len(images) // MOST_SAMPLES)
    return images[::step], target[::step]
