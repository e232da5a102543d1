# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Positions, image paths and labels read out of a catalogue; predictions written into a copy."""

import re
import sys
import unicodedata

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import get_data_and_mask

__all__ = [
    'as_table',
    'find_image_column',
    'probability_columns',
    'read_labels',
    'read_numbers',
    'read_positions',
    'read_sizes',
    'write_numbers',
    'write_predictions',
]

# Column names are compared in lower case and without underscores: RA, _RAJ2000, raMean, ra_deg...
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

# The most telling name first: a table of images may have a column 'file' about something else.
_IMAGE_NAMES = (
    'imagepath',
    'imagefile',
    'imagefilename',
    'imgpath',
    'imgfile',
    'cutoutpath',
    'cutoutfile',
    'fileloc',
    'filepath',
    'filename',
    'path',
    'file',
    'image',
    'img',
    'cutout',
)

_PROBABILITY_UCD = 'stat.probability;src.morph.type'

# PostgreSQL cuts a column name after 63 characters; this leaves room for the prefix and a number.
_LONGEST_CLASS_NAME = 40


def as_table(X):
    """
    Turn what a user calls a catalogue into a table.

    Parameters
    ----------
    X : `~astropy.table.Table`, `~astropy.coordinates.SkyCoord` or `pandas.DataFrame`
        A table is handed back as it is, positions become the column ``coord``.

    Returns
    -------
    table : `~astropy.table.Table`
        One row for each row or position.

    Raises
    ------
    TypeError
        If ``X`` is none of these.
    ValueError
        If the positions have more than one axis.

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
    # A data frame can only come from a pandas that was imported already.
    pandas = sys.modules.get('pandas')
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return Table.from_pandas(X.rename(columns=str))
    msg = f'X must be a Table, a SkyCoord or a pandas DataFrame, got {type(X).__name__}'
    raise TypeError(msg)


def read_positions(table, *, coord_columns=None):
    """
    Read the position of each row.

    Bare numbers are degrees, and the unit of a column counts where it has one. Text is read as
    `~astropy.coordinates.SkyCoord` reads it, with sexagesimal right ascension in hours.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    coord_columns : str or (str, str), optional
        The name of a `~astropy.coordinates.SkyCoord` column, or the names of the columns of right
        ascension and declination. By default the only `~astropy.coordinates.SkyCoord` column, else
        the columns that the UCDs mark as the main position, else a pair of names such as ``ra``
        and ``dec``.

    Returns
    -------
    coords : `~astropy.coordinates.SkyCoord`
        ICRS positions of shape (n,), NaN where there is none.
    status : `~numpy.ndarray` of str, shape (n,)
        ``'ok'``, ``'no_coordinates'`` where a coordinate is masked, empty or NaN, or
        ``'invalid_coordinates'`` where it is out of range or not an angle.

    Raises
    ------
    ValueError
        If there are no such columns, if there are several, or if they hold no angles.

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

    # A turn too many is the same position; beyond that are placeholders such as -999.
    is_valid = (np.abs(ra) <= 360) & (np.abs(dec) <= 90)
    is_missing = np.isnan(ra) | np.isnan(dec)
    status = np.full(len(table), 'ok', dtype='U20')
    status[~is_valid] = 'invalid_coordinates'
    status[is_missing] = 'no_coordinates'
    ra, dec = np.where(is_valid, [ra, dec], np.nan)
    return SkyCoord(ra, dec, unit=u.deg, frame='icrs'), status


