# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What can go wrong with a request for images."""

from astropy import log

from astro_morph.images.reading import ImageError

__all__ = ['FetchError', 'OutageError', 'as_failure', 'network_failure']


class FetchError(Exception):
    """
    A request that brought no image.

    Parameters
    ----------
    status : str
        The word for it in a cutout set, such as ``'timeout'`` or ``'http_503'``; at most 20
        characters.
    message : str, optional
        What happened, for people.
    is_network : bool, optional
        Whether it came from the network or an overloaded server, so that the same request may
        succeed later.
    """

    def __init__(self, status, message='', *, is_network=False):
        super().__init__(message or status)
        self.status = status
        self.is_network = is_network


class OutageError(RuntimeError):
    """
    A service that does not answer at all.

    Parameters
    ----------
    message : str
        What to tell the user.
    cutouts : `~astro_morph.CutoutSet`
        What came before.

    Attributes
    ----------
    cutouts : `~astro_morph.CutoutSet`
        What came before; the cache has it too.
    """

    def __init__(self, message, cutouts):
        super().__init__(message)
        self.cutouts = cutouts


def as_failure(error, last_code):
    """
    Turn whatever the client of a service raised into a `FetchError`.

    Parameters
    ----------
    error : Exception
        What was raised.
    last_code : int or None
        The HTTP code of the last answer.

    Returns
    -------
    failure : `FetchError`
        The error, or the one that it came from, or what stands for it.
    """
    cause = error
    while cause is not None:
        if isinstance(cause, FetchError):
            return cause
        if isinstance(cause, ImageError):
            return FetchError(cause.status, str(cause))
        if (failure := network_failure(cause)) is not None:
            return failure
        cause = cause.__cause__ or cause.__context__
    if last_code is not None and last_code >= 400:
        return FetchError(f'http_{last_code}', str(error))
    # No client says what it raises for an answer that it can't read.
    log.info(f'an answer is taken for not_an_image because of {error!r}')
    return FetchError('not_an_image', repr(error))


def network_failure(error):
    """Turn a time-out or a broken connection, as requests raises them, into a `FetchError`."""
    from requests import exceptions
    from urllib3.exceptions import TimeoutError as SocketTimeoutError

    # A body that comes too slowly is a broken connection because of a time-out.
    slow = exceptions.Timeout, SocketTimeoutError
    broken = (
        exceptions.ConnectionError,
        exceptions.ChunkedEncodingError,
        exceptions.ContentDecodingError,
    )
    if any(isinstance(cause, slow) for cause in (error, *error.args)):
        return FetchError('timeout', str(error), is_network=True)
    if isinstance(error, broken):
        return FetchError('connection', str(error), is_network=True)
    return None
