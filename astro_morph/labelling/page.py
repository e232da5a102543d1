# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Serve the labelling page, the front end to a session, to this machine only."""

import logging
import secrets
import socket
import string
import webbrowser
from concurrent.futures import ThreadPoolExecutor

from astro_morph.utils.messages import as_written, naming_packages

__all__ = ['check_flask', 'listen', 'make_app', 'serve']

# Names under which the browser may ask for the page. Any other comes from a web site whose name
# was pointed at the address of this machine (DNS rebinding).
HOSTS = ['127.0.0.1', 'localhost']


def check_flask():
    """
    Check that Flask is installed.

    Raises
    ------
    ModuleNotFoundError
        If it is not; the message says how to install it.
    """
    with naming_packages():
        import flask  # noqa: F401


def listen(port):
    """
    Open a port of this machine, which only this machine can reach.

    Parameters
    ----------
    port : int
        The port; 0 for any free one.

    Returns
    -------
    listener : `socket.socket`
        The open port.

    Raises
    ------
    ValueError
        If the port is in use, or reserved.
    """
    try:
        return socket.create_server((HOSTS[0], port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        msg = f'{as_written("port", port)} cannot be used ({reason}); choose another'
        raise ValueError(msg) from error


def serve(session, *, port=0, show=True):
    """
    Serve the page until Ctrl-C, and print its address.

    Parameters
    ----------
    session : `~astro_morph.labelling.LabellingSession`
        The session.
    port : int, default=0
        The port; 0 for any free one.
    show : bool, default=True
        Whether to open the page in the browser.

    Raises
    ------
    ModuleNotFoundError
        If Flask is not installed.
    ValueError
        If the port cannot be used.
    """
    token = secrets.token_urlsafe(16)
    app = make_app(session, token)
    from werkzeug.serving import make_server

    # Its log would show each request with the token.
    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    with listen(port) as listener:
        # Given a port in use, it would end the process.
        server = make_server(HOSTS[0], 0, app, threaded=True, fd=listener.fileno())
        address = f'http://{HOSTS[0]}:{server.port}/{token}/'
        print(f'Label galaxies at {address}', flush=True)
        if show:
            webbrowser.open(address)
        server.serve_forever()


def make_app(session, token):
    """
    Build the web application of a session.

    Parameters
    ----------
    session : `~astro_morph.labelling.LabellingSession`
        The session.
    token : str
        Secret with which the path of each request must begin.

    Returns
    -------
    app : `flask.Flask`
        The application.

    Raises
    ------
    ModuleNotFoundError
        If Flask is not installed.
    """
    check_flask()
    from flask import Flask, abort, g, render_template, request

    app = Flask(__name__, static_folder=None, template_folder='.')
    app.config['TRUSTED_HOSTS'] = HOSTS
    learning = Learning(session)
    # Classes may be numbers, but the page sends text.
    names = {str(name): name for name in session.classes}
    choices = list(zip(names, keys_of(names), strict=True))

    @app.before_request
    def check_token():
        given = (request.view_args or {}).get('token', '')
        is_ours = secrets.compare_digest(given.encode(), token.encode())
        origin = request.headers.get('Origin', request.host_url)
        if not is_ours or origin.rstrip('/') != request.host_url.rstrip('/'):
            abort(403)

    @app.after_request
    def protect(response):
        nonce = g.get('nonce', '')
        response.headers['Content-Security-Policy'] = (
            "default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; "
            f"frame-ancestors 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
        )
        response.headers['Referrer-Policy'] = 'no-referrer'
        response.headers['Cache-Control'] = 'no-store'
        return response

    @app.errorhandler(ValueError)
    def refuse(error):
        return {'error': str(error)}, 400

    @app.errorhandler(OSError)
    def report_unsaved(error):
        return {'error': f'the label is not saved: {error}'}, 500

    @app.get('/<token>/')
    def page(token):
        g.nonce = secrets.token_urlsafe(16)
        return render_template(
            'labelling.html', choices=choices, file=session.path.name, nonce=g.nonce
        )

    @app.get('/<token>/state')
    def state(token):
        return page_state(session, learning)

    @app.post('/<token>/label')
    def label(token):
        name = request.form.get('label')
        session.label(request.form.get('row', type=int), names.get(name, name))
        learning.begin()
        return page_state(session, learning)

    @app.post('/<token>/skip')
    def skip(token):
        session.skip(request.form.get('row', type=int))
        return page_state(session, learning)

    @app.post('/<token>/undo')
    def undo(token):
        session.undo()
        learning.begin()
        return page_state(session, learning)

    learning.begin()
    return app


class Learning:
    """
    Train the classifier of a session in the background.

    Parameters
    ----------
    session : `~astro_morph.labelling.LabellingSession`
        The session.
    """

    def __init__(self, session):
        self.session = session
        self._pool = ThreadPoolExecutor(1, 'learning')
        self._last = None

    def begin(self):
        """Learn from the labels after any learning that is under way."""
        self._last = self._pool.submit(self.session.learn)

    @property
    def is_going_on(self):
        """Whether learning is under way."""
        return not self._last.done()

    @property
    def error(self):
        """Error message of the last learning, or None."""
        error = self._last.exception() if self._last.done() else None
        return error and f'learning has failed: {error}'


def page_state(session, learning):
    """Return all that the page shows, for JSON."""
    row = session.row
    return {
        'row': row,
        'picture': None if row is None else session.picture(row),
        'about': None if row is None else session.row_info(row),
        'counts': list(session.counts.values()),
        'left': session.n_left,
        'can_undo': session.can_undo,
        'progress': session.progress,
        'is_learning': learning.is_going_on,
        'error': learning.error,
    }


def keys_of(classes):
    """List the keys of each class: a digit for the first nine, and a letter while any is left."""
    digits = [*string.digits[1:], *[''] * len(classes)]
    free = list(string.ascii_lowercase)
    keys = []
    for name, digit in zip(classes, digits, strict=False):
        letter = next((c for c in [*str(name).lower(), *free] if c in free), '')
        free = [c for c in free if c != letter]
        keys.append([key for key in (digit, letter) if key])
    return keys
