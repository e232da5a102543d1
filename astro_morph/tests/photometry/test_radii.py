# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The radius of 90 % of the Petrosian flux, on images of which it is known."""

import astropy.units as u
import numpy as np
import pytest

from astro_morph import CutoutSet
from astro_morph.cutouts import as_pictures
from astro_morph.photometry.radii import measure_r90

# Of an exponential disc, in scale lengths: twice the Petrosian radius of 3.63 contains 99.4 % of
# the light, and this radius 90 % of that.
R90 = 3.83

SCALE = 0.4 * u.arcsec


def disc(length, *, side=96, flux=20.0, offset=0):
    y, x = np.ogrid[:side, :side]
    radius = np.hypot(x - side // 2 - offset, y - side // 2)
    return flux * np.exp(-radius / length)


def cutouts_of(*images, **options):
    noise = np.random.default_rng(0).normal(0, 0.05, (len(images), 3, *images[0].shape))
    pixels = np.stack(images)[:, np.newaxis] + noise
    return CutoutSet(pixels, **{'bands': 'gri', 'pixel_scale': SCALE, 'zero_point': 22.5} | options)


@pytest.mark.parametrize('length', [2.5, 4.0])
def test_radius_of_a_disc(length):
    radius = measure_r90(cutouts_of(disc(length)))
    assert radius.unit == u.arcsec
    np.testing.assert_allclose(radius[0] / SCALE, R90 * length, rtol=0.06)


def test_sky_and_a_neighbour_do_not_count():
    image = disc(3.0) + disc(2.5, offset=36) + 7
    np.testing.assert_allclose(measure_r90(cutouts_of(image))[0] / SCALE, R90 * 3, rtol=0.08)


def test_radius_in_a_picture_is_that_in_flux():
    cutouts = cutouts_of(disc(3.0, flux=1.0))
    radius = measure_r90(as_pictures(cutouts))[0] / measure_r90(cutouts)[0]
    assert 0.85 < radius < 1.15


def test_rows_without_one_have_none():
    empty = np.zeros((96, 96))
    cutouts = cutouts_of(disc(3.0), empty, disc(20.0), disc(3.0), status=['ok'] * 3 + ['no_path'])
    assert np.isfinite(measure_r90(cutouts)).tolist() == [True, False, False, False]


def test_no_rows():
    assert measure_r90(cutouts_of(disc(3.0))[:0]).shape == (0,)


def test_each_row_has_its_scale():
    cutouts = cutouts_of(disc(3.0), disc(3.0), pixel_scale=[1, 2] * u.arcsec)
    radii = measure_r90(cutouts)
    np.testing.assert_allclose(radii[1] / radii[0], 2, rtol=0.05)
