# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Draw flux of Euclid as the colour pictures of its morphology catalogue."""

import numpy as np

__all__ = ['EUCLID_CUT', 'EUCLID_FACTORS', 'draw_euclid']

#: Factor of the flux of each band before asinh, in the pictures of Euclid's galaxies.
EUCLID_FACTORS = {'VIS': 100.0, 'Y': 0.2}

#: Pixels of Euclid's galaxies that are brighter than this fraction of them are cut.
EUCLID_CUT = 0.9985


def draw_euclid(visible, infrared):
    r"""
    Return colour pictures of galaxies of Euclid, in the stretch of its morphology catalogue.

    The flux :math:`f` of a band becomes :math:`\mathrm{asinh}(q f)`, with q = 100 in VIS and 0.2
    in Y, cut to 0 and its percentile of 99.85. Red, green and blue are Y, the mean of both, and
    VIS, each scaled to 0 to 255 by its minimum and maximum (Euclid Collaboration: Walmsley et al.
    2025, arXiv:2503.15310).

    Parameters
    ----------
    visible, infrared : `~numpy.ndarray`, shape (n, y, x)
        Flux in VIS and Y, in the unit of the mosaics of the first release.

    Returns
    -------
    pictures : `~numpy.ndarray` of float32, shape (n, 3, y, x)
        Red, green and blue, whole numbers; NaN where a band has no pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.images.euclid_pictures import draw_euclid
    >>> ramp = np.linspace(0, 1, 64).reshape(1, 8, 8)
    >>> draw_euclid(ramp, 100 * ramp)[0, :, 0, 0], draw_euclid(ramp, 100 * ramp)[0, :, 7, 7]
    (array([0., 0., 0.], dtype=float32), array([255., 255., 255.], dtype=float32))
    """
    bands = zip((visible, infrared), EUCLID_FACTORS.values(), strict=True)
    visible, infrared = (np.arcsinh(_cut(np.asarray(flux)) * factor) for flux, factor in bands)
    channels = np.stack([infrared, (visible + infrared) / 2, visible], axis=1)
    known = np.isfinite(channels)
    low, high = (
        function(channels, axis=(2, 3), keepdims=True, where=known, initial=limit)
        for function, limit in ((np.min, np.inf), (np.max, -np.inf))
    )
    scaled = (channels - low) / np.maximum(high - low, 1e-6)
    return np.where(known.all(axis=1, keepdims=True), np.floor(255 * scaled), np.nan).astype('f4')


def _cut(flux):
    """Cut the faintest and the brightest pixels of each image; missing ones stay NaN."""
    limits = np.full(len(flux), np.nan)
    for i, image in enumerate(flux):
        known = image[np.isfinite(image)]
        if known.size:
            limits[i] = np.quantile(np.maximum(known, 0), EUCLID_CUT)
    return np.clip(flux, 0, limits[:, np.newaxis, np.newaxis])