def read_sizes(table, name):
    """
    Read the angular size of each row.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    name : str
        The column of sizes; without a unit they are arcseconds.

    Returns
    -------
    sizes : `~astropy.units.Quantity`, shape (n,)
        The sizes in arcsec; NaN where a size is masked, infinite, or not above zero.

    Raises
    ------
    ValueError
        If there is no such column, or it holds no angles.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import read_sizes
    >>> read_sizes(Table({'radius': [0.1, -9.0]}, units=['arcmin']), 'radius')
    <Quantity [ 6., nan] arcsec>
    """
    column = _column(table, name, 'size')
    values, mask = _split_mask(column)
    unit = getattr(column, 'unit', None)
    if unit is None or unit == u.dimensionless_unscaled:
        unit = u.arcsec
    if values.dtype.kind not in 'iuf' or not unit.is_equivalent(u.arcsec):
        msg = (
            f'size names the column {name!r} of type {values.dtype} and unit {str(unit)!r}, '
            f'expected numbers that are angles; a column without a unit is taken as arcsec'
        )
        raise ValueError(msg)
    sizes = unit.to(u.arcsec, values.astype(float))
    is_size = (sizes > 0) & np.isfinite(sizes) & ~mask
    return np.where(is_size, sizes, np.nan) * u.arcsec


def find_image_column(table):
    """
    Find the column of image paths by its name.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue.

    Returns
    -------
    name : str or None
        The first column of text with a name such as ``image_path``, ``file_loc``, ``filename``
        or ``path``; None if there is none.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import find_image_column
    >>> find_image_column(Table({'id': [1], 'Image_Path': ['a.fits']}))
    'Image_Path'
    """
    for wanted in _IMAGE_NAMES:
        for name in table.colnames:
            if _plain(name) == wanted and _is_text(table[name]):
                return name
    return None


def read_labels(table, label_column):
    """
    Read the labels that a catalogue has, and tell which rows have one.

    Masked values, empty or blank text, None and NaN are no labels. Text loses the blanks around it,
    bytes become text, and whole floating-point numbers become integers, because integers with
    missing values are floating-point numbers in many files.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    label_column : str
        Name of the column of labels.

    Returns
    -------
    labels : `~numpy.ndarray`, shape (n,)
        The labels; where there is none, the empty text or zero.
    is_labelled : `~numpy.ndarray` of bool, shape (n,)
        Whether a row has a label.

    Raises
    ------
    ValueError
        If there is no such column, or if it has several values a row.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import read_labels
    >>> labels, is_labelled = read_labels(Table({'morphology': ['spiral', '']}), 'morphology')
    >>> print(labels[is_labelled], is_labelled)
    ['spiral'] [ True False]
    """
    column = _column(table, label_column, 'label_column')
    values, mask = _split_mask(column)
    if values.dtype.kind in 'SUO':
        values = np.array([_as_text(value) for value in values], dtype=object)
        is_empty = np.array([_is_empty(value) for value in values], dtype=bool)
    else:
        is_empty = np.isnan(values) if values.dtype.kind == 'f' else np.zeros(len(values), bool)
    is_labelled = ~(mask | is_empty)

    # From a list, numpy finds the type that the labels have in common.
    known = np.array(values[is_labelled].tolist())
    if known.dtype.kind == 'f' and np.all(known == np.round(known)):
        known = known.astype(int)
    labels = np.zeros(len(table), dtype=known.dtype)
    labels[is_labelled] = known
    return labels, is_labelled


def read_numbers(table, names, argument):
    """
    Read columns of numbers.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows.
    names : sequence of str
        The columns.
    argument : str
        What names them, for the error.

    Returns
    -------
    numbers : ndarray of float, shape (n, len(names))
        NaN where a value is masked.

    Raises
    ------
    ValueError
        If there is no such column, or it holds no numbers.

    Examples
    --------
    >>> from astropy.table import MaskedColumn, Table
    >>> from astro_morph.catalog import read_numbers
    >>> table = Table([MaskedColumn([1, 2], mask=[False, True]), [3.5, 4.5]], names=['a', 'b'])
    >>> read_numbers(table, ['a', 'b'], 'columns')
    array([[1. , 3.5],
           [nan, 4.5]])
    """
    numbers = np.full((len(table), len(names)), np.nan)
    for column, name in enumerate(names):
        values, mask = _split_mask(_column(table, name, argument))
        if values.dtype.kind not in 'iufb':
            msg = (
                f'{argument} names the column {name!r} of type {values.dtype}, expected numbers; '
                'convert it, or name another'
            )
            raise ValueError(msg)
        numbers[~mask, column] = values[~mask]
    return numbers


