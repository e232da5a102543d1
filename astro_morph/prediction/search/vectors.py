# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Vectors: the directions of features in files on disk, and the nearest of them to a query."""

import os
import warnings
from pathlib import Path

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from sklearn.preprocessing import normalize

from astro_morph.utils.messages import naming_packages

__all__ = ['Vectors', 'build_approximate', 'create_features']

# All of so many vectors are compared with a query in a tenth of a second.
EXACT_UP_TO = 100_000

# Vectors that are in memory at a time: 50 MB of 1,408 features.
PIECE = 8192

# Principal components in which many vectors are compared, and vectors that they are fitted to.
N_DIRECTIONS = 128
N_SAMPLE = 20_000

# Vectors in a file of faiss, which is built in memory: 150 MB.
N_IN_FILE = 1_000_000

# Cells of a file, in units of the square root of its vectors, and vectors for each that k-means
# learns the cells from; faiss warns of fewer.
CELLS = 2
VECTORS_A_CELL = 40

# Candidates whose distance is computed from all features, for each neighbour and at least.
CANDIDATES = 10
FEWEST_CANDIDATES = 400

# Cells that are searched: doubled from the first number until the recall is that wanted, measured
# on so many vectors.
FIRST_PROBES = 8
WANTED_RECALL = 0.97
N_MEASURED = 100
RECALL_AT = 20

FEATURES = 'features.npy'
SHARDS = 'vectors-{:03d}.faiss'


def create_features(folder, n, n_features):
    """
    Create the file of the directions of features, in which rows are written in any order.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The folder of the index.
    n, n_features : int
        Numbers of rows and of features.

    Returns
    -------
    write : callable
        Writes features, shape (m, n_features), into rows, shape (m,).
    """
    path = folder / FEATURES
    np.lib.format.open_memmap(path, 'w+', np.float16, (n, n_features))

    def write(rows, features):
        # Opened for each piece: pages that were written would count as memory of the process.
        memory = np.load(path, mmap_mode='r+')
        is_known = np.isfinite(features).all(axis=1)
        directions = np.full(features.shape, np.nan, np.float16)
        if is_known.any():
            directions[is_known] = normalize(features[is_known])
        memory[rows] = directions
        memory.flush()

    return write


