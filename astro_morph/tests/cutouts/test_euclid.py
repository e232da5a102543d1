# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the services of Euclid with their real clients and a server on loopback."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS

from astro_morph import conf, surveys
from astro_morph.cutouts import (
    CutoutSet,
    EsaEuclid,
    EuclidMosaics,
    FetchError,
    FirstOf,
    as_pictures,
    as_source,
)
from astro_morph.cutouts.fetching import http
from astro_morph.cutouts.services.euclid import irsa
from astro_morph.images.euclid_pictures import draw_euclid
from astro_morph.images.remote import stores
from astro_morph.simulation.services import Server, faults
from astro_morph.simulation.services.euclid import HANDLERS, STORE, ZERO_POINTS
from astro_morph.simulation.services.rendering import true_planes
from astro_morph.simulation.services.sia import TILE
from astro_morph.tests.helpers import at_corners, cut_from_sky

EUCLID = surveys.get('euclid-q1')
ESA = EUCLID.ids['esa']

# How the pixels come, and a part of the paths of these requests.
WAYS = {'cut by IRSA': '/ibe/data', 'in ranges': '/euclid-q1/', 'cut by ESA': '/sas-cutout'}

every_way = pytest.mark.parametrize('way', WAYS)


@pytest.fixture(scope='module')
def sky():
    """A sky of noise, two tiles wide and two high, in the four bands."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = 60.1, 0.1
    wcs.wcs.crpix = 200.5, 200.5
    wcs.wcs.cdelt = np.array([-1, 1]) * 0.1 / 3600
    flux = np.random.default_rng(0).normal(size=(4, 400, 400)).astype(np.float32)
    return SimpleNamespace(wcs=wcs, flux=flux, bands=EUCLID.bands, survey=EUCLID)


@pytest.fixture
def server(sky):
    with Server(sky, HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    http._host.cache_clear()
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    monkeypatch.setattr(stores, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


@pytest.fixture
def make_source(server, monkeypatch):
    """Return a function that makes the source of a way."""

    def make(way='cut by IRSA', *, cache=False, **options):
        if way == 'cut by ESA':
            return EsaEuclid(server=server.url, cache=cache, **options)
        if way == 'in ranges':
            pytest.importorskip('aiohttp')
            monkeypatch.setattr(irsa, '_MANY', 1)
        ids = {'sia': (f'{server.url}/euclid/SIA', 'mosaics'), 'cloud': server.url + STORE}
        return EuclidMosaics(replace(EUCLID, ids=ids), cache=cache, **options)

    return make


def true_flux(sky, x, y, side):
    """Return the pixels of all bands around a corner, with the zero points of the survey."""
    return cut_from_sky(sky, x, y, side) * calibration()


def calibration():
    """Return the flux in each band of what has a magnitude of 22.5."""
    factors = 10 ** (0.4 * (EUCLID.zero_point - 22.5))
    return factors[:, np.newaxis, np.newaxis].astype(np.float32)


def paths(server, part=''):
    return [request.path for request in server.requests if part in request.path]


@every_way
def test_pixels_and_bands(sky, server, make_source, way):
    """They are Euclid's own, not those from the ground, and have the zero points of the survey."""
    pixels = [(100, 90), (250, 130), (201, 300)]
    cutouts = make_source(way, bands=['H', 'VIS']).fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('H', 'VIS')
    assert cutouts.kind == 'flux'
    assert cutouts.pixel_scale == 0.1 * u.arcsec
    assert cutouts.variance is cutouts.mask is None
    np.testing.assert_allclose(cutouts.zero_point, EUCLID.zero_point[[3, 0]])
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        np.testing.assert_allclose(image, true_flux(sky, x, y, 32)[[3, 0]], rtol=1e-4, atol=1e-5)
    others = [part for part in WAYS.values() if part != WAYS[way]]
    assert not any(path for part in others for path in paths(server, part))


@pytest.mark.parametrize('way', ['cut by IRSA', 'in ranges'])
def test_variance_and_mask(sky, make_source, way):
    source = make_source(way, bands=['VIS', 'H'], planes=True)
    cutouts = source.fetch(at_corners(sky, (100, 90), (250, 300)), size=32)
    for i, (x, y) in enumerate([(100, 90), (250, 300)]):
        part = np.s_[y - 16 : y + 16, x - 16 : x + 16]
        for j, band in enumerate(('VIS', 'H')):
            variance, is_bad = true_planes(sky, band)
            in_unit = variance * calibration()[EUCLID.bands.index(band)] ** 2
            np.testing.assert_allclose(cutouts.variance[i, j], in_unit[part], rtol=1e-4)
            # The bit that says nothing of validity is ignored.
            np.testing.assert_array_equal(cutouts.mask[i, j], is_bad[part])
    assert cutouts.is_ok.all()


