# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find a survey by name or by position, and list all of them."""

import astropy.units as u
import numpy as np
from astropy.table import QTable

from astro_morph.surveys.presets import ALIASES, SURVEYS
from astro_morph.surveys.survey import Survey
from astro_morph.utils.messages import cut_list

__all__ = ['for_position', 'get', 'is_known', 'to_table']


def get(name):
    """
    Return a survey by name.

    Parameters
    ----------
    name : str or `Survey`
        A name in ``SURVEYS`` or ``ALIASES``, in upper or lower case; a `Survey` is returned
        unchanged.

    Returns
    -------
    survey : `Survey`
        The survey.

    Raises
    ------
    ValueError
        If no survey has this name.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> surveys.get('sdss-dr9').pixel_scale
    <Quantity 0.396 arcsec>
    """
    if isinstance(name, Survey):
        return name
    if not is_known(name):
        msg = (
            f'survey must be a Survey or one of {cut_list(SURVEYS)}, got {name!r}; '
            'surveys.to_table() lists all'
        )
        raise ValueError(msg)
    return SURVEYS[ALIASES.get(name.lower(), name.lower())]


def is_known(name):
    """
    Check whether `get` knows a name.

    Parameters
    ----------
    name : object
        A name, or any other object.

    Returns
    -------
    is_known : bool
        Whether it is a `Survey`, or the name of one.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> surveys.is_known('sdss-dr9'), surveys.is_known('tiles/*.fits')
    (True, False)
    """
    if isinstance(name, str):
        return name.lower() in SURVEYS or name.lower() in ALIASES
    return isinstance(name, Survey)


def to_table():
    """
    Return a table of the surveys.

    Returns
    -------
    table : `~astropy.table.QTable`
        One row per survey, the deepest and sharpest first: ``name``, ``bands``, ``pixel_scale``,
        ``psf_fwhm`` (the median of the bands), ``has_pictures``, ``service``, ``note``, ``title``,
        ``reference`` and ``acknowledgement``.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> surveys.to_table()['name', 'bands', 'service'][1:3].pprint()
      name           bands            service
    ------- ----------------------- -----------
    candels F606W F814W F125W F160W MastCutouts
    hst-hap             F606W F814W MastCutouts
    """
    table = QTable()
    rows = SURVEYS.values()
    table['name'] = list(SURVEYS)
    table['bands'] = [' '.join(survey.bands) for survey in rows]
    table['pixel_scale'] = u.Quantity([survey.pixel_scale for survey in rows])
    table['psf_fwhm'] = u.Quantity(
        [np.nan * u.arcsec if s.psf_fwhm is None else np.median(s.psf_fwhm) for s in rows]
    )
    table['psf_fwhm'].info.format = '.2f'
    table['has_pictures'] = [survey.hips_color is not None for survey in rows]
    for name in ('service', 'note', 'title', 'reference', 'acknowledgement'):
        table[name] = [getattr(survey, name) for survey in rows]
    return table


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
