# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A cutout set in the making, filled as images come."""

from functools import cached_property

import numpy as np

from astro_morph.catalog.flags import BITS
from astro_morph.cutouts.cutout_set import PICTURE_BANDS, CutoutSet
from astro_morph.cutouts.fetching.cache import NO_COVERAGE

__all__ = ['Album']


class Album:
    """
    The images of a catalogue's rows, layer by layer.

    A layer is what comes in one piece: a band, or a colour picture with its three.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.
    status : `~numpy.ndarray` of str, shape (n,)
        ``'ok'`` for the rows to be filled; why not for the others.
    layers : sequence of str
        The bands, or ``('rgb',)``.
    side : int
        Side of the cutouts in pixels.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel, scalar or one a row.
    framing : str or None, optional
        The column and factor that the field of view follows.
    zero_point : `~numpy.ndarray` or None, optional
        AB magnitude of a flux of one in each band.
    """

    def __init__(self, table, status, *, layers, side, pixel_scale, framing=None, zero_point=None):
        is_picture = tuple(layers) == ('rgb',)
        self._kind = 'picture' if is_picture else 'flux'
        self._bands = PICTURE_BANDS if is_picture else tuple(layers)
        self._layers = list(layers)
        self._table, self._status = table, status
        self._pixel_scale, self._framing = pixel_scale, framing
        self._zero_point = zero_point
        self._side = side
        # Of each row and layer, as in the status of a row; 'missing' until something is known.
        self._words = np.full((len(table), len(layers)), 'missing', 'U20')
        self._is_partial = np.zeros(self._words.shape, bool)

    @cached_property
    def _images(self):
        """Pixels of shape (row, layer, band of the layer, y, x), made when the first are there."""
        n_bands = len(self._bands) // len(self._layers)
        return np.full((*self._words.shape, n_bands, self._side, self._side), np.nan, np.float32)

    def missing(self, layer):
        """Return which rows, of shape (n,), can have an image in a layer that has not come."""
        return (self._status == 'ok') & (self._words[:, self._layers.index(layer)] == 'missing')

    def note(self, layer, rows, images):
        """Note what is known of some rows: an image, `NO_COVERAGE`, or None for nothing."""
        i = self._layers.index(layer)
        for row, image in zip(rows, images, strict=True):
            if image is not None:
                self._words[row, i] = 'no_coverage' if image is NO_COVERAGE else 'ok'

    def fill(self, layer, rows, images):
        """Note what is known of some rows, and put the images in."""
        self.note(layer, rows, images)
        i = self._layers.index(layer)
        for row, image in zip(rows, images, strict=True):
            if isinstance(image, np.ndarray):
                self._images[row, i] = image
                self._is_partial[row, i] = np.isnan(self._images[row, i]).any()

    def fail(self, layer, rows, word):
        """Say why some rows have no image in a layer."""
        self._words[rows, self._layers.index(layer)] = word

    def to_cutouts(self):
        """
        Return the cutouts.

        A row is ok if any layer came. If none did, its status is the first failure, and
        ``'no_coverage'`` only if no layer failed.

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            One for each row.
        """
        has_image = self._words == 'ok'
        status = self._status.copy()
        for row in np.flatnonzero((status == 'ok') & ~has_image.any(axis=1)):
            failures = self._words[row][self._words[row] != 'no_coverage']
            status[row] = failures[0] if len(failures) else 'no_coverage'
        flags = (
            self._is_partial.any(axis=1) * BITS['partial_coverage']
            | ~has_image.all(axis=1) * BITS['missing_band']
        )
        n, _, _, *shape = self._images.shape
        return CutoutSet(
            self._images.reshape(n, len(self._bands), *shape),
            bands=self._bands,
            pixel_scale=self._pixel_scale,
            framing=self._framing,
            kind=self._kind,
            zero_point=self._zero_point,
            status=status,
            flags=flags * (status == 'ok'),
            table=self._table,
        )
