# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compute the table of classical measures: Gini, M20, concentration, asymmetry, shapes, radii."""

from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.table import Column, MaskedColumn, QTable, vstack

from astro_morph.catalog.flags import BITS
from astro_morph.images.orientation import position_angle
from astro_morph.photometry.cleaning import KRON, random_generator
from astro_morph.photometry.defects import find_cosmic_rays, find_missing
from astro_morph.photometry.segmentation import segment, signal_to_noise, smooth
from astro_morph.photometry.sky import measure_sky
from astro_morph.photometry.structure import (
    EXTENT,
    asymmetry,
    concentration,
    galaxy_region,
    light_inside,
    m20,
    petrosian_radius,
    smoothness,
)

__all__ = ['measure']

# Below this mean signal-to-noise ratio per pixel, the measures depend on the noise (Lotz et al.
# 2006, ApJ 636, 592).
LEAST_SNR = 2.5

# Fraction of the aperture that may be outside the cutout or covered by a neighbour.
MOST_HIDDEN = 0.1

# Below this Petrosian radius in pixels, smoothness is undefined, and the seeing dominates the rest.
SMALLEST_RADIUS = 8

# Sources are connected inside this isophote of the mean band, in units of the noise of the smoothed
# image: 1.5 times the noise of a pixel, as in the tutorial of statmorph. Fainter isophotes, at 3
# times the noise of the smoothed image, connect a quarter of all galaxies with another source. The
# centroid and the ellipse for Gini and M20, which depend on the isophote, are those inside it.
ISOPHOTE = 6.8

# Cutouts that photutils gets as one image: a catalogue of one source takes as long as one of many.
TILES = 64

# Units of columns that are not converted, because the pixel scale or the zero point is not known.
IMAGE_UNITS = (u.pix, None)


class _Measure(NamedTuple):
    """One column of the table of measures."""

    name: str
    unit: str
    ucd: str
    description: str


_MEASURES = (
    _Measure('gini', None, 'src.morph.param', 'Gini coefficient of the pixel values'),
    _Measure('m20', None, 'src.morph.param', 'M20, log second moment of brightest 20 %'),
    _Measure('concentration', None, 'src.morph.param', 'Concentration C, 5 log10(r80 / r20)'),
    _Measure('asymmetry', None, 'src.morph.param', 'Asymmetry A under rotation by 180 deg'),
    _Measure('smoothness', None, 'src.morph.param', 'Smoothness S, fraction of light in clumps'),
    _Measure('ellipticity', None, 'src.ellipticity', 'Ellipticity 1 - b / a, from second moments'),
    _Measure('elongation', None, 'src.morph.param', 'Elongation a / b, from second moments'),
    _Measure('orientation', 'deg', 'pos.posAng', 'Position angle of major axis, N through E'),
    _Measure('orientation_image', 'deg', 'src.morph.param', 'Angle of major axis, from x to y'),
    _Measure('petrosian_radius', 'pix', 'phys.angSize;src', 'Circular Petrosian radius'),
    _Measure('kron_radius', 'pix', 'phys.angSize.smajAxis;src', 'Semi-major axis of Kron aperture'),
    _Measure('half_light_radius', 'pix', 'phys.angSize;src', 'Radius with half of the Kron flux'),
    _Measure('segment_flux', None, 'phot.flux;src', 'Flux in the segment, in image units'),
    _Measure('segment_mag', 'mag', 'phot.mag;src', 'AB magnitude of segment_flux'),
    _Measure('segment_snr', None, 'stat.snr;phot.flux', 'Signal-to-noise ratio of segment_flux'),
)

# Their errors are known from the variance of the pixels alone; that of the ratio has no use.
_FLUXES = ('segment_flux', 'segment_mag')
_WITHOUT_ERROR = ('segment_snr',)


