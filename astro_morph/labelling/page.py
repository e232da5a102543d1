# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The page on which galaxies are labelled: a thin face of a session, seen by this machine alone."""

import logging
import secrets
import string
import webbrowser
from concurrent.futures import ThreadPoolExecutor

__all__ = ['make_app', 'serve']

# The page is asked for by one of these names; any other comes from a site that has taken on the
# address of this machine.
HOSTS = ['127.0.0.1', 'localhost']


def serve(session, *, port=0, show=True):
    """
    Serve the page until Ctrl-C, and print its address.

    Parameters
    ----------
    session : `~astro_morph.labelling.LabellingSession`
        The session.
    port : int, optional
        The port; 0 for any that is free.
    show : bool, optional
        Whether to open the page in the browser.

    Raises
    ------
    ImportError
        If Flask is not installed.
    """
    token = secrets.token_urlsafe(16)
    app = make_app(session, token)
    from werkzeug.serving import make_server

    # It would list each request, and the token with it.
    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    server = make_server('127.0.0.1', port, app, threaded=True)
    address = f'http://127.0.0.1:{server.port}/{token}/'
    print(f'Label galaxies at {address}', flush=True)
    if show:
        webbrowser.open(address)
    server.serve_forever()


def make_app(session, token):
    """
    Make the web application of a session.

    Parameters
    ----------
    session : `~astro_morph.labelling.LabellingSession`
        The session.
    token : str
        What the path of each request must begin with.

    Returns
    -------
    app : `flask.Flask`
        The application.

    Raises
    ------
    ImportError
        If Flask is not installed.
    """
    try:
        from flask import Flask, abort, g, render_template, request
    except ImportError as error:
        msg = "the labelling page needs Flask; pip install 'astro-morph[label]'"
        raise ImportError(msg) from error

    app = Flask(__name__, static_folder=None, template_folder='.')
    app.config['TRUSTED_HOSTS'] = HOSTS
    learning = Learning(session)
    # Classes may be numbers, the page knows text.
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
    def confess(error):
        return {'error': f'the label is not saved: {error}'}, 500

    @app.get('/<token>/')
    def page(token):
        g.nonce = secrets.token_urlsafe(16)
        return render_template(
            'labelling.html', choices=choices, file=session.path.name, nonce=g.nonce
        )

    @app.get('/<token>/state')
    def state(token):
        return describe(session, learning)

    @app.post('/<token>/label')
    def label(token):
        name = request.form.get('label')
        session.label(request.form.get('row', type=int), names.get(name, name))
        learning.begin()
        return describe(session, learning)

    @app.post('/<token>/skip')
    def skip(token):
        session.skip(request.form.get('row', type=int))
        return describe(session, learning)

    @app.post('/<token>/undo')
    def undo(token):
        session.undo()
        learning.begin()
        return describe(session, learning)

    learning.begin()
    return app


class Learning:
    """
    What a session learns in the background, in order.

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
        """Learn what is new; nothing if an earlier turn has seen it."""
        self._last = self._pool.submit(self.session.learn)

    @property
    def is_going_on(self):
        """Whether there is more to come."""
        return not self._last.done()

    @property
    def error(self):
        """What went wrong, or None."""
        error = self._last.exception() if self._last.done() else None
        return error and f'learning has failed: {error}'


def describe(session, learning):
    """Say all that the page shows, as JSON takes it."""
    row = session.row
    return {
        'row': row,
        'picture': None if row is None else session.picture(row),
        'about': None if row is None else session.describe(row),
        'counts': list(session.counts.values()),
        'left': session.n_left,
        'can_undo': session.can_undo,
        'progress': session.progress,
        'is_learning': learning.is_going_on,
        'error': learning.error,
    }


def keys_of(classes):
    """
    Choose the keys of the classes: digits for the first nine, and a letter of each name.

    Parameters
    ----------
    classes : sequence
        The classes.

    Returns
    -------
    keys : list of list of str
        The keys of each class; none where letters have run out.
    """
    digits = [*string.digits[1:], *[''] * len(classes)]
    free = list(string.ascii_lowercase)
    keys = []
    for name, digit in zip(classes, digits, strict=False):
        letter = next((c for c in [*str(name).lower(), *free] if c in free), '')
        free = [c for c in free if c != letter]
        keys.append([key for key in (digit, letter) if key])
    return keys
