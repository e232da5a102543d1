# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The class SimulatedSurvey: a sky of galaxies of known morphology, for runs without a network."""

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
from astro_morph.images.stitching import STENCIL, cut_tiles, locate_grids, north_up
from astro_morph.images.tiles import DownloadedImage, Tile, TilePixels
from astro_morph.simulation.galaxies import KINDS, Canvas, draw_faint_galaxy, draw_galaxy
from astro_morph.utils.files import atomic_file, check_new
from astro_morph.utils.messages import cut_list

__all__ = ['SimulatedSurvey']

# Galaxies without a catalogue are placed on a jittered grid, close enough to share some cutouts.
_CENTRE = SkyCoord(180, 5, unit='deg')
_SPACING = 36.0 * u.arcsec
_JITTER = 4.0 * u.arcsec

# Sky around the outermost galaxies: more than half a cutout of 64 SDSS pixels.
_MARGIN = 20.0 * u.arcsec

# A band of this many pixels takes 400 MB; a larger sky is probably a mistake.
_LARGEST_SKY = 10**8

# AB magnitude of a nanomaggy.
_ZERO_POINT = 22.5

# Brightness of a dark sky in AB magnitudes per square arcsec. With the noise of the empty sky, it
# determines the number of electrons per nanomaggy, and thus the noise of the objects.
_SKY_BRIGHTNESS = {'u': 22.1, 'g': 21.8, 'r': 20.9, 'i': 20.2, 'z': 18.9, 'y': 18.0}

# Exponent of the Moffat profile, measured on stars of SDSS frames, and the radius in FWHM where the
# profile is truncated.
_MOFFAT_EXPONENT = 2.8
_PSF_RADIUS = 10

# Stars and galaxies at high galactic latitude: number per square arcmin brighter than r = 20, slope
# of log10(counts) with magnitude, and range of magnitudes.
_STAR_COUNTS = (1.0, 0.13, 13.5, 23.0)
_GALAXY_COUNTS = (0.9, 0.42, 17.0, 23.0)

# Other objects are at least this far from the centres of the galaxies of the catalogue.
_CLEAR_RADIUS = 4.0 * u.arcsec

# Independent random streams, so that the noise does not depend on the galaxies.
_LAYOUT, _GALAXY, _FIELD, _NOISE = range(4)


class _Sky(NamedTuple):
    """The rendered sky: the truth, and the observed flux of shape (band, y, x)."""

    catalogue: QTable
    flux: np.ndarray


