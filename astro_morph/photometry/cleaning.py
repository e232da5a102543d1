# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The clean image of a galaxy: defects filled, sky subtracted, neighbours removed, frame set."""

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
    find_saturated,
)
from astro_morph.photometry.segmentation import THRESHOLD, grow, segment, signal_to_noise, smooth
from astro_morph.photometry.sky import GROWTH, measure_sky
from astro_morph.photometry.structure import petrosian_radius
from astro_morph.utils.cores import n_cores

__all__ = ['Cleaner', 'preprocess']

# Cutouts at once: their arrays fit into the cache of a core, and threads have enough to share.
CHUNK = 32

# What is a neighbour: to which share of its peak the light must fall between it and the galaxy.
SADDLES = {'detached': 0.4, 'all': 0.8}

# Below this signal-to-noise ratio the centre and the shape of a galaxy are uncertain.
LEAST_SIGNAL = 20

# In units of the noise: the core of a source that may be saturated.
BRIGHT = 100

# With less of the cutout left as sky, its level is off by a fifth of its noise in every second
# simulated galaxy.
LEAST_SKY = 0.3

# Part of the side by which a galaxy is larger than its segment: there is light below the noise.
HALO = 1 / 8

# One side of a galaxy is so many times brighter than the other, at most.
BRIGHTER = 2

# Standard deviation in pixels of the window in which the centre is measured, about that of the
# seeing, and the turns after which it stands still.
WINDOW = 3.0
TURNS = 5

# A galaxy no further from the centre stays where it is: moving it correlates its noise.
OFF_CENTRE = 0.5

# Part of the side at which a common radius is put: twice the radius is inside the frame, nearly.
# Images are enlarged or reduced no more than this for it.
RADIUS_AT = 0.3
LARGEST_ZOOM = 4.0

# The Kron radius is so many times the first moment: there 90 % of the light is inside it.
KRON = 2.5

# Profile of the seeing, as measured on stars of SDSS frames, out to so many half-widths.
MOFFAT_EXPONENT = 2.8
PSF_EXTENT = 6