def probability_columns(classes, *, prefix='morph_'):
    """
    Name the column of the probability of each class.

    The names have letters without accents, digits and underscores only, and differ in more than
    case, so that FITS, VOTable and SQL take them.

    Parameters
    ----------
    classes : sequence
        The classes, in order.
    prefix : str, optional
        What every column name begins with.

    Returns
    -------
    names : list of str
        One name for each class.

    Examples
    --------
    >>> from astro_morph.catalog import probability_columns
    >>> probability_columns(['E', 'S0/a', 'S0 a'])
    ['morph_p_E', 'morph_p_S0_a', 'morph_p_S0_a_2']
    """
    return _column_names(classes, f'{prefix}p_')


def write_predictions(
    table,
    *,
    classes,
    probabilities,
    status,
    flags,
    provenance,
    novelty=None,
    measures=None,
    prefix='morph_',
    overwrite=False,
):
    r"""
    Add the columns of a prediction to a copy of a catalogue.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows; it stays as it is.
    classes : sequence
        The K classes.
    probabilities : array_like, shape (n, K)
        The probability of each class.
    status : array_like of str, shape (n,)
        ``'ok'``, or why the row has no prediction.
    flags : array_like of int, shape (n,)
        Quality flags, see `astro_morph.decode_flags`.
    provenance : dict
        What made the predictions, for the table's ``meta``: text or numbers, under names that a
        FITS header takes, such as ``MORPHVER``.
    novelty : array_like, shape (n,), optional
        P-values of `~astro_morph.novelty.Novelty`; NaN where they are not known.
    measures : `~astropy.table.Table`, optional
        More columns, which go under their names with the prefix; see
        `astro_morph.measures.measure`.
    prefix : str, optional
        What the name of every new column begins with.
    overwrite : bool, optional
        Whether the columns of an earlier prediction may be replaced.

    Returns
    -------
    annotated : `~astropy.table.Table`
        A table of the same class with the same rows and these new columns, which have no unit:
        ``morph_class``, ``morph_p_<class>`` for each class, ``morph_confidence`` (the highest
        probability), ``morph_entropy`` (Shannon entropy in bits, :math:`-\sum_k p_k \log_2 p_k`),
        ``morph_novelty`` where it is given, all masked where the status is not ``'ok'``;
        ``morph_flags`` and ``morph_status``.

    Raises
    ------
    ValueError
        If an argument does not fit the rows or the classes, if a name in ``provenance`` does not
        fit into a FITS header, or if a column is there already and ``overwrite`` is false.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import write_predictions
    >>> annotated = write_predictions(
    ...     Table({'id': [1, 2]}),
    ...     classes=['E', 'S'],
    ...     probabilities=[[0.25, 0.75], [float('nan'), float('nan')]],
    ...     status=['ok', 'truncated'],
    ...     flags=[0, 0],
    ...     provenance={'MORPHVER': '1.0'},
    ... )
    >>> annotated['id', 'morph_class', 'morph_p_S', 'morph_entropy', 'morph_status'].pprint()
     id morph_class morph_p_S morph_entropy morph_status
    --- ----------- --------- ------------- ------------
      1           S      0.75     0.8112781           ok
      2          --        --            --    truncated
    """
    probabilities = np.asarray(probabilities, dtype=float)
    status = np.asarray(status, dtype=str)
    flags = np.asarray(flags, dtype=np.int32)
    _check_shape('probabilities', probabilities, (len(table), len(classes)))
    _check_shape('status', status, (len(table),))
    _check_shape('flags', flags, (len(table),))
    provenance = _as_header(provenance)

    columns = _prediction_columns(classes, probabilities, status, flags, provenance, prefix)
    if novelty is not None:
        novelty = np.asarray(novelty, dtype=np.float32)
        _check_shape('novelty', novelty, (len(table),))
        # Before the flags and the status.
        columns.insert(-2, _novelty_column(novelty, status, prefix))
    if measures is not None:
        names = [f'{prefix}{name}' for name in measures.colnames]
        columns += Table(measures, names=names).columns.values()
    annotated = table.copy()
    _make_room(annotated, columns, prefix, overwrite)
    annotated.add_columns(columns)
    annotated.meta.update(provenance)
    return annotated


