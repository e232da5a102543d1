# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write predictions as columns of a catalogue."""

import re
import unicodedata

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from astro_morph.catalog.tables import _ucd
from astro_morph.utils.messages import as_written

__all__ = ['probability_columns', 'write_numbers', 'write_predictions']

_PROBABILITY_UCD = 'stat.probability;src.morph.type'


# PostgreSQL cuts a column name after 63 characters; this leaves room for the prefix and a number.
_LONGEST_CLASS_NAME = 40


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
        P-values of `~astro_morph.models.novelty.Novelty`; NaN where they are not known.
    measures : `~astropy.table.Table`, optional
        More columns, which go under their names with the prefix; see
        `astro_morph.photometry.measure`.
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
                f'the table has the columns {there} already; use {as_written("overwrite", True)} '
                f'to replace them, or another prefix than {prefix!r}'
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