@every_way
def test_pictures_have_the_stretch_of_the_release(sky, make_source, way):
    cutouts = make_source(way, bands='rgb').fetch(at_corners(sky, (100, 90)), size=32)
    assert cutouts.kind == 'picture'
    flux = true_flux(sky, 100, 90, 32)
    # A number may be rounded the other way.
    np.testing.assert_allclose(cutouts.images, draw_euclid(flux[:1], flux[1:2]), atol=1)


def test_pictures_of_flux_at_hand(sky):
    """Flux in another unit, and in larger pixels, is drawn as the same picture."""
    flux = true_flux(sky, 100, 90, 32)[np.newaxis]
    expected = draw_euclid(flux[:, 0], flux[:, 1])
    assert expected.min() == 0
    assert expected.max() == 255
    # Red, green and blue are Y, the mean of both, and VIS.
    is_grey = np.abs(expected[:, 1] - expected[:, [0, 2]].mean(axis=1)) < 40
    assert is_grey.mean() > 0.5
    names = ['VIS', 'Y', 'J', 'H']
    for images, options in (
        (flux, {}),
        (flux, {'zero_point': EUCLID.zero_point, 'pixel_scale': 0.1 * u.arcsec}),
        (flux * 4, {'zero_point': EUCLID.zero_point, 'pixel_scale': 0.2 * u.arcsec}),
        (flux / calibration(), {'zero_point': 22.5, 'pixel_scale': 0.1 * u.arcsec}),
    ):
        pictures = as_pictures(CutoutSet(images, bands=names, **options))
        np.testing.assert_allclose(pictures.images, expected, atol=1)


def test_missing_pixels_of_pictures():
    flux = np.random.default_rng(0).normal(size=(2, 8, 8))
    flux[0, 3, 4] = np.nan
    flux[1] = np.nan
    pictures = draw_euclid(flux, np.ones_like(flux))
    assert np.isnan(pictures[1]).all()
    assert np.isnan(pictures[0]).sum() == 3
    assert np.isnan(pictures[0, :, 3, 4]).all()


@pytest.mark.parametrize('way', ['cut by IRSA', 'in ranges', 'cut by ESA'])
def test_cutouts_are_joined_from_tiles(sky, make_source, way):
    x, side = TILE - 32, 100
    cutouts = make_source(way, bands=['Y']).fetch(at_corners(sky, (x, 90)), size=side)
    assert not cutouts.flags.any()
    np.testing.assert_allclose(
        cutouts.images[0], true_flux(sky, x, 90, side)[[1]], rtol=1e-4, atol=1e-5
    )


def test_many_sources_are_read_in_ranges(sky, server, make_source):
    """At most twice their pixels, after the headers, with one list for all of them."""
    pytest.importorskip('aiohttp')
    pixels = np.random.default_rng(0).integers(40, 200, (30, 2))
    coords, source = at_corners(sky, *pixels), make_source(bands=['VIS', 'H'])
    cutouts = source.fetch(coords, size=32)
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        np.testing.assert_allclose(image, true_flux(sky, x, y, 32)[[0, 3]], rtol=1e-4, atol=1e-5)
    assert len(paths(server, '/euclid/SIA')) == 2  # and the capabilities
    assert not paths(server, WAYS['cut by IRSA'])
    headers = 2**16  # read at once
    lengths = [length for length in map(length_of, server.requests) if 0 < length < headers]
    assert sum(lengths) <= 2 * cutouts.images.nbytes
    # Without these packages, the cutout service is asked.
    assert len(source._requests(*places_of(source, coords))) == 2


def length_of(request):
    first, _, last = request.headers.get('range', '').partition('-')
    return int(last) + 1 - int(first.removeprefix('bytes=')) if last else 0


def places_of(source, coords):
    _, places = source._start(Table({'ra': coords.ra.deg, 'dec': coords.dec.deg}), 32)
    return places, source._layers


def test_without_the_packages_for_ranges_all_are_cut_by_irsa(sky, make_source, monkeypatch):
    monkeypatch.setattr(irsa, 'find_spec', lambda name: None)
    coords = at_corners(sky, *np.random.default_rng(0).integers(40, 200, (30, 2)))
    source = make_source(bands=['VIS'])
    requests = source._requests(*places_of(source, coords))
    assert not any(isinstance(request, irsa._ManyRequest) for request in requests)
    assert sorted(row for request in requests for row in request.rows) == list(range(30))


