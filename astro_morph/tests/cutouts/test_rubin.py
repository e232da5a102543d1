# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `RubinCutouts` with the real pyvo client and a server on loopback that needs a token."""

import os
from collections import Counter
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_morph import conf, decode_flags, surveys
from astro_morph.cutouts import RubinCutouts
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Server, faults
from astro_morph.simulation.services.accounts import rubin
from astro_morph.simulation.services.rendering import true_planes
from astro_morph.simulation.services.sia import TILE
from astro_morph.tests.helpers import at_corners, cut_from_sky

# The steps to a cutout, and how the path of each request ends.
STEPS = {'list': 'query', 'links': 'links', 'cutout': 'sync', 'file': '.fits'}


@pytest.fixture(scope='module')
def sky():
    """A sky two patches wide and two high."""
    return SimulatedSurvey(n_galaxies=16)


@pytest.fixture
def server(sky):
    with Server(sky, rubin.HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.delenv('RSP_TOKEN', raising=False)
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


def make_source(sky, server, *, token=rubin.TOKEN, cache=False, **options):
    """Make a source whose cutouts have the pixels of the sky."""
    survey = replace(surveys.get('rubin-dp1'), pixel_scale=sky.pixel_scale)
    address = f'{server.url}/api/sia/dp1/query'
    options = {'bands': 'gr', 'server': address, 'token': token, 'cache': cache} | options
    return RubinCutouts(survey, **options)


def counts(server):
    """Count the requests of each step."""
    ends = {end: step for step, end in STEPS.items()}
    return Counter(
        next(step for end, step in ends.items() if request.path.endswith(end))
        for request in server.requests
    )


def test_pixels_bands_and_units(sky, server):
    pixels = [(100, 90), (250, 130), (201, 300)]
    source = make_source(sky, server, bands='ig')
    cutouts = source.fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('i', 'g')
    assert cutouts.kind == 'flux'
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    assert cutouts.variance is cutouts.mask is None
    np.testing.assert_allclose(cutouts.zero_point, 31.4, atol=0.01)
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        expected = cut_from_sky(sky, x, y, 32)[[2, 0]] * rubin.NANOMAGGY
        np.testing.assert_allclose(image, expected, rtol=1e-3, atol=0.02)


def test_variance_and_mask(sky, server):
    """Saturated pixels are masked; those of detected sources are not."""
    x, y, side = 100, 90, 32
    cutouts = make_source(sky, server, planes=True).fetch(at_corners(sky, (x, y)), size=side)
    part = np.s_[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2]
    for band, variance, mask in zip('gr', cutouts.variance[0], cutouts.mask[0], strict=True):
        true_variance, is_bad = (plane[part] for plane in true_planes(sky, band))
        np.testing.assert_array_equal(mask, is_bad)
        is_good = ~is_bad
        np.testing.assert_allclose(
            variance[is_good], true_variance[is_good] * rubin.NANOMAGGY**2, rtol=1e-3
        )
    assert decode_flags(cutouts.flags[0]) == ['missing_pixels']


def test_wcs(sky, server):
    """The grid is north up, at the scale that is asked for, around the source."""
    coord = SkyCoord([sky.catalogue['ra'][4]], [sky.catalogue['dec'][4]], unit='deg')
    source = make_source(sky, server, bands='r', pixel_scale=0.6 * u.arcsec)
    cutouts = source.fetch(coord, size=25)
    wcs = cutouts.wcs(0)
    assert wcs.pixel_to_world(12, 12).separation(coord[0]) < 0.001 * u.arcsec
    y, x = np.unravel_index(np.nanargmax(cutouts.images[0, 0]), (25, 25))
    assert abs(x - 12) <= 1
    assert abs(y - 12) <= 1


def test_cutouts_are_joined_from_patches(sky, server):
    x, side = TILE - 32, 100
    cutouts = make_source(sky, server, bands='r').fetch(at_corners(sky, (x, 90)), size=side)
    assert not cutouts.flags.any()
    expected = cut_from_sky(sky, x, 90, side)[[1]] * rubin.NANOMAGGY
    np.testing.assert_allclose(cutouts.images[0], expected, rtol=1e-3, atol=0.02)
    assert counts(server) == {'list': 1, 'links': 2, 'cutout': 2, 'file': 2}


def test_lists_and_links_are_shared(sky, server):
    """One list a place and one of links an image; each cutout comes from its own redirection."""
    source = make_source(sky, server)
    assert source.fetch(at_corners(sky, (60, 60), (120, 60)), size=16).is_ok.all()
    assert source.fetch(at_corners(sky, (60, 120)), size=16).is_ok.all()
    n = counts(server)
    assert n['links'] == 2  # those of two bands
    assert n['list'] == n['cutout'] / 2


def test_only_images_of_the_kind_are_used(sky, server):
    survey = replace(
        surveys.get('rubin-dp1'), ids={'rubin': (f'{server.url}/api/sia/dp1/query', 'lsst.raw')}
    )
    source = RubinCutouts(survey, bands='r', token=rubin.TOKEN, cache=False)
    cutouts = source.fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.status.tolist() == ['no_coverage']
    assert server.requests[0].params['DPSUBTYPE'] == 'lsst.raw'


def test_the_list_may_have_other_kinds(sky, server, monkeypatch):
    """Of a server that does not know the parameter."""
    monkeypatch.setattr(server, 'handlers', dict(server.handlers))
    server.handlers['/api/sia/dp1/query'] = lambda sky, request: rubin.list_images(
        sky, replace(request, lists={'POS': request.lists['POS']})
    )
    source = make_source(sky, server, bands='r')
    assert source.fetch(at_corners(sky, (100, 90)), size=16).is_ok.all()
    assert counts(server)['cutout'] == 1


def test_links_that_expire_are_asked_for_again(sky, server, monkeypatch):
    source = make_source(sky, server, bands='r')
    place = at_corners(sky, (100, 90))
    assert source.fetch(place, size=16).is_ok.all()
    now = rubin.clock()
    monkeypatch.setattr(rubin, 'clock', lambda: now + 2 * rubin.LIFETIME)
    assert source.fetch(place, size=16).is_ok.all()
    assert counts(server)['links'] == 2
    assert [request.status for request in server.requests if 'sync' in request.path] == [
        303,
        403,
        303,
    ]


def test_links_that_are_dead_on_arrival_are_a_status(sky, server, monkeypatch):
    """They are not asked for without end."""
    monkeypatch.setattr(rubin, 'LIFETIME', -1.0)
    cutouts = make_source(sky, server, bands='r').fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.status.tolist() == ['http_403']
    assert counts(server) == {'list': 1, 'links': 1, 'cutout': 1}


def test_no_coverage_is_remembered(sky, server, tmp_path):
    coords = SkyCoord([*at_corners(sky, (100, 90)), SkyCoord(10, 50, unit='deg')])
    for _ in range(2):
        source = make_source(sky, server, bands='r', cache=tmp_path / 'cutouts.sqlite')
        assert source.fetch(coords, size=16).status.tolist() == ['ok', 'no_coverage']
    assert counts(server)['list'] == 2


def test_a_band_without_image_is_flagged(sky, server):
    cutouts = make_source(sky, server, bands='ry').fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.is_ok.all()
    assert decode_flags(cutouts.flags[0]) == ['missing_band']


def fail_at(step, fault):
    """Return a function that lets a step fail."""
    return lambda request: fault if request.path.endswith(STEPS[step]) else None


SLOW = faults.status(400, 'Error Cutout did not complete in 60s')
NO_OVERLAP = faults.status(400, 'UsageError No intersection between cutout and image')


@pytest.mark.parametrize(
    ('step', 'fault', 'status'),
    [
        *[(step, faults.status(503), 'http_503') for step in STEPS],
        *[(step, faults.reset(), 'connection') for step in STEPS],
        *[(step, faults.status(401), 'http_401') for step in STEPS],
        *[(step, faults.html(), 'not_an_image') for step in STEPS],
        ('list', faults.status(400), 'http_400'),
        ('links', faults.status(404), 'http_404'),
        ('cutout', faults.status(403), 'http_403'),
        ('cutout', faults.status(422), 'http_422'),
        ('cutout', SLOW, 'timeout'),
        ('cutout', NO_OVERLAP, 'no_coverage'),
        ('file', faults.truncated(), 'truncated'),
        ('file', faults.all_nan(), 'no_coverage'),
    ],
)
def test_faults(sky, server, step, fault, status):
    """Each is the status of the row, whichever step has it, and of no later call."""
    server.faults = fail_at(step, fault)
    source = make_source(sky, server, bands='r')
    place = at_corners(sky, (100, 90))
    assert source.fetch(place, size=16).status.tolist() == [status]
    server.faults = None
    assert source.fetch(place, size=16).is_ok.all()


def test_no_part_of_a_cutout_is_kept_where_the_rest_may_come_later(sky, server):
    """A cutout across patches fails if a link to any of them does."""
    server.faults = lambda request: (
        faults.status(403) if 'tile-0-0' in request.params.get('ID', '') else None
    )
    source = make_source(sky, server, bands='r')
    cutouts = source.fetch(at_corners(sky, (TILE - 32, 90)), size=100)
    assert cutouts.status.tolist() == ['http_403']


def test_what_it_can_not_do():
    with pytest.raises(ValueError, match='no colour pictures'):
        RubinCutouts(bands='rgb')
    with pytest.raises(ValueError, match="no 'rubin' in its ids"):
        RubinCutouts('sdss')
    with pytest.raises(ValueError, match=r"has no \['x'\]"):
        RubinCutouts(bands='gx')


@pytest.mark.remote_data
@pytest.mark.skipif('RSP_TOKEN' not in os.environ, reason='needs a token in RSP_TOKEN')
def test_live():
    """A place in the Extended Chandra Deep Field South, with noise near that of its variance."""
    token = os.environ['RSP_TOKEN']
    source = RubinCutouts('rubin-dp1', bands='gri', token=token, cache=False, planes=True)
    cutouts = source.fetch(SkyCoord([53.13] * u.deg, [-28.1] * u.deg), size=64)
    assert cutouts.is_ok.all()
    np.testing.assert_allclose(cutouts.zero_point, 31.4, atol=0.01)
    image, variance = cutouts.images[0, 1], cutouts.variance[0, 1]
    noise = 1.4826 * np.nanmedian(np.abs(image - np.nanmedian(image)))
    assert 0.3 < noise / np.sqrt(np.nanmedian(variance)) < 3
