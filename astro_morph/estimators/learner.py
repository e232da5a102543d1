# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Learner: what the estimators share that learn by a strategy, from images or plain features."""

import copy
from numbers import Integral

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

import astro_morph
from astro_morph.cutouts import CutoutSource
from astro_morph.estimators.encoder import MorphologyEncoder
from astro_morph.estimators.starting import starting_encoder
from astro_morph.estimators.trained import TrainedPredictor
from astro_morph.learning.adaptation import adapt
from astro_morph.learning.fitting import seconds, seeded, survey_of, usable
from astro_morph.learning.strategies import FROZEN, Lesson, choose_strategy, fit_features, learn
from astro_morph.learning.training.devices import choose_device
from astro_morph.models.building import build_model
from astro_morph.models.encoders.resnet import ARCHITECTURES
from astro_morph.models.networks import VIEWS
from astro_morph.prediction.framing import reframed

__all__ = ['Learner']


class Learner(TrainedPredictor):
    """
    Mixin of an estimator that learns by a strategy, such as fine-tuning.

    A subclass has the parameters of `_parameter_constraints`, and ``strategy``.
    """

    _parameter_constraints = {
        'source': [str, CutoutSource],
        'encoder': [str, MorphologyEncoder],
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
        'views': [StrOptions(set(VIEWS))],
    }

    def adapt(self, X):
        """
        Adapt the model to the images of another survey, without labels.

        Brightness and noise are measured anew and, where encoder and head were trained together,
        the statistics of the batch norms, see `astro_morph.learning.adaptation.adapt`. Use a
        hundred galaxies or more, of all kinds, about as frequent as in the training.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in ``fit``, similar to those that will be predicted.

        Returns
        -------
        estimator : object
            Another estimator, for such images. Its calibration is unchanged.
        """
        check_is_fitted(self)
        other = copy.copy(self)
        model = reframed(self.model_, self.size)
        other.model_ = adapt(model, X, source=self.source).stamped(astro_morph.__version__)
        return other

    def _learn(self, subject, images, rows, target, weight, *, validation, is_pool=None):
        """Learn from some rows of the images; those of the pool have no label."""
        raw, clean, preprocessing = images
        lesson = Lesson(clean[rows], target, weight)
        self.encoder_ = starting_encoder(self, raw)
        strategy = choose_strategy(self.strategy, len(rows))
        has_pool = strategy == 'semi-supervised' and is_pool.any()
        with seeded(self.random_state) as seed:
            model = build_model(
                raw,
                usable(clean),
                architecture=self.architecture,
                start=self.encoder_ and self.encoder_.model_,
                preprocessing=preprocessing,
                is_frozen=strategy in FROZEN,
                device=choose_device(self.device),
                views=VIEWS[self.views],
            )
            model, self.history_ = learn(
                model,
                lesson,
                subject,
                strategy=strategy,
                validation=validation,
                unlabelled=clean[is_pool] if has_pool else None,
                seed=seed,
                epochs=self.epochs,
                batch_size=self.batch_size,
                max_time=seconds(self.max_time),
                survey=survey_of(self.source),
                verbose=bool(self.verbose),
            )
        self.model_ = model.stamped(astro_morph.__version__)
        return self

    def _learn_features(self, subject, features, target, weight, *, validation):
        """Learn from plain features."""
        with seeded(self.random_state) as seed:
            model = fit_features(
                features, target, subject, sample_weight=weight, seed=seed, validation=validation
            )
        self.model_ = model.stamped(astro_morph.__version__)
        self.encoder_, self.history_ = None, []
        return self