@dataclasses.dataclass(frozen=True)
class Cleaner:
    """
    What `~astro_morph.photometry.Preprocessor` does, where there is no scikit-learn.

    Parameters
    ----------
    neighbours, recentre, rotate, scale, psf_fwhm, saturation
        As for `~astro_morph.photometry.Preprocessor`, which looks at them.
    """

    neighbours: str | None = 'detached'
    recentre: float | None = None
    rotate: bool = False
    scale: str | None = None
    psf_fwhm: tuple | None = None
    saturation: float | None = None

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
            The same rows in the same order, with flags added.

        Raises
        ------
        ValueError
            If a setting does not fit the cutouts.
        """
        images, flags = cutouts.images.astype(np.float32), cutouts.flags.copy()
        zoom = np.ones(len(cutouts))
        if self._sets_frame and cutouts.shape[2] != cutouts.shape[3]:
            msg = (
                f'only square cutouts can be moved, turned and scaled, got {cutouts.shape[2:]}; '
                'cut them, or leave recentre, rotate and scale out'
            )
            raise ValueError(msg)
        clean = self._clean_flux if cutouts.kind == 'flux' else _clean_pictures
        radii, widths = self._radii(cutouts), self._psf_widths(cutouts)

        def work(rows):
            images[rows], found, zoom[rows] = clean(images[rows], radii[rows], widths[rows])
            # The source knows best where the images end.
            is_partial = flags[rows] & BITS['partial_coverage'] > 0
            flags[rows] |= np.where(is_partial, found & ~BITS['missing_pixels'], found)

        # numpy and scipy let other threads run where the time goes.
        with ThreadPoolExecutor(n_cores()) as pool:
            list(pool.map(work, _chunks(cutouts)))
        is_empty = np.isnan(images).all(axis=(1, 2, 3))
        scale = cutouts.pixel_scale
        if self.scale is not None and scale is not None:
            scale = scale * zoom
        return cutouts.replace(
            images=images,
            flags=flags,
            status=np.where(cutouts.is_ok & is_empty, 'all_nan', cutouts.status),
            pixel_scale=scale,
        )

    def segment(self, cutouts):
        """
        Tell galaxy, neighbours and sky apart.

        Parameters
        ----------
        cutouts : `~astro_morph.CutoutSet`
            Cutouts in flux.

        Returns
        -------
        segments : ndarray of int, shape (n, y, x)
            0 for sky, 1 for the galaxy, 2 and more for the others.
        """
        segments = np.zeros((len(cutouts), *cutouts.shape[2:]), int)
        for rows in _chunks(cutouts):
            segments[rows] = self._look(cutouts.images[rows])[2]
        return segments

    @property
    def _sets_frame(self):
        return self.recentre is not None or self.rotate or self.scale is not None

    def _clean_flux(self, images, radii, widths):
        """Clean images in flux; give them, their flags, and how much larger their pixels are."""
        images, noise, segments, flags = self._look(images)
        if self.neighbours:
            is_neighbour = grow(segments > 1, GROWTH) & (segments != 1)
            flags |= _flag('neighbour_removed', is_neighbour)
            images = self._remove(images, is_neighbour, noise, segments)
        if self.psf_fwhm is not None:
            # Not before, so that the noise in place of neighbours is like that of the sky.
            images = _match_psf(images, widths)
            noise = measure_sky(images).noise
        if self._sets_frame:
            return self._reframe(images, noise, segments, flags, radii)
        return images, flags, 1

    def _look(self, images):
        """Mend images and subtract their sky; give them, their noise, segments and flags."""
        is_missing = find_missing(images)
        images = fill_small_holes(images, is_missing)
        sky = measure_sky(images)
        light = images - sky.level
        is_bright = light > BRIGHT * sky.noise[..., np.newaxis, np.newaxis]
        is_full = find_saturated(images, is_bright, is_missing=is_missing, level=self.saturation)
        is_ray = find_cosmic_rays(light, sky.noise)
        images = fill_small_holes(light, is_ray | np.isnan(light))
        saddle = SADDLES.get(self.neighbours, 0)
        segments = segment(images, sky.noise, saddle=saddle)
        is_band_missing = is_missing.all(axis=(2, 3))
        flags = (
            _flag('missing_pixels', is_missing & ~is_band_missing[..., np.newaxis, np.newaxis])
            | _flag('missing_band', is_band_missing)
            | _flag('saturated', is_full)
            | _flag('cosmic_ray', is_ray)
            | _flag('no_source', ~(segments == 1).any(axis=(1, 2)))
            | _flag('low_signal', _signal_of_galaxy(images, sky.noise, segments) < LEAST_SIGNAL)
            | _flag('uncertain_sky', sky.share < LEAST_SKY)
        )
        return images, sky.noise, segments, flags

    def _remove(self, images, is_neighbour, noise, segments):
        """Replace the neighbours by noise, or near the galaxy by its other side."""
        near = grow(segments == 1, math.ceil(HALO * images.shape[2]))
        overlaps = (is_neighbour & near).any(axis=(1, 2))
        signal = smooth(signal_to_noise(images[overlaps], noise[overlaps]))
        images = images.copy()
        for i in np.flatnonzero(is_neighbour.any(axis=(1, 2))):
            mask = is_neighbour[i]
            random = np.random.default_rng(zlib.crc32(images[i].tobytes()))
            normal = random.standard_normal((len(noise[i]), np.count_nonzero(mask)), np.float32)
            images[i][:, mask] = noise[i][:, np.newaxis] * normal
        centres = _centres(signal, segments[overlaps])
        for i, light, centre in zip(np.flatnonzero(overlaps), signal, centres, strict=True):
            _mirror(images[i], light, is_neighbour[i], near[i], centre)
        return images

    def _reframe(self, images, noise, segments, flags, radii):
        """Move, turn and scale the galaxies to the common frame."""
        side = np.array(images.shape[2:])
        middle = (side - 1) / 2
        images, zoom = images.copy(), np.ones(len(images))
        signal = smooth(signal_to_noise(images, noise))
        centres = _centres(signal, segments)
        distance = np.hypot(*(centres - middle).T)
        is_moved = (distance > OFF_CENTRE) & (distance <= (self.recentre or 0))
        for i in np.flatnonzero((segments == 1).any(axis=(1, 2))):
            angle, radius = self._measure_frame(signal[i], segments[i], centres[i], radii[i])
            ratio = radius / (RADIUS_AT * min(side))
            zoom[i] = np.clip(ratio, 1 / LARGEST_ZOOM, LARGEST_ZOOM) if ratio > 0 else 1
            if is_moved[i] or angle or zoom[i] != 1:
                centre = centres[i] if is_moved[i] else middle
                images[i] = _resample(images[i], noise[i], centre, angle, zoom[i])
        return images, flags | _flag('recentred', is_moved), zoom

    def _measure_frame(self, signal, segments, centre, radius):
        """Give the angle by which to turn a galaxy, and the radius to scale, NaN for none."""
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
        """Give the radii that the table holds, in pixels; NaN where there are none."""
        radii = np.full(len(cutouts), np.nan)
        if self.scale in (None, 'kron', 'petrosian'):
            return radii
        if cutouts.table is None or cutouts.pixel_scale is None:
            msg = (
                f"scale must be 'kron' or 'petrosian' for cutouts without a table and a pixel "
                f'scale, got {self.scale!r}'
            )
            raise ValueError(msg)
        return (read_sizes(cutouts.table, self.scale) / cutouts.pixel_scale).to_value(u.one)

    def _psf_widths(self, cutouts):
        """Give the width of the point-spread function of each row and band, in pixels."""
        if self.psf_fwhm is None:
            return np.zeros(len(cutouts))
        fwhm = u.Quantity(self.psf_fwhm, u.arcsec)
        if fwhm.shape != (len(cutouts.bands),) or cutouts.pixel_scale is None:
            msg = (
                f'psf_fwhm must have one width a band, for cutouts with a pixel scale, got '
                f'{self.psf_fwhm} for the bands {cutouts.bands} of {cutouts.pixel_scale}'
            )
            raise ValueError(msg)
        scale = np.broadcast_to(cutouts.pixel_scale, len(cutouts), subok=True)
        return (fwhm / scale[:, np.newaxis]).to_value(u.one)


def preprocess(cutouts, settings):
    """
    Clean cutouts as a model wants them.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts.
    settings : dict or None
        What `~astro_morph.photometry.Preprocessor.settings` gives; None leaves them as they are.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        The clean cutouts.
    """
    return cutouts if settings is None else Cleaner(**settings).clean(cutouts)


def _chunks(cutouts):
    """Split the rows that have an image."""
    rows = np.flatnonzero(cutouts.is_ok)
    return np.split(rows, range(CHUNK, len(rows), CHUNK)) if len(rows) else []


def _flag(name, is_set):
    """Give the bit of a flag in the rows where anything is set."""
    return BITS[name] * is_set.reshape(len(is_set), -1).any(axis=1)


def _clean_pictures(images, *_):
    is_missing = ~np.isfinite(images)
    return fill_small_holes(images, is_missing), _flag('missing_pixels', is_missing), 1


def _signal_of_galaxy(images, noise, segments):
    """Give the signal-to-noise ratio of the light in the segment of each galaxy."""
    is_galaxy = segments == 1
    signal = np.sum(signal_to_noise(images, noise) * is_galaxy, axis=(1, 2))
    return signal / np.sqrt(is_galaxy.sum(axis=(1, 2)).clip(1))


def _centres(signal, segments):
    """
    Find the centres (y, x) of the galaxies, the middle where there is none.

    The centroid of the segment is moved to that of the light in a Gaussian window about it, again
    and again, as SExtractor's windowed positions are.
    """
    light = np.where(segments == 1, signal, 0).clip(0)
    y, x = (np.arange(n, dtype=np.float32) for n in light.shape[1:])
    centres = np.tile((np.array(light.shape[1:]) - 1) / 2, (len(light), 1))
    for width in (math.inf, *[WINDOW] * TURNS):
        along_y, along_x = (
            np.exp(-(((steps - centre[:, np.newaxis]) / width) ** 2) / 2)
            for steps, centre in zip((y, x), centres.T, strict=True)
        )
        rows = np.einsum('nyx,nx->ny', light, along_x) * along_y
        columns = np.einsum('nyx,ny->nx', light, along_y) * along_x
        total = rows.sum(axis=1)
        step = np.stack([rows @ y, columns @ x], axis=1) / np.where(total > 0, total, 1)[:, None]
        # Twice the step: the window pulls the centroid half-way back to its own centre.
        factor = 1 if math.isinf(width) else 2
        centres = np.where(total[:, None] > 0, centres + factor * (step - centres), centres)
    return centres


def _mirror(image, signal, mask, is_near, centre):
    """Put, in place, the galaxy's light from opposite its centre where it is masked."""
    here = np.stack(np.nonzero(mask & is_near))
    there = np.rint(2 * centre[:, np.newaxis] - here).astype(int)
    is_inside = ((there >= 0) & (there < np.reshape(mask.shape, (2, 1)))).all(axis=0)
    here, there = here[:, is_inside], there[:, is_inside]
    # A galaxy is not brighter than the galaxy and the neighbour together.
    is_likely = signal[*there] < BRIGHTER * signal[*here].clip(THRESHOLD)
    is_seen = is_near[*there] & ~mask[*there] & is_likely
    image[:, *here[:, is_seen]] = image[:, *there[:, is_seen]]


