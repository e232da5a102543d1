# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
What is measured on the image of one galaxy: its size, concentration, asymmetry, smoothness and M20.

Images are without sky, and NaN where a pixel is missing or belongs to another object. Positions
are (y, x), counted from the middle of the first pixel.
"""

import functools

import numpy as np
from scipy import ndimage
from scipy.optimize import brentq, minimize

__all__ = [
    'asymmetry',
    'concentration',
    'galaxy_region',
    'light_inside',
    'm20',
    'petrosian_radius',
    'smoothness',
]

# Surface brightness at the Petrosian radius, as a part of its mean inside.
ETA = 0.2

# Concentration, asymmetry and smoothness look at the light inside so many Petrosian radii.
EXTENT = 1.5

# In Petrosian radii: the scale below which light is clumpy, the radius of the centre that
# smoothness leaves out, and how far from its start the centre of symmetry may be.
FINE = 0.25

# In Petrosian radii: the width of the filter that outlines a galaxy.
OUTLINE = 0.2

# Steps to the far corner of the image in which the Petrosian radius is looked for, as in statmorph.
N_STEPS = 100

# Ellipses from this major half-axis on are drawn with so many points along a pixel, a quarter of
# the work, and at most 0.05 % off; smaller ones, and circles, exactly.
COARSE_FROM, SUBPIXELS = 10, 5

# More than any asymmetry: where there is nothing to compare, from which the search turns back.
WORST = 10.0

# Pixels from the start to the other corners of the triangle with which the search for the centre
# of symmetry begins: more than the half pixel in which an interpolation has minima of its own.
FIRST_STEP = 1.5


def light_inside(image, centre, radius, *, elongation=1.0, orientation=0.0):
    """
    Add up the pixels inside a circle or an ellipse.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        The image.
    centre : (float, float)
        The centre (y, x).
    radius : float
        Radius, or major half-axis, in pixels.
    elongation : float, optional
        Major over minor axis.
    orientation : float, optional
        Angle of the major axis from the x axis to the y axis, in radians.

    Returns
    -------
    light : ndarray, shape (2,)
        The flux, and its area in pixels without those that are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.structure import light_inside
    >>> light_inside(np.full((9, 9), 2.0), (4, 4), 3) / 3**2
    array([6.28318531, 3.14159265])
    """
    window, part = _overlap(image.shape, centre, radius, elongation, orientation)
    pixels = image[window]
    is_known = np.isfinite(pixels)
    part = part[is_known]
    return np.array([np.dot(part, pixels[is_known]), part.sum()])


def petrosian_radius(image, centre, *, elongation=1.0, orientation=0.0):
    r"""
    Find the radius where the surface brightness has fallen to a fifth of its mean inside.

    It is the first radius, or major half-axis of an ellipse, with (Petrosian 1976, ApJ 210, L1;
    Lotz et al. 2004, AJ 128, 163, equation 4)

    .. math:: |\mu(r)| = 0.2 \, |\bar\mu(<r)|

    where :math:`\mu(r)` is the mean in a ring one pixel wide.

    Parameters
    ----------
    image, centre, elongation, orientation
        As in `light_inside`.

    Returns
    -------
    radius : float
        In pixels; NaN if there is none between the first pixel and the end of the image.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.structure import petrosian_radius
    >>> y, x = np.ogrid[:41, :41]
    >>> disc = np.exp(-np.hypot(y - 20, x - 20) / 4)
    >>> print(round(petrosian_radius(disc, (20, 20)) / 4, 1))
    3.6
    """
    ellipse = {'elongation': elongation, 'orientation': orientation}

    def excess(radius):
        flux, area = light_inside(image, centre, radius, **ellipse)
        ring_flux, ring_area = _light_between(image, centre, radius - 0.5, radius + 0.5, **ellipse)
        # No ring inside the image, or no light: there is no radius farther out.
        if ring_area <= 0 or flux == 0:
            return np.nan
        return abs(ring_flux / ring_area) / abs(flux / area) - ETA

    # The ratio may fall and rise with the noise: which radius is the first depends on the steps.
    return _first_root(excess, np.linspace(1, np.hypot(*image.shape) * elongation, N_STEPS))


def concentration(image, centre, petrosian_radius):
    r"""
    Measure how much of the light is near the centre.

    .. math:: C = 5 \log_{10}(r_{80} / r_{20})

    where :math:`r_{20}` and :math:`r_{80}` are the radii of circles with 20 % and 80 % of the
    light inside 1.5 Petrosian radii (Bershady et al. 2000, AJ 119, 2645; Conselice 2003, ApJS
    147, 1).

    Parameters
    ----------
    image, centre
        As in `light_inside`.
    petrosian_radius : float
        In pixels.

    Returns
    -------
    concentration : float
        2.7 for an exponential disc and 4.3 for a de Vaucouleurs profile, less where the seeing
        blurs them; NaN where there is no light.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.structure import concentration
    >>> print(concentration(np.ones((41, 41)), (20, 20), 10).round(3))  # 5 log10(2)
    1.505
    """
    last = EXTENT * petrosian_radius
    total, _ = light_inside(image, centre, last)

    def radius_of(part):
        def missing(radius):
            return part * total - light_inside(image, centre, radius)[0]

        return _first_root(missing, np.arange(0, last + 1))

    return 5 * np.log10(radius_of(0.8) / radius_of(0.2))


def _first_root(function, radii):
    """Find where a function first falls to zero; NaN if that is not between two of the radii."""
    at = next((i for i, radius in enumerate(radii) if not function(radius) > 0), 0)
    if at == 0 or np.isnan(function(radii[at])):
        return np.nan
    return brentq(function, radii[at - 1], radii[at], xtol=0.001)


def asymmetry(image, start, petrosian_radius, *, sky=None):
    r"""
    Compare a galaxy with itself after half a turn.

    .. math:: A = \min_c \frac{\sum |I - I_{180}| - N B}{\sum |I|}

    over the N pixels inside 1.5 Petrosian radii around the centre of the turn c, where B is the
    mean :math:`|I - I_{180}|` of a pixel of sky (Conselice 2003, ApJS 147, 1; Lotz et al. 2004,
    AJ 128, 163, equation 10). A pixel that is missing on one side is left out on both. The search
    for the minimum begins at the start; if it ends farther away than 0.25 Petrosian radii, again
    at the brightest pixel.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        The image.
    start : (float, float)
        Where to begin, (y, x); the centroid.
    petrosian_radius : float
        In pixels, around the start.
    sky : ndarray, shape (y, x), optional
        Image of the sky, NaN elsewhere; without it B is zero.

    Returns
    -------
    asymmetry : float
        0 for a symmetric galaxy; slightly negative where there is less noise than in the sky;
        NaN where there is nothing to compare.
    centre : ndarray, shape (2,)
        The centre of symmetry (y, x); NaN where none was found near the start, about which the
        asymmetry then is.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.structure import asymmetry
    >>> y, x = np.ogrid[:41, :41]
    >>> blob = np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / 18)
    >>> knot = np.exp(-((y - 20) ** 2 + (x - 26) ** 2) / 2) / 2
    >>> for galaxy in (blob, blob + knot):
    ...     print(round(asymmetry(galaxy, (20, 20), 8)[0], 2))
    0.0
    0.11
    """
    start = np.asarray(start, float)
    noise = 0.0 if sky is None else _mean(np.abs(sky - sky[::-1, ::-1]))
    about = functools.partial(
        _asymmetry_about, image=image, radius=EXTENT * petrosian_radius, noise=noise
    )
    for first in (start, _brightest_pixel(image, start, EXTENT * petrosian_radius)):
        triangle = first + FIRST_STEP * np.array([[0, 0], [1, 0], [0, 1]])
        options = {'initial_simplex': triangle, 'xatol': 0.01, 'fatol': 1e-4}
        minimum = minimize(about, first, method='Nelder-Mead', options=options)
        if minimum.fun < WORST and np.hypot(*(minimum.x - first)) <= FINE * petrosian_radius:
            return minimum.fun, minimum.x
    value = about(start)
    return value if value < WORST else np.nan, np.full(2, np.nan)


def _brightest_pixel(image, centre, radius):
    window, _ = _overlap(image.shape, centre, radius)
    corner = [side.start for side in window]
    pixels = image[window]
    return np.add(corner, np.unravel_index(np.nanargmax(pixels), pixels.shape))


def _asymmetry_about(centre, image, radius, noise):
    window, part = _overlap(image.shape, centre, radius)
    pixels = image[window]
    # Pixel p of the window meets the point 2 * centre - p.
    meeting = 2 * np.asarray(centre) - [side.start for side in window]
    turned = ndimage.affine_transform(
        image, [-1, -1], meeting, output_shape=pixels.shape, order=1, cval=np.nan
    )
    difference = np.abs(pixels - turned)
    is_known = np.isfinite(difference)
    part = part[is_known]
    light = np.dot(part, np.abs(pixels[is_known]))
    return (np.dot(part, difference[is_known]) - noise * part.sum()) / light if light else WORST


def smoothness(image, centre, petrosian_radius, *, sky=None):
    r"""
    Measure how much of the light is in clumps.

    .. math:: S = \frac{\sum \max(I - I_S, 0) - N B}{\sum I}

    over the N pixels from 0.25 to 1.5 Petrosian radii, where :math:`I_S` is the mean in a box of
    0.25 Petrosian radii around a pixel, and B the mean :math:`\max(I - I_S, 0)` of a pixel of sky
    (Conselice 2003, ApJS 147, 1, without his factor of 10; Lotz et al. 2004, AJ 128, 163,
    equation 11).

    Parameters
    ----------
    image, centre
        As in `light_inside`.
    petrosian_radius : float
        In pixels.
    sky : ndarray, shape (y, x), optional
        Image of the sky, NaN elsewhere; without it B is zero.

    Returns
    -------
    smoothness : float
        0 for a smooth galaxy, more for a clumpy one; NaN for a Petrosian radius below 8 pixels,
        where the box would be a single pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.structure import smoothness
    >>> y, x = np.ogrid[:101, :101]
    >>> disc = np.exp(-np.hypot(y - 50, x - 50) / 10)
    >>> clumpy = disc * (1 + (x % 5 == 0))
    >>> smoothness(disc, (50, 50), 30) < smoothness(clumpy, (50, 50), 30)
    np.True_
    """
    box = int(FINE * petrosian_radius)
    if box < 2:
        return np.nan
    noise = 0.0 if sky is None else _mean(_clumps(sky, box))
    radii = FINE * petrosian_radius, EXTENT * petrosian_radius
    clumps, area = _light_between(_clumps(image, box), centre, *radii)
    light, _ = _light_between(image, centre, *radii)
    return (clumps - area * noise) / light if light > 0 else np.nan


def _mean(values):
    """Give the mean of what is known, or zero where nothing is."""
    known = values[np.isfinite(values)]
    return known.mean() if known.size else 0.0


def _clumps(image, box):
    """Give by how much pixels are brighter than their surroundings; else zero."""
    return np.maximum(image - ndimage.uniform_filter(np.nan_to_num(image), box), 0)


def galaxy_region(image, centre, petrosian_radius, *, elongation=1.0, orientation=0.0):
    """
    Outline the galaxy for the Gini coefficient and M20.

    The image is smoothed by a Gaussian whose standard deviation is 0.2 Petrosian radii. The galaxy
    is where it is at least as bright as on average in a ring at the Petrosian radius, one pixel
    wide, and connected to the brightest pixel (Lotz et al. 2004, AJ 128, 163, section 3.1;
    Rodriguez-Gomez et al. 2019, MNRAS 483, 4140, section 4.4).

    Parameters
    ----------
    image, centre, elongation, orientation
        As in `light_inside`.
    petrosian_radius : float
        Major half-axis in pixels, from `petrosian_radius` with this elongation and orientation.

    Returns
    -------
    region : ndarray of bool, shape (y, x)
        Whether a pixel belongs to the galaxy.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.structure import galaxy_region
    >>> y, x = np.ogrid[:41, :41]
    >>> disc = np.exp(-np.hypot(y - 20, x - 20) / 4)
    >>> region = galaxy_region(disc, (20, 20), 14.4)
    >>> print(region[20, 20 + 14], region[20, 20 + 17])
    True False
    """
    smooth = ndimage.gaussian_filter(
        np.nan_to_num(image), OUTLINE * petrosian_radius, mode='constant'
    )
    flux, area = _light_between(
        smooth,
        centre,
        petrosian_radius - 0.5,
        petrosian_radius + 0.5,
        elongation=elongation,
        orientation=orientation,
    )
    parts, _ = ndimage.label(smooth >= flux / area, np.ones((3, 3)))
    return (parts == parts.flat[np.argmax(smooth)]) & np.isfinite(image)


def m20(image, region):
    r"""
    Measure how far the brightest parts lie from the centre.

    .. math::

        M_{20} = \log_{10} \frac{\sum_{bright} M_i}{\sum_i M_i}, \quad
        M_i = I_i \, [(x_i - x_c)^2 + (y_i - y_c)^2]

    where the bright pixels are the brightest that have 20 % of the light together, with all that
    are as bright as the last of them, and the centre is the centroid, which makes the sum of all
    the least (Lotz et al. 2004, AJ 128, 163, equations 7 and 8).

    Parameters
    ----------
    image : ndarray, shape (y, x)
        The image.
    region : ndarray of bool, shape (y, x)
        The pixels of the galaxy, see `galaxy_region`.

    Returns
    -------
    m20 : float
        Near -2 for a bright centre, -1 and above for bright knots far out; NaN without light.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.photometry.structure import m20
    >>> image = np.array([[4.0, 1.0, 1.0, 4.0]])
    >>> print(m20(image, np.ones(image.shape, bool)).round(4))  # log10(18 / 18.5)
    -0.0119
    """
    y, x = np.nonzero(region)
    flux = image[y, x]
    total = flux.sum()
    if not total > 0:
        return np.nan
    moments = flux * ((y - flux @ y / total) ** 2 + (x - flux @ x / total) ** 2)
    falling = np.sort(flux)[::-1]
    faintest = falling[np.cumsum(falling) - falling <= 0.2 * total][-1]
    bright, whole = moments[flux >= faintest].sum(), moments.sum()
    return np.log10(bright / whole) if bright > 0 and whole > 0 else np.nan


def _light_between(image, centre, inner, outer, **ellipse):
    """Add up the pixels of a ring."""
    within_outer, within_inner = (
        light_inside(image, centre, radius, **ellipse) for radius in (outer, inner)
    )
    return within_outer - within_inner


def _overlap(shape, centre, radius, elongation=1.0, orientation=0.0):
    """Give the window of an image that holds an ellipse, and how much of each pixel is inside."""
    from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid

    sides = [
        slice(min(max(int(c - radius), 0), n), min(max(int(c + radius) + 2, 0), n))
        for c, n in zip(centre, shape, strict=True)
    ]
    ny, nx = (side.stop - side.start for side in sides)
    if radius <= 0 or not ny or not nx:
        return tuple(sides), np.zeros((ny, nx))
    (bottom, top), (left, right) = (
        (side.start - 0.5 - c, side.stop - 0.5 - c) for side, c in zip(sides, centre, strict=True)
    )
    grid = left, right, bottom, top, nx, ny
    if elongation == 1:
        return tuple(sides), circular_overlap_grid(*grid, radius, 1, 1)
    ellipse = radius, radius / elongation, orientation
    is_exact = radius < COARSE_FROM
    return tuple(sides), elliptical_overlap_grid(*grid, *ellipse, is_exact, SUBPIXELS)
