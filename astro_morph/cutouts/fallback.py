# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""FirstOf: fall back from one source of cutouts to the next."""

import numpy as np

from astro_morph.catalog import as_table
from astro_morph.cutouts.cutout_set import PLANES
from astro_morph.cutouts.outcome import NOT_SEARCHED
from astro_morph.cutouts.source import CutoutSource

__all__ = ['FirstOf']

# What each row takes from the source that has its image.
_EACH_ROW = ('images', 'flags', 'rotation', 'parity', 'centers')


class FirstOf(CutoutSource):
    """
    Take each row's image from the first source that has it.

    A row without an image in any source gets the status of the first source for which it has a
    path or a position.

    Parameters
    ----------
    *sources : `CutoutSource`
        The sources, in order of preference. Their cutouts must agree in bands, size and kind, or
        `fetch` raises ValueError.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts import FirstOf
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> here = SimulatedSurvey(n_galaxies=4)
    >>> spiral = Table({'ra': [10], 'dec': [0], 'morphology': ['spiral']})
    >>> there = SimulatedSurvey(catalogue=spiral)
    >>> position = SkyCoord([180, 10, 50], [5, 0, 0], unit='deg')
    >>> print(FirstOf(here, there).fetch(position).status)
    ['ok' 'ok' 'no_coverage']
    """

    def __init__(self, *sources):
        self.sources = sources

    def __repr__(self):
        return f'<FirstOf: {", ".join(map(repr, self.sources))}>'

    def fetch(self, X, *, size=None):
        table = as_table(X)
        cutouts = self.sources[0]._fetch_quietly(table, size=size)
        for source in self.sources[1:]:
            rows = np.flatnonzero(~cutouts.is_ok)
            if len(rows):
                side = cutouts.shape[-1] if size is None and cutouts.is_ok.any() else size
                cutouts = _fill(cutouts, rows, source._fetch_quietly(table[rows], size=side))
        return cutouts

    def order(self, X):
        return self.sources[0].order(X)

    def describe_row(self, X, row):
        return self.sources[0].describe_row(X, row)


def _fill(cutouts, rows, others):
    """Return the cutouts with the images of another source in rows that had none."""
    # The status of a source that could search is more informative.
    is_better = others.is_ok | np.isin(cutouts.status[rows], NOT_SEARCHED)
    status = cutouts.status.copy()
    status[rows[is_better]] = others.status[is_better]
    # A source that found no image does not know the bands.
    if not others.is_ok.any():
        return cutouts.replace(status=status)
    if not cutouts.is_ok.any():
        return others.replace(status=status)
    first, other = ((c.bands, c.shape[2:], c.kind) for c in (cutouts, others))
    if first != other:
        msg = (
            f'sources have different bands, size and kind: {first} and {other}; make them agree '
            'with bands=, size= and pixel_scale='
        )
        raise ValueError(msg)
    better, others = rows[is_better], others[is_better]
    filled = {name: getattr(cutouts, name).copy() for name in _EACH_ROW}
    for name, values in filled.items():
        values[better] = getattr(others, name)
    filled |= _fill_planes(cutouts, better, others)
    return cutouts.replace(status=status, **filled, **_fill_scale(cutouts, better, others))


def _fill_planes(cutouts, rows, others):
    """Return the planes of all rows, of which one source or both have some."""
    filled = {}
    for name, blank in PLANES.items():
        of_first, of_others = getattr(cutouts, name), getattr(others, name)
        if of_first is of_others is None:
            continue
        filled[name] = np.full(cutouts.shape, blank) if of_first is None else of_first.copy()
        filled[name][rows] = blank if of_others is None else of_others
    return filled


def _fill_scale(cutouts, rows, others):
    """Return the pixel scale of each row, where the sources differ."""
    scales = cutouts.pixel_scale, others.pixel_scale
    if None in scales or np.array_equal(*scales):
        return {}
    scale = np.broadcast_to(scales[0], len(cutouts), subok=True).copy()
    scale[rows] = scales[1]
    return {'pixel_scale': scale}
