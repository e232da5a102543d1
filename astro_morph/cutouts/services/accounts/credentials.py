# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Credentials, the user's token, password or session: sent to one server, and kept nowhere."""

import os
from urllib.parse import urlsplit

from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.utils.messages import for_caller

__all__ = ['Credentials']

# The answer to a token that is valid, but not for this (https://www.rfc-editor.org/rfc/rfc6750).
_NO_SCOPE = 'insufficient_scope'

# This machine, to which secrets may go in plain text: there is no network between.
_LOOPBACK = ('127.0.0.1', '::1', 'localhost')

# Ports that an address need not name.
_PORTS = {'http': 80, 'https': 443}


class Credentials:
    """
    What the user hands over to be let in by a service.

    They are sent to the server of the service alone, encrypted, and not to where it redirects.
    They are in no representation, copy on disk or pickle: a process that unpickles them reads its
    environment. What is in the environment goes to one domain, whatever the file of a survey says.

    Parameters
    ----------
    given : str, (str, str), `requests.Session`, `pyvo.auth.AuthSession` or None
        A token, a name and a password, or a session that has them; None to read the environment.
    argument : str
        The argument of the source that has them, for messages.
    variables : sequence of str
        The environment variables: that of a token, or those of a name and a password.
    domain : str
        Whose servers what is in the environment is for.

    Raises
    ------
    TypeError
        If ``given`` is none of these.

    Examples
    --------
    >>> from astro_morph.cutouts.services.accounts.credentials import Credentials
    >>> Credentials('gt-secret', 'token', ['RSP_TOKEN'], 'lsst.cloud')
    <Credentials: token>
    """

    def __init__(self, given, argument, variables, domain):
        self._given, self._argument = given, argument
        self._variables, self._domain = tuple(variables), domain
        is_text = _is_text(given) if len(self._variables) == 1 else _is_pair(given)
        if not (given is None or is_text or _is_session(given)):
            expected = 'a token' if len(self._variables) == 1 else 'a name and a password'
            # Not the value, which may be a secret.
            msg = (
                f'{argument} is of type {type(given).__name__}, expected {expected} in text '
                'that is not empty, a requests.Session or a pyvo.auth.AuthSession'
            )
            raise TypeError(msg)

    def __repr__(self):
        return f'<Credentials: {self._argument}>'

    def __reduce__(self):
        return Credentials, (None, self._argument, self._variables, self._domain)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def authorise(self, session, address):
        """
        Make a session send the credentials to the server of an address, and to no other.

        Parameters
        ----------
        session : `requests.Session`
            The session, changed in place.
        address : str
            An address on the server.

        Raises
        ------
        ValueError
            If nothing was handed over, and the environment has nothing for this server; or if the
            address is not encrypted.
        """
        server, owner = _server_of(address), self._make_session()
        self._check(*server)

        def add_headers(request):
            if _server_of(request.url) == server:
                request.headers.update(_headers_of(owner, request.url))
            return request

        session.auth = add_headers
        session.hooks['response'].append(self._refuse)

    def _make_session(self):
        """Return a session that has the credentials: that of the user, or one of ours."""
        import requests

        given = self._read_environment() if self._given is None else self._given
        if _is_session(given):
            return given
        session = requests.Session()
        session.trust_env = False  # .netrc may have other credentials
        if isinstance(given, str):
            session.headers['Authorization'] = f'Bearer {given.strip()}'
        else:
            session.auth = tuple(given)
        return session

    def _check(self, scheme, host, port):
        """Refuse a server that must not have the credentials."""
        if host in _LOOPBACK:
            return
        if scheme != 'https':
            msg = (
                f'the address of {host} begins with {scheme}:, expected https:, because others can '
                f'read the {self._argument} on the way; change the address'
            )
            raise ValueError(msg)
        if self._given is None and not f'.{host}'.endswith(f'.{self._domain}'):
            msg = (
                f'{" and ".join(self._variables)} of the environment is for {self._domain}, and is '
                f'not sent to {host}; '
                + for_caller(f'pass {self._argument}=', 'use Python, and pass it')
                + ' if you trust that server'
            )
            raise ValueError(msg)

    def _read_environment(self):
        found = [os.environ.get(name, '').strip() for name in self._variables]
        if not all(found):
            msg = (
                f'{self._argument} is missing; {for_caller(f"pass {self._argument}=, or ", "")}'
                f'set {" and ".join(self._variables)} in the environment'
            )
            raise ValueError(msg)
        return found if len(found) > 1 else found[0]

    def _refuse(self, response, **options):
        """Count a refusal as a failure of the network, which ends a run before its last row."""
        code, challenge = response.status_code, response.headers.get('WWW-Authenticate', '')
        if code == 401 or (code == 403 and _NO_SCOPE in challenge):
            msg = f'the server refuses the {self._argument}, which may have expired or lack a scope'
            raise FetchError(status=f'http_{code}', message=msg, is_network=True)


def _is_text(given):
    return isinstance(given, str) and bool(given.strip())


def _is_pair(given):
    return isinstance(given, (list, tuple)) and len(given) == 2 and all(map(_is_text, given))


def _is_session(given):
    return hasattr(given, 'prepare_request') or hasattr(given, 'credentials')


def _headers_of(session, url):
    """Return the headers with which a session authorises a request."""
    from requests import Request

    if hasattr(session, 'credentials'):
        # pyvo's has a session for each way to authorise.
        ways = session._auth_urls.allowed_auth_methods(url)
        session = session.credentials.get(session.credentials.negotiate_method(ways))
    headers = session.prepare_request(Request('GET', url)).headers
    return {name: headers[name] for name in ('Authorization', 'Cookie') if name in headers}


def _server_of(url):
    """Return the scheme, the host and the port of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
