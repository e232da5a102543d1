# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Keep the labels of a catalogue in a copy of it, in a file that no other session changes."""

import os
import warnings
from pathlib import Path

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog import read_labels, read_positions
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.labelling.journal import Journal
from astro_morph.utils.files import locked
from astro_morph.utils.messages import as_written, cut_list

__all__ = ['LabelTable', 'all_classes']

# Positions and numbers that differ by less have only been rounded in a file.
SAME_PLACE = 1.0  # arcsec
SAME_NUMBER = 1e-6


class LabelTable:
    """
    A copy of a catalogue that takes labels, kept in a file and its journal.

    Parameters
    ----------
    catalog : `~astropy.table.Table`
        The catalogue.
    path : path-like
        The file. If it exists, its labels are taken over; if only its journal does, those of the
        journal.
    classes : sequence, default=None
        The classes to choose from; those of the labels in the catalogue are added.
    label_column : str, default='morphology'
        Column of the labels.

    Attributes
    ----------
    table : `~astropy.table.Table`
        The catalogue with the labels so far, as in the file.
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    ValueError
        If the file holds another catalogue or can't be read.
    """

    def __init__(self, catalog, path, *, classes=None, label_column='morphology'):
        if not isinstance(catalog, Table):
            msg = (
                f'{as_written("X")} has images only, expected a table, which the labels can be '
                'added to; pass a catalogue, or cutouts with one'
            )
            raise ValueError(msg)
        self.path = Path(path)
        self._name = label_column
        self.table = catalog.copy()
        others = [name for name in catalog.colnames if name != label_column]
        self._journal = Journal(path, catalog[others])
        with locked(path):
            self._take_over()
            self.table[label_column] = _new_column(self.table, label_column, classes)
            write_table(self.table, path, overwrite=True)
            self._date = _date(self.path)
            labels = [None if label is np.ma.masked else label for label in self._labels.tolist()]
            self._journal.write(dict(enumerate(labels)))

    def set(self, row, label):
        """
        Set the label of a row, and write it; if that fails, nothing has changed.

        Parameters
        ----------
        row : int
            The row.
        label : object
            Its label, None to take it back.

        Raises
        ------
        OSError
            If the file can't be written, or has been changed by others.
        """
        # A folder that is gone is not created again.
        os.stat(self.path.parent)
        before = None if self._labels.mask[row] else self._labels[row].item()
        with locked(self.path):
            self._refuse_changed()
            self._journal.write({row: label})
            self._labels[row] = np.ma.masked if label is None else label
            try:
                write_table(self.table, self.path, overwrite=True)
            except BaseException:
                self._labels[row] = np.ma.masked if before is None else before
                self._journal.write({row: before})
                raise
            self._date = _date(self.path)

    @property
    def _labels(self):
        return self.table[self._name]

    def _take_over(self):
        """Take over the labels of the file, or those of the journal if the file is gone."""
        if self.path.exists():
            _add_labels(self.table, self._read(), self.path, self._name)
        elif any(label is not None for label in self._journal.labels.values()):
            known = {row: x for row, x in self._journal.labels.items() if x is not None}
            values = np.zeros(len(self.table), np.array([*known.values()]).dtype)
            values[list(known)] = list(known.values())
            is_known = np.isin(np.arange(len(values)), list(known))
            about = _about(self.table, self._name)
            self.table[self._name] = MaskedColumn(values, mask=~is_known, **about)
            msg = (
                f'{self.path} is gone: its {len(known)} labels are restored from '
                f'{self._journal.path}; to start anew, delete that file too'
            )
            warnings.warn(msg, AstropyUserWarning, stacklevel=4)

    def _read(self):
        try:
            return read_table(self.path)
        except (OSError, ValueError) as error:
            msg = (
                f'the labels in {str(self.path)!r} cannot be read: {error}; move the file away, '
                f'and the labels are restored from {self._journal.path}'
            )
            raise ValueError(msg) from error

    def _refuse_changed(self):
        """Refuse to replace a file that is not as this session has written it."""
        if self.path.exists() and _date(self.path) != self._date:
            msg = (
                f'{self.path} was changed by another session or program; start the labelling '
                'again to go on from it'
            )
            raise OSError(msg)


