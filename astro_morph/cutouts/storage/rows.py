# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What folders keep of cutouts beside their pixels: columns with a value a row, and the rest."""

import tempfile
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table, hstack

from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts.cutout_set import PLANES

__all__ = [
    'NAMES',
    'attributes_of',
    'check_names',
    'in_batches',
    'join_rows',
    'pixels_of',
    'read_rows',
    'rehearse',
    'rows_of',
    'split_rows',
]

# Rows that are written together, at most, and read together.
BATCH = 256

# The attribute that marks folders of cutouts.
FORMAT = 'astro_morph cutouts 1'

# The columns of `rows_of`; those of a catalogue have other names.
PREFIX = 'cutout_'
NAMES = [
    f'{PREFIX}{name}' for name in ('status', 'flags', 'pixel_scale', 'rotation', 'parity', 'x', 'y')
]


def in_batches(cutouts):
    """Yield batches of cutouts without their table; an empty one if there are no rows."""
    plain = cutouts.replace(table=None)
    for start in range(0, len(plain) or 1, BATCH):
        yield plain[start : start + BATCH]


def pixels_of(cutouts):
    """Return the arrays of shape (n, band, y, x) of cutouts, by name."""
    planes = {name: getattr(cutouts, name) for name in ('images', *PLANES)}
    return {name: plane for name, plane in planes.items() if plane is not None}


def rows_of(cutouts):
    """Return a table with the values that cutouts have for each row."""
    scale = np.nan if cutouts.pixel_scale is None else cutouts.pixel_scale.to_value(u.arcsec)
    columns = [
        cutouts.status,
        cutouts.flags,
        np.broadcast_to(scale, len(cutouts)),
        cutouts.rotation.to_value(u.deg),
        cutouts.parity,
        *np.transpose(cutouts.centers),
    ]
    return Table(dict(zip(NAMES, columns, strict=True)))


def attributes_of(cutouts, table):
    """Return what is the same for all rows, as JSON has it."""
    zero_point = cutouts.zero_point
    return {
        'format': FORMAT,
        'bands': list(map(str, cutouts.bands)),
        'kind': cutouts.kind,
        'framing': cutouts.framing,
        # JSON has no NaN.
        'zero_point': None if zero_point is None else [z if z == z else None for z in zero_point],
        'has_table': table is not None,
        'has_quantities': isinstance(table, QTable),
    }


def check_names(table, names=NAMES):
    """Raise a ValueError if a catalogue has columns with the names of those beside it."""
    taken = [] if table is None else [name for name in table.colnames if name in names]
    if taken:
        msg = (
            f'the catalogue has the columns {taken}, whose names are those of the columns that are '
            'written beside them; rename them'
        )
        raise ValueError(msg)


def join_rows(table, rows):
    """Return a catalogue, or None, with the columns of `rows_of` beside its own."""
    if table is None:
        return rows
    joined = hstack([Table(table, copy=False), rows], metadata_conflicts='silent')
    joined.meta = table.meta
    return joined


def split_rows(joined, attributes):
    """Return the catalogue in a joined table, None if there was none, and arguments of a set."""
    table = None
    if attributes['has_table']:
        table = joined[[name for name in joined.colnames if name not in NAMES]]
        table = QTable(table) if attributes['has_quantities'] else table
    zero_point = attributes['zero_point']
    return table, read_rows(joined) | {
        'bands': attributes['bands'],
        'kind': attributes['kind'],
        'framing': attributes['framing'],
        'zero_point': None if zero_point is None else np.array(zero_point, float),
    }


def read_rows(table):
    """Return the arguments of a set of cutouts that the columns of `rows_of` hold."""
    status, flags, scale, rotation, parity, x, y = (np.asarray(table[name]) for name in NAMES)
    if np.isnan(scale).all():
        scale = None
    elif (scale == scale[0]).all():
        scale = scale[0]
    return {
        'status': status,
        'flags': flags,
        'pixel_scale': None if scale is None else scale * u.arcsec,
        'rotation': rotation * u.deg,
        'parity': parity,
        'centers': np.stack([x, y], axis=1),
    }


def rehearse(table, ending):
    """Write a catalogue to a temporary file, and read it, to check that its format holds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'table{ending}'
        write_table(table, path)
        read_table(path)
