# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The container of cutouts, and what every source of cutouts promises."""

import re
from abc import ABC, abstractmethod

import astropy.units as u
import numpy as np
from astropy.io.registry import UnifiedReadWrite, UnifiedReadWriteMethod

from astro_morph.catalog import as_table, read_sizes

__all__ = [
    'PICTURE_BANDS',
    'CutoutSet',
    'CutoutSource',
    'framing_of',
    'grid_of',
]

KINDS = ('flux', 'picture')

#: The bands of a colour picture.
PICTURE_BANDS = ('red', 'green', 'blue')

# Side of a cutout where none is asked for: an SDSS galaxy of the main sample and some sky.
DEFAULT_SIDE = 64

# A column, and a factor on either side of it: '4 * petroR90_r', 'petroR90_r*4' or 'petroR90_r'.
_NUMBER = r'(?:\d+\.?\d*|\.\d+)'
_FRAMING = re.compile(
    rf'(?P<before>{_NUMBER})\s*\*\s*(?P<scaled>[^*]+)'
    rf'|(?P<plain>[^*]+?)(?:\s*\*\s*(?P<after>{_NUMBER}))?'
)


class _Read(UnifiedReadWrite):
    """
    Read cutouts from a file that `write` has written.

    Parameters
    ----------
    path : path-like
        An HDF5 file.
    format : str, optional
        The format; by default it is found out.

    Returns
    -------
    cutouts : `CutoutSet`
        The cutouts, with their table. The images are mapped into memory, and read when they are
        used.
    """

    def __init__(self, instance, cls):
        super().__init__(instance, cls, 'read')

    def __call__(self, *args, **kwargs):
        return self.registry.read(self._cls, *args, **kwargs)


class _Write(UnifiedReadWrite):
    """
    Write the cutouts to a file, whole or not at all, with their table.

    Parameters
    ----------
    path : path-like
        An HDF5 file.
    format : str, optional
        The format; by default that which the end of the name tells.
    overwrite : bool, optional
        Whether a file that is there may be replaced.
    """

    def __init__(self, instance, cls):
        super().__init__(instance, cls, 'write')

    def __call__(self, *args, **kwargs):
        return self.registry.write(self._instance, *args, **kwargs)


class CutoutSet:
    """
    Images of the rows of a catalogue, one status a row.

    A cutout set is indexed as an array is: by slice, mask or row numbers, so that scikit-learn's
    splitters take it as they take an array. A single row number gives a set of one row.

    Parameters
    ----------
    images : array_like of float32, shape (n, band, y, x)
        The pixels; NaN where there is none. The bytes of pictures (uint8) stay bytes, so that
        an array that is mapped into memory from a file need not fit into memory.
    bands : sequence of str, optional
        Names of the bands; ``'0'``, ``'1'``... where they are not given.
    pixel_scale : `~astropy.units.Quantity`, optional
        Angle a pixel, one for all rows or one for each, or None where it is not known.
    framing : str, optional
        The column and factor that the field of view of each row follows, where it follows one,
        such as ``'4 * petroR90_r'``.
    kind : {'flux', 'picture'}, optional
        Whether the pixels are linear in flux, or a picture stretched for the eye, from 0 to 255.
    zero_point : float or array_like of shape (band,), optional
        AB magnitude of a flux of one, for all bands or one a band, NaN where it is not known; by
        default none is.
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

    read = UnifiedReadWriteMethod(_Read)
    write = UnifiedReadWriteMethod(_Write)

    def __init__(
        self,
        images,
        *,
        bands=None,
        pixel_scale=None,
        framing=None,
        kind='flux',
        zero_point=None,
        status=None,
        flags=None,
        table=None,
    ):
        is_bytes = kind == 'picture' and getattr(images, 'dtype', None) == np.uint8
        images = np.asarray(images, dtype=None if is_bytes else np.float32)
        if images.ndim != 4:
            msg = (
                f'images must have the axes (n, band, y, x), got an array of shape {images.shape}; '
                'images of one band need an axis of length 1'
            )
            raise ValueError(msg)
        if kind not in KINDS:
            msg = f'kind must be one of {KINDS}, got {kind!r}'
            raise ValueError(msg)
        n, n_bands = images.shape[:2]
        self.images = images
        self.bands = tuple(map(str, range(n_bands))) if bands is None else tuple(bands)
        self.pixel_scale = None if pixel_scale is None else u.Quantity(pixel_scale).to(u.arcsec)
        self.framing = framing_of(framing)
        self.kind = kind
        self.zero_point = _each_band(zero_point, n_bands)
        self.status = np.full(n, 'ok', 'U20') if status is None else np.asarray(status, 'U20')
        self.flags = np.zeros(n, np.int32) if flags is None else np.asarray(flags, np.int32)
        self.table = table
        if len(self.bands) != n_bands:
            msg = f'bands names {len(self.bands)} bands, the images have {n_bands}; name each once'
            raise ValueError(msg)
        for name in ('status', 'flags', 'table'):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                msg = f'{name} has {len(value)} rows, there are {n} images; give it one an image'
                raise ValueError(msg)
        if np.shape(self.pixel_scale) not in ((), (n,)):
            msg = (
                f'pixel_scale has the shape {self.pixel_scale.shape}, there are {n} images; give '
                'it one angle, or one an image'
            )
            raise ValueError(msg)

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        ny, nx = self.shape[2:]
        scale = _describe_scale(self.pixel_scale)
        return (
            f'<CutoutSet: {len(self)} cutouts of {len(self.bands)} bands ({", ".join(self.bands)}),'
            f' {ny} x {nx} pixels{scale}, {self.kind}, {np.sum(~self.is_ok)} without image>'
        )

    def _repr_html_(self):
        from astro_morph.pictures import contact_sheet

        return contact_sheet(self)

    def __getitem__(self, rows):
        # scikit-learn indexes array-likes by (rows, ...).
        if isinstance(rows, tuple):
            rows = rows[0]
        if np.ndim(rows) == 0 and not isinstance(rows, slice):
            rows = [rows]
        has_one_scale = np.ndim(self.pixel_scale) == 0
        return self.replace(
            images=self.images[rows],
            pixel_scale=self.pixel_scale if has_one_scale else self.pixel_scale[rows],
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
        return CutoutSet(**vars(self) | changes)

    def select_bands(self, bands):
        """
        Return the cutout set of some bands only, in the order asked for.

        Parameters
        ----------
        bands : sequence of str
            The bands.

        Returns
        -------
        cutouts : CutoutSet
            The same rows.

        Raises
        ------
        ValueError
            If a band is not there.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            kind = 'pictures, not flux' if self.kind == 'picture' else 'flux, not pictures'
            msg = (
                f'bands {missing} are not among the bands of the cutouts, {list(self.bands)}; '
                f'the cutouts are {kind}; choose among these, or fetch others with bands='
            )
            raise ValueError(msg)
        if tuple(bands) == self.bands:
            return self
        index = [self.bands.index(band) for band in bands]
        return self.replace(
            images=self.images[:, index],
            bands=tuple(bands),
            zero_point=None if self.zero_point is None else self.zero_point[index],
        )


