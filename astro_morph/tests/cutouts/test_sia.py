# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `SiaImages` with the real pyvo client and a server on loopback."""

import pickle
from collections import Counter
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_morph import conf, decode_flags, surveys
from astro_morph.cutouts import SiaImages
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Server, faults
from astro_morph.simulation.services.rendering import render
from astro_morph.simulation.services.sia import HANDLERS, LINKED_COLLECTION, TILE
from astro_morph.tests.helpers import at_corners, cut_from_sky

# Where the server speaks version 1, whose images come as a whole, and version 2, where it cuts.
VERSIONS = {1: '/sia1', 2: '/SIA'}

both_versions = pytest.mark.parametrize('version', VERSIONS)


@pytest.fixture(scope='module')
def sky():
    """A sky two tiles wide and two high."""
    return SimulatedSurvey(n_galaxies=16)


@pytest.fixture
def server(sky):
    with Server(sky, HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


def make_source(server, version=2, *, collection='simulated', cache=False, **options):
    address = server.url + VERSIONS[version]
    survey = replace(surveys.get('sdss'), ids={'sia': (address, collection)})
    return SiaImages(survey, cache=cache, **{'bands': 'gr'} | options)


def counts(server):
    """Count the requests of each kind."""
    kinds = Counter()
    for request in server.requests:
        is_capability = request.path.endswith('capabilities')
        is_list = request.path in VERSIONS.values()
        kinds['capabilities' if is_capability else 'lists' if is_list else 'images'] += 1
    return kinds


@both_versions
def test_pixels_and_bands(sky, server, version):
    pixels = [(100, 90), (250, 130), (201, 300)]
    cutouts = make_source(server, version, bands='ig').fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('i', 'g')
    assert cutouts.kind == 'flux'
    assert cutouts.pixel_scale == sky.pixel_scale
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        np.testing.assert_allclose(image, cut_from_sky(sky, x, y, 32)[[2, 0]], rtol=1e-4)


@both_versions
def test_grid_is_north_up_at_the_scale_asked_for(sky, server, version):
    coord = SkyCoord(sky.catalogue['ra'][4], sky.catalogue['dec'][4], unit='deg')
    source = make_source(server, version, bands='r', pixel_scale=0.6 * u.arcsec)
    cutouts = source.fetch(SkyCoord([coord]), size=24)
    wcs = sky.wcs.deepcopy()
    wcs.wcs.crval = coord.ra.deg, coord.dec.deg
    wcs.wcs.cdelt = np.array([-0.6, 0.6]) / 3600
    wcs.wcs.crpix = 12.5, 12.5
    expected = render(sky, wcs, (24, 24), 'r') * (0.6 / 0.396) ** 2
    assert np.abs(cutouts.images[0, 0] - expected).max() < 0.02 * expected.max()


@both_versions
def test_cutouts_are_joined_from_tiles(sky, server, version):
    """A cutout across tiles needs several of them, and no more are fetched."""
    x, side = TILE - 32, 100
    cutouts = make_source(server, version, bands='r').fetch(at_corners(sky, (x, 90)), size=side)
    assert not cutouts.flags.any()
    np.testing.assert_allclose(cutouts.images[0], cut_from_sky(sky, x, 90, side)[[1]], rtol=1e-4)
    assert counts(server)['images'] == 2


@both_versions
def test_all_bands_share_the_list_of_images(sky, server, version):
    assert make_source(server, version).fetch(at_corners(sky, (100, 90))).is_ok.all()
    assert counts(server)['lists'] == 1
    assert counts(server)['images'] == 2


def test_images_are_cut_on_the_server_where_it_can(sky, server):
    make_source(server, 2, bands='r').fetch(at_corners(sky, (100, 90)), size=32)
    size = float(server.requests[-1].params['size'])
    assert size * 3600 == pytest.approx(48 * 0.396)


def test_whole_images_are_fetched_once(sky, server):
    """All sources on a tile share the download, also those of a later call."""
    pixels = [(x, y) for x in (60, 110, 160) for y in (50, 100)]
    source = make_source(server, 1, bands='r')
    for part in pixels[:4], pixels[4:]:
        assert source.fetch(at_corners(sky, *part), size=16).is_ok.all()
    assert counts(server)['images'] == 1
    # They do not travel with the source.
    copy = pickle.loads(pickle.dumps(source))
    assert copy.fetch(at_corners(sky, (60, 50)), size=16).is_ok.all()
    assert counts(server)['images'] == 2


def test_links_to_images_are_followed(sky, server):
    source = make_source(server, collection=LINKED_COLLECTION, bands='r')
    cutouts = source.fetch(at_corners(sky, (100, 90)), size=32)
    np.testing.assert_allclose(cutouts.images[0], cut_from_sky(sky, 100, 90, 32)[[1]], rtol=1e-4)
    paths = [request.path for request in server.requests]
    assert paths[-2:] == ['/links/r/tile-0-0.fits', '/images/r/tile-0-0.fits']


@both_versions
def test_no_coverage_is_remembered(sky, server, version, tmp_path):
    coords = SkyCoord([*at_corners(sky, (100, 90)), SkyCoord(10, 50, unit='deg')])
    for _ in range(2):
        source = make_source(server, version, cache=tmp_path / 'cutouts.sqlite')
        assert source.fetch(coords).status.tolist() == ['ok', 'no_coverage']
        assert counts(server)['lists'] == 2


def test_a_band_without_image_is_flagged(sky, server):
    cutouts = make_source(server, bands='rz').fetch(at_corners(sky, (100, 90)))
    assert cutouts.is_ok.all()
    assert np.isnan(cutouts.images[0, 1]).all()
    assert decode_flags(cutouts.flags[0]) == ['missing_band']


def fail_at(part, fault):
    """Return a function that lets requests fail whose path has this ending."""
    return lambda request: fault if request.path.endswith(part) else None


@both_versions
@pytest.mark.parametrize('part', ['capabilities', 'sia1', 'SIA', '.fits'])
@pytest.mark.parametrize(
    ('fault', 'status'), [(faults.status(503), 'http_503'), (faults.reset(), 'connection')]
)
def test_faults_of_the_network(sky, server, version, part, fault, status):
    """They do not count as version 1, or as no coverage, at any step."""
    server.faults = fail_at(part, fault)
    source = make_source(server, version)
    cutouts = source.fetch(at_corners(sky, (100, 90)))
    is_hit = part in ('capabilities', '.fits', VERSIONS[version].strip('/'))
    assert cutouts.status.tolist() == [status if is_hit else 'ok']
    server.faults = None
    assert source.fetch(at_corners(sky, (100, 90))).is_ok.all()


@pytest.mark.parametrize(
    ('part', 'fault', 'status'),
    [
        ('SIA', faults.status(400), 'http_400'),
        ('SIA', faults.html(), 'not_an_image'),
        ('.fits', faults.status(404), 'http_404'),
        ('.fits', faults.html(), 'not_an_image'),
        ('.fits', faults.truncated(), 'truncated'),
    ],
)
def test_other_faults(sky, server, part, fault, status):
    server.faults = fail_at(part, fault)
    cutouts = make_source(server).fetch(at_corners(sky, (100, 90)))
    assert cutouts.status.tolist() == [status]


def test_an_image_that_the_server_refuses_to_cut_is_left_out(sky, server):
    server.faults = fail_at('tile-0-192.fits', faults.status(400))
    cutouts = make_source(server, bands='r').fetch(at_corners(sky, (TILE - 40, 90)), size=64)
    assert cutouts.is_ok.all()


def test_no_part_of_a_cutout_is_kept_where_the_rest_may_come_later(sky, server):
    """A cutout across tiles fails if any of them fails."""
    server.faults = fail_at('tile-0-0.fits', faults.status(503))
    source = make_source(server, bands='r')
    cutouts = source.fetch(at_corners(sky, (TILE - 32, 90)), size=100)
    assert cutouts.status.tolist() == ['http_503']


@pytest.mark.parametrize(
    ('survey', 'options', 'message'),
    [('allwise', {'bands': 'rgb'}, 'no colour pictures'), ('candels', {}, "no 'sia' in its ids")],
)
def test_what_it_can_not_do(survey, options, message):
    with pytest.raises(ValueError, match=message):
        SiaImages(survey, **options)


@pytest.mark.remote_data
def test_live_version_2():
    """AllWISE at the position of a bright galaxy, NGC 628, and its noise."""
    cutouts = SiaImages('allwise', bands=['W1', 'W2'], cache=False).fetch(
        SkyCoord([24.174] * u.deg, [15.7836] * u.deg), size=64
    )
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    w1 = cutouts.images[0, 0]
    assert w1[28:36, 28:36].mean() > np.median(w1) + 5 * np.std(w1[:8])


@pytest.mark.remote_data
def test_live_version_1():
    """2MASS, whose images are downloaded whole, at the same galaxy."""
    address = 'https://irsa.ipac.caltech.edu/cgi-bin/2MASS/IM/nph-im_sia?type=at&ds=asky&'
    survey = replace(surveys.get('2mass'), ids={'sia': (address, None)})
    cutouts = SiaImages(survey, bands=['J'], cache=False).fetch(
        SkyCoord([24.174] * u.deg, [15.7836] * u.deg), size=64
    )
    assert cutouts.is_ok.all()
    image = cutouts.images[0, 0]
    assert np.nanmean(image[28:36, 28:36]) > np.nanmedian(image) + 3 * np.nanstd(image[:8])
