# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Keep a journal of labels: a text file that only grows, so that no label is ever lost."""

import json
import os
from pathlib import Path

from astropy.table import Column

from astro_morph.utils.identity import fingerprint

__all__ = ['Journal']


class Journal:
    """
    The journal of a file of labels, one JSON object a line.

    A line with ``catalog`` begins the labels of a catalogue; each further line has the row and the
    label that it got, null if it was taken back. The last labels of all rows are those of the file.

    Parameters
    ----------
    path : path-like
        The file of labels. The journal has its name, with ``.journal``.
    catalog : `~astropy.table.Table`
        The catalogue, without labels.

    Attributes
    ----------
    path : `~pathlib.Path`
        The journal.
    labels : dict
        The label of each row that has one, if the journal is of this catalogue.
    """

    def __init__(self, path, catalog):
        self.path = Path(f'{os.fspath(path)}.journal')
        self._catalog = {'catalog': _identify(catalog), 'n_rows': len(catalog)}
        self.labels, self._is_ours = self._read()

    def write(self, labels):
        """
        Append labels, before they are written to the file itself.

        Parameters
        ----------
        labels : dict
            The label of each row, None if it is taken back. Nothing is written of labels that the
            journal has already.
        """
        changes = {row: label for row, label in labels.items() if label != self.labels.get(row)}
        entries = [{'row': row, 'label': label} for row, label in changes.items()]
        if not self._is_ours:
            entries.insert(0, self._catalog)
        if entries:
            # After a crash, the last line may be without its end.
            text = ''.join(f'\n{json.dumps(entry)}' for entry in entries)
            with self.path.open('a', encoding='utf-8') as file:
                file.write(f'{text}\n')
                file.flush()
                os.fsync(file.fileno())
        self._is_ours = True
        self.labels |= changes

    def _read(self):
        """Return the labels of the last catalogue, if it is this one, and whether it is."""
        labels, is_ours = {}, False
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        for entry in filter(None, map(_parse, lines)):
            if 'catalog' in entry:
                labels, is_ours = {}, entry == self._catalog
            elif is_ours and entry['row'] in range(self._catalog['n_rows']):
                labels[entry['row']] = entry['label']
        return labels, is_ours


def _parse(line):
    """Return the entry of a line, None if the line is not complete."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    is_entry = isinstance(entry, dict) and ('catalog' in entry or {'row', 'label'} <= entry.keys())
    return entry if is_entry else None


def _identify(catalog):
    """Return a fingerprint of the values of a catalogue."""
    return fingerprint({name: _values(column) for name, column in catalog.columns.items()})


def _values(column):
    # Sky coordinates and the like have no plain values, but a text.
    return column.tolist() if isinstance(column, Column) else [str(cell) for cell in column]
