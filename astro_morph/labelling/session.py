# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Labelling by eye: which galaxy to look at next, the labels kept at once, and what they teach."""

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.stats import binom_conf_interval
from astropy.table import Column, MaskedColumn, Table
from sklearn.model_selection import PredefinedSplit

from astro_morph.catalog import read_labels, read_positions
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.images.pictures import data_uris
from astro_morph.learning.active import STRATEGIES, choose, typical
from astro_morph.learning.heads import linear_head
from astro_morph.prediction.predict import Predictions

__all__ = ['LabellingSession', 'Progress', 'cross_validate', 'label', 'open_table', 'start']

# Galaxies that are chosen at once. With fewer labels than these, typical galaxies teach more than
# those of which a classifier that knows so little is unsure.
QUEUE = 16

# Parts of the labels, each of which is predicted from the others.
FOLDS = 5

# Share of the cases in which the interval holds the accuracy.
LEVEL = 0.95


class Progress(NamedTuple):
    """
    What a number of labels has taught.

    Parameters
    ----------
    n_labels : int
        Labelled galaxies that have an image.
    accuracy : float
        Share of them whose label is predicted from the labels of others.
    low, high : float
        The interval of 95 % (Wilson 1927).

    Examples
    --------
    >>> from astro_morph.labelling import Progress
    >>> Progress(n_labels=40, accuracy=0.9, low=0.77, high=0.96).accuracy
    0.9
    """

    n_labels: int
    accuracy: float
    low: float
    high: float


