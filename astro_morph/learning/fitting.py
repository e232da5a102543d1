# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Prepare a fit: seed the random numbers, fetch the cutouts and clean them."""

import contextlib

import astropy.units as u
import numpy as np
import torch
from sklearn.utils import check_random_state
from torch.nn import init
from torch.overrides import TorchFunctionMode

from astro_morph import conf, surveys
from astro_morph.models.building import side_of
from astro_morph.photometry import Preprocessor
from astro_morph.photometry.cleaning import preprocess
from astro_morph.prediction.framing import fetch_framed
from astro_morph.utils.messages import as_written, for_caller

__all__ = ['fetch_and_clean', 'seconds', 'seeded', 'survey_of', 'usable']

# The functions by which layers draw their first weights. Layers take no generator, and the global
# one is shared by all threads.
DRAWS_WEIGHTS = {
    torch.rand,
    torch.randn,
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    init.kaiming_uniform_,
    init.normal_,
    init.uniform_,
}


def seconds(time):
    """Convert a time, in seconds or a quantity, to seconds; None stays None."""
    return None if time is None else u.Quantity(time, u.s).to_value(u.s)


@contextlib.contextmanager
def seeded(random_state):
    """
    Seed the drawing of random weights in this thread, without PyTorch's global generator.

    Parameters
    ----------
    random_state : None, int or `numpy.random.RandomState`
        Seed or generator, as in scikit-learn.

    Yields
    ------
    seed : int
        A seed for generators.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.fitting import seeded
    >>> weights = []
    >>> for _ in range(2):
    ...     with seeded(0):
    ...         weights.append(torch.nn.Linear(8, 3).weight)
    >>> torch.equal(*weights)
    True
    """
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    with _OwnGenerator(torch.Generator().manual_seed(seed)):
        yield seed


class _OwnGenerator(TorchFunctionMode):
    """Let weights on the CPU be drawn from a generator, in one thread, as PyTorch's modes are."""

    def __init__(self, generator):
        super().__init__()
        self._generator = generator

    def __torch_function__(self, function, types, args=(), options=None):
        options = options or {}
        if function in DRAWS_WEIGHTS and options.get('generator') is None:
            options = options | {'generator': self._generator}
        return function(*args, **options)


def usable(cutouts):
    """
    Return the rows that have an image.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        All rows.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        Those whose status is ``'ok'``.

    Raises
    ------
    ValueError
        If no row has one; the message lists the reasons.
    """
    if not cutouts.is_ok.any():
        reasons, counts = np.unique(cutouts.status, return_counts=True)
        why = ', '.join(f'{n} {reason}' for reason, n in zip(reasons, counts, strict=True))
        msg = (
            f'{as_written("X")} has no row with an image ({why or "it is empty"}); check '
            f'{as_written("source")}{for_caller("=", "")} and the paths'
        )
        raise ValueError(msg)
    # Not copied if nothing is left out: the images may be a file larger than the memory.
    return cutouts if cutouts.is_ok.all() else cutouts[cutouts.is_ok]


def fetch_and_clean(estimator, X):
    """
    Fetch the cutouts that an estimator is to learn from, and clean them.

    Parameters
    ----------
    estimator : object
        Has ``source``, ``size``, ``bands`` and ``preprocessing``.
    X : object
        Samples, as in `~astro_morph.cutouts.as_cutouts`.

    Returns
    -------
    raw, clean : `~astro_morph.CutoutSet`
        The cutouts as they came, and cleaned.
    settings : dict or None
        Settings of the preprocessing.

    Raises
    ------
    ValueError
        If no row has an image, or the images are not square, or too small.
    """
    raw = fetch_framed(X, source=estimator.source, size=estimator.size, bands=estimator.bands)
    # Checked before the time-consuming cleaning.
    usable(raw)
    side_of(raw)
    preprocessor = estimator.preprocessing
    if preprocessor == 'auto':
        preprocessor = Preprocessor() if raw.kind == 'flux' else None
    settings = None if preprocessor is None else preprocessor.settings()
    return raw, preprocess(raw, settings), settings


def survey_of(source):
    """Return the survey whose images a source fetches, None if unknown."""
    if source == 'auto':
        source = conf.survey
    return surveys.get(source) if surveys.is_known(source) else getattr(source, 'survey', None)