def _resample(image, noise, centre, angle, zoom):
    """Draw an image about another centre, at another angle and scale, with noise outside it."""
    n_bands, *shape = image.shape
    sine, cosine = np.sin(angle), np.cos(angle)
    jacobian = zoom * np.array([[cosine, -sine], [sine, cosine]])
    bands = [jacobian] * n_bands, [centre[::-1]] * n_bands
    resampled = resample_stamps(image, *map(np.array, bands), shape[0])
    y, x = np.indices(shape) - (np.reshape(shape, (2, 1, 1)) - 1) / 2
    old_x, old_y = np.tensordot(jacobian, [x, y], axes=1) + np.reshape(centre[::-1], (2, 1, 1))
    is_outside = (np.abs(old_x - (shape[1] - 1) / 2) > shape[1] / 2) | (
        np.abs(old_y - (shape[0] - 1) / 2) > shape[0] / 2
    )
    random = np.random.default_rng(zlib.crc32(image.tobytes()))
    normal = random.standard_normal((n_bands, np.count_nonzero(is_outside)))
    resampled[:, is_outside] = zoom * noise[:, np.newaxis] * normal
    return resampled


def _match_psf(images, widths):
    """Blur all bands to the widest point-spread function of each row."""
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
    """Draw a point-spread function on a grid that holds the widest one."""
    half = int(np.ceil(PSF_EXTENT * widest))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    core = fwhm / 2 / np.sqrt(2 ** (1 / MOFFAT_EXPONENT) - 1)
    psf = Moffat2D.evaluate(x, y, 1, 0, 0, core, MOFFAT_EXPONENT)
    return psf / psf.sum()
