# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""SearchIndex: a catalogue with the features of its galaxies on disk, searched by example."""

import json
import os
from pathlib import Path

import numpy as np
from astropy.table import Column, Table
from sklearn.preprocessing import normalize

from astro_morph.catalog import read_positions
from astro_morph.catalog.io.chunks import find_representatives, write_chunks
from astro_morph.catalog.io.parquet import RowReader
from astro_morph.catalog.positions import has_positions
from astro_morph.cutouts import CutoutSet, as_cutouts, as_samples, holds_images
from astro_morph.prediction.annotate import provenance, table_of
from astro_morph.prediction.predict import predict, request
from astro_morph.prediction.search.examples import Examples
from astro_morph.prediction.search.vectors import Vectors, build_approximate, create_features
from astro_morph.prediction.streaming import divide, find_source, open_catalog, plan, predict_parts
from astro_morph.utils.files import atomic_folder
from astro_morph.utils.messages import as_written, naming_packages
from astro_morph.utils.progress import progress_bar

__all__ = ['SearchIndex', 'build_index']

# Recorded in each index.
FORMAT = 'astro_morph search index 1'

# Files of an index beside those of its vectors.
ABOUT, CATALOG, POSITIONS = 'index.json', 'catalogue.parquet', 'positions.npy'

# Rows of the catalogue that are decoded to read one of them: a millisecond.
ROWS_TOGETHER = 1024

# Weight of the counter-examples relative to the examples.
COUNTER_WEIGHT = 0.5


def build_index(model, X, path, *, source='auto', overwrite=False, verbose=True):
    """
    Compute the features of a catalogue, and write them to disk to be searched by example.

    Memory does not grow with the number of rows: windows of the catalogue are read, cut and
    encoded one after the other, as by `~astro_morph.prediction.streaming.annotate_file`.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.run_batches`.
    X : path-like or object
        The file of a catalogue or of cutouts, as of
        `~astro_morph.prediction.streaming.annotate_file`; or samples as in
        `~astro_morph.cutouts.as_cutouts`; or plain features.
    path : path-like
        The folder of the index, written atomically.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where a catalogue's cutouts come from.
    overwrite : bool, default=False
        Whether an index of that name may be replaced.
    verbose : bool, default=True
        Whether to show the progress.

    Returns
    -------
    index : SearchIndex
        The index. It keeps the rows without an image, and never finds them.

    Raises
    ------
    FileExistsError
        If the folder exists and ``overwrite`` is false, or it is no index.
    ModuleNotFoundError
        If pyarrow is not installed.
    ValueError
        If no row has an image.

    Warns
    -----
    AstropyUserWarning
        If there are more than a hundred thousand galaxies and faiss is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph import MorphologyEncoder
    >>> from astro_morph.prediction.search import build_index
    >>> features = np.random.default_rng(0).normal(size=(50, 8))
    >>> model = MorphologyEncoder().fit(features).model_
    >>> build_index(model, features, getfixture('tmp_path') / 'index', verbose=False)
    <SearchIndex: 50 galaxies of 50 rows, all compared>
    """
    with naming_packages():
        import pyarrow  # noqa: F401 - before the work
    target = atomic_folder(
        path, overwrite=overwrite, may_replace=lambda: _is_index(path), holds='a search index'
    )
    with target as folder:
        windows, n_rows, window, images = _open(X, model, source)
        write = create_features(folder, n_rows, model.n_features)
        with progress_bar(n_rows, 'encoding', unit='rows', verbose=verbose) as bar:
            _encode(model, images, windows, (n_rows, window), write, bar)
        n_images = len(Vectors(folder).known_rows())
        if n_images == 0:
            msg = (
                f'{as_written("X")} has no row with an image; check {as_written("source")} and the '
                'columns that it reads'
            )
            raise ValueError(msg)
        _write_catalog(windows, n_rows, folder)
        about = {
            'format': FORMAT,
            'model': model.spec.identifier,
            'provenance': provenance(model.spec),
            'n_images': n_images,
            **build_approximate(folder),
        }
        (folder / ABOUT).write_text(json.dumps(about, indent=1))
    return SearchIndex(path, model=model, source=source)