def write_numbers(table, numbers, *, status, flags, provenance, prefix='morph_', overwrite=False):
    """
    Add columns of predicted numbers to a copy of a catalogue.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows; it stays as it is.
    numbers : `~astropy.table.Table`
        The n rows of the new columns, with their descriptions and UCDs. They get the prefix, and
        names that FITS, VOTable and SQL take.
    status, flags, provenance, prefix, overwrite
        As in `write_predictions`.

    Returns
    -------
    annotated : `~astropy.table.Table`
        A table of the same class with the same rows and the new columns, masked where the status
        is not ``'ok'``; ``morph_flags`` and ``morph_status``.

    Raises
    ------
    ValueError
        As `write_predictions` does.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.catalog import write_numbers
    >>> write_numbers(
    ...     Table({'id': [1, 2]}),
    ...     Table({'bar': [0.25, float('nan')]}),
    ...     status=['ok', 'truncated'],
    ...     flags=[0, 0],
    ...     provenance={'MORPHVER': '1.0'},
    ... ).pprint()
     id morph_bar morph_flags morph_status
    --- --------- ----------- ------------
      1      0.25           0           ok
      2        --           0    truncated
    """
    status = np.asarray(status, dtype=str)
    flags = np.asarray(flags, dtype=np.int32)
    _check_shape('status', status, (len(table),))
    _check_shape('flags', flags, (len(table),))
    failed = status != 'ok'
    names = _column_names(numbers.colnames, prefix)
    columns = [
        MaskedColumn(
            np.where(failed, np.nan, column).astype(np.float32),
            name=name,
            mask=failed,
            fill_value=np.nan,
            description=column.description,
            meta=column.meta,
        )
        for name, column in zip(names, numbers.itercols(), strict=True)
    ]
    columns += _quality_columns(status, flags, prefix)
    annotated = table.copy()
    _make_room(annotated, columns, prefix, overwrite)
    annotated.add_columns(columns)
    annotated.meta.update(_as_header(provenance))
    return annotated


def _prediction_columns(classes, probabilities, status, flags, provenance, prefix):
    """Build the new columns, in the order in which a table shows them."""
    failed = status != 'ok'
    class_names = np.array([str(value) for value in classes])
    # The values under a mask are empty or NaN too: not every file format keeps the mask.
    best = np.where(failed, '', class_names[np.argmax(probabilities, axis=1)])
    probabilities = np.where(failed[:, np.newaxis], np.nan, probabilities)
    # The limit of p log p at p = 0 is 0.
    logarithms = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities != 0)
    # Zero minus the sum, since the negative of a sum of zeros is -0.
    entropy = 0 - np.sum(probabilities * logarithms, axis=1)

    def number(name, values, ucd, description, **meta):
        return MaskedColumn(
            values.astype(np.float32),
            name=name,
            mask=failed,
            fill_value=np.nan,
            description=description,
            meta={'ucd': ucd, **meta},
        )

    return [
        MaskedColumn(
            best,
            name=f'{prefix}class',
            mask=failed,
            fill_value='',
            description='Morphological class of the highest probability',
            # The provenance is here too: a table may hold the predictions of several models.
            meta={
                'ucd': 'src.morph.type;meta.modelled',
                'classes': class_names.tolist(),
                **provenance,
            },
        ),
        *(
            number(name, values, _PROBABILITY_UCD, f'Probability of class {label}', label=label)
            for name, values, label in zip(
                probability_columns(classes, prefix=prefix),
                probabilities.T,
                class_names.tolist(),
                strict=True,
            )
        ),
        number(
            f'{prefix}confidence',
            np.max(probabilities, axis=1),
            'stat.confidenceLevel;src.morph.type',
            'Highest probability of all classes',
        ),
        number(
            f'{prefix}entropy',
            entropy,
            'stat.param;src.morph.type',
            'Shannon entropy of the class probabilities, in bits',
        ),
        *_quality_columns(status, flags, prefix),
    ]


