# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compute Petrosian radius, concentration, asymmetry, smoothness and M20 of one galaxy.

Images are sky-subtracted, and NaN where a pixel is missing or belongs to another object. Positions
are (x, y) as in photutils: the middle of the first pixel is (0, 0).
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

# Surface brightness at the Petrosian radius, as a fraction of the mean inside it.
ETA = 0.2

# Aperture of concentration, asymmetry and smoothness, in Petrosian radii.
EXTENT = 1.5

# In Petrosian radii: the box that smooths the image, the radius of the central part that smoothness
# leaves out, and the largest distance of the centre of symmetry from its start.
FINE = 0.25

# Standard deviation of the filter that outlines a galaxy, in Petrosian radii.
OUTLINE = 0.2

# Number of radii at which the Petrosian radius is bracketed, as in statmorph.
N_STEPS = 100

# Ellipses with at least this semi-major axis are drawn with so many subpixels, which is four times
# as fast and at most 0.05 % off; smaller ellipses, and circles, are exact.
COARSE_FROM, SUBPIXELS = 10, 5

# Larger than any asymmetry: returned where there are no pixels to compare, so that the search for
# the centre turns back.
WORST = 10.0

# Side in pixels of the initial simplex of the search for the centre of symmetry: more than half a
# pixel, where the interpolation has spurious minima, and about that of statmorph, so that the
# search in close pairs, where each galaxy has a minimum, ends in the same one.
FIRST_STEP = 2.5


def light_inside(image, centre, radius, *, elongation=1.0, orientation=0.0):
    """
    Compute the flux inside a circle or an ellipse.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        The image.
    centre : (float, float)
        The centre (x, y), in pixels.
    radius : float
        Radius, or semi-major axis, in pixels.
    elongation : float, default=1.0
        Ratio of the major to the minor axis.
    orientation : float, default=0.0
        Angle from the x axis to the major axis, towards the y axis, in radians.

    Returns
    -------
    light : ndarray, shape (2,)
        The flux, and the area in pixels, without missing pixels.

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
    Compute the radius where the surface brightness is a fifth of its mean inside.

    It is the smallest radius, or semi-major axis of an ellipse, with (Petrosian 1976, ApJ 210, L1;
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
        In pixels; NaN if there is none between one pixel and the edge of the image.

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
        # The ring is outside the image, or there is no light: larger radii have no root either.
        if ring_area <= 0 or flux == 0:
            return np.nan
        return abs(ring_flux / ring_area) / abs(flux / area) - ETA

    # Noise may give several roots: the smallest one depends on the steps.
    return _first_root(excess, np.linspace(1, np.hypot(*image.shape) * elongation, N_STEPS))


def concentration(image, centre, petrosian_radius):
    r"""
    Compute the concentration of the light.

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
        2.7 for an exponential disc and 4.3 for a de Vaucouleurs profile, less if the seeing
        blurs them; NaN without light.

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
    """Return where a function first falls to zero; NaN if it does not between two of the radii."""
    at = next((i for i, radius in enumerate(radii) if not function(radius) > 0), 0)
    if at == 0 or np.isnan(function(radii[at])):
        return np.nan
    return brentq(function, radii[at - 1], radii[at], xtol=0.001)


