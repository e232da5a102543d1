# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Structure of one galaxy, against what can be worked out by hand or by integration."""

import numpy as np
import pytest
from astropy.modeling.models import Sersic1D
from photutils.aperture import CircularAperture
from photutils.segmentation import SegmentationImage, SourceCatalog
from scipy.integrate import quad
from scipy.optimize import brentq

from astro_morph.photometry.structure import (
    asymmetry,
    concentration,
    galaxy_region,
    light_inside,
    m20,
    petrosian_radius,
    smoothness,
)
from astro_morph.tests.helpers import gaussian

SIZE = 97
CENTRE = (48.0, 48.0)


def draw(profile, *, centre=CENTRE, elongation=1.0, orientation=0.0, oversampling=5):
    """Draw a profile of the elliptical radius, as a mean over each pixel."""
    edge = (np.arange(SIZE * oversampling) + 0.5) / oversampling - 0.5
    x, y = edge - centre[0], edge[:, np.newaxis] - centre[1]
    along = x * np.cos(orientation) + y * np.sin(orientation)
    across = y * np.cos(orientation) - x * np.sin(orientation)
    fine = profile(np.hypot(along, across * elongation))
    return fine.reshape(SIZE, oversampling, SIZE, oversampling).mean(axis=(1, 3))


def true_light(profile, radius):
    return quad(lambda r: 2 * np.pi * r * profile(r), 0, radius, limit=200)[0]


def true_petrosian_radius(profile):
    def excess(r):
        return profile(r) - 0.2 * true_light(profile, r) / (np.pi * r**2)

    return brentq(excess, 1, 60)


@pytest.fixture(params=[0.5, 1, 2.5], ids='n={}'.format)
def sersic(request):
    return Sersic1D(amplitude=1, r_eff=7, n=request.param)


def test_centres_are_x_and_y_as_those_of_photutils():
    profile = Sersic1D(amplitude=1, r_eff=4, n=1)
    image = draw(profile, centre=(60, 35))[:80]
    centre = SourceCatalog(image, SegmentationImage((image > 0.1).astype(int)))[0].centroid
    np.testing.assert_allclose(centre, (60, 35), atol=0.05)
    radius = petrosian_radius(image, centre)
    assert radius == pytest.approx(true_petrosian_radius(profile), rel=0.01)
    aperture = CircularAperture(centre, radius)
    assert light_inside(image, centre, radius)[0] == pytest.approx(
        aperture.do_photometry(image)[0][0]
    )
    assert asymmetry(image, centre, radius)[0] == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(asymmetry(image, (61, 34), radius)[1], (60, 35), atol=0.05)
    in_the_middle = draw(profile)
    for measure in (concentration, smoothness):
        expected = measure(in_the_middle, CENTRE, radius)
        assert measure(image, centre, radius) == pytest.approx(expected, abs=0.02)
    assert (
        galaxy_region(image, centre, radius).sum()
        == galaxy_region(in_the_middle, CENTRE, radius).sum()
    )


def test_light_inside_leaves_out_missing_pixels():
    image = np.full((11, 11), 3.0)
    image[5, 5] = np.nan
    np.testing.assert_allclose(light_inside(image, (5, 5), 2), [3 * (4 * np.pi - 1), 4 * np.pi - 1])


def test_light_inside_an_ellipse():
    flux, area = light_inside(np.ones((61, 61)), (30, 30), 20, elongation=2, orientation=0.5)
    assert flux == area == pytest.approx(np.pi * 20 * 10, rel=0.01)


def test_light_outside_the_image_is_none():
    np.testing.assert_array_equal(light_inside(np.ones((9, 9)), (-20, 4), 3), 0)


def test_petrosian_radius_of_a_sersic_profile(sersic):
    expected = true_petrosian_radius(sersic)
    assert petrosian_radius(draw(sersic), CENTRE) == pytest.approx(expected, rel=0.01)


def test_petrosian_radius_of_an_ellipse_is_that_of_its_major_axis():
    profile = Sersic1D(amplitude=1, r_eff=8, n=1)
    shape = {'elongation': 2.0, 'orientation': 0.7}
    radius = petrosian_radius(draw(profile, **shape), CENTRE, **shape)
    assert radius == pytest.approx(true_petrosian_radius(profile), rel=0.01)


def test_galaxy_without_end_has_no_petrosian_radius():
    assert np.isnan(petrosian_radius(np.ones((32, 32)), (16, 16)))


def test_concentration_of_a_sersic_profile(sersic):
    radius = true_petrosian_radius(sersic)
    total = true_light(sersic, 1.5 * radius)
    r20, r80 = (
        brentq(lambda r, part=part: true_light(sersic, r) - part * total, 0.01, 60)
        for part in (0.2, 0.8)
    )
    found = concentration(draw(sersic, oversampling=9), CENTRE, radius)
    assert found == pytest.approx(5 * np.log10(r80 / r20), abs=0.05)


def test_concentration_without_light_is_nan():
    assert np.isnan(concentration(np.zeros((21, 21)), (10, 10), 4))


@pytest.mark.parametrize('offset', [(0, 0), (0.5, -0.5), (1, 2)])
def test_symmetric_galaxy_has_no_asymmetry_wherever_it_is(offset):
    y, x = offset
    image = gaussian(64, sigma=5, axis_ratio=0.5, angle=0.6, x=x, y=y)
    found, centre = asymmetry(image, (31.5, 31.5), 12)
    assert found == pytest.approx(0, abs=0.005)
    np.testing.assert_allclose(centre, [31.5 + x, 31.5 + y], atol=0.05)


