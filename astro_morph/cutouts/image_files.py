# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""ImageFiles: cutouts from image files, one file a row, named by a column of a table."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from astropy import log
from astropy.io import fits

from astro_morph.catalog import as_table, find_image_column
from astro_morph.catalog.flags import BITS
from astro_morph.catalog.image_paths import locate_image, read_image_paths
from astro_morph.cutouts.cutout_set import PICTURE_BANDS, CutoutSet
from astro_morph.cutouts.outcome import Outcome
from astro_morph.cutouts.sizes import SAME_SCALE, framing_of
from astro_morph.cutouts.source import CutoutSource
from astro_morph.images.errors import ImageError, image_errors
from astro_morph.images.orientation import orient, read_jacobian
from astro_morph.images.planes.files import Siblings
from astro_morph.images.planes.finding import bad_bits
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.planes.plane import PlaneValues
from astro_morph.images.reading import read_image
from astro_morph.utils.messages import as_written, cut_list, for_caller

__all__ = ['ImageFiles']


class ImageFiles(CutoutSource):
    """
    Images in files that a column of a table names.

    JPEG, PNG, TIFF, NumPy and FITS files are read, FITS also compressed by gzip, bzip2 or fpack,
    and with the name of an extension after the path, as in ``'image.fits[SCI]'``; if none is named,
    the first image is read that is no weight, mask or the like. In FITS and NumPy files of three
    axes the bands are the first or the last axis, whichever is shorter; the last is reported in
    Astropy's log. The grey pages of a TIFF file are bands.
    Images of unsigned 8-bit integers are pictures from 0 to 255, all others are taken as flux.
    An image that takes more than ``astro_morph.conf.max_image_size`` gets the status
    ``'too_large'``. If no row has an image, a warning names the first path.
    PNG and TIFF files with more bits a pixel than can be read, such as 16 bits a colour, get the
    status ``'unsupported'``.

    Most images determine the kind, bands and size of all: a row with another number of bands, or
    with a picture among flux images, gets the status ``'wrong_bands'``; a row with an image of
    another size gets ``'wrong_size'``, because its pixel scale probably differs. In `stream`, the
    first batch with an image determines them.

    Variance and mask of flux are read from the extensions of its FITS file, or from files beside it
    whose names differ by a word such as ``ivar``, ``rms`` or ``mask``: ``m31.mask.fits`` is the
    mask of ``m31.fits``, true where it is not zero.

    Parameters
    ----------
    column : str, default=None
        The column of paths; found by its name if None, see
        `astro_morph.catalog.find_image_column`.
    folder : str or `~pathlib.Path`, default=None
        The folder that relative paths start from; the current folder if None.
    bands : sequence of str, default=None
        Names of the bands. If None, ``('red', 'green', 'blue')`` or ``('grey',)`` for pictures, and
        ``('0', '1', ...)`` for flux.
    planes : bool, default=True
        Whether to read variance and mask where they are.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts import ImageFiles
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f'{folder}/a.npy', np.ones((3, 8, 8)))
    ...     table = Table({'path': ['a.npy', 'b.npy']})
    ...     cutouts = ImageFiles(folder=folder, bands='grz').fetch(table)
    >>> cutouts
    <CutoutSet: 2 cutouts of 3 bands (g, r, z), 8 x 8 pixels, flux, 1 without image>
    >>> print(cutouts.status)
    ['ok' 'not_found']
    """

    def __init__(self, column=None, *, folder=None, bands=None, planes=True):
        self.column = column
        self.folder = folder
        self.bands = bands
        self.planes = planes

    def __repr__(self):
        where = '' if self.folder is None else f' in {os.fspath(self.folder)}'
        return f'<ImageFiles: paths of {self.column or "the column that holds them"}{where}>'

    def fetch(self, X, *, size=None):
        outcome = Outcome()
        cutouts = self._fetch_quietly(X, size=size)
        outcome.add(cutouts, self)
        outcome.warn()
        return cutouts

    def _fetch_quietly(self, X, *, size=None):
        table = as_table(X)
        files = self._read(table, self.find_column(table), size)
        return self._assemble(table, files, self._common_sort(files), size)

    def stream(self, X, *, size=None, batch_size=1024):
        table = as_table(X)
        column, sort = self.find_column(table), None
        for start in range(0, len(table), batch_size):
            batch = table[start : start + batch_size]
            files = self._read(batch, column, size)
            sort = sort or self._common_sort(files)
            yield self._assemble(batch, files, sort, size)

    def describe_row(self, X, row):
        column = self.find_column(X)
        (path,) = read_image_paths(X[column][row : row + 1])
        if path is None:
            return f'no path in the column {column!r}'
        with suppress(ValueError):
            path = self._locate(path)
        return repr(path)

    def settings(self):
        # Relative paths start from the current folder if none is given.
        folder = os.path.abspath(os.path.expanduser(self.folder or ''))
        return super().settings() | {'folder': folder}

    def _read(self, table, column, size):
        """Return the `_File` of each row."""
        paths, siblings = read_image_paths(table[column]), Siblings()
        # Decoders release Python's lock, so that threads read several images at once.
        with ThreadPoolExecutor() as pool:
            return list(pool.map(partial(self._read_one, siblings, size=size), paths))

    def _read_one(self, siblings, path, *, size):
        if path is None:
            return _File('no_path')
        try:
            with image_errors():
                path = self._locate(path)
                image, header = read_image(path, with_planes=self.planes)
        except ImageError as error:
            return _File(error.status)
        image = MaskedImage.of(image)
        sort = _Sort.of(image.image)
        if self.planes and sort.kind == 'flux':
            image = _add_planes(image, siblings.find(str(path)))
        if not np.isfinite(image.image).any():
            return _File('all_nan')
        return _File('ok', sort, _keep_centre(image, size), header)

    def _locate(self, path):
        return locate_image(path, self.folder)

    def find_column(self, table):
        """
        Return the column of paths.

        Parameters
        ----------
        table : `~astropy.table.Table`
            The catalogue.

        Returns
        -------
        column : str
            ``column``, or the one that `astro_morph.catalog.find_image_column` finds. If it was
            one of several, Astropy's log says which.

        Raises
        ------
        ValueError
            If there is none.
        """
        column = self.column
        if column is None:
            column = find_image_column(table, folder=self.folder, report=log.info)
        if column not in table.colnames:
            wanted = 'whose name suggests image paths' if column is None else f'{column!r}'
            msg = (
                f'the table has no column {wanted}, only {cut_list(table.colnames)}; '
                'name the column of paths, as in '
                + for_caller("ImageFiles('file')", as_written('image_column', 'file'))
            )
            raise ValueError(msg)
        return column

    def _common_sort(self, files):
        """Return the sort of most images, None if there is no image."""
        sorts = Counter(file.sort for file in files if file.sort is not None)
        if not sorts:
            return None
        looks = Counter()
        for sort, count in sorts.items():
            looks[sort.kind, sort.n_bands] += count
        kind, n_bands = looks.most_common(1)[0][0]
        if self.bands is not None and len(self.bands) != n_bands:
            msg = (
                f'{as_written("bands")} names {len(self.bands)} bands {tuple(self.bands)}, but '
                f'most images have {n_bands}; name that many, or leave bands out'
            )
            raise ValueError(msg)
        return next(s for s, _ in sorts.most_common() if (s.kind, s.n_bands) == (kind, n_bands))

    def _assemble(self, table, files, sort, size):
        if sort is None:
            n_bands = 1 if self.bands is None else len(self.bands)
            sort = _Sort('flux', n_bands, shape_of_nothing(size))
        size = check_size(size, sort.shape)
        status = np.array([sort.judge(file) for file in files], 'U20')
        rows = np.flatnonzero(status == 'ok')
        images = MaskedImage.blank(
            (len(table), sort.n_bands, size, size),
            has_variance=any(files[row].image.variance is not None for row in rows),
            has_mask=any(files[row].image.mask is not None for row in rows),
        )
        for row in rows:
            images[row] = files[row].image.each(partial(cut_centre, size=size))
        return as_cutout_set(
            images.image,
            status,
            variance=images.variance,
            mask=images.mask,
            bands=self._name_bands(sort),
            kind=sort.kind,
            table=table,
            **_find_places([file.header for file in files], status == 'ok', size, sort.shape),
        )

    def _name_bands(self, sort):
        if self.bands is None and sort.kind == 'picture':
            return {1: ('grey',), 3: PICTURE_BANDS}.get(sort.n_bands)
        return self.bands


