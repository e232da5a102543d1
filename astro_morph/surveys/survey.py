# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The class Survey: bands, pixel scale, depth, seeing, zero points and footprint."""

from dataclasses import dataclass, field
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from astro_morph.surveys.depth import depth_of_noise

__all__ = ['Circle', 'Patch', 'Survey']


class Patch(NamedTuple):
    """
    A range of right ascension and declination, without the Milky Way.

    Parameters
    ----------
    dec : (float, float), default=(-90, 90)
        Limits in the south and the north, in degrees.
    ra : (float, float), default=(0, 360)
        Limits in the west and the east, in degrees; the range may pass through zero.
    latitude : float, default=0
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
        """Check which ICRS positions lie in the patch."""
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
        """Check which ICRS positions lie in the circle."""
        centre = SkyCoord(self.ra, self.dec, unit=u.deg)
        return coords.separation(centre).deg <= self.radius


@dataclass(frozen=True, eq=False)
class Survey:
    """
    The images of a survey: their properties, their footprint, and their service.

    Unknown values are None, or NaN for single bands.

    Parameters
    ----------
    name : str
        Name of the survey.
    title : str
        The full name.
    bands : tuple of str
        The bands, from blue to red.
    pixel_scale : `~astropy.units.Quantity`
        Angle per pixel of the survey's own images.
    rgb : tuple of str
        The three bands of a colour picture, red first.
    psf_fwhm : `~astropy.units.Quantity`, default=None
        Typical full width at half maximum of the point-spread function in each band.
    sky_noise : `~numpy.ndarray`, default=None
        Typical standard deviation of a pixel of empty sky in each band, in nanomaggies; a source of
        AB magnitude 22.5 has a flux of one nanomaggy.
    zero_point : float or `~numpy.ndarray`, default=None
        AB magnitude of a flux of one in the images of ``service``, for all bands or for each; None
        if it differs between images, if the images are not linear in flux, or if ``unit`` says it.
    unit : str, default=''
        Unit of the images, as BUNIT in a FITS header, where the images do not name it. Surface
        brightness, such as ``'MJy/sr'``, keeps its values at any pixel scale.
    nonlinear : dict, default={}
        The bands whose images are not linear in flux, such as photographic plates, by the name of
        the class of `astro_morph.cutouts` that fetches them. They can't be fetched as flux.
    service : str, default='Hips2Fits'
        The class of `astro_morph.cutouts` that fetches the images by default.
    hips : dict, default={}
        Identifier of the HiPS of each band.
    hips_color : str, default=None
        Identifier of the HiPS of colour pictures.
    ids : dict, default={}
        Names of the survey in other services: ``'skyview'``, the survey of each band; ``'mast'``,
        the beginning of the names of its cutout surveys, or ``'hap'``; ``'wfau'``, the database and
        the programme; ``'sia'``, the address of the service and the collection; ``'cloud'``, the
        pattern of addresses in object storage with ``{bucket_name}``, ``{region}`` and ``{key}``,
        where that service lists places in it but they are not Amazon's; ``'esa'``, the
        environment and the product in ESA's archive of Euclid; ``'rubin'``, the address of the
        image list and the kind of its images; ``'hsc'``, the address and the rerun; ``'legacy'``,
        the layer of the viewer of the Legacy Surveys; ``'panstarrs'``, the kind of images;
        ``'dja'``, the name of each band in the DAWN JWST Archive.
    coverage : tuple of `Patch` and `Circle`, default=(Patch(),)
        Approximate footprint, without its holes.
    access : str, default=''
        What the default service asks of its users: ``'account'``, or a ``'token'`` of one; nothing
        if empty.
    tried : str, default=''
        Date of the last test against the live default service, as ``'2026-11-29'``; empty if there
        was none.
    acknowledgement : str, default=''
        Text that a paper using the images must print; of a long text the beginning, and the address
        of the rest.
    reference : str, default=''
        Bibcode of the paper to cite, or DOI if it has none.
    note : str, default=''
        A caveat.

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
    unit: str = ''
    nonlinear: dict = field(default_factory=dict)
    service: str = 'Hips2Fits'
    hips: dict = field(default_factory=dict)
    hips_color: str = None
    ids: dict = field(default_factory=dict)
    coverage: tuple = (Patch(),)
    access: str = ''
    tried: str = ''
    acknowledgement: str = ''
    reference: str = ''
    note: str = ''

    def __repr__(self):
        return f'<Survey {self.name}: {", ".join(self.bands)}, {self.pixel_scale} pixels>'

    @property
    def depth(self):
        """
        AB magnitude in each band of a point source whose flux is 5 times its error.

        Computed from ``sky_noise`` and ``psf_fwhm``; None if one of them is not known.
        """
        if self.sky_noise is None or self.psf_fwhm is None:
            return None
        return depth_of_noise(self.sky_noise, self.psf_fwhm, self.pixel_scale)

    def covers(self, coords):
        """
        Check which positions lie in the approximate footprint of the survey.

        Parameters
        ----------
        coords : `~astropy.coordinates.SkyCoord`
            Positions.

        Returns
        -------
        is_covered : bool or `~numpy.ndarray` of bool
            Whether each position is covered; always false for archives of single pointings.
        """
        coords = coords.icrs
        is_covered = np.zeros(coords.shape, bool)
        for region in self.coverage:
            is_covered |= region.covers(coords)
        return is_covered[()]
