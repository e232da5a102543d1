# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the column of image paths in a catalogue."""

from astro_morph.catalog.tables import is_text, normalize_name

__all__ = ['find_image_column']

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


def find_image_column(table):
    """
    Find the column of image paths by its name.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.

    Returns
    -------
    name : str or None
        The first column of text with a name such as ``image_path``, ``file_loc``, ``filename``
        or ``path``; None if there is none.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import find_image_column
    >>> find_image_column(Table({'id': [1], 'Image_Path': ['a.fits']}))
    'Image_Path'
    """
    for wanted in _IMAGE_NAMES:
        for name in table.colnames:
            if normalize_name(name) == wanted and is_text(table[name]):
                return name
    return None
