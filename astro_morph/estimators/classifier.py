# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MorphologyClassifier: label galaxies by morphology, from few labels."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from astro_morph.cutouts import as_samples, holds_images
from astro_morph.estimators.learner import Learner
from astro_morph.estimators.predictor import ClassPredictor
from astro_morph.learning.active import suspect_labels
from astro_morph.learning.fitting import fetch_and_clean
from astro_morph.learning.labels import (
    check_classes,
    check_known,
    encode_labels,
    has_labels,
    labels_of,
    validation_of,
    weights_of,
)
from astro_morph.learning.rare import add_weak_negatives
from astro_morph.learning.subjects.classes import Classes
from astro_morph.prediction.predict import predict
from astro_morph.utils.messages import for_caller

__all__ = ['MorphologyClassifier']

STRATEGIES = ('linear', 'head', 'fine-tune', 'semi-supervised', 'rare')


class MorphologyClassifier(Learner, ClassPredictor, ClassifierMixin, BaseEstimator):
    """
    Label galaxies by morphology, from few labels.

    Each row of the catalogue has an image; some rows have a label, and a masked or empty one means
    unlabelled. The classifier starts from an encoder that was pretrained without labels, and
    either fine-tunes it or fits a head on its frozen features. Predictions are averaged over the
    eight rotations and reflections of the square, so that handedness can't be learnt unless
    ``views='rotations'``. Their probabilities are calibrated on held-out labels (Guo et al. 2017,
    arXiv:1706.04599).

    Parameters
    ----------
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from: a source, the name of a survey such as
        ``'legacy-dr10'`` or its TOML file, the pattern of FITS mosaics, or ``'auto'`` for the
        table's column of image paths, else the survey that ``astro_morph.conf.survey`` names.
    label_column : str, default='morphology'
        Column of the labels, used where ``y`` is not given.
    encoder : str or MorphologyEncoder, default='auto'
        The encoder to start from: ``'auto'`` or a name for a bundled one, ``'moco'`` to
        pretrain on all rows first, ``'auto+moco'`` to continue the bundled one on all rows,
        ``'random'`` for random weights, the path of a saved one, or an encoder; one that is not
        fitted is fitted on all rows.
    strategy : {'auto', 'linear', 'head', 'fine-tune', 'semi-supervised', 'rare'}, default='auto'
        How the classes are learnt: ``'linear'`` and ``'head'`` fit a head on frozen features,
        linear or with a hidden layer; ``'fine-tune'`` trains encoder and head together;
        ``'semi-supervised'`` also learns from the unlabelled rows; ``'rare'`` finds a rare kind
        from five or ten examples: it fits a linear head to them and to all rows without a label,
        as weak examples of the class ``'other'``, see `rank`. ``'auto'`` takes what predicts
        held-out labels best: one of the two heads below 200 labels, linear head or fine-tuning
        from there on.
    class_weight : {'balanced'}, dict or None, default=None
        Weight of each class, as in scikit-learn. With ``'balanced'`` all classes weigh the same:
        more galaxies of rare classes are found, and the probabilities are those of a sky where all
        classes are equally frequent.
    label_smoothing : float, default=0.1
        Fraction of the probability that a label distributes over all classes when fine-tuning.
        Increase it if labels are often wrong.
    size : int, `~astropy.units.Quantity`, str or tuple, default=None
        Side of the cutouts, in pixels or as an angle; or a factor times a column, such as
        ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`.
    bands : sequence of str or 'rgb', default=None
        Bands to use, all if None; ``'rgb'`` for the colour pictures of a survey.
    preprocessing : 'auto', `~astro_morph.photometry.Preprocessor` or None, default='auto'
        How images in flux are cleaned before the network sees them. ``'auto'`` uses the
        preprocessor's defaults, and leaves pictures as they are. The model keeps the settings.
    device : str or `torch.device`, default='auto'
        ``'auto'`` takes CUDA, else MPS, else the CPU.
    max_time : float or `~astropy.units.Quantity`, default=None
        Time after which training ends, in seconds if it has no unit; no limit if None.
    random_state : int, `numpy.random.RandomState` or None, default=None
        With an integer the training repeats exactly on one machine.
    verbose : int, default=1
        0 shows no progress.
    architecture : {'resnet18', 'resnet34', 'resnet50'}, default='resnet18'
        The encoder, where it starts from random weights.
    epochs : int or 'auto', default='auto'
        Passes over the labelled images when fine-tuning, after as many without those that are
        held out for the calibration; ``'auto'`` depends on the number of images. With fewer than a
        hundred batches in each part, also because of ``max_time``, the labels held out are not
        learnt.
    batch_size : int, default=64
        Images a step when fine-tuning.
    views : {'all', 'rotations'}, default='all'
        What training and predictions average over: ``'all'`` are the eight rotations and
        reflections of the square, so that a galaxy and its mirror image get the same prediction;
        ``'rotations'`` are the four rotations, so that the sense of winding can be learnt.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The classes, sorted.
    encoder_ : MorphologyEncoder or None
        The encoder that the classifier started from; None for random weights.
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

    _parameter_constraints = Learner._parameter_constraints | {
        'label_column': [str],
        'strategy': [StrOptions({'auto', *STRATEGIES})],
        'class_weight': [None, dict, StrOptions({'balanced'})],
        'label_smoothing': [Interval(Real, 0, 1, closed='left')],
    }

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
        views='all',
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
        self.views = views

    def fit(self, X, y=None, sample_weight=None, *, validation=None):
        """
        Learn the classes from the labelled rows.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            A catalogue, positions, cutouts, images (n, band, y, x), or plain features (n, d).
        y : array_like, shape (n,), default=None
            The labels; masked or empty ones are unlabelled. If None, those of the column
            ``label_column``.
        sample_weight : array_like, shape (n,), default=None
            Weight of each row; equal weights if None.
        validation : array_like of bool, shape (n,), default=None
            Rows whose labels are not learnt, but used to calibrate the probabilities and, when
            fine-tuning, to select the epoch whose weights are kept. If None, some labels are held
            out for a part of the training, and learnt in the end.

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
        labels, is_labelled, sample_weight = self._labels(X, y, sample_weight)
        # What can't be learnt is refused before hours go into images and pretraining.
        check_classes(labels[is_labelled])
        self._lesson(X, labels, np.flatnonzero(is_labelled), sample_weight, validation)

        raw, clean, preprocessing = fetch_and_clean(self, X)
        rows = np.flatnonzero(is_labelled & clean.is_ok)
        target, weight, validation = self._lesson(clean, labels, rows, sample_weight, validation)
        return self._learn(
            self._subject(),
            (raw, clean, preprocessing),
            rows,
            np.eye(len(self.classes_))[target],
            weight,
            validation=validation,
            is_pool=~is_labelled & clean.is_ok,
        )

    def suspect_labels(self, X, y=None):
        """
        List the labels that are likely wrong, by confident learning.

        Each label is predicted from the others, by a linear head on the features of the encoder
        that `fit` starts from, which has not learnt the labels. The classifier need not be fitted.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in `fit`.
        y : array_like, shape (n,), default=None
            Their labels; those of the column ``label_column`` if None.

        Returns
        -------
        table : `~astropy.table.Table`
            ``row``, ``label``, ``suggested``, ``p_label`` and ``p_suggested``, the most doubtful
            first, see `~astro_morph.learning.active.suspect_labels`.
        """
        labels, is_labelled = labels_of(X, y, self.label_column)
        frozen = clone(self).set_params(strategy='linear').fit(X, y)
        predictions = frozen._run(predict, as_samples(X)[is_labelled], with_features=True)
        is_ok = predictions.status == 'ok'
        table = suspect_labels(predictions.features[is_ok], labels[is_labelled][is_ok])
        table['row'] = np.flatnonzero(is_labelled)[is_ok][table['row']]
        return table

    def _adopt(self, model, path):
        if not model.spec.classes:
            receiver = for_caller('MorphologyClassifier as encoder=', 'fit as --encoder')
            msg = f'{str(path)!r} holds an encoder; pass it to {receiver}'
            raise ValueError(msg)
        self._check_predicts('classes', model, path)
        self.model_ = model
        self.classes_ = np.array(model.spec.classes)

    def _labels(self, X, y, sample_weight):
        """Return the labels, which rows have one, and the weights of the rows."""
        labels, is_labelled = labels_of(X, y, self.label_column)
        if self.strategy != 'rare':
            return labels, is_labelled, sample_weight
        labels, weight = add_weak_negatives(labels, is_labelled)
        everyone = np.arange(len(labels))
        return labels, np.ones(len(labels), bool), weight * weights_of(sample_weight, X, everyone)

    def _lesson(self, X, labels, rows, sample_weight, validation):
        """Set the classes; return target, weight, and which of the labelled rows are held out."""
        self.classes_, target = encode_labels(labels[rows], of=' of the rows with an image')
        validation = _held_out(validation_of(validation, len(X), rows), target)
        weight = weights_of(sample_weight, X, rows)
        return target, weight * compute_sample_weight(self.class_weight, labels[rows]), validation

    def _subject(self):
        """Return the classes as what a lesson teaches."""
        return Classes(tuple(self.classes_.tolist()), label_smoothing=self.label_smoothing)

    def _targets(self, X, y):
        """Return the index of the class of each sample, -1 where it is not known."""
        if y is None and not has_labels(X, self.label_column):
            return np.full(len(X), -1)
        labels, is_labelled = labels_of(X, y, self.label_column)
        check_known(labels[is_labelled], self.classes_, is_any_needed=False)
        is_class = labels[:, np.newaxis] == self.classes_
        return np.where(is_labelled & is_class.any(axis=1), is_class.argmax(axis=1), -1)

    def _fit_features(self, X, y, sample_weight, validation):
        X = validate_data(self, X, dtype=np.float64)
        labels, is_labelled, sample_weight = self._labels(X, y, sample_weight)
        check_classification_targets(labels[is_labelled])
        check_classes(labels[is_labelled])
        rows = np.flatnonzero(is_labelled)
        target, weight, validation = self._lesson(X, labels, rows, sample_weight, validation)
        target = np.eye(len(self.classes_))[target]
        return self._learn_features(self._subject(), X[rows], target, weight, validation=validation)


def _held_out(validation, target):
    """Return which labelled rows are held out, or None; others of all classes must be left."""
    if validation is None:
        return None
    if not validation.any() or len(np.unique(target[~validation])) < len(np.unique(target)):
        msg = (
            f'validation holds out {validation.sum()} of {len(target)} labels; at least one must '
            'be held out, and some labels of every class must be left to learn from'
        )
        raise ValueError(msg)
    return validation
