# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the drawn galaxies against analytic profiles."""

import numpy as np
import pytest
from scipy.special import gammainc, gammaincinv

from astro_morph.simulation.galaxies import KINDS, Canvas, draw_galaxy


@pytest.mark.parametrize('index', [1, 4, 5.5])
@pytest.mark.parametrize('offset', [(0, 0), (0.5, 0.5), (1 / 9, -0.31)])
def test_sersic_profile_encloses_the_analytic_flux(index, offset):
    half_light = 1.5
    canvas = Canvas(15, 0.4, offset)
    image = canvas.sersic(half_light, index)
    radius, _ = canvas.polar()

    def enclosed(r):
        # Graham & Driver (2005, PASA 22, 118), equation 2.
        return gammainc(2 * index, gammaincinv(2 * index, 0.5) * (r / half_light) ** (1 / index))

    for r in (1.2, 3, 6):
        measured = image[radius < r].sum() / image[radius < 12].sum()
        assert measured == pytest.approx(enclosed(r) / enclosed(12), abs=0.04)


@pytest.mark.parametrize('kind', KINDS)
def test_a_galaxy_does_not_depend_on_the_pixels(kind):
    galaxies = [
        draw_galaxy(kind, rng=np.random.default_rng(2), bands='gr', pixel_scale=scale)
        for scale in (0.4, 0.25)
    ]
    (coarse, *shape), (fine, *fine_shape) = galaxies
    assert shape == fine_shape
    # Random patches of arms depend on the pixels, the total light does not.
    np.testing.assert_allclose(coarse.sum(axis=(1, 2)), fine.sum(axis=(1, 2)), rtol=0.1)


def test_kinds_differ_in_colour():
    def colour(kind):
        fluxes = [
            draw_galaxy(kind, rng=np.random.default_rng(i), bands='gr', pixel_scale=0.4).flux.sum(
                axis=(1, 2)
            )
            for i in range(20)
        ]
        g, r = np.transpose(fluxes)
        return np.median(-2.5 * np.log10(g / r))

    assert colour('spiral') < colour('edge_on') < colour('round')
