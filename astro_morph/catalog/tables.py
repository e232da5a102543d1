# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Turn tables, positions and data frames into an Astropy table, and read its columns."""

from astropy.coordinates import SkyCoord
from astropy.table import Column, QTable, Table

from astro_morph.catalog.detections.tables import are_detections, from_detections
from astro_morph.catalog.frames import from_frame, is_frame
from astro_morph.utils.messages import as_written, cut_list

__all__ = ['MissingColumnError', 'as_table']


class MissingColumnError(ValueError):
    """
    A catalogue has no column of a name.

    Parameters
    ----------
    message : str
        What was expected.
    name : str, default=None
        The column.

    Examples
    --------
    >>> from astro_morph.catalog.tables import MissingColumnError
    >>> MissingColumnError('there is no column of sizes', 'petroR90_r').name
    'petroR90_r'
    """

    def __init__(self, message, name=None):
        super().__init__(message)
        self.name = name


def as_table(X):
    """
    Return a catalogue as a table.

    Parameters
    ----------
    X : Table, SkyCoord, DataFrame, SourceCatalog or structured array
        A table is returned unchanged; positions become the column ``coord``. A data frame of
        pandas or Polars, or a table of Arrow, is converted, see
        `~astro_morph.catalog.frames.from_frame`; so are a
        `~photutils.segmentation.SourceCatalog` and the structured arrays of ``sep`` and of FITS
        tables, see `~astro_morph.catalog.detections.tables.from_detections`.

    Returns
    -------
    table : `~astropy.table.Table`
        One row for each row or position.

    Raises
    ------
    TypeError
        If ``X`` is none of these.
    ValueError
        If the positions have more than one axis, or two columns of a data frame have one name.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.catalog import as_table
    >>> as_table(SkyCoord([10.0, 20.0], [0.0, 5.0], unit='deg')).colnames
    ['coord']
    """
    if isinstance(X, Table):
        return X
    if isinstance(X, SkyCoord):
        if X.ndim > 1:
            msg = f'X holds positions of shape {X.shape}, expected one axis; use X.ravel()'
            raise ValueError(msg)
        return QTable({'coord': X.reshape(-1)})
    if is_frame(X):
        return from_frame(X)
    if are_detections(X):
        return from_detections(X)
    msg = (
        'X must be a Table, a SkyCoord, a data frame, a SourceCatalog or a structured array, got '
        f'{type(X).__name__}'
    )
    raise TypeError(msg)


def get_column(table, name, argument):
    """Return the column of a table that an argument names, one value per row."""
    if name not in table.colnames:
        msg = (
            f'{as_written(argument)} names {name!r}, which is not among the columns '
            f'{cut_list(table.colnames)}; name one of them'
        )
        raise MissingColumnError(msg, name)
    column = table[name]
    if len(column.shape) > 1:
        msg = (
            f'{as_written(argument)} names the column {name!r} of shape {column.shape}, expected '
            'one value per row'
        )
        raise ValueError(msg)
    return column


def get_ucd(column):
    """Return the UCD of a column, None if it has none."""
    return (column.info.meta or {}).get('ucd')


def normalize_name(name):
    """Return a column name in the form in which names are compared."""
    return name.lower().replace('_', '')


def is_text(column):
    """Check whether a column holds text."""
    if not isinstance(column, Column):
        return False
    if column.dtype.kind == 'O':
        return any(isinstance(value, str) for value in column)
    return column.dtype.kind in 'SU'
