# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Decode tile-compressed FITS images in a process of their own.

Astropy's compiled decoders write beyond their memory when an image is damaged, which aborts the
process, and decompress a tile to any size. The process is started at the first such image, and
kept: an image compressed by RICE or gzip takes 1.2 to 1.7 times as long as without it, one by
HCOMPRESS or PLIO, which is decoded in a fork, 3 to 5 times.
"""

import atexit
import io
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
from astropy.io import fits

from astro_morph.images.decoding.limits import claim_pixels
from astro_morph.images.decoding.worker import DAMAGED
from astro_morph.images.errors import ImageError

__all__ = ['decode_tiles', 'is_fragile']

# Seconds after which the process is ended, and bytes of pixels for each further second. The slowest
# decoder has 80 MB/s; but tiles may share their bytes, so that a small file takes hours.
_PATIENCE = 30
_SLOWEST = 5e6

_START = (
    'import sys; sys.path[:] = {path!r}; '
    'from astro_morph.images.decoding.worker import serve; serve()'
)


def decode_tiles(hdu):
    """
    Return the pixels of a tile-compressed image.

    Parameters
    ----------
    hdu : `~astropy.io.fits.CompImageHDU`
        The image, as read from a file.

    Returns
    -------
    pixels : `~numpy.ndarray`
        Its pixels.

    Raises
    ------
    ImageError
        If it is damaged, even if that ends the process that decodes it.
    TooLargeImageError
        If it takes more than ``astro_morph.conf.max_image_size``.
    """
    n_bytes = claim_pixels(hdu)
    if min(hdu.tile_shape) < 1:
        msg = f'the FITS image has tiles of shape {hdu.tile_shape}'
        raise ImageError(msg)
    # Astropy copies compressed tiles as they are.
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(content, output_verify='ignore')
    # A fork must not use the process of its parent.
    decoder = _decoders.setdefault(os.getpid(), _Decoder())
    error, pixels = decoder.decode(content.getbuffer(), n_bytes)
    if error:
        raise ImageError(error)
    return pixels


def is_fragile(header):
    """
    Check whether damage could end the process that decodes an image.

    Astropy's decoders of RICE and gzip stay within their memory as long as the settings are those
    of the FITS standard, version 4.0, section 10.4.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The header of an image or of a table that holds a compressed one.

    Returns
    -------
    is_fragile : bool
        False for images that are not compressed.
    """
    if 'ZCMPTYPE' not in header:
        return False
    settings = {
        str(header[f'ZNAME{n}']).upper(): header.get(f'ZVAL{n}')
        for n in range(9)
        if f'ZNAME{n}' in header
    }
    return not (
        header['ZCMPTYPE'] in ('RICE_1', 'RICE_ONE', 'GZIP_1', 'GZIP_2', 'NOCOMPRESS')
        and settings.get('BYTEPIX', 4) in (1, 2, 4)
        and settings.get('BLOCKSIZE', 32) in (16, 32)
        and header.get('ZDITHER0', 1) in range(10001)
    )


class _Decoder:
    """A process that decodes one image at a time, for all threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process = None

    def decode(self, content, n_bytes):
        """Return the error, empty if there is none, and the pixels."""
        with self._lock:
            process = self._process = self._process or _start()
            timer = threading.Timer(_PATIENCE + n_bytes / _SLOWEST, _kill, [process])
            timer.start()
            try:
                return _ask(process, content, n_bytes)
            except (EOFError, OSError, ValueError):
                self._end()
                return DAMAGED, None
            except BaseException:
                # Its answer would be taken for that of the next image.
                self._end()
                raise
            finally:
                timer.cancel()

    def _end(self):
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            process.wait()


_decoders = {}


@atexit.register
def _end_own():
    if os.getpid() in _decoders:
        _decoders[os.getpid()]._end()


def _start():
    code = _START.format(path=sys.path)
    # The message of an abort is for developers.
    return subprocess.Popen(  # noqa: S603 - runs code of this package
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _kill(process):
    """End a process and its fork."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, 'killpg') else process.kill()


def _ask(process, content, n_bytes):
    """Send an image, and return the answer as in `_Decoder.decode`."""
    for number in (n_bytes, len(content)):
        process.stdin.write(number.to_bytes(8))
    process.stdin.write(content)
    process.stdin.flush()
    line = process.stdout.readline()
    if not line.endswith(b'\n'):
        raise EOFError
    if line.strip():
        return line.decode().strip(), None
    dtype, *shape = process.stdout.readline().decode().split()
    pixels = np.empty(tuple(map(int, shape)), dtype)
    if process.stdout.readinto(pixels.data.cast('B')) < pixels.nbytes:
        raise EOFError
    return '', pixels
