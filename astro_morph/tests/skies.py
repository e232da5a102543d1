# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Skies for the tests of services, whose pixels tell where they are."""

from types import SimpleNamespace

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from astro_morph import surveys

__all__ = ['coords_at', 'ramp_sky']


def ramp_sky(side=1500):
    """Make a sky that holds the number of the column in g, that of the row in r."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = 150, 40
    wcs.wcs.crpix = side / 2, side / 2
    wcs.wcs.cdelt = np.array([-1, 1]) * 0.396 / 3600
    y, x = np.indices((side, side), np.float32)
    return SimpleNamespace(
        wcs=wcs, flux=np.stack([x, y]), bands=('g', 'r'), survey=surveys.get('sdss-dr9')
    )


def coords_at(sky, x, y):
    """Return the positions of pixels of a sky."""
    return SkyCoord(sky.wcs.pixel_to_world(np.asarray(x), np.asarray(y)))
