# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Draw flux as colour pictures: those of SDSS and Galaxy Zoo, or those of Euclid."""

import io

import astropy.units as u
import numpy as np

from astro_morph import surveys
from astro_morph.catalog.bands import sort_bands
from astro_morph.catalog.flags import BITS
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.images.euclid_pictures import EUCLID_FACTORS, draw_euclid
from astro_morph.images.resampling import find_missing
from astro_morph.utils.messages import as_written, for_caller

__all__ = ['as_pictures', 'light_of_pictures']

# Brightness of a nanomaggy in each band: those of i, r and g give galaxies the colours of the
# pictures of Galaxy Zoo. In z galaxies are about 1.35 times as bright as in i.
SCALES = {'i': 0.86, 'z': 0.64, 'r': 1.0, 'g': 1.45}

# Pixels of SDSS: pictures show surface brightness, in nanomaggies per SDSS pixel.
PIXEL_SCALE = 0.396 * u.arcsec
ZERO_POINT = 22.5

# These match the brightness of galaxies and the level of the sky in the pictures of Galaxy Zoo.
LUPTON = {'stretch': 0.59, 'Q': 6.4, 'minimum': (-0.0105, -0.011, -0.0075)}

# The pictures of SDSS are JPEG, which removes the colour of noise and half of its amplitude.
JPEG = {'quality': 70, 'subsampling': '4:2:0'}


def as_pictures(cutouts):
    """
    Draw cutouts in flux as colour pictures that look like those of SDSS.

    The volunteers of Galaxy Zoo, and models trained on their answers, saw the pictures of the SDSS
    sky server: i, r and g as red, green and blue, scaled by the inverse hyperbolic sine of Lupton
    et al. (2004, PASP 116, 133), which keeps the colour of bright pixels. Its parameters are not
    published; with those used here, galaxies and sky of SDSS frames have the brightness, colour
    and noise of the pictures of Galaxy Zoo (``benchmarks/look.py``).

    Flux of Euclid in VIS and Y is drawn in the stretch of its own morphology catalogue instead, see
    `~astro_morph.images.euclid_pictures.draw_euclid`.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        Flux without the sky in g, r and i, or z for i, with its pixel scale and zero point; or in
        VIS and Y, in the unit of Euclid's mosaics if these are not known. Pictures stay as they
        are.

    Returns
    -------
    pictures : `~astro_morph.CutoutSet`
        The same rows in red, green and blue, from 0 to 255; NaN where a band has no pixel.

    Raises
    ------
    ValueError
        If a band, the pixel scale or the zero point is missing.

    References
    ----------
    Lupton et al. (2004): https://ui.adsabs.harvard.edu/abs/2004PASP..116..133L

    Examples
    --------
    >>> from astro_morph.cutouts import as_pictures
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4)
    >>> as_pictures(survey.fetch(survey.catalogue))
    <CutoutSet: 4 cutouts of 3 bands (red, green, blue), 64 x 64 pixels of 0.396 arcsec,
     picture, 0 without image>
    """
    if cutouts.kind == 'picture':
        return cutouts
    flux = cutouts.select_bands(_find_bands(cutouts.bands))
    if flux.bands == tuple(EUCLID_FACTORS):
        pictures = draw_euclid(*np.moveaxis(flux.filled() * _euclid_scales(flux), 1, 0))
    else:
        pictures = _draw_as_sdss(flux)
    is_empty = np.isnan(pictures).all(axis=(1, 2, 3))
    return flux.replace(
        images=pictures,
        bands=PICTURE_BANDS,
        kind='picture',
        zero_point=None,
        variance=None,
        mask=None,
        flags=_flag_zeros(flux),
        status=np.where(flux.is_ok & is_empty, 'all_nan', flux.status),
    )


def light_of_pictures(pictures):
    """
    Return the light that pictures of SDSS show, without their stretch.

    It is the mean of the three bands, in nanomaggies per SDSS pixel, with the pixels that are
    white in the picture too faint.

    Parameters
    ----------
    pictures : ndarray, shape (n, 3, y, x)
        The pictures, from 0 to 255.

    Returns
    -------
    light : ndarray of float32, shape (n, 1, y, x)
        NaN where the picture has no pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.cutouts.sdss_pictures import light_of_pictures
    >>> light_of_pictures(np.full((1, 3, 1, 2), 100, np.uint8)).round(2)
    array([[[[0.49, 0.49]]]], dtype=float32)
    """
    # As in `astropy.visualization.make_lupton_rgb`.
    slope, softening = 0.1 / np.arcsinh(0.1 * LUPTON['Q']), LUPTON['Q'] / LUPTON['stretch']
    brightness = np.mean(pictures, axis=1, keepdims=True, dtype=np.float32) / 255
    return (np.sinh(brightness / slope) / softening).astype(np.float32)