class LabellingSession:
    """
    Ask a person for the labels of galaxies, and keep them.

    The first galaxies asked about are typical ones, unlike each other, see
    `~astro_morph.learning.active.typical`; from 16 labels of two classes on, a linear classifier
    chooses, see `~astro_morph.learning.active.choose`. Each label is in the file before the next
    galaxy is asked about. The methods may be called from several threads.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The n galaxies, with their catalogue as ``table``. Those without an image are not asked
        about.
    features : ndarray, shape (n, d)
        Their features, NaN where there is no image.
    path : path
        File of the labelled catalogue, see `~astro_morph.catalog.io.tables.write_table`. If it is
        there, its labels are taken over, and it is replaced.
    classes : sequence, optional
        The classes to choose from; those that the catalogue has are added.
    label_column : str, optional
        Column of the labels. Labels that are there stay.
    strategy : {'diverse', 'margin', 'entropy', 'novelty'}, optional
        By what galaxies are chosen, see `~astro_morph.learning.active.choose`.
    random_state : int, optional
        Seed of the choice.

    Attributes
    ----------
    table : `~astropy.table.Table`
        The catalogue with the labels so far, those of the file.
    classes : tuple
        The classes.
    row : int or None
        Row of the galaxy that is asked about; None if there is no more.
    progress : list of Progress
        How the accuracy has grown; nothing until two classes have two labels each.

    Raises
    ------
    ValueError
        If there are fewer than two classes, the strategy is not known, or the file holds another
        catalogue or can't be written.

    Examples
    --------
    >>> from astro_morph.labelling import LabellingSession
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=6)
    >>> cutouts = survey.fetch(survey.catalogue['ra', 'dec'])
    >>> features = cutouts.images.mean(axis=(2, 3))
    >>> path = getfixture('tmp_path') / 'labelled.ecsv'
    >>> session = LabellingSession(cutouts, features, path, classes=['disc', 'spheroid'])
    >>> session.label(session.row, 'disc')
    >>> session.counts
    {'disc': 1, 'spheroid': 0}
    """

    def __init__(
        self,
        cutouts,
        features,
        path,
        *,
        classes=None,
        label_column='morphology',
        strategy='diverse',
        random_state=0,
    ):
        if strategy not in STRATEGIES:
            msg = f'strategy must be one of {STRATEGIES}, got {strategy!r}'
            raise ValueError(msg)
        self.cutouts = cutouts
        self.features = features
        self.path = Path(path)
        self.label_column = label_column
        self.strategy = strategy
        self.random_state = random_state
        self.table = open_table(cutouts.table, path, classes=classes, label_column=label_column)
        labels, is_labelled = read_labels(self.table, label_column)
        self.classes = tuple(_all_classes(classes, labels[is_labelled]).tolist())
        # Index of the class of each row, -1 for none.
        self._target = np.full(len(labels), -1)
        for k, name in enumerate(self.classes):
            self._target[is_labelled & (labels == name)] = k
        self._is_skipped = np.zeros(len(labels), bool)
        # What undo takes back: row numbers, of labels and skips alike.
        self._done = []
        self._head = None
        self._learnt = None
        self._queue = []
        self._pictures = {}
        self.progress = []
        # Labels come from one thread, what is learnt from another.
        self._lock = threading.RLock()
        self._refill()

    @property
    def row(self):
        return self._queue[0] if self._queue else None

    @property
    def counts(self):
        """How many labels each class has, a dict."""
        n_labels = np.bincount(self._target[self._target >= 0], minlength=len(self.classes))
        return dict(zip(self.classes, n_labels.tolist(), strict=True))

    @property
    def n_left(self):
        """How many galaxies can still be asked about."""
        return int(np.sum(self._is_askable()))

    @property
    def can_undo(self):
        """Whether there is something to take back."""
        return bool(self._done)

    def picture(self, row):
        """
        Give the picture of a galaxy that was chosen.

        Parameters
        ----------
        row : int
            Its row.

        Returns
        -------
        address : str
            The PNG file as a ``data:`` address.
        """
        return self._pictures[row]

    def describe(self, row):
        """
        Say in a line which galaxy it is: row, position and field of view, as far as known.

        Parameters
        ----------
        row : int
            Its row.

        Returns
        -------
        text : str
            Such as ``'row 7 · RA 180.0042 Dec +4.9958 · 25.3″ wide'``.
        """
        parts = [f'row {row}']
        try:
            coords, status = read_positions(self.table[row : row + 1])
        except ValueError:
            status = ['no position']
        if status[0] == 'ok':
            parts.append(f'RA {coords.ra.deg[0]:.4f} Dec {coords.dec.deg[0]:+.4f}')
        scale = self.cutouts[row].pixel_scale
        if scale is not None:
            side = self.cutouts.shape[3] * np.ravel(scale.to_value('arcsec'))[0]
            parts.append(f'{side:.1f}″ wide')
        return ' · '.join(parts)

    def label(self, row, label):
        """
        Give the galaxy that is asked about a label, and write it to the file.

        Parameters
        ----------
        row : int
            Its row: that the galaxy is still the one that was looked at can be seen by it.
        label : object
            One of the classes.

        Raises
        ------
        ValueError
            If the galaxy is not the one asked about, or the class is not known.
        """
        if label not in self.classes:
            msg = f'label must be one of {list(self.classes)}, got {label!r}'
            raise ValueError(msg)
        with self._lock:
            self._check_row(row)
            self._write(row, self.classes.index(label))
            self._advance()

    def skip(self, row):
        """
        Leave the galaxy that is asked about without a label; this session asks no more about it.

        Parameters
        ----------
        row : int
            Its row.

        Raises
        ------
        ValueError
            If the galaxy is not the one asked about.
        """
        with self._lock:
            self._check_row(row)
            self._is_skipped[row] = True
            self._advance()

    def undo(self):
        """
        Take back the last label or skip of this session, and ask about that galaxy again.

        Raises
        ------
        ValueError
            If there is nothing to take back.
        """
        with self._lock:
            if not self._done:
                msg = 'there is nothing to undo: this session has no label yet'
                raise ValueError(msg)
            row = self._done[-1]
            if self._target[row] >= 0:
                self._write(row, -1)
            self._is_skipped[row] = False
            self._done.pop()
            self._queue.insert(0, row)

    def learn(self):
        """Learn from the labels so far: how well they are predicted, and what to ask next."""
        with self._lock:
            target = self._target.copy()
        if np.array_equal(target, self._learnt):
            return
        rows = np.flatnonzero((target >= 0) & self.cutouts.is_ok)
        features, labels = self.features[rows], target[rows]
        head = None
        if len(np.unique(labels)) > 1:
            head = linear_head().fit(features, labels)
        progress = cross_validate(features, labels)
        with self._lock:
            self._learnt = target
            # What more labels had taught, before some were taken back, is no longer known.
            self.progress = [past for past in self.progress if past.n_labels < len(rows)]
            self.progress += [] if progress is None else [progress]
            if head is not None and len(rows) >= QUEUE:
                self._head = head
                # The galaxy that is being looked at stays.
                self._queue = self._queue[:1]
                self._refill()

    def _check_row(self, row):
        if row != self.row:
            msg = f'row {row} is not the galaxy that is asked about, which is row {self.row}'
            raise ValueError(msg)

    def _write(self, row, k):
        """Write the class of a row to the file; where that fails, nothing has changed."""
        column = self.table[self.label_column]
        before = column[row]
        column[row] = self.classes[k] if k >= 0 else np.ma.masked
        try:
            write_table(self.table, self.path, overwrite=True)
        except BaseException:
            column[row] = before
            raise
        self._target[row] = k

    def _advance(self):
        self._done.append(self._queue.pop(0))
        is_askable = self._is_askable()
        self._queue = [row for row in self._queue if is_askable[row]]
        if not self._queue:
            self._refill()

    def _is_askable(self):
        return self.cutouts.is_ok & (self._target < 0) & ~self._is_skipped

    def _refill(self):
        """Choose the next galaxies, and draw them together, so that one stretch holds for all."""
        is_free = self._is_askable()
        is_free[self._queue] = False
        rows = np.flatnonzero(is_free)
        if not len(rows):
            return
        chosen = rows[self._choose(rows)].tolist()
        self._queue += chosen
        new = [row for row in chosen if row not in self._pictures]
        self._pictures |= zip(new, data_uris(self.cutouts[new]), strict=True)

    def _choose(self, rows):
        features = self.features[rows]
        if self._head is None:
            return typical(features, QUEUE, random_state=self.random_state)
        predictions = Predictions(
            logits=self._head.predict_log_proba(features),
            novelty=self._novelty(features),
            features=features,
            status=self.cutouts.status[rows],
            flags=self.cutouts.flags[rows],
        )
        return choose(predictions, QUEUE, strategy=self.strategy, random_state=self.random_state)

    def _novelty(self, features):
        """Tell how unlike those labelled galaxies are, where that counts."""
        if self.strategy != 'novelty':
            return np.full(len(features), np.nan)
        import torch

        from astro_morph.models.novelty import fit_novelty

        known = self.features[(self._target >= 0) & self.cutouts.is_ok]
        novelty = fit_novelty(known, random_state=self.random_state)
        return novelty(torch.from_numpy(features)).numpy()