def asymmetry(image, start, petrosian_radius, *, sky=None):
    r"""
    Compute the asymmetry of a galaxy under a rotation by 180 degrees.

    .. math:: A = \min_c \frac{\sum |I - I_{180}| - N B}{\sum |I|}

    over the N pixels inside 1.5 Petrosian radii around the centre of rotation c, where B is the
    mean :math:`|I - I_{180}|` of a sky pixel (Conselice 2003, ApJS 147, 1; Lotz et al. 2004,
    AJ 128, 163, equation 10). A pixel that is missing on one side is ignored on both. The minimum
    is searched from ``start``; if it is more than 0.25 Petrosian radii away, it is searched again
    from the brightest pixel.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        The image.
    start : (float, float)
        Where the search begins (x, y), such as the centroid.
    petrosian_radius : float
        In pixels, around the start.
    sky : ndarray, shape (y, x), default=None
        Image of the sky pixels, NaN elsewhere; without it B is zero.

    Returns
    -------
    asymmetry : float
        0 for a symmetric galaxy; slightly negative if there is less noise than in the sky; NaN
        if there are no pixels to compare.
    centre : ndarray, shape (2,)
        The centre of symmetry (x, y). NaN if none was found near the start; the asymmetry is then
        that about the start.

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
        simplex = first + FIRST_STEP * np.array([[0, 0], [0, 1], [1, 0]])
        options = {'initial_simplex': simplex, 'xatol': 0.01, 'fatol': 1e-4}
        minimum = minimize(about, first, method='Nelder-Mead', options=options)
        if minimum.fun < WORST and np.hypot(*(minimum.x - first)) <= FINE * petrosian_radius:
            return minimum.fun, minimum.x
    value = about(start)
    return value if value < WORST else np.nan, np.full(2, np.nan)


def _brightest_pixel(image, centre, radius):
    (rows, columns), _ = _overlap(image.shape, centre, radius)
    pixels = image[rows, columns]
    y, x = np.unravel_index(np.nanargmax(pixels), pixels.shape)
    return np.array([columns.start + x, rows.start + y])


def _asymmetry_about(centre, image, radius, noise):
    window, part = _overlap(image.shape, centre, radius)
    pixels = image[window]
    # A pixel p of the image is rotated to 2 * centre - p, in the order (y, x) of the axes.
    offset = 2 * np.asarray(centre)[::-1] - [side.start for side in window]
    rotated = ndimage.affine_transform(
        image, [-1, -1], offset, output_shape=pixels.shape, order=1, cval=np.nan
    )
    difference = np.abs(pixels - rotated)
    is_known = np.isfinite(difference)
    part = part[is_known]
    light = np.dot(part, np.abs(pixels[is_known]))
    return (np.dot(part, difference[is_known]) - noise * part.sum()) / light if light else WORST


def smoothness(image, centre, petrosian_radius, *, sky=None):
    r"""
    Compute the smoothness: the fraction of the light in clumps.

    .. math:: S = \frac{\sum \max(I - I_S, 0) - N B}{\sum I}

    over the N pixels from 0.25 to 1.5 Petrosian radii, where :math:`I_S` is the mean in a box of
    0.25 Petrosian radii around a pixel, and B the mean :math:`\max(I - I_S, 0)` of a sky pixel
    (Conselice 2003, ApJS 147, 1, without his factor of 10; Lotz et al. 2004, AJ 128, 163,
    equation 11).

    Parameters
    ----------
    image, centre
        As in `light_inside`.
    petrosian_radius : float
        In pixels.
    sky : ndarray, shape (y, x), default=None
        Image of the sky pixels, NaN elsewhere; without it B is zero.

    Returns
    -------
    smoothness : float
        0 for a smooth galaxy, larger for a clumpy one; NaN for a Petrosian radius below 8 pixels,
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
    """Return the mean of the finite values, or zero if there are none."""
    known = values[np.isfinite(values)]
    return known.mean() if known.size else 0.0


def _clumps(image, box):
    """Return by how much pixels are brighter than their surroundings; zero for fainter ones."""
    return np.maximum(image - ndimage.uniform_filter(np.nan_to_num(image), box), 0)


def galaxy_region(image, centre, petrosian_radius, *, elongation=1.0, orientation=0.0):
    """
    Find the pixels of the galaxy for the Gini coefficient and M20.

    The image is smoothed by a Gaussian with a standard deviation of 0.2 Petrosian radii. A pixel
    belongs to the galaxy if it is then at least as bright as the mean in a ring of one pixel at
    the Petrosian radius, and connected to the brightest pixel (Lotz et al. 2004, AJ 128, 163,
    section 3.1; Rodriguez-Gomez et al. 2019, MNRAS 483, 4140, section 4.4).

    Parameters
    ----------
    image, centre, elongation, orientation
        As in `light_inside`.
    petrosian_radius : float
        Semi-major axis in pixels, from `petrosian_radius` with this elongation and orientation.

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
    Compute M20, the normalised second moment of the brightest 20 % of the light.

    .. math::

        M_{20} = \log_{10} \frac{\sum_{bright} M_i}{\sum_i M_i}, \quad
        M_i = I_i \, [(x_i - x_c)^2 + (y_i - y_c)^2]

    where the bright pixels are the brightest ones with 20 % of the light, including all that are
    as bright as the last of them, and the centre is the centroid, which minimises the total moment
    (Lotz et al. 2004, AJ 128, 163, equations 7 and 8).

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
    """Compute the flux and the area of a ring."""
    within_outer, within_inner = (
        light_inside(image, centre, radius, **ellipse) for radius in (outer, inner)
    )
    return within_outer - within_inner


def _overlap(shape, centre, radius, elongation=1.0, orientation=0.0):
    """Return the window (rows, columns) around an ellipse, and the fraction inside per pixel."""
    from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid

    columns, rows = window = [
        slice(min(max(int(c - radius), 0), n), min(max(int(c + radius) + 2, 0), n))
        for c, n in zip(centre, shape[::-1], strict=True)
    ]
    nx, ny = (side.stop - side.start for side in window)
    if radius <= 0 or not ny or not nx:
        return (rows, columns), np.zeros((ny, nx))
    (left, right), (bottom, top) = (
        (side.start - 0.5 - c, side.stop - 0.5 - c) for side, c in zip(window, centre, strict=True)
    )
    grid = left, right, bottom, top, nx, ny
    if elongation == 1:
        return (rows, columns), circular_overlap_grid(*grid, radius, 1, 1)
    ellipse = radius, radius / elongation, orientation
    is_exact = radius < COARSE_FROM
    return (rows, columns), elliptical_overlap_grid(*grid, *ellipse, is_exact, SUBPIXELS)
