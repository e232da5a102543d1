# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Build a cutout set from images that arrive in any order, with a status for each row."""

from functools import cached_property

import numpy as np

from astro_morph.catalog.flags import BITS
from astro_morph.cutouts.cutout_set import PICTURE_BANDS, PLANES, CutoutSet
from astro_morph.cutouts.fetching.cache import NO_COVERAGE
from astro_morph.images.planes.masked_image import MaskedImage

__all__ = ['CutoutBuilder']


class CutoutBuilder:
    """
    Cutouts of a catalogue's rows, collected layer by layer.

    A layer is a band, or a colour picture with its three bands. An image is an array, or a
    `~astro_morph.images.planes.masked_image.MaskedImage` that has a variance or a mask beside it.
    The cutouts have these planes if any image does.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.
    status : `~numpy.ndarray` of str, shape (n,)
        ``'ok'`` for the rows to be filled, or why the row can have no image.
    layers : sequence of str
        The bands, or ``('rgb',)``.
    side : int
        Side of the cutouts in pixels.
    **options
        Other arguments of `~astro_morph.CutoutSet`.
    """

    def __init__(self, table, status, *, layers, side, **options):
        is_picture = tuple(layers) == ('rgb',)
        bands = PICTURE_BANDS if is_picture else tuple(layers)
        self._options = {'kind': 'picture' if is_picture else 'flux', 'bands': bands, **options}
        self._layers = list(layers)
        self._table, self._status = table, status
        self._shape = len(bands) // len(layers), side, side
        # The status of each row and layer; 'missing' until something is known.
        self._layer_status = np.full((len(table), len(layers)), 'missing', 'U20')
        self._is_partial = np.zeros(self._layer_status.shape, bool)
        self._is_masked = np.zeros(self._layer_status.shape, bool)
        self._planes = {}

    @cached_property
    def _images(self):
        """Pixels of shape (row, layer, band of the layer, y, x), allocated when first used."""
        return self._allocate(np.float32(np.nan))

    def _allocate(self, blank):
        return np.full((*self._layer_status.shape, *self._shape), blank)

    def missing(self, layer):
        """Return which rows, of shape (n,), still lack a layer that they can have."""
        layer_status = self._layer_status[:, self._layers.index(layer)]
        return (self._status == 'ok') & (layer_status == 'missing')

    def note(self, layer, rows, images):
        """Note what is known of some rows: an image, ``NO_COVERAGE``, or None for nothing."""
        i = self._layers.index(layer)
        for row, image in zip(rows, images, strict=True):
            if image is not None:
                self._layer_status[row, i] = 'no_coverage' if image is NO_COVERAGE else 'ok'

    def fill(self, layer, rows, images):
        """Note what is known of some rows, and store the images."""
        self.note(layer, rows, images)
        i = self._layers.index(layer)
        for row, image in zip(rows, images, strict=True):
            if image is not None and image is not NO_COVERAGE:
                self._store(row, i, MaskedImage.of(image).settle())

    def _store(self, row, i, image):
        self._images[row, i] = image.image
        self._is_partial[row, i] = np.isnan(image.image).any()
        for name, blank in PLANES.items():
            plane = getattr(image, name)
            if plane is not None:
                if name not in self._planes:
                    self._planes[name] = self._allocate(blank)
                self._planes[name][row, i] = plane
        if image.mask is not None:
            self._is_masked[row, i] = image.mask.any()
            if image.is_missing.all():
                self._layer_status[row, i] = 'all_nan'

    def fail(self, layer, rows, status):
        """Set the status of a layer in rows that have no image."""
        self._layer_status[rows, self._layers.index(layer)] = status

    def to_cutouts(self):
        """
        Return the cutouts.

        A row is ok if it has any layer. Otherwise its status is the first failure, and
        ``'no_coverage'`` only if no layer failed.

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            One for each row.
        """
        has_image = self._layer_status == 'ok'
        status = self._status.copy()
        for row in np.flatnonzero((status == 'ok') & ~has_image.any(axis=1)):
            failures = self._layer_status[row][self._layer_status[row] != 'no_coverage']
            status[row] = failures[0] if len(failures) else 'no_coverage'
        flags = (
            self._is_partial.any(axis=1) * BITS['partial_coverage']
            | self._is_masked.any(axis=1) * BITS['missing_pixels']
            | ~has_image.all(axis=1) * BITS['missing_band']
        )
        n, _, _, *shape = self._images.shape
        shape = n, len(self._options['bands']), *shape
        return CutoutSet(
            self._images.reshape(shape),
            **{name: plane.reshape(shape) for name, plane in self._planes.items()},
            status=status,
            flags=flags * (status == 'ok'),
            table=self._table,
            **self._options,
        )
