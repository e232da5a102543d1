# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Errors of image files; each has the status of its row: not_found, truncated..."""

from contextlib import contextmanager

__all__ = [
    'ImageError',
    'ImageNotFoundError',
    'NetworkImageError',
    'NotAnImageError',
    'TooLargeImageError',
    'TruncatedImageError',
    'UnsupportedImageError',
    'image_errors',
]


class ImageError(Exception):
    """An image can't be read; ``status`` is the status of its row in a cutout set."""

    status = 'unreadable'
    # Whether the cause is the network, so that the image may be read later.
    is_network = False


class ImageNotFoundError(ImageError):
    """The file does not exist."""

    status = 'not_found'


class TruncatedImageError(ImageError):
    """The file ends before the image does."""

    status = 'truncated'


class NotAnImageError(ImageError):
    """The file is complete, but does not hold an image."""

    status = 'not_an_image'


class UnsupportedImageError(ImageError):
    """The file is complete, but no decoder at hand reads its pixels without loss."""

    status = 'unsupported'


class TooLargeImageError(ImageError):
    """The image takes more memory than ``astro_morph.conf.max_image_size``."""

    status = 'too_large'


class NetworkImageError(ImageError):
    """
    The network or the server fails.

    Parameters
    ----------
    status : str
        Status of the row, such as ``'timeout'`` or ``'http_503'``.
    message : str
        A description of the error.
    is_network : bool, default=True
        Whether the same request may succeed later.
    """

    def __init__(self, status, message, *, is_network=True):
        super().__init__(message)
        self.status = status
        self.is_network = is_network


@contextmanager
def image_errors():
    """Turn any error about a file into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageNotFoundError(str(error)) from error
    except EOFError as error:
        raise TruncatedImageError(str(error)) from error
    except MemoryError as error:
        raise TooLargeImageError(str(error)) from error
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == 'PIL':
            raise  # no fault of the file
        # A time-out has no message.
        raise ImageError(str(error) or repr(error)) from error