def _quality_columns(status, flags, prefix):
    """Build the columns that tell how good an image is, and whether there is one."""
    return [
        Column(
            flags,
            name=f'{prefix}flags',
            description='Quality flags of the image, as bits',
            meta={'ucd': 'meta.code.qual'},
        ),
        Column(
            status,
            name=f'{prefix}status',
            description='ok, or why there is no prediction',
            meta={'ucd': 'meta.code.status'},
        ),
    ]


def _column_names(values, stem):
    """Turn values into column names that FITS, VOTable and SQL take and tell apart."""
    names = []
    taken = set()
    for value in values:
        ascii_text = unicodedata.normalize('NFKD', str(value)).encode('ascii', 'ignore').decode()
        word = re.sub(r'\W+', '_', ascii_text).strip('_')[:_LONGEST_CLASS_NAME] or 'class'
        name = f'{stem}{word}'
        count = 1
        while name.lower() in taken:
            count += 1
            name = f'{stem}{word}_{count}'
        taken.add(name.lower())
        names.append(name)
    return names


def _novelty_column(novelty, status, prefix):
    return MaskedColumn(
        np.where(status == 'ok', novelty, np.nan),
        name=f'{prefix}novelty',
        mask=(status != 'ok') | np.isnan(novelty),
        fill_value=np.nan,
        description='Share of galaxies like those of the training that are as unlike them',
        meta={'ucd': 'stat.probability;src.morph'},
    )


def _make_room(table, columns, prefix, overwrite):
    """Remove the columns of an earlier prediction, or refuse to."""
    new = {column.name.lower() for column in columns}
    # FITS and SQL do not tell names apart by case.
    there = [name for name in table.colnames if name.lower() in new]
    if not overwrite:
        if there:
            msg = (
                f'the table has the columns {there} already; use overwrite=True to replace them, '
                f'or another prefix than {prefix!r}'
            )
            raise ValueError(msg)
        return
    # A class that the earlier model had and this one has not would stay beside the new ones.
    stale = [
        name
        for name in table.colnames
        if name.startswith(f'{prefix}p_') and _ucd(table[name]) == _PROBABILITY_UCD
    ]
    table.remove_columns({*there, *stale})


def _check_shape(argument, array, shape):
    """Raise an error where an argument does not match the rows or the classes."""
    if array.shape != shape:
        msg = f'{argument} has the shape {array.shape}, expected {shape} for the rows and classes'
        raise ValueError(msg)


def _as_header(provenance):
    """Make a provenance that a FITS header takes: one line of ASCII for each text."""
    wrong = [name for name in provenance if not re.fullmatch(r'[A-Z0-9_-]{1,8}', name)]
    if wrong:
        msg = (
            f'provenance has the names {wrong}, expected at most 8 upper-case letters, digits, '
            f'hyphens and underscores each'
        )
        raise ValueError(msg)
    return {name: _as_header_value(value) for name, value in provenance.items()}


def _as_header_value(value):
    """Turn text into one line of ASCII; leave any other value as it is."""
    if not isinstance(value, str):
        return value
    return ' '.join(value.encode('ascii', 'backslashreplace').decode().split())


def _position_columns(table, coord_columns):
    """Get the columns, or the angles, of right ascension and declination."""
    names = _find_position_columns(table) if coord_columns is None else coord_columns
    if not isinstance(names, str):
        if len(names) != 2:
            msg = f'coord_columns must be one name or two, got {names!r}'
            raise ValueError(msg)
        return tuple(_column(table, name, 'coord_columns') for name in names)
    sky = _column(table, names, 'coord_columns')
    if not isinstance(sky, SkyCoord):
        msg = (
            f'coord_columns names {names!r}, which is not a SkyCoord column; name the columns of '
            f'right ascension and declination, as in coord_columns=("ra", "dec")'
        )
        raise ValueError(msg)
    return sky.icrs.ra, sky.icrs.dec