def all_classes(classes, known):
    """Return the classes to choose from and those of the labels as one array of one type."""
    known = np.unique(known)
    wanted = known if classes is None else np.asarray(classes)
    try:
        wanted = wanted.astype(known.dtype.type if len(known) else wanted.dtype)
    except ValueError as error:
        msg = (
            f'{as_written("classes")} must be like the labels of the catalogue, {known.tolist()}, '
            f'got {classes}'
        )
        raise ValueError(msg) from error
    together = np.array(list(dict.fromkeys([*wanted.tolist(), *known.tolist()])))
    if len(together) < 2 or '' in together.tolist():
        msg = (
            f'{as_written("classes")} must name at least two classes, such as spiral and '
            f'elliptical, got {together.tolist()}'
        )
        raise ValueError(msg)
    return together


def _add_labels(table, saved, path, label_column):
    """Add the labels of a file to a table, if the file holds the same catalogue."""
    # Some formats have other columns for coordinates.
    plain = {name for name, column in table.columns.items() if isinstance(column, Column)}
    plain -= {label_column}
    missing = sorted(plain - set(saved.colnames))
    if len(saved) != len(table) or missing:
        lacks = f' and lacks the columns {cut_list(missing)}' if missing else ''
        msg = (
            f'the file {str(path)!r} exists already, has {len(saved)} rows{lacks}, and is not '
            f'this catalogue of {len(table)} rows; name another file for the labels'
        )
        raise ValueError(msg)
    for name, differs in [
        *((name, _differs(table[name], saved[name])) for name in sorted(plain)),
        ('position', _is_elsewhere(table, saved)),
    ]:
        if np.any(differs):
            msg = (
                f'the file {str(path)!r} exists already, and holds another catalogue, or this one '
                f'in another order: in row {np.argmax(differs)}, its {name} differs; name another '
                'file for the labels'
            )
            raise ValueError(msg)
    if label_column in saved.colnames:
        table[label_column] = saved[label_column]


def _differs(column, saved):
    """Return which rows of two columns differ, where both are known and of like types."""
    kinds = column.dtype.kind + saved.dtype.kind
    if column.shape != saved.shape:
        return np.ones(len(column), bool)
    one, other = (np.ma.asarray(values) for values in (column, saved))
    if set(kinds) <= set('iu'):
        differs = one != other
    elif set(kinds) <= set('iuf'):
        scale = np.maximum(np.abs(one), np.abs(other))
        differs = np.abs(one - other) > SAME_NUMBER * scale  # false for NaN
    elif set(kinds) <= set('US'):
        texts = (np.char.strip(values.filled().astype(str)) for values in (one, other))
        differs = np.ma.array(np.not_equal(*texts), mask=one.mask | other.mask)
    else:
        return np.zeros(len(column), bool)
    return differs.filled(False).reshape(len(column), -1).any(axis=1)


def _is_elsewhere(table, saved):
    """Return which rows of two tables have other positions, where both have one."""
    try:
        (here, status), (there, other_status) = map(read_positions, (table, saved))
    except ValueError:
        return np.zeros(len(table), bool)
    is_known = (status == 'ok') & (other_status == 'ok')
    return is_known & (here.separation(there).arcsec > SAME_PLACE)


def _new_column(table, name, classes):
    """Return the column of labels, masked where there is none, with room for any class."""
    if name in table.colnames:
        labels, is_labelled = read_labels(table, name)
    else:
        labels, is_labelled = np.zeros(len(table), str), np.zeros(len(table), bool)
    values = np.zeros(len(table), all_classes(classes, labels[is_labelled]).dtype)
    values[is_labelled] = labels[is_labelled]
    return MaskedColumn(values, mask=~is_labelled, **_about(table, name))


def _about(table, name):
    """Return what is said of the column of labels: what the catalogue says, if it has one."""
    if name in table.colnames:
        return {key: getattr(table[name].info, key) for key in ('description', 'meta')}
    return {'description': 'Morphological class', 'meta': {'ucd': 'src.morph.type'}}


def _date(path):
    """Return what changes when a file is written."""
    about = path.stat()
    return about.st_size, about.st_mtime_ns, about.st_ino