class _Sort(NamedTuple):
    """The common properties of the images of a call."""

    kind: str
    n_bands: int
    shape: tuple

    @classmethod
    def of(cls, image):
        return cls(kind_of(image), image.shape[0], image.shape[1:])

    def judge(self, file):
        """Return the status of a row with this file."""
        other = file.sort
        if other is None:
            return file.status
        if (other.kind, other.n_bands) != (self.kind, self.n_bands):
            return 'wrong_bands'
        return 'ok' if other.shape == self.shape else 'wrong_size'


class _File(NamedTuple):
    """What was read from the file of a row: the centre of its image, and the sort of all of it."""

    status: str
    sort: _Sort | None = None
    image: MaskedImage | None = None
    header: fits.Header | None = None


def _keep_centre(image, size):
    """Return the part of an image that a cutout needs; a copy, so that the rest is not kept."""
    size = size[0] if isinstance(size, tuple) else size
    if not isinstance(size, (int, np.integer)) or not 0 < size < min(image.shape[1:]):
        return image
    return image.each(lambda plane: cut_centre(plane, size).copy())


def _add_planes(image, files):
    """Return an image with the variance that it lacks, and the masks, of files beside it."""
    planes = {}
    for form, path in files.items():
        with suppress(ImageError), image_errors():
            pixels, header = read_image(path)
            values = PlaneValues(form, bad_bits(header or {}, path) if form == 'mask' else None)
            plane = np.broadcast_to(values.convert(pixels), image.shape)
            if getattr(image, values.holds) is None:
                planes[values.holds] = plane
            elif values.holds == 'mask':
                planes['mask'] = image.mask | plane
    return replace(image, **planes).settle()


