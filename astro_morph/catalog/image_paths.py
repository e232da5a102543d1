# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the column of image paths in a catalogue, and read the paths."""

import os
import re
from itertools import islice
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from astro_morph.catalog.tables import is_text, normalize_name
from astro_morph.utils.messages import cut_list

__all__ = ['find_image_column', 'locate_image', 'read_image_paths']

# The most specific names first: a column 'file' may not be about images.
_IMAGE_NAMES = (
    'imagepath',
    'imagefile',
    'imagefilename',
    'imgpath',
    'imgfile',
    'cutoutpath',
    'cutoutfile',
    'fileloc',
    'filepath',
    'filename',
    'path',
    'file',
    'image',
    'img',
    'cutout',
)

# How the names of images end. Text of a column with another name is a path only if it ends so.
_ENDINGS = re.compile(
    r'\.(fits?|fts|fz|npy|jpe?g|png|tiff?|gif|bmp|webp)(\.(gz|bz2|fz))?(\[[^\[\]]+\])?$',
    re.IGNORECASE,
)

# Paths whose files are looked for in each column, among its first rows.
_N_TRIED = 20
_N_ROWS = 1000


def find_image_column(table, *, folder=None, report=None):
    """
    Find the column of image paths by its name, and by the files that exist.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.
    folder : str or `~pathlib.Path`, default=None
        The folder that relative paths start from; the current folder if None.
    report : callable, default=None
        Called with a message if the choice was between several columns.

    Returns
    -------
    name : str or None
        A column of text with a name such as ``image_path``, ``file_loc``, ``filename`` or
        ``path``, or with another name if its values end as those of images and such files exist.
        Of several, the one most of whose first files exist. None if there is none.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import find_image_column
    >>> find_image_column(Table({'id': [1], 'Image_Path': ['a.fits']}))
    'Image_Path'
    """
    named = [
        name
        for wanted in _IMAGE_NAMES
        for name in table.colnames
        if normalize_name(name) == wanted and _holds_paths(table[name])
    ]
    others = [
        name for name in table.colnames if name not in named and _looks_like_images(table[name])
    ]
    candidates = named + others
    if len(candidates) < 2 and named:
        return named[0]
    n_found = {name: _count_files(table[name], folder) for name in candidates}
    best = max(candidates, key=n_found.get, default=None)
    if best is None or not n_found[best]:
        return named[0] if named else None
    candidates.remove(best)
    if candidates and report is not None:
        report(
            f'image paths are read from the column {best!r}, whose files exist; '
            f'{cut_list(candidates)} could hold image paths too'
        )
    return best


def read_image_paths(column):
    """
    Read the image path in each row of a column.

    Parameters
    ----------
    column : `~astropy.table.Column`
        Text, bytes, or objects with paths among them.

    Returns
    -------
    paths : list of str or None
        None where a cell is masked, empty or no path.

    Examples
    --------
    >>> from pathlib import Path
    >>> from astro_morph.catalog.image_paths import read_image_paths
    >>> read_image_paths([b'a.fits', Path('b.fits'), ' ', None, 3])
    ['a.fits', 'b.fits', None, None, None]
    """
    mask = np.broadcast_to(getattr(column, 'mask', False), len(column))
    return [None if masked else _as_path(cell) for cell, masked in zip(column, mask, strict=True)]


def locate_image(path, folder=None):
    """
    Return the path of an image file, without ``~``, from the folder that it starts from.

    Parameters
    ----------
    path : str
        The path as a catalogue has it, or a ``file://`` URL.
    folder : str or `~pathlib.Path`, default=None
        The folder that a relative path starts from; the current folder if None.

    Returns
    -------
    path : str
        The path; there may be no such file.

    Raises
    ------
    ValueError
        If it is nothing that the system could have as a path.

    Examples
    --------
    >>> from astro_morph.catalog.image_paths import locate_image
    >>> locate_image('tiles/a.fits', '/data'), locate_image('/tiles/a.fits', '/data')
    ('/data/tiles/a.fits', '/tiles/a.fits')
    """
    if path.startswith('file://'):
        path = url2pathname(urlsplit(path).path)
    return os.path.join(os.path.expanduser(folder or ''), os.path.expanduser(path))


def _as_path(cell):
    if isinstance(cell, os.PathLike):
        cell = os.fspath(cell)
    if isinstance(cell, bytes):
        # As the system has it, whatever its encoding.
        cell = os.fsdecode(cell)
    return cell.strip() or None if isinstance(cell, str) else None


def _holds_paths(column):
    """Check whether a column holds text, or objects such as paths."""
    if len(getattr(column, 'shape', ())) != 1 or not hasattr(column, 'dtype'):
        return False
    is_object = getattr(column.dtype, 'kind', None) == 'O'
    return is_text(column) or (is_object and any(_first_paths(column)))


def _looks_like_images(column):
    """Check whether the first text of a column ends as the name of an image does."""
    first = next(_first_paths(column), '') if _holds_paths(column) else ''
    return _ENDINGS.search(first) is not None


def _count_files(column, folder):
    """Count the files that exist among the first paths of a column."""
    return sum(_exists(path, folder) for path in islice(_first_paths(column), _N_TRIED))


def _exists(path, folder):
    try:
        path = locate_image(path, folder)
    except ValueError:  # the name of a user that the system can't look up
        return False
    return os.path.exists(path) or os.path.exists(re.sub(r'\[[^\[\]]+\]$', '', path))


def _first_paths(column):
    return filter(None, read_image_paths(column[:_N_ROWS]))