class SimulatedSurvey(CutoutSource):
    """
    A sky of galaxies of known morphology, as observed by a survey.

    The same arguments always result in the same sky, bit by bit: a position has the same objects
    and the same noise in every cutout. The sky is rendered on first access, and kept in memory.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='sdss'
        The survey to imitate: pixel scale, seeing and noise.
    n_galaxies : int, default=1000
        Number of galaxies, with equal numbers of each kind.
    kinds : sequence of str, default=KINDS
        Kinds of galaxy: ``'round'``, ``'in_between'``, ``'edge_on'``, ``'spiral'``, ``'merger'``.
    catalogue : `~astropy.table.Table`, default=None
        Positions and the column ``morphology`` of the galaxies, instead of ``n_galaxies`` and
        ``kinds``; their other properties are drawn at random.
    bands : sequence of str, default=None
        Bands to observe; None for those of the survey's colour pictures, from blue to red.
    crowding : float, default=1.0
        Density of stars and other galaxies relative to high galactic latitude, where a square
        arcmin has one star and one galaxy brighter than r = 20. At a latitude of 10 degrees, it has
        about ten stars.
    random_state : int, default=0
        Seed of the sky.

    Attributes
    ----------
    catalogue : `~astropy.table.QTable`
        The truth, one row per galaxy: ``ra``, ``dec``, ``morphology``, ``mag_<band>``,
        ``half_light_radius``, ``petroR90_r``, ``axis_ratio``, ``position_angle``.
    bands : tuple of str
        The bands.
    pixel_scale : `~astropy.units.Quantity`
        Angle per pixel.
    wcs : `~astropy.wcs.WCS`
        World coordinates of the sky's pixels.

    Raises
    ------
    ValueError
        If a kind or a band is unknown, ``crowding`` is negative, or the catalogue is empty, lacks a
        position or a morphology, or covers too large an area.

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
            self._coords, self._kinds = self._place_galaxies(n_galaxies, kinds)
        else:
            self._coords, self._kinds = _read_catalogue(catalogue)
        unknown = sorted(set(self._kinds.tolist()) - set(KINDS))
        if unknown:
            msg = f'kinds of galaxies must be among {KINDS}, got {unknown}'
            raise ValueError(msg)
        self.wcs, self._shape = _footprint(self._coords, self.pixel_scale)

    def __repr__(self):
        return (
            f'<SimulatedSurvey: {len(self._kinds)} galaxies as seen by {self.name} in '
            f'{", ".join(self.bands)}>'
        )

    def __getstate__(self):
        # The sky is large, and is rendered again, bit by bit, when it is needed.
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
        """The whole sky in nanomaggies, of shape (band, y, x)."""
        return self._sky.flux

    def fetch(self, X, *, size=None):
        """
        Cut the positions of a catalogue out of the sky.

        Parameters
        ----------
        X : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
            The catalogue, or positions.
        size : int, `~astropy.units.Quantity`, str or tuple, default=None
            Side of the cutouts in pixels or as an angle, 64 pixels if None; or a column and a
            factor such as ``'4 * petroR90_r'``, see `~astro_morph.cutouts.grid_of`: pixels of
            another scale are resampled.

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            One row for each row of ``X``, in order; pixels outside the sky are NaN.
        """
        table = as_table(X)
        coords, status = read_positions(table)
        side, scale = grid_of(table, size, self.pixel_scale)
        status[(status == 'ok') & np.isnan(scale)] = 'no_size'
        rows = np.flatnonzero(status == 'ok')
        images = np.full((len(table), len(self.bands), side, side), np.nan, np.float32)
        flags = np.zeros(len(table), np.int32)
        if scale.isscalar:
            grids = self._grids(coords[rows], side)
            cut = self._cut(coords[rows], side)
        else:
            grids = north_up(coords[rows], side * scale[rows])
            masked, *others = cut_tiles(self._tiles, grids, side, TilePixels())
            cut = masked.image, *others
        images[rows], status[rows], flags[rows] = cut
        rotation, parity = np.full(len(table), np.nan) * u.deg, np.zeros(len(table), int)
        centers = np.full((len(table), 2), (side - 1) / 2)
        rotation[rows], parity[rows], centers[rows] = locate_grids(grids, coords[rows], side)
        return CutoutSet(
            images,
            bands=self.bands,
            pixel_scale=scale,
            framing=framing_of(size),
            zero_point=_ZERO_POINT,
            status=status,
            flags=flags,
            table=table,
            rotation=rotation,
            parity=parity,
            centers=centers,
        )

    def _grids(self, coords, side):
        """Return the positions of ``STENCIL`` on whole pixels of the sky, as in `_cut`."""
        pixels = np.stack(self.wcs.world_to_pixel(coords), axis=-1)
        centres = np.ceil(pixels - side / 2) + (side - 1) / 2
        return self.wcs.pixel_to_world(*(centres[:, np.newaxis] + STENCIL * side).T).T

    def _cut(self, coords, side):
        """Return the images, in whole pixels, status and flags of n positions."""
        images = np.full((len(coords), len(self.bands), side, side), np.nan, np.float32)
        status, flags = np.full(len(coords), 'ok', 'U20'), np.zeros(len(coords), np.int32)
        pixels = np.transpose(self.wcs.world_to_pixel(coords)[::-1])
        # The hemisphere behind the tangential plane has no pixels.
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
        Write the sky as FITS images with world coordinates, one per band.

        Parameters
        ----------
        folder : str or path-like
            The folder, which is created if necessary.
        overwrite : bool, default=False
            Whether to replace files of the same name.

        Returns
        -------
        paths : list of `~pathlib.Path`
            The file of each band, in the order of the bands.

        Raises
        ------
        FileExistsError
            If a file exists and ``overwrite`` is false.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f'{self.name}-{band}.fits' for band in self.bands]
        for path in paths:
            check_new(path, overwrite=overwrite)
        for path, band, flux in zip(paths, self.bands, self._sky.flux, strict=True):
            header = self.wcs.to_header()
            header['BUNIT'] = ('nanomaggy', 'AB magnitude 22.5 has a flux of 1')
            header['FILTER'] = (band, 'band')
            header['SURVEY'] = (f'simulated {self.name}', 'made by astro_morph')
            with atomic_file(path, overwrite=overwrite) as aside:
                fits.PrimaryHDU(flux, header).writeto(aside)
        return paths

    def _rng(self, *stream):
        return np.random.default_rng((self.random_state, *stream))

    def _place_galaxies(self, n_galaxies, kinds):
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
        # The truth includes the r band even if it is not observed.
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
        return self._build_truth(np.transpose(truth))

    def _build_truth(self, truth):
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
        """Draw the positions in pixels and r magnitudes of other objects, of shape (n, 3)."""
        density, slope, brightest, faintest = counts
        density *= self.crowding
        ny, nx = self._shape
        area = nx * ny * self.pixel_scale**2
        n = rng.poisson(density * 10 ** (slope * (faintest - 20)) * area.to_value(u.arcmin**2))
        # The inverse of the cumulative counts, which are proportional to 10^(slope * magnitude).
        faint, bright = 10 ** (slope * np.array([faintest, brightest]))
        magnitude = np.log10(rng.uniform(bright, faint, n)) / slope
        x, y = rng.uniform(-0.5, nx - 0.5, n), rng.uniform(-0.5, ny - 0.5, n)
        _, distance, _ = self.wcs.pixel_to_world(x, y).match_to_catalog_sky(self._coords)
        return np.column_stack([x, y, magnitude])[distance > _CLEAR_RADIUS]

    def _psf(self, band, offset=(0.0, 0.0)):
        """Return the point-spread function of unit sum, smoothing by the pixel included."""
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
        # Read-only, because Astropy otherwise swaps bytes in place during writing, while other
        # threads may read the array.
        flux.flags.writeable = False
        return flux


_DESCRIPTIONS = {
    'morphology': 'kind of the simulated galaxy',
    'mag_r': 'total AB magnitude',
    'half_light_radius': 'radius of the circle that contains half of the r flux, before seeing',
    'petroR90_r': 'radius of the circle that contains 90 % of the Petrosian r flux, before seeing',
    'axis_ratio': 'ratio of minor to major axis of the model',
    'position_angle': 'position angle of the major axis, north through east',
}


def _read_catalogue(catalogue):
    coords, status = read_positions(catalogue)
    if not len(catalogue) or 'morphology' not in catalogue.colnames:
        msg = (
            f'catalogue must have rows and the column morphology, got {len(catalogue)} rows and '
            f'the columns {cut_list(catalogue.colnames)}'
        )
        raise ValueError(msg)
    if np.any(status != 'ok'):
        row = np.argmax(status != 'ok')
        msg = f'catalogue must have a position in each row, got {status[row]} in row {row}'
        raise ValueError(msg)
    return coords, np.asarray(catalogue['morphology'], dtype=str)


def _footprint(coords, pixel_scale):
    """Return the world coordinates and the shape of a tangential grid around positions."""
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
            f'catalogue spans {shape[1]:.0f} x {shape[0]:.0f} pixels, more than can be rendered at '
            'once; simulate smaller regions of the sky one by one'
        )
        raise ValueError(msg)
    wcs.wcs.crpix = 1 - low
    # Rounded like a header, so that files and pickles have exactly the same positions.
    return WCS(wcs.to_header()), tuple(map(int, shape))


def _subpixel(x, y):
    """Return the distance of a position from the centre of its pixel."""
    return x - round(x), y - round(y)


def _add(light, stamp, x, y):
    """Add a stamp in place, with its central pixel on the pixel that contains (x, y)."""
    to_sky, from_stamp = overlap_slices(light.shape[1:], stamp.shape[1:], (round(y), round(x)))
    light[:, *to_sky] += stamp[:, *from_stamp]


def _radii(image, pixel_scale):
    """
    Return the half-light radius and the Petrosian 90 % radius, in circles, in arcsec.

    The Petrosian flux is that inside two Petrosian radii. At one, the surface brightness is 0.2 of
    its mean inside (Blanton et al. 2001, AJ 121, 2358).
    """
    half = image.shape[0] // 2
    radius = np.hypot(*np.ogrid[-half : half + 1, -half : half + 1]).round().astype(int)
    area, flux = np.bincount(radius.ravel()), np.bincount(radius.ravel(), image.ravel())
    edges = np.arange(len(area)) + 0.5
    inside = np.cumsum(flux)
    is_outside = flux / area < 0.2 * inside / np.cumsum(area)
    petrosian_flux = np.interp(2 * edges[np.argmax(is_outside)], edges, inside)
    return np.interp([0.5 * inside[-1], 0.9 * petrosian_flux], inside, edges) * pixel_scale
