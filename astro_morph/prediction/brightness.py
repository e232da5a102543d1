# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Flag images whose brightness is not that of the training, and warn of them once a call."""

import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog.flags import BITS
from astro_morph.photometry.brightness import compare_brightness
from astro_morph.photometry.extent import PROPERTIES, find_outside
from astro_morph.utils.messages import as_written

__all__ = ['Brightness']

# Fraction of the images with the flag from which a call warns: a few odd ones are in any survey.
MANY = 0.1

# Images that are measured together: their differences fit into the memory.
CHUNK = 256

# Bits of galaxies outside the range of the training.
OUTSIDE = np.array([BITS[f'outside_{name}'] for name in PROPERTIES], np.int32)

_REMEDY = {
    'flux': (
        'pass flux in the unit of the training, or cutouts that know their zero_point; for '
        'another survey, use adapt'
    ),
    'picture': ('pass pictures from 0 to 255, with a dark sky; for another survey, use adapt'),
}


class Brightness:
    """
    Compare the images of a call, in one or more batches, with those of the training.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The model's specification.
    """

    def __init__(self, spec):
        self._spec = spec
        self._ratios = []
        self._is_other = []

    def flag(self, cutouts):
        """
        Flag the rows whose image is unlike those of the training in brightness, size or noise.

        Parameters
        ----------
        cutouts : `~astro_morph.CutoutSet`
            A batch of cutouts, cleaned.

        Returns
        -------
        cutouts : `~astro_morph.CutoutSet`
            The same, with the flag ``other_brightness``, and ``outside_magnitude``,
            ``outside_size`` and ``outside_noise``.
        """
        known, extent = self._spec.brightness, self._spec.extent
        if known is None and extent is None:
            return cutouts
        flags = cutouts.flags.copy()
        usable = np.flatnonzero(cutouts.is_ok)
        for start in range(0, len(usable), CHUNK):
            rows = usable[start : start + CHUNK]
            images = cutouts.images[rows]
            if extent is not None:
                flags[rows] |= find_outside(images, extent) @ OUTSIDE
            if known is None:
                continue
            ratio, is_other = compare_brightness(images, cutouts.kind, known)
            flags[rows] |= np.where(is_other, np.int32(BITS['other_brightness']), 0)
            self._ratios.append(ratio)
            self._is_other.append(is_other)
        return cutouts.replace(flags=flags)

    def warn(self):
        """Warn if many of the images have the flag."""
        if not self._ratios:
            return
        is_other = np.concatenate(self._is_other)
        if is_other.mean() < MANY:
            return
        ratio = np.nanmedian(np.concatenate(self._ratios)[is_other])
        what = 'noise' if self._spec.kind == 'flux' else 'mean pixel'
        warnings.warn(
            f'{as_written("X")} has {is_other.sum()} of {len(is_other)} images whose {what} is '
            f'about {ratio:.2g} times that of the training images, {self._known()}, so their '
            f'classes mean little (flag other_brightness); {_REMEDY[self._spec.kind]}',
            AstropyUserWarning,
            stacklevel=3,
        )

    def _known(self):
        """Return the range of the training as text, band by band."""
        low, high = self._spec.brightness['low'], self._spec.brightness['high']
        names = self._spec.bands if len(low) > 1 else ('',)
        parts = (
            f'{a:.2g} to {b:.2g}{f" in {name}" if name else ""}'
            for a, b, name in zip(low, high, names, strict=True)
            if a is not None
        )
        return ', '.join(parts)
