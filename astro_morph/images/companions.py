# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Recognise weights, masks and other companions of images by their names, and leave them out."""

import re
import warnings

import astropy.units as u
from astropy import log
from astropy.utils.exceptions import AstropyUserWarning
from scipy.spatial import cKDTree

from astro_morph.utils.messages import cut_list, for_caller

__all__ = ['find_form', 'keep_images', 'keep_one_a_place', 'rank_names']

# Words in the names of files and extensions. Legacy Surveys (legacysurvey.org/dr10/files): image,
# invvar, maskbits, nexp...; HST and JWST: SCI, ERR, DQ, WHT, CTX, CON, VAR_POISSON; HSC and LSST:
# image, mask, variance; DES: SCI, MSK, WGT; DECam: ooi, ood, oow; Euclid: BGSUB, RMS, FLAG, BGMOD;
# Pan-STARRS: mask, wt, num, exp; SWarp: weight; KiDS: sci, wei; VISTA: conf; WISE and Spitzer: img,
# int, unc, cov.
_IMAGES = 'image img sci science bgsub bkgsub int ooi osi'
_VARIANCES = 'variance var'
_ERRORS = 'err error errors rms std sigma unc uncert uncertainty noise'
_INVERSES = 'invvar ivar ivm'
_WEIGHTS = 'weight weights weightmap wht wgt wei oow osw'
_MASKS = 'mask masks msk maskbits bitmask bpm flag flags flg dq ood osd'
_SEGMENTS = 'quality seg segm segmentation blobs'
# Parts of a variance, as in JWST's VAR_POISSON; Pan-STARRS' wt, which is a variance scaled as the
# image is not.
_OTHERS = 'wt snr poisson rnoise'
_DEPTHS = (
    'nexp exp expmap exptime expwt num numexp cov coverage conf con ctx depth galdepth psfdepth '
    'psf psfsize'
)
_MODELS = 'chi chi2 model blobmodel resid residual residuals bkg bgmod background'

_IMAGE_WORDS = frozenset(_IMAGES.split())

# Names of extensions that have none, and of compressed files.
_NO_WORDS = ('', 'primary', 'none', 'gz', 'bz2', 'fz')

# What the values of a companion are, by the words in its name.
_FORMS = {
    'variance': frozenset(_VARIANCES.split()),
    'error': frozenset(_ERRORS.split()),
    'inverse': frozenset(_INVERSES.split()),
    'weight': frozenset(_WEIGHTS.split()),
    'mask': frozenset(_MASKS.split()),
}
_COMPANION_WORDS = frozenset(' '.join([_SEGMENTS, _OTHERS, _DEPTHS, _MODELS]).split()).union(
    *_FORMS.values()
)


def rank_names(names):
    """
    Rank files or extensions by the words in their names.

    Parameters
    ----------
    names : sequence of str
        The names. Words that all of several names share are ignored.

    Returns
    -------
    ranks : list of int
        1 for an image of the sky, -1 for a companion, 0 where the name says neither.
    """
    words = [set(_words(name)) for name in names]
    shared = set.intersection(*words) if len(words) > 1 else set()
    return [_rank(its_words - shared) for its_words in words]


def find_form(name, image):
    """
    Return what a companion of an image holds, by the words in which their names differ.

    Parameters
    ----------
    name, image : str
        Name of a file or extension, and of the image.

    Returns
    -------
    form : str or None
        ``'variance'``, ``'error'``, ``'inverse'`` for an inverse variance, ``'weight'`` for one
        whose scale is less certain, or ``'mask'``; None if it is another companion, or one of
        another image.

    Examples
    --------
    >>> from astro_morph.images.companions import find_form
    >>> find_form('brick-invvar-r.fits', 'brick-image-r.fits')
    'inverse'
    >>> find_form('brick-invvar-g.fits', 'brick-image-r.fits')
    """
    form, stem = split_name(name)
    # Words of the image in the same order, such as those of its detector; it may have more.
    words = iter(_words(image))
    return form if all(word in words for word in stem) else None


