# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find a survey by name, file or position, and list the named ones."""

import os

import astropy.units as u
import numpy as np
from astropy.table import QTable

from astro_morph.surveys.presets import ALIASES, SURVEYS
from astro_morph.surveys.reading import ENDING, read
from astro_morph.surveys.survey import Survey
from astro_morph.utils.messages import cut_list

__all__ = ['for_position', 'get', 'is_known', 'to_table']

# Characters of the bands in the printed table, which fits into a terminal of 80.
_WIDEST = 14


def get(name):
    """
    Return a survey by name, or from a file.

    Parameters
    ----------
    name : str, path-like or `Survey`
        A name in ``SURVEYS`` or ``ALIASES``, in upper or lower case; the path of a TOML file, see
        `read`; a `Survey` is returned unchanged.

    Returns
    -------
    survey : `Survey`
        The survey.

    Raises
    ------
    ValueError
        If no survey has this name, or the file describes none.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> surveys.get('sdss-dr9').pixel_scale
    <Quantity 0.396 arcsec>
    """
    if isinstance(name, Survey):
        return name
    if _is_file(name):
        return read(name)
    if not is_known(name):
        msg = (
            f'survey must be a Survey, the path of a TOML file or one of {cut_list(SURVEYS)}, got '
            f'{name!r}; surveys.to_table() lists all'
        )
        raise ValueError(msg)
    return SURVEYS[ALIASES.get(name.lower(), name.lower())]


def is_known(name):
    """
    Check whether `get` knows a name.

    Parameters
    ----------
    name : object
        A name, a path, or any other object.

    Returns
    -------
    is_known : bool
        Whether it is a `Survey`, the name of one, or the path of a TOML file.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> surveys.is_known('sdss-dr9'), surveys.is_known('tiles/*.fits')
    (True, False)
    """
    if _is_file(name):
        return True
    if isinstance(name, str):
        return name.lower() in SURVEYS or name.lower() in ALIASES
    return isinstance(name, Survey)


def _is_file(name):
    return isinstance(name, (str, os.PathLike)) and os.fspath(name).lower().endswith(ENDING)


def to_table():
    """
    Return a table of the surveys, narrow enough for a terminal.

    A survey has more than the table: its title, note, reference, acknowledgement and more, see
    `Survey`.

    Returns
    -------
    table : `~astropy.table.QTable`
        One row per survey, the deepest and sharpest first: ``name``; ``bands``, of which a long
        list is printed as the first and the last; ``pixel_scale``; ``psf_fwhm`` and ``depth``, the
        medians of the bands; ``service``, the default; and ``access``, what it asks of you.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> surveys.to_table()['name', 'bands', 'service'][1:3].pprint()
      name      bands        service
    ------- -------------- -----------
    candels F606W to F160W MastCutouts
    hst-hap    F606W F814W MastCutouts
    """
    rows = SURVEYS.values()
    table = QTable()
    table['name'] = list(SURVEYS)
    table['bands'] = [' '.join(survey.bands) for survey in rows]
    table['pixel_scale'] = u.Quantity([survey.pixel_scale for survey in rows])
    table['psf_fwhm'] = _medians((survey.psf_fwhm for survey in rows), u.arcsec)
    table['depth'] = _medians((survey.depth for survey in rows), u.mag)
    table['service'] = [survey.service for survey in rows]
    table['access'] = [survey.access for survey in rows]
    table['bands'].info.format = _shorten
    table['pixel_scale'].info.format = '.4g'
    table['psf_fwhm'].info.format = '.2f'
    table['depth'].info.format = '.1f'
    return table


def _medians(values, unit):
    """Return the median of the known values of each survey; NaN if there are none."""
    medians = [
        np.nan if of_bands is None else np.nanmedian(u.Quantity(of_bands, unit).value)
        for of_bands in values
    ]
    return medians * unit


def _shorten(bands):
    """Return the text of bands as it is printed."""
    names = bands.split()
    return bands if len(bands) <= _WIDEST else f'{names[0]} to {names[-1]}'


def for_position(coords):
    """
    Return the surveys that cover positions.

    Parameters
    ----------
    coords : `~astropy.coordinates.SkyCoord`
        One position or many.

    Returns
    -------
    names : list of str
        The surveys whose footprints contain all positions, the deepest and sharpest first.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph import surveys
    >>> surveys.for_position(SkyCoord(150.1, 2.2, unit='deg'))[:3]
    ['jwst-dja', 'candels', 'hsc-pdr3']
    """
    return [name for name, survey in SURVEYS.items() if np.all(survey.covers(coords))]
