# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The process that decodes tile-compressed FITS images, those that may end it in forks of it."""

import math
import mmap
import os
import re
import signal
import sys
import warnings
from contextlib import contextmanager

import numpy as np
from astropy.io import fits

__all__ = ['DAMAGED', 'serve']

#: The answer to an image that ends its fork.
DAMAGED = 'a damaged tile-compressed image ends its decoder, or takes too long'

# Memory for an image, in units of its pixels: the tiles, the pixels, and these scaled. And bytes
# for what else Python takes.
_ROOM = 3
_SLACK = 2**26

# Images whose decoders write beyond their memory when they are damaged. A new fork takes 0.01 s.
_FRAGILE = re.compile(b"ZCMPTYPE= '(HCOMPRESS|PLIO)")

# Bytes of a description, in front of the pixels.
_HEAD = 1024


def serve():
    """
    Decode images from standard input, and write their pixels to standard output.

    A question is two numbers of 8 bytes, the most bytes of the pixels and the length of a FITS
    file, and the file, of which the first extension is decoded. An answer is a line with the error,
    empty if there is none; then a line with the type and the shape of the pixels, and their bytes.
    """
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    # Ctrl-C is for the parent; when it ends, so does the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter('ignore')
    while start := questions.read(16):
        n_bytes, size = int.from_bytes(start[:8]), int.from_bytes(start[8:])
        content = questions.read(size)
        with mmap.mmap(-1, _HEAD + n_bytes) as room:
            is_whole = _decode_apart(content, room)
            head = room[:_HEAD].rstrip(b'\0') if is_whole else DAMAGED.encode()
            error, has_pixels, form = head.partition(b'\n')
            answers.write(error + b'\n')
            if has_pixels:
                dtype, *shape = form.decode().split()
                size = np.dtype(dtype).itemsize * math.prod(map(int, shape))
                answers.write(form + b'\n')
                answers.write(memoryview(room)[_HEAD : _HEAD + size])
        answers.flush()


def _decode_apart(content, room):
    """Decode an image into shared memory; return if the process that did so came to its end."""
    if not hasattr(os, 'fork') or not _FRAGILE.search(content):
        _decode(content, room)
        return True
    fork = os.fork()
    if not fork:
        try:
            _decode(content, room)
        finally:
            # Without cleaning up, which the damage of memory may end.
            os._exit(0)
    return os.waitpid(fork, 0)[1] == 0


def _decode(content, room):
    """Write the error, or an empty line and the form of the pixels, and the pixels behind it."""
    try:
        with _memory_limit(_ROOM * len(room) + _SLACK):
            pixels = np.ascontiguousarray(fits.HDUList.fromstring(content)[1].data)
        room[_HEAD : _HEAD + pixels.nbytes] = pixels.data.cast('B')
        head = '\n' + ' '.join([pixels.dtype.str, *map(str, pixels.shape)])
    except Exception as error:
        head = f'{type(error).__name__}: {error}'.replace('\n', ' ')
    line = head.encode(errors='replace')[:_HEAD]
    room[: len(line)] = line


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
    most, hard = in_use + n_bytes, before[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
