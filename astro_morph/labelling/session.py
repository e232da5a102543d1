# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Run a labelling session: queue galaxies ranked by active learning, save labels, learn."""

import operator
import threading

import numpy as np

from astro_morph.catalog import read_labels, read_positions
from astro_morph.images.pictures import data_uris
from astro_morph.labelling.label_table import LabelTable, all_classes
from astro_morph.labelling.progress import cross_validate
from astro_morph.learning.active import CRITERIA, choose, typical
from astro_morph.learning.heads import linear_head
from astro_morph.prediction.predict import Predictions
from astro_morph.utils.messages import as_written, cut_list

__all__ = ['LabellingSession']

# Galaxies that are chosen at a time. With fewer labels than this, typical galaxies teach more than
# those on which the classifier, which has seen too few, is uncertain.
QUEUE = 16


class LabellingSession:
    """
    Ask a person for the labels of galaxies, and save them.

    The first galaxies are typical ones that differ from each other, see
    `~astro_morph.learning.active.typical`; from 16 labels of two classes on, the predictions of a
    linear classifier decide, see `~astro_morph.learning.active.choose`. Each label is in the file
    before the next galaxy is shown, and in its journal, a text file that only grows. The methods
    may be called from several threads.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The n galaxies, with their catalogue as ``table``. Galaxies without an image are not shown.
    features : ndarray, shape (n, d)
        Their features, NaN where there is no image.
    path : path-like
        File of the labelled catalogue, see `~astro_morph.catalog.io.tables.write_table`. If it
        exists, its labels are kept, and it is replaced. If it is gone, but the file of its name
        with ``.journal`` is not, the labels are restored from that.
    classes : sequence, default=None
        The classes to choose from; those of the labels in the catalogue are added.
    label_column : str, default='morphology'
        Column of the labels. Labels in the catalogue are kept.
    criterion : {'diverse', 'margin', 'entropy', 'novelty'}, default='diverse'
        How galaxies are chosen, see `~astro_morph.learning.active.choose`.
    random_state : int, default=0
        Seed of the choice.

    Attributes
    ----------
    table : `~astropy.table.Table`
        The catalogue with the labels so far, as in the file.
    classes : tuple
        The classes.
    row : int or None
        Row of the current galaxy; None if there are no more.
    progress : list of Progress
        Accuracy by number of labels; empty until two classes have two labels each.

    Raises
    ------
    ValueError
        If there are fewer than two classes, the criterion is unknown, or the file holds another
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
        criterion='diverse',
        random_state=0,
    ):
        if criterion not in CRITERIA:
            msg = f'{as_written("criterion")} must be one of {CRITERIA}, got {criterion!r}'
            raise ValueError(msg)
        self.cutouts = cutouts
        self.features = features
        self.label_column = label_column
        self.criterion = criterion
        self.random_state = random_state
        self._file = LabelTable(cutouts.table, path, classes=classes, label_column=label_column)
        self.table = self._file.table
        labels, is_labelled = read_labels(self.table, label_column)
        self.classes = tuple(all_classes(classes, labels[is_labelled]).tolist())
        # Index of the class of each row, -1 for none.
        self._target = np.full(len(labels), -1)
        for k, name in enumerate(self.classes):
            self._target[is_labelled & (labels == name)] = k
        self._is_skipped = np.zeros(len(labels), bool)
        # Rows that were labelled or skipped, in order, for undo.
        self._done = []
        self._head = None
        self._learnt = None
        self._queue = []
        self._pictures = {}
        self.progress = []
        # One thread labels while another one learns.
        self._lock = threading.RLock()
        self._refill()

    @property
    def path(self):
        """The file of the labelled catalogue."""
        return self._file.path

    @path.setter
    def path(self, path):
        self._file.path = path

    @property
    def row(self):
        return self._queue[0] if self._queue else None

    @property
    def counts(self):
        """Number of labels of each class, a dict."""
        n_labels = np.bincount(self._target[self._target >= 0], minlength=len(self.classes))
        return dict(zip(self.classes, n_labels.tolist(), strict=True))

    @property
    def n_left(self):
        """Number of galaxies that can still be labelled."""
        return int(np.sum(self._can_be_asked()))

    @property
    def can_undo(self):
        """Whether a label or skip can be undone."""
        return bool(self._done)

    def picture(self, row):
        """
        Return the picture of a chosen galaxy.

        Parameters
        ----------
        row : int
            Its row.

        Returns
        -------
        address : str
            The PNG file as a ``data:`` address.

        Raises
        ------
        ValueError
            If it has not been chosen.
        """
        row = self._checked(row)
        if row not in self._pictures:
            msg = f'row {row} was not chosen to be labelled; pass the row of the current galaxy'
            raise ValueError(msg)
        return self._pictures[row]

    def row_info(self, row):
        """
        Return the row, the position and the field of view of a galaxy as one line of text.

        Parameters
        ----------
        row : int
            Its row.

        Returns
        -------
        text : str
            Such as ``'row 7 · RA 180.0042 Dec +4.9958 · 25.3″ wide'``, without what is unknown.
        """
        row = self._checked(row)
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
        Label the current galaxy, and write the label to the file.

        Parameters
        ----------
        row : int
            Its row. If another galaxy has become the current one, this is an error.
        label : object
            One of the classes.

        Raises
        ------
        ValueError
            If the galaxy is not the current one, or the class is unknown.
        """
        if label not in self.classes:
            msg = f'label must be one of {cut_list(self.classes)}, got {label!r}'
            raise ValueError(msg)
        with self._lock:
            self._write(self._current(row), self.classes.index(label))
            self._advance()

    def skip(self, row):
        """
        Skip the current galaxy: it gets no label, and is not shown again in this session.

        Parameters
        ----------
        row : int
            Its row.

        Raises
        ------
        ValueError
            If the galaxy is not the current one.
        """
        with self._lock:
            self._is_skipped[self._current(row)] = True
            self._advance()

    def undo(self):
        """
        Undo the last label or skip of this session, and go back to that galaxy.

        Raises
        ------
        ValueError
            If there is nothing to undo.
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
        """Fit the classifier to the labels so far, and choose the next galaxies by it."""
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
            # Drop the accuracy of more labels than there are now: some were undone.
            self.progress = [past for past in self.progress if past.n_labels < len(rows)]
            self.progress += [] if progress is None else [progress]
            if head is not None and len(rows) >= QUEUE:
                self._head = head
                # Keep the current galaxy: a person may be looking at it.
                self._queue = self._queue[:1]
                self._refill()

    def _checked(self, row):
        """Return the number of a row as an int."""
        n_rows = len(self.table)
        try:
            number = operator.index(row)
        except TypeError:
            number = -1
        # In NumPy, None stands for all rows, and so does True.
        if isinstance(row, (bool, np.bool_)) or not 0 <= number < n_rows:
            msg = f'row must be the number of a row, 0 to {n_rows - 1}, got {row!r}'
            raise ValueError(msg)
        return number

    def _current(self, row):
        """Return the number of a row, which must be that of the current galaxy."""
        if self.row is None:
            msg = f'row {row} cannot be labelled or skipped: there are no more galaxies to label'
            raise ValueError(msg)
        number = self._checked(row)
        if number != self.row:
            msg = f'row {number} is not the current galaxy, which is row {self.row}'
            raise ValueError(msg)
        return number

    def _write(self, row, k):
        """Write the class of a row to the file; if that fails, nothing has changed."""
        self._file.set(row, self.classes[k] if k >= 0 else None)
        self._target[row] = k

    def _advance(self):
        self._done.append(self._queue.pop(0))
        can_be_asked = self._can_be_asked()
        self._queue = [row for row in self._queue if can_be_asked[row]]
        if not self._queue:
            self._refill()

    def _can_be_asked(self):
        return self.cutouts.is_ok & (self._target < 0) & ~self._is_skipped

    def _refill(self):
        """Choose the next galaxies, and draw them together, with the same stretch."""
        is_free = self._can_be_asked()
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
        return choose(predictions, QUEUE, criterion=self.criterion, random_state=self.random_state)

    def _novelty(self, features):
        """Return the novelty of galaxies beside the labelled ones; NaN if it is not needed."""
        if self.criterion != 'novelty':
            return np.full(len(features), np.nan)
        import torch

        from astro_morph.models.novelty import fit_novelty

        known = self.features[(self._target >= 0) & self.cutouts.is_ok]
        novelty = fit_novelty(known, random_state=self.random_state)
        return novelty(torch.from_numpy(features)).numpy()
