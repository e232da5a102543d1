# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Faults of image services for tests: errors, broken connections, truncated files."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
from astropy.io import fits

from astro_morph.simulation.services.rendering import fits_bytes
from astro_morph.simulation.services.server import Answer

__all__ = ['all_nan', 'broken', 'html', 'reset', 'slow', 'status', 'truncated']

PAGE = '<html><body><h1>Service temporarily unavailable</h1></body></html>'


def status(code, body=PAGE, **headers):
    """
    Answer with an error.

    Parameters
    ----------
    code : int
        The HTTP status.
    body : str or dict, default=PAGE
        A page, or a dictionary that is sent as JSON.
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
