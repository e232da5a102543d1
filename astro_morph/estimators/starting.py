# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The encoder that an estimator starts from, and keeps."""

import os

from sklearn.base import _clone_parametrized, clone

from astro_morph.estimators.encoder import MorphologyEncoder
from astro_morph.models.bundled import bundled_names

__all__ = ['clone_with_encoder', 'starting_encoder']

# The bundled encoder from which a fit starts by default.
DEFAULT_ENCODER = 'sdss-moco-resnet18'


def starting_encoder(estimator, cutouts):
    """
    Give the encoder that an estimator's parameter ``encoder`` asks for.

    Parameters
    ----------
    estimator : object
        Has ``encoder``, ``architecture``, ``max_time``, ``preprocessing``, ``device``,
        ``random_state`` and ``verbose``.
    cutouts : `~astro_morph.CutoutSet`
        What an encoder is fitted on that is not fitted yet.

    Returns
    -------
    encoder : `~astro_morph.MorphologyEncoder` or None
        A fitted encoder; None for random weights.

    Raises
    ------
    ValueError
        If there is no such encoder.
    """
    encoder = DEFAULT_ENCODER if estimator.encoder == 'auto' else estimator.encoder
    if encoder == 'random':
        return None
    shared = {name: getattr(estimator, name) for name in ('device', 'random_state', 'verbose')}
    if encoder == 'moco':
        encoder = MorphologyEncoder(
            architecture=estimator.architecture,
            max_time=estimator.max_time,
            preprocessing=estimator.preprocessing,
            **shared,
        )
    if isinstance(encoder, MorphologyEncoder):
        return encoder if hasattr(encoder, 'model_') else clone(encoder).fit(cutouts)
    if encoder in bundled_names():
        return MorphologyEncoder.from_pretrained(encoder, **shared)
    if os.path.exists(encoder):
        return MorphologyEncoder.load(encoder, **shared)
    msg = (
        f"encoder must be 'auto', 'moco', 'random', one of {bundled_names()}, the path of a saved "
        f'encoder, or a MorphologyEncoder; {encoder!r} is none of these'
    )
    raise ValueError(msg)


def clone_with_encoder(estimator):
    """
    Clone an estimator as scikit-learn does, but keep an encoder that is fitted.

    To fit it anew, in each fold of a cross-validation, may take hours.

    Parameters
    ----------
    estimator : object
        Has ``encoder``.

    Returns
    -------
    clone : object
        The same parameters, not fitted.
    """
    other = _clone_parametrized(estimator)
    if hasattr(estimator.encoder, 'model_'):
        other.encoder = estimator.encoder
    return other
