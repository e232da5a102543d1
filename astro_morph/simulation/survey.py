# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A simulated survey: a sky of galaxies of known morphology, so that all runs without a network."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.modeling.models import BlackBody, Moffat2D
from astropy.nddata import NoOverlapError, overlap_slices
from astropy.table import QTable
from astropy.wcs import WCS
from scipy.signal import oaconvolve

from astro_morph import surveys
from astro_morph.catalog import as_table, read_positions
from astro_morph.catalog.bands import band_wavelength
from astro_morph.catalog.flags import BITS
from astro_morph.cutouts.cutout_set import CutoutSet
from astro_morph.cutouts.sizes import framing_of, grid_of
from astro_morph.cutouts.source import CutoutSource
from astro_morph.images.stitching import cut_tiles, north_up
from astro_morph.images.tiles import DownloadedImage, Tile, TilePixels
from astro_morph.simulation.galaxies import KINDS, Canvas, draw_faint_galaxy, draw_galaxy

__all__ = ['SimulatedSurvey']

# Galaxies of a made-up catalogue lie on a jittered grid: near enough to meet in some cutouts.
_CENTRE = SkyCoord(180, 5, unit='deg')
_SPACING = 36.0 * u.arcsec
_JITTER = 4.0 * u.arcsec

# Sky around the outermost galaxies: half a cutout of 64 SDSS pixels and some more.
_MARGIN = 20.0 * u.arcsec

# A band of this many pixels takes 400 MB; a larger sky is more likely a mistake than a wish.
_LARGEST_SKY = 10**8

# AB magnitude of a nanomaggy.
_ZERO_POINT = 22.5

# Brightness of a dark sky in AB magnitudes a square arcsec: with the noise of the empty sky it
# says how many electrons a nanomaggy gives, and so how much noise an object adds.
_SKY_BRIGHTNESS = {'u': 22.1, 'g': 21.8, 'r': 20.9, 'i': 20.2, 'z': 18.9, 'y': 18.0}

# Exponent of the Moffat profile, as measured on stars of SDSS frames, and the radius in FWHM
# where the profile ends.
_MOFFAT_EXPONENT = 2.8
_PSF_RADIUS = 10

# Objects a square arcmin brighter than r = 20, the slope of log10(counts) with magnitude, and the
# range of magnitudes, for stars and for galaxies at high galactic latitude.
_STAR_COUNTS = (1.0, 0.13, 13.5, 23.0)
_GALAXY_COUNTS = (0.9, 0.42, 17.0, 23.0)

# No other object lies this near to the centre of a galaxy of the catalogue.
_CLEAR_RADIUS = 4.0 * u.arcsec

# Independent streams of random numbers, so that the noise does not depend on the galaxies.
_LAYOUT, _GALAXY, _FIELD, _NOISE = range(4)


class _Sky(NamedTuple):
    """What rendering gives: the truth, and the observed flux, shape (band, y, x)."""

    catalogue: QTable
    flux: np.ndarray


