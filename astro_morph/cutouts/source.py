# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""CutoutSource: the interface of every source of cutouts, and the base class of your own."""

import inspect
from abc import ABC, abstractmethod

from astro_morph.catalog import as_table, read_positions
from astro_morph.utils.identity import describe

__all__ = ['CutoutSource']


class CutoutSource(ABC):
    """
    Base class of the sources of cutouts.

    A source of your own needs only `fetch`. It never raises for a fault in one row: that row gets
    a status, and the others get their images. The number and order of rows never change.

    Variance and mask of the pixels go into the `CutoutSet` that a source returns. Sources of files
    read them where they find them; services request them only with ``planes=True``, since they cost
    two to three times the bytes.

    Parameters
    ----------
    *args, **options
        The arguments of a subclass, which `settings` returns.

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

    # Arguments, passed by keyword, that no settings may hold, such as a password.
    _secrets = ()

    def __new__(cls, *args, **options):
        # Kept for `settings`, since not every source keeps its arguments under their names.
        source = super().__new__(cls)
        kept = {name: value for name, value in options.items() if name not in cls._secrets}
        object.__setattr__(source, '_arguments', ([*map(describe, args)], describe(kept)))
        return source

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

    def _fetch_quietly(self, X, *, size=None):
        """Return what `fetch` does; without a warning, where that warns of missing images."""
        return self.fetch(X, size=size)

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
            yield self._fetch_quietly(table[start : start + batch_size], size=size)

    def locate(self, table):
        """
        Add positions on the sky to a catalogue that was detected in the images of the source.

        Parameters
        ----------
        table : `~astropy.table.Table`
            The catalogue.

        Returns
        -------
        table : `~astropy.table.Table`
            The catalogue itself, unless the source knows the frame of its pixels, as
            `~astro_morph.cutouts.Mosaics` of one image a band does.
        """
        return table

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

    def describe_row(self, X, row):
        """
        Return what is asked for a row, for the warning that no row has an image.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        row : int
            Number of the row.

        Returns
        -------
        text : str
            The position, or the number of the row if there is none; sources of files return the
            path.
        """
        coord_columns = getattr(self, 'coord_columns', None)
        try:
            coords, _ = read_positions(as_table(X)[row : row + 1], coord_columns=coord_columns)
        except ValueError:
            return f'row {row}'
        return f'the position {coords.ra.deg[0]:.5f} {coords.dec.deg[0]:+.5f} deg'

    def settings(self):
        """
        Return the settings that decide the images, to tell a run from one with other images.

        They are the arguments with which the source was made. Override this if its images depend on
        anything else.

        Returns
        -------
        settings : dict
            Plain values, as from `astro_morph.utils.identity.describe`.

        Examples
        --------
        >>> from astro_morph.cutouts import ImageFiles
        >>> ImageFiles('path', folder='/data').settings()
        {'column': 'path', 'folder': '/data', 'bands': None, 'planes': True}
        """
        args, options = self._arguments
        signature = inspect.signature(type(self).__init__)
        _, *given = signature.bind_partial(self, *args).arguments.items()
        settings = dict(given) | options
        # A setting may have been changed after the source was made.
        names = settings.keys() | signature.parameters.keys()
        return settings | describe({n: value for n, value in vars(self).items() if n in names})
