# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Image cutouts: the container, and its sources: image files, mosaics, services."""

from astro_morph.cutouts.cutout_set import CutoutSet
from astro_morph.cutouts.fallback import FirstOf
from astro_morph.cutouts.fetching.cache import CutoutCache
from astro_morph.cutouts.fetching.failures import FetchError, OutageError
from astro_morph.cutouts.image_columns import ImageColumns
from astro_morph.cutouts.image_files import ImageFiles
from astro_morph.cutouts.inputs import (
    as_cutouts,
    as_samples,
    as_source,
    catalog_of,
    holds_images,
    stream_cutouts,
)
from astro_morph.cutouts.mosaics import Mosaics
from astro_morph.cutouts.sdss_pictures import as_pictures
from astro_morph.cutouts.services.accounts.hsc import HscCutouts
from astro_morph.cutouts.services.accounts.rubin import RubinCutouts
from astro_morph.cutouts.services.direct.dja import DjaCutouts
from astro_morph.cutouts.services.direct.legacy import LegacyCutouts
from astro_morph.cutouts.services.direct.panstarrs import PanStarrsCutouts
from astro_morph.cutouts.services.euclid.esa import EsaEuclid
from astro_morph.cutouts.services.euclid.irsa import EuclidMosaics
from astro_morph.cutouts.services.hips2fits import Hips2Fits
from astro_morph.cutouts.services.mast import MastCutouts
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.cutouts.services.sdss import SdssFrames
from astro_morph.cutouts.services.sia import SiaImages
from astro_morph.cutouts.services.skyview import SkyView
from astro_morph.cutouts.services.wfau import WfauImages
from astro_morph.cutouts.sizes import grid_of
from astro_morph.cutouts.source import CutoutSource
from astro_morph.cutouts.storage import holds_cutouts

__all__ = [
    'CutoutCache',
    'CutoutSet',
    'CutoutSource',
    'DjaCutouts',
    'EsaEuclid',
    'EuclidMosaics',
    'FetchError',
    'FirstOf',
    'Hips2Fits',
    'HscCutouts',
    'ImageColumns',
    'ImageFiles',
    'LegacyCutouts',
    'MastCutouts',
    'Mosaics',
    'OutageError',
    'PanStarrsCutouts',
    'RemoteSource',
    'RubinCutouts',
    'SdssFrames',
    'SiaImages',
    'SkyView',
    'WfauImages',
    'as_cutouts',
    'as_pictures',
    'as_samples',
    'as_source',
    'catalog_of',
    'grid_of',
    'holds_cutouts',
    'holds_images',
    'stream_cutouts',
]
