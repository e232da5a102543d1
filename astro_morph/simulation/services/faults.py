# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Faults of image services for tests: errors, broken connections, truncated or endless answers."""

import gzip
import io
import itertools
import time
from dataclasses import replace
from functools import partial

import numpy as np
from astropy.io import fits

from astro_morph.simulation.services.rendering import fits_bytes
from astro_morph.simulation.services.server import Answer

__all__ = [
    'all_nan',
    'broken',
    'drip',
    'drip_headers',
    'endless',
    'gzip_bomb',
    'html',
    'redirect',
    'reset',
    'slow',
    'status',
    'truncated',
]

PAGE = '<html><body><h1>Service temporarily unavailable</h1></body></html>'


def status(code, body=PAGE, **headers):
    """
    Answer with an error.

    Parameters
    ----------
    code : int
        The HTTP status.
    body : str, bytes or dict, default=PAGE
        A page, other content, or a dictionary that is sent as JSON.
    **headers
        Further headers, with ``_`` for ``-``, as in ``Retry_After=2``.

    Returns
    -------
    fault : callable
        The fault, for `astro_morph.simulation.serve`.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.cutouts import Hips2Fits
    >>> from astro_morph.simulation.services import faults
    >>> from astro_morph.simulation import SimulatedSurvey, serve
    >>> sky = SimulatedSurvey(n_galaxies=1)
    >>> with serve(sky, faults=[faults.status(404)]) as server:
    ...     address = f'{server.url}/hips-image-services/hips2fits'
    ...     source = Hips2Fits('sdss-dr9', bands=['r'], server=address, cache=False)
    ...     print(source.fetch(sky.catalogue).status)
    ['http_404']
    """
    content_type = 'application/json' if isinstance(body, dict) else 'text/html'
    headers = {name.replace('_', '-'): str(value) for name, value in headers.items()}
    return partial(_replace_by, other=Answer(body, content_type, code, headers))


def html():
    """Answer with an HTML page and status 200."""
    return status(200)


def truncated(fraction=0.5):
    """Send only the first part of the content, announced as complete."""
    return partial(_cut, fraction=fraction, is_announced=True)


def broken(fraction=0.5):
    """Send only the first part of the content, and close the connection."""
    return partial(_cut, fraction=fraction, is_announced=False)


def all_nan():
    """Send FITS images in which all pixels are NaN."""
    return _blank


def slow(seconds):
    """Send the correct answer this many seconds later."""
    return partial(_wait, seconds=seconds)


def reset():
    """Reset the connection."""
    return _reset


def drip(pause=0.05):
    """Send the correct answer, one byte of its body every ``pause`` seconds."""
    return partial(_drip, pause=pause)


def drip_headers(pause=0.05):
    """Send one header every ``pause`` seconds, without end."""
    return partial(_stream, parts=partial(_headers_without_end, pause))


def endless():
    """Send a body without end, as fast as the client takes it."""
    return partial(_stream, parts=_body_without_end)


def gzip_bomb(n_bytes):
    """
    Send zeros that are a thousand times smaller on the way.

    Parameters
    ----------
    n_bytes : int
        Size of the body when it is decompressed.

    Returns
    -------
    fault : callable
        The fault, for `astro_morph.simulation.serve`.
    """
    return status(200, gzip.compress(bytes(n_bytes)), Content_Encoding='gzip')


def redirect(location):
    """Redirect to another address, which may be the same again."""
    return status(302, Location=location)


def _replace_by(answer, *, other):
    return other


def _cut(answer, *, fraction, is_announced):
    content = answer.content[: int(fraction * len(answer.content))]
    return replace(answer, body=content, length=None if is_announced else len(answer.content))


def _blank(answer):
    with fits.open(io.BytesIO(answer.content)) as hdus:
        for hdu in hdus:
            if hdu.data is not None:
                hdu.data = np.full(hdu.data.shape, np.nan, np.float32)
        return replace(answer, body=fits_bytes(hdus))


def _wait(answer, *, seconds):
    return replace(answer, pause=seconds)


def _reset(answer):
    return replace(answer, is_reset=True)


def _stream(answer, *, parts):
    return replace(answer, stream=parts)


def _drip(answer, *, pause):
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(answer.content)}\r\n\r\n'.encode()
    body = (bytes([byte]) for byte in answer.content)
    return replace(answer, stream=lambda: itertools.chain([head], _slowly(body, pause)))


def _headers_without_end(pause):
    yield b'HTTP/1.1 200 OK\r\n'
    yield from _slowly(itertools.repeat(b'X-More: yes\r\n'), pause)


def _body_without_end():
    yield b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
    yield from itertools.repeat(b'10000\r\n' + bytes(2**16) + b'\r\n')


def _slowly(parts, pause):
    for part in parts:
        time.sleep(pause)
        yield part
