# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""CutoutSet: the images, status and flags of the rows of a catalogue."""

import astropy.units as u
import numpy as np
from astropy.io.registry import UnifiedReadWrite, UnifiedReadWriteMethod

from astro_morph.catalog import read_positions
from astro_morph.cutouts.sizes import framing_of
from astro_morph.images.orientation import tangential_wcs
from astro_morph.images.planes.lazy import LazyArray, ReadWhenUsed
from astro_morph.utils.messages import as_written, for_caller

__all__ = ['PICTURE_BANDS', 'PLANES', 'CutoutSet']

KINDS = ('flux', 'picture')

#: The bands of a colour picture.
PICTURE_BANDS = ('red', 'green', 'blue')

#: The planes that images may have beside their pixels, and the value where a row has none.
PLANES = {'variance': np.float32(np.nan), 'mask': np.False_}


class _Read(UnifiedReadWrite):
    """
    Read cutouts from a file or folder that `write` has written.

    Parameters
    ----------
    path : path-like
        An HDF5 file, or a folder of Zarr or HATS.
    format : str, default=None
        The format; detected if None.

    Returns
    -------
    cutouts : `CutoutSet`
        The cutouts, with their table. The pixels are read when they are used; those of a batch,
        such as ``cutouts[:100]``, without the others.
    """

    def __init__(self, instance, cls):
        super().__init__(instance, cls, 'read')

    def __call__(self, *args, **kwargs):
        return self.registry.read(self._cls, *args, **kwargs)


class _Write(UnifiedReadWrite):
    """
    Write the cutouts and their table to a file or folder, atomically.

    Parameters
    ----------
    path : path-like
        An HDF5 file (``.h5`` or ``.hdf5``), or a folder of Zarr (``.zarr``) or HATS (``.hats``).
        HATS is an image catalogue in partitions of the sky, which LSDB opens; its rows are in the
        order of their positions.
    format : {'hdf5', 'zarr', 'hats'}, default=None
        The format; that of the suffix if None.
    overwrite : bool, default=False
        Whether a file of that name, or a folder of cutouts, may be replaced.
    """

    def __init__(self, instance, cls):
        super().__init__(instance, cls, 'write')

    def __call__(self, *args, **kwargs):
        return self.registry.write(self._instance, *args, **kwargs)


