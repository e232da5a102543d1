# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Name arguments in messages as the caller wrote them, cut long lists, and shorten errors."""

import contextlib
import shlex

__all__ = [
    'as_written',
    'cut_list',
    'for_caller',
    'in_one_line',
    'naming_packages',
    'on_command_line',
]

# Packages whose names differ from those of their modules.
_PACKAGES = {
    'PIL': 'pillow',
    'faiss': 'faiss-cpu',
    'sklearn': 'scikit-learn',
    'skimage': 'scikit-image',
}

# Errors whose message says all that the user needs.
_PLAIN = (ImportError, OSError, ValueError, Warning)

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


def for_caller(in_python, on_command_line):
    """
    Return the part of a message that the caller can act on.

    Parameters
    ----------
    in_python : str
        What a caller in Python can do.
    on_command_line : str
        What somebody on the command line can do.

    Returns
    -------
    text : str
        The second one while the command line runs a task.

    Examples
    --------
    >>> from astro_morph.utils.messages import for_caller, on_command_line
    >>> for_caller('set zero_point', 'use --zero-point')
    'set zero_point'
    >>> with on_command_line({'overwrite': '--overwrite'}):
    ...     for_caller('set zero_point', 'use --zero-point')
    'use --zero-point'
    """
    return on_command_line if _options else in_python


def in_one_line(error):
    """
    Describe an exception in one line, for a command line or a log.

    Parameters
    ----------
    error : Exception
        The exception, of this package or any other.

    Returns
    -------
    text : str
        The first line of its message; of a missing package how to install it; of an error of the
        operating system the file and what happened; of an unexpected error its type too.

    Examples
    --------
    >>> from astro_morph.utils.messages import in_one_line
    >>> in_one_line(ModuleNotFoundError("No module named 'PIL'", name='PIL'))
    'this needs the package pillow, which is not installed; python -m pip install pillow'
    >>> in_one_line(KeyError('flux'))
    "KeyError: 'flux'"
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition('.')[0]
        package = _PACKAGES.get(module, module)
        return (
            f'this needs the package {package}, which is not installed; '
            f'python -m pip install {package}'
        )
    if isinstance(error, OSError) and error.strerror:
        where = '' if error.filename is None else f'{error.filename}: '
        return f'{where}{error.strerror}'
    if isinstance(error, MemoryError):
        return 'there is not enough memory'
    lines = filter(None, map(str.strip, str(error).splitlines()))
    text = next(lines, '')
    is_plain = text and (
        isinstance(error, _PLAIN) or type(error).__module__.startswith('astro_morph')
    )
    return text if is_plain else f'{type(error).__name__}: {text}'.removesuffix(': ')


@contextlib.contextmanager
def naming_packages():
    """
    Tell how to install a package that is missing.

    Raises
    ------
    ModuleNotFoundError
        If the block imports a module that is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(in_one_line(error), name=error.name) from error


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
