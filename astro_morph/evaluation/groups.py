# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Divide galaxies into groups by a column: bins of equal counts, or kinds."""

import dataclasses
import itertools

import numpy as np

from astro_morph.utils.messages import as_written

__all__ = ['Groups', 'find_groups']

# Number of bins of a numeric column.
N_BINS = 5


@dataclasses.dataclass(frozen=True)
class Groups:
    """
    Bins or kinds of the values of a column.

    Parameters
    ----------
    names : list of str
        Name of each group.
    edges : ndarray, shape (n_groups + 1,), default=None
        Edges of the bins; None for kinds.

    Examples
    --------
    >>> from astro_morph.evaluation.groups import find_groups
    >>> groups = find_groups(['SDSS', 'DECaLS', 'SDSS'])
    >>> groups.names, groups.edges
    (['DECaLS', 'SDSS'], None)
    """

    names: list
    edges: np.ndarray | None = None

    def assign(self, values):
        """
        Return the number of the group of each value.

        Parameters
        ----------
        values : array_like, shape (n,)
            Values of the column.

        Returns
        -------
        numbers : ndarray of int, shape (n,)
            Number of the group; -1 for values that are masked, or in no group.
        """
        if self.edges is None:
            texts = _as_texts(values)
            place = np.searchsorted(self.names, texts).clip(max=len(self.names) - 1)
            return np.where(np.array(self.names)[place] == texts, place, -1)
        numbers = _as_numbers(values)
        place = np.searchsorted(self.edges, numbers, side='right') - 1
        place[numbers == self.edges[-1]] = len(self.names) - 1
        return np.where((place >= 0) & (place < len(self.names)), place, -1)


def find_groups(values, *, n_bins=N_BINS):
    """
    Divide the values of a column: numbers into bins of equal counts, text into its kinds.

    Numbers of at most ``n_bins`` different values, such as those of a survey, are kinds too.

    Parameters
    ----------
    values : array_like, shape (n,)
        Values of the column; masked, empty and NaN are in no group.
    n_bins : int, default=5
        Number of bins.

    Returns
    -------
    groups : `Groups`
        The groups, in ascending order.

    Raises
    ------
    ValueError
        If no value is known.

    Examples
    --------
    >>> from astro_morph.evaluation.groups import find_groups
    >>> groups = find_groups([14.0, 15.0, 16.0, 17.0], n_bins=2)
    >>> groups.names
    ['14 to 15.5', '15.5 to 17']
    >>> groups.assign([14.5, 17.0, 18.0])
    array([ 0,  1, -1])
    """
    is_numeric = np.ma.asarray(values).dtype.kind in 'fiu'
    known = _as_numbers(values) if is_numeric else _as_texts(values)
    known = known[np.isfinite(known) if is_numeric else known != '']
    if len(known) == 0:
        msg = (
            f'{as_written("by")} has no known value, expected numbers or text; name another column'
        )
        raise ValueError(msg)
    if not is_numeric or len(np.unique(known)) <= n_bins:
        texts = _as_texts(values)
        return Groups(np.unique(texts[texts != '']).tolist())
    edges = np.unique(np.quantile(known, np.linspace(0, 1, n_bins + 1)))
    names = [f'{low:.4g} to {high:.4g}' for low, high in itertools.pairwise(edges)]
    return Groups(names, edges)


def _as_numbers(values):
    """Return numbers; NaN where they are masked."""
    values = np.ma.asarray(getattr(values, 'value', values))
    return values.astype(float).filled(np.nan)


def _as_texts(values):
    """Return text; empty where it is masked or not a number."""
    values = np.ma.asarray(values)
    is_missing = np.ma.getmaskarray(values)
    if values.dtype.kind in 'fiu':
        # The same number is the same kind, whatever its type.
        is_missing = is_missing | np.isnan(values.data.astype(float))
        texts = [f'{value:.10g}' for value in values.data]
    else:
        texts = [str(value) for value in values.data]
    return np.where(is_missing, '', np.array(texts, str))