class CutoutSet:
    """
    Images of the rows of a catalogue, with a status for each row.

    A cutout set is indexed like an array, by slice, mask or row numbers, also by scikit-learn's
    splitters. A single row number returns a set of one row.

    The first row of an image is its lowest, as in FITS: where north is up it lies in the south.
    Pictures too are kept so. JPEG and PNG files, whose first row is the highest, are turned over
    when they are read; turn over arrays from other readers with ``images[:, :, ::-1]``.

    Parameters
    ----------
    images : array_like of float32, shape (n, band, y, x)
        The pixels; NaN where they are missing. Pictures of type uint8 keep their type, so that an
        array that is mapped from a file need not fit into memory.
    bands : sequence of str, default=None
        Names of the bands; ``'0'``, ``'1'``... if None.
    pixel_scale : `~astropy.units.Quantity`, default=None
        Angle a pixel, for all rows or one a row; None if it is not known.
    framing : str, default=None
        The column and factor that determine the field of view of each row, such as
        ``'4 * petroR90_r'``.
    kind : {'flux', 'picture'}, default='flux'
        Whether the pixels are linear in flux, or a picture stretched for the eye, from 0 to 255.
    zero_point : float or array_like of shape (band,), default=None
        AB magnitude of a flux of one, for all bands or one a band; NaN or None if it is not known.
    status : array_like of str, shape (n,), default=None
        ``'ok'``, or why the row has no image; ``'ok'`` for all rows if None.
    flags : array_like of int32, shape (n,), default=None
        Quality flags, see `astro_morph.decode_flags`.
    table : `~astropy.table.Table`, default=None
        The catalogue rows of the images.
    rotation : `~astropy.units.Quantity`, default=None
        Position angle, north through east, of the direction in which y increases, for all rows or
        one a row: 0 where north is up. NaN or None if it is not known.
    parity : int or array_like of int, shape (n,), default=None
        1 where east is 90 degrees counterclockwise of north, as on the sky; -1 where the image is
        mirrored; 0 or None if it is not known.
    centers : array_like of float, shape (n, 2), default=None
        Pixel (x, y) of each source, counted from 0; the middle of the images if None.
    variance : array_like of float32, shape (n, band, y, x), default=None
        Variance of each pixel in the squared unit of the images; NaN where it is not known, None if
        it is not known at all.
    mask : array_like of bool, shape (n, band, y, x), default=None
        True where a pixel must not be used, as in Astropy: whatever measures or learns from the
        images takes it as missing. None if no pixel is known to be bad.

    Raises
    ------
    ValueError
        If the images are not four-dimensional, or the length of another argument differs.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph import CutoutSet
    >>> cutouts = CutoutSet(np.zeros((3, 2, 8, 8)), bands='gr', status=['ok', 'truncated', 'ok'])
    >>> cutouts
    <CutoutSet: 3 cutouts of 2 bands (g, r), 8 x 8 pixels, flux, 1 without image>
    >>> cutouts[cutouts.is_ok].shape
    (2, 2, 8, 8)

    The noise and the bad pixels that a survey knows go with the rows:

    >>> noisy = cutouts.replace(variance=np.full(cutouts.shape, 0.25), mask=cutouts.images > 1)
    >>> noisy[1:].variance.shape
    (2, 2, 8, 8)
    """

    read = UnifiedReadWriteMethod(_Read)
    write = UnifiedReadWriteMethod(_Write)

    # A set that is read from a folder has its pixels on disk until they are used.
    images, variance, mask = ReadWhenUsed(), ReadWhenUsed(), ReadWhenUsed()

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
        rotation=None,
        parity=None,
        centers=None,
        variance=None,
        mask=None,
    ):
        is_bytes = kind == 'picture' and getattr(images, 'dtype', None) == np.uint8
        images = _as_pixels(images, np.uint8 if is_bytes else np.float32)
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
        rotation = np.nan if rotation is None else u.Quantity(rotation, u.deg).value
        self.rotation = u.Quantity(_each_row('rotation', rotation, n), u.deg)
        self.parity = _each_row('parity', 0 if parity is None else parity, n)
        middle = (images.shape[3] - 1) / 2, (images.shape[2] - 1) / 2
        self.centers = np.broadcast_to(middle, (n, 2)) if centers is None else np.asarray(centers)
        self.variance = _each_pixel('variance', variance, images.shape)
        self.mask = _each_pixel('mask', mask, images.shape)
        if len(self.bands) != n_bands:
            msg = f'bands names {len(self.bands)} bands, the images have {n_bands}; name each once'
            raise ValueError(msg)
        for name in ('status', 'flags', 'table', 'centers'):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                msg = f'{name} has {len(value)} rows, there are {n} images; pass one for each image'
                raise ValueError(msg)
        if np.shape(self.pixel_scale) not in ((), (n,)):
            msg = (
                f'pixel_scale has the shape {self.pixel_scale.shape}, there are {n} images; pass '
                'one angle, or one an image'
            )
            raise ValueError(msg)

    def __len__(self):
        return len(self.status)

    def __repr__(self):
        ny, nx = self.shape[2:]
        scale = _describe_scale(self.pixel_scale)
        return (
            f'<CutoutSet: {len(self)} cutouts of {len(self.bands)} bands ({", ".join(self.bands)}),'
            f' {ny} x {nx} pixels{scale}, {self.kind}, {np.sum(~self.is_ok)} without image>'
        )

    def _repr_html_(self):
        from astro_morph.images.pictures import contact_sheet

        return contact_sheet(self)

    def __getitem__(self, rows):
        # scikit-learn indexes array-likes by (rows, ...).
        if isinstance(rows, tuple):
            rows = rows[0]
        if np.ndim(rows) == 0 and not isinstance(rows, slice):
            rows = [rows]
        has_one_scale = np.ndim(self.pixel_scale) == 0
        # Pixels that are not read yet stay so.
        pixels = {name: vars(self)[name] for name in ('images', *PLANES)}
        return self.replace(
            **{name: None if plane is None else plane[rows] for name, plane in pixels.items()},
            pixel_scale=self.pixel_scale if has_one_scale else self.pixel_scale[rows],
            status=self.status[rows],
            flags=self.flags[rows],
            table=None if self.table is None else self.table[rows],
            rotation=self.rotation[rows],
            parity=self.parity[rows],
            centers=self.centers[rows],
        )

    @property
    def shape(self):
        """Shape of the images, (n, band, y, x)."""
        return vars(self)['images'].shape

    @property
    def is_ok(self):
        """Whether each row has an image, a boolean array of shape (n,)."""
        return self.status == 'ok'

    def filled(self):
        """
        Return the images with NaN in the masked pixels.

        Returns
        -------
        images : ndarray, shape (n, band, y, x)
            The images themselves if no pixel is masked, else a copy of type float32.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_morph import CutoutSet
        >>> cutouts = CutoutSet(np.ones((1, 1, 1, 3)), mask=[[[[True, False, False]]]])
        >>> cutouts.filled()[0, 0]
        array([[nan,  1.,  1.]], dtype=float32)
        """
        if self.mask is None or not self.mask.any():
            return self.images
        return np.where(self.mask, np.float32(np.nan), self.images)

    def wcs(self, row, *, coord_columns=None):
        """
        Return the world coordinate system of one cutout.

        It is a tangential projection with one pixel scale, to which the cutout is small enough.

        Parameters
        ----------
        row : int
            The row.
        coord_columns : str or (str, str), default=None
            The columns of the position in the table, see `astro_morph.catalog.read_positions`.

        Returns
        -------
        wcs : `~astropy.wcs.WCS`
            In ICRS, with the position of the source at its pixel.

        Raises
        ------
        ValueError
            If the position, the pixel scale or the orientation of the cutout is not known.

        Examples
        --------
        >>> from astro_morph.simulation import SimulatedSurvey
        >>> survey = SimulatedSurvey(n_galaxies=4)
        >>> cutouts = survey.fetch(survey.catalogue)
        >>> position = cutouts.wcs(2).pixel_to_world(*cutouts.centers[2])
        >>> bool(abs(position.ra - survey.catalogue['ra'][2]).to_value('arcsec') < 0.001)
        True
        """
        cutout = self[row]
        rotation, parity, center = cutout.rotation[0], cutout.parity[0], cutout.centers[0]
        scale = np.nan if self.pixel_scale is None else np.ravel(cutout.pixel_scale)[0]
        if not (np.isfinite(scale) and np.isfinite(rotation) and parity):
            msg = (
                f'cutout {row} has the pixel_scale {scale}, the rotation {rotation} and the parity '
                f'{parity}, but all three must be known; set them, as in '
                'cutouts.replace(pixel_scale=0.4 * u.arcsec, rotation=0 * u.deg, parity=1)'
            )
            raise ValueError(msg)
        if self.table is None:
            msg = 'the cutouts have no table with positions; set it, as in cutouts.replace(table=)'
            raise ValueError(msg)
        positions, status = read_positions(cutout.table, coord_columns=coord_columns)
        if status[0] != 'ok':
            msg = f'row {row} of the table has no position, but the status {status[0]!r}'
            raise ValueError(msg)
        return tangential_wcs(
            positions[0], center, pixel_scale=scale, rotation=rotation, parity=parity
        )

    def replace(self, **changes):
        """Return a cutout set with some arguments changed and the others kept."""
        return CutoutSet(**vars(self) | changes)

    def select_bands(self, bands):
        """
        Return the cutout set of some bands only, in this order.

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
            If a band is missing.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            kind = 'pictures, not flux' if self.kind == 'picture' else 'flux, not pictures'
            msg = (
                f'{as_written("bands")} {missing} are not among the bands of the cutouts, '
                f'{list(self.bands)}; the cutouts are {kind}; choose among these, or '
                + for_caller('fetch others with bands=', 'name other images')
            )
            raise ValueError(msg)
        if tuple(bands) == self.bands:
            return self
        index = [self.bands.index(band) for band in bands]
        return self.replace(
            images=self.images[:, index],
            bands=tuple(bands),
            zero_point=None if self.zero_point is None else self.zero_point[index],
            variance=None if self.variance is None else self.variance[:, index],
            mask=None if self.mask is None else self.mask[:, index],
        )


def _each_row(name, value, n):
    """Return the value of each row."""
    if np.shape(value) not in ((), (n,)):
        msg = f'{name} has the shape {np.shape(value)}, there are {n} images; pass 1 or {n} values'
        raise ValueError(msg)
    return np.broadcast_to(value, n)


def _as_pixels(values, dtype):
    """Return values as an array of a type; those on disk stay there."""
    return values if isinstance(values, LazyArray) else np.asarray(values, dtype)


def _each_pixel(name, plane, shape):
    """Return a plane of the images as an array, None if there is none."""
    if plane is None:
        return None
    plane = _as_pixels(plane, PLANES[name].dtype)
    if plane.shape != shape:
        msg = (
            f'{name} has the shape {plane.shape}, the images have {shape}; pass one value for each '
            'pixel'
        )
        raise ValueError(msg)
    return plane


def _each_band(zero_point, n_bands):
    """Return the zero point of each band."""
    if zero_point is None:
        return None
    zero_point = np.asarray(zero_point, float)
    if zero_point.shape not in ((), (n_bands,)):
        msg = f'zero_point has the shape {zero_point.shape}, expected one number, or {n_bands}'
        raise ValueError(msg)
    return np.full(n_bands, zero_point)


def _describe_scale(pixel_scale):
    """Return the pixel scale in words, empty text if it is not known."""
    if pixel_scale is None or not np.isfinite(pixel_scale).any():
        return ''
    smallest, largest = np.nanmin(pixel_scale), np.nanmax(pixel_scale)
    if np.ndim(pixel_scale) == 0 or smallest == largest:
        return f' of {smallest:.4g}'
    return f' of {smallest.value:.3g} to {largest:.3g}'
