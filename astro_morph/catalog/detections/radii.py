# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the radius of 90 % of the flux from the catalogue of a detection."""

import astropy.units as u
import numpy as np

from astro_morph.catalog.cells import kind_of
from astro_morph.catalog.detections.names import RADII, UNITS
from astro_morph.catalog.detections.tables import find_pixels
from astro_morph.catalog.numbers import split_numbers

__all__ = ['find_radii', 'infer_scale', 'read_radius']


def find_radii(table):
    """
    Return the columns of a catalogue that hold the radius of a galaxy.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.

    Returns
    -------
    radii : list of `~astro_morph.catalog.detections.names.RadiusColumns`
        Those of ``RADII`` whose columns are there.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.detections.radii import find_radii
    >>> table = Table(names=['KRON_RADIUS', 'A_WORLD', 'FLUX_RADIUS'])
    >>> [radius.columns for radius in find_radii(table)][:2]
    [('FLUX_RADIUS',), ('KRON_RADIUS', 'A_WORLD')]
    """
    numbers = {
        name
        for name in table.colnames
        if kind_of(table[name]) in ('i', 'u', 'f') and len(table[name].shape) == 1
    }
    return [
        radius
        for radius in RADII
        if {*radius.columns} <= numbers and {*radius.beside} <= {*table.colnames}
    ]


def read_radius(table, radius, *, pixel_scale=None):
    """
    Read the radius of 90 % of the flux of each row.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    radius : `~astro_morph.catalog.detections.names.RadiusColumns`
        The columns, one of those that `find_radii` returns.
    pixel_scale : `~astropy.units.Quantity`, default=None
        Angle of the pixels that the columns may be in; None if it is not known.

    Returns
    -------
    radii : `~astropy.units.Quantity` or None
        In arcsec, shape (n,); NaN where a row has none. None if the columns are in pixels and the
        pixel scale is not known.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.detections.radii import find_radii, read_radius
    >>> table = Table({'r90': [3.0, 4.0]}, units=['pix'])
    >>> read_radius(table, find_radii(table)[0], pixel_scale=0.4 * u.arcsec)
    <Quantity [1.512, 2.016] arcsec>
    """
    product = u.Quantity(np.full(len(table), radius.factor))
    for name in radius.columns:
        values, mask = split_numbers(table[name])
        unit = getattr(table[name], 'unit', None)
        if unit is None or unit == u.dimensionless_unscaled:
            unit = UNITS.get(name, u.dimensionless_unscaled)
        product = product * u.Quantity(np.where(mask, np.nan, values.astype(float)), unit)
    if product.unit.is_equivalent(u.pix):
        if pixel_scale is None:
            return None
        product = product / u.pix * pixel_scale
    sizes = product.to_value(u.arcsec)
    return np.where((sizes > 0) & np.isfinite(sizes), sizes, np.nan) * u.arcsec


def infer_scale(table, coords):
    """
    Return the angle a pixel, from positions in pixels and on the sky.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    coords : `~astropy.coordinates.SkyCoord`
        The positions on the sky, of shape (n,).

    Returns
    -------
    pixel_scale : `~astropy.units.Quantity` or None
        In arcsec; None without positions in pixels, or two of them that differ.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.detections.radii import infer_scale
    >>> coords = SkyCoord([10.0, 10.0], [0.0, 0.01], unit='deg')
    >>> infer_scale(Table({'x': [5.0, 5.0], 'y': [0.0, 180.0]}), coords)
    <Quantity 0.2 arcsec>
    """
    xy = find_pixels(table)
    if xy is None:
        return None
    is_known = np.isfinite(xy).all(axis=1) & np.isfinite(coords.ra.deg)
    xy, coords = xy[is_known], coords[is_known]
    distance = np.hypot(*np.diff(xy, axis=0).T)
    is_apart = distance > 1
    if not is_apart.any():
        return None
    angle = coords[:-1].separation(coords[1:])[is_apart].arcsec
    return np.median(angle / distance[is_apart]) * u.arcsec
