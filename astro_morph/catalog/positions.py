# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the sky positions of a catalogue: right ascension and declination."""

from numbers import Number

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, SkyCoord

from astro_morph.catalog.cells import as_text, is_blank, split_mask
from astro_morph.catalog.detections.names import PIXELS, SKY
from astro_morph.catalog.tables import get_column, get_ucd, normalize_name
from astro_morph.utils.messages import as_written, cut_list, for_caller

__all__ = ['has_positions', 'read_positions']

# Names are compared in lower case and without underscores: RA, _RAJ2000, raMean, ra_deg...
_POSITION_STEMS = (
    ('ra', 'dec'),
    ('ra', 'de'),
    ('alpha', 'delta'),
    ('rightascension', 'declination'),
    ('targetra', 'targetdec'),
    ('coordra', 'coorddec'),
)
_POSITION_SUFFIXES = ('', 'j2000', '2000', 'icrs', 'mean', 'deg', 'degrees', 'd')
_POSITION_UCDS = ('pos.eq.ra;meta.main', 'pos.eq.dec;meta.main')


def read_positions(table, *, coord_columns=None):
    """
    Read the position of each row.

    Numbers are in degrees unless their column has a unit. Text is read as
    `~astropy.coordinates.SkyCoord` reads it, with sexagesimal right ascension in hours.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    coord_columns : str or (str, str), default=None
        The name of a `~astropy.coordinates.SkyCoord` column, or the names of the columns of right
        ascension and declination. By default the only `~astropy.coordinates.SkyCoord` column, else
        the columns that the UCDs mark as the main position, else a pair of names such as ``ra``
        and ``dec``.

    Returns
    -------
    coords : `~astropy.coordinates.SkyCoord`
        ICRS positions of shape (n,), NaN where a row has none.
    status : `~numpy.ndarray` of str, shape (n,)
        ``'ok'``, ``'no_coordinates'`` where a coordinate is masked, empty or NaN, or
        ``'invalid_coordinates'`` where it is out of range or not an angle.

    Raises
    ------
    ValueError
        If there are no such columns, several of them, or if they do not hold angles.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import read_positions
    >>> table = Table({'RAJ2000': [10.0, 20.0, 30.0], 'DEJ2000': [-5.0, 95.0, float('nan')]})
    >>> coords, status = read_positions(table)
    >>> print(coords[0].to_string())
    10 -5
    >>> print(status)
    ['ok' 'invalid_coordinates' 'no_coordinates']
    """
    ra, dec = _position_columns(table, coord_columns)
    # Without a unit, 10:00:00 is hours as a right ascension and degrees as a declination.
    ra = _read_degrees(ra, sexagesimal_unit=u.hourangle)
    dec = _read_degrees(dec, sexagesimal_unit=u.deg)

    # One turn more is the same position; larger values are placeholders such as -999.
    is_valid = (np.abs(ra) <= 360) & (np.abs(dec) <= 90)
    is_missing = np.isnan(ra) | np.isnan(dec)
    status = np.full(len(table), 'ok', dtype='U20')
    status[~is_valid] = 'invalid_coordinates'
    status[is_missing] = 'no_coordinates'
    ra, dec = np.where(is_valid, [ra, dec], np.nan)
    return SkyCoord(ra, dec, unit=u.deg, frame='icrs'), status


def has_positions(table, *, coord_columns=None):
    """
    Check whether a catalogue has positions on the sky.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.
    coord_columns : str or (str, str), default=None
        As in `read_positions`.

    Returns
    -------
    has_positions : bool
        False also where it is not clear which columns they are, or they hold no angles.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog.positions import has_positions
    >>> has_positions(Table({'RA': [10.0], 'Dec': [-5.0]})), has_positions(Table({'x': [3.0]}))
    (True, False)
    """
    try:
        read_positions(table, coord_columns=coord_columns)
    except ValueError:
        return False
    return True


def find_position_columns(table, *, coord_columns=None):
    """Return the names of the columns of the position."""
    names = _find_position_columns(table) if coord_columns is None else coord_columns
    return [names] if isinstance(names, str) else list(names)


