# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the models that come with the package, and tell formats of files of weights."""

from pathlib import Path

__all__ = ['DEFAULT_ENCODER', 'bundled_names', 'bundled_path', 'holds_safetensors']

#: The bundled encoder from which a fit starts by default.
DEFAULT_ENCODER = 'skies-resnet18'

FOLDER = Path(__file__).parent


def bundled_names():
    """List the names of the models that come with the package."""
    return sorted(path.stem for path in FOLDER.glob('*.pt'))


def bundled_path(name):
    """
    Find the file of a model that comes with the package.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    path : `pathlib.Path`
        The file.

    Raises
    ------
    ValueError
        If there is no such model.
    """
    if name not in bundled_names():
        msg = f'there is no bundled model {name!r}; pass one of {bundled_names()}'
        raise ValueError(msg)
    return FOLDER / f'{name}.pt'


def holds_safetensors(path):
    """Check whether a file is one of safetensors, whatever its name."""
    with open(path, 'rb') as file:
        # The length of the header in eight bytes, and the header, a dictionary in JSON.
        return file.read(9)[8:] == b'{'
