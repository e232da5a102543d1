# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Run a local HTTP server that answers like an image service, from a simulated sky.

A protocol is a function ``handler(sky, request) -> Answer``, where ``sky`` is a
`~astro_morph.simulation.SimulatedSurvey` and ``request`` a `Request`. Its module maps paths to
functions in a dictionary, which is included in ``HANDLERS`` of the package::

    def answer(sky, request):
        wcs, shape = ...  # from request.params
        return Answer(fits_image(render(sky, wcs, shape, band), wcs), 'image/fits')

    HANDLERS = {'/path/of/the/service': answer}

The function also answers all paths that begin with its own, unless a longer one matches.
"""

import contextlib
import json
import multiprocessing
import re
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

__all__ = ['Answer', 'Request', 'Server', 'ServerProcess', 'not_found', 'send_range']


@dataclass(frozen=True)
class Answer:
    """
    An answer of the server.

    Parameters
    ----------
    body : bytes, str or dict
        The content; a dictionary is sent as JSON.
    content_type : str, default='text/html'
        The MIME type.
    status : int, default=200
        The HTTP status.
    headers : dict, default={}
        Further headers.
    length : int, default=None
        The announced length, if it differs from that of the body; the connection is then closed.
    pause : float, default=0
        Seconds to wait before the answer.
    is_reset : bool, default=False
        Whether the connection is reset instead.
    stream : callable, default=None
        Returns an iterable of bytes that are sent one after another instead, head and body; the
        connection is then closed.
    """

    body: bytes
    content_type: str = 'text/html'
    status: int = 200
    headers: dict = field(default_factory=dict)
    length: int | None = None
    pause: float = 0
    is_reset: bool = False
    stream: Callable | None = None

    @cached_property
    def content(self):
        """The bytes of the body."""
        body = json.dumps(self.body) if isinstance(self.body, dict) else self.body
        return body.encode() if isinstance(body, str) else body


@dataclass
class Request:
    """
    A request of a client, and when and how it was answered.

    Parameters
    ----------
    method : str
        The method, such as ``'GET'``.
    url : str
        The address of the server.
    path : str
        The path on the server, which selects the function that answers.
    lists : dict
        All values of each parameter of the query.
    body : bytes
        The content of the request.
    started, ended : float
        Times of `time.monotonic`, a clock shared by all processes of a machine; None before the
        end.
    status : int, default=None
        The HTTP status of the answer.
    headers : dict, default={}
        The headers of the request, with names in lower case.
    """

    method: str
    url: str
    path: str
    lists: dict
    body: bytes
    started: float
    ended: float | None = None
    status: int | None = None
    headers: dict = field(default_factory=dict)

    @property
    def params(self):
        """The first value of each parameter."""
        return {name: values[0] for name, values in self.lists.items()}


class Server:
    """
    A server in a thread of this process, which runs inside ``with``.

    Parameters
    ----------
    sky : `~astro_morph.simulation.SimulatedSurvey`
        The sky that it shows.
    handlers : dict
        The function that answers all paths with a given beginning.
    delay : float, default=0
        Minimum time of each answer in seconds.
    faults : callable or sequence, default=None
        Faults of `astro_morph.simulation.services.faults`: one or None for each request in order,
        or a function of the `Request` that returns one. It may be changed while the server runs.

    Attributes
    ----------
    url : str
        Address of the server, without a slash at the end.
    requests : list of `Request`
        All requests so far, in order of arrival.
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
        # Render the sky now, not in the first request.
        self.sky.flux  # noqa: B018
        self._http = _HTTPServer(self)
        self.url = f'http://127.0.0.1:{self._http.server_port}'
        # The argument is the interval in seconds at which the thread checks for a shutdown.
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._http.shutdown()
        self._http.server_close()
        self._http.close_connections()

    def answer(self, request):
        """Return the answer to a request."""
        fault = self._next_fault(request)
        try:
            answer = self._find_handler(request.path)(self.sky, request)
        except Exception:  # an error in a handler, shown to whoever reads the answer
            answer = Answer(traceback.format_exc(), 'text/plain', 500)
        return fault(answer) if fault else answer

    def _find_handler(self, path):
        prefixes = [prefix for prefix in self.handlers if path.startswith(prefix)]
        return self.handlers[max(prefixes, key=len)] if prefixes else not_found


class ServerProcess:
    """
    A `Server` in a process of its own, so that it does not slow down its clients.

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
    # The server stops when the pipe is closed, also if the parent process was killed.
    with Server(*args, **options) as server, contextlib.suppress(EOFError):
        pipe.send(server.url)
        while pipe.recv():
            pipe.send(list(server.requests))


def send_range(content, request):
    """
    Answer with a file, or with the range of its bytes that is asked for, as object storage does.

    A list of several ranges is ignored, as by Amazon S3, and the whole file is sent.

    Parameters
    ----------
    content : bytes or memoryview
        The file.
    request : `Request`
        The request.

    Returns
    -------
    answer : `Answer`
        With status 206 and a header ``Content-Range`` for a range.
    """
    whole = {'Accept-Ranges': 'bytes'}
    asked = re.fullmatch(r'bytes=(\d+)-(\d+)', request.headers.get('range', ''))
    if asked is None:
        return Answer(bytes(content), 'application/fits', headers=whole)
    start, end = int(asked[1]), min(int(asked[2]) + 1, len(content))
    if start >= end:
        return Answer('', 'text/plain', 416, {'Content-Range': f'bytes */{len(content)}'})
    where = {'Content-Range': f'bytes {start}-{end - 1}/{len(content)}'}
    return Answer(bytes(content[start:end]), 'application/fits', 206, whole | where)


def not_found(sky, request):
    """Answer that nothing is at the path."""
    return Answer(f'<html><body>Not found: {request.path}</body></html>', status=404)


class _HTTPServer(ThreadingHTTPServer):
    request_queue_size = 256  # clients with hundreds of threads connect all at once
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
        """Close the connections that clients keep open, because the server has stopped."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        # Errors of a client that disconnected are ignored.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body are sent together

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

    do_POST = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args):
        """Print nothing, because the server logs its requests."""

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
            headers={name.lower(): value for name, value in self.headers.items()},
        )

    def _send(self, answer):
        length = len(answer.content) if answer.length is None else answer.length
        self.close_connection |= answer.is_reset or length != len(answer.content)
        if answer.is_reset:
            # Without lingering, a socket sends a reset when it is closed.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            return
        if answer.stream is not None:
            self.close_connection = True
            for part in answer.stream():
                self.wfile.write(part)
                self.wfile.flush()
            return
        self.send_response(answer.status)
        headers = {'Content-Type': answer.content_type, 'Content-Length': length}
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(answer.content)
        self.wfile.flush()