def test_both_ways_are_the_same_cutouts(sky, make_source, tmp_path):
    """Between pixels too, at a scale for each row; the cache does not tell them apart."""
    table = Table(rows=np.random.default_rng(1).uniform(60, 300, (8, 2)), names='xy')
    coords = sky.wcs.pixel_to_world(table['x'], table['y'])
    table = Table({'coord': SkyCoord(coords), 'radius': np.linspace(0.5, 0.9, 8)})
    options = {'bands': ['VIS'], 'planes': True}
    few = make_source('cut by IRSA', **options).fetch(table, size=(32, '4 * radius'))
    source = make_source('in ranges', **options, cache=tmp_path / 'cutouts.sqlite')
    many = source.fetch(table, size=(32, '4 * radius'))
    for name in ('images', 'variance', 'mask'):
        np.testing.assert_allclose(getattr(many, name), getattr(few, name), rtol=1e-3, atol=1e-3)
    assert source.plan(table, size=(32, '4 * radius')).n_requests == 0


def test_fluxes_in_the_cache_are_those_of_one_zero_point(sky, make_source, tmp_path):
    ours = make_source(bands=['VIS'], cache=tmp_path / 'cutouts.sqlite')
    other = replace(ours.survey, zero_point=EUCLID.zero_point + 1)
    others = EuclidMosaics(other, bands=['VIS'], cache=ours.cache)
    coords = at_corners(sky, (100, 90))
    fluxes = [source.fetch(coords, size=16).images for source in (ours, others)]
    np.testing.assert_allclose(fluxes[1], fluxes[0] * 10**0.4, rtol=1e-5)


@every_way
def test_no_coverage(sky, make_source, way):
    coords = SkyCoord([*at_corners(sky, (100, 90)), SkyCoord(10, 50, unit='deg')])
    cutouts = make_source(way, bands=['VIS']).fetch(coords, size=16)
    assert cutouts.status.tolist() == ['ok', 'no_coverage']


def test_the_second_service_has_what_the_first_lacks(sky, server, make_source):
    server.faults = lambda request: faults.status(503) if 'SIA' in request.path else None
    first, second = (make_source(way, bands=['VIS']) for way in ('cut by IRSA', 'cut by ESA'))
    cutouts = FirstOf(first, second).fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.is_ok.all()


def test_the_order_has_neighbours_together(make_source):
    dec = np.array([-48.0, 10.0, -48.1, np.nan, 10.1, -48.2])
    order = make_source().order(Table({'ra': np.full(6, 60.0), 'dec': dec})).tolist()
    assert [row for row in order if row != 3] == [5, 2, 0, 1, 4]


@pytest.mark.parametrize(
    ('cloud', 'address'),
    [
        (
            '{"aws": {"bucket_name": "b", "region": "us-west-2", "key": "q1/a.fits"}}',
            'https://b.s3.us-west-2.amazonaws.com/q1/a.fits',
        ),
        (
            '{"aws": {"bucket_name": "b", "key": "a.fits"}}',
            'https://b.s3.us-east-1.amazonaws.com/a.fits',
        ),
        ('{"gcp": {"bucket_name": "b"}}', 'https://irsa/a.fits'),
        ('["aws"]', 'https://irsa/a.fits'),
        ('null', 'https://irsa/a.fits'),
        ('', 'https://irsa/a.fits'),
        ('not JSON', 'https://irsa/a.fits'),
    ],
)
def test_where_a_mosaic_is_read_in_ranges(cloud, address):
    client = irsa._Client('http://127.0.0.1', None, irsa._STORE)
    assert client._find_copy({'cloud': cloud, 'url': 'https://irsa/a.fits'}) == address


@pytest.mark.parametrize(
    ('cloud', 'url'),
    [
        ('', 'file:///home/galaxy.fits'),
        ('', '/home/galaxy.fits'),
        ('', 'https://irsa/a.fits::file:///home/galaxy.fits'),
        ('{"aws": {"bucket_name": "b", "key": "a::file:///home/galaxy.fits"}}', 'https://irsa/a'),
    ],
)
def test_no_file_of_this_machine_is_read(cloud, url):
    client = irsa._Client('http://127.0.0.1', None, irsa._STORE)
    with pytest.raises(FetchError, match='none of a server') as info:
        client._find_copy({'cloud': cloud, 'url': url})
    assert info.value.status == 'not_an_image'


FAULTS = {
    'time-out': (faults.slow(3), 'timeout'),
    'reset': (faults.reset(), 'connection'),
    'broken': (faults.broken(), 'connection'),
    '503': (faults.status(503), 'http_503'),
    '404': (faults.status(404), 'http_404'),
    'a page': (faults.html(), 'not_an_image'),
    'truncated': (faults.truncated(), 'truncated'),
}

