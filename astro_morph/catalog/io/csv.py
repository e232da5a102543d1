# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read CSV files in chunks of rows (whole tables: tables.py), and join the files of chunks."""

import csv
from itertools import islice, tee

import numpy as np
from astropy.table import Table

__all__ = ['CsvReader', 'join_csv']

# Rows that are parsed together to find the types of the columns.
BLOCK = 8192

# The kinds of columns, in the order in which the parser tries them, and a value of each kind.
EXAMPLES = {'i': '0', 'f': '0.5', 'U': 'x'}


class CsvReader:
    """Read rows of a CSV file; the whole file is read once to find the types of its columns."""

    def __init__(self, path):
        self._path = path
        self._examples = []
        self._go_to_start()
        kinds = {}
        while block := list(islice(self._records, BLOCK)):
            table = self._parse(block)
            self._position += len(table)
            for name, column in table.columns.items():
                # A column without values may have any type.
                if not np.all(getattr(column, 'mask', False)):
                    known = kinds.get(name, 'i')
                    kinds[name] = max(known, column.dtype.kind, key=list(EXAMPLES).index)
        self.n_rows = self._position
        if self.n_rows:
            # A first row of examples makes the parser find the same types in every chunk.
            row = [EXAMPLES.get(kinds.get(name), '""') for name in table.colnames]
            self._examples = [','.join(row) + '\n']

    def read(self, start, stop):
        """Read some rows as a table."""
        if start < self._position:
            self._go_to_start()
        n_skip = start - self._position
        records = islice(self._records, n_skip, n_skip + stop - start)
        self._position = stop
        return self._parse(list(records))

    def _go_to_start(self):
        self._records = _read_records(self._path)
        self._names = next(self._records, '').rstrip('\r\n') + '\n'
        self._position = 0

    def _parse(self, records):
        text = ''.join([self._names, *self._examples, *records])
        table = Table.read(text, format='ascii.csv', guess=False)[len(self._examples) :]
        if len(table) != len(records):
            msg = (
                f'{len(records)} records behind row {self._position} were parsed as {len(table)} '
                'rows: quotation marks do not match; write the file in another format'
            )
            raise ValueError(msg)
        return table


def join_csv(files, path, *, n_rows, n_skip):
    """Write the rows of CSV files, but for the first ``n_skip`` of each, to one file."""
    with path.open('w') as output:
        for number, file in enumerate(files):
            names, *records = _read_records(file)
            if number == 0:
                output.write(names)
            output.writelines(records[n_skip:])


def _read_records(path):
    """Yield the records of a file as text; a line break between quotation marks is part of one."""
    with path.open() as file:
        lines, same_lines = tee(file)
        reader = csv.reader(lines, skipinitialspace=True)
        n_lines = 0
        try:
            for _ in reader:
                record = ''.join(islice(same_lines, reader.line_num - n_lines))
                n_lines = reader.line_num
                # Empty lines are no records.
                if record.strip():
                    yield record
        except csv.Error as error:
            msg = f'line {reader.line_num}: {error}'
            raise ValueError(msg) from error
