# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Turn the outputs of a model of numbers into numbers, intervals and columns with units."""

import astropy.units as u
import numpy as np
from astropy.table import MaskedColumn, Table

from astro_morph.models.calibration import interval_factors, split_outputs

__all__ = ['expected_numbers', 'number_columns', 'number_intervals', 'units_of']

# Nominal coverage of the intervals in columns.
COVERAGE = 0.9


def units_of(spec):
    """
    Return the units of a model's numbers.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of a model of k numbers.

    Returns
    -------
    units : list of `~astropy.units.Unit` or None
        The k units; None for a number without one.
    """
    units = (number['unit'] for number in spec.numbers.values())
    return [u.Unit(unit, parse_strict='silent') if unit else None for unit in units]


def expected_numbers(spec, outputs):
    """
    Return the predicted numbers.

    Parameters
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of a model of k numbers.
    outputs : ndarray, shape (n, 2 k)
        The outputs of its network; NaN in the rows without a prediction.

    Returns
    -------
    numbers : ndarray of float64, shape (n, k)
        In the units of the training.
    """
    mean, std = _standard(spec)
    return mean + std * split_outputs(outputs)[0]


def number_intervals(spec, outputs, *, coverage=COVERAGE):
    """
    Return intervals that hold the true numbers with a given probability.

    Parameters
    ----------
    spec, outputs
        As for `expected_numbers`.
    coverage : float, default=0.9
        The probability, see `~astro_morph.models.calibration.interval_factors`.

    Returns
    -------
    low, high : ndarray of float64, shape (n, k)
        The ends, in the units of the training; infinite if the galaxies held out are too few.
    """
    mean, std = _standard(spec)
    predicted, scale = split_outputs(outputs)
    factors = [
        interval_factors(number['scores'], coverage=coverage) for number in spec.numbers.values()
    ]
    return tuple(mean + std * (predicted + factor * scale) for factor in np.transpose(factors))


def number_columns(spec, outputs):
    """
    Build the columns of predicted numbers and their 90 % intervals.

    Parameters
    ----------
    spec, outputs
        As for `expected_numbers`.

    Returns
    -------
    columns : `~astropy.table.Table`
        ``<name>``, ``<name>_lo`` and ``<name>_hi`` for each number, with its unit; the ends are
        masked where they are infinite.
    """
    predictions = [expected_numbers(spec, outputs), *number_intervals(spec, outputs)]
    columns = Table()
    for k, (name, unit) in enumerate(zip(spec.numbers, units_of(spec), strict=True)):
        descriptions = (
            (name, 'stat.fit.param', f'Predicted {name}'),
            (f'{name}_lo', 'stat.min', f'Lower end of the 90 % interval of {name}'),
            (f'{name}_hi', 'stat.max', f'Upper end of the 90 % interval of {name}'),
        )
        for (column, ucd, description), numbers in zip(descriptions, predictions, strict=True):
            values = np.ma.masked_where(np.isinf(numbers[:, k]), numbers[:, k])
            about = {'unit': unit, 'description': description, 'meta': {'ucd': ucd}}
            column = MaskedColumn(values, name=column, **about)
            columns.add_column(column, rename_duplicate=True)
    return columns


def _standard(spec):
    """Return mean and standard deviation of the numbers in the training."""
    return (
        np.array([number[name] for number in spec.numbers.values()]) for name in ('mean', 'std')
    )