def test_asymmetry_of_light_on_one_side():
    # The spots meet nothing: each adds its light to the sum of differences, and once more where
    # it is turned to.
    image = gaussian(65, sigma=4)
    image[32, 42] += 0.2 * image.sum()
    spot = 0.2 / 1.2
    found, centre = asymmetry(image, (32, 32), 16)
    np.testing.assert_allclose(centre, 32, atol=0.3)
    assert found == pytest.approx(2 * spot, rel=0.15)


def test_noise_is_subtracted_from_the_asymmetry():
    random = np.random.default_rng(0)
    image = gaussian(128, sigma=6) + random.normal(scale=0.05, size=(128, 128))
    y, x = np.indices(image.shape) - 63.5
    sky = np.where(np.hypot(x, y) > 35, image, np.nan)
    with_noise, _ = asymmetry(image, (63.5, 63.5), 14)
    without, _ = asymmetry(image, (63.5, 63.5), 14, sky=sky)
    assert with_noise > 0.2
    assert abs(without) < 0.06


def test_hidden_pixels_do_not_count_as_asymmetry():
    image = gaussian(64, sigma=5)
    image[20:28, 36:44] = np.nan
    assert asymmetry(image, (31.5, 31.5), 12)[0] == pytest.approx(0, abs=0.01)


def test_centre_of_symmetry_stays_near_its_start():
    # The brightest point by far is a knot at the galaxy's edge.
    image = gaussian(65, sigma=6)
    image[32, 50] = 500
    _, centre = asymmetry(image, (32, 32), 20)
    assert np.hypot(*(centre - 32)) <= 0.25 * 20 or np.hypot(*(centre - (50, 32))) <= 0.25 * 20


def test_centre_of_symmetry_is_nan_where_there_is_none():
    # The farther up the slope, the less is what two sides differ by beside the light.
    slope = 200 + np.arange(129) + np.zeros((129, 1))
    found, centre = asymmetry(slope, (64, 64), 8)
    assert np.isnan(centre).all()
    # About the start: the mean of 2 |x| in a circle of 12 pixels, over the light at its centre.
    assert found == pytest.approx(2 * 12 * 4 / (3 * np.pi) / 264, rel=0.01)


def test_smoothness_of_uniform_light_with_clumps():
    image = np.ones((SIZE, SIZE))
    assert smoothness(image, CENTRE, 24) == pytest.approx(0, abs=1e-6)
    # In each box of 6 pixels a clump as bright as two others: it exceeds the mean by 35 / 36.
    image[::6, ::6] = 2
    assert smoothness(image, CENTRE, 24) == pytest.approx(35 / 36 / 37, rel=0.02)


def test_noise_is_subtracted_from_the_smoothness():
    noise = np.random.default_rng(0).normal(scale=0.05, size=(128, 128))
    image = gaussian(128, sigma=8) + noise
    without = smoothness(image, (63.5, 63.5), 20, sky=noise)
    assert smoothness(image, (63.5, 63.5), 20) > 0.15
    assert abs(without) < 0.05


def test_small_galaxy_has_no_smoothness():
    assert np.isnan(smoothness(gaussian(32, sigma=2), (15.5, 15.5), 7.9))


def test_galaxy_region_ends_at_the_petrosian_radius_and_is_one_piece():
    profile = Sersic1D(amplitude=1, r_eff=7, n=1)
    radius = true_petrosian_radius(profile)
    image = draw(profile)
    image[44, 50] = np.nan
    image[85:93, 85:93] += 0.9
    region = galaxy_region(image, CENTRE, radius)
    y, x = np.indices(image.shape) - 48
    assert not region[np.hypot(x, y) > 1.2 * radius].any()
    assert region[(np.hypot(x, y) < 0.9 * radius) & np.isfinite(image)].all()


def test_m20_of_equal_pixels_does_not_depend_on_their_order():
    # Integer counts: two of the three brightest pixels would be enough.
    image = np.random.default_rng(0).integers(1, 4, size=(9, 9)).astype(float)
    image.flat[[3, 42, 70]] = 12
    region = np.ones(image.shape, bool)
    assert m20(image[::-1], region) == pytest.approx(m20(image, region), abs=1e-12)
    assert m20(image.T, region) == pytest.approx(m20(image, region), abs=1e-12)
    assert m20(np.ones((10, 10)), np.ones((10, 10), bool)) == 0


def test_m20_of_a_gaussian():
    # A fifth of the light is inside r with exp(-t) = 0.8, t = r^2 / 2 sigma^2.
    t = -np.log(0.8)
    expected = np.log10(1 - (1 + t) * np.exp(-t))
    image = gaussian(129, sigma=12, x=0.3, y=0.1)
    assert m20(image, image > 0) == pytest.approx(expected, abs=0.01)


def test_m20_of_two_knots_far_out():
    y, x = np.indices((41, 41)) - 20
    image = (np.hypot(x, y) <= 15).astype(float)
    image[20, [10, 30]] += 100
    moments = image * (x**2 + y**2)
    expected = np.log10(moments[20, [10, 30]].sum() / moments.sum())
    assert m20(image, image > 0) == pytest.approx(expected)


def test_m20_without_light_is_nan():
    assert np.isnan(m20(np.zeros((5, 5)), np.ones((5, 5), bool)))


def test_inputs_stay_as_they_are():
    image = gaussian(64, sigma=5)
    image[3, 4] = np.nan
    sky = np.where(image < 1e-3, image, np.nan)
    before = image.copy(), sky.copy()
    light_inside(image, (31, 31), 5)
    petrosian_radius(image, (31, 31))
    concentration(image, (31, 31), 8)
    asymmetry(image, (31, 31), 8, sky=sky)
    smoothness(image, (31, 31), 8, sky=sky)
    m20(image, galaxy_region(image, (31, 31), 8))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(sky, before[1])