class SearchIndex:
    """
    A catalogue on disk that is searched for galaxies like some examples.

    The folder holds the catalogue (Parquet), the directions of the features (NumPy, half
    precision) and, for more than a hundred thousand galaxies, the inverted files of faiss. Opening
    it runs no code that is in it.

    Parameters
    ----------
    path : path-like
        The folder, as `build_index` or `MorphologyEncoder.index` has written it.
    model : object, default=None
        The model that computed the features, for examples that are not in the catalogue.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where the images of positions come from that are not in the catalogue.

    Attributes
    ----------
    n_images : int
        Number of rows with an image, which can be found.
    recall : float
        Fraction of the 20 nearest galaxies that a search finds, measured when the index was built;
        1 if all galaxies are compared.

    Raises
    ------
    ValueError
        If the folder is no index, or that of another model.

    Examples
    --------
    >>> from astro_morph import MorphologyEncoder
    >>> from astro_morph.prediction.search import SearchIndex
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=30, random_state=0)
    >>> encoder = MorphologyEncoder.from_pretrained(
    ...     'sdss-moco-resnet18', source=survey, size=32, verbose=0).adapt(survey.catalogue)
    >>> folder = getfixture('tmp_path') / 'galaxies'
    >>> encoder.index(survey.catalogue, folder)
    <SearchIndex: 30 galaxies of 30 rows, all compared>
    >>> SearchIndex(folder).search([3, 8], 5)['morph_rank', 'morph_row'].colnames
    ['morph_rank', 'morph_row']
    """

    def __init__(self, path, *, model=None, source='auto'):
        path = Path(path)
        self._about = _read_about(path)
        _check_model(model, self._about, path)
        self._vectors = Vectors(path, self._about.get('n_probe'))
        self._catalog = RowReader(path / CATALOG)
        positions = np.load(path / POSITIONS, mmap_mode='r')
        self._examples = Examples(self._vectors, positions, model=model, source=source)
        self.n_images = self._about['n_images']
        self.recall = self._about.get('recall', 1.0)

    def __len__(self):
        return len(self._vectors)

    def __repr__(self):
        is_exact = self._about.get('n_probe') is None
        how = 'all compared' if is_exact else f'recall {self.recall:.3f}'
        return f'<SearchIndex: {self.n_images} galaxies of {len(self)} rows, {how}>'

    def search(self, examples, n=20, *, unlike=()):
        """
        Find the galaxies most similar to some examples.

        The direction that is searched is the mean of the examples' directions minus half the mean
        of the counter-examples' (Rocchio 1971; Manning, Raghavan & Schütze 2008, Introduction to
        Information Retrieval, chapter 9). The orientation of a galaxy does not matter as far as
        the model averages its features over rotations and reflections: eight of the square, unless
        it was made for fewer views.

        Parameters
        ----------
        examples : object
            Rows of the catalogue, by number; positions (`~astropy.coordinates.SkyCoord`), which are
            rows of the catalogue if one is within an arcsecond; the path of an image file; a
            table, a `~astro_morph.CutoutSet`, or an array of images (n, band, y, x); or a list of
            these.
        n : int, default=20
            Number of galaxies to find.
        unlike : object, default=()
            Counter-examples, likewise: what the galaxies are to look less like.

        Returns
        -------
        found : `~astropy.table.Table`
            The n most similar rows of the catalogue, without the examples, the most similar first:
            ``morph_rank`` from 1, ``morph_distance`` (1 minus the cosine of the angle to the
            direction), ``morph_row``, the number of the row, and the columns of the catalogue.

        Raises
        ------
        TypeError
            If an example is nothing of the kind.
        ValueError
            If there is no example, no such row, or an example has no image; or ``n`` is not
            positive.
        """
        if n < 1:
            msg = f'{as_written("n")} is {n}, expected 1 or more'
            raise ValueError(msg)
        likes, rows = self._examples.read(examples, 'examples')
        dislikes, others = self._examples.read(unlike, 'unlike')
        if not len(likes):
            msg = f'{as_written("examples")} is empty, expected one galaxy at least'
            raise ValueError(msg)
        direction = likes.mean(axis=0)
        if len(dislikes):
            direction = direction - COUNTER_WEIGHT * dislikes.mean(axis=0)
        left_out = {*rows, *others}
        n_wanted = min(n + len(left_out), len(self))
        direction = normalize(direction[np.newaxis]).astype(np.float32)
        found, cosines = self._vectors.nearest(direction, n_wanted)
        is_new = (found[0] >= 0) & ~np.isin(found[0], [*left_out])
        return self._table_of(found[0][is_new][:n], cosines[0][is_new][:n])

    def _table_of(self, rows, cosines):
        """Return rows of the catalogue with their rank and distance."""
        columns = {
            'morph_rank': (np.arange(1, len(rows) + 1), 'Rank of the similarity, 1 the most'),
            'morph_distance': (
                np.clip(1 - cosines, 0, 2),
                'Distance to the examples: 1 minus the cosine of the angle',
            ),
            'morph_row': (rows, 'Row number in the catalogue of the index'),
        }
        table = self._catalog.read(rows)
        table.remove_columns([name for name in columns if name in table.colnames])
        table.add_columns(
            [
                Column(values, name=name, description=description)
                for name, (values, description) in columns.items()
            ],
            indexes=[0] * len(columns),
        )
        table.meta.update(self._about['provenance'])
        return table


