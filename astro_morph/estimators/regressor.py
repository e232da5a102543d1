# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MorphologyRegressor: predict numbers, such as bulge fractions, with intervals."""

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import validate_data

from astro_morph.cutouts import holds_images
from astro_morph.estimators.learner import Learner
from astro_morph.estimators.numbers import NumberPredictor
from astro_morph.learning.fitting import fetch_and_clean
from astro_morph.learning.labels import numbers_of, validation_of, weights_of
from astro_morph.learning.subjects.numbers import Numbers

__all__ = ['MorphologyRegressor']

STRATEGIES = ('linear', 'fine-tune')

# Of a single galaxy no number could be learnt.
FEWEST = 2


class MorphologyRegressor(Learner, NumberPredictor, RegressorMixin, BaseEstimator):
    """
    Predict numbers of galaxies from their images, from few known ones.

    The numbers are any columns of a catalogue, such as bulge fractions, Sersic indices, lengths of
    bars or photometric redshifts; in some rows they are known, and masked values are not. Each
    prediction has an interval that holds the true number with a given probability, by conformal
    prediction with signed and normalised errors, see
    `~astro_morph.models.calibration.number_scores`. The encoder and the averaging over rotations
    and reflections are those of `MorphologyClassifier`.

    Parameters
    ----------
    target : str or sequence of str, default=None
        Column or columns of the numbers. Required by `fit`, unless it is given ``y``.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from, as for `MorphologyClassifier`.
    encoder : str or MorphologyEncoder, default='auto'
        The encoder to start from, as for `MorphologyClassifier`.
    strategy : {'auto', 'linear', 'fine-tune'}, default='auto'
        How the numbers are learnt: ``'linear'`` fits a ridge regression on frozen features;
        ``'fine-tune'`` trains encoder and head together. ``'auto'`` takes what predicts numbers
        held out best, and ``'linear'`` below 200 galaxies.
    size, bands, preprocessing, device, max_time, random_state, verbose : object
        As for `MorphologyClassifier`.
    architecture : {'resnet18', 'resnet34', 'resnet50'}, default='resnet18'
        The encoder, where it starts from random weights.
    epochs : int or 'auto', default='auto'
        Passes over the images when fine-tuning, as for `MorphologyClassifier`.
    batch_size : int, default=64
        Images a step when fine-tuning.
    views : {'all', 'rotations'}, default='all'
        What training and predictions average over, as for `MorphologyClassifier`.

    Attributes
    ----------
    targets_ : ndarray of str, shape (k,)
        Names of the numbers.
    units_ : list of `~astropy.units.Unit` or None
        Their units, those of the columns; None for a number without one.
    encoder_ : MorphologyEncoder or None
        The encoder that the regressor started from; None for random weights.
    history_ : list of dict
        A record an epoch of fine-tuning: loss, accuracy (fraction of numbers within half a standard
        deviation), learning rate, seconds.
    model_ : `~astro_morph.models.torch_model.TorchModel`
        The network and its specification.

    See Also
    --------
    MorphologyVotes : Predicts fractions of votes, whose number of voters is known.
    OnnxRegressor : The same predictions without PyTorch.

    Examples
    --------
    >>> from astro_morph import MorphologyRegressor
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=60, random_state=0)
    >>> regressor = MorphologyRegressor('axis_ratio', survey, size=32, verbose=0)
    >>> regressor = regressor.fit(survey.catalogue)
    >>> low, high = regressor.predict_interval(survey.catalogue)
    >>> bool((low < high).all())
    True
    >>> regressor.annotate(survey.catalogue).colnames[-6:-3]
    ['morph_axis_ratio', 'morph_axis_ratio_lo', 'morph_axis_ratio_hi']
    """

    _parameter_constraints = Learner._parameter_constraints | {
        'target': [None, str, 'array-like'],
        'strategy': [StrOptions({'auto', *STRATEGIES})],
    }

    def __init__(
        self,
        target=None,
        source='auto',
        *,
        encoder='auto',
        strategy='auto',
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
        self.target = target
        self.source = source
        self.encoder = encoder
        self.strategy = strategy
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
        Learn the numbers from the rows where they are known.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            A catalogue, positions, cutouts, images (n, band, y, x), or plain features (n, d).
        y : array_like, shape (n,) or (n, k), Table or DataFrame, default=None
            The numbers; masked and infinite ones are not known. If None, those of the columns
            ``target``.
        sample_weight : array_like, shape (n,), default=None
            Weight of each row, at least 0; equal weights if None.
        validation : array_like of bool, shape (n,), default=None
            Rows whose numbers are not learnt, but used for the intervals and, when fine-tuning, to
            select the epoch whose weights are kept. If None, some are held out for a part of the
            training, and learnt in the end.

        Returns
        -------
        self : MorphologyRegressor
            The fitted regressor.

        Raises
        ------
        ValueError
            If there are no numbers in two rows, or no images; if a weight is negative; or if the
            rows to validate on leave none to learn from.
        """
        self._validate_params()
        if not holds_images(X):
            X = validate_data(self, X, dtype=np.float64)
        numbers = numbers_of(X, y, self.target)
        values = np.column_stack([*numbers.itercols()])
        is_labelled = np.isfinite(values).any(axis=1)
        # What can't be learnt is refused before hours go into images and pretraining.
        _refuse_few(is_labelled, numbers.colnames)
        rows = np.flatnonzero(is_labelled)
        weights_of(sample_weight, X, rows)
        _held_out(validation_of(validation, len(X), rows))
        images = None
        if holds_images(X):
            images = fetch_and_clean(self, X)
            is_labelled &= images[1].is_ok
            _refuse_few(is_labelled, numbers.colnames, of=' with an image')
        rows = np.flatnonzero(is_labelled)
        weight = weights_of(sample_weight, X, rows)
        rows, weight = rows[weight > 0], weight[weight > 0]
        _refuse_few(weight, numbers.colnames, of=' with a weight')
        # Only their ratios count: the penalties are those of weights of about one.
        weight = weight / weight.max()
        weight = weight / weight.mean()
        held_out = _held_out(validation_of(validation, len(X), rows))
        _refuse_unknown(values[rows if held_out is None else rows[~held_out]], numbers.colnames)
        units = [str(column.unit or '') for column in numbers.itercols()]
        subject = Numbers(numbers.colnames, units, values[rows])
        lesson = rows, subject.standardised(values[rows]), weight
        if images is None:
            features = X[rows]
            return self._learn_features(subject, features, *lesson[1:], validation=held_out)
        return self._learn(subject, images, *lesson, validation=held_out)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _adopt(self, model, path):
        self._check_predicts('numbers', model, path)
        self.model_ = model
        if self.target is None:
            self.target = list(model.spec.classes)

    def _targets(self, X, y):
        return None


def _refuse_unknown(values, names):
    """Raise a ValueError if one of several columns has no number."""
    has_none = ~np.isfinite(values).any(axis=0)
    if has_none.any():
        unknown = [name for name, is_empty in zip(names, has_none, strict=True) if is_empty]
        msg = (
            f'the columns {unknown} have no number in any row to learn from; fill some in, or '
            'leave them out'
        )
        raise ValueError(msg)


def _refuse_few(is_labelled, names, *, of=''):
    """Raise a ValueError unless several rows have a number."""
    n = int(np.count_nonzero(is_labelled))
    if n < FEWEST:
        msg = (
            f'the columns {names} have numbers in {n} sample{"s" * (n != 1)}{of}, expected at '
            f'least {FEWEST}; fill in more'
        )
        raise ValueError(msg)


def _held_out(validation):
    """Return which labelled rows are held out, or None; some others must be left."""
    if validation is None or 0 < validation.sum() <= len(validation) - FEWEST:
        return validation
    msg = (
        f'validation holds out {validation.sum()} of {len(validation)} rows with numbers; at least '
        f'one must be held out, and {FEWEST} must be left to learn from'
    )
    raise ValueError(msg)
