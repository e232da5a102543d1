# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Draw galaxies of known morphology on a grid of pixels, before seeing and noise."""

from functools import partial
from typing import NamedTuple

import numpy as np
from astropy.modeling.models import Sersic1D
from scipy.ndimage import gaussian_filter
from scipy.special import k1

from astro_morph.catalog.bands import band_wavelength

__all__ = ['KINDS', 'Canvas', 'Galaxy', 'draw_faint_galaxy', 'draw_galaxy']

# AB magnitudes relative to r of the oldest and the youngest stars of nearby galaxies. An 'age' from
# 0 to 1 mixes the two: it is near 1 in ellipticals, 0.5 in discs, and 0 in star-forming arms.
_OLD = {'u': 2.60, 'g': 0.86, 'r': 0.0, 'i': -0.41, 'z': -0.72, 'y': -0.86}
_YOUNG = {'u': 1.00, 'g': 0.20, 'r': 0.0, 'i': -0.05, 'z': -0.06, 'y': -0.06}

# Half-light radius of an exponential disc in scale lengths.
_DISC_HALF_LIGHT = 1.678


class Light(NamedTuple):
    """One component: its image (of any normalisation), fraction of the r light, and age."""

    image: np.ndarray
    fraction: float
    age: float


class Galaxy(NamedTuple):
    """Flux in nanomaggies, of shape (band, y, x), axis ratio and position angle."""

    flux: np.ndarray
    axis_ratio: float
    position_angle: float