def measure(cutouts, *, band=None, saddle=0, n_draws=0):
    """
    Measure the morphology of the galaxies at the centres of cutouts.

    The sky is subtracted; neighbours and defects are masked. Sources that are connected with the
    galaxy inside the isophote of 1.5 times the noise are part of it, such as the other galaxy of a
    merging pair, see ``saddle``. Ellipticity, elongation, orientation, Kron and half-light radii
    and the segment flux are those of `photutils.segmentation.SourceCatalog`. The Gini coefficient
    is `photutils.morphology.gini` in the region of
    `~astro_morph.photometry.structure.galaxy_region`; the other measures are the functions of the
    same names in `astro_morph.photometry.structure`. Details that the papers leave open follow
    statmorph (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140), so that the values can be compared.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Cutouts in flux, n of them.
    band : str, default=None
        The band to measure in: by default r, the band of most published measures, or the middle
        band if there is no r. All bands together are used to detect the galaxy.
    saddle : float, default=0
        A companion that is connected with the galaxy is split off, masked and flagged
        (``companion_split``) if the light at the saddle between the two is below this fraction of
        the fainter peak. With 0, no companion is split off, as with
        `photutils.segmentation.detect_sources`, and mergers keep their asymmetry. With 0.4, bright
        stars in the outskirts are split off, and pairs farther apart than about three half-light
        radii; with 0.8, most mergers.
    n_draws : int, default=0
        How often to measure each galaxy again with noise added, for the errors of all measures:
        they are the standard deviations of the results, so that 16 draws give them to 18 %. Each
        draw takes as long as the measures themselves, and needs the variance of the cutouts.

    Returns
    -------
    measures : `~astropy.table.QTable`
        A table of n rows with the columns ``gini``, ``m20``, ``concentration``, ``asymmetry``,
        ``smoothness``, ``ellipticity``, ``elongation``, ``orientation``, ``orientation_image``,
        ``petrosian_radius``, ``kron_radius``, ``half_light_radius``, ``segment_flux``,
        ``segment_mag`` and ``segment_snr``, masked where they could not be measured. The
        orientation is the position angle of the major axis, north through east; it is masked if
        the rotation or the parity of the cutout is not known. Radii are in arcsec if the pixel
        scale is known, else in pixels. The flux is in microjansky if the zero point of the band is
        known; else it has no unit, and the magnitude is masked. ``measure_flags`` has bits for
        unreliable measures, see `astro_morph.decode_flags`. ``measure_status`` is ``'ok'``, or the
        reason why there is no image; ``'no_source'`` if there is no source at the centre; or
        ``'no_petrosian_radius'`` if the galaxy extends beyond the cutout, so that only the
        measures of photutils are given. If the cutouts have a variance, the columns
        ``segment_flux_err`` and ``segment_mag_err`` follow, and with ``n_draws`` those of all
        measures but ``segment_snr``. Without draws, the error of the flux is that of the pixels of
        the segment, as in photutils; with them, those of the sky level and of the outline of the
        segment are part of it. Pixels are taken as independent.

    Raises
    ------
    ValueError
        If the images are pictures, which are not linear in flux, the band is missing, ``saddle``
        is not between 0 and 1, or ``n_draws`` is 1, negative, or given without a variance.

    Examples
    --------
    >>> from astro_morph.photometry.measures import measure
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=5, kinds=['round'])
    >>> measures = measure(survey.fetch(survey.catalogue))
    >>> measures['petrosian_radius'].unit
    Unit("arcsec")
    >>> bool((measures['asymmetry'] < 0.2).all())
    True
    """
    if cutouts.kind != 'flux':
        msg = (
            f'cutouts are of kind {cutouts.kind!r}, but must be linear in flux to be measured; '
            'fetch bands, not colour pictures'
        )
        raise ValueError(msg)
    if not 0 <= saddle <= 1:
        msg = f'saddle is {saddle}, expected a fraction of the fainter peak, from 0 to 1'
        raise ValueError(msg)
    if n_draws and (n_draws < 2 or cutouts.variance is None):
        msg = (
            f'n_draws is {n_draws} and the variance of the cutouts is '
            f'{"not known" if cutouts.variance is None else "known"}, expected 0, or 2 draws or '
            'more of noise that is known; leave n_draws out, or set the variance, as in '
            'cutouts.replace(variance=)'
        )
        raise ValueError(msg)
    band = default_band(cutouts.bands) if band is None else band
    cutouts.select_bands([band])  # raises an error if there is no such band
    rows = np.flatnonzero(cutouts.is_ok)
    records = [{} for _ in range(len(cutouts))]
    if rows.size:
        some = cutouts[rows]
        measured = _measure_images(
            some.filled(), some.variance, cutouts.bands.index(band), saddle, n_draws=n_draws
        )
        for row, record in zip(rows, measured, strict=True):
            records[row] = record
    status = [_status(*row) for row in zip(records, cutouts.status, strict=True)]
    measures = list(_MEASURES)
    if cutouts.variance is not None:
        measures += [_error_of(measure) for measure in _MEASURES if _has_error(measure, n_draws)]
    return _as_table(records, status, cutouts.select_bands([band]), measures)


