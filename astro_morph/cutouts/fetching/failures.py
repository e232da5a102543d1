# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Errors of requests for images, and the status that each gives its rows."""

import re

from astropy import log

from astro_morph.images.errors import ImageError

__all__ = ['FetchError', 'OutageError', 'as_failure', 'network_failure']

# Values in an address that let in whoever reads them, such as those of a signature; and accounts.
_SECRETS = re.compile(r'((?:signature|credential|token|key)[\w-]*=)[^&\s\'"]+', re.IGNORECASE)
_ACCOUNTS = re.compile(r'(://)[^/@\s\'"]+@')


class FetchError(Exception):
    """
    A request that brought no image.

    Parameters
    ----------
    status : str
        Status of the rows, such as ``'timeout'`` or ``'http_503'``; at most 20 characters.
    message : str, default=''
        A description of the error. Signatures and accounts in addresses are cut out of it.
    is_network : bool, default=False
        Whether the cause is the network or an overloaded server, so that the same request may
        succeed later.
    """

    def __init__(self, status, message='', *, is_network=False):
        super().__init__(_hide_secrets(message or status))
        self.status = status
        self.is_network = is_network


class OutageError(RuntimeError):
    """
    A service that does not answer at all.

    Parameters
    ----------
    message : str
        The message for the user.
    cutouts : `~astro_morph.CutoutSet`
        The cutouts fetched before the outage.

    Attributes
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts fetched before the outage; the cache has them too.
    """

    def __init__(self, message, cutouts):
        super().__init__(message)
        self.cutouts = cutouts


def as_failure(error, last_code):
    """
    Convert any exception of a service's client to a `FetchError`.

    Parameters
    ----------
    error : Exception
        The exception.
    last_code : int or None
        The HTTP code of the last answer.

    Returns
    -------
    failure : `FetchError`
        The error itself, the `FetchError` that caused it, or a new one.
    """
    cause = error
    while cause is not None:
        if isinstance(cause, FetchError):
            return cause
        if isinstance(cause, ImageError):
            return FetchError(cause.status, str(cause), is_network=cause.is_network)
        if (failure := network_failure(cause)) is not None:
            return failure
        cause = cause.__cause__ or cause.__context__
    # From 300: a redirection that leads nowhere.
    if last_code is not None and last_code >= 300:
        return FetchError(f'http_{last_code}', str(error))
    # No client documents what it raises for an answer that it can't read.
    log.info(f'an answer is taken for not_an_image because of {_hide_secrets(repr(error))}')
    return FetchError('not_an_image', repr(error))


def network_failure(error):
    """Return the `FetchError` of a time-out or a broken connection, None for other errors."""
    from requests import exceptions
    from urllib3.exceptions import TimeoutError as SocketTimeoutError

    # A body that arrives too slowly is a broken connection because of a time-out.
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


def _hide_secrets(text):
    return _ACCOUNTS.sub(r'\1...@', _SECRETS.sub(r'\1...', text))
