# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the encoding, the names and the records of text files, as other programs write them."""

import codecs
import csv
import warnings
from itertools import islice, tee
from typing import NamedTuple

from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

__all__ = ['find_encoding', 'read_ecsv', 'read_head', 'read_records']

_MARKS = {
    codecs.BOM_UTF8: 'utf-8-sig',
    codecs.BOM_UTF16_LE: 'utf-16',
    codecs.BOM_UTF16_BE: 'utf-16',
}

# The separators of columns, the most common first.
_SEPARATORS = ',;\t|'

# Bytes that are decoded together.
_BLOCK = 2**16


def find_encoding(path):
    """
    Find the encoding of a text file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    encoding : str
        That of the byte-order mark; UTF-16 where every second byte is zero; otherwise UTF-8, or
        Latin-1 if the file is not.

    Warns
    -----
    AstropyUserWarning
        If the file is taken to be Latin-1, which every file could be.
    """
    decoder = codecs.getincrementaldecoder('utf-8')()
    with open(path, 'rb') as file:
        start = file.read(4)
        for mark, encoding in _MARKS.items():
            if start.startswith(mark):
                return encoding
        if start[1::2] == b'\0\0':
            return 'utf-16-le'
        if start[::2] == b'\0\0':
            return 'utf-16-be'
        file.seek(0)
        try:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b'', final=True)
        except UnicodeDecodeError:
            msg = (
                f'{str(path)!r} is not UTF-8, and is read as Latin-1; if letters with accents are '
                'wrong, save it as UTF-8'
            )
            warnings.warn(msg, AstropyUserWarning, stacklevel=5)
            return 'latin-1'
    return 'utf-8'


def read_ecsv(path):
    """Read the table in an ECSV file."""
    return Table.read(path, format='ascii.ecsv', encoding=find_encoding(path))


class Head(NamedTuple):
    """What a CSV file says before its rows."""

    names: list
    separator: str
    n_lines: int  # in front of the first row


def read_head(path, encoding):
    """
    Read the names of the columns of a CSV file.

    Comments may precede them, as in files of SkyServer, which begin with ``#Table1``. If the line
    after the comments holds numbers, the last comment may hold the names, as ``numpy.savetxt``
    writes them.

    Parameters
    ----------
    path : path-like
        The file.
    encoding : str
        Its encoding.

    Returns
    -------
    head : Head
        Names are unique: a second ``a`` is ``a_1``.

    Raises
    ------
    ValueError
        If the file has no line of names.
    """
    comments, n_lines = _read_comments(path, encoding)
    with open(path, encoding=encoding) as file:
        line = next(islice(file, n_lines, None), '')
    separator = max(_SEPARATORS, key=lambda mark: len(_split(line, mark)))
    names, n_in_names = _read_names(path, encoding, separator, n_lines)
    are_numbers = [_is_number(name) for name in names]
    if comments and any(are_numbers):
        above = _split(comments[-1].lstrip('# '), separator)
        if len(above) == len(names) > 1:
            return Head(_make_unique(above), separator, n_lines)
    if all(are_numbers) and '.' in line:
        msg = (
            f'its first line {line.strip()[:60]!r} holds numbers, expected the names of the '
            'columns; add a line of names'
        )
        raise ValueError(msg)
    return Head(_make_unique(names), separator, n_lines + n_in_names)


def read_records(path, encoding, separator, n_before=0):
    """
    Yield the records of a CSV file as text, and their fields.

    A line break between quotation marks is part of a record.

    Parameters
    ----------
    path : path-like
        The file.
    encoding : str
        Its encoding.
    separator : str
        The separator of columns.
    n_before : int, default=0
        Number of lines to skip.

    Yields
    ------
    record : str
        The record with its line break.
    fields : list of str
        Its fields.

    Raises
    ------
    ValueError
        If a field is longer than 131072 characters.
    """
    with open(path, encoding=encoding) as file:
        lines, same_lines = tee(islice(file, n_before, None))
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        n_lines = 0
        try:
            for fields in reader:
                record = ''.join(islice(same_lines, reader.line_num - n_lines))
                n_lines = reader.line_num
                # Empty lines are no records.
                if record.strip():
                    yield record, fields
        except csv.Error as error:
            msg = f'line {n_before + reader.line_num}: {error}'
            raise ValueError(msg) from error


def _read_comments(path, encoding):
    """Return the comments at the beginning, and the number of lines in front of all others."""
    comments = []
    with open(path, encoding=encoding) as file:
        for number, line in enumerate(file):
            if line.startswith('#'):
                comments.append(line)
            elif line.strip():
                return comments, number
    msg = 'it has no line with the names of columns; add one'
    raise ValueError(msg)


def _read_names(path, encoding, separator, n_before):
    """Return the fields of the first record, and its number of lines."""
    record, names = next(read_records(path, encoding, separator, n_before))
    return names, record.count('\n')


def _split(line, separator):
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])


def _make_unique(names):
    """Return names on one line of which no two are the same, as Astropy makes them."""
    unique = []
    for number, name in enumerate(names, 1):
        name = stem = ' '.join(name.split()) or f'col{number}'
        count = 0
        while name in unique:
            count += 1
            name = f'{stem}_{count}'
        unique.append(name)
    return unique


def _is_number(field):
    try:
        float(field)
    except ValueError:
        return False
    return True
