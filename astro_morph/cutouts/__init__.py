# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Image cutouts: the container, and the sources that fill it."""

from .columns import ImageColumns
from .core import CutoutSet, CutoutSource
from .files import ImageFiles
from .first_of import FirstOf
from .mosaics import Mosaics
from .samples import as_cutouts, as_source, catalogue_of, holds_images, stream_cutouts

__all__ = [
    'CutoutSet',
    'CutoutSource',
    'FirstOf',
    'ImageColumns',
    'ImageFiles',
    'Mosaics',
    'as_cutouts',
    'as_source',
    'catalogue_of',
    'holds_images',
    'stream_cutouts',
]