def _each_band(zero_point, n_bands):
    """Give the zero point of each band."""
    if zero_point is None:
        return None
    zero_point = np.asarray(zero_point, float)
    if zero_point.shape not in ((), (n_bands,)):
        msg = f'zero_point has the shape {zero_point.shape}, expected one, or {n_bands}'
        raise ValueError(msg)
    return np.full(n_bands, zero_point)


def _describe_scale(pixel_scale):
    """Say how large the pixels are, or nothing where it is not known."""
    if pixel_scale is None or not np.isfinite(pixel_scale).any():
        return ''
    smallest, largest = np.nanmin(pixel_scale), np.nanmax(pixel_scale)
    if np.ndim(pixel_scale) == 0 or smallest == largest:
        return f' of {smallest:.4g}'
    return f' of {smallest.value:.3g} to {largest:.3g}'


def grid_of(table, size, pixel_scale):
    """
    Find the pixel grids of the cutouts of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    size : None, int, `~astropy.units.Quantity`, str or tuple
        What a user says of the size of the cutouts: pixels or an angle; None for 64 pixels. Or
        a column of angular sizes and a factor, such as ``'4 * petroR90_r'``, so that large and
        small galaxies fill the frame alike: the cutout of each row spans so much of the sky in
        64 pixels, and its pixel scale follows. ``(128, '4 * petroR90_r')`` has 128 pixels instead.
        Bare numbers in the column are arcseconds.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel, where ``size`` says nothing else.

    Returns
    -------
    side : int
        Side of all cutouts in pixels.
    scale : `~astropy.units.Quantity`
        Angle a pixel in arcsec: one for all rows; or of shape (n,), where it follows a column, NaN
        in rows without a size above zero, which get the status ``'no_size'``.

    Raises
    ------
    ValueError
        If ``size`` is none of these, or the column is missing or holds no angles.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts.core import grid_of
    >>> table = Table({'radius': [4.0, 8.0, -1.0]})
    >>> grid_of(table, '4 * radius', 0.262 * u.arcsec)
    (64, <Quantity [0.25, 0.5 ,  nan] arcsec>)
    >>> grid_of(table, 1 * u.arcmin, 0.25 * u.arcsec)
    (240, <Quantity 0.25 arcsec>)
    """
    framing = framing_of(size)
    if framing is None:
        return _side_in_pixels(size, pixel_scale), u.Quantity(pixel_scale).to(u.arcsec)
    side = _side_in_pixels(size[0] if isinstance(size, tuple) else None, pixel_scale)
    factor, column = _read_framing(framing)
    return side, read_sizes(table, column) * factor / side


def framing_of(size):
    """
    Give the column and factor that a size speaks of.

    Parameters
    ----------
    size : object
        As in `grid_of`.

    Returns
    -------
    framing : str or None
        Always in the form ``'4 * petroR90_r'``; None if the size is pixels or an angle.

    Raises
    ------
    ValueError
        If it is text, but no column and factor.
    """
    if isinstance(size, tuple) and len(size) == 2:
        size = size[1]
    if not isinstance(size, str):
        return None
    factor, column = _read_framing(size)
    return f'{factor:.12g} * {column}'


def _read_framing(text):
    """Read the factor and the column."""
    match = _FRAMING.fullmatch(text.strip())
    factor = float(match['before'] or match['after'] or 1) if match else 0
    if factor == 0:
        msg = f"size must be a column and a factor, as in '4 * petroR90_r', got {text!r}"
        raise ValueError(msg)
    return factor, match['scaled'] or match['plain']


def _side_in_pixels(size, pixel_scale):
    """Turn a number of pixels, an angle or None into a number of pixels."""
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
