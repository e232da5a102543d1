# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Examples of a search: rows of the catalogue, positions, images or files, and their directions."""

import os
from numbers import Integral

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from sklearn.preprocessing import normalize

from astro_morph.cutouts import ImageFiles, holds_images
from astro_morph.prediction.predict import predict
from astro_morph.utils.messages import as_written

__all__ = ['Examples']

# A galaxy of the catalogue that is nearer to a position than this is the one that is meant.
MATCH_RADIUS = 1 * u.arcsec


class Examples:
    """
    Read the examples of a search.

    Parameters
    ----------
    vectors : `~astro_morph.prediction.search.vectors.Vectors`
        The vectors of the catalogue.
    positions : ndarray, shape (n, 2)
        Right ascension and declination of its rows in degrees, NaN where unknown.
    model : object or None
        The model that computed the features, as in `~astro_morph.models.running.run_batches`;
        without it, examples are rows of the catalogue.
    source : `~astro_morph.cutouts.CutoutSource` or str
        Where the images of other positions come from.
    """

    def __init__(self, vectors, positions, *, model, source):
        self._vectors = vectors
        self._positions = positions
        self._model = model
        self._source = source

    def read(self, examples, name):
        """
        Return the directions of examples, and those that are rows of the catalogue.

        Parameters
        ----------
        examples : object
            As in `~astro_morph.prediction.search.SearchIndex.search`.
        name : str
            Name of the argument, for messages.

        Returns
        -------
        directions : ndarray of float32, shape (m, d)
            The directions of their features, of length 1.
        rows : list of int
            The numbers of those that are rows of the catalogue.

        Raises
        ------
        TypeError
            If an example is nothing of the kind.
        ValueError
            If there is no such row, or an example has no image.
        """
        if isinstance(examples, (list, tuple, set, range)):
            parts = [self.read(example, name) for example in examples]
            nothing = np.zeros((0, self._vectors.n_features), np.float32)
            directions = np.concatenate([nothing, *(part[0] for part in parts)])
            return directions, [row for part in parts for row in part[1]]
        if isinstance(examples, (Integral, np.integer)) and not isinstance(examples, bool):
            return self._read_row(int(examples), name)
        if isinstance(examples, np.ndarray) and examples.dtype.kind in 'iu' and examples.ndim == 1:
            return self.read(examples.tolist(), name)
        if isinstance(examples, SkyCoord):
            return self._read_positions(examples, name)
        if isinstance(examples, (str, os.PathLike)):
            table = Table({'image_path': [os.fspath(examples)]})
            return self._look_at(table, name, source=ImageFiles('image_path')), []
        if isinstance(examples, np.ndarray) and examples.ndim == 3:
            examples = examples[np.newaxis]
        if holds_images(examples) or (isinstance(examples, np.ndarray) and examples.ndim == 2):
            return self._look_at(examples, name), []
        msg = (
            f'{as_written(name)} is {type(examples).__name__}, expected row numbers, a SkyCoord, a '
            'table, cutouts, images or the paths of image files, or a list of these'
        )
        raise TypeError(msg)

    def _read_row(self, row, name):
        if not 0 <= row < len(self._vectors):
            msg = (
                f'{as_written(name)} names the row {row}, the catalogue of the index has the rows '
                f'0 to {len(self._vectors) - 1}; name some of these'
            )
            raise ValueError(msg)
        direction = self._vectors[[row]]
        if np.isnan(direction).any():
            msg = f'{as_written(name)} names the row {row}, which has no image; name another'
            raise ValueError(msg)
        return direction, [row]

    def _read_positions(self, coords, name):
        """Read positions: those of galaxies in the catalogue are their rows."""
        parts = []
        for coord in coords.icrs.reshape(-1):
            row = self._find(coord)
            parts.append(row if row is not None else coord)
        found = [part for part in parts if isinstance(part, int)]
        others = [part for part in parts if not isinstance(part, int)]
        directions, rows = self.read(found, name)
        if not others:
            return directions, rows
        table = Table(
            {
                'ra': [coord.ra.deg for coord in others] * u.deg,
                'dec': [coord.dec.deg for coord in others] * u.deg,
            }
        )
        return np.concatenate([directions, self._look_at(table, name)]), rows

    def _find(self, coord):
        """Return the row of the galaxy with an image at a position, None if there is none."""
        ra, dec = self._positions.T
        # Most rows are elsewhere; the angle is computed for those that may be there.
        radius = MATCH_RADIUS.to_value('deg')
        near = np.flatnonzero(np.abs(dec - coord.dec.deg) <= radius)
        if not len(near):
            return None
        angles = SkyCoord(ra[near], dec[near], unit='deg').separation(coord)
        angles[np.isnan(self._vectors[near]).any(axis=1)] = np.nan
        angles = np.where(np.isnan(angles), np.inf, angles.deg)
        best = int(np.argmin(angles))
        return int(near[best]) if angles[best] <= radius else None

    def _look_at(self, X, name, *, source=None):
        """Compute the directions of images that are not in the catalogue."""
        if self._model is None:
            msg = (
                f'{as_written(name)} has images, and the index was opened without the model that '
                'looks at them; open it with open_index of its encoder, or name rows'
            )
            raise ValueError(msg)
        predictions = predict(
            self._model,
            X,
            source=self._source if source is None else source,
            with_features=True,
        )
        status = predictions.status
        if (status != 'ok').any():
            row = int(np.argmax(status != 'ok'))
            what = X['image_path'][row] if source is not None else f'number {row}'
            msg = (
                f'{as_written(name)}: the example {what} has no image ({status[row]}); leave it '
                'out, or name another'
            )
            raise ValueError(msg)
        return normalize(predictions.features).astype(np.float32)
