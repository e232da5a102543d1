# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""CutoutSource: the interface of every source of cutouts, and the base class of your own."""

from abc import ABC, abstractmethod

from astro_morph.catalog import as_table

__all__ = ['CutoutSource']


class CutoutSource(ABC):
    """
    Base class of the sources of cutouts.

    A source of your own needs only `fetch`. It never raises for a fault in one row: that row gets
    a status, and the others get their images. The number and order of rows never change.

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
        Return the cutouts of a catalogue.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        size : int, `~astropy.units.Quantity`, str or tuple, default=None
            Side of the cutouts in pixels, or as an angle; sources of sky images also accept a
            column and a factor such as ``'4 * petroR90_r'``, see `grid_of`. Images that are ready
            are cut at their centre. If None, the images as they are, or their largest central
            square, or 64 pixels of sky images.

        Returns
        -------
        cutouts : `CutoutSet`
            One row for each row of ``X``, in order.

        Raises
        ------
        ValueError
            If the source can't use ``X`` or ``size``.
        """

    def stream(self, X, *, size=None, batch_size=1024):
        """
        Return the cutouts of a catalogue in batches, so that memory stays bounded.

        Parameters
        ----------
        X, size
            As in `fetch`.
        batch_size : int, default=1024
            Number of rows in a batch.

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
        Return the order in which a catalogue is read fastest.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.

        Returns
        -------
        rows : ndarray of int or None
            All row numbers in that order; None if the order makes no difference.
        """
        return
