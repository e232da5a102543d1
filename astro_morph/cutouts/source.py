# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""CutoutSource: the interface of every source of cutouts."""

from abc import ABC, abstractmethod

from astro_morph.catalog import as_table

__all__ = ['CutoutSource']


class CutoutSource(ABC):
    """
    Where cutouts come from.

    A source of one's own needs only `fetch`. It never raises for what is wrong with one row: that
    row gets a status, and the others their images. Row count and order stay.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts import CutoutSet, CutoutSource
    >>> class Noise(CutoutSource):
    ...     def fetch(self, X, *, size=None):
    ...         images = np.random.default_rng(0).normal(size=(len(X), 1, 8, 8))
    ...         return CutoutSet(images, bands=['r'], table=X)
    >>> Noise().fetch(Table({'id': [7, 8]}))
    <CutoutSet: 2 cutouts of 1 bands (r), 8 x 8 pixels, flux, 0 without image>
    """

    @abstractmethod
    def fetch(self, X, *, size=None):
        """
        Get the cutouts of a catalogue.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        size : int, `~astropy.units.Quantity` or str, optional
            Side of the cutouts in pixels, or as an angle; sources of sky images also take a column
            and a factor such as ``'4 * petroR90_r'``, see `grid_of`. By default the source chooses.

        Returns
        -------
        cutouts : `CutoutSet`
            One row for each row of ``X``, in order.
        """

    def stream(self, X, *, size=None, batch_size=1024):
        """
        Get the cutouts of a catalogue batch after batch, so that memory stays bounded.

        Parameters
        ----------
        X, size
            As in `fetch`.
        batch_size : int, optional
            Rows in a batch.

        Yields
        ------
        cutouts : `CutoutSet`
            The next rows of ``X``.
        """
        table = as_table(X)
        for start in range(0, len(table), batch_size):
            yield self.fetch(table[start : start + batch_size], size=size)

    def order(self, X):
        """
        Find the order in which the cutouts of a catalogue are had with the least work.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.

        Returns
        -------
        rows : ndarray of int or None
            All row numbers in that order; None where one is as good as another.
        """
        return
