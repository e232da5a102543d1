# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read CSV files, whole and in chunks of rows, and join the files of chunks."""

import csv
import io
import re
import warnings
from itertools import islice

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from astro_morph.catalog.io.text import find_encoding, read_head, read_records

__all__ = ['CsvReader', 'join_csv', 'read_csv']

# Rows that are parsed together to find the types of the columns.
BLOCK = 8192

# The kinds of columns, in the order in which the parser tries them, and a value of each kind.
EXAMPLES = {'i': '0', 'f': '0.5', 'U': 'x'}

# What stands for a missing number in files of services and other programs.
NO_NUMBER = ('null', 'NULL', 'Null', 'NA', 'N/A', 'n/a', 'None', '<NA>', '-', '--', '\\N')

# Digits with a leading zero, which are an identifier; the second pattern finds them among others.
LEADING_ZERO = re.compile(r'0\d+')
ANY_LEADING_ZERO = re.compile(r'(?<![^,;|"\s])0\d+(?![^,;|"\s])')

# A number with a decimal comma, where semicolons are the separators.
DECIMAL_COMMA = re.compile(r'^\s*([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)\s*$')


def read_csv(path):
    """Read the table in a CSV file."""
    reader = CsvReader(path)
    return reader.read(0, reader.n_rows)


class CsvReader:
    """Read rows of a CSV file; the whole file is read once to find the types of its columns."""

    def __init__(self, path):
        self._path = path
        self._encoding = find_encoding(path)
        self._head = read_head(path, self._encoding)
        self._examples = []
        kinds = [''] * len(self._head.names)
        self._numbers = None
        self._go_to_start()
        while block := list(islice(self._records, BLOCK)):
            found = zip(kinds, self._find_kinds(block), strict=True)
            kinds = [max(pair, key=['', *EXAMPLES].index) for pair in found]
            self._position += len(block)
        self.n_rows = self._position
        self._numbers = [number for number, kind in enumerate(kinds) if kind != 'U']
        if self.n_rows:
            # A first row of examples makes the parser find the same types in every chunk.
            self._examples = [','.join(EXAMPLES.get(kind, '""') for kind in kinds) + '\n']

    def read(self, start, stop):
        """Read some rows as a table."""
        if start < self._position:
            self._go_to_start()
        n_skip = start - self._position
        records = islice(self._records, n_skip, n_skip + stop - start)
        self._position = stop
        return self._parse(list(records))

    def _go_to_start(self):
        self._records = self._read_rows()
        self._position = 0

    def _read_rows(self):
        """Yield the records of rows, with commas as separators; comments are left out."""
        head = self._head
        records = read_records(self._path, self._encoding, head.separator, head.n_lines)
        for record, fields in records:
            if record.startswith('#') and len(fields) != len(head.names):
                continue
            if head.separator == ';':
                fields = [DECIMAL_COMMA.sub(r'\1.\2', field) for field in fields]
            yield record if head.separator == ',' else _join(fields)

    def _find_kinds(self, records):
        """Return the kind of each column in some records, empty where there is no value."""
        with warnings.catch_warnings():
            # Integers beyond 64 bits become text.
            warnings.simplefilter('ignore', AstropyWarning)
            table = self._parse(records)
        kinds = [
            '' if np.all(getattr(column, 'mask', False)) else column.dtype.kind
            for column in table.columns.values()
        ]
        if ANY_LEADING_ZERO.search(''.join(records)):
            for fields in csv.reader(records, skipinitialspace=True):
                for number, field in enumerate(fields):
                    if LEADING_ZERO.fullmatch(field.strip()):
                        kinds[number] = 'U'
        return kinds

    def _parse(self, records):
        # Names may have line breaks, which the parser does not take.
        names = [str(number) for number in range(len(self._head.names))]
        numbers = names if self._numbers is None else [names[i] for i in self._numbers]
        missing = [(text, '0', *numbers) for text in NO_NUMBER] if numbers else []
        table = Table.read(
            ''.join([','.join(names) + '\n', *self._examples, *records]),
            format='ascii.csv',
            guess=False,
            fill_values=[('', '0'), *missing],
        )[len(self._examples) :]
        if len(table) != len(records):
            msg = (
                f'{len(records)} records behind row {self._position} were parsed as {len(table)} '
                'rows: quotation marks do not match; write the file in another format'
            )
            raise ValueError(msg)
        table.rename_columns(names, self._head.names)
        return table


def join_csv(files, path, *, n_rows, n_skip):
    """Write the rows of CSV files, but for the first ``n_skip`` of each, to one file."""
    with path.open('w', encoding='utf-8') as output:
        for number, file in enumerate(files):
            names, *records = (record for record, _ in read_records(file, 'utf-8', ','))
            if number == 0:
                output.write(names)
            output.writelines(records[n_skip:])


def _join(fields):
    """Return a record with commas as separators."""
    record = io.StringIO()
    csv.writer(record, lineterminator='\n').writerow(fields)
    return record.getvalue()
