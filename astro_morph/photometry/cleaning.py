# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Clean cutouts: fill defects, subtract the sky, remove neighbours, recentre, rotate, rescale."""

import dataclasses
import math
import zlib
from concurrent.futures import ThreadPoolExecutor

import astropy.units as u
import numpy as np
from astropy.modeling.models import Moffat2D
from scipy.signal import oaconvolve

from astro_morph.catalog import read_sizes
from astro_morph.catalog.flags import BITS
from astro_morph.images.resampling import resample_stamps
from astro_morph.photometry.defects import (
    fill_small_holes,
    find_cosmic_rays,
    find_missing,
    find_missing_in_pictures,
    find_saturated,
)
from astro_morph.photometry.segmentation import THRESHOLD, grow, segment, signal_to_noise, smooth
from astro_morph.photometry.sky import GROWTH, measure_sky
from astro_morph.photometry.structure import petrosian_radius
from astro_morph.utils.cores import n_cores

__all__ = ['Cleaner', 'preprocess', 'random_generator']

# Cutouts per thread: few enough for the cache of a core, and many enough to keep threads busy.
CHUNK = 32

# A source is a neighbour if the light between it and the galaxy falls to this fraction of its peak.
SADDLES = {'detached': 0.4, 'all': 0.8}

# Below this signal-to-noise ratio, the centre and the shape of a galaxy are uncertain.
LEAST_SIGNAL = 20

# Signal-to-noise ratio per pixel above which a core may be saturated.
BRIGHT = 100

# Width of the halo of faint light around a segment, as a fraction of the side.
HALO = 1 / 8

# Light is cut at this many times the noise: no galaxy is as bright, and sums of squares stay in the
# range of single precision.
LARGEST = 1e12

# Largest ratio of the brightness of the two sides of a galaxy.
BRIGHTER = 2

# Standard deviation in pixels of the window in which the centroid is measured, about that of the
# seeing, and the iterations after which it has converged.
WINDOW = 3.0
CENTROID_STEPS = 5

# A galaxy within this distance of the centre, in pixels, is not moved: resampling correlates noise.
OFF_CENTRE = 0.5

# The common radius as a fraction of the side, so that about twice the radius is inside the frame;
# and the largest factor by which images are enlarged or reduced.
RADIUS_AT = 0.3
LARGEST_ZOOM = 4.0

# Kron aperture in units of the Kron radius, the first moment of the light, as in photutils: it
# holds 90 % of the light.
KRON = 2.5

# Moffat profile of the seeing, as measured on stars in SDSS frames, and its extent in half-widths.
MOFFAT_EXPONENT = 2.8
PSF_EXTENT = 6

