# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read cutouts from the columns of a table, one column a band."""

import math

import numpy as np

from astro_morph.catalog import as_table
from astro_morph.cutouts.image_files import as_cutout_set, check_size, cut_centre, kind_of
from astro_morph.cutouts.source import CutoutSource

__all__ = ['ImageColumns']


class ImageColumns(CutoutSource):
    """
    Images in the columns of a table.

    Each cell of a column is the image of one band: two-dimensional, or the pixels of a square image
    in one row. Masked pixels are missing. Unsigned 8-bit integers are pictures from 0 to 255, all
    else is taken as flux. Rows without a finite pixel get the status ``'all_nan'``.

    Parameters
    ----------
    columns : sequence of str
        The columns, one for each band.
    bands : sequence of str, default=None
        Names of the bands; those of the columns if None.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts.image_columns import ImageColumns
    >>> table = Table({'g': np.ones((5, 8, 8)), 'r': np.ones((5, 64))})
    >>> ImageColumns(['g', 'r']).fetch(table)
    <CutoutSet: 5 cutouts of 2 bands (g, r), 8 x 8 pixels, flux, 0 without image>
    """

    def __init__(self, columns, *, bands=None):
        self.columns = columns
        self.bands = bands

    def __repr__(self):
        return f'<ImageColumns: {", ".join(self.columns)}>'

    def fetch(self, X, *, size=None):
        table = as_table(X)
        images = [_read_images(table, name) for name in self.columns]
        shapes = {image.shape[1:] for image in images}
        if len(shapes) != 1:
            msg = (
                f'columns {list(self.columns)} hold images of different shapes, {shapes}; name '
                'columns of one shape'
            )
            raise ValueError(msg)
        kinds = {kind_of(table[name]) for name in self.columns}
        size = check_size(size, *shapes)
        return as_cutout_set(
            np.stack([cut_centre(image, size) for image in images], axis=1, dtype=np.float32),
            np.full(len(table), 'ok', 'U20'),
            bands=self.columns if self.bands is None else self.bands,
            kind='picture' if kinds == {'picture'} else 'flux',
            table=table,
        )


def _read_images(table, name):
    """Return the images of a column, of shape (n, y, x)."""
    if name not in table.colnames:
        msg = f'the table has no column {name!r}, only {table.colnames}'
        raise ValueError(msg)
    column = table[name]
    images = np.asarray(column)
    if np.any(getattr(column, 'mask', False)):
        images = np.where(column.mask, np.nan, images)
    if images.ndim == 2:
        side = math.isqrt(images.shape[1])
        if side**2 == images.shape[1]:
            images = images.reshape(-1, side, side)
    if images.ndim != 3 or images.dtype.kind not in 'biuf':
        msg = (
            f'the column {name!r} has the shape {column.shape} and the type {column.dtype}, '
            'expected an image in each cell, of shape (y, x) or a square image in one row'
        )
        raise ValueError(msg)
    return images
