# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Embedding: the leading principal components of a model's features, and their column."""

import base64

import numpy as np
from astropy.table import Column, Table
from sklearn.decomposition import PCA

from astro_morph.utils.messages import as_written

__all__ = ['Embedding', 'check_embedding', 'embedding_table', 'fit_embedding']

# Principal components that a model keeps; 128 of 1,408 features take 0.5 MB in its file.
MOST_COMPONENTS = 128

# Half precision is finer than the difference between two views of a galaxy.
PRECISION = np.dtype('<f2')


class Embedding:
    """
    Compute the leading principal components of features.

    They are scaled to a variance of 1 in the first one, so that distances are those of the
    features, up to a factor, and fit into half precision.

    Parameters
    ----------
    mean : ndarray, shape (d,)
        Mean of the features.
    axes : ndarray, shape (n, d)
        Principal components, scaled.
    variance : sequence of float, length n
        Fraction of the variance that each holds, of the galaxies that the model was fitted to.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.models.spec import ModelSpec
    >>> from astro_morph.prediction.embedding import Embedding, fit_embedding
    >>> features = np.random.default_rng(0).normal(size=(50, 8))
    >>> spec = ModelSpec(embedding=fit_embedding(features))
    >>> Embedding.of(spec, 3)(features).shape
    (50, 3)
    """

    def __init__(self, mean, axes, variance):
        self.mean = mean
        self.axes = axes
        self.variance = variance

    @classmethod
    def of(cls, spec, n):
        """
        Return the embedding of a model.

        Parameters
        ----------
        spec : `~astro_morph.models.spec.ModelSpec`
            The specification of the model.
        n : int
            Number of components.

        Returns
        -------
        embedding : Embedding
            The embedding of that length.

        Raises
        ------
        ValueError
            If the model holds none, or fewer components.
        """
        check_embedding(spec, n)
        stored = spec.embedding
        mean = np.frombuffer(base64.b64decode(stored['mean']), '<f4')
        axes = np.frombuffer(base64.b64decode(stored['axes']), PRECISION).reshape(-1, len(mean))
        return cls(mean, axes[:n].astype(np.float32), stored['variance'][:n])

    def __call__(self, features):
        """Return the components (m, n), in float32, of features (m, d); NaN stays NaN."""
        return ((features - self.mean) @ self.axes.T).astype(np.float32)


def check_embedding(spec, n):
    """
    Check that a model holds so many principal components.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model.
    n : int or None
        The number; None is no embedding, which every model has.

    Raises
    ------
    ValueError
        If it does not.
    """
    if n is None:
        return
    if spec.embedding is None:
        msg = (
            f'{as_written("embedding")} is {n!r}, but the model holds no principal components of '
            f'its features, as version {spec.version!r} fitted it; fit it with this version'
        )
        raise ValueError(msg)
    most = len(spec.embedding['variance'])
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= most:
        msg = (
            f'{as_written("embedding")} is {n!r}, expected a whole number from 1 to {most}, the '
            'principal components that the model holds'
        )
        raise ValueError(msg)


def fit_embedding(features):
    """
    Fit the principal components of features, up to 128, as a model stores them.

    Parameters
    ----------
    features : ndarray, shape (m, d)
        Features of the training galaxies.

    Returns
    -------
    stored : dict or None
        For `~astro_morph.models.spec.ModelSpec`, in text; None for fewer than two galaxies.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.prediction.embedding import fit_embedding
    >>> fit_embedding(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5]]))['variance']
    [0.923077, 0.076923]
    """
    n = min(MOST_COMPONENTS, len(features) - 1, features.shape[1])
    if n < 1 or not np.isfinite(features).all():
        return None
    with np.errstate(invalid='ignore'):  # features that are all the same have no variance
        pca = PCA(n, random_state=0).fit(features)
    axes = pca.components_ / (np.sqrt(pca.explained_variance_[0]) or 1)
    return {
        'mean': base64.b64encode(pca.mean_.astype('<f4')).decode(),
        'axes': base64.b64encode(np.ascontiguousarray(axes, PRECISION)).decode(),
        'variance': np.nan_to_num(pca.explained_variance_ratio_).round(6).tolist(),
    }


def embedding_table(spec, predictions):
    """
    Return the column of an embedding, a table without columns if none was computed.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model.
    predictions : `~astro_morph.prediction.predict.Predictions`
        The predictions, with the embedding as features.

    Returns
    -------
    table : `~astropy.table.Table`
        The column ``embedding``, of shape (m, n) in half precision, NaN in the rows without a
        prediction. Its description says how much of the variance it holds.
    """
    components = predictions.features
    n = components.shape[1]
    if n == 0:
        return Table()
    held = sum(spec.embedding['variance'][:n])
    failed = (predictions.status != 'ok')[:, np.newaxis]
    # Not masked: Astropy warns at each copy of a masked column that its fill value, 1e20, is too
    # large for half precision.
    column = Column(
        np.where(failed, np.nan, components).astype(np.float16),
        description=f'First {n} principal components of the features, {held:.1%} of their variance',
        meta={'ucd': 'stat.param;src.morph'},
    )
    return Table({'embedding': column})