# A list of comma-separated values is one also if it ends early.
STEPS = {
    'cut by IRSA': ('/euclid/SIA', '/ibe/data'),
    'in ranges': ('/euclid/SIA', '/euclid-q1/'),
    'cut by ESA': ('/tap-server', '/sas-cutout'),
}


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('step', [0, 1])
@every_way
def test_faults(sky, server, make_source, way, step, fault):
    """Each is a status, passing ones after retries; the next call has the images."""
    answer, status = FAULTS[fault]
    if step == 0 and fault in ('truncated', 'a page'):
        status = 'not_an_image'
    if way == 'in ranges' and step == 1:
        others = {'404': 'not_found'}
        status = others.get(fault, status)
    part = STEPS[way][step]
    server.faults = lambda request: answer if part in request.path else None
    source = make_source(way, bands=['VIS'])
    with conf.set_temp('timeout', 1.0 if fault == 'time-out' else 30.0):
        cutouts = source.fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.status.tolist() == [status]
    assert np.isnan(cutouts.images).all()
    server.faults = None
    assert source.fetch(at_corners(sky, (100, 90)), size=16).is_ok.all()


@pytest.mark.parametrize(
    ('fault', 'status'),
    [
        (faults.drip(0.2), 'timeout'),
        (faults.endless(), 'too_large'),
        (faults.gzip_bomb(10_000_000), 'too_large'),
        (faults.redirect('/euclid-q1/elsewhere'), 'http_302'),
    ],
)
def test_a_store_that_is_hostile(sky, server, make_source, fault, status):
    def answer(request):
        has_pixels = 0 < length_of(request) < 2**16
        return fault if has_pixels and request.path.startswith('/euclid-q1') else None

    server.faults = answer
    source = make_source('in ranges', bands=['VIS'])
    with conf.set_temp('max_answer_time', 1.0 if status == 'timeout' else 300.0):
        cutouts = source.fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.status.tolist() == [status]


@every_way
def test_a_fault_that_passes_is_retried(sky, server, make_source, way):
    """Time-outs of the server too, at any step."""
    fails = set()

    def fail_once(request):
        is_new = request.path not in fails
        fails.add(request.path)
        return faults.status(503) if is_new and request.method != 'HEAD' else None

    server.faults = fail_once
    cutouts = make_source(way, bands=['VIS']).fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.is_ok.all()


def test_pixels_that_end_too_early(sky, server, make_source):
    """The header is right, but what follows is not."""
    server.faults = lambda request: faults.truncated() if 0 < length_of(request) < 2**16 else None
    cutouts = make_source('in ranges', bands=['VIS']).fetch(at_corners(sky, (100, 90)), size=16)
    assert cutouts.status.tolist() == ['truncated']


@every_way
def test_a_source_can_be_sent_to_another_process(sky, make_source, way):
    source = make_source(way, bands=['VIS'])
    coords = at_corners(sky, (100, 90))
    images = source.fetch(coords, size=16).images
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.fetch(coords, size=16).images, images)


def test_the_survey_has_this_service():
    source = as_source('euclid-q1', Table({'ra': [60.0], 'dec': [-48.0]}), bands=['VIS'])
    assert repr(source) == '<EuclidMosaics: euclid-q1 in VIS>'
    assert list(ZERO_POINTS) == list(EUCLID.bands)


@pytest.mark.parametrize('service', [EuclidMosaics, EsaEuclid])
def test_bands_that_euclid_does_not_have_are_refused(service):
    with pytest.raises(ValueError, match=r"bands.*euclid-q1 has no \['g'\], only \['VIS', 'Y'"):
        service(bands=['VIS', 'g'])


# The centre of the Deep Field South.
LIVE = SkyCoord([61.24] * u.deg, [-48.42] * u.deg)


@pytest.mark.remote_data
@pytest.mark.parametrize('service', [EuclidMosaics, EsaEuclid])
def test_live(service):
    cutouts = service(bands=['VIS', 'Y'], cache=False).fetch(LIVE, size=64)
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    assert np.std(cutouts.images) > 0


@pytest.mark.remote_data
def test_live_in_ranges(monkeypatch):
    pytest.importorskip('aiohttp')
    few = EuclidMosaics(bands=['VIS'], cache=False, planes=True).fetch(LIVE, size=64)
    monkeypatch.setattr(irsa, '_MANY', 1)
    many = EuclidMosaics(bands=['VIS'], cache=False, planes=True).fetch(LIVE, size=64)
    for name in ('images', 'variance', 'mask'):
        np.testing.assert_allclose(getattr(many, name), getattr(few, name), rtol=1e-3)
