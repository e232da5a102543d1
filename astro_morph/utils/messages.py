# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Name arguments in messages as the caller wrote them, and cut long lists of names."""

import contextlib
import shlex

__all__ = ['as_written', 'cut_list', 'on_command_line']

# The option of each argument, while the command line runs a task.
_options = {}


def as_written(name, *value):
    """
    Return an argument as the caller wrote it, for a message.

    Parameters
    ----------
    name : str
        Name of the argument.
    *value : object
        Its value, if the message shows it.

    Returns
    -------
    text : str
        ``name`` or ``name=value``; while the command line runs a task that has such an option,
        the option.

    Examples
    --------
    >>> from astro_morph.utils.messages import as_written, on_command_line
    >>> as_written('source'), as_written('overwrite', True), as_written('views', 4)
    ('source', 'overwrite=True', 'views=4')
    >>> with on_command_line({'overwrite': '--overwrite', 'views': '--views'}):
    ...     as_written('source'), as_written('overwrite', True), as_written('views', 4)
    ('source', '--overwrite', '--views 4')
    """
    option = _options.get(name)
    if not value:
        return option or name
    if option is None:
        return f'{name}={value[0]!r}'
    if value[0] is True:
        return option
    words = value[0] if isinstance(value[0], tuple) else value
    return f'{option} {shlex.join(map(str, words))}'


def cut_list(names):
    """
    Return a list of names as text, for a message.

    Parameters
    ----------
    names : iterable of str
        The names.

    Returns
    -------
    text : str
        The list; of more than ten names the first ten, and how many there are.

    Examples
    --------
    >>> from astro_morph.utils.messages import cut_list
    >>> cut_list(['ra', 'dec']), cut_list('abcdefghijklm')[-21:]
    ("['ra', 'dec']", "'j', ...] (13 in all)")
    """
    names = list(names)
    return str(names) if len(names) <= 10 else f'{str(names[:10])[:-1]}, ...] ({len(names)} in all)'


@contextlib.contextmanager
def on_command_line(options):
    """
    Name arguments as options in all messages.

    Parameters
    ----------
    options : dict
        The option of each argument.
    """
    _options.update(options)
    try:
        yield
    finally:
        _options.clear()
