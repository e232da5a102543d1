# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The process that decodes tile-compressed FITS images: a damaged one ends it, and nothing else."""

import signal
import sys
import warnings
from contextlib import contextmanager

import numpy as np
from astropy.io import fits

__all__ = ['serve']


def serve():
    """
    Decode images from standard input, and write their pixels to standard output.

    A question is two numbers of 8 bytes, the memory that decoding may take and the length of a FITS
    file, and the file, of which the first extension is decoded. An answer is a line with the error,
    empty if there is none; then a line with the type and the shape of the pixels, and their bytes.
    """
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    # Ctrl-C is for the parent; when it ends, so does the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter('ignore')
    while start := questions.read(16):
        most_bytes, size = int.from_bytes(start[:8]), int.from_bytes(start[8:])
        content = questions.read(size)
        try:
            with _memory_limit(most_bytes):
                pixels = np.ascontiguousarray(_decode(content))
        except Exception as error:
            line = f'{type(error).__name__}: {error}'.replace('\n', ' ')
            answers.write(line.encode(errors='replace') + b'\n')
        else:
            form = ' '.join([pixels.dtype.str, *map(str, pixels.shape)])
            answers.write(f'\n{form}\n'.encode())
            answers.write(pixels.data.cast('B'))
        answers.flush()


def _decode(content):
    pixels = fits.HDUList.fromstring(content)[1].data
    if pixels is None:
        msg = 'there are no tiles'
        raise ValueError(msg)
    return pixels


@contextmanager
def _memory_limit(n_bytes):
    """Raise MemoryError where tiles decompress to much more than the image, on Linux."""
    try:
        import resource

        with open('/proc/self/statm') as file:
            in_use = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    hard = before[1]
    most = in_use + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
