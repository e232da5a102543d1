# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find, load or train the encoder that an estimator starts from."""

import os

from sklearn.base import clone

from astro_morph.estimators.encoder import MorphologyEncoder
from astro_morph.models.encoders.names import SCHEMES, split_name
from astro_morph.models.weights import DEFAULT_ENCODER, bundled_names
from astro_morph.utils.messages import as_written

__all__ = ['starting_encoder']

# Encoders that are trained on all rows first, and what their training starts from.
TRAINED_FIRST = {'moco': None, 'auto+moco': 'auto'}


def starting_encoder(estimator, cutouts):
    """
    Return the encoder that an estimator's parameter ``encoder`` names; train it if necessary.

    Parameters
    ----------
    estimator : object
        Has ``encoder``, ``architecture``, ``max_time``, ``preprocessing``, ``device``,
        ``random_state``, ``verbose`` and ``views``.
    cutouts : `~astro_morph.CutoutSet`
        The cutouts on which an unfitted encoder is trained.

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
    if encoder in TRAINED_FIRST:
        encoder = MorphologyEncoder(
            start=TRAINED_FIRST[encoder],
            architecture=estimator.architecture,
            max_time=estimator.max_time,
            preprocessing=estimator.preprocessing,
            views=estimator.views,
            **shared,
        )
    if isinstance(encoder, MorphologyEncoder):
        return encoder if hasattr(encoder, 'model_') else clone(encoder).fit(cutouts)
    if encoder in bundled_names() or split_name(encoder):
        return MorphologyEncoder.from_pretrained(encoder, **shared)
    if os.path.exists(encoder):
        return MorphologyEncoder.load(encoder, **shared)
    msg = (
        f"{as_written('encoder')} must be 'auto', 'moco', 'auto+moco', 'random', one of "
        f'{bundled_names()}, the path of a saved encoder, a name that begins with one of '
        f'{list(SCHEMES)} and a colon, or a MorphologyEncoder; {encoder!r} is none of these'
    )
    raise ValueError(msg)
