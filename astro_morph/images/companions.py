# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tell images of the sky from their companions, such as weights and masks, by their names."""

import re

__all__ = ['rank_names']

# Words in the names of files and extensions. Legacy Surveys (legacysurvey.org/dr10/files): image,
# invvar, maskbits, nexp...; HST and JWST: SCI, ERR, DQ, WHT, CTX, CON, VAR_POISSON; HSC and LSST:
# image, mask, variance; DES: SCI, MSK, WGT; DECam: ooi, ood, oow; Euclid: BGSUB, RMS, FLAG, BGMOD;
# Pan-STARRS: mask, wt, num, exp; SWarp: weight; KiDS: sci, wei; VISTA: conf; WISE and Spitzer: img,
# int, unc, cov.
_IMAGES = 'image img sci science bgsub bkgsub int ooi osi'
_WEIGHTS = (
    'weight weights wht wgt wei wt invvar ivar var variance err error errors rms std sigma unc '
    'uncert uncertainty noise oow osw'
)
_MASKS = 'mask masks msk maskbits bitmask flag flags dq ood osd quality seg segm segmentation blobs'
_DEPTHS = (
    'nexp exp expmap exptime expwt num numexp cov coverage conf con ctx depth galdepth psfdepth '
    'psf psfsize'
)
_MODELS = 'chi chi2 model blobmodel resid residual residuals bkg bgmod background'

_IMAGE_WORDS = frozenset(_IMAGES.split())
_COMPANION_WORDS = frozenset(' '.join([_WEIGHTS, _MASKS, _DEPTHS, _MODELS]).split())


def rank_names(names):
    """
    Rank names of files or extensions by what their words tell.

    Parameters
    ----------
    names : sequence of str
        The names. Words that all of several names share are ignored.

    Returns
    -------
    ranks : list of int
        1 for an image of the sky, -1 for a companion, 0 where the name does not tell.
    """
    words = [set(re.split(r'[\W_]+', name.lower())) for name in names]
    shared = set.intersection(*words) if len(words) > 1 else set()
    return [_rank(its_words - shared) for its_words in words]


def _rank(words):
    return int(not words.isdisjoint(_IMAGE_WORDS)) - int(not words.isdisjoint(_COMPANION_WORDS))