def stack(tables):
    """Stack the measures of batches; image units are masked where another batch has known ones."""
    with_source = [table for table in tables if not table['segment_flux'].mask.all()] or tables
    tables = [table.copy() for table in tables]
    names = dict.fromkeys(name for table in tables for name in table.colnames)
    for name in names:
        infos = [table[name].info for table in with_source if name in table.colnames]
        best = next((info for info in infos if info.unit not in IMAGE_UNITS), infos[0])
        for table in tables:
            if name not in table.colnames or table[name].info.unit != best.unit:
                nothing = np.full(len(table), np.nan)
                table[name] = _masked(nothing, best.unit, best.description, best.meta)
    return vstack([table[list(names)] for table in tables])


def default_band(bands):
    """Return the band to measure in: r, or the middle one."""
    return 'r' if 'r' in bands else bands[len(bands) // 2]


def subtract_sky(images, sky):
    """Subtract the sky, and set missing pixels to NaN."""
    images = images - sky.level
    is_defect = find_missing(images) | find_cosmic_rays(images, sky.noise)
    return np.where(is_defect, np.nan, images)


def segment_sources(images, noise, saddle):
    """
    Segment cutouts inside the isophote.

    Returns
    -------
    segments : ndarray of int, shape (n, y, x)
        As from `~astro_morph.photometry.segmentation.segment`.
    is_core : ndarray of bool, shape (n, y, x)
        The pixels of the galaxy inside the isophote; all of a galaxy that is fainter.
    is_split : ndarray of bool, shape (n,)
        Whether a source that is connected with the galaxy was split off.
    """
    isophote = ISOPHOTE * np.sqrt(images.shape[1])  # that of a mean band, in all bands together
    segments = segment(images, noise, saddle=saddle, isophote=isophote)
    is_galaxy = segments == 1
    is_core = is_galaxy & (smooth(signal_to_noise(images, noise)) > isophote)
    is_faint = ~is_core.any(axis=(1, 2), keepdims=True)
    is_connected = segment(images, noise, saddle=0, isophote=isophote) == 1
    is_split = (is_connected & (segments > 1)).any(axis=(1, 2))
    return segments, np.where(is_faint, is_galaxy, is_core), is_split


def _measure_images(images, variance, index, saddle, *, n_draws=0):
    """Return the measures of images in a band, their flags and errors, by name."""
    sky = measure_sky(images, variance=variance)
    light = subtract_sky(images, sky)
    segments, is_core, is_split = segment_sources(light, sky.noise, saddle)
    error = _errors_of_pixels(variance, sky.noise, images.shape)
    light, noise = light[:, index].astype(float), sky.noise[:, index].astype(float)
    flux = np.sum(light, axis=(1, 2), where=(segments == 1) & np.isfinite(light))
    flags = BITS['uncertain_sky'] * sky.is_uncertain | BITS['companion_split'] * is_split
    records = [{'flags': flag} for flag in flags]
    is_seen = flux > 0
    arrays = (array[is_seen] for array in (light, error[:, index], noise, segments, is_core))
    for i, source in zip(np.flatnonzero(is_seen), _measure_sources(*arrays), strict=True):
        records[i] = source | {'flags': flags[i] | source.get('flags', 0)}
    if n_draws:
        random = [random_generator(image) for image in images]
        draws = []
        for _ in range(n_draws):
            normal = [generator.standard_normal(images.shape[1:]) for generator in random]
            noisy = (images + error * normal).astype(np.float32)
            draws.append(_measure_images(noisy, variance, index, saddle))
        _add_errors(records, draws)
    return records


def _errors_of_pixels(variance, noise, shape):
    """Return the standard deviation of each pixel: that of the sky where it is not known."""
    noise = np.broadcast_to(noise[..., np.newaxis, np.newaxis], shape).astype(float)
    if variance is None:
        return noise
    is_known = np.isfinite(variance) & (variance > 0)
    return np.sqrt(variance, where=is_known, out=noise.copy(), dtype=float)


def _measure_sources(images, error, noise, segments, is_core):
    """Yield the measures of each image and its flags, by name."""
    for start in range(0, len(images), TILES):
        batch = slice(start, start + TILES)
        photometry = _photometry(images[batch], error[batch], segments[batch])
        arrays = images[batch], noise[batch], segments[batch], is_core[batch]
        for of_photutils, *one in zip(photometry, *arrays, strict=True):
            yield of_photutils | _measure_structure(*one)


def _status(record, status):
    """Return the status of the measures of a row with an image of some status."""
    if status != 'ok':
        return status
    if 'segment_flux' not in record:
        return 'no_source'
    return 'ok' if 'gini' in record else 'no_petrosian_radius'


def _has_error(measure, n_draws):
    """Check whether a measure has an error, given the variance."""
    return measure.name in _FLUXES or (n_draws > 0 and measure.name not in _WITHOUT_ERROR)


def _error_of(measure):
    """Return the column of the error of a measure."""
    return measure._replace(
        name=f'{measure.name}_err',
        ucd=f'stat.error;{measure.ucd}',
        description=f'Standard error of {measure.name}',
    )


def _add_errors(records, draws):
    """Add to the measures of each image the scatter of those of images with more noise."""
    for record, *drawn in zip(records, *draws, strict=True):
        for measure in _MEASURES:
            if measure.name in record:
                values = np.array([other.get(measure.name, np.nan) for other in drawn])
                record[f'{measure.name}_err'] = _scatter(values, record[measure.name], measure.unit)


def _scatter(values, value, unit):
    """Return the standard deviation of a measure's values, NaN if less than two are known."""
    values = values[np.isfinite(values)]
    if unit == 'deg':
        # Angles of an axis repeat after half a turn.
        values = (values - value + 90) % 180
    return np.std(values, ddof=1) if len(values) > 1 else np.nan


def _photometry(images, error, segments):
    """Yield the measures that photutils makes of each image."""
    from photutils.segmentation import SegmentationImage, SourceCatalog

    n, ny, nx = images.shape
    # Apertures that extend beyond a tile must not reach the next one.
    margin = max(ny, nx) // 2

    def tile(images, fill):
        frame = (0, 0), (margin, margin), (margin, margin)
        return np.pad(images, frame, constant_values=fill).reshape(-1, nx + 2 * margin)

    labels = np.arange(1, n + 1)[:, np.newaxis, np.newaxis]
    labels = np.where(segments == 1, labels, np.where(segments > 1, n + 1, 0))
    data = tile(images, np.nan)
    catalog = SourceCatalog(
        data,
        SegmentationImage(tile(labels, 0)),
        error=tile(error, 1),
        mask=np.isnan(data),
    )[:n]
    half_light_radius = catalog.flux_radius(0.5).value
    for i in range(n):
        yield {
            'ellipticity': catalog.ellipticity[i].value,
            'elongation': catalog.elongation[i].value,
            'orientation_image': catalog.orientation[i].value % 180,
            'kron_radius': KRON * (catalog.kron_radius[i] * catalog.semimajor_axis[i]).value,
            'half_light_radius': half_light_radius[i],
            'segment_flux': catalog.segment_flux[i],
            'segment_flux_err': catalog.segment_flux_err[i],
            'segment_snr': catalog.segment_flux[i] / catalog.segment_flux_err[i],
        }


def _measure_structure(image, noise, segments, is_core):
    """Compute the measures that depend on the Petrosian radius; none if there is no such radius."""
    from photutils.morphology import gini

    galaxy = np.where(segments > 1, np.nan, image)
    sky = np.where(segments == 0, image, np.nan)
    centroid = centroid_of(image, is_core)
    first_radius = petrosian_radius(galaxy, centroid)
    if np.isnan(first_radius):
        return {}
    asymmetry_, centre = asymmetry(galaxy, centroid, first_radius, sky=sky)
    is_off = bool(np.isnan(centre).any())
    centre = centroid if is_off else centre
    radius = petrosian_radius(galaxy, centre)
    ellipse = _ellipse(image, is_core, centre)
    major = petrosian_radius(galaxy, centre, **ellipse)
    if np.isnan(radius) or np.isnan(major):
        return {}
    region = galaxy_region(galaxy, centroid, major, **ellipse)
    pixels = galaxy[region]
    _, area = light_inside(galaxy, centre, EXTENT * radius)
    flags = {
        'measures_cut': area < (1 - MOST_HIDDEN) * np.pi * (EXTENT * radius) ** 2,
        'measures_noisy': pixels.mean() < LEAST_SNR * noise,
        'measures_small': radius < SMALLEST_RADIUS,
        'measures_off_centre': is_off,
    }
    return {
        'petrosian_radius': radius,
        'concentration': concentration(galaxy, centre, radius),
        'asymmetry': asymmetry_,
        'smoothness': smoothness(galaxy, centre, radius, sky=sky),
        'gini': gini(pixels),
        'm20': m20(galaxy, region),
        'flags': sum(BITS[name] for name, is_set in flags.items() if is_set),
    }


def centroid_of(image, is_galaxy):
    """Return the centroid (x, y) of some pixels."""
    y, x = np.nonzero(is_galaxy & np.isfinite(image))
    flux = image[y, x]
    return np.array([x @ flux, y @ flux]) / flux.sum()


def _ellipse(image, is_galaxy, centre):
    """Return the shape of the second moments about a point; photutils' are about the centroid."""
    y, x = np.nonzero(is_galaxy & np.isfinite(image))
    flux = image[y, x]
    offset = np.array([x, y]) - np.reshape(centre, (2, 1))
    (xx, xy), (_, yy) = moments = (flux * offset) @ offset.T / flux.sum()
    # Moments of faint sources may be negative; that of a single pixel is 1 / 12.
    minor, major = np.sqrt(np.maximum(np.linalg.eigvalsh(moments), 1 / 12))
    return {'elongation': major / minor, 'orientation': np.arctan2(2 * xy, xx - yy) / 2}


def _as_table(records, status, cutouts, measures):
    """Build the table of measures from a record per row of cutouts in one band."""
    values = {
        column.name: np.array([record.get(column.name, np.nan) for record in records], float)
        for column in measures
    }
    zero_point = np.nan if cutouts.zero_point is None else cutouts.zero_point[0]
    values['segment_mag'] = zero_point - 2.5 * np.log10(values['segment_flux'])
    angle = values['orientation_image'] * u.deg
    angle = position_angle(angle, cutouts.rotation, cutouts.parity)
    values['orientation'] = angle.to_value(u.deg) % 180
    if 'segment_mag_err' in values:
        ratio = values['segment_flux_err'] / values['segment_flux']
        values['segment_mag_err'] = 2.5 / np.log(10) * ratio + 0 * values['segment_mag']
    if 'orientation_err' in values:
        values['orientation_err'] = values['orientation_image_err'] + 0 * values['orientation']
    table = QTable()
    for column in measures:
        factor, column = _calibrate(column, cutouts.pixel_scale, zero_point)
        table[column.name] = _masked(
            factor * values[column.name], column.unit, column.description, {'ucd': column.ucd}
        )
    table['measure_flags'] = Column(
        np.array([record.get('flags', 0) for record in records], np.int32),
        description='Bits for unreliable measures, see decode_flags',
        meta={'ucd': 'meta.code.qual'},
    )
    table['measure_status'] = Column(
        np.array(status, cutouts.status.dtype),
        description='ok, or the reason why measures are missing',
        meta={'ucd': 'meta.code.status'},
    )
    return table


def _masked(values, unit, description, meta):
    """Build a column of numbers that is masked where they are NaN or beyond float32."""
    with np.errstate(over='ignore'):
        values = values.astype(np.float32)
    return MaskedColumn(
        values,
        mask=~np.isfinite(values),
        fill_value=np.nan,
        unit=unit,
        description=description,
        meta=meta,
    )


def _calibrate(column, pixel_scale, zero_point):
    """Return a factor that converts from image units where that is possible, and the new column."""
    if column.unit == 'pix' and pixel_scale is not None:
        return pixel_scale.to_value('arcsec'), column._replace(unit='arcsec')
    if column.name.startswith('segment_flux') and np.isfinite(zero_point):
        factor = (zero_point * u.ABmag).to_value(u.uJy)
        description = column.description.removesuffix(', in image units')
        return factor, column._replace(unit='uJy', description=description)
    return 1, column
