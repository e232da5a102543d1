# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write VOTables, with the metadata of the table as INFO elements."""

import json
import warnings

import numpy as np

__all__ = ['read_votable', 'write_votable']

# Without a version, astropy takes an INFO element to be of the first version.
CONFIG = {'version_1_2_or_later': True}


def read_votable(path):
    """Read the first table of a VOTable, with its INFO elements as ``meta``."""
    from astropy.io.votable import parse

    element = parse(str(path)).get_first_table()
    # The ids, astropy's default, lack the characters that XML does not allow in them.
    table = element.to_table(use_names_over_ids=True)
    for info in element.infos:
        table.meta[info.name] = json.loads(info.value) if info.xtype == 'json' else info.value
    # Empty text is a missing value, as in FITS and ECSV.
    for column in table.columns.values():
        if column.dtype.kind in 'SUO':
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


def _to_info(value):
    """Return the attributes of an INFO element: one line of text as it is, all else as JSON."""
    if isinstance(value, str) and value.isprintable():
        return {'value': value}
    return {'value': json.dumps(value, default=_to_json), 'xtype': 'json'}


def _to_json(value):
    """Return NumPy's numbers as Python's, and other objects that JSON lacks as text."""
    return value.item() if isinstance(value, np.generic) else str(value)
