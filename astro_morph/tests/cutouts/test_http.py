# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of HTTP requests: limits of each host, retries, and the status of failures."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import numpy as np
import pytest
import requests

from astro_morph import __version__, conf
from astro_morph.cutouts import FetchError
from astro_morph.cutouts.fetching import http
from astro_morph.simulation.services import Answer, Server, faults


def serve(**options):
    """Serve the word hello at any path."""
    sky = SimpleNamespace(flux=None)
    return Server(sky, {'/': lambda sky, request: Answer('hello', 'text/plain')}, **options)


def polite_session(**options):
    session = requests.Session()
    http.be_polite(session, **options)
    return session


class NoWait(threading.Event):
    """An event that is never set, and records the waits."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)


@pytest.fixture(autouse=True)
def _quick_and_alone():
    http._host.cache_clear()
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('timeout', 2.0):
        yield


@pytest.fixture
def session():
    return polite_session(is_over=NoWait())


def codes(server):
    return [request.status for request in server.requests]


def test_user_agent_names_the_package_first(session):
    agent = session.headers['User-Agent']
    assert agent.startswith(f'astro-morph/{__version__} ')
    assert 'python-requests/' in agent


def test_requests_begin_no_faster_than_the_limit():
    with (
        serve() as server,
        conf.set_temp('requests_per_second', 20.0),
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda _: polite_session().get(server.url), range(8)))
        times = np.sort([request.started for request in server.requests])
    assert len(times) == 8
    # Requests travel for some milliseconds, one longer than another.
    assert times[-1] - times[0] > 7 * 0.05 - 0.02
    assert np.diff(times).min() > 0.02


def test_no_more_requests_at_once_than_the_limit():
    with serve(delay=0.05) as server, conf.set_temp('requests_at_once', 2):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: polite_session().get(server.url), range(8)))
        starts = [request.started for request in server.requests]
    # The end of the last answer may not be logged yet; none takes less than the delay.
    at_once = [sum(start <= time < start + 0.05 for start in starts) for time in starts]
    assert max(at_once) == 2


def test_a_service_may_want_fewer_at_once_than_the_limit():
    with serve(delay=0.05) as server, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: polite_session(at_once=1).get(server.url), range(4)))
        starts = np.sort([request.started for request in server.requests])
    assert np.diff(starts).min() >= 0.05


def test_a_code_that_is_final_is_not_tried_again():
    session = polite_session(is_over=NoWait(), final_codes=(500,))
    with serve(faults=[faults.status(500), faults.status(502)]) as server:
        assert session.get(server.url).status_code == 500
        assert session.get(server.url).text == 'hello'
        assert codes(server) == [500, 502, 200]


@pytest.mark.parametrize(
    ('fault', 'status'),
    [
        (faults.status(500), 'http_500'),
        (faults.status(503), 'http_503'),
        (faults.status(429), 'http_429'),
        (faults.reset(), 'connection'),
        (faults.broken(), 'connection'),
        (faults.slow(0.4), 'timeout'),
    ],
)
def test_what_may_pass_is_tried_again(session, fault, status):
    with conf.set_temp('timeout', 0.2), serve(faults=[fault, fault]) as server:
        assert session.get(server.url).text == 'hello'
        assert len(server.requests) == 3
        server.faults = lambda request: fault
        with pytest.raises(FetchError) as info:
            session.get(server.url)
        assert len(server.requests) == 3 + conf.tries
    assert info.value.status == status
    assert info.value.is_network


@pytest.mark.parametrize('code', [400, 403, 404])
def test_other_errors_are_not_tried_again(session, code):
    with serve(faults=[faults.status(code)]) as server:
        response = session.get(server.url)
        assert codes(server) == [code]
    assert response.status_code == code
    assert session.get_adapter(server.url).last_code == code


def test_a_host_without_address_is_no_connection(session):
    with pytest.raises(FetchError) as info:
        session.get('http://nowhere.invalid/')
    assert info.value.status == 'connection'
    assert info.value.is_network


def test_waits_grow_twofold_and_differ():
    events = [NoWait() for _ in range(20)]
    with serve(faults=lambda request: faults.status(503)) as server:
        for event in events:
            with pytest.raises(FetchError):
                polite_session(is_over=event).get(server.url)
    waits = np.array([event.waits for event in events])
    longest = http.BACK_OFF * np.array([1, 2, 4])
    assert (waits <= longest).all()
    assert (waits >= longest / 2).all()
    assert (np.ptp(waits, axis=0) > 0.1 * longest).all()


@pytest.mark.parametrize('code', [429, 503])
def test_a_host_is_left_alone_as_long_as_it_says(session, code):
    with serve(faults=[faults.status(code, Retry_After=1)]) as server:
        first = ThreadPoolExecutor(1).submit(session.get, server.url)
        while not (server.requests and server.requests[0].ended):
            time.sleep(0.01)
        time.sleep(0.05)
        # Nor does another thread ask.
        polite_session().get(server.url)
        assert first.result().text == 'hello'
        times = [request.started for request in server.requests]
    assert len(times) == 3
    assert min(times[1:]) - times[0] > 0.99


def test_time_to_come_back_may_be_a_date(session):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with serve(faults=[faults.status(503, Retry_After=date)]) as server:
        session.get(server.url)
        times = [request.started for request in server.requests]
    # A date has whole seconds.
    assert 0.9 < times[1] - times[0] < 2.1


@pytest.mark.parametrize('text', ['soon', '', '-3'])
def test_nonsense_for_a_time_to_come_back_is_ignored(session, text):
    with serve(faults=[faults.status(503, Retry_After=text)]) as server:
        assert session.get(server.url).text == 'hello'


def test_a_host_that_wants_hours_is_not_asked_again(session):
    with serve(faults=[faults.status(429, Retry_After=7200)]) as server:
        for _ in range(3):
            with pytest.raises(FetchError) as info:
                session.get(server.url)
            assert info.value.status == 'http_429'
        assert codes(server) == [429]


def test_the_next_server_is_asked_where_one_fails_and_kept():
    with serve() as first, serve() as second:
        event = NoWait()
        session = polite_session(servers=[first.url, second.url], is_over=event)
        assert session.get(f'{first.url}/a').text == 'hello'
        first.faults = lambda request: faults.reset()
        assert session.get(f'{first.url}/b?c=1').text == 'hello'
        assert session.get(f'{first.url}/d').text == 'hello'
        assert [request.path for request in first.requests] == ['/a', '/b']
        assert [request.path for request in second.requests] == ['/b', '/d']
        assert second.requests[0].params == {'c': '1'}


def test_the_next_server_is_no_way_round_a_limit():
    with serve(faults=[faults.status(429, Retry_After=1)]) as first, serve() as second:
        session = polite_session(servers=[first.url, second.url], is_over=NoWait())
        assert session.get(first.url).text == 'hello'
        assert codes(first) == [429, 200]
        assert codes(second) == []


def test_nothing_is_sent_once_all_is_over():
    is_over = threading.Event()
    session = polite_session(is_over=is_over)
    with serve() as server:
        is_over.set()
        with pytest.raises(FetchError, match='interrupted'):
            session.get(server.url)
        assert server.requests == []


def test_proxies_of_the_environment_are_used(monkeypatch):
    monkeypatch.setenv('http_proxy', 'http://127.0.0.1:9')
    monkeypatch.setenv('no_proxy', 'inside.example')
    session = requests.Session()
    http.be_polite(session)
    for host, proxy in [('outside.example', 'http://127.0.0.1:9'), ('inside.example', None)]:
        for _ in range(2):
            url = f'http://{host}/image'
            settings = session.merge_environment_settings(url, {}, None, None, None)
            assert settings['proxies'].get('http') == proxy