def _position_columns(table, coord_columns):
    """Return the columns, or the angles, of right ascension and declination."""
    names = _find_position_columns(table) if coord_columns is None else coord_columns
    if not isinstance(names, str):
        if len(names) != 2:
            msg = f'{as_written("coord_columns")} must be one name or two, got {names!r}'
            raise ValueError(msg)
        return tuple(get_column(table, name, 'coord_columns') for name in names)
    sky = get_column(table, names, 'coord_columns')
    if not isinstance(sky, SkyCoord):
        msg = (
            f'{as_written("coord_columns")} names {names!r}, which is not a SkyCoord column; name '
            f'two columns, as in {as_written("coord_columns", ("ra", "dec"))}'
        )
        raise ValueError(msg)
    return sky.icrs.ra, sky.icrs.dec


def _find_position_columns(table):
    """Return the name of the position column, or the names of the two."""
    sky = [name for name in table.colnames if isinstance(table[name], SkyCoord)]
    if len(sky) == 1:
        return sky[0]
    if 'sky_centroid' in sky:
        return 'sky_centroid'
    pairs = [] if sky else _pairs_by_ucd(table) or _pairs_by_name(table)
    if len(pairs) == 1:
        return pairs[0]
    found = sky or pairs
    pixels = [] if found else [pair for *pair, _ in PIXELS if {*pair} <= {*table.colnames}]
    if pixels:
        msg = (
            f'the table has positions in pixels, {pixels[0]}, but none on the sky, which '
            f'{as_written("source")} needs; '
            + for_caller(
                "add them, as in table['coord'] = wcs.pixel_to_world(x, y), or pass",
                'add them to the catalogue, or name',
            )
            + ' the one frame in which they were detected'
        )
        raise ValueError(msg)
    problem = f'several positions, {found}' if found else 'no position'
    msg = (
        f'the table has {problem}, among the columns {cut_list(table.colnames)}; name the columns '
        f'to use{for_caller(" in the source of cutouts", "")}, as in '
        f'{as_written("coord_columns", ("ra", "dec"))}'
    )
    raise ValueError(msg)


def _pairs_by_ucd(table):
    """List the pairs of columns whose UCDs mark them as the main position."""
    ucds = {name: get_ucd(table[name]) for name in table.colnames}
    ra, dec = ([name for name in ucds if ucds[name] == ucd] for ucd in _POSITION_UCDS)
    return [(a, d) for a in ra for d in dec]


def _pairs_by_name(table):
    """List the pairs of columns that are named like right ascension and declination."""
    of_sextractor = [pair for pair in SKY if {*pair} <= {*table.colnames}]
    return of_sextractor[:1] + [
        (ra, dec)
        for ra_stem, dec_stem in _POSITION_STEMS
        for suffix in _POSITION_SUFFIXES
        for ra in table.colnames
        if normalize_name(ra) == ra_stem + suffix
        for dec in table.colnames
        if normalize_name(dec) == dec_stem + suffix and (ra, dec) not in of_sextractor
    ]


def _read_degrees(column, *, sexagesimal_unit):
    """Return angles in degrees: NaN where a row has none, infinite where text is not an angle."""
    values, mask = split_mask(column)
    unit = getattr(column, 'unit', None)
    is_angle = unit is not None and unit.is_equivalent(u.deg)
    if values.dtype.kind in 'SUO':
        # VizieR labels text with the "unit" '"h:m:s"', which Astropy does not know.
        units = (unit, unit) if is_angle else (u.deg, sexagesimal_unit)
        degrees = np.array([_parse_degrees(as_text(value), *units) for value in values])
    elif is_angle:
        degrees = unit.to(u.deg, values.astype(float))
    elif unit is None or unit == u.dimensionless_unscaled:
        degrees = values.astype(float)
    else:
        msg = (
            f'column {column.info.name!r} has the unit {str(unit)!r}, which is no angle; set the '
            + for_caller(
                f'unit it has, as in table[{column.info.name!r}].unit = "deg"',
                'unit it has in the catalogue',
            )
        )
        raise ValueError(msg)
    return np.where(mask, np.nan, degrees)


def _parse_degrees(value, decimal_unit, sexagesimal_unit):
    """Return one angle in degrees, from text or a number."""
    if is_blank(value):
        return np.nan
    if not isinstance(value, (str, Number)):
        return np.inf
    try:
        return decimal_unit.to(u.deg, float(value))
    except ValueError:
        pass
    try:
        return Angle(value, sexagesimal_unit).deg
    except ValueError:
        return np.inf
