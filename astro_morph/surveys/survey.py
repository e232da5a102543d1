# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Survey: bands, pixel scale, depth, seeing, zero points and footprint of a survey."""

from dataclasses import dataclass, field
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

__all__ = ['Circle', 'Patch', 'Survey']


class Patch(NamedTuple):
    """
    A part of the sky between right ascensions and declinations, away from the Milky Way.

    Parameters
    ----------
    dec : (float, float), optional
        From south to north, in degrees.
    ra : (float, float), optional
        From west to east, in degrees; may pass through zero.
    latitude : float, optional
        Smallest distance from the galactic plane, in degrees.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.surveys import Patch
    >>> Patch(dec=(0, 30), latitude=20).covers(SkyCoord([180, 180], [10, -10], unit='deg'))
    array([ True, False])
    """

    dec: tuple = (-90, 90)
    ra: tuple = (0, 360)
    latitude: float = 0

    def covers(self, coords):
        """Tell which ICRS positions lie in the patch."""
        west, east = self.ra
        ra, dec, latitude = coords.ra.deg, coords.dec.deg, np.abs(coords.galactic.b.deg)
        is_east = (ra - west) % 360 <= (east - west if east > west else east - west + 360)
        return is_east & (dec >= self.dec[0]) & (dec <= self.dec[1]) & (latitude >= self.latitude)


class Circle(NamedTuple):
    """
    A circle on the sky, in degrees.

    Parameters
    ----------
    ra, dec : float
        The centre.
    radius : float
        The radius.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.surveys import Circle
    >>> Circle(150, 2, 1).covers(SkyCoord([150.5, 152], [2, 2], unit='deg'))
    array([ True, False])
    """

    ra: float
    dec: float
    radius: float

    def covers(self, coords):
        """Tell which ICRS positions lie in the circle."""
        centre = SkyCoord(self.ra, self.dec, unit=u.deg)
        return coords.separation(centre).deg <= self.radius


@dataclass(frozen=True, eq=False)
class Survey:
    """
    What the images of a survey are like, where they lie, and who serves them.

    What is not known is None, or NaN where some of the bands are not known.

    Parameters
    ----------
    name : str
        Name of the survey.
    title : str
        Its name in words.
    bands : tuple of str
        The bands, from blue to red.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel of the survey's own images.
    rgb : tuple of str
        The three bands of a colour picture, red first.
    psf_fwhm : `~astropy.units.Quantity` or None, optional
        Typical full width at half maximum of the point-spread function, one a band.
    sky_noise : `~numpy.ndarray` or None, optional
        Typical standard deviation of one pixel of empty sky in nanomaggies, one a band: a source of
        AB magnitude 22.5 has a flux of one nanomaggy.
    zero_point : float, `~numpy.ndarray` or None, optional
        AB magnitude of a flux of one in the images that ``service`` gives, for all bands or one a
        band; None where it differs from image to image, or the images are not linear in flux.
    service : str, optional
        The class of `astro_morph.cutouts` that serves it by default.
    hips : dict, optional
        The identifier of the HiPS of each band.
    hips_color : str or None, optional
        The identifier of the HiPS of colour pictures.
    ids : dict, optional
        What other services call the survey or its bands: ``'skyview'``, the survey of each band;
        ``'mast'``, what the names of its cutout surveys begin with, or ``'hap'``; ``'wfau'``, the
        database and the programme; ``'sia'``, the address of the service and the collection.
    coverage : tuple of `Patch` and `Circle`, optional
        Where there are images, roughly: the outline without its holes. By default the whole sky.
    acknowledgement : str, optional
        What a paper that uses the images must print; of a long text the beginning, and where the
        whole is found.
    reference : str, optional
        Bibcode of the paper to cite.
    note : str, optional
        What to beware of.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> sdss = surveys.get('sdss-dr9')
    >>> sdss.bands
    ('u', 'g', 'r', 'i', 'z')
    >>> sdss.pixel_scale
    <Quantity 0.396 arcsec>
    """

    name: str
    title: str
    bands: tuple
    pixel_scale: u.Quantity
    rgb: tuple
    psf_fwhm: u.Quantity = None
    sky_noise: np.ndarray = None
    zero_point: float = None
    service: str = 'Hips2Fits'
    hips: dict = field(default_factory=dict)
    hips_color: str = None
    ids: dict = field(default_factory=dict)
    coverage: tuple = (Patch(),)
    acknowledgement: str = ''
    reference: str = ''
    note: str = ''

    def __repr__(self):
        return f'<Survey {self.name}: {", ".join(self.bands)}, {self.pixel_scale} pixels>'

    def covers(self, coords):
        """
        Tell where the survey has images, roughly.

        Parameters
        ----------
        coords : `~astropy.coordinates.SkyCoord`
            Positions.

        Returns
        -------
        is_covered : bool or `~numpy.ndarray` of bool
            Whether each lies inside the outline of the survey. Archives of single pointings promise
            no position.
        """
        coords = coords.icrs
        is_covered = np.zeros(coords.shape, bool)
        for region in self.coverage:
            is_covered |= region.covers(coords)
        return is_covered[()]


def _sky_noise(depth, psf_fwhm, pixel_scale):
    """
    Noise of one pixel, in nanomaggies, from the 5 sigma depth of a point source.

    The flux error of a point source is the pixel noise times the square root of the effective
    number of noise pixels, 4 pi sigma^2 for a Gaussian of standard deviation sigma pixels
    (King 1983, PASP 95, 163).
    """
    sigma = (psf_fwhm / pixel_scale).to_value(u.one) / np.sqrt(8 * np.log(2))
    return _flux(depth) / 5 / np.sqrt(4 * np.pi * sigma**2)


def _noise_in_aperture(depth, signal_to_noise, radius, pixel_scale):
    """Noise of one pixel, in nanomaggies, from the depth in a circular aperture."""
    n_pixels = np.pi * (radius / pixel_scale).to_value(u.one) ** 2
    return _flux(depth) / signal_to_noise / np.sqrt(n_pixels)


def _flux(magnitude):
    """Turn AB magnitudes into nanomaggies."""
    return 10 ** (-0.4 * (np.asarray(magnitude) - 22.5))
