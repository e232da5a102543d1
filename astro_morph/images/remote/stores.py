# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read parts of files on web servers and in object storage, within limits, with retries."""

import functools
import os
import random
import time
from contextlib import contextmanager

from astro_morph import conf
from astro_morph.images.errors import (
    ImageError,
    NetworkImageError,
    TooLargeImageError,
    TruncatedImageError,
    image_errors,
)

__all__ = ['find_store', 'open_in_blocks', 'read_ranges', 'remote_errors', 'try_often']

# Blocks kept per file: as much as a tile of 3000 x 3000 pixels.
MAX_BLOCKS = 32

# Seconds before the second try; each further wait is twice as long.
BACK_OFF = 1.0


def find_store(url):
    """Return the file system of a URL, and the path in it."""
    from fsspec.core import url_to_fs

    is_web = os.fspath(url).startswith(('http://', 'https://'))
    return url_to_fs(url, **({'client_kwargs': _web_limits()} if is_web else {}))


def open_in_blocks(url, size):
    """Open a file so that each of its blocks is requested at most once."""
    store, place = find_store(url)
    # Unlike in fits.open(use_fsspec=True), these options are the same for all file systems.
    return store.open(
        place,
        block_size=size,
        cache_type='blockcache',
        cache_options={'maxblocks': MAX_BLOCKS},
    )


def read_ranges(url, starts, ends):
    """
    Read ranges of the bytes of a file, many at a time.

    Ranges that end in a time-out, a broken connection, 429 or 5xx are asked for again,
    ``astro_morph.conf.tries`` times in all.

    Parameters
    ----------
    url : str
        The file.
    starts, ends : sequence of int
        The first byte of each range, and the one after its last.

    Returns
    -------
    parts : list of bytes
        The content of each range.

    Raises
    ------
    ImageError
        If a range can't be read; a ``NetworkImageError`` if another call may be able to.
    """
    store, place = find_store(url)
    parts = [None] * len(starts)

    def read_missing():
        missing = [i for i, part in enumerate(parts) if part is None]
        wanted = [starts[i] for i in missing], [ends[i] for i in missing]
        answers = store.cat_ranges([place] * len(missing), *wanted, on_error='return')
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        for i, answer in zip(missing, answers, strict=True):
            parts[i] = None if isinstance(answer, Exception) else answer
        if failures:
            raise failures[0]

    try_often(read_missing)
    for part, start, end in zip(parts, starts, ends, strict=True):
        if len(part) != end - start:
            msg = f'{url} has {len(part)} of the {end - start} bytes from {start}'
            raise TruncatedImageError(msg)
    return parts


def try_often(action):
    """
    Return the result of an action on a file at a URL, after retries.

    Parameters
    ----------
    action : callable
        Called without arguments, ``astro_morph.conf.tries`` times while the network or the server
        fails.

    Returns
    -------
    result : object
        What the action returns.

    Raises
    ------
    ImageError
        If the action fails; a ``NetworkImageError`` if another call may not.
    """
    for number in range(conf.tries):
        if number:
            time.sleep(BACK_OFF * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311
        try:
            with remote_errors():
                return action()
        except ImageError as error:
            failure = error
            if not error.is_network:
                break
    raise failure


@contextmanager
def remote_errors():
    """Turn any error about a file at a URL into an ``ImageError``."""
    with image_errors():
        try:
            yield
        except Exception as error:
            if (failure := _network_failure(error)) is None:
                raise
            raise failure from error


def _network_failure(error):
    """Return the `NetworkImageError` of what caused an error, None if it is not the network."""
    cause = error
    while cause is not None:
        code, text = _code_of(cause), str(cause) or repr(cause)
        if isinstance(cause, TimeoutError):
            return NetworkImageError('timeout', text)
        if code is not None and code >= 300 and code != 404:
            may_pass = code == 429 or code >= 500
            return NetworkImageError(f'http_{code}', text, is_network=may_pass)
        if isinstance(cause, _broken_connections()):
            return NetworkImageError('connection', text)
        # fsspec finds no file for any of these.
        cause = cause.__cause__
    return None


def _code_of(error):
    """Return the code of the answer of a web server, None if it is not known."""
    # Of redirections that lead nowhere, aiohttp tells only the history.
    answers = (error, *reversed(getattr(error, 'history', None) or ()))
    codes = [getattr(answer, 'status', None) for answer in answers]
    return next((code for code in codes if isinstance(code, int) and code), None)


@functools.cache
def _broken_connections():
    try:
        from aiohttp import ClientConnectionError, ClientPayloadError
    except ModuleNotFoundError:
        return (ConnectionError,)
    return ConnectionError, ClientConnectionError, ClientPayloadError


def _web_limits():
    """Return the limits of answers, as options of the client of web servers."""
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(
        total=conf.max_answer_time, sock_connect=conf.timeout, sock_read=conf.timeout
    )
    return {'timeout': timeout, 'response_class': _limited_response()}


@functools.cache
def _limited_response():
    """Return the class of answers of web servers, which may be longer than what was asked for."""
    from aiohttp import ClientResponse

    class LimitedResponse(ClientResponse):
        async def read(self):
            if self._body is None:
                limit, body = self._limit(), bytearray()
                async for part in self.content.iter_any():
                    body += part
                    if len(body) > limit:
                        self.close()
                        msg = f'the answer has more than the {limit:.10g} bytes that are allowed'
                        raise TooLargeImageError(msg)
                self._body = bytes(body)
            return self._body

        def _limit(self):
            """Return the size of the range asked for: some servers send the whole file."""
            first, _, last = self.request_info.headers.get('Range', '').partition('-')
            if self.status < 400 and last.isdecimal():
                return int(last) + 1 - int(first.removeprefix('bytes='))
            return conf.max_answer_size * 1e9

    return LimitedResponse
