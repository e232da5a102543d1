# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the answers of HTTP servers, within limits of time and size."""

import http.client
import io
import time
import zipfile
from functools import cache

from urllib3 import HTTPResponse

from astro_morph import conf
from astro_morph.cutouts.fetching.failures import FetchError

__all__ = ['limit_time', 'read_body']

# Bytes a second. A slower answer ends after the time-out: it is of no use, and a server could keep
# a connection open for ever with a byte from time to time. A modem has half of this.
SLOWEST = 10_000

# Bytes to read at a time. Of a compressed answer, no more are decompressed at once.
CHUNK = 2**18


def limit_time(pool):
    """
    Make the connections of a pool receive each answer in time, from its first header.

    An answer may take ``astro_morph.conf.timeout`` seconds, and longer while it arrives at 10 kB/s
    or more, up to ``max_answer_time``.

    Parameters
    ----------
    pool : `urllib3.HTTPConnectionPool`
        The connections, changed in place; a time-out is the error that urllib3 raises for any.
    """
    pool.ConnectionCls = _in_time(pool.ConnectionCls)


def read_body(response):
    """
    Read the whole body of a response, which can then be used as any other.

    Parameters
    ----------
    response : `requests.Response`
        The response, not yet read; its stream ``raw`` is replaced by one of the decoded body.

    Raises
    ------
    FetchError
        If the body, or what its archive holds, exceeds ``astro_morph.conf.max_answer_size``.
    """
    limit = conf.max_answer_size * 1e9
    announced = response.headers.get('Content-Length', '')
    if announced.isdecimal() and int(announced) > limit:
        _refuse(response)
    body = io.BytesIO()
    for chunk in response.iter_content(CHUNK):
        if body.tell() + len(chunk) > limit:
            _refuse(response)
        body.write(chunk)
    if _unpacked_size(body) > limit:
        _refuse(response)
    # All ways to read it, each from the beginning. Its encoding is removed, with its headers.
    response._content, response._content_consumed = body.getvalue(), True
    response.raw = HTTPResponse(
        io.BytesIO(response.content),
        status=response.raw.status,
        preload_content=False,
        original_response=response.raw._original_response,
    )


def _refuse(response):
    response.close()
    msg = (
        f'the answer of {response.url} has more than {conf.max_answer_size:g} GB; if that '
        'is right, raise astro_morph.conf.max_answer_size'
    )
    raise FetchError(status='too_large', message=msg)


def _unpacked_size(body):
    """Return how many bytes the files of a zip archive have, 0 if the body is none."""
    try:
        with zipfile.ZipFile(body) as archive:
            return sum(file.file_size for file in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return 0


@cache
def _in_time(connection_class):
    """Return a class of connections with a limit of time."""
    if issubclass(connection_class, _InTime):
        return connection_class
    return type(connection_class.__name__, (_InTime, connection_class), {})


class _TimedResponse(http.client.HTTPResponse):
    """A response all of whose bytes pass through a `_TimedStream`."""

    def __init__(self, sock, *args, **options):
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimedStream(self.fp.detach(), sock))


class _InTime:
    """Makes the responses of a connection timed ones."""

    response_class = _TimedResponse


class _TimedStream(io.RawIOBase):
    """
    The bytes that a socket receives, each before its time is over.

    Parameters
    ----------
    stream : `io.RawIOBase`
        The bytes.
    sock : `socket.socket`
        Their socket.
    """

    def __init__(self, stream, sock):
        self._stream, self._sock = stream, sock
        self._began, self._n_bytes = time.monotonic(), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        allowed = min(conf.timeout + self._n_bytes / SLOWEST, conf.max_answer_time)
        remaining = self._began + allowed - time.monotonic()
        if remaining <= 0:
            msg = f'the answer is not complete after {allowed:.3g} seconds'
            raise TimeoutError(msg)
        self._sock.settimeout(min(remaining, conf.timeout))
        try:
            n_bytes = self._stream.readinto(buffer)
        finally:
            # The next request may use the same connection.
            self._sock.settimeout(conf.timeout)
        self._n_bytes += n_bytes
        return n_bytes

    def close(self):
        self._stream.close()
        super().close()
