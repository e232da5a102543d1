# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Methods that all trained estimators share: save, load, from_pretrained and the ONNX export."""

import copy

import numpy as np
from sklearn.base import _clone_parametrized
from sklearn.utils.validation import check_is_fitted, validate_data

import astro_morph
from astro_morph.cutouts import holds_images
from astro_morph.learning.distillation import distil
from astro_morph.learning.fitting import seconds, seeded
from astro_morph.learning.training.devices import choose_device
from astro_morph.models.torch_model import TorchModel
from astro_morph.models.weights import bundled_path
from astro_morph.prediction.framing import fetch_framed, reframed
from astro_morph.prediction.predict import prepare, request
from astro_morph.utils.messages import for_caller

__all__ = ['Trained', 'TrainedPredictor']

# Largest number of galaxies on which an ONNX file is measured: enough for one or two points of
# accuracy.
MOST_MEASURED = 256

# The estimator that reads a model of each kind.
READERS = {
    'features': 'MorphologyEncoder',
    'classes': 'MorphologyClassifier',
    'votes': 'MorphologyVotes',
    'numbers': 'MorphologyRegressor',
}


class Trained:
    """
    Mixin of an estimator whose ``model_`` is trained by PyTorch.

    A subclass may override ``_adopt(model, path)``, which takes over a model read from a file, or
    raises a ValueError; and ``_read(path, device)``, which reads it.
    """

    _read = staticmethod(TorchModel.load)

    def save(self, path, *, overwrite=False):
        """
        Write the model to a file that `load` reads: stretch, weights, calibration and classes.

        Parameters
        ----------
        path : path-like
            The file.
        overwrite : bool, default=False
            Whether a file of that name may be replaced.
        """
        check_is_fitted(self)
        self.model_.save(path, overwrite=overwrite)

    @classmethod
    def load(cls, path, **parameters):
        """
        Read a model from a file. No code in the file is run.

        Parameters
        ----------
        path : path-like
            The file.
        **parameters
            Parameters of the estimator, such as ``source`` and ``device``.

        Returns
        -------
        estimator : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the file is not a model of this kind.
        """
        estimator = cls(**parameters)
        estimator._adopt(cls._read(path, device=choose_device(estimator.device)), path)
        return estimator

    @classmethod
    def from_pretrained(cls, name, **parameters):
        """
        Load a model that comes with the package.

        Parameters
        ----------
        name : str
            Its name, such as ``'gz2-5class'`` or ``'skies-resnet18'``.
        **parameters
            Parameters of the estimator.

        Returns
        -------
        estimator : object
            The fitted estimator.
        """
        return cls.load(bundled_path(name), **parameters)

    def distil(self, X, *, max_time=None):
        """
        Train a copy that needs one view of each galaxy instead of eight, without labels.

        Its predictions take an eighth of the time. It learns the averages that this model predicts
        on galaxies without labels, see `astro_morph.learning.distillation.distil`.

        Parameters
        ----------
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame
            Samples as in ``fit``, a few thousand if possible, like those that will be predicted.
        max_time : float or `~astropy.units.Quantity`, default=None
            Time after which the training ends, in seconds if it has no unit; no limit if None.

        Returns
        -------
        estimator : object
            Another estimator, whose ``model_`` takes one view.

        Raises
        ------
        ValueError
            If there are fewer than a hundred images, or the model takes plain features.
        """
        check_is_fitted(self)
        other = copy.copy(self)
        with seeded(self.random_state) as seed:
            model, other.history_ = distil(
                self.model_,
                X,
                source=self.source,
                max_time=seconds(max_time),
                seed=seed,
                verbose=bool(self.verbose),
            )
        other.model_ = model.stamped(astro_morph.__version__)
        return other

    def __sklearn_clone__(self):
        # A fitted encoder is kept: training it in each fold of a cross-validation would take hours.
        clone = _clone_parametrized(self)
        for name in ('encoder', 'start'):
            if hasattr(encoder := getattr(self, name, None), 'model_'):
                setattr(clone, name, encoder)
        return clone

    def __sklearn_is_fitted__(self):
        return hasattr(self, 'model_')

    def _adopt(self, model, path):
        self.model_ = model

    def _check_predicts(self, expected, model, path):
        """Raise an error unless a model predicts classes, votes or numbers, as expected."""
        came = model.spec.predicts
        if came != expected:
            remedy = for_caller(f'read it with {READERS[came]}.load', 'use it with annotate')
            msg = f'{str(path)!r} holds a model of {came}; {remedy}'
            raise ValueError(msg)

    def _check_fitted(self):
        check_is_fitted(self)

    def _check_samples(self, X):
        check_is_fitted(self)
        if holds_images(X):
            return X
        return validate_data(self, X, dtype=np.float64, reset=False)


class TrainedPredictor(Trained):
    """
    Mixin of a trained estimator whose predictions can be exported.

    A subclass has ``_targets(X, y)``, which returns the index of the class of each sample, -1 where
    it is not known; or None, if the model has no classes.
    """

    def to_onnx(self, path, X=None, y=None, *, precision='float32', views=None, overwrite=False):
        """
        Write the model as one ONNX file, which needs no PyTorch.

        OnnxClassifier, OnnxVotes or OnnxRegressor reads it. The file takes raw images and holds
        stretch, views, calibration and names. It is kept only if ONNX Runtime gives the same
        results as PyTorch. Integers and fewer views are faster and change the results; the change
        is measured, see `astro_morph.models.export.export`.

        Parameters
        ----------
        path : path-like
            The file.
        X : Table, SkyCoord, CutoutSet, ndarray or DataFrame, default=None
            A few hundred samples as in ``fit``, on which the change is measured and by which the
            integers are scaled. Required unless precision and views are those of the model.
        y : array_like, shape (n,), default=None
            The classes of the samples, if the model has classes; if None, those of the column
            ``label_column``, where it exists.
        precision : {'float32', 'float16', 'int8'}, default='float32'
            Precision of the encoder: 16-bit floats halve the file, 8-bit integers are also faster
            on processors.
        views : {1, 4, 8}, default=None
            Number of rotations and reflections to average, to which the time is proportional;
            those of the model if None.
        overwrite : bool, default=False
            Whether a file of that name may be replaced.

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
        images = target = None
        if X is not None:
            spec = reframed(self.model_, self.size).spec
            cutouts = prepare(spec, fetch_framed(X, **request(spec, self.source)))
            rows = np.flatnonzero(cutouts.is_ok)
            rows = rows[:: -(-len(rows) // MOST_MEASURED) or 1]
            images, target = cutouts.images[rows], self._targets(X, y)
            target = None if target is None else target[rows]
        return export(
            self.model_,
            path,
            precision=precision,
            views=views,
            images=images,
            target=target,
            overwrite=overwrite,
        )
