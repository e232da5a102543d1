# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
An HTTP server on this machine that answers as image services do, from a simulated sky.

A protocol is a function ``handler(sky, request) -> Answer``, where ``sky`` is the
`~astro_morph.simulation.SimulatedSurvey` and ``request`` a `Request`. Its module names the paths
that it answers in a dictionary, and the package's ``HANDLERS`` takes that in::

    def answer(sky, request):
        wcs, shape = ...  # of what request.params asks for
        return Answer(fits_image(render(sky, wcs, shape, band), wcs), 'image/fits')

    HANDLERS = {'/path/of/the/service': answer}

Paths that begin so are answered too, unless a longer one is named.
"""

import contextlib
import json
import multiprocessing
import socket
import struct
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

__all__ = ['Answer', 'Request', 'Server', 'ServerProcess']


@dataclass(frozen=True)
class Answer:
    """
    What the server sends.

    Parameters
    ----------
    body : bytes, str or dict
        The content; a dictionary is sent as JSON.
    content_type : str, optional
        What it is.
    status : int, optional
        The HTTP status.
    headers : dict, optional
        Further headers.
    length : int, optional
        The length that is announced, where it is not that of the body: the connection breaks then.
    pause : float, optional
        Seconds to wait before the answer.
    is_reset : bool, optional
        Whether the connection is reset instead of an answer.
    """

    body: bytes
    content_type: str = 'text/html'
    status: int = 200
    headers: dict = field(default_factory=dict)
    length: int | None = None
    pause: float = 0
    is_reset: bool = False

    @cached_property
    def content(self):
        """The bytes of the body."""
        body = json.dumps(self.body) if isinstance(self.body, dict) else self.body
        return body.encode() if isinstance(body, str) else body


@dataclass
class Request:
    """
    What a client asked for, and how it was answered.

    Parameters
    ----------
    method : str
        Such as ``'GET'``.
    url : str
        What was asked for, with its query.
    path : str
        The part of it that chooses who answers.
    lists : dict
        All values of each parameter of the query.
    body : bytes
        What was sent along.
    started, ended : float
        Times of `time.monotonic`, which is one clock for all processes of a machine; None before
        the end.
    status : int, optional
        The code of the answer.
    """

    method: str
    url: str
    path: str
    lists: dict
    body: bytes
    started: float
    ended: float | None = None
    status: int | None = None

    @property
    def params(self):
        """The first value of each parameter."""
        return {name: values[0] for name, values in self.lists.items()}


class Server:
    """
    A server in a thread of this process, from ``with`` to its end.

    Parameters
    ----------
    sky : `~astro_morph.simulation.SimulatedSurvey`
        The sky that it shows.
    handlers : dict
        The function that answers the paths that begin so.
    delay : float, optional
        Seconds that every answer takes at least.
    faults : callable or sequence, optional
        A fault or None for each request, in order or by a function of the `Request`; see
        `astro_morph.simulation.services.faults`. It may be changed while the server runs.

    Attributes
    ----------
    url : str
        Where the server listens, without a slash at the end.
    requests : list of `Request`
        All requests so far, in the order in which they came.
    """

    def __init__(self, sky, handlers, *, delay=0, faults=None):
        self.sky = sky
        self.handlers = handlers
        self.delay = delay
        self.faults = faults
        self.requests = []

    @property
    def faults(self):
        return self._faults

    @faults.setter
    def faults(self, faults):
        self._faults = faults
        remaining = iter(() if faults is None or callable(faults) else faults)
        self._next_fault = faults if callable(faults) else lambda request: next(remaining, None)

    def __enter__(self):
        # Rendered now, not by the first request.
        self.sky.flux  # noqa: B018
        self._http = _HTTPServer(self)
        self.url = f'http://127.0.0.1:{self._http.server_port}'
        # A stop is noticed only so often.
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._http.shutdown()
        self._http.server_close()
        self._http.close_connections()

    def answer(self, request):
        """Return what is sent for a request."""
        fault = self._next_fault(request)
        try:
            answer = self._find_handler(request.path)(self.sky, request)
        except Exception:  # a mistake in a handler, and whoever reads the answer wants to see it
            answer = Answer(traceback.format_exc(), 'text/plain', 500)
        return fault(answer) if fault else answer

    def _find_handler(self, path):
        prefixes = [prefix for prefix in self.handlers if path.startswith(prefix)]
        return self.handlers[max(prefixes, key=len)] if prefixes else _say_not_found


class ServerProcess:
    """
    A `Server` in a process of its own, so that it takes no time from its clients.

    The arguments are those of `Server`; all must be picklable. ``requests`` is a copy.
    """

    def __init__(self, *args, **options):
        self._arguments = args, options

    def __enter__(self):
        context = multiprocessing.get_context('spawn')
        self._pipe, other_end = context.Pipe()
        self._process = context.Process(
            target=_serve_until_told, args=(other_end, *self._arguments), daemon=True
        )
        self._process.start()
        other_end.close()
        self.url = self._pipe.recv()
        return self

    def __exit__(self, *exception):
        self._final_requests = self.requests
        self._pipe.close()
        self._process.join()

    @property
    def requests(self):
        if self._pipe.closed:
            return self._final_requests
        self._pipe.send('requests')
        return self._pipe.recv()


def _serve_until_told(pipe, args, options):
    # The end of the pipe is the end of the server, also where the parent was killed.
    with Server(*args, **options) as server, contextlib.suppress(EOFError):
        pipe.send(server.url)
        while pipe.recv():
            pipe.send(list(server.requests))


def _say_not_found(sky, request):
    return Answer(f'<html><body>nothing at {request.path}</body></html>', status=404)


class _HTTPServer(ThreadingHTTPServer):
    request_queue_size = 256  # clients of hundreds of threads connect all at once
    daemon_threads = True
    block_on_close = False

    def __init__(self, server):
        self.server = server
        self._connections = set()
        super().__init__(('127.0.0.1', 0), _Handler)

    def process_request(self, request, client_address):
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self):
        """Close what clients keep open: a server that has stopped answers nobody."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        # A client that went away is the client's affair.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_GET(self):
        request = self._read()
        server = self.server.server
        server.requests.append(request)
        answer = server.answer(request)
        request.status = answer.status
        wait = request.started + server.delay + answer.pause - time.monotonic()
        time.sleep(max(0, wait))
        try:
            self._send(answer)
        finally:
            request.ended = time.monotonic()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args):
        """Keep quiet: requests are in the log of the server."""

    def _read(self):
        started = time.monotonic()
        parts = urlsplit(self.path)
        return Request(
            method=self.command,
            url=f'http://{self.headers["Host"]}',
            path=parts.path,
            lists=parse_qs(parts.query),
            body=self.rfile.read(int(self.headers.get('Content-Length', 0))),
            started=started,
        )

    def _send(self, answer):
        length = len(answer.content) if answer.length is None else answer.length
        self.close_connection |= answer.is_reset or length != len(answer.content)
        if answer.is_reset:
            # A socket that does not linger sends a reset when it closes.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            return
        self.send_response(answer.status)
        headers = {'Content-Type': answer.content_type, 'Content-Length': length}
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)
        self.wfile.flush()
