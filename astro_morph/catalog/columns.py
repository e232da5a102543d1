# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write the output columns of a prediction: names, descriptions, UCDs, masks; add one here."""

import re
import unicodedata

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from astro_morph.catalog.tables import get_ucd
from astro_morph.utils.messages import as_written, cut_list

__all__ = ['probability_columns', 'write_numbers', 'write_predictions']

_PROBABILITY_UCD = 'stat.probability;src.morph.type'

# PostgreSQL truncates column names to 63 characters; this leaves room for the prefix and a number.
_LONGEST_CLASS_NAME = 40
_LONGEST_NUMBER_NAME = 55

# Columns that every prediction has: a number of such a name gets another one.
_QUALITY_NAMES = ('novelty', 'flags', 'status')


def probability_columns(classes, *, prefix='morph_'):
    """
    Return the name of the probability column of each class.

    The names consist of unaccented letters, digits and underscores, and differ in more than case,
    so that they are valid in FITS, VOTable and SQL.

    Parameters
    ----------
    classes : sequence
        The classes, in order.
    prefix : str, default='morph_'
        The beginning of every column name.

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
        The catalogue, with n rows; it is not changed.
    classes : sequence
        The K classes.
    probabilities : array_like, shape (n, K)
        The probability of each class.
    status : array_like of str, shape (n,)
        ``'ok'``, or the reason why the row has no prediction; where a probability is not finite,
        ``'ok'`` becomes ``'not_finite'``.
    flags : array_like of int, shape (n,)
        Quality flags, see `astro_morph.decode_flags`.
    provenance : dict
        The origin of the predictions, for the table's ``meta``: text or numbers, with names that
        are valid in a FITS header, such as ``MORPHVER``.
    novelty : array_like, shape (n,), default=None
        P-values of `~astro_morph.models.novelty.Novelty`; NaN where unknown.
    measures : `~astropy.table.Table`, default=None
        Further columns, which are added with the prefix in front of their names; see
        `astro_morph.photometry.measure`.
    prefix : str, default='morph_'
        The beginning of the name of every new column.
    overwrite : bool, default=False
        Whether to replace the columns of an earlier prediction.

    Returns
    -------
    annotated : `~astropy.table.Table`
        A table of the same class with the same rows and these new columns, without units:
        ``morph_class``, ``morph_p_<class>`` for each class, ``morph_confidence`` (the highest
        probability), ``morph_entropy`` (Shannon entropy in bits, :math:`-\sum_k p_k \log_2 p_k`)
        and, if ``novelty`` is given, ``morph_novelty``, all masked where the status is not
        ``'ok'``; and ``morph_flags`` and ``morph_status``.

    Raises
    ------
    ValueError
        If the shape of an argument does not match the rows and classes, if a name in
        ``provenance`` is not valid in a FITS header, or if a column already exists and
        ``overwrite`` is false.

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
    n = len(table)
    probabilities = _as_array('probabilities', probabilities, float, (n, len(classes)))
    status = _with_not_finite(_as_array('status', status, str, (n,)), probabilities)
    flags = _as_array('flags', flags, np.int32, (n,))
    provenance = _as_header(provenance)

    columns = _prediction_columns(classes, probabilities, status, provenance, prefix)
    if novelty is not None:
        novelty = _as_array('novelty', novelty, np.float32, (n,))
        columns.append(_novelty_column(novelty, status, prefix))
    columns += _quality_columns(status, flags, prefix) + _measure_columns(measures, prefix)
    return _add_columns(table, columns, provenance, prefix, overwrite)


def write_numbers(
    table,
    numbers,
    *,
    status,
    flags,
    provenance,
    novelty=None,
    measures=None,
    prefix='morph_',
    overwrite=False,
):
    """
    Add columns of predicted numbers to a copy of a catalogue.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The catalogue, with n rows; it is not changed.
    numbers : `~astropy.table.Table`
        The n rows of the new columns, with their units, descriptions and UCDs. The prefix is put in
        front of their names, which are made valid in FITS, VOTable and SQL.
    status, flags, provenance, novelty, measures, prefix, overwrite
        As in `write_predictions`.

    Returns
    -------
    annotated : `~astropy.table.Table`
        A table of the same class with the same rows and the new columns, masked where they are
        masked already or the status is not ``'ok'``; and ``morph_flags`` and ``morph_status``.

    Raises
    ------
    ValueError
        As in `write_predictions`.

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
    status = _as_array('status', status, str, (len(table),))
    # A masked number is none that overflowed.
    status = _with_not_finite(status, *(np.ma.filled(c, 0) for c in numbers.itercols()))
    flags = _as_array('flags', flags, np.int32, (len(table),))
    names = _column_names(
        numbers.colnames, prefix, longest=_LONGEST_NUMBER_NAME, taken=_QUALITY_NAMES
    )
    columns = [
        _number_column(
            name,
            np.ma.getdata(column),
            (status != 'ok') | np.ma.getmaskarray(column),
            column.description,
            column.meta,
            unit=column.unit,
            dtype=column.dtype,
        )
        for name, column in zip(names, numbers.itercols(), strict=True)
    ]
    if novelty is not None:
        novelty = _as_array('novelty', novelty, np.float32, (len(table),))
        columns.append(_novelty_column(novelty, status, prefix))
    columns += _quality_columns(status, flags, prefix) + _measure_columns(measures, prefix)
    return _add_columns(table, columns, _as_header(provenance), prefix, overwrite)


def _with_not_finite(status, *predictions):
    """Return the status with ``'not_finite'`` for rows whose predictions are not: they are none."""
    for values in predictions:
        is_finite = np.isfinite(values).all(axis=tuple(range(1, np.ndim(values))))
        wrong = (status == 'ok') & ~is_finite
        if wrong.any():
            status = np.where(wrong, 'not_finite', status)
    return status


