# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the estimators that are trained share: save, load, export, and scikit-learn's checks."""

import numpy as np
from sklearn.base import _clone_parametrized
from sklearn.utils.validation import check_is_fitted, validate_data

from astro_morph.cutouts import as_cutouts, holds_images
from astro_morph.learning.training.devices import choose_device
from astro_morph.models.torch_model import TorchModel
from astro_morph.models.weights import bundled_path
from astro_morph.prediction.predict import prepare, request

__all__ = ['Trained']

# Galaxies that an ONNX file is measured on: they give its accuracy to a point or two.
MOST_MEASURED = 256


class Trained:
    """
    Mixin of an estimator whose ``model_`` is trained by PyTorch.

    A subclass has ``_adopt(model, path)``, which takes a model that was read from a file, or raises
    a ValueError.
    """

    def save(self, path, *, overwrite=False):
        """
        Write the model to a file, which `load` reads: stretch, weights, calibration and classes.

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
        estimator._adopt(TorchModel.load(path, device=choose_device(estimator.device)), path)
        return estimator

    @classmethod
    def from_pretrained(cls, name, **parameters):
        """
        Load a model that comes with the package.

        Parameters
        ----------
        name : str
            Its name, such as ``'sdss-4class'`` or ``'sdss-moco-resnet18'``.
        **parameters
            Parameters of the estimator.

        Returns
        -------
        estimator : object
            The fitted estimator.
        """
        return cls.load(bundled_path(name), **parameters)

    def __sklearn_clone__(self):
        # A fitted encoder is kept: to train it anew in each fold of a cross-validation takes hours.
        clone = _clone_parametrized(self)
        encoder = getattr(self, 'encoder', None)
        if hasattr(encoder, 'model_'):
            clone.encoder = encoder
        return clone

    def __sklearn_is_fitted__(self):
        return hasattr(self, 'model_')

    def _adopt(self, model, path):
        self.model_ = model

    def _check_samples(self, X):
        check_is_fitted(self)
        if X is None or holds_images(X):
            return X
        return validate_data(self, X, dtype=np.float64, reset=False)

    def _export(self, path, X, target_of, **options):
        """Write an ONNX file that is measured on the cutouts of X, where they are given."""
        from astro_morph.models.export import export

        check_is_fitted(self)
        images = target = None
        if X is not None:
            spec = self.model_.spec
            cutouts = prepare(spec, as_cutouts(X, **request(spec, self.source)))
            rows = np.flatnonzero(cutouts.is_ok)
            rows = rows[:: -(-len(rows) // MOST_MEASURED) or 1]
            images, target = cutouts.images[rows], target_of(X)
            target = None if target is None else target[rows]
        return export(self.model_, path, images=images, target=target, **options)
