# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Measure the radius of 90 % of the Petrosian flux, which sets the field of view of a cutout."""

import numpy as np

from astro_morph.cutouts.sdss_pictures import light_of_pictures
from astro_morph.photometry.measures import (
    centroid_of,
    default_band,
    segment_sources,
    subtract_sky,
)
from astro_morph.photometry.sky import measure_sky
from astro_morph.photometry.structure import light_inside, petrosian_radius

__all__ = ['measure_r90']

# Aperture of the Petrosian flux, in Petrosian radii, as in SDSS.
APERTURE = 2

# Radii at which the curve of growth is known.
N_RADII = 40

# A companion whose saddle is darker than this fraction of its peak is no part of the galaxy.
SADDLE = 0.4


def measure_r90(cutouts):
    """
    Measure the radius of 90 % of the Petrosian flux of the galaxies at the centres of cutouts.

    As in SDSS, the Petrosian flux is that inside two Petrosian radii (Blanton et al. 2001, AJ 121,
    2358; Yasuda et al. 2001, AJ 122, 1104). The sky is subtracted, and neighbours are masked. Flux
    is measured in r or the middle band; of pictures the mean of the bands, without the stretch of
    the pictures of SDSS.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Cutouts with a pixel scale, n of them.

    Returns
    -------
    radii : `~astropy.units.Quantity`, shape (n,)
        In arcsec; NaN where there is no image or no galaxy, or where two Petrosian radii reach
        beyond the cutout.

    Examples
    --------
    >>> from astro_morph.photometry.radii import measure_r90
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=2, kinds=['spiral'], crowding=0)
    >>> radii = measure_r90(survey.fetch(survey.catalogue, size=128))
    >>> bool((abs(radii / survey.catalogue['petroR90_r'] - 1) < 0.1).all())
    True
    """
    radii = np.full(len(cutouts), np.nan)
    rows = np.flatnonzero(cutouts.is_ok)
    if rows.size:
        radii[rows] = _measure_images(_light_of(cutouts[rows]))
    return radii * cutouts.pixel_scale


def _light_of(cutouts):
    """Return linear light in one band, of shape (n, 1, y, x)."""
    if cutouts.kind == 'picture':
        return light_of_pictures(cutouts.filled())
    return cutouts.select_bands([default_band(cutouts.bands)]).filled()


def _measure_images(images):
    """Return the radius of the galaxy in each image in pixels, NaN if it has none."""
    sky = measure_sky(images)
    light = subtract_sky(images, sky)
    segments, is_core, _ = segment_sources(light, sky.noise, SADDLE)
    light = light[:, 0].astype(float)
    return [_measure(*row) for row in zip(light, segments, is_core, strict=True)]


def _measure(image, segments, is_core):
    """Return the radius of one galaxy in pixels; NaN if it has none."""
    galaxy = np.where(segments > 1, np.nan, image)
    core = is_core & np.isfinite(galaxy)
    if not core.any() or galaxy[core].sum() <= 0:
        return np.nan
    centre = centroid_of(galaxy, core)
    largest = APERTURE * petrosian_radius(galaxy, centre)
    if not largest <= min(image.shape) / 2:
        return np.nan
    radii = np.linspace(0, largest, N_RADII + 1)
    light = np.array([0, *(light_inside(galaxy, centre, radius)[0] for radius in radii[1:])])
    # Noise makes the curve of growth fall in places.
    return np.interp(0.9 * light[-1], np.maximum.accumulate(light), radii)
