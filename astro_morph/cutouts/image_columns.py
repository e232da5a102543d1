# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read cutouts from the columns of a table, one column a band or one column for all bands."""

import copy
import re
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import astropy.units as u
import numpy as np

from astro_morph.catalog import as_table
from astro_morph.catalog.bands import shorten_bands
from astro_morph.catalog.io.arrow import ARROW_TYPE, find_type
from astro_morph.catalog.nested import count_axes
from astro_morph.cutouts.cutout_set import PICTURE_BANDS, PLANES
from astro_morph.cutouts.image_files import (
    as_cutout_set,
    check_size,
    cut_centre,
    kind_of,
    shape_of_nothing,
)
from astro_morph.cutouts.source import CutoutSource
from astro_morph.cutouts.storage.rows import NAMES, read_rows
from astro_morph.images.planes.cells import (
    PIXELS,
    CellImage,
    count_pixel_axes,
    read_cell,
)
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import to_mask, to_variance
from astro_morph.utils.messages import cut_list

__all__ = ['ImageColumns', 'find_image_columns']

# Words in the names of columns of variance and mask beside those of the images, by their form in
# `to_variance`; and words that their names need not share.
_PLANE_WORDS = {
    'variance': {'variance', 'var'},
    'error': {'error', 'err', 'rms'},
    'inverse': {'ivar', 'invvar'},
    'mask': {'mask', 'masks'},
}
_PIXEL_WORDS = {*PIXELS, 'cutout', 'data'}


