# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write VOTables, with the metadata of the table as INFO elements."""

import json
import warnings
from xml.parsers import expat

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog.cells import split_mask
from astro_morph.catalog.io.formats import with_values

__all__ = ['read_votable', 'write_votable']

# Without a version, astropy takes an INFO element to be of the first version.
CONFIG = {'version_1_2_or_later': True}


def read_votable(path):
    """Read the first table of a VOTable, with its INFO elements as ``meta``."""
    from astropy.io.votable import parse

    _check_elements(path)
    element = parse(str(path)).get_first_table()
    # The ids, astropy's default, lack the characters that XML does not allow in them.
    table = element.to_table(use_names_over_ids=True)
    for info in element.infos:
        table.meta[info.name] = json.loads(info.value) if info.xtype == 'json' else info.value
    for name, column in table.columns.items():
        values, mask = split_mask(column)
        # Text of any length is a column of objects.
        if column.dtype.kind == 'O' and values.dtype.kind == 'U':
            table.replace_column(name, with_values(column, values, mask))
    # Empty text is a missing value, as in FITS and ECSV.
    for column in table.columns.values():
        if column.dtype.kind in 'SU':
            column.mask |= column == ''
    return table


def write_votable(table, path):
    """Write a table to a VOTable, with its ``meta`` as INFO elements."""
    from astropy.io.votable import from_table
    from astropy.io.votable.exceptions import W03
    from astropy.io.votable.tree import Info

    with warnings.catch_warnings():
        # A name that is not valid as an XML id gets another id, and stays the name.
        warnings.simplefilter('ignore', W03)
        votable = from_table(table)
        votable.get_first_table().infos.extend(
            Info(name=name, config=CONFIG, **_to_info(value)) for name, value in table.meta.items()
        )
    votable.to_xml(str(path))


def _check_elements(path):
    """
    Check the elements of a file before it is parsed.

    A service sends its errors as a VOTable too. A VOTable may also name other files and addresses
    to read data from, and Astropy would open them.
    """
    elements = _Elements()
    with open(path, 'rb') as file:
        elements.parser.ParseFile(file)
    if elements.error is not None:
        msg = f'the service returned an error in place of a table: {elements.error.strip()!r}'
        raise ValueError(msg)
    if 'TABLE' not in elements.names:
        msg = 'it holds no TABLE; download it again'
        raise ValueError(msg)
    if elements.overflow is not None:
        msg = (
            f'{str(path)!r} holds the first rows only, because the service has a limit '
            f'({elements.overflow.strip() or "overflow"}); raise it, or split the query'
        )
        warnings.warn(msg, AstropyUserWarning, stacklevel=4)


class _Elements:
    """Names of the elements of a VOTable, and the status of the query that it answers."""

    def __init__(self):
        self.names = set()
        self.error = self.overflow = None
        self._text = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.CharacterDataHandler = self._read_text
        self.parser.EndElementHandler = self._end
        self.parser.EntityDeclHandler = self._refuse_entity

    def _start(self, name, attributes):
        name = name.rpartition(':')[2]
        self.names.add(name)
        if name == 'STREAM' and 'href' in attributes:
            msg = (
                f'its data are in another place, {attributes["href"]!r}, which is not opened; save '
                'the table with its data inside'
            )
            raise ValueError(msg)
        label = attributes.get('name', '').upper()
        value = attributes.get('value', '')
        # The second name is that of services older than DALI.
        if name in ('INFO', 'PARAM') and label == 'ERROR':
            self.error = value
        elif name == 'INFO' and label == 'QUERY_STATUS' and value.upper() in ('ERROR', 'OVERFLOW'):
            self._text = (value.upper(), '')

    def _read_text(self, text):
        if self._text is not None:
            value, before = self._text
            self._text = value, before + text

    def _end(self, name):
        if self._text is None:
            return
        value, text = self._text
        self._text = None
        if value == 'ERROR':
            self.error = text
        else:
            self.overflow = text

    def _refuse_entity(self, name, *args):
        msg = f'it defines the entity {name!r}, expected none; save it with another program'
        raise ValueError(msg)


def _to_info(value):
    """Return the attributes of an INFO element: one line of text as it is, all else as JSON."""
    if isinstance(value, str) and value.isprintable():
        return {'value': value}
    return {'value': json.dumps(value, default=_to_json), 'xtype': 'json'}


def _to_json(value):
    """Return NumPy's numbers as Python's, and other objects that JSON lacks as text."""
    return value.item() if isinstance(value, np.generic) else str(value)