def _find_position_columns(table):
    """Find the names of the one column, or the two, that hold the position."""
    sky = [name for name in table.colnames if isinstance(table[name], SkyCoord)]
    if len(sky) == 1:
        return sky[0]
    pairs = [] if sky else _pairs_by_ucd(table) or _pairs_by_name(table)
    if len(pairs) == 1:
        return pairs[0]
    found = sky or pairs
    problem = f'several positions, {found}' if found else 'no position'
    msg = (
        f'the table has {problem}, among the columns {table.colnames}; name the columns to use '
        f'in the source of cutouts, as in coord_columns=("ra", "dec")'
    )
    raise ValueError(msg)


def _pairs_by_ucd(table):
    """List the pairs of columns that say of themselves that they are the main position."""
    ucds = {name: _ucd(table[name]) for name in table.colnames}
    ra, dec = ([name for name in ucds if ucds[name] == ucd] for ucd in _POSITION_UCDS)
    return [(a, d) for a in ra for d in dec]


def _pairs_by_name(table):
    """List the pairs of columns whose names are those of right ascension and declination."""
    return [
        (ra, dec)
        for ra_stem, dec_stem in _POSITION_STEMS
        for suffix in _POSITION_SUFFIXES
        for ra in table.colnames
        if _plain(ra) == ra_stem + suffix
        for dec in table.colnames
        if _plain(dec) == dec_stem + suffix
    ]


def _read_degrees(column, *, sexagesimal_unit):
    """Read angles in degrees: NaN where there is none, infinite where text is not an angle."""
    values, mask = _split_mask(column)
    unit = getattr(column, 'unit', None)
    is_angle = unit is not None and unit.is_equivalent(u.deg)
    if values.dtype.kind in 'SUO':
        # VizieR gives text the "unit" '"h:m:s"', which astropy does not know.
        units = (unit, unit) if is_angle else (u.deg, sexagesimal_unit)
        degrees = np.array([_parse_degrees(_as_text(value), *units) for value in values])
    elif is_angle:
        degrees = unit.to(u.deg, values.astype(float))
    elif unit is None or unit == u.dimensionless_unscaled:
        degrees = values.astype(float)
    else:
        msg = (
            f'column {column.info.name!r} has the unit {str(unit)!r}, which is no angle; set the '
            f'unit it has, as in table[{column.info.name!r}].unit = "deg"'
        )
        raise ValueError(msg)
    return np.where(mask, np.nan, degrees)


def _parse_degrees(value, decimal_unit, sexagesimal_unit):
    """Read one angle in degrees, from text or a number."""
    if _is_empty(value):
        return np.nan
    try:
        return decimal_unit.to(u.deg, float(value))
    except ValueError:
        pass
    try:
        return Angle(value, sexagesimal_unit).deg
    except ValueError:
        return np.inf


def _column(table, name, argument):
    """Get the column that an argument names, which has one value a row."""
    if name not in table.colnames:
        msg = (
            f'{argument} names {name!r}, which is not among the columns {table.colnames}; name one '
            'of them'
        )
        raise ValueError(msg)
    column = table[name]
    if len(column.shape) > 1:
        msg = f'{argument} is the column {name!r} of shape {column.shape}, expected one value a row'
        raise ValueError(msg)
    return column


def _ucd(column):
    """Get the UCD of a column, None if it has none."""
    return (column.info.meta or {}).get('ucd')


def _split_mask(column):
    """Get the plain values of a column, and its mask."""
    values, mask = get_data_and_mask(column)
    values = np.asarray(values)
    return values, np.zeros(values.shape, dtype=bool) if mask is None else mask


def _plain(name):
    """Write a column name as it is compared with others."""
    return name.lower().replace('_', '')


def _is_text(column):
    """Whether a column holds text."""
    if not isinstance(column, Column):
        return False
    if column.dtype.kind == 'O':
        return any(isinstance(value, str) for value in column)
    return column.dtype.kind in 'SU'


def _as_text(value):
    """Decode bytes and strip text; leave any other value as it is."""
    if isinstance(value, bytes):
        value = value.decode()
    return value.strip() if isinstance(value, str) else value


def _is_empty(value):
    """Whether a value is None, NaN or empty text."""
    return value is None or value == '' or value != value
