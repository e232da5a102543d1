# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Image cutouts: the container, and the sources that fill it."""

from .cache import CutoutCache
from .columns import ImageColumns
from .core import CutoutSet, CutoutSource, grid_of
from .failures import FetchError, OutageError
from .files import ImageFiles
from .first_of import FirstOf
from .hips2fits import Hips2Fits
from .mast import MastCutouts
from .mosaics import Mosaics
from .remote import RemoteSource
from .rendering import as_pictures
from .samples import as_cutouts, as_source, catalogue_of, holds_images, stream_cutouts
from .sdss import SdssFrames
from .sia import SiaImages
from .skyview import SkyView
from .storage import holds_cutouts
from .wfau import WfauImages

__all__ = [
    'CutoutCache',
    'CutoutSet',
    'CutoutSource',
    'FetchError',
    'FirstOf',
    'Hips2Fits',
    'ImageColumns',
    'ImageFiles',
    'MastCutouts',
    'Mosaics',
    'OutageError',
    'RemoteSource',
    'SdssFrames',
    'SiaImages',
    'SkyView',
    'WfauImages',
    'as_cutouts',
    'as_pictures',
    'as_source',
    'catalogue_of',
    'grid_of',
    'holds_cutouts',
    'holds_images',
    'stream_cutouts',
]