def split_name(name):
    """
    Split the name of a companion into what it holds and the words that it shares with its image.

    Parameters
    ----------
    name : str
        The name, or that of an image.

    Returns
    -------
    form : str or None
        As in `find_form`; None for an image or another companion.
    stem : tuple of str
        Its other words, in order.

    Examples
    --------
    >>> from astro_morph.images.companions import split_name
    >>> split_name('brick-invvar-r.fits'), split_name('brick-image-r.fits')
    (('inverse', ('brick', 'r', 'fits')), (None, ('brick', 'r', 'fits')))
    """
    words = [word for word in _words(name) if word not in _IMAGE_WORDS]
    forms = {form for form, known in _FORMS.items() if not known.isdisjoint(words)}
    form = forms.pop() if len(forms) == 1 else None
    return form, tuple(word for word in words if word not in _FORMS.get(form, ()))


def _words(name):
    return [word for word in re.split(r'[\W_]+', name.lower()) if word not in _NO_WORDS]


def keep_images(paths):
    """
    Leave out the companions among files, if the names of others say that these are images.

    Parameters
    ----------
    paths : list of str
        The files of one band.

    Returns
    -------
    paths : list of str
        Those that are no companions by their names; all of them if no name says that it is an
        image. Astropy's log lists those left out.
    """
    ranks = rank_names(paths)
    if 1 not in ranks:
        return paths
    return _leave_out(paths, paths, [number for number, rank in enumerate(ranks) if rank < 0])


def keep_one_a_place(tiles, band):
    """
    Keep one of the tiles that show exactly the same part of the sky; overlapping tiles do not.

    Parameters
    ----------
    tiles : list of `~astro_morph.images.tiles.Tile`
        The tiles of one band.
    band : str
        Its name.

    Returns
    -------
    tiles : list of `~astro_morph.images.tiles.Tile`
        The image by its name of each place; Astropy's log lists those left out. Of the extensions
        of one file it is the first, and a warning names the others.

    Raises
    ------
    ValueError
        If the names of files that show the same part of the sky do not tell which is the image.
    """
    names = [tile.image.name for tile in tiles]
    ranks = rank_names(names)
    left_out = set()
    has_companions = False
    for alike in _group_by_place([tile.image for tile in tiles]):
        best = max(ranks[number] for number in alike)
        first, *others = [number for number in alike if ranks[number] == best]
        if others:
            _check_alike([tiles[number].image for number in (first, *others)], band)
        left_out.update(set(alike) - {first})
        has_companions |= min(ranks[number] for number in alike) < 0 <= best
    if has_companions:
        # So are those without an image beside them.
        left_out.update(number for number, rank in enumerate(ranks) if rank < 0)
    return _leave_out(tiles, names, left_out)


def _group_by_place(images):
    """Return the numbers of images that show the same part of the sky, for each such part."""
    centres = cKDTree([image.centre for image in images])
    # The centres of such images lie much closer than the pixels.
    reach = max(image.pixel_scale.to_value(u.rad) for image in images)
    groups = {}
    group_of = {}
    for number, near in enumerate(centres.query_ball_point(centres.data, reach)):
        firsts = dict.fromkeys(group_of[other] for other in near if other in group_of)
        alike = (first for first in firsts if images[first].shows_same_sky(images[number]))
        group_of[number] = next(alike, number)
        groups.setdefault(group_of[number], []).append(number)
    return list(groups.values())


def _check_alike(images, band):
    """Warn of extensions of one file, or raise an error for files, that show the same sky."""
    names = cut_list(image.name for image in images)
    if len({image.path for image in images}) == 1:
        warnings.warn(
            f'{names} show the same part of the sky in band {band!r}; the first is used: '
            + for_caller('name another with hdu=', 'remove those that are no images'),
            AstropyUserWarning,
            stacklevel=5,
        )
        return
    msg = (
        f'paths: {names} show the same part of the sky in band {band!r}, expected one image of '
        'each part; make the pattern match one of them, name their bands in a mapping, or pass '
        'several exposures as sources of FirstOf'
    )
    raise ValueError(msg)


def _leave_out(items, names, numbers):
    """Return items without those of some numbers, whose names are logged."""
    if numbers:
        left_out = cut_list(names[number] for number in sorted(numbers))
        log.info(f'left out as weights, masks, models or the like of other images: {left_out}')
    return [item for number, item in enumerate(items) if number not in numbers]


def _rank(words):
    return int(not words.isdisjoint(_IMAGE_WORDS)) - int(not words.isdisjoint(_COMPANION_WORDS))