def build_approximate(folder):
    """
    Divide the vectors into cells, of which a search examines a few, if they are very many.

    Their 128 leading principal components are stored as 8-bit integers in inverted files (Jégou,
    Douze & Schmid 2011, IEEE PAMI 33, 117; the library is faiss), a million vectors a file. The
    number of cells that a search examines is the smallest power of two whose recall is 0.97.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The folder of the index, with the features.

    Returns
    -------
    measured : dict
        ``n_probe``, the number of cells that are searched, and ``recall``, the measured fraction of
        the 20 nearest vectors that are found; empty if all vectors are compared.
    """
    vectors = Vectors(folder)
    rows = vectors.known_rows()
    if len(rows) <= EXACT_UP_TO:
        return {}
    try:
        import faiss
    except ImportError:
        warnings.warn(
            f'a search compares all {len(rows)} galaxies, which takes seconds; install faiss and '
            'build the index again to search in milliseconds: python -m pip install faiss-cpu',
            AstropyUserWarning,
            stacklevel=3,
        )
        return {}
    random = np.random.default_rng(0)
    n_in_file = min(len(rows), N_IN_FILE)
    n_cells = min(int(CELLS * n_in_file**0.5), n_in_file // VECTORS_A_CELL)
    learn_from = random.permutation(rows)[: n_cells * VECTORS_A_CELL]
    empty = _train(faiss, vectors, learn_from, n_cells)
    for number, start in enumerate(range(0, len(rows), n_in_file)):
        index = faiss.clone_index(empty)
        for some in _split(rows[start : start + n_in_file]):
            index.add_with_ids(vectors[some], some)
        faiss.write_index(index, str(folder / SHARDS.format(number)))
    return _choose_probes(folder, random.permutation(rows)[:N_MEASURED], n_cells)


class Vectors:
    """
    The directions of features in the files of an index.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The folder of the index.
    n_probe : int, default=None
        Number of cells of each file of faiss that are searched; all vectors are compared if None.
    """

    def __init__(self, folder, n_probe=None):
        self._features = np.load(folder / FEATURES, mmap_mode='r')
        self._n_probe = n_probe
        self._paths = sorted(Path(folder).glob(SHARDS.replace('{:03d}', '*')))
        self._files = None

    def __len__(self):
        return len(self._features)

    def __getitem__(self, rows):
        """Return the vectors of rows, shape (m, d) in float32; NaN in those without an image."""
        return self._features[rows].astype(np.float32)

    @property
    def n_features(self):
        """Number of features."""
        return self._features.shape[1]

    def known_rows(self):
        """Return the numbers of the rows with an image, an ndarray of int."""
        return np.flatnonzero(~np.isnan(self._features[:, 0]))

    def nearest(self, directions, n):
        """
        Find the vectors with the smallest angles to some directions.

        Parameters
        ----------
        directions : ndarray of float32, shape (m, d)
            The directions, of length 1.
        n : int
            Number of vectors for each.

        Returns
        -------
        rows : ndarray of int, shape (m, n)
            Their row numbers, nearest first; -1 at the end if there are fewer.
        cosines : ndarray of float32, shape (m, n)
            The cosines of the angles.
        """
        if self._n_probe is None:
            return self._compare_all(directions, n)
        found = [
            self._compare(direction, self._candidates(direction, n), n) for direction in directions
        ]
        rows, cosines = zip(*found, strict=True)
        return np.array(rows), np.array(cosines)

    def _compare_all(self, directions, n):
        """Compare directions with all vectors, piece by piece."""
        rows = np.full((len(directions), n), -1)
        cosines = np.full((len(directions), n), -np.inf, np.float32)
        for some in _split(np.arange(len(self))):
            theirs = directions @ self[some[0] : some[-1] + 1].T
            theirs[np.isnan(theirs)] = -np.inf
            cosines = np.concatenate([cosines, theirs], axis=1)
            rows = np.concatenate([rows, np.broadcast_to(some, theirs.shape)], axis=1)
            best = np.argpartition(-cosines, n - 1, axis=1)[:, :n]
            cosines, rows = (np.take_along_axis(a, best, axis=1) for a in (cosines, rows))
        order = np.argsort(-cosines, axis=1, kind='stable')
        rows, cosines = (np.take_along_axis(a, order, axis=1) for a in (rows, cosines))
        return np.where(np.isfinite(cosines), rows, -1), cosines

    def _candidates(self, direction, n):
        """Return the rows, sorted, that are about as near as the nearest."""
        self._files = self._files or self._open_files()
        n = max(FEWEST_CANDIDATES, CANDIDATES * n)
        found = [file.search(direction[np.newaxis], n)[1][0] for file in self._files]
        rows = np.sort(np.concatenate(found))
        return rows[rows >= 0]

    def _compare(self, direction, candidates, n):
        """Compare a direction with some vectors."""
        cosines = self[candidates] @ direction
        order = np.argsort(-cosines, kind='stable')[:n]
        n_missing = n - len(order)
        return (
            np.pad(candidates[order], (0, n_missing), constant_values=-1),
            np.pad(cosines[order], (0, n_missing), constant_values=-np.inf),
        )

    @naming_packages()
    def _open_files(self):
        import faiss

        # The vectors stay on disk where faiss can map them into memory.
        flags = faiss.IO_FLAG_MMAP if os.name == 'posix' else 0
        files = [faiss.read_index(str(path), flags) for path in self._paths]
        for file in files:
            faiss.extract_index_ivf(file).nprobe = self._n_probe
        return files


def _split(rows):
    """Return rows in pieces that fit into memory."""
    return (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))


def _train(faiss, vectors, rows, n_cells):
    """Learn principal components and cells from some rows; return an index without vectors."""
    n_directions = min(N_DIRECTIONS, vectors.n_features)
    pca = faiss.PCAMatrix(vectors.n_features, n_directions)
    pca.train(vectors[np.sort(rows[:N_SAMPLE])])
    points = np.concatenate([pca.apply(vectors[some]) for some in _split(np.sort(rows))])
    cells = faiss.IndexFlatL2(n_directions)
    index = faiss.IndexIVFScalarQuantizer(
        cells, n_directions, n_cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2
    )
    index.train(points)
    return faiss.IndexPreTransform(pca, index)


def _choose_probes(folder, rows, n_cells):
    """Choose the number of cells to search by the recall of the neighbours of some rows."""
    directions = Vectors(folder)[rows]
    # The nearest of all is the galaxy itself.
    nearest = Vectors(folder).nearest(directions, RECALL_AT + 1)[0][:, 1:]
    n_probe = FIRST_PROBES
    while True:
        found = Vectors(folder, n_probe).nearest(directions, RECALL_AT + 1)[0]
        pairs = zip(nearest, found, strict=True)
        recall = float(np.mean([np.isin(theirs, ours).mean() for theirs, ours in pairs]))
        if recall >= WANTED_RECALL or n_probe >= n_cells:
            return {'n_probe': n_probe, 'recall': recall}
        n_probe *= 2
