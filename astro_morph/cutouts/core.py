# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The container of cutouts, and what every source of cutouts promises."""

from abc import ABC, abstractmethod

import astropy.units as u
import numpy as np

from astro_morph.catalog import as_table

__all__ = ['CutoutSet', 'CutoutSource', 'side_in_pixels']

KINDS = ('flux', 'picture')

# Side of a cutout where none is asked for: an SDSS galaxy of the main sample and some sky.
DEFAULT_SIDE = 64


class CutoutSet:
    """
    Images of the rows of a catalogue, one status a row.

    A cutout set is indexed as an array is: by slice, mask or row numbers, so that scikit-learn's
    splitters take it as they take an array. A single row number gives a set of one row.

    Parameters
    ----------
    images : array_like of float32, shape (n, band, y, x)
        The pixels; NaN where there is none.
    bands : sequence of str, optional
        Names of the bands; ``'0'``, ``'1'``... where they are not given.
    pixel_scale : `~astropy.units.Quantity`, optional
        Angle a pixel, or None where it is not known.
    kind : {'flux', 'picture'}, optional
        Whether the pixels are linear in flux, or a picture stretched for the eye, from 0 to 255.
    status : array_like of str, shape (n,), optional
        ``'ok'``, or why the row has no image. By default every row is ok.
    flags : array_like of int32, shape (n,), optional
        Quality flags, see `astro_morph.decode_flags`.
    table : `~astropy.table.Table`, optional
        The catalogue rows that the images belong to.

    Raises
    ------
    ValueError
        If the images are not four-dimensional, or another argument does not match them in length.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph import CutoutSet
    >>> cutouts = CutoutSet(np.zeros((3, 2, 8, 8)), bands='gr', status=['ok', 'truncated', 'ok'])
    >>> cutouts
    <CutoutSet: 3 cutouts of 2 bands (g, r), 8 x 8 pixels, flux, 1 without image>
    >>> cutouts[cutouts.is_ok].shape
    (2, 2, 8, 8)
    """

    def __init__(
        self,
        images,
        *,
        bands=None,
        pixel_scale=None,
        kind='flux',
        status=None,
        flags=None,
        table=None,
    ):
        images = np.asarray(images, dtype=np.float32)
        if images.ndim != 4:
            msg = f'images must have the axes (n, band, y, x), got an array of shape {images.shape}'
            raise ValueError(msg)
        if kind not in KINDS:
            msg = f'kind must be one of {KINDS}, got {kind!r}'
            raise ValueError(msg)
        n, n_bands = images.shape[:2]
        self.images = images
        self.bands = tuple(map(str, range(n_bands))) if bands is None else tuple(bands)
        self.pixel_scale = None if pixel_scale is None else u.Quantity(pixel_scale).to(u.arcsec)
        self.kind = kind
        self.status = np.full(n, 'ok', 'U20') if status is None else np.asarray(status, 'U20')
        self.flags = np.zeros(n, np.int32) if flags is None else np.asarray(flags, np.int32)
        self.table = table
        if len(self.bands) != n_bands:
            msg = f'bands names {len(self.bands)} bands, the images have {n_bands}'
            raise ValueError(msg)
        for name in ('status', 'flags', 'table'):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                msg = f'{name} has {len(value)} rows, there are {n} images'
                raise ValueError(msg)

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        ny, nx = self.shape[2:]
        scale = '' if self.pixel_scale is None else f' of {self.pixel_scale:.4g}'
        return (
            f'<CutoutSet: {len(self)} cutouts of {len(self.bands)} bands ({", ".join(self.bands)}),'
            f' {ny} x {nx} pixels{scale}, {self.kind}, {np.sum(~self.is_ok)} without image>'
        )

    def __getitem__(self, rows):
        # scikit-learn indexes array-likes by (rows, ...).
        if isinstance(rows, tuple):
            rows = rows[0]
        if np.ndim(rows) == 0 and not isinstance(rows, slice):
            rows = [rows]
        return self.replace(
            images=self.images[rows],
            status=self.status[rows],
            flags=self.flags[rows],
            table=None if self.table is None else self.table[rows],
        )

    @property
    def shape(self):
        """Shape of the images, (n, band, y, x)."""
        return self.images.shape

    @property
    def is_ok(self):
        """Whether a row has an image, a boolean array of shape (n,)."""
        return self.status == 'ok'

    def replace(self, **changes):
        """Return a cutout set with these arguments changed and the others kept."""
        names = ('images', 'bands', 'pixel_scale', 'kind', 'status', 'flags', 'table')
        return CutoutSet(**{name: getattr(self, name) for name in names} | changes)

    def select_bands(self, bands):
        """
        Return the cutout set of some bands only, in the order asked for.

        Raises
        ------
        ValueError
            If a band is not there.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            msg = f'bands {missing} are not among the bands of the cutouts, {list(self.bands)}'
            raise ValueError(msg)
        index = [self.bands.index(band) for band in bands]
        return self.replace(images=self.images[:, index], bands=tuple(bands))


def side_in_pixels(size, pixel_scale):
    """
    Turn what a user says of the size of a cutout into pixels.

    Parameters
    ----------
    size : None, int or `~astropy.units.Quantity`
        Side in pixels or as an angle; None for 64 pixels.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel.

    Returns
    -------
    side : int
        Side in pixels.

    Raises
    ------
    ValueError
        If it is neither, or not above zero.
    """
    if size is None:
        return DEFAULT_SIDE
    if isinstance(size, u.Quantity):
        size = round((size / pixel_scale).to_value(u.one))
    if not isinstance(size, int | np.integer) or size < 1:
        msg = f'size must be a number of pixels above zero or an angle, got {size!r}'
        raise ValueError(msg)
    return int(size)


class CutoutSource(ABC):
    """
    Where cutouts come from.

    A source of one's own needs only `fetch`. It never raises for what is wrong with one row: that
    row gets a status, and the others their images. Row count and order stay.
    """

    @abstractmethod
    def fetch(self, X, *, size=None):
        """
        Get the cutouts of a catalogue.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        size : int or `~astropy.units.Quantity`, optional
            Side of the cutouts in pixels, or as an angle. By default the source chooses.

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