def _measure_columns(measures, prefix):
    """Return the columns of classical measures, with the prefix in front of their names."""
    if measures is None:
        return []
    names = [f'{prefix}{name}' for name in measures.colnames]
    return [*Table(measures, names=names).columns.values()]


def _prediction_columns(classes, probabilities, status, provenance, prefix):
    """Return the columns of classes and probabilities, in the order of the table."""
    failed = status != 'ok'
    probabilities = np.where(failed[:, np.newaxis], np.nan, probabilities)
    labels = [str(value) for value in classes]
    # Masked values are empty or NaN too, because not every file format keeps the mask.
    best = np.where(failed, '', np.array(labels)[np.argmax(probabilities, axis=1)])
    # The limit of p log p at p = 0 is 0.
    logarithms = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities != 0)
    # Zero minus the sum, since the negative of a sum of zeros is -0.
    entropy = 0 - np.sum(probabilities * logarithms, axis=1)
    names = probability_columns(classes, prefix=prefix)
    return [
        MaskedColumn(
            best,
            name=f'{prefix}class',
            mask=failed,
            fill_value='',
            description='Most probable morphological class',
            # The provenance is here too: a table may hold the predictions of several models.
            meta={'ucd': 'src.morph.type;meta.modelled', 'classes': labels, **provenance},
        ),
        *(
            _number_column(
                name,
                values,
                failed,
                f'Probability of class {label}',
                {'ucd': _PROBABILITY_UCD, 'label': label},
            )
            for name, values, label in zip(names, probabilities.T, labels, strict=True)
        ),
        _number_column(
            f'{prefix}confidence',
            np.max(probabilities, axis=1),
            failed,
            'Highest class probability',
            {'ucd': 'stat.confidenceLevel;src.morph.type'},
        ),
        _number_column(
            f'{prefix}entropy',
            entropy,
            failed,
            'Shannon entropy of the class probabilities, in bits',
            {'ucd': 'stat.param;src.morph.type'},
        ),
    ]


def _novelty_column(novelty, status, prefix):
    return _number_column(
        f'{prefix}novelty',
        novelty,
        (status != 'ok') | np.isnan(novelty),
        'p-value: fraction of training-like galaxies at least this unusual',
        {'ucd': 'stat.probability;src.morph'},
    )


def _number_column(name, values, mask, description, meta, *, unit=None, dtype=np.float32):
    return MaskedColumn(
        np.where(mask, np.nan, values).astype(dtype),
        name=name,
        mask=mask,
        fill_value=np.nan,
        unit=unit,
        description=description,
        meta=meta,
    )


def _quality_columns(status, flags, prefix):
    """Return the columns of flags and status."""
    return [
        Column(
            flags,
            name=f'{prefix}flags',
            description='Quality flags of the image, as a sum of bits',
            meta={'ucd': 'meta.code.qual'},
        ),
        Column(
            status,
            name=f'{prefix}status',
            description='ok, or the reason why there is no prediction',
            meta={'ucd': 'meta.code.status'},
        ),
    ]


def _column_names(values, stem, *, longest=_LONGEST_CLASS_NAME, taken=()):
    """Turn values into distinct column names that are valid in FITS, VOTable and SQL."""
    names = []
    taken = {f'{stem}{word}'.lower() for word in taken}
    for value in values:
        ascii_text = unicodedata.normalize('NFKD', str(value)).encode('ascii', 'ignore').decode()
        word = re.sub(r'\W+', '_', ascii_text).strip('_')[:longest] or 'class'
        name = f'{stem}{word}'
        count = 1
        while name.lower() in taken:
            count += 1
            name = f'{stem}{word}_{count}'
        taken.add(name.lower())
        names.append(name)
    return names


def _add_columns(table, columns, provenance, prefix, overwrite):
    """Return a copy of a table with the columns, in place of those of an earlier prediction."""
    annotated = table.copy()
    new = {column.name.lower() for column in columns}
    # FITS and SQL ignore case in names.
    existing = [name for name in table.colnames if name.lower() in new]
    if existing and not overwrite:
        msg = (
            f'the table has the columns {cut_list(existing)} already; use '
            f'{as_written("overwrite", True)} to replace them, or another prefix than {prefix!r}'
        )
        raise ValueError(msg)
    if overwrite:
        # Also the columns of classes that only the earlier model had.
        stale = [
            name
            for name in table.colnames
            if name.startswith(f'{prefix}p_') and get_ucd(table[name]) == _PROBABILITY_UCD
        ]
        annotated.remove_columns({*existing, *stale})
    annotated.add_columns(columns)
    annotated.meta.update(provenance)
    return annotated


def _as_array(argument, values, dtype, shape):
    """Return an argument as an array; raise an error if it does not match rows or classes."""
    array = np.asarray(values, dtype=dtype)
    if array.shape != shape:
        msg = f'{argument} has the shape {array.shape}, expected {shape} for the rows and classes'
        raise ValueError(msg)
    return array


def _as_header(provenance):
    """Return a provenance that is valid in a FITS header: one line of ASCII for each text."""
    wrong = [name for name in provenance if not re.fullmatch(r'[A-Z0-9_-]{1,8}', name)]
    if wrong:
        msg = (
            f'provenance has the names {wrong}, expected at most 8 upper-case letters, digits, '
            'hyphens and underscores each'
        )
        raise ValueError(msg)
    return {name: _as_header_value(value) for name, value in provenance.items()}


def _as_header_value(value):
    """Turn text into one line of ASCII; return any other value unchanged."""
    if not isinstance(value, str):
        return value
    return ' '.join(value.encode('ascii', 'backslashreplace').decode().split())
