# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read cutouts from the columns of a table, one column a band or one column for all bands."""

import math
from collections import Counter

import numpy as np

from astro_morph.catalog import as_table
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.cutouts.image_files import (
    as_cutout_set,
    check_size,
    cut_centre,
    kind_of,
    shape_of_nothing,
)
from astro_morph.cutouts.source import CutoutSource
from astro_morph.utils.messages import cut_list

__all__ = ['ImageColumns', 'find_image_columns']


class ImageColumns(CutoutSource):
    """
    Images in the columns of a table.

    Each cell of a column is an image, as an array or as lists, nested or flat: of one band, (y, x)
    or the pixels of a square image in one row; or of several, of which the first or the last axis
    is the bands, whichever is shorter. Masked pixels, and those that are None, are missing.
    Unsigned 8-bit integers are pictures from 0 to 255, all else is taken as flux.

    Rows without a finite pixel, such as those whose cells are null, get the status ``'all_nan'``.
    Most images of a column determine its size: a row with an image of another size gets the status
    ``'wrong_size'``, with other bands ``'wrong_bands'``, with anything else ``'not_an_image'``. In
    `stream`, the first batch with an image determines the size.

    Parameters
    ----------
    columns : sequence of str
        The columns, one for each band, or one that holds all bands.
    bands : sequence of str, default=None
        Names of the bands. If None, those of the columns; of a column of several bands,
        ``('red', 'green', 'blue')`` for pictures, and ``('0', '1', ...)`` for flux.

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
        return self._fetch(as_table(X), size, {})

    def stream(self, X, *, size=None, batch_size=1024):
        table, shapes = as_table(X), {}
        for start in range(0, len(table), batch_size):
            yield self._fetch(table[start : start + batch_size], size, shapes)

    def describe_row(self, X, row):
        return f'row {row} of the columns {cut_list(self.columns)}'

    def _fetch(self, table, size, shapes):
        """Return the cutouts of a batch; ``shapes`` keeps that of the images of each column."""
        columns = {name: _read_images(table, name) for name in self.columns}
        for name, images in columns.items():
            shapes[name] = shapes.get(name) or _common_shape(images)
        known = [shape for shape in shapes.values() if shape]
        if len({shape[1:] for shape in known}) > 1:
            msg = (
                f'columns {list(self.columns)} hold images of different shapes, {shapes}; name '
                'columns of one shape'
            )
            raise ValueError(msg)
        side = known[0][1:] if known else shape_of_nothing(size)
        size = check_size(size, side)
        n_bands = [shape[0] if shape else 1 for shape in shapes.values()]
        pixels = np.full((len(table), sum(n_bands), size, size), np.nan, np.float32)
        status = np.full(len(table), 'ok', 'U20')
        for images, n, stop in zip(columns.values(), n_bands, np.cumsum(n_bands), strict=True):
            for row, image in enumerate(images):
                if image is not None:
                    status[row] = _judge(image, (n, *side), status[row])
                if image is not None and status[row] == 'ok':
                    pixels[row, stop - n : stop] = cut_centre(image, size)
        pixels[status != 'ok'] = np.nan
        kinds = {_kind_of_column(table[name], images) for name, images in columns.items()}
        kind = 'picture' if kinds == {'picture'} else 'flux'
        return as_cutout_set(
            pixels, status, bands=self._name_bands(n_bands, kind), kind=kind, table=table
        )

    def _name_bands(self, n_bands, kind):
        if self.bands is not None:
            return self.bands
        if max(n_bands) == 1:
            return self.columns
        return PICTURE_BANDS if n_bands == [3] and kind == 'picture' else None


def find_image_columns(table):
    """
    Find the columns whose cells are images.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.

    Returns
    -------
    names : list of str
        Those of arrays or nested lists of numbers with two axes, else the first with three axes.
        A flat list in a cell may be a spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts.image_columns import find_image_columns
    >>> find_image_columns(Table({'id': [1], 'g': np.ones((1, 8, 8)), 'spectrum': np.ones((1, 9))}))
    ['g']
    """
    n_axes = {name: _count_axes(table[name]) for name in table.colnames}
    planes = [name for name, n in n_axes.items() if n == 2]
    return planes or [name for name, n in n_axes.items() if n == 3][:1]


def _count_axes(column):
    """Return the number of axes of the numbers in the cells of a column; 0 for anything else."""
    if len(getattr(column, 'shape', ())) > 2:
        return len(column.shape) - 1 if column.dtype.kind in 'biuf' else 0
    if getattr(getattr(column, 'dtype', None), 'kind', '') != 'O':
        return 0
    arrays = map(_as_array, _unmask(column))
    return next((array.ndim for array in arrays if isinstance(array, np.ndarray)), 0)


def _read_images(table, name):
    """Return the image of each row, (band, y, x), None where it is null, ``()`` for no image."""
    if name not in table.colnames:
        msg = f'the table has no column {name!r}, only {cut_list(table.colnames)}'
        raise ValueError(msg)
    column = table[name]
    is_numeric = len(getattr(column, 'shape', ())) > 1 and column.dtype.kind in 'biuf'
    cells = _unmask(column)
    images = [_as_image(cell if is_numeric else _as_array(cell)) for cell in cells]
    is_number = column.dtype.kind in 'biufc' and len(column.shape) == 1
    if images and (is_number or not any(image is None or len(image) for image in images)):
        msg = (
            f'the column {name!r} has the shape {column.shape} and the type {column.dtype}, '
            'expected an image in each cell, of shape (y, x), (band, y, x) or (y, x, band), or a '
            'square image in one row'
        )
        raise ValueError(msg)
    return images


def _unmask(column):
    """Return the cells of a column; masked ones are None, masked pixels NaN."""
    mask = getattr(column, 'mask', None)
    if mask is None or not np.any(mask):
        return np.asarray(column) if hasattr(column, 'dtype') else list(column)
    values = np.asarray(column)
    return np.where(mask, None if values.dtype.kind not in 'biuf' else np.nan, values)


def _as_array(cell):
    """Return a cell of arrays or lists as an array of numbers, None if null, () for all else."""
    if isinstance(cell, (str, bytes, dict)):
        return ()
    if not isinstance(cell, (list, tuple, np.ndarray)):
        return None
    try:
        if isinstance(cell, np.ndarray) and cell.dtype != object:
            array = cell
        elif len(cell) and all(isinstance(part, (list, tuple, np.ndarray)) for part in cell):
            array = np.stack([_as_array(part) for part in cell])
        else:
            # None is a missing pixel.
            array = np.asarray(cell, float if any(part is None for part in cell) else None)
    except (TypeError, ValueError):
        return ()
    return array if array.dtype.kind in 'biuf' else ()


def _as_image(array):
    """Return an array as an image, of shape (band, y, x); () if it is none."""
    if array is None or isinstance(array, tuple):
        return array
    if array.ndim == 1:
        side = math.isqrt(len(array))
        array = array.reshape(side, side) if side**2 == len(array) else array
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or not array.size:
        return ()
    return array if array.shape[0] <= array.shape[2] else array.transpose(2, 0, 1)


def _common_shape(images):
    """Return the shape of most images, None if there is no image."""
    shapes = Counter(image.shape for image in images if isinstance(image, np.ndarray))
    return shapes.most_common(1)[0][0] if shapes else None


def _kind_of_column(column, images):
    """Return the kind of the images of a column; masks make their pixels floating point."""
    if column.dtype.kind in 'biuf':
        return kind_of(column)
    kinds = {kind_of(image) for image in images if isinstance(image, np.ndarray)}
    return 'picture' if kinds == {'picture'} else 'flux'


def _judge(image, shape, status):
    """Return the status of a row with an image that should have a shape."""
    if status != 'ok' or not isinstance(image, np.ndarray):
        return 'not_an_image' if status == 'ok' else status
    if len(image) != shape[0]:
        return 'wrong_bands'
    return 'ok' if image.shape == shape else 'wrong_size'
