# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Send HTTP requests politely: limits for each host, retries, and mirror servers."""

import random
import threading
import time
from contextlib import contextmanager
from functools import cache
from importlib.metadata import metadata
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from astro_morph import __version__, conf
from astro_morph.cutouts.fetching.answers import limit_time, read_body
from astro_morph.cutouts.fetching.failures import FetchError, network_failure

__all__ = ['PoliteAdapter', 'be_polite']

# Seconds before the second try; each further wait is twice as long.
BACK_OFF = 1.0

# Seconds. If a host asks for a longer pause, requests fail at once and can be made again later.
LONGEST_WAIT = 300.0

# Archives redirect once or twice, to a mirror or a store of files; urllib allows ten.
MAX_REDIRECTS = 10


def be_polite(session, **options):
    """
    Make a session keep the limits of each host, and retry where that may help.

    Parameters
    ----------
    session : `requests.Session`
        The session of any client, changed in place.
    **options
        The arguments of `PoliteAdapter`.

    Returns
    -------
    adapter : `PoliteAdapter`
        The adapter that now sends the session's requests.
    """
    adapter = PoliteAdapter(**options)
    session.mount('http://', adapter)
    session.mount('https://', adapter)
    # For a debug log, astroquery decodes every image as text, which takes half of the time.
    hooks = session.hooks['response']
    hooks[:] = [hook for hook in hooks if not hook.__module__.startswith('astroquery')]
    session.max_redirects = MAX_REDIRECTS
    session.headers['User-Agent'] = f'{_user_agent()} {session.headers["User-Agent"]}'
    return adapter


@cache
def _user_agent():
    """Return name, version and home page of the package, for those who run the service."""
    homes = metadata('astro-morph').get_all('Project-URL', [])
    home = f' ({homes[0].partition(", ")[2]})' if homes else ''
    return f'astro-morph/{__version__}{home}'


class PoliteAdapter(HTTPAdapter):
    """
    Transport adapter that limits and retries the requests of a session.

    All threads of a process share the limits of a host, ``requests_at_once`` and
    ``requests_per_second`` of ``astro_morph.conf``. An answer is read as a whole, also for clients
    that stream it, within ``timeout`` seconds, or at 10 kB/s within ``max_answer_time``; one larger
    than ``max_answer_size`` is refused. Time-outs, broken connections, 429 and 5xx are
    retried, ``tries`` times in all. The wait between tries doubles each time, or is what the host's
    ``Retry-After`` asks for.

    Parameters
    ----------
    servers : sequence of str, default=()
        Base addresses of mirrors. If one fails, the next is used from then on; a server that sent
        ``Retry-After`` is waited for instead.
    is_over : `threading.Event`, default=None
        Nothing more is sent after it is set.
    at_once : int, default=None
        Number of requests at once that a host wants at most, if that is less than
        ``requests_at_once``.
    final_codes : sequence of int, default=()
        Codes of 5xx that are not retried, because the same request has the same answer.

    Attributes
    ----------
    last_code : int or None
        The HTTP code of the last answer.
    last_failure : `FetchError` or None
        The error of the last request, because some clients hide it.
    """

    def __init__(self, *, servers=(), is_over=None, at_once=None, final_codes=()):
        super().__init__()
        self.last_code = None
        self.last_failure = None
        self._servers = list(servers)
        self._is_over = threading.Event() if is_over is None else is_over
        self._at_once = at_once
        self._retried_codes = {429, *range(500, 600)} - {*final_codes}

    def send(self, request, stream=False, timeout=None, **options):
        """Send a request as ``requests`` does, or raise `FetchError` once all tries have failed."""
        self.last_failure = None
        # Not mounted as max_retries: inside urllib3 a retry can't change the server, read a body
        # again that broke off, or hold back other threads.
        retries = _Retries(conf.tries - 1, status_forcelist=self._retried_codes)
        while True:
            self._readdress(request)
            host = _host(urlsplit(request.url).netloc)
            try:
                return self._try(host, retries, request, stream=stream, **options)
            except FetchError as error:
                failure = error
            if not host.is_resting:
                # The next server; most services have only one.
                self._servers = self._servers[1:] + self._servers[:1]
            if retries.total == 0 or not failure.is_network:
                self.last_failure = failure
                raise failure
            retries = retries.increment(error=failure)
            self._is_over.wait(retries.get_backoff_time())

    def _try(self, host, retries, request, **options):
        with host.turn(self._at_once):
            if self._is_over.is_set():
                raise FetchError(status='interrupted')
            self.last_code = None
            try:
                response = super().send(request, timeout=conf.timeout, **options)
                # Here, so that a connection that breaks half-way is retried.
                read_body(response)
            except requests.RequestException as error:
                if (failure := network_failure(error)) is None:
                    raise
                raise failure from error
        self.last_code = code = response.status_code
        if code not in retries.status_forcelist:
            return response
        failure = FetchError(f'http_{code}', f'{response.url} answers {code}', is_network=True)
        response.close()
        if (seconds := retries.get_retry_after(response)) is not None:
            host.rest(seconds, failure)
        raise failure

    def get_connection_with_tls_context(self, *args, **options):
        """Return the connections to a host, with a limit of the time of each answer."""
        pool = super().get_connection_with_tls_context(*args, **options)
        limit_time(pool)
        return pool

    def _readdress(self, request):
        """Point a request at the server in use."""
        for server in self._servers:
            if request.url.startswith(server):
                request.url = self._servers[0] + request.url.removeprefix(server)
                return


class _Retries(Retry):
    """The count of tries, with a random wait before the second, so that threads spread out."""

    def get_backoff_time(self):
        return BACK_OFF * 2 ** (len(self.history) - 1) * random.uniform(0.5, 1)  # noqa: S311

    def get_retry_after(self, response):
        """Return how many seconds a host asks to be left alone, None if it does not say."""
        try:
            return super().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):  # the latter of impossible dates
            return None


class _Host:
    """The limits of one host, which all threads share."""

    def __init__(self):
        self._changed = threading.Condition()
        self._n_open = 0
        self._next_start = 0.0
        self._rests_until = 0.0
        self._rest_reason = None

    @contextmanager
    def turn(self, at_once):
        """Wait until a request may start, and hold its place until it has ended."""
        with self._changed:
            most = min(at_once or conf.requests_at_once, conf.requests_at_once)
            self._changed.wait_for(lambda: self._n_open < most)
            self._n_open += 1
        try:
            self._wait_to_start()
            yield
        finally:
            with self._changed:
                self._n_open -= 1
                self._changed.notify_all()

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
                return 0
            return wait


@cache
def _host(netloc):
    return _Host()