def _draw_as_sdss(flux):
    """Return pictures of shape (n, 3, y, x), NaN where a band has no pixel."""
    images = flux.filled() * _scales(flux)
    is_missing = np.isnan(images).any(axis=1)
    pictures = np.full(images.shape, np.nan, np.float32)
    for i in np.flatnonzero(flux.is_ok & ~is_missing.all(axis=(1, 2))):
        pictures[i] = _draw(np.nan_to_num(images[i]))
        pictures[i][:, is_missing[i]] = np.nan
    return pictures


def _flag_zeros(flux):
    """Return the flags of flux with that of missing pixels, which pictures show as sky."""
    is_covered = flux.is_ok & (flux.flags & BITS['partial_coverage'] == 0)
    has_gaps = is_covered & find_missing(flux.filled()).any(axis=(1, 2, 3))
    return flux.flags | has_gaps * BITS['missing_pixels']


def _find_bands(bands):
    """Return the bands to draw in red, green and blue, or those of Euclid."""
    if {*EUCLID_FACTORS} <= {*bands}:
        return tuple(EUCLID_FACTORS)
    # The three bluest, so that z stands for i only where there is no i.
    found = sort_bands(band for band in bands if band in SCALES)[2::-1]
    if found[1:] != ['r', 'g']:
        msg = (
            f'{as_written("bands")} must hold g, r and i, or z for i, or VIS and Y of Euclid, for '
            f"flux to be drawn as 'rgb' pictures, got {list(bands)}; fetch these bands"
        )
        raise ValueError(msg)
    return found


def _scales(flux):
    """Return the factors from flux to brightness, of shape (n or 1, band, 1, 1)."""
    if flux.pixel_scale is None:
        msg = (
            'pixel_scale of the cutouts is not known, but needed to draw flux as pictures; '
            + for_caller(
                'set it, as in cutouts.replace(pixel_scale=0.396 * u.arcsec)',
                'use FITS images with a WCS',
            )
        )
        raise ValueError(msg)
    if flux.zero_point is None or np.isnan(flux.zero_point).any():
        msg = (
            'zero_point of the cutouts is not known, but needed to draw flux as pictures: the AB '
            'magnitude of a flux of one, 22.5 for nanomaggies; set it, as in '
            + for_caller(
                'Mosaics(..., zero_point=22.5) or cutouts.replace(zero_point=22.5)',
                '--zero-point 22.5 for FITS mosaics',
            )
        )
        raise ValueError(msg)
    of_unit = 10 ** (-0.4 * (flux.zero_point - ZERO_POINT))
    of_pixel = np.ravel((PIXEL_SCALE / flux.pixel_scale).to_value(u.one)) ** 2
    of_band = [SCALES[band] for band in flux.bands]
    scales = np.multiply.outer(of_pixel, of_unit * of_band)[..., np.newaxis, np.newaxis]
    return scales.astype(np.float32)


def _euclid_scales(flux):
    """Return the factors from flux to the unit of Euclid's mosaics, of shape (n or 1, 2, 1, 1)."""
    euclid = surveys.get('euclid-q1')
    of_unit, of_pixel = np.ones(2), np.ones(1)
    if flux.zero_point is not None and np.isfinite(flux.zero_point).all():
        zero_point = [euclid.zero_point[euclid.bands.index(band)] for band in flux.bands]
        of_unit = 10 ** (-0.4 * (flux.zero_point - zero_point))
    if flux.pixel_scale is not None:
        of_pixel = np.ravel((euclid.pixel_scale / flux.pixel_scale).to_value(u.one)) ** 2
    return np.multiply.outer(of_pixel, of_unit)[..., np.newaxis, np.newaxis].astype(np.float32)


def _draw(image):
    """Return the picture of one image of shape (3, y, x), as uint8."""
    # These may import matplotlib.
    from astropy.visualization import make_lupton_rgb
    from PIL import Image

    # Astropy divides by the brightness of each pixel before it tests for zero.
    with np.errstate(invalid='ignore', divide='ignore'):
        picture = make_lupton_rgb(*image, **LUPTON)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'JPEG', **JPEG)
    return np.moveaxis(np.asarray(Image.open(file)), -1, 0)