def _open(X, model, source):
    """Return the windows of samples, their number of rows, that of a window, and the source."""
    if isinstance(X, (str, os.PathLike)):
        path = Path(X)
        windows, n_rows, window = open_catalog(path)
        images = find_source(source, windows[0], model.spec, folder=path.parent)
        return windows, n_rows, window, images
    if not holds_images(X):
        return *divide(X), None
    X = as_samples(X)
    if isinstance(X, (np.ndarray, CutoutSet)):
        X = as_cutouts(X, **request(model.spec, source))
        X = X.replace(table=table_of(X))
    windows, n_rows, window = divide(X)
    return windows, n_rows, window, find_source(source, windows[0], model.spec)


def _encode(model, source, windows, shape, write, bar):
    """Compute and write the features of all windows."""
    n_rows, window = shape
    if source is None:  # plain features
        for number, features in enumerate(windows):
            predictions = predict(model, features, with_features=True, bar=bar)
            write(number * window + np.arange(len(features)), predictions.features)
        return
    parts = [part for parts in plan(n_rows, window) for part in parts]
    brightness, outcome = predict_parts(
        model,
        source,
        windows,
        parts,
        lambda part, made: write(part.window * window + part.rows, made.features),
        bar=bar,
        with_features=True,
    )
    brightness.warn()
    outcome.warn()


def _write_catalog(windows, n_rows, folder):
    """Write the catalogue, and the positions of its rows."""
    positions = np.full((n_rows, 2), np.nan)

    def tables():
        start = 0
        for table in _tables_of(windows):
            if has_positions(table):
                coords, _ = read_positions(table)
                positions[start : start + len(table)] = np.transpose(
                    [coords.ra.deg, coords.dec.deg]
                )
            start += len(table)
            for first in range(0, len(table), ROWS_TOGETHER):
                yield table[first : first + ROWS_TOGETHER]

    write_chunks(
        tables(),
        folder / CATALOG,
        n_rows=n_rows,
        representatives=find_representatives(_tables_of(windows)),
    )
    np.save(folder / POSITIONS, positions)


def _tables_of(windows):
    """Yield the table of each window; of plain features that of their row numbers."""
    start = 0
    for window in windows:
        rows = np.arange(start, start + len(window))
        yield Table({'row': rows}) if isinstance(window, np.ndarray) else table_of(window)
        start += len(window)


def _is_index(path):
    return (Path(path) / ABOUT).is_file()


def _read_about(path):
    """Read what the folder of an index says of itself."""
    try:
        about = json.loads((path / ABOUT).read_text())
        came = about['format']
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = (
            f'{str(path)!r} is no search index; name the folder that '
            f'{as_written("index")} of an encoder wrote'
        )
        raise ValueError(msg) from error
    if came != FORMAT:
        msg = f'{str(path)!r} has the format {came!r}, expected {FORMAT!r}; build the index again'
        raise ValueError(msg)
    return about


def _check_model(model, about, path):
    """Refuse a model that did not compute the features of an index."""
    if model is not None and model.spec.identifier != about['model']:
        msg = (
            f'{str(path)!r} holds features of the model {about["model"]!r}, got the model '
            f'{model.spec.identifier!r}; load the one that built it, or build the index again'
        )
        raise ValueError(msg)
