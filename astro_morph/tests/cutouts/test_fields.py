# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of fields: sources that share an image, and their places in it."""

import numpy as np
import pytest
from astropy.wcs import WCS

from astro_morph.cutouts.services import fields
from astro_morph.cutouts.services.fields import Places, share_fields

SIDE = 64
SCALE = 0.4


def make_places(ra, dec, *, scale=SCALE):
    ra, dec = np.broadcast_arrays(np.asarray(ra, float), dec)
    return Places(np.arange(len(ra)) + 100, ra, dec, np.broadcast_to(scale, ra.shape), SIDE)


def scatter(n, *, ra, dec, width, seed=0):
    """Scatter places over a square of some width in degrees."""
    rng = np.random.default_rng(seed)
    dec = dec + rng.uniform(-0.5, 0.5, n) * width
    return make_places(
        (ra + rng.uniform(-0.5, 0.5, n) * width / np.cos(np.radians(dec))) % 360, dec
    )


SKIES = {
    'sparse': scatter(300, ra=150, dec=0, width=40),
    'crowded': scatter(300, ra=150, dec=30, width=0.3),
    'one field': scatter(40, ra=150, dec=-60, width=0.05),
    'across the origin': scatter(100, ra=0, dec=5, width=0.1),
    'near the pole': scatter(100, ra=20, dec=79, width=0.3),
    'at the pole': scatter(100, ra=20, dec=89.9, width=0.1),
    'all in one place': make_places(np.full(30, 10.0), -5),
    'on a grid': make_places(np.tile(np.arange(20) / 50, 20), np.repeat(np.arange(20) / 50, 20)),
}


@pytest.fixture(params=SKIES)
def places(request):
    return SKIES[request.param]


def test_each_row_is_in_one_field_of_each_band(places):
    requests = share_fields(places, 'gr')
    for band in 'gr':
        rows = np.concatenate([request.rows for request in requests if request.band == band])
        np.testing.assert_array_equal(np.sort(rows), places.rows)


def test_sources_lie_where_the_offsets_say(places):
    for request in share_fields(places, 'g'):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
        wcs.wcs.crval = request.ra, request.dec
        wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
        index = request.rows - 100
        xy = wcs.wcs_world2pix(places.ra[index], places.dec[index], 0)
        np.testing.assert_allclose(request.offsets, np.transpose(xy) + 1, atol=1e-5)


def test_cutouts_lie_inside_their_field(places):
    for request in share_fields(places, 'g', max_side=600):
        room = np.array(request.shape[::-1]) - SIDE
        assert (np.abs(request.offsets) <= room / 2).all()
        if len(request.rows) == 1:
            assert request.shape == (SIDE, SIDE)
        else:
            assert max(request.shape) <= 601


def test_sharing_never_costs_more(places):
    requests = share_fields(places, 'g')
    cost = sum(fields._COST_OF_REQUEST + np.prod(request.shape) for request in requests)
    assert cost <= len(places) * (fields._COST_OF_REQUEST + SIDE**2)


def test_crowded_fields_need_few_requests():
    # A square of 1080 arcsec is 2700 pixels wide: three fields of 1024 pixels along each side.
    assert 9 <= len(share_fields(SKIES['crowded'], 'g')) <= 30
    assert len(share_fields(SKIES['one field'], 'g')) == 1
    assert len(share_fields(SKIES['all in one place'], 'g')) == 1
    assert len(share_fields(SKIES['across the origin'], 'g')) <= 2


def test_sources_far_apart_share_nothing():
    assert len(share_fields(make_places(np.arange(100.0), 0.0), 'g')) == 100


def test_nothing_is_shared_where_north_turns():
    assert len(share_fields(SKIES['at the pole'], 'g')) == 100


def test_scales_share_nothing():
    places = make_places(np.full(10, 20.0), 5.0, scale=np.repeat([0.4, 0.5], 5))
    requests = share_fields(places, 'g')
    assert sorted(request.scale for request in requests) == [0.4, 0.5]
    assert [len(request.rows) for request in requests] == [5, 5]


def test_no_field_is_larger_than_allowed():
    assert len(share_fields(SKIES['one field'], 'g', max_side=0)) == 40


def test_many_places_take_little_time():
    places = scatter(20_000, ra=150, dec=20, width=2)
    requests = share_fields(places, 'g')
    # The square is 18,000 pixels wide.
    assert len(requests) < 3 * (18_000 / 1024) ** 2
