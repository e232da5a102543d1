# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of network faults: a failed row gets a status, the others their images."""

import numpy as np
import pytest
from astropy.table import QTable

from astro_morph import conf, decode_flags
from astro_morph.cutouts import Hips2Fits, OutageError
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import serve
from astro_morph.simulation.services import faults
from astro_morph.tests.skies import coords_at, ramp_sky

PATH = '/hips-image-services/hips2fits'
TRIES = 4

# Too far apart to share a field; requests for the second row fail.
X = Y = np.array([200.0, 650.0, 1100.0])


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    http._host.cache_clear()
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with (
        conf.set_temp('requests_per_second', 1000.0),
        conf.set_temp('timeout', 0.4),
        conf.set_temp('tries', TRIES),
    ):
        yield


@pytest.fixture(scope='module')
def sky():
    return ramp_sky()


@pytest.fixture
def coords(sky):
    return coords_at(sky, X, Y)


def is_second(request, coords):
    return abs(float(request.params['dec']) - coords[1].dec.deg) < 1e-6


def fetch_with(fault, sky, coords, *, n_times=None, bands='r', band='r'):
    """Fetch while requests for one row and band fail; return the cutouts and all requests."""
    bad = []

    def find_fault(request):
        if not is_second(request, coords) or not request.params['hips'].endswith(f'/{band}'):
            return None
        bad.append(request)
        return fault if n_times is None or len(bad) <= n_times else None

    with serve(sky, faults=find_fault) as server:
        source = Hips2Fits('sdss-dr9', bands=bands, server=server.url + PATH, cache=False)
        return source.fetch(coords, size=16), list(server.requests)


def assert_images(cutouts, rows):
    np.testing.assert_allclose(cutouts.images[rows].mean(axis=(1, 2, 3)), Y[rows], atol=0.01)


TABLE = {
    '503': (faults.status(503), 'http_503', TRIES),
    '500': (faults.status(500), 'http_500', TRIES),
    '429': (faults.status(429), 'http_429', TRIES),
    '400 with JSON': (faults.status(400, {'title': 'Bad Request'}), 'http_400', 1),
    '404': (faults.status(404), 'http_404', 1),
    'HTML with 200': (faults.html(), 'not_an_image', 1),
    'truncated FITS': (faults.truncated(0.7), 'truncated', 1),
    'truncated header': (faults.truncated(0.1), 'truncated', 1),
    'broken connection': (faults.broken(), 'connection', TRIES),
    'all NaN': (faults.all_nan(), 'no_coverage', 1),
    'slow': (faults.slow(0.8), 'timeout', TRIES),
    'reset': (faults.reset(), 'connection', TRIES),
}


@pytest.mark.parametrize('name', TABLE)
def test_a_fault_is_the_status_of_its_row(name, sky, coords):
    fault, status, n_requests = TABLE[name]
    cutouts, requests = fetch_with(fault, sky, coords)
    assert list(cutouts.status) == ['ok', status, 'ok']
    assert np.isnan(cutouts.images[1]).all()
    assert_images(cutouts, [0, 2])
    assert sum(is_second(request, coords) for request in requests) == n_requests
    assert len(requests) == n_requests + 2


@pytest.mark.parametrize('name', [name for name in TABLE if TABLE[name][2] == TRIES])
def test_a_fault_that_passes_costs_one_more_request(name, sky, coords):
    cutouts, requests = fetch_with(TABLE[name][0], sky, coords, n_times=1)
    assert cutouts.is_ok.all()
    assert_images(cutouts, [0, 1, 2])
    assert len(requests) == 4


def test_429_with_a_time_to_come_back(sky, coords):
    fault = faults.status(429, Retry_After=1)
    with conf.set_temp('requests_at_once', 1):
        cutouts, requests = fetch_with(fault, sky, coords, n_times=1)
    assert cutouts.is_ok.all()
    assert_images(cutouts, [0, 1, 2])
    assert len(requests) == 4
    refused = next(request for request in requests if request.status == 429)
    later = [request.started for request in requests if request.started > refused.ended]
    assert min(later) - refused.started > 0.99


def test_one_band_is_missing(sky, coords):
    fault = faults.status(400, {'title': 'Bad Request', 'description': 'no such HiPS'})
    cutouts, requests = fetch_with(fault, sky, coords, bands='gr', band='g')
    assert cutouts.is_ok.all()
    assert decode_flags(cutouts.flags) == [[], ['missing_band'], []]
    assert np.isnan(cutouts.images[1, 0]).all()
    assert cutouts.images[1, 1].mean() == pytest.approx(Y[1], abs=0.01)
    assert len(requests) == 6


def test_a_host_without_address(coords):
    source = Hips2Fits('sdss-dr9', bands='r', server=f'http://nowhere.invalid{PATH}', cache=False)
    assert list(source.fetch(coords, size=16).status) == ['connection'] * 3


def test_a_service_that_is_down_is_an_outage(sky, tmp_path):
    # Rows of different scales do not share a field.
    table = QTable({'width': np.linspace(6, 9, 40)})
    table['coord'] = coords_at(sky, np.full(40, 700.0), np.full(40, 700.0))
    with serve(sky, faults=lambda request: faults.status(503)) as server:
        source = Hips2Fits(
            'sdss-dr9', bands='gr', server=server.url + PATH, cache=tmp_path / 'c.sqlite'
        )
        with (
            conf.set_temp('tries', 1),
            conf.set_temp('requests_at_once', 1),
            pytest.raises(OutageError, match='http_503') as info,
        ):
            source.fetch(table, size=(16, 'width'))
        assert 20 <= len(server.requests) <= 24
        assert not info.value.cutouts.is_ok.any()
        server.faults = None
        assert source.fetch(table, size=(16, 'width')).is_ok.all()
