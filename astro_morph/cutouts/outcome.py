# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Count the statuses of a catalogue's images, and warn once a call if no row has an image."""

import warnings
from collections import Counter

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.utils.messages import as_written

__all__ = ['NOT_SEARCHED', 'NoImageWarning', 'Outcome']

#: Statuses of rows without a path or position for a source.
NOT_SEARCHED = ('no_path', 'no_coordinates')


class NoImageWarning(AstropyUserWarning):
    """No row of a catalogue has an image."""


class Outcome:
    """
    The statuses of the images of a call, in one or more batches.

    Attributes
    ----------
    counts : `~collections.Counter`
        Number of rows of each status.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts import ImageFiles
    >>> from astro_morph.cutouts.outcome import Outcome
    >>> source, outcome = ImageFiles(folder='/data'), Outcome()
    >>> outcome.add(source._fetch_quietly(Table({'path': ['a.fits', 'b.fits']})), source)
    >>> outcome.text
    "X: none of 2 rows has an image (2 not_found); the first is '/data/a.fits'"
    """

    def __init__(self):
        self.counts = Counter()
        self._first = None

    def add(self, cutouts, source):
        """
        Add a batch.

        Parameters
        ----------
        cutouts : `~astro_morph.CutoutSet`
            The cutouts, with their table.
        source : `~astro_morph.cutouts.CutoutSource`
            The source that they come from.
        """
        self.counts.update(cutouts.status.tolist())
        is_searched = ~np.isin(cutouts.status, NOT_SEARCHED)
        if self._first is None and not self.counts['ok'] and is_searched.any():
            row = int(np.argmax(is_searched))
            self._first = source.describe_row(cutouts.table, row)

    @property
    def text(self):
        """What to say of a call without any image; empty if there is an image, or no row."""
        if self.counts['ok'] or not self.counts:
            return ''
        reasons = ', '.join(f'{n} {status}' for status, n in self.counts.most_common() if n)
        first = f'; the first is {self._first}' if self._first else ''
        n = self.counts.total()
        return f'{as_written("X")}: none of {n} rows has an image ({reasons}){first}'

    def warn(self):
        """Warn if no row has an image."""
        if self.text:
            warnings.warn(
                f'{self.text}; check {as_written("source")} and the columns that it reads',
                NoImageWarning,
                stacklevel=3,
            )