class ImageColumns(CutoutSource):
    """
    Images in the columns of a table.

    Each cell of a column is an image, as an array or as lists, nested or flat: of one band, (y, x)
    or the pixels of a square image in one row; or of several, of which the first or the last axis
    is the bands, whichever is shorter. Tensors of Arrow and nested-pandas are such arrays. Masked
    pixels, and those that are None, are missing. Unsigned 8-bit integers are pictures from 0 to
    255, all else is taken as flux.

    Or each cell is a structure as in the Multimodal Universe (https://arxiv.org/abs/2412.02527): a
    list for each of ``band``, ``flux``, ``ivar``, ``mask`` and ``scale``, or a list of one
    structure a band. There, a mask is true where a pixel is good, as its survey scripts write it.
    The names of the bands are those of most rows, without their camera: ``'des-g'`` becomes
    ``'g'``.

    Variance and mask of the pixels are also read from columns beside the images, with names such as
    ``'g_variance'``, ``'g_error'`` or ``'g_ivar'``, an inverse variance, and ``'g_mask'``, true
    where a pixel must not be used. One of a single band is that of all bands.

    Rows without a finite pixel, such as those whose cells are null, get the status ``'all_nan'``.
    Most images of a column determine its size: a row with an image of another size gets the status
    ``'wrong_size'``, with other bands ``'wrong_bands'``, with anything else ``'not_an_image'``. In
    `stream`, the first batch with an image determines the size. A structure that lacks some of the
    bands that a model takes has NaN in these.

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

    # The bands that are read of structures, where they are known; those of most rows if None.
    _wanted = None

    def __init__(self, columns, *, bands=None):
        self.columns = columns
        self.bands = bands

    def __repr__(self):
        return f'<ImageColumns: {", ".join(self.columns)}>'

    def fetch(self, X, *, size=None):
        table, layouts = as_table(X), {}
        return self._build(table, self._read_columns(table, layouts), size, layouts)

    def stream(self, X, *, size=None, batch_size=1024):
        table, layouts = as_table(X), {}
        batches = [slice(start, start + batch_size) for start in range(0, len(table), batch_size)]
        for number, batch in enumerate(batches, 1):
            columns = self._read_columns(table[batch], layouts)
            if number == 1:
                self._look_ahead(table, batches[1:], layouts)
            yield self._build(table[batch], columns, size, layouts)

    def for_bands(self, bands):
        """
        Return a source that reads these bands of structures.

        Parameters
        ----------
        bands : sequence of str or None
            The bands; those of most rows if None.

        Returns
        -------
        source : ImageColumns
            The source.
        """
        source = copy.copy(self)
        source._wanted = bands
        return source

    def describe_row(self, X, row):
        return f'row {row} of the columns {cut_list(self.columns)}'

    def _look_ahead(self, table, batches, layouts):
        """Find the layouts in later batches: rows before the first image have its layout too."""
        for batch in batches:
            if all(layouts.values()):
                break
            self._read_columns(table[batch], layouts)

    def _build(self, table, columns, size, layouts):
        """Return the cutouts of a batch from the images and the layout of each column."""
        known = [layout for layout in layouts.values() if layout]
        if len({layout.shape for layout in known}) > 1:
            shapes = {name: layout and layout.shape for name, layout in layouts.items()}
            msg = (
                f'columns {list(self.columns)} hold images of different shapes, {shapes}; name '
                'columns of one shape'
            )
            raise ValueError(msg)
        side = known[0].shape if known else shape_of_nothing(size)
        size = check_size(size, side)
        columns = [
            (layouts[name] or _Layout(1, side, _kind_of_column(table[name], images)), images)
            for name, images in columns.items()
        ]
        pixels, status, options = _assemble(columns, len(table), size)
        kind = 'picture' if {layout.kind for layout, _ in columns} == {'picture'} else 'flux'
        bands = self._name_bands([layout for layout, _ in columns], kind)
        cutouts = as_cutout_set(pixels, status, bands=bands, kind=kind, table=table, **options)
        return _add_rows(cutouts, side) if {*NAMES} <= {*table.colnames} else cutouts

    def _read_columns(self, table, layouts):
        """Return the images of each column, and note the layout of those that have one."""
        columns = {name: _read_images(table, name) for name in self.columns}
        for name, images in columns.items():
            layouts[name] = layouts.get(name) or _Layout.of_most(
                images, _kind_of_column(table[name], images), self._wanted
            )
        return columns

    def _name_bands(self, layouts, kind):
        if self.bands is not None:
            return self.bands
        if all(layout.bands for layout in layouts):
            return shorten_bands([band for layout in layouts for band in layout.bands])
        n_bands = [layout.n_bands for layout in layouts]
        if max(n_bands) == 1:
            return shorten_bands(self.columns)
        return PICTURE_BANDS if n_bands == [3] and kind == 'picture' else None


class _Layout(NamedTuple):
    """What the images of a column have in common."""

    n_bands: int
    shape: tuple
    kind: str
    bands: tuple | None = None

    @classmethod
    def of_most(cls, images, kind, wanted=None):
        """Return the layout of most images, with the wanted bands; None if there is no image."""
        images = [image for image in images if isinstance(image, CellImage)]
        if not images:
            return None
        layouts = Counter(
            cls(image.planes.shape[0], image.planes.shape[1:], kind, image.bands)
            for image in images
        )
        layout = layouts.most_common(1)[0][0]
        if layout.bands is None or wanted is None:
            return layout
        names = list(dict.fromkeys(band for image in images for band in image.bands or ()))
        known = dict(zip(shorten_bands(names), names, strict=True))
        if not {*wanted} & {*known}:
            return layout
        # A band that later rows may have is called as the others are.
        short, name = next(iter(known.items()))
        bands = tuple(known.get(band, name.removesuffix(short) + band) for band in wanted)
        return layout._replace(n_bands=len(bands), bands=bands)

    def judge(self, image):
        """Return the status of a row with this image."""
        if isinstance(image, str):
            return image
        is_named = self.bands is not None and image.bands is not None
        if not ({*self.bands} & {*image.bands} if is_named else len(image.planes) == self.n_bands):
            return 'wrong_bands'
        return 'ok' if image.planes.shape[1:] == self.shape else 'wrong_size'


def _assemble(columns, n_rows, size):
    """Return the pixels of the images of all columns, the status of each row, and the planes."""
    shape = n_rows, sum(layout.n_bands for layout, _ in columns), size, size
    pixels, planes = np.full(shape, np.nan, np.float32), {}
    status, scale = np.full(n_rows, 'ok', 'U20'), np.full(n_rows, np.nan)
    start = 0
    for layout, images in columns:
        bands = slice(start, start + layout.n_bands)
        start += layout.n_bands
        for row, image in enumerate(images):
            if image is None or status[row] != 'ok':
                continue
            status[row] = layout.judge(image)
            if status[row] == 'ok':
                cut = image.select(layout.bands).each(lambda plane: cut_centre(plane, size))
                pixels[row, bands], scale[row] = cut.image, np.fmax(scale[row], image.scale)
                for name, blank in PLANES.items():
                    if getattr(cut, name) is not None:
                        plane = planes.setdefault(name, np.full(shape, blank))
                        plane[row, bands] = getattr(cut, name)
    for name, values in {'image': pixels, **planes}.items():
        values[status != 'ok'] = PLANES.get(name, np.nan)
    return pixels, status, planes | _find_scale(scale)


def _add_rows(cutouts, side):
    """Return cutouts with what their table says of each row, as `CutoutSet.write` wrote it."""
    known = read_rows(cutouts.table)
    is_ok = known['status'] == 'ok'
    margin = np.subtract(side, cutouts.shape[2:]) // 2
    return cutouts.replace(
        **known
        | {
            # An image that is null has none for the reason that is known.
            'status': np.where(cutouts.is_ok | is_ok, cutouts.status, known['status']),
            'centers': known['centers'] - margin[::-1],
        }
    )


def _find_scale(scale):
    """Return the pixel scale of the cutouts, as far as the cells have it."""
    if np.isnan(scale).all():
        return {}
    return {'pixel_scale': (scale[0] if (scale == scale[0]).all() else scale) * u.arcsec}


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
        The first column of structures with images, see `ImageColumns`; if there is none, those of
        arrays or nested lists of numbers with two axes, else the first with three axes. A flat list
        in a cell may be a spectrum. Variance and mask are none of them.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts.image_columns import find_image_columns
    >>> find_image_columns(Table({'id': [1], 'g': np.ones((1, 8, 8)), 'spectrum': np.ones((1, 9))}))
    ['g']
    """
    axes = {name: _count_axes(table[name]) for name in table.colnames}
    structures = [name for name, (n, is_structure) in axes.items() if is_structure and n > 1]
    if structures:
        return structures[:1]
    planes = [name for name, (n, _) in axes.items() if n in (2, 3)]
    beside = {plane for name in planes for plane in _find_planes(name, planes).values()}
    images = [name for name in planes if name not in beside]
    of_one_band = [name for name in images if axes[name][0] == 2]
    return of_one_band or images[:1]