def label(X, path, *, classifier=None, classes=None, strategy='diverse', port=0, show=True):
    """
    Label galaxies by eye, on a page that this machine alone sees.

    The features of all galaxies are computed first; the address of the page is printed then.
    Ctrl-C ends the labelling.

    Parameters
    ----------
    X : Table, SkyCoord or CutoutSet
        The catalogue, some of whose rows may have a label.
    path : path
        File of the labelled catalogue, which has each label at once. If it is there, labelling
        goes on from it.
    classifier : `~astro_morph.MorphologyClassifier`, optional
        Says where the images are, which column holds the labels, and which encoder gives the
        features. It is not fitted.
    classes, strategy
        As in `LabellingSession`.
    port : int, optional
        Port of the page; 0 for any that is free.
    show : bool, optional
        Whether to open the page in the browser.

    Returns
    -------
    table : `~astropy.table.Table`
        The catalogue with the labels.

    Raises
    ------
    ValueError
        As from `LabellingSession`, or if no row has an image, or the encoder is ``'random'``.
    ImportError
        If Flask is not installed.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.labelling import label
    >>> catalogue = Table({'ra': [180.0, 180.1], 'dec': [5.0, 5.1]})
    >>> table = label(
    ...     catalogue, 'labelled.ecsv', classes=['spiral', 'elliptical']
    ... )  # doctest: +SKIP
    """
    from astro_morph.labelling.page import serve

    session = start(X, path, classifier=classifier, classes=classes, strategy=strategy)
    serve(session, port=port, show=show)
    return session.table


def start(X, path, *, classifier=None, classes=None, strategy='diverse'):
    """
    Begin a session: fetch the images and compute the features.

    Parameters
    ----------
    X, path, classifier, classes, strategy
        As in `label`.

    Returns
    -------
    session : `LabellingSession`
        The session.

    Raises
    ------
    ValueError
        As from `label`.

    Examples
    --------
    >>> from astro_morph import MorphologyClassifier
    >>> from astro_morph.labelling import start
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=6)
    >>> path = getfixture('tmp_path') / 'labelled.ecsv'
    >>> session = start(
    ...     survey.catalogue['ra', 'dec'],
    ...     path,
    ...     classifier=MorphologyClassifier(survey, size=32),
    ...     classes=['disc', 'spheroid'],
    ... )
    >>> session.n_left
    6
    """
    from astro_morph import MorphologyClassifier
    from astro_morph.cutouts import as_cutouts, catalog_of
    from astro_morph.estimators.starting import starting_encoder
    from astro_morph.learning.fitting import usable

    classifier = classifier or MorphologyClassifier()
    if classifier.encoder == 'random':
        msg = "encoder='random' can't tell which galaxies are alike; take another encoder"
        raise ValueError(msg)
    column = classifier.label_column
    # A file that can't be written is known before the images are fetched.
    open_table(catalog_of(X), path, classes=classes, label_column=column)
    cutouts = as_cutouts(X, source=classifier.source, size=classifier.size, bands=classifier.bands)
    usable(cutouts)
    encoder = starting_encoder(classifier, cutouts).adapt(cutouts)
    return LabellingSession(
        cutouts,
        encoder.transform(cutouts),
        path,
        classes=classes,
        label_column=column,
        strategy=strategy,
        random_state=classifier.random_state or 0,
    )


