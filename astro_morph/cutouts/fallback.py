# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Several sources of cutouts, the first that has a row's image giving it."""

import numpy as np

from astro_morph.catalog import as_table
from astro_morph.cutouts.source import CutoutSource

__all__ = ['FirstOf']

# A row that gives a source nothing to go by says less than a source that looked and failed.
NOTHING_TO_GO_BY = ('no_path', 'no_coordinates')


class FirstOf(CutoutSource):
    """
    Take each row's image from the first source that has it.

    A row that no source has an image of keeps the status of the first that had something to go
    by: a path or a position.

    Parameters
    ----------
    *sources : `CutoutSource`
        The sources, in order of preference; their cutouts must agree in bands, size and kind.

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
        """
        Get the cutouts of a catalogue.

        Parameters
        ----------
        X, size
            As in `CutoutSource.fetch`; without ``size``, that of the first source.

        Returns
        -------
        cutouts : `CutoutSet`
            One row for each row of ``X``, in order.

        Raises
        ------
        ValueError
            If the cutouts of two sources differ in bands, size or kind.
        """
        table = as_table(X)
        cutouts = self.sources[0].fetch(table, size=size)
        for source in self.sources[1:]:
            rows = np.flatnonzero(~cutouts.is_ok)
            if len(rows):
                side = cutouts.shape[-1] if size is None else size
                cutouts = _fill(cutouts, rows, source.fetch(table[rows], size=side))
        return cutouts

    def order(self, X):
        """
        Find the order in which the first source has the least work, see `CutoutSource.order`.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.

        Returns
        -------
        rows : ndarray of int or None
            All row numbers in that order; None where one is as good as another.
        """
        return self.sources[0].order(X)


def _fill(cutouts, rows, others):
    """Put the images of another source in the rows that had none."""
    first, other = ((c.bands, c.shape[2:], c.kind) for c in (cutouts, others))
    if others.is_ok.any() and first != other:
        msg = (
            f'the sources differ: one gives bands, size and kind {first}, the other {other}; '
            'make them agree with bands= and pixel_scale='
        )
        raise ValueError(msg)
    images, status, flags = cutouts.images.copy(), cutouts.status.copy(), cutouts.flags.copy()
    is_better = others.is_ok | np.isin(status[rows], NOTHING_TO_GO_BY)
    images[rows[others.is_ok]] = others.images[others.is_ok]
    status[rows[is_better]] = others.status[is_better]
    flags[rows[is_better]] = others.flags[is_better]
    return cutouts.replace(images=images, status=status, flags=flags)