# A frame: the shift (x, y) of the middle in pixels, the angle of its x axis in radians, and the
# factor by which pixels grow.
_SAME_FRAME = (0.0, 0.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Cleaner:
    """
    Clean cutouts as `~astro_morph.photometry.Preprocessor` does, without scikit-learn.

    Parameters
    ----------
    neighbours, recentre, rotate, scale, psf_fwhm, saturation, half_light
        As for `~astro_morph.photometry.Preprocessor`, which validates them.
    """

    neighbours: str | None = 'detached'
    recentre: float | None = None
    rotate: bool = False
    scale: str | None = None
    psf_fwhm: tuple | None = None
    saturation: float | None = None
    half_light: str | None = None

    def clean(self, cutouts):
        """
        Clean cutouts.

        Parameters
        ----------
        cutouts : `~astro_morph.CutoutSet`
            The cutouts.

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            The same rows in the same order, with flags added. They have no mask: masked pixels are
            filled or NaN, as all missing ones. Their variance is that before the cleaning, on the
            new pixels; none after a convolution.

        Raises
        ------
        ValueError
            If a setting does not apply to the cutouts.
        """
        # Never the images themselves, which are changed.
        images, flags = cutouts.filled().astype(np.float32), cutouts.flags.copy()
        frames = np.tile(_SAME_FRAME, (len(cutouts), 1))
        if self._sets_frame and cutouts.shape[2] != cutouts.shape[3]:
            msg = (
                f'cutouts have {cutouts.shape[2]} x {cutouts.shape[3]} pixels, but recentre, '
                'rotate and scale need square ones; fetch square cutouts, or leave these out'
            )
            raise ValueError(msg)
        clean = self._clean_flux if cutouts.kind == 'flux' else _clean_pictures
        radii, widths = self._radii(cutouts), self._psf_widths(cutouts)
        half_light, variance = self._half_light(cutouts), cutouts.variance

        def work(rows):
            images[rows], found, frames[rows] = clean(
                images[rows],
                None if variance is None else variance[rows],
                radii[rows],
                widths[rows],
                half_light[rows],
            )
            flags[rows] = _add_flags(flags[rows], found)

        # numpy and scipy release the global interpreter lock in the slow parts.
        with ThreadPoolExecutor(n_cores()) as pool:
            list(pool.map(work, _chunks(cutouts)))
        is_empty = np.isnan(images).all(axis=(1, 2, 3))
        cleaned = cutouts.replace(
            images=images,
            flags=flags,
            status=np.where(cutouts.is_ok & is_empty, 'all_nan', cutouts.status),
            variance=None if self.psf_fwhm is not None else _resample_variance(variance, frames),
            mask=None,
        )
        return _place(cleaned, frames, self.scale is not None) if self._sets_frame else cleaned

    def segment(self, cutouts):
        """
        Segment cutouts into galaxy, neighbours and sky.

        Parameters
        ----------
        cutouts : `~astro_morph.CutoutSet`
            Cutouts in flux.

        Returns
        -------
        segments : ndarray of int, shape (n, y, x)
            0 for sky, 1 for the galaxy, 2 and more for its neighbours.
        """
        segments = np.zeros((len(cutouts), *cutouts.shape[2:]), int)
        half_light = self._half_light(cutouts)
        for rows in _chunks(cutouts):
            some = cutouts[rows]
            segments[rows] = self._prepare(some.filled(), some.variance, half_light[rows])[2]
        return segments

    @property
    def _sets_frame(self):
        return self.recentre is not None or self.rotate or self.scale is not None

    def _clean_flux(self, images, variance, radii, widths, half_light):
        """Return clean images in flux, their flags, and their new frames."""
        images, noise, segments, flags = self._prepare(images, variance, half_light)
        if self.neighbours:
            is_neighbour = grow(segments > 1, GROWTH) & (segments != 1)
            flags |= _flag('neighbour_removed', is_neighbour)
            images = self._remove(images, is_neighbour, noise, segments)
        if self.psf_fwhm is not None:
            # Not before, so that the noise in place of neighbours is correlated like the sky's.
            images = _match_psf(images, widths)
            noise = measure_sky(images).noise
        if self._sets_frame:
            return self._reframe(images, noise, segments, flags, radii)
        return images, flags, _SAME_FRAME

    def _prepare(self, images, variance, half_light):
        """Fill defects, subtract the sky, and return images, noise, segments and flags."""
        is_missing = find_missing(images)
        images = fill_small_holes(images, is_missing)
        sky = measure_sky(images, half_light=half_light, variance=variance)
        light = _limit(images - sky.level, sky.noise)
        is_bright = light > BRIGHT * sky.noise[..., np.newaxis, np.newaxis]
        is_saturated = find_saturated(
            images, is_bright, is_missing=is_missing, level=self.saturation
        )
        is_ray = find_cosmic_rays(light, sky.noise)
        images = fill_small_holes(light, is_ray | np.isnan(light))
        saddle = SADDLES.get(self.neighbours, 0)
        segments = segment(images, sky.noise, saddle=saddle)
        flags = (
            _flag_missing(is_missing)
            | _flag('saturated', is_saturated)
            | _flag('cosmic_ray', is_ray)
            | _flag('no_source', ~(segments == 1).any(axis=(1, 2)))
            | _flag('low_signal', _signal_of_galaxy(images, sky.noise, segments) < LEAST_SIGNAL)
            | _flag('uncertain_sky', sky.is_uncertain)
        )
        return images, sky.noise, segments, flags

    def _remove(self, images, is_neighbour, noise, segments):
        """Replace neighbours by noise, or near the galaxy by the light opposite its centre."""
        near = grow(segments == 1, math.ceil(HALO * images.shape[2]))
        overlaps = (is_neighbour & near).any(axis=(1, 2))
        signal = smooth(signal_to_noise(images[overlaps], noise[overlaps]))
        images = images.copy()
        for i in np.flatnonzero(is_neighbour.any(axis=(1, 2))):
            mask = is_neighbour[i]
            random = random_generator(images[i])
            normal = random.standard_normal((len(noise[i]), np.count_nonzero(mask)), np.float32)
            images[i][:, mask] = noise[i][:, np.newaxis] * normal
        centres = _centres(signal, segments[overlaps])
        for i, light, centre in zip(np.flatnonzero(overlaps), signal, centres, strict=True):
            _mirror(images[i], light, is_neighbour[i], near[i], centre)
        return images

    def _reframe(self, images, noise, segments, flags, radii):
        """Recentre, rotate and rescale the galaxies."""
        side = images.shape[3]
        middle = np.full(2, (side - 1) / 2)
        images, frames = images.copy(), np.tile(_SAME_FRAME, (len(images), 1))
        signal = smooth(signal_to_noise(images, noise))
        centres = _centres(signal, segments)
        distance = np.hypot(*(centres - middle).T)
        is_moved = (distance > OFF_CENTRE) & (distance <= (self.recentre or 0))
        for i in np.flatnonzero((segments == 1).any(axis=(1, 2))):
            angle, radius = self._measure_frame(signal[i], segments[i], centres[i], radii[i])
            ratio = radius / (RADIUS_AT * side)
            zoom = np.clip(ratio, 1 / LARGEST_ZOOM, LARGEST_ZOOM) if ratio > 0 else 1
            if is_moved[i] or angle or zoom != 1:
                centre = centres[i] if is_moved[i] else middle
                images[i] = _resample(images[i], noise[i], centre, angle, zoom)
                frames[i] = *(centre - middle), angle, zoom
        return images, flags | _flag('recentred', is_moved), frames

    def _measure_frame(self, signal, segments, centre, radius):
        """Return the position angle of a galaxy in radians, and the radius to be scaled."""
        from photutils.segmentation import SegmentationImage, SourceCatalog

        is_others = segments > 1
        source = SourceCatalog(
            signal, SegmentationImage((segments == 1).astype(int)), mask=is_others
        )[0]
        angle = source.orientation.to_value(u.rad) if self.rotate else 0.0
        if self.scale == 'kron':
            radius = KRON * (source.kron_radius * source.semimajor_axis).value
        elif self.scale == 'petrosian':
            radius = petrosian_radius(np.where(is_others, np.nan, signal), centre)
        return angle, radius

    def _radii(self, cutouts):
        """Return the radii in the table column ``scale``, in pixels; NaN if there are none."""
        if self.scale in (None, 'kron', 'petrosian'):
            return np.full(len(cutouts), np.nan)
        return _sizes_in_pixels(
            cutouts, 'scale', self.scale, "set scale='kron' or scale='petrosian'"
        )

    def _half_light(self, cutouts):
        """Return the radii in the table column ``half_light``, in pixels; NaN if there are none."""
        if self.half_light is None:
            return np.full(len(cutouts), np.nan)
        return _sizes_in_pixels(cutouts, 'half_light', self.half_light, 'leave it out')

    def _psf_widths(self, cutouts):
        """Return the FWHM of the point-spread function of each row and band, in pixels."""
        if self.psf_fwhm is None:
            return np.zeros(len(cutouts))
        fwhm = u.Quantity(self.psf_fwhm, u.arcsec)
        if fwhm.shape != (len(cutouts.bands),) or cutouts.pixel_scale is None:
            msg = (
                f'psf_fwhm is {self.psf_fwhm} for the bands {cutouts.bands} with pixel scale '
                f'{cutouts.pixel_scale}, expected one width per band and a known pixel scale'
            )
            raise ValueError(msg)
        scale = np.broadcast_to(cutouts.pixel_scale, len(cutouts), subok=True)
        return (fwhm / scale[:, np.newaxis]).to_value(u.one)


def preprocess(cutouts, settings):
    """
    Clean cutouts with the settings of a model.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts.
    settings : dict or None
        As returned by `~astro_morph.photometry.Preprocessor.settings`; None for no cleaning:
        missing pixels are only flagged.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        The clean cutouts.
    """
    return _only_flag(cutouts) if settings is None else Cleaner(**settings).clean(cutouts)


def _only_flag(cutouts):
    """Return the cutouts as they are, with NaN in masked pixels and the flags of missing ones."""
    if cutouts.mask is not None:
        cutouts = cutouts.replace(images=cutouts.filled(), mask=None)
    find = find_missing if cutouts.kind == 'flux' else find_missing_in_pictures
    flags, status = cutouts.flags.copy(), cutouts.status.copy()
    for rows in _chunks(cutouts):
        is_missing = find(cutouts.images[rows])
        flags[rows] = _add_flags(flags[rows], _flag_missing(is_missing))
        status[rows[is_missing.all(axis=(1, 2, 3))]] = 'all_nan'
    return cutouts.replace(flags=flags, status=status)


def _sizes_in_pixels(cutouts, argument, column, remedy):
    """Return the sizes in a column of the table in pixels."""
    if cutouts.table is None or cutouts.pixel_scale is None:
        msg = (
            f'{argument} is {column!r}, a column of the table, but the cutouts have no table or '
            f'no pixel scale; {remedy}'
        )
        raise ValueError(msg)
    return (read_sizes(cutouts.table, column) / cutouts.pixel_scale).to_value(u.one)


def _chunks(cutouts):
    """Split the rows with an image into chunks."""
    rows = np.flatnonzero(cutouts.is_ok)
    return np.split(rows, range(CHUNK, len(rows), CHUNK)) if len(rows) else []


def _place(cutouts, frames, is_scaled):
    """Return cutouts whose rotation, centres and, if it changed, pixel scale follow new frames."""
    x, y, angle, zoom = frames.T
    middle = (np.array(cutouts.shape[:1:-1]) - 1) / 2
    along_x, along_y = (cutouts.centers - middle).T - [x, y]
    sine, cosine = np.sin(angle), np.cos(angle)
    turned = cosine * along_x + sine * along_y, cosine * along_y - sine * along_x
    scale = cutouts.pixel_scale
    return cutouts.replace(
        pixel_scale=scale * zoom if is_scaled and scale is not None else scale,
        rotation=cutouts.rotation + cutouts.parity * angle * u.rad,
        centers=middle + (turned / zoom).T,
    )


def _limit(light, noise):
    """Cut light of shape (n, band, y, x) at ``LARGEST`` times the noise, if there is noise."""
    largest = LARGEST * np.where(noise > 0, noise, np.inf).astype(float)
    largest = largest.clip(max=np.finfo(np.float32).max).astype(np.float32)
    return light.clip(-largest[..., np.newaxis, np.newaxis], largest[..., np.newaxis, np.newaxis])


def _flag(name, is_set):
    """Return the bit of a flag in each row in which anything is set, else 0."""
    return BITS[name] * is_set.reshape(len(is_set), -1).any(axis=1)


def _add_flags(flags, found):
    """Add the flags that were found in images to those of their source."""
    # The source knows where the survey images end.
    is_partial = flags & BITS['partial_coverage'] > 0
    return flags | np.where(is_partial, found & ~BITS['missing_pixels'], found)


def _flag_missing(is_missing):
    """Return the flags of missing pixels of shape (n, band, y, x)."""
    is_band_missing = is_missing.all(axis=(2, 3), keepdims=True)
    is_in_band = is_missing & ~is_band_missing
    return _flag('missing_pixels', is_in_band) | _flag('missing_band', is_band_missing)


def _clean_pictures(images, *_):
    is_missing = find_missing_in_pictures(images)
    return fill_small_holes(images, is_missing), _flag_missing(is_missing), _SAME_FRAME


def _signal_of_galaxy(images, noise, segments):
    """Return the signal-to-noise ratio of the light in the segment of each galaxy."""
    is_galaxy = segments == 1
    signal = np.sum(signal_to_noise(images, noise) * is_galaxy, axis=(1, 2))
    return signal / np.sqrt(is_galaxy.sum(axis=(1, 2)).clip(1))


def _centres(signal, segments):
    """
    Measure the centres (x, y) of the galaxies; the middle of the cutout if there is none.

    The centroid of the segment is refined in a Gaussian window, iteratively, as SExtractor's
    windowed positions are.
    """
    light = np.where(segments == 1, signal, 0).clip(0)
    y, x = (np.arange(n, dtype=np.float32) for n in light.shape[1:])
    centres = np.tile((np.array(light.shape[:0:-1]) - 1) / 2, (len(light), 1))
    for width in (math.inf, *[WINDOW] * CENTROID_STEPS):
        along_x, along_y = (
            np.exp(-(((steps - centre[:, np.newaxis]) / width) ** 2) / 2)
            for steps, centre in zip((x, y), centres.T, strict=True)
        )
        rows = np.einsum('nyx,nx->ny', light, along_x) * along_y
        columns = np.einsum('nyx,ny->nx', light, along_y) * along_x
        total = rows.sum(axis=1)
        moments = np.stack([columns @ x, rows @ y], axis=1)
        centroid = moments / np.where(total > 0, total, 1)[:, None]
        # Twice the step: the window pulls the centroid half-way back to its own centre.
        factor = 1 if math.isinf(width) else 2
        centres = np.where(total[:, None] > 0, centres + factor * (centroid - centres), centres)
    return centres


def _mirror(image, signal, mask, is_near, centre):
    """Replace, in place, masked light of the galaxy by the light opposite its centre (x, y)."""
    here = np.stack(np.nonzero(mask & is_near))
    there = np.rint(2 * centre[::-1, np.newaxis] - here).astype(int)
    is_inside = ((there >= 0) & (there < np.reshape(mask.shape, (2, 1)))).all(axis=0)
    here, there = here[:, is_inside], there[:, is_inside]
    # The galaxy is not brighter than galaxy and neighbour together.
    is_likely = signal[*there] < BRIGHTER * signal[*here].clip(THRESHOLD)
    is_seen = is_near[*there] & ~mask[*there] & is_likely
    image[:, *here[:, is_seen]] = image[:, *there[:, is_seen]]


def _resample(image, noise, centre, angle, zoom):
    """Resample a square image about a centre (x, y), rotated and scaled, with noise outside it."""
    n_bands, side, _ = image.shape
    middle = (side - 1) / 2
    jacobian = _jacobian(angle, zoom)
    resampled = resample_stamps(
        image, np.array([jacobian] * n_bands), np.array([centre] * n_bands), side
    )
    offsets = np.indices((side, side))[::-1] - middle
    old = np.tensordot(jacobian, offsets, axes=1) + np.reshape(centre, (2, 1, 1))
    is_outside = (np.abs(old - middle) > side / 2).any(axis=0)
    random = random_generator(image)
    normal = random.standard_normal((n_bands, np.count_nonzero(is_outside)))
    resampled[:, is_outside] = zoom * noise[:, np.newaxis] * normal
    return resampled


def _resample_variance(variance, frames):
    """Return the variance of cutouts on new frames, None if there is none."""
    if variance is None:
        return None
    variance, middle = variance.copy(), (np.array(variance.shape[:1:-1]) - 1) / 2
    for i in np.flatnonzero((frames != _SAME_FRAME).any(axis=1)):
        angle, zoom = frames[i, 2:]
        jacobian = _jacobian(angle, zoom)[np.newaxis].repeat(len(variance[i]), axis=0)
        centre = np.tile(middle + frames[i, :2], (len(variance[i]), 1))
        # The linear spline keeps it positive.
        variance[i] = resample_stamps(variance[i], jacobian, centre, variance.shape[3], order=1)
    return variance


def _jacobian(angle, zoom):
    sine, cosine = np.sin(angle), np.cos(angle)
    return zoom * np.array([[cosine, -sine], [sine, cosine]])


def random_generator(image):
    """Return the generator of random numbers of an image: the same one in any unit of flux."""
    brightest = np.nan_to_num(image, nan=-np.inf).argmax(axis=-1)
    return np.random.default_rng(zlib.crc32(brightest.tobytes()))


def _match_psf(images, widths):
    """Convolve all bands of each row to its widest point-spread function."""
    from photutils.psf_matching import make_kernel

    matched = np.nan_to_num(images)
    for width in np.unique(widths, axis=0):
        rows = np.flatnonzero((widths == width).all(axis=1))
        target = _psf(width.max(), width.max())
        for band in np.flatnonzero(width < width.max()):
            kernel = make_kernel(_psf(width[band], width.max()), target)
            matched[rows, band] = oaconvolve(
                matched[rows, band], kernel[np.newaxis], mode='same', axes=(1, 2)
            )
    return np.where(np.isnan(images), np.nan, matched)


def _psf(fwhm, widest):
    """Compute a point-spread function on a grid large enough for the widest one."""
    half = int(np.ceil(PSF_EXTENT * widest))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    core = fwhm / 2 / np.sqrt(2 ** (1 / MOFFAT_EXPONENT) - 1)
    psf = Moffat2D.evaluate(x, y, 1, 0, 0, core, MOFFAT_EXPONENT)
    return psf / psf.sum()
