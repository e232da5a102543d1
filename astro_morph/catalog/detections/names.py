# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The columns of photutils, SExtractor and sep that hold positions and radii; add a tool here."""

from typing import NamedTuple

import astropy.units as u

__all__ = ['PIXELS', 'R90', 'RADII', 'SKY', 'UNITS', 'PixelColumns', 'RadiusColumns']

#: Column of the radius of 90 % of the flux, which the catalogue of a photutils detection gets.
R90 = 'r90'

#: Right ascension and declination of SExtractor, the most accurate first: a catalogue may have
#: several of them.
SKY = (
    ('ALPHAWIN_J2000', 'DELTAWIN_J2000'),
    ('ALPHAPSF_J2000', 'DELTAPSF_J2000'),
    ('ALPHA_J2000', 'DELTA_J2000'),
    ('ALPHAPEAK_J2000', 'DELTAPEAK_J2000'),
    ('ALPHAWIN_SKY', 'DELTAWIN_SKY'),
    ('ALPHA_SKY', 'DELTA_SKY'),
)


class PixelColumns(NamedTuple):
    """
    Columns of positions in the pixels of a frame.

    Parameters
    ----------
    x : str
        The column of x.
    y : str
        The column of y.
    first : int
        What the tool calls the middle of the first pixel: 0, or 1 as in FITS.

    Examples
    --------
    >>> from astro_morph.catalog.detections.names import PIXELS
    >>> PIXELS[0]
    PixelColumns(x='x_centroid', y='y_centroid', first=0)
    """

    x: str
    y: str
    first: int


#: Positions in pixels of photutils, SExtractor and sep.
PIXELS = (
    PixelColumns('x_centroid', 'y_centroid', 0),
    PixelColumns('xcentroid', 'ycentroid', 0),  # photutils before 3.0
    PixelColumns('XWIN_IMAGE', 'YWIN_IMAGE', 1),
    PixelColumns('X_IMAGE', 'Y_IMAGE', 1),
    PixelColumns('x', 'y', 0),
)


class RadiusColumns(NamedTuple):
    """
    Columns whose product is a radius of a galaxy.

    Parameters
    ----------
    columns : tuple of str
        The columns that are multiplied.
    factor : float
        The median ratio of the radius of 90 % of the Petrosian flux to the product, see
        ``benchmarks/radii.py``.
    beside : tuple of str, default=()
        Other columns by which the tool is recognised.

    Examples
    --------
    >>> from astro_morph.catalog.detections.names import RADII
    >>> RADII[0]
    RadiusColumns(columns=('r90',), factor=1.26, beside=())
    """

    columns: tuple
    factor: float
    beside: tuple = ()


#: Radii of each tool, those with the least scatter first. KRON_RADIUS and PETRO_RADIUS of
#: SExtractor are those of its apertures: 2.5 times the first moment and twice the Petrosian radius,
#: in units of the semi-major axis; FLUX_RADIUS is that of half the light.
RADII = (
    RadiusColumns((R90,), 1.26),
    RadiusColumns(('FLUX_RADIUS',), 3.02),
    RadiusColumns(('kron_radius', 'semimajor_axis'), 1.96),
    RadiusColumns(('kron_radius', 'semimajor_sigma'), 1.96),  # photutils before 3.0
    RadiusColumns(('KRON_RADIUS', 'A_WORLD'), 0.79),
    RadiusColumns(('KRON_RADIUS', 'A_IMAGE'), 0.79),
    RadiusColumns(('PETRO_RADIUS', 'A_WORLD'), 0.54),
    RadiusColumns(('PETRO_RADIUS', 'A_IMAGE'), 0.54),
    RadiusColumns(('semimajor_axis',), 2.78),
    RadiusColumns(('semimajor_sigma',), 2.78),
    RadiusColumns(('A_WORLD',), 2.78),
    RadiusColumns(('A_IMAGE',), 2.78),
    RadiusColumns(('a',), 2.78, beside=('b', 'theta')),
)

#: The units of these columns where a file or an array has none.
UNITS = {
    'A_WORLD': u.deg,
    'A_IMAGE': u.pix,
    'FLUX_RADIUS': u.pix,
    'semimajor_axis': u.pix,
    'semimajor_sigma': u.pix,
    'a': u.pix,
    R90: u.arcsec,
}