class SimulatedSurvey(CutoutSource):
    """
    A sky of galaxies of known morphology, seen as a survey would see it.

    The same arguments always give the same sky, to the last bit: a patch of sky has the same
    objects and the same noise in whichever cutout it is seen. It is rendered when it is first
    looked at, and kept.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, optional
        The survey to imitate: pixel scale, seeing and noise.
    n_galaxies : int, optional
        How many galaxies to place, the kinds in equal numbers.
    kinds : sequence of str, optional
        Kinds of galaxy: ``'round'``, ``'in_between'``, ``'edge_on'``, ``'spiral'``, ``'merger'``.
    catalogue : `~astropy.table.Table`, optional
        Positions and the column ``morphology`` of the galaxies to place, instead of
        ``n_galaxies`` and ``kinds``; their other properties are drawn at random.
    bands : sequence of str, optional
        Bands to observe; by default those of the survey's colour pictures, from blue to red.
    crowding : float, optional
        How many times as many stars and other galaxies there are as at high galactic latitude,
        where a square arcmin has one star and one galaxy brighter than r = 20. At 10 degrees from
        the plane, it has about ten stars.
    random_state : int, optional
        Seed of the sky.

    Attributes
    ----------
    catalogue : `~astropy.table.QTable`
        The truth, one row a galaxy: ``ra``, ``dec``, ``morphology``, ``mag_<band>``,
        ``half_light_radius``, ``petroR90_r``, ``axis_ratio``, ``position_angle``.
    bands : tuple of str
        The bands.
    pixel_scale : `~astropy.units.Quantity`
        Angle a pixel.
    wcs : `~astropy.wcs.WCS`
        World coordinates of the sky's pixels.

    Raises
    ------
    ValueError
        If a kind or a band is not known, ``crowding`` is negative, or the catalogue is empty,
        lacks a position or a morphology, or covers too large an area.

    Examples
    --------
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4, kinds=['spiral', 'round'])
    >>> print(survey.catalogue['morphology'])
    morphology
    ----------
        spiral
        spiral
         round
         round
    >>> survey.fetch(survey.catalogue)
    <CutoutSet: 4 cutouts of 3 bands (g, r, i), 64 x 64 pixels of 0.396 arcsec,
     flux, 0 without image>
    """

    def __init__(
        self,
        survey='sdss',
        *,
        n_galaxies=1000,
        kinds=KINDS,
        catalogue=None,
        bands=None,
        crowding=1.0,
        random_state=0,
    ):
        self.survey = surveys.get(survey)
        self.name = getattr(survey, 'name', survey).lower()
        self.bands = self.survey.rgb[::-1] if bands is None else tuple(bands)
        self.crowding = crowding
        self.random_state = random_state
        unknown = [band for band in self.bands if band not in self.survey.bands]
        if unknown:
            msg = f'bands {unknown} are not among those of {self.survey.name}, {self.survey.bands}'
            raise ValueError(msg)
        if not crowding >= 0:
            msg = f'crowding must be a factor of at least 0, got {crowding}'
            raise ValueError(msg)
        if catalogue is None:
            self._coords, self._kinds = self._make_catalogue(n_galaxies, kinds)
        else:
            self._coords, self._kinds = _read_catalogue(catalogue)
        unknown = sorted(set(self._kinds.tolist()) - set(KINDS))
        if unknown:
            msg = f'the kinds of galaxy must be among {KINDS}, got {unknown}'
            raise ValueError(msg)
        self.wcs, self._shape = _footprint(self._coords, self.pixel_scale)

    def __repr__(self):
        return (
            f'<SimulatedSurvey: {len(self._kinds)} galaxies as seen by {self.name} in '
            f'{", ".join(self.bands)}>'
        )

    def __getstate__(self):
        # The sky is large, and rendered again to the same bits where it is needed.
        return {
            name: value for name, value in self.__dict__.items() if name not in ('_sky', '_tiles')
        }

    @property
    def pixel_scale(self):
        return self.survey.pixel_scale

    @property
    def catalogue(self):
        return self._sky.catalogue

    @property
    def flux(self):
        """All of the sky in nanomaggies, shape (band, y, x)."""
        return self._sky.flux

    def fetch(self, X, *, size=None):
        """
        Cut out the pixels around the positions of a catalogue.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        size : int, `~astropy.units.Quantity`, str or tuple, optional
            Side of the cutouts in pixels, or as an angle; 64 pixels by default. Or a column and a
            factor such as ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`: pixels of
            another scale are resampled.

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            One row for each row of ``X``, in order; NaN outside the sky.
        """
        table = as_table(X)
        coords, status = read_positions(table)
        side, scale = grid_of(table, size, self.pixel_scale)
        status[(status == 'ok') & np.isnan(scale)] = 'no_size'
        rows = np.flatnonzero(status == 'ok')
        images = np.full((len(table), len(self.bands), side, side), np.nan, np.float32)
        flags = np.zeros(len(table), np.int32)
        if scale.isscalar:
            cut = self._cut(coords[rows], side)
        else:
            grids = north_up(coords[rows], side * scale[rows])
            cut = cut_tiles(self._tiles, grids, side, TilePixels())
        images[rows], status[rows], flags[rows] = cut
        return CutoutSet(
            images,
            bands=self.bands,
            pixel_scale=scale,
            framing=framing_of(size),
            zero_point=_ZERO_POINT,
            status=status,
            flags=flags,
            table=table,
        )

    def _cut(self, coords, side):
        """Cut whole pixels: return the images, status and flags of n positions."""
        images = np.full((len(coords), len(self.bands), side, side), np.nan, np.float32)
        status, flags = np.full(len(coords), 'ok', 'U20'), np.zeros(len(coords), np.int32)
        pixels = np.transpose(self.wcs.world_to_pixel(coords)[::-1])
        # The half of the sphere behind the tangential plane has no pixels.
        status[np.isnan(pixels).any(axis=1)] = 'no_coverage'
        for i in np.flatnonzero(status == 'ok'):
            try:
                from_sky, to_image = overlap_slices(self._shape, (side, side), pixels[i])
            except NoOverlapError:
                status[i] = 'no_coverage'
                continue
            images[i][:, *to_image] = self._sky.flux[:, *from_sky]
            if np.isnan(images[i]).any():
                flags[i] |= BITS['partial_coverage']
        return images, status, flags

    @cached_property
    def _tiles(self):
        image = DownloadedImage(fits.PrimaryHDU(self.flux, self.wcs.to_header()))
        return [[Tile(image, plane)] for plane in range(len(self.bands))]

    def write(self, folder, *, overwrite=False):
        """
        Write the sky as FITS images with world coordinates, one a band.

        Parameters
        ----------
        folder : str or path-like
            Where to; it is made if it is not there.
        overwrite : bool, optional
            Whether to replace files of the same name.

        Returns
        -------
        paths : list of `~pathlib.Path`
            One file a band, in the order of the bands.

        Raises
        ------
        OSError
            If a file is there already and ``overwrite`` is false.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f'{self.name}-{band}.fits' for band in self.bands]
        for path, band, flux in zip(paths, self.bands, self._sky.flux, strict=True):
            header = self.wcs.to_header()
            header['BUNIT'] = ('nanomaggy', 'AB magnitude 22.5 has a flux of 1')
            header['FILTER'] = (band, 'band')
            header['SURVEY'] = (f'simulated {self.name}', 'made by astro_morph')
            fits.PrimaryHDU(flux, header).writeto(path, overwrite=overwrite)
        return paths

    def _rng(self, *stream):
        return np.random.default_rng((self.random_state, *stream))

    def _make_catalogue(self, n_galaxies, kinds):
        if n_galaxies < 1 or not len(kinds):
            msg = f'n_galaxies and kinds must not be empty, got {n_galaxies} and {kinds!r}'
            raise ValueError(msg)
        rng = self._rng(_LAYOUT)
        morphology = rng.permutation(np.resize(np.asarray(kinds, dtype=str), n_galaxies))
        side = int(np.ceil(np.sqrt(n_galaxies)))
        grid = np.divmod(np.arange(n_galaxies), side) - (side - 1) / 2 * np.ones((2, 1))
        north, east = grid * _SPACING + rng.uniform(-1, 1, grid.shape) * _JITTER
        return _CENTRE.spherical_offsets_by(east, north), morphology

    @cached_property
    def _sky(self):
        light = np.zeros((len(self.bands), *self._shape))
        catalogue = self._add_galaxies(light)
        self._add_faint_galaxies(light)
        for i, band in enumerate(self.bands):
            light[i] = oaconvolve(light[i], self._psf(band), mode='same')
        self._add_stars(light)
        return _Sky(catalogue, self._add_noise(light))

    def _add_galaxies(self, light):
        scale = self.pixel_scale.to_value(u.arcsec)
        # The truth has the r band also where it is not observed.
        bands = (*self.bands, 'r')
        truth = []
        for i, (kind, x, y) in enumerate(
            zip(self._kinds, *self.wcs.world_to_pixel(self._coords), strict=True)
        ):
            galaxy = draw_galaxy(
                kind,
                rng=self._rng(_GALAXY, i),
                bands=bands,
                pixel_scale=scale,
                offset=_subpixel(x, y),
            )
            _add(light, galaxy.flux[:-1], x, y)
            magnitudes = _ZERO_POINT - 2.5 * np.log10(galaxy.flux.sum(axis=(1, 2)))
            radii = _radii(galaxy.flux[-1], scale)
            truth.append([*magnitudes, *radii, galaxy.axis_ratio, galaxy.position_angle])
        return self._describe(np.transpose(truth))

    def _describe(self, truth):
        *magnitudes, half_light, petrosian, axis_ratio, position_angle = truth
        table = QTable()
        table['ra'] = self._coords.ra.to(u.deg)
        table['dec'] = self._coords.dec.to(u.deg)
        table['morphology'] = self._kinds
        for band, magnitude in zip((*self.bands, 'r'), magnitudes, strict=True):
            table[f'mag_{band}'] = magnitude * u.mag
        table['half_light_radius'] = half_light * u.arcsec
        table['petroR90_r'] = petrosian * u.arcsec
        table['axis_ratio'] = axis_ratio
        table['position_angle'] = position_angle * u.deg
        for name, description in _DESCRIPTIONS.items():
            table[name].info.description = description
        return table

    def _add_faint_galaxies(self, light):
        rng = self._rng(_FIELD, 0)
        scale = self.pixel_scale.to_value(u.arcsec)
        for x, y, magnitude in self._field_objects(rng, _GALAXY_COUNTS):
            galaxy = draw_faint_galaxy(
                magnitude,
                rng=rng,
                bands=self.bands,
                pixel_scale=scale,
                offset=_subpixel(x, y),
            )
            _add(light, galaxy.flux, x, y)

    def _add_stars(self, light):
        rng = self._rng(_FIELD, 1)
        stars = self._field_objects(rng, _STAR_COUNTS)
        temperatures = 10 ** rng.uniform(3.46, 3.82, (len(stars), 1)) * u.K
        wavelengths = [band_wavelength(band) for band in ('r', *self.bands)] * u.um
        spectra = BlackBody(temperatures)(wavelengths).value
        colours = spectra[:, 1:] / spectra[:, :1]
        for (x, y, magnitude), colour in zip(stars, colours, strict=True):
            flux = colour * 10 ** (-0.4 * (magnitude - _ZERO_POINT))
            psf = np.stack([self._psf(band, _subpixel(x, y)) for band in self.bands])
            _add(light, flux[:, np.newaxis, np.newaxis] * psf, x, y)

    def _field_objects(self, rng, counts):
        """Draw positions in pixels and r magnitudes of what else is on the sky, shape (n, 3)."""
        density, slope, brightest, faintest = counts
        density *= self.crowding
        ny, nx = self._shape
        area = nx * ny * self.pixel_scale**2
        n = rng.poisson(density * 10 ** (slope * (faintest - 20)) * area.to_value(u.arcmin**2))
        # The inverse of the cumulative counts, which grow as 10^(slope * magnitude).
        faint, bright = 10 ** (slope * np.array([faintest, brightest]))
        magnitude = np.log10(rng.uniform(bright, faint, n)) / slope
        x, y = rng.uniform(-0.5, nx - 0.5, n), rng.uniform(-0.5, ny - 0.5, n)
        _, distance, _ = self.wcs.pixel_to_world(x, y).match_to_catalog_sky(self._coords)
        return np.column_stack([x, y, magnitude])[distance > _CLEAR_RADIUS]

    def _psf(self, band, offset=(0.0, 0.0)):
        """Point-spread function of unit sum; it includes the smoothing by the pixel."""
        fwhm = (self.survey.psf_fwhm / self.pixel_scale).to_value(u.one)
        width = fwhm[self.survey.bands.index(band)] / (2 * np.sqrt(2 ** (1 / _MOFFAT_EXPONENT) - 1))
        # One size for all bands, so that they can be stacked.
        canvas = Canvas(_PSF_RADIUS * fwhm.max(), 1.0, offset)
        psf = Moffat2D.evaluate(canvas.x, canvas.y, 1, 0, 0, width, _MOFFAT_EXPONENT)
        return psf / psf.sum()

    def _add_noise(self, light):
        flux = np.empty(light.shape, np.float32)
        for i, band in enumerate(self.bands):
            index = self.survey.bands.index(band)
            area = self.pixel_scale.to_value(u.arcsec) ** 2
            sky = 10 ** (-0.4 * (_SKY_BRIGHTNESS[band] - _ZERO_POINT)) * area
            noise = self.survey.sky_noise[index] * np.sqrt(1 + np.maximum(light[i], 0) / sky)
            flux[i] = light[i] + noise * self._rng(_NOISE, index).standard_normal(self._shape)
        # astropy swaps the bytes of arrays in place while it writes them, other threads or not.
        flux.flags.writeable = False
        return flux


_DESCRIPTIONS = {
    'morphology': 'kind of galaxy that was drawn',
    'mag_r': 'AB magnitude of all the light',
    'half_light_radius': 'radius of the circle that holds half of the r light, before the seeing',
    'petroR90_r': 'radius of the circle that holds 90 % of the Petrosian r flux, before the seeing',
    'axis_ratio': 'minor over major axis of the model',
    'position_angle': 'of the major axis, from north through east',
}


def _read_catalogue(catalogue):
    coords, status = read_positions(catalogue)
    if not len(catalogue) or 'morphology' not in catalogue.colnames:
        msg = (
            f'catalogue must have rows and the column morphology, got {len(catalogue)} rows and '
            f'the columns {catalogue.colnames}'
        )
        raise ValueError(msg)
    if np.any(status != 'ok'):
        row = np.argmax(status != 'ok')
        msg = f'catalogue must have a position in each row, row {row} has {status[row]}'
        raise ValueError(msg)
    return coords, np.asarray(catalogue['morphology'], dtype=str)


def _footprint(coords, pixel_scale):
    """Lay a tangential grid of pixels over the positions: its world coordinates and shape."""
    centre = SkyCoord(coords.cartesian.mean(), representation_type='unitspherical', frame='icrs')
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ['RA---TAN', 'DEC--TAN']
    wcs.wcs.crval = [centre.ra.deg, centre.dec.deg]
    wcs.wcs.cdelt = np.array([-1, 1]) * pixel_scale.to_value(u.deg)
    pixels = np.array(wcs.world_to_pixel(coords))
    margin = (_MARGIN / pixel_scale).to_value(u.one)
    low = np.floor(pixels.min(axis=1) - margin)
    shape = tuple((np.ceil(pixels.max(axis=1) + margin) - low + 1)[::-1])
    if not np.prod(shape) <= _LARGEST_SKY:
        msg = (
            f'the galaxies span {shape[1]:.0f} x {shape[0]:.0f} pixels, more than can be '
            f'rendered at once; simulate the catalogue in smaller pieces of sky'
        )
        raise ValueError(msg)
    wcs.wcs.crpix = 1 - low
    # A header holds fewer digits: as written, so that files and pickles give the same positions.
    return WCS(wcs.to_header()), tuple(map(int, shape))


def _subpixel(x, y):
    """Distance of a position from the centre of its pixel."""
    return x - round(x), y - round(y)


def _add(light, stamp, x, y):
    """Add a stamp in place, its central pixel at the one that holds (x, y)."""
    to_sky, from_stamp = overlap_slices(light.shape[1:], stamp.shape[1:], (round(y), round(x)))
    light[:, *to_sky] += stamp[:, *from_stamp]


def _radii(image, pixel_scale):
    """
    Half-light radius and Petrosian 90 % radius, in arcsec, of the light in circles.

    The Petrosian flux is that inside two Petrosian radii, where the surface brightness has
    fallen to 0.2 of its mean inside (Blanton et al. 2001, AJ 121, 2358).
    """
    half = image.shape[0] // 2
    radius = np.hypot(*np.ogrid[-half : half + 1, -half : half + 1]).round().astype(int)
    area, flux = np.bincount(radius.ravel()), np.bincount(radius.ravel(), image.ravel())
    edges = np.arange(len(area)) + 0.5
    inside = np.cumsum(flux)
    is_outside = flux / area < 0.2 * inside / np.cumsum(area)
    petrosian_flux = np.interp(2 * edges[np.argmax(is_outside)], edges, inside)
    return np.interp([0.5 * inside[-1], 0.9 * petrosian_flux], inside, edges) * pixel_scale