class Canvas:
    """
    A square of pixels around one object, north up and east left.

    Parameters
    ----------
    radius : float
        Half of the side in arcsec.
    pixel_scale : float
        Arcsec per pixel.
    offset : (float, float), default=(0.0, 0.0)
        Position of the object, in pixels right of and above the centre of the central pixel.
    """

    # Sub-pixels per side of a pixel, and the pixels around the centre that are divided: steep cores
    # need it.
    _FINE, _CORE = 9, 4

    def __init__(self, radius, pixel_scale, offset=(0.0, 0.0)):
        self.pixel_scale = pixel_scale
        self.radius = radius
        half = int(np.ceil(radius / pixel_scale))
        steps = np.arange(-half, half + 1)
        self.x, self.y = np.meshgrid(
            (steps - offset[0]) * pixel_scale, (steps - offset[1]) * pixel_scale
        )

    def polar(self, axis_ratio=1.0, position_angle=0.0):
        """Return radius in arcsec and azimuth in the plane of an inclined disc."""
        along, across = self.axes(position_angle)
        across = across / axis_ratio
        return np.hypot(along, across), np.arctan2(across, along)

    def axes(self, position_angle):
        """Return coordinates along the major axis (its angle north through east) and across."""
        return _rotate(self.x, self.y, position_angle)

    def sersic(self, half_light, index, axis_ratio=1.0, position_angle=0.0, centre=(0.0, 0.0)):
        """Return a Sersic profile of a major-axis half-light radius, averaged over each pixel."""
        # The profile is almost singular: the distance is at least the mean of a sub-pixel.
        nearest = 0.38 * self.pixel_scale / self._FINE

        def profile(x, y):
            along, across = _rotate(x - centre[0], y - centre[1], position_angle)
            radius = np.sqrt(along**2 + (across / axis_ratio) ** 2 + nearest**2)
            # Building a model instance would take longer than evaluating it.
            return Sersic1D.evaluate(radius, 1, half_light, index)

        return self._pixel_mean(profile, centre)

    def smooth_noise(self, rng, scale):
        """Return a Gaussian random field of unit variance, correlated over a scale in arcsec."""
        noise = gaussian_filter(rng.standard_normal(self.x.shape), scale / self.pixel_scale)
        return noise / noise.std()

    def _pixel_mean(self, profile, centre):
        image = profile(self.x, self.y)
        column, row = (
            int(np.argmin(np.abs(axis - position)))
            for axis, position in zip((self.x[0], self.y[:, 0]), centre, strict=True)
        )
        core = np.s_[
            max(row - self._CORE, 0) : row + self._CORE + 1,
            max(column - self._CORE, 0) : column + self._CORE + 1,
        ]
        steps = (np.arange(self._FINE) - self._FINE // 2) / self._FINE * self.pixel_scale
        x = self.x[core][..., np.newaxis, np.newaxis] + steps
        y = self.y[core][..., np.newaxis, np.newaxis] + steps[:, np.newaxis]
        image[core] = profile(x, y).mean(axis=(2, 3))
        return image


def draw_galaxy(kind, *, rng, bands, pixel_scale, offset=(0.0, 0.0)):
    """
    Draw a galaxy of a given kind, with random other properties.

    Parameters
    ----------
    kind : str
        One of ``KINDS``.
    rng : `~numpy.random.Generator`
        Source of randomness.
    bands : sequence of str
        Bands to draw.
    pixel_scale : float
        Arcsec per pixel.
    offset : (float, float), default=(0.0, 0.0)
        Position of the galaxy, in pixels right of and above the centre of the central pixel.

    Returns
    -------
    galaxy : `Galaxy`
        Its light in each band.
    """
    draw, typical_radius = _DRAWERS[kind]
    # Number counts rise with magnitude. The range is that of bright galaxies with spectra.
    magnitude = 17.1 - min(rng.exponential(0.8), 2.4)
    half_light = typical_radius * 10 ** (-0.12 * (magnitude - 16.2) + rng.normal(0, 0.08))
    canvas = Canvas(max(8 * half_light, 12.0), pixel_scale, offset)
    lights, dust, axis_ratio, position_angle = draw(canvas, rng, half_light)
    flux = _mix(lights, dust, bands) * _edge(canvas)
    r_flux = np.sum(_mix(lights, dust, 'r') * _edge(canvas))
    return Galaxy(flux * 10 ** (-0.4 * (magnitude - 22.5)) / r_flux, axis_ratio, position_angle)


def draw_faint_galaxy(magnitude, *, rng, bands, pixel_scale, offset=(0.0, 0.0)):
    """
    Draw one of the many faint galaxies of the background, too small to show a shape.

    Parameters
    ----------
    magnitude : float
        AB magnitude in r.
    rng, bands, pixel_scale, offset
        As in `draw_galaxy`.

    Returns
    -------
    galaxy : `Galaxy`
        Its light in each band.
    """
    half_light = 1.0 * 10 ** (-0.1 * (magnitude - 20) + rng.normal(0, 0.12))
    canvas = Canvas(5 * half_light, pixel_scale, offset)
    axis_ratio, position_angle = rng.uniform(0.35, 1), rng.uniform(0, 180)
    image = canvas.sersic(half_light, rng.choice([1.0, 3.0]), axis_ratio, position_angle)
    flux = _mix([Light(image, 1, rng.uniform(0.2, 1.3))], 0, bands)
    return Galaxy(flux * 10 ** (-0.4 * (magnitude - 22.5)), axis_ratio, position_angle)


def _rotate(x, y, position_angle):
    sine, cosine = np.sin(np.radians(position_angle)), np.cos(np.radians(position_angle))
    return y * cosine - x * sine, -y * sine - x * cosine


def _mix(lights, dust, bands):
    """Return the sum of the components in each band, shape (band, y, x), of total r flux one."""
    images = np.stack([light.image / light.image.sum() for light in lights])
    total = sum(light.fraction for light in lights)
    weights = [
        [light.fraction / total * 10 ** (-0.4 * _colour(light.age, band)) for light in lights]
        for band in bands
    ]
    flux = np.tensordot(weights, images, axes=1)
    if np.any(dust):
        # The optical depth is about inverse to the wavelength (Cardelli et al. 1989, ApJ 345, 245).
        depths = [band_wavelength('r') / band_wavelength(band) for band in bands]
        flux *= np.exp([-depth * dust for depth in depths])
    return flux


def _colour(age, band):
    return age * _OLD[band] + (1 - age) * _YOUNG[band]


def _edge(canvas):
    """Return a factor that fades the light out towards the edge of the stamp."""
    radius, _ = canvas.polar()
    return np.clip((canvas.radius - radius) / (0.25 * canvas.radius), 0, 1)


def _draw_smooth(canvas, rng, half_light, *, axis_ratios):
    axis_ratio, position_angle = rng.uniform(*axis_ratios), rng.uniform(0, 180)
    # One in four smooth galaxies is a gas-poor disc: flatter and less red.
    if rng.random() < 0.25:
        index, age = rng.uniform(1, 2), rng.uniform(0.4, 0.8)
    else:
        index, age = rng.uniform(2, 5.5), rng.normal(0.97, 0.06)
    image = canvas.sersic(half_light, index, axis_ratio, position_angle)
    return [Light(image, 1, age)], 0, axis_ratio, position_angle


def _draw_spiral(canvas, rng, half_light):
    # Thin discs at random inclinations, without steep ones.
    axis_ratio, position_angle = rng.uniform(0.35, 1), rng.uniform(0, 360)
    length = half_light / _DISC_HALF_LIGHT
    radius, azimuth = canvas.polar(axis_ratio, position_angle)
    has_bar = rng.random() < 0.35
    arms = _arm_pattern(canvas, rng, radius, azimuth, length, has_bar)
    disc = np.exp(-radius / length)
    age = rng.normal(0.52, 0.12)
    bulge_radius = length * rng.uniform(0.15, 0.4)
    lights = [
        Light(disc * (1 + rng.uniform(0.3, 1.8) * arms), 0.6, age),
        Light(np.exp(-radius / (1.3 * length)) * arms, rng.uniform(0.15, 0.5), age - 0.5),
        Light(canvas.sersic(bulge_radius, 2, 0.9), 10 ** rng.uniform(-1.5, -0.4), age + 0.35),
    ]
    if has_bar:
        bar_axis = axis_ratio * rng.uniform(0.3, 0.5)
        bar = canvas.sersic(0.6 * length, 0.6, bar_axis, position_angle)
        lights.append(Light(bar, rng.uniform(0.05, 0.15), age + 0.25))
    return lights, 0, axis_ratio, position_angle % 180


def _arm_pattern(canvas, rng, radius, azimuth, length, has_bar):
    """
    Draw irregular logarithmic arms with values from 0 to about 1.

    The azimuth of an arm is ln(R) / tan(pitch angle).
    """
    n_arms = rng.choice([2, 3, 4], p=[0.65, 0.2, 0.15])
    pitch = np.radians(rng.uniform(12, 30)) * rng.choice([-1, 1])
    winding = np.log(np.maximum(radius, 0.05 * length) / length) / np.tan(pitch)
    wobble = rng.uniform(0.2, 0.8) * canvas.smooth_noise(rng, 0.8 * length)
    phase = n_arms * (azimuth - winding) + wobble
    crest = np.exp(rng.uniform(1.2, 3) * (np.cos(phase) - 1))
    lopsided = 1 + rng.uniform(0, 0.4) * np.cos(azimuth - rng.uniform(0, 2 * np.pi))
    patches = np.exp(rng.uniform(0.3, 0.8) * canvas.smooth_noise(rng, 0.2 * length))
    start = 1.0 if has_bar else 0.5
    return crest * lopsided * patches * -np.expm1(-((radius / (start * length)) ** 3))


def _draw_edge_on(canvas, rng, half_light):
    """
    Draw an edge-on disc with a bulge and, in half of the cases, a dust lane.

    The disc is R/h K1(R/h) sech^2(z/z0), van der Kruit & Searle (1981, A&A 95, 105).
    """
    position_angle = rng.uniform(0, 180)
    length = half_light / 1.3
    thickness = length * rng.uniform(0.15, 0.4)
    along, across = canvas.axes(position_angle)
    across = across + rng.normal(0, 0.01) * along**2 / length
    reach = np.hypot(along, 0.3 * canvas.pixel_scale) / length
    disc = reach * k1(reach) / np.cosh(across / thickness) ** 2
    age = rng.uniform(0.45, 0.95)
    in_bulge = rng.uniform(0, 0.35)
    bulge_axis = rng.uniform(0.6, 0.8)
    bulge = canvas.sersic(0.4 * length, 2, bulge_axis, position_angle)
    lights = [Light(disc, 1 - in_bulge, age), Light(bulge, in_bulge, min(age + 0.25, 1))]
    depth = rng.choice([0, 1]) * rng.uniform(0.5, 2)
    lane = across - rng.normal(0, 0.3) * thickness
    dust = depth * np.exp(-reach / 1.5) / np.cosh(lane / (0.4 * thickness)) ** 2
    return lights, dust, thickness / length, position_angle


def _draw_merger(canvas, rng, half_light):
    """Draw two touching galaxies, each with a tidal tail, in a common lopsided halo."""
    position_angle = rng.uniform(0, 360)
    separation = half_light * rng.uniform(0.9, 2.4)
    direction = np.array([-np.sin(np.radians(position_angle)), np.cos(np.radians(position_angle))])
    age, partner_age = np.clip(rng.uniform(0.35, 1) + rng.normal(0, 0.1, 2), 0.2, 1)
    fraction = rng.uniform(0.2, 0.5)
    second = direction * separation
    lights = [
        Light(_disturbed(canvas, rng, 0.6 * half_light, (0, 0)), 1 - fraction, age),
        Light(_disturbed(canvas, rng, 0.5 * half_light, second), fraction, partner_age),
        Light(canvas.sersic(1.3 * half_light, 1, 0.6, position_angle, second / 2), 0.25, age),
    ]
    for centre, side in (((0, 0), -direction), (second, direction)):
        tail = _tail(canvas, rng, np.asarray(centre), side, half_light)
        lights.append(Light(tail, rng.uniform(0, 0.13), age - 0.2))
    return lights, 0, 1 / (1 + separation / half_light), position_angle % 180


def _disturbed(canvas, rng, half_light, centre):
    index, axis_ratio = rng.uniform(1, 3), rng.uniform(0.4, 0.95)
    image = canvas.sersic(half_light, index, axis_ratio, rng.uniform(0, 180), centre)
    return image * np.exp(0.35 * canvas.smooth_noise(rng, 0.4 * half_light))


def _tail(canvas, rng, start, direction, half_light):
    """Draw a curved tail that widens and fades, as a row of Gaussians along an arc."""
    steps = np.linspace(0.2, 1, 30)
    reach = half_light * rng.uniform(2, 4)
    turn = rng.choice([-1, 1]) * rng.uniform(0.5, 2)
    angle = np.arctan2(direction[1], direction[0]) + turn * steps
    x = start[0] + reach * steps * np.cos(angle)
    y = start[1] + reach * steps * np.sin(angle)
    width = half_light * rng.uniform(0.15, 0.3) * (0.7 + steps)
    tail = np.zeros_like(canvas.x)
    for x0, y0, sigma, fade in zip(x, y, width, 1.2 - steps, strict=True):
        tail += fade * np.exp(-((canvas.x - x0) ** 2 + (canvas.y - y0) ** 2) / (2 * sigma**2))
    return tail * np.exp(0.3 * canvas.smooth_noise(rng, 0.3 * half_light))


# Drawing function of each kind, and its typical half-light radius in arcsec at r = 16.2.
_DRAWERS = {
    'round': (partial(_draw_smooth, axis_ratios=(0.86, 1)), 2.4),
    'in_between': (partial(_draw_smooth, axis_ratios=(0.48, 0.74)), 2.8),
    'edge_on': (_draw_edge_on, 3.9),
    'spiral': (_draw_spiral, 4.2),
    'merger': (_draw_merger, 3.0),
}

#: Kinds of galaxy that can be drawn.
KINDS = tuple(_DRAWERS)