def open_table(catalogue, path, *, classes=None, label_column='morphology'):
    """
    Make a copy of a catalogue that any class can be written into, and write it to a file.

    Parameters
    ----------
    catalogue : `~astropy.table.Table`
        The catalogue.
    path, classes, label_column
        As in `LabellingSession`.

    Returns
    -------
    table : `~astropy.table.Table`
        The copy, with the labels of the catalogue and, if it is there, of the file.

    Raises
    ------
    ValueError
        As from `LabellingSession`.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.labelling import open_table
    >>> path = getfixture('tmp_path') / 'labelled.ecsv'
    >>> table = open_table(Table({'id': [7, 8]}), path, classes=['disc', 'spheroid'])
    >>> table['morphology'][1] = 'spheroid'
    >>> table['morphology'].tolist()
    [None, 'spheroid']
    """
    if not isinstance(catalogue, Table):
        msg = 'X must hold a table, whose labels can be written: images without a table have none'
        raise ValueError(msg)
    table = catalogue.copy()
    if Path(path).exists():
        _take_over(table, read_table(path), path, label_column)
    table[label_column] = _label_column(table, label_column, classes)
    write_table(table, path, overwrite=True)
    return table


def _take_over(table, kept, path, label_column):
    """Take the labels of a file over, if it holds the same catalogue."""
    # Coordinates have other columns in some files.
    plain = {name for name, column in table.columns.items() if isinstance(column, Column)}
    missing = sorted(plain - {label_column} - set(kept.colnames))
    if len(kept) != len(table) or missing:
        lacks = f' and lacks the columns {missing}' if missing else ''
        msg = (
            f'the file {str(path)!r} is there already, has {len(kept)} rows{lacks}, and is not '
            f'this catalogue of {len(table)} rows; name another file for the labels'
        )
        raise ValueError(msg)
    if label_column in kept.colnames:
        table[label_column] = kept[label_column]


def _label_column(table, name, classes):
    """Make the column of labels, masked where there is none, with room for any class."""
    if name in table.colnames:
        labels, is_labelled = read_labels(table, name)
        about = {key: getattr(table[name].info, key) for key in ('description', 'meta')}
    else:
        labels, is_labelled = np.zeros(len(table), str), np.zeros(len(table), bool)
        about = {'description': 'Morphological class', 'meta': {'ucd': 'src.morph.type'}}
    values = np.zeros(len(table), _all_classes(classes, labels[is_labelled]).dtype)
    values[is_labelled] = labels[is_labelled]
    return MaskedColumn(values, mask=~is_labelled, **about)


def _all_classes(classes, known):
    """Put the classes that are wanted and those of the labels together, of one type."""
    known = np.unique(known)
    wanted = known if classes is None else np.asarray(classes)
    try:
        wanted = wanted.astype(known.dtype.type if len(known) else wanted.dtype)
    except ValueError as error:
        msg = f'classes must be like the labels of the catalogue, {known.tolist()}, got {classes}'
        raise ValueError(msg) from error
    together = np.array(list(dict.fromkeys([*wanted.tolist(), *known.tolist()])))
    if len(together) < 2 or '' in together.tolist():
        msg = (
            f'classes must name at least two classes, such as spiral and elliptical, got '
            f'{together.tolist()}'
        )
        raise ValueError(msg)
    return together


def cross_validate(features, labels):
    """
    Tell how often a label is predicted from the labels of other galaxies.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Features of the labelled galaxies.
    labels : ndarray of int, shape (n,)
        Their labels.

    Returns
    -------
    progress : Progress or None
        None until two classes have two labels each. The only galaxy of a class is learnt from,
        but can't be predicted.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.labelling import cross_validate
    >>> features = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> progress = cross_validate(features, np.array([0, 0, 0, 1, 1, 1]))
    >>> progress.n_labels, progress.accuracy
    (6, 1.0)
    """
    counts = np.bincount(labels)
    if np.sum(counts > 1) < 2:
        return None
    part = np.full(len(labels), -1)
    for k in np.flatnonzero(counts > 1):
        part[labels == k] = np.arange(counts[k]) % FOLDS
    is_right = np.concatenate(
        [
            linear_head().fit(features[known], labels[known]).predict(features[held_out])
            == labels[held_out]
            for known, held_out in PredefinedSplit(part).split()
        ]
    )
    low, high = binom_conf_interval(
        is_right.sum(), len(is_right), confidence_level=LEVEL, interval='wilson'
    )
    return Progress(len(labels), float(is_right.mean()), float(low), float(high))