def _find_places(headers, has_image, size, shape):
    """Return how the cutouts lie on the sky, as far as their FITS headers say so."""
    middle = [(length - size) // 2 + (size - 1) / 2 for length in shape[::-1]]
    jacobians = np.full((len(headers), 2, 2), np.nan)
    for row in np.flatnonzero(has_image):
        if headers[row] is not None:
            jacobians[row] = read_jacobian(headers[row], middle)
    if np.isnan(jacobians).all():
        return {}
    rotation, parity, scale = orient(jacobians)
    if np.nanmax(scale) < (1 + SAME_SCALE) * np.nanmin(scale):
        scale = np.nanmedian(scale)
    return {'rotation': rotation, 'parity': parity, 'pixel_scale': scale}


def kind_of(image):
    """Return ``'picture'`` for unsigned 8-bit integers, else ``'flux'``."""
    return 'picture' if image.dtype == np.uint8 else 'flux'


def cut_centre(images, size):
    """Return the central square of images of shape (..., y, x)."""
    y, x = ((length - size) // 2 for length in images.shape[-2:])
    return images[..., y : y + size, x : x + size]


def as_cutout_set(pixels, status, *, mask=None, **options):
    """
    Return the cutout set of images of shape (n, band, y, x).

    NaN, inf and masked pixels are missing.
    """
    is_missing = ~np.isfinite(pixels)
    pixels[is_missing] = np.nan
    if mask is not None:
        is_missing |= mask
    is_band_missing = is_missing.all(axis=(2, 3))
    has_gaps = (is_missing.any(axis=(2, 3)) & ~is_band_missing).any(axis=1)
    status[(status == 'ok') & is_band_missing.all(axis=1)] = 'all_nan'
    flags = has_gaps * BITS['missing_pixels'] | is_band_missing.any(axis=1) * BITS['missing_band']
    return CutoutSet(pixels, status=status, flags=flags * (status == 'ok'), mask=mask, **options)


def shape_of_nothing(size):
    """Return the shape (y, x) of cutouts without any image, of which no size is known."""
    side = size[0] if isinstance(size, tuple) else size
    return (side, side) if isinstance(side, (int, np.integer)) else (1, 1)


def check_size(size, shape):
    """Return the side of the cutouts of images of this shape in pixels, or raise ValueError."""
    native = min(shape)
    if size is None:
        return native
    if isinstance(size, tuple) and framing_of(size):
        # The images are framed already; models trained on cutouts that follow a column request
        # their side with it.
        size = size[0]
    if not isinstance(size, (int, np.integer)) or not 0 < size <= native:
        msg = (
            f'{as_written("size")} must be a number of pixels from 1 to {native}, the size of the '
            f'images, got {size!r}'
        )
        raise ValueError(msg)
    return int(size)
