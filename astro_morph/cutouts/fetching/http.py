# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Good manners on the network: how often to ask a host, and when to ask again."""

import random
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import metadata
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from astro_morph import __version__, conf
from astro_morph.cutouts.fetching.failures import FetchError, network_failure

__all__ = ['PoliteAdapter', 'be_polite']

# Seconds before the second try; each further one waits twice as long.
BACK_OFF = 1.0

# Seconds. Where a host wants to be left alone for longer, requests fail at once: the same call
# can be made later.
LONGEST_WAIT = 300.0


def be_polite(session, *, servers=(), is_over=None):
    """
    Make a session keep the limits of each host, and try again where that may help.

    Parameters
    ----------
    session : `requests.Session`
        The session of any client, changed in place.
    servers, is_over
        As in `PoliteAdapter`.

    Returns
    -------
    adapter : `PoliteAdapter`
        What now sends the session's requests.
    """
    adapter = PoliteAdapter(servers=servers, is_over=is_over)
    session.mount('http://', adapter)
    session.mount('https://', adapter)
    # For a debug log, astroquery decodes every image as text, which takes half of the time.
    session.hooks['response'].clear()
    session.headers['User-Agent'] = f'{_user_agent()} {session.headers["User-Agent"]}'
    session.merge_environment_settings = _read_environment_once(session)
    return adapter


def _read_environment_once(session):
    """Remember the proxy of each host: requests looks for it anew, a quarter of the time."""
    read = session.merge_environment_settings
    remembered = {}

    def merge_environment_settings(url, *settings):
        # Settings of a single request, which are rare, can't be told apart here.
        if any(settings):
            return read(url, *settings)
        host = urlsplit(url)[:2]
        if host not in remembered:
            remembered[host] = read(url, *settings)
        return dict(remembered[host])

    return merge_environment_settings


@cache
def _user_agent():
    """Name the package, its version and its home, so that who runs a service can ask about it."""
    homes = metadata('astro-morph').get_all('Project-URL', [])
    home = f' ({homes[0].partition(", ")[2]})' if homes else ''
    return f'astro-morph/{__version__}{home}'


class PoliteAdapter(HTTPAdapter):
    """
    Sends the requests of a session with good manners.

    All threads of a process share the limits of a host, ``requests_at_once`` and
    ``requests_per_second`` of ``astro_morph.conf``. A try takes ``timeout`` seconds at most.
    Time-outs, broken connections, 429 and 5xx are tried again, ``tries`` times in all, after a
    wait that doubles each time, or as long as the host's ``Retry-After`` says.

    Parameters
    ----------
    servers : sequence of str, optional
        Base addresses that give the same answers. Where one fails, the next is tried, and kept;
        but one that said when to come back is waited for.
    is_over : `threading.Event`, optional
        Once it is set, nothing is sent any more.

    Attributes
    ----------
    last_code : int or None
        The HTTP code of the last answer.
    last_failure : `FetchError` or None
        What the last request raised, because some clients hide it.
    """

    def __init__(self, *, servers=(), is_over=None):
        super().__init__()
        self.last_code = None
        self.last_failure = None
        self._servers = list(servers)
        self._is_over = threading.Event() if is_over is None else is_over

    def send(self, request, stream=False, timeout=None, **options):
        """Send a request as `requests` does, or raise `FetchError` once all tries have failed."""
        self.last_failure = None
        for attempt in range(conf.tries):
            if attempt > 0:
                self._is_over.wait(_back_off(attempt))
            self._readdress(request)
            host = _host(urlsplit(request.url).netloc)
            try:
                return self._try(host, request, stream=stream, **options)
            except FetchError as error:
                failure = error
            if not host.is_resting:
                # The next server, which for most services is the same one.
                self._servers = self._servers[1:] + self._servers[:1]
        self.last_failure = failure
        raise failure

    def _try(self, host, request, **options):
        with host.turn():
            if self._is_over.is_set():
                raise FetchError(status='interrupted')
            self.last_code = None
            try:
                response = super().send(request, timeout=conf.timeout, **options)
                if not options['stream']:
                    # Read here, where a connection that breaks half-way is tried again.
                    _ = response.content
            except requests.RequestException as error:
                if (failure := network_failure(error)) is None:
                    raise
                raise failure from error
        self.last_code = code = response.status_code
        if code != 429 and code < 500:
            return response
        failure = FetchError(f'http_{code}', f'{response.url} answers {code}', is_network=True)
        response.close()
        if (seconds := _retry_after(response)) is not None:
            host.rest(seconds, failure)
        raise failure

    def _readdress(self, request):
        """Point a request at the server in use."""
        for server in self._servers:
            if request.url.startswith(server):
                request.url = self._servers[0] + request.url.removeprefix(server)
                return


class _Host:
    """The limits of one host, which all threads share."""

    def __init__(self):
        self._changed = threading.Condition()
        self._n_open = 0
        self._next_start = 0.0
        self._rests_until = 0.0
        self._rest_reason = None

    @contextmanager
    def turn(self):
        """Wait until a request may start, and hold its place until it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._n_open < conf.requests_at_once)
            self._n_open += 1
        try:
            self._wait_to_start()
            yield
        finally:
            with self._changed:
                self._n_open -= 1
                self._changed.notify()

    def rest(self, seconds, reason):
        """Start no request for some time, because of a `FetchError`."""
        with self._changed:
            self._rests_until = max(self._rests_until, time.monotonic() + seconds)
            self._rest_reason = reason

    @property
    def is_resting(self):
        return time.monotonic() < self._rests_until

    def _wait_to_start(self):
        while (wait := self._claim_start()) > 0:
            time.sleep(wait)

    def _claim_start(self):
        """Return the seconds to wait before trying again, 0 if a request may start now."""
        with self._changed:
            now = time.monotonic()
            if self._rests_until - now > LONGEST_WAIT:
                raise self._rest_reason
            wait = max(self._next_start, self._rests_until) - now
            if wait <= 0:
                self._next_start = now + 1 / conf.requests_per_second
            return max(wait, 0)


@cache
def _host(netloc):
    return _Host()


def _back_off(attempt):
    """Seconds to wait before a try, by its number; at random, so that threads come apart."""
    return BACK_OFF * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311


def _retry_after(response):
    """Return how many seconds a host asks to be left alone, None if it does not say."""
    value = response.headers.get('Retry-After', '')
    if value.strip().isdigit():
        return float(value)
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