def _count_axes(column):
    """Return the number of axes of the pixels in the cells of a column, and if in a structure."""
    if len(getattr(column, 'shape', ())) > 2:
        return len(column.shape) - 1 if column.dtype.kind in 'biuf' else 0, False
    if getattr(getattr(column, 'dtype', None), 'kind', '') != 'O':
        return 0, False
    if ARROW_TYPE in (column.info.meta or {}):
        # Also of a column without values.
        kind = find_type(column)
        return count_axes(kind, PIXELS), not count_axes(kind)
    found = map(count_pixel_axes, _unmask(column))
    return next((axes for axes in found if axes[0]), (0, False))


def _find_planes(name, names):
    """Return the columns of variance and mask beside one of images, by their form."""
    own, stem = _read_name(name)
    if own is not None:
        return {}
    others = {other: _read_name(other) for other in names if other != name}
    return {form: other for other, (form, its_stem) in others.items() if form and its_stem == stem}


def _read_name(name):
    """Return the form of the plane that a column names, None for images, and the name's rest."""
    words = re.split(r'[\W_]+', name.lower())
    form = next((form for form, its in _PLANE_WORDS.items() if its & {*words}), None)
    ignored = _PIXEL_WORDS | _PLANE_WORDS.get(form, set())
    return form, [word for word in words if word not in ignored]


def _read_images(table, name):
    """Return the image of each row, None where it is null, or why it has none."""
    if name not in table.colnames:
        msg = f'the table has no column {name!r}, only {cut_list(table.colnames)}'
        raise ValueError(msg)
    column = table[name]
    images = _read_cells(column)
    is_number = column.dtype.kind in 'biufc' and len(column.shape) == 1
    if images and (is_number or all(isinstance(image, str) for image in images)):
        msg = (
            f'the column {name!r} has the shape {column.shape} and the type {column.dtype}, '
            'expected an image in each cell, of shape (y, x), (band, y, x) or (y, x, band), or a '
            'square image in one row'
        )
        raise ValueError(msg)
    planes = {
        form: _read_cells(table[other])
        for form, other in _find_planes(name, table.colnames).items()
    }
    for row, image in enumerate(images):
        if isinstance(image, CellImage):
            images[row] = _add_planes(image, {form: cells[row] for form, cells in planes.items()})
    return images


def _read_cells(column):
    """Return the image in each cell of a column, None where it is null, or a status."""
    return [_read_cell(cell) for cell in _unmask(column)]


def _read_cell(cell):
    try:
        return read_cell(cell)
    except (TypeError, ValueError):
        return 'not_an_image'


def _add_planes(image, cells):
    """Return an image with the planes in the cells of other columns, or a status."""
    shape = image.planes.shape
    # A plane of one band is that of all bands.
    planes = {
        form: np.repeat(cell.planes.image, shape[0] if len(cell.planes) == 1 else 1, axis=0)
        for form, cell in cells.items()
        if isinstance(cell, CellImage)
    }
    if any(plane.shape != shape for plane in planes.values()):
        return 'wrong_size'
    if not planes:
        return image
    mask = to_mask(planes.pop('mask')) if 'mask' in planes else None
    variances = [to_variance(plane, form) for form, plane in planes.items()]
    settled = MaskedImage(image.planes.image, *(variances[:1] or [None]), mask).settle()
    return replace(image, planes=settled)


def _unmask(column):
    """Return the cells of a column; masked ones are None, masked pixels NaN."""
    mask = getattr(column, 'mask', None)
    if mask is None or not np.any(mask):
        return np.asarray(column) if hasattr(column, 'dtype') else list(column)
    values = np.asarray(column)
    if values.dtype.kind not in 'biuf':
        return np.where(mask, None, values)
    is_null = mask.reshape(len(values), -1).all(axis=1)
    filled = np.where(mask, np.float32(np.nan), values)
    return [None if null else cell for cell, null in zip(filled, is_null, strict=True)]


def _kind_of_column(column, images):
    """Return the kind of the images of a column."""
    if column.dtype.kind in 'biuf':
        return kind_of(column)
    kinds = {kind_of(image.planes.image) for image in images if isinstance(image, CellImage)}
    return 'picture' if kinds == {'picture'} else 'flux'
