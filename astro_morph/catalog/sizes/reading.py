# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the angular size of each row of a catalogue."""

import astropy.units as u
import numpy as np

from astro_morph.catalog.numbers import split_numbers
from astro_morph.catalog.sizes.expressions import Expression
from astro_morph.catalog.tables import get_column
from astro_morph.utils.messages import as_written

__all__ = ['UNITS', 'read_expression', 'read_sizes']

#: Units that an expression may name, unless the catalogue has a column of that name.
UNITS = {name: u.Unit(name) for name in ('deg', 'arcmin', 'arcsec', 'mas', 'rad', 'pix')}


def read_sizes(table, size):
    """
    Read the angular size of each row.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    size : str
        A column, or an expression of columns, numbers and units such as ``'2 * a * 0.2 * arcsec'``,
        see `~astro_morph.catalog.sizes.expressions.Expression`. Without any unit, it is in arcsec.

    Returns
    -------
    sizes : `~astropy.units.Quantity`, shape (n,)
        The sizes in arcsec; NaN where a size is masked, infinite or not positive.

    Raises
    ------
    MissingColumnError
        If there is no such column.
    ValueError
        If it does not hold angles, or the text is no expression.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import read_sizes
    >>> table = Table({'radius': [0.1, -9.0]}, units=['arcmin'])
    >>> read_sizes(table, 'radius')
    <Quantity [ 6., nan] arcsec>
    >>> read_sizes(table, '2 * radius + 1 * arcsec')
    <Quantity [13., nan] arcsec>
    """
    if size in table.colnames:
        value = _read_column(table, size)
    else:
        value = _evaluate(table, read_expression(size), size)
    value = u.Quantity(value)
    if value.unit == u.dimensionless_unscaled:
        value = value * u.arcsec
    if not value.unit.is_equivalent(u.arcsec):
        msg = (
            f'{as_written("size")} is {size!r}, of the unit {str(value.unit)!r}, expected an '
            "angle, or numbers in arcsec; multiply by a unit, as in '... * 0.2 * arcsec / pix'"
        )
        raise ValueError(msg)
    sizes = np.broadcast_to(value.to_value(u.arcsec), len(table))
    return np.where((sizes > 0) & np.isfinite(sizes), sizes, np.nan) * u.arcsec


def read_expression(text):
    """
    Read the expression of a size.

    Parameters
    ----------
    text : str
        As in `read_sizes`.

    Returns
    -------
    expression : `~astro_morph.catalog.sizes.expressions.Expression`
        The expression.

    Raises
    ------
    ValueError
        If the text is none, or zero times a column.

    Examples
    --------
    >>> from astro_morph.catalog.sizes.reading import read_expression
    >>> read_expression('petroR90_r*4')
    <Expression: 4 * petroR90_r>
    """
    try:
        expression = Expression(text)
        reason = '' if expression.names else 'it names neither a column nor a unit'
        if expression.product is not None and expression.product[0] == 0:
            reason = 'it is zero'
    except ValueError as error:
        reason = str(error)
    if reason:
        msg = (
            f"{as_written('size')} must be a column and a factor, as in '4 * petroR90_r', or an "
            f'expression of columns and units, got {text!r}: {reason}'
        )
        raise ValueError(msg)
    return expression


def _evaluate(table, expression, text):
    """Return the value of an expression of columns and units."""

    def lookup(name):
        if name in UNITS and name not in table.colnames:
            return u.Quantity(1.0, UNITS[name])
        return _read_column(table, name)

    values = {name: lookup(name) for name in expression.names}
    try:
        return expression.evaluate(values.get)
    except (TypeError, ValueError) as error:
        msg = (
            f'{as_written("size")} is {text!r}, whose units do not fit together ({error}); set the '
            'units of the columns, or multiply by a unit such as arcsec'
        )
        raise ValueError(msg) from error


def _read_column(table, name):
    """Return the numbers of a column with their unit, NaN where they are masked."""
    column = get_column(table, name, 'size')
    values, mask = split_numbers(column)
    unit = getattr(column, 'unit', None)
    is_known = unit is None or unit.is_equivalent((u.arcsec, u.pix, u.dimensionless_unscaled))
    if values.dtype.kind not in 'iuf' or not is_known:
        msg = (
            f'{as_written("size")} names the column {name!r} of type {values.dtype} and unit '
            f'{str(unit)!r}, expected angles as numbers, in arcsec if there is no unit; name '
            'another column'
        )
        raise ValueError(msg)
    numbers = np.where(mask, np.nan, values.astype(float))
    return u.Quantity(numbers, unit or u.dimensionless_unscaled)
