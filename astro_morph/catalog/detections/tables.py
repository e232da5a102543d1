# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Turn the detections of photutils and sep into tables."""

import sys

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table

from astro_morph.catalog.detections.names import PIXELS, R90

__all__ = ['are_detections', 'find_pixels', 'from_detections']


def are_detections(X):
    """
    Check whether an object holds detections, one a row.

    Parameters
    ----------
    X : object
        Any object.

    Returns
    -------
    are_detections : bool
        Whether it is a `~photutils.segmentation.SourceCatalog`, or a structured array such as those
        of ``sep.extract`` and `astropy.io.fits`.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.catalog.detections.tables import are_detections
    >>> are_detections(np.zeros(3, [('x', float), ('y', float)])), are_detections(np.zeros(3))
    (True, False)
    """
    if isinstance(X, np.ndarray):
        return X.dtype.names is not None
    # Who passes a catalogue of photutils has imported its module.
    photutils = sys.modules.get('photutils.segmentation')
    return photutils is not None and isinstance(X, photutils.SourceCatalog)


def from_detections(detections):
    """
    Return detections as a table.

    Parameters
    ----------
    detections : SourceCatalog or structured ndarray
        The detections, as in `are_detections`.

    Returns
    -------
    table : `~astropy.table.Table`
        Its columns. A `~photutils.segmentation.SourceCatalog` has those of its ``to_table()`` and
        ``r90``, the radius of a circle with 90 % of the Kron flux: in arcsec if the catalogue has a
        WCS, else in pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.catalog.detections.tables import from_detections
    >>> from photutils.segmentation import SourceCatalog, detect_sources
    >>> y, x = np.mgrid[:41, :41]
    >>> image = np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / (2 * 3.0**2))
    >>> catalog = SourceCatalog(image, detect_sources(image, 0.01, n_pixels=5))
    >>> from_detections(catalog)['r90'].round(1)
    <Quantity [6.4] pix>
    """
    if isinstance(detections, np.ndarray):
        return Table(detections)
    table = QTable(detections.to_table())
    radius = np.atleast_1d(detections.flux_radius(0.9))
    radius = u.Quantity(radius, u.pix, copy=True)
    if detections.wcs is None:
        # A column of None only.
        table.remove_columns([name for name in ('sky_centroid',) if name in table.colnames])
        table[R90] = radius
        return table
    pixels = np.atleast_1d(detections.x_centroid), np.atleast_1d(detections.y_centroid)
    table[R90] = radius * _measure_scale(detections.wcs, *pixels)
    return table


def find_pixels(table):
    """
    Return the positions of detections in pixels.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.

    Returns
    -------
    xy : ndarray of float, shape (n, 2), or None
        Counted from 0, NaN where a row has none; None without such columns.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.detections.tables import find_pixels
    >>> find_pixels(Table({'X_IMAGE': [1.0], 'Y_IMAGE': [11.0]}))
    array([[ 0., 10.]])
    """
    for x, y, first in PIXELS:
        if x in table.colnames and y in table.colnames:
            xy = [
                np.ma.filled(np.ma.asarray(u.Quantity(table[name]).value), np.nan)
                for name in (x, y)
            ]
            return np.stack(xy, axis=-1).astype(float) - first
    return None


def _measure_scale(wcs, x, y):
    """Return the angle a pixel at some positions."""
    here, right, above = (
        wcs.pixel_to_world(x + right, y + up) for right, up in ((0, 0), (1, 0), (0, 1))
    )
    return np.sqrt(here.separation(right) * here.separation(above)).to(u.arcsec) / u.pix
