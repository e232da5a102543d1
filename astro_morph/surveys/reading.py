# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a survey of one's own from a few lines of TOML."""

import os
import tomllib
import warnings
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import astropy.units as u
import numpy as np

from astro_morph.surveys.depth import noise_of_depth
from astro_morph.surveys.presets import ALIASES, SURVEYS
from astro_morph.surveys.survey import Circle, Patch, Survey
from astro_morph.utils.messages import cut_list

__all__ = ['ENDING', 'read']

#: Ending of the names of the files.
ENDING = '.toml'

# AB magnitude; brighter and fainter, fluxes are beyond the range of float32.
_FAINTEST = 90

# Degrees; a range of right ascension may pass through zero.
_LARGEST_ANGLES = {'dec': 90, 'latitude': 90, 'radius': 180}


def read(path):
    """
    Read a survey from a TOML file.

    Parameters
    ----------
    path : path-like
        The file, in UTF-8. Its keys are:

        ``service``, ``bands``, ``pixel_scale``
            Needed: the class of `astro_morph.cutouts` that fetches the images, such as
            ``'SiaImages'``; the list of the bands, from blue to red; the angle a pixel in arcsec.
        ``name``, ``title``
            The name, by default that of the file, and the full name.
        ``zero_point``, ``unit``
            AB magnitude of a flux of one, for all bands or for each; or the unit of the images.
        ``psf_fwhm``, ``depth``
            Of each band, the full width at half maximum of the point-spread function in arcsec, and
            the AB magnitude of a point source whose flux is 5 times its error; ``nan`` where it is
            not known.
        ``rgb``
            The three bands of a colour picture, red first; by default the last, the middle one and
            the first.
        ``nonlinear``
            The bands whose images in ``service`` are not linear in flux.
        ``hips``, ``hips_color``, ``ids``
            What the services call the survey, see `Survey`: ``hips`` and ``ids`` are tables.
        ``coverage``
            A list of tables with the fields of `Patch` or of `Circle`.
        ``access``, ``acknowledgement``, ``reference``, ``note``
            Texts.

    Returns
    -------
    survey : `Survey`
        The survey. Each argument that takes the name of a survey takes it, and the path of its
        file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not TOML, a key is missing or not known, or its value is not valid.

    Examples
    --------
    >>> from astro_morph import surveys
    >>> path = getfixture('tmp_path') / 'kids.toml'
    >>> written = path.write_text('''
    ... service = 'SiaImages'
    ... bands = ['u', 'g', 'r', 'i']
    ... pixel_scale = 0.2
    ... zero_point = 0
    ... acknowledgement = 'Based on observations made with ESO Telescopes ...'
    ... ids.sia = ['https://archive.example.org/sia', 'KiDS']
    ... ''')
    >>> surveys.read(path)
    <Survey kids: u, g, r, i, 0.2 arcsec pixels>
    """
    path = Path(os.path.expanduser(path))
    given = {'name': path.stem} | _load(path)
    missing = [key for key in ('service', 'bands', 'pixel_scale') if key not in given]
    if missing:
        msg = f'{path}: the keys {missing} are missing; add them, see surveys.read'
        raise ValueError(msg)
    unknown = [key for key in given if key not in _KEYS]
    if unknown:
        msg = (
            f'{path}: {cut_list(unknown)} are not among the keys {list(_KEYS)}; rename or remove '
            'them'
        )
        raise ValueError(msg)
    # The values of other keys depend on the bands.
    bands = _convert(path, 'bands', given['bands'], ())
    values = {key: _convert(path, key, value, bands) for key, value in given.items()}
    return _build(path, values)


def _load(path):
    """Return the content of a TOML file."""
    if not path.is_file():
        msg = f'there is no file {str(path)!r} of a survey; check its name and folder'
        raise FileNotFoundError(msg)
    try:
        # Some editors begin a file with a byte-order mark.
        return tomllib.loads(path.read_text(encoding='utf-8-sig'))
    except (ValueError, RecursionError) as error:
        msg = f'{path}: not a TOML file ({error}); mend it, see surveys.read for an example'
        raise ValueError(msg) from error


def _convert(path, key, value, bands):
    """Return the value of a key as `Survey` takes it."""
    if key == 'ids' and isinstance(value, dict):
        return {name: _convert(path, f'ids.{name}', value[name], bands) for name in value}
    expected, convert = _KEYS.get(key) or _IDS.get(key, _Key('', lambda value, bands: value))
    try:
        return convert(value, bands)
    except (ValueError, TypeError, OverflowError) as error:
        came = cut_list(value) if isinstance(value, list) else repr(value)
        msg = f'{path}: {key} is {came}, expected {expected}'
        raise ValueError(msg) from error


def _build(path, values):
    """Return a survey with the values of the keys, and what follows from them."""
    bands, depth = values['bands'], values.pop('depth', None)
    values.setdefault('title', values['name'])
    values.setdefault('rgb', (bands[-1], bands[len(bands) // 2], bands[0]))
    if 'nonlinear' in values:
        values['nonlinear'] = {values['service']: values['nonlinear']}
    if depth is not None:
        if 'psf_fwhm' not in values:
            msg = f'{path}: depth needs psf_fwhm, of the same bands; add it'
            raise ValueError(msg)
        values['sky_noise'] = noise_of_depth(depth, values['psf_fwhm'], values['pixel_scale'])
    return Survey(**values)


# Converters of values. Each takes the value and the bands, and raises an error for a value that is
# not valid.


def _check(is_valid):
    if not is_valid:
        raise ValueError


def _text(value, bands):
    _check(isinstance(value, str))
    return value


def _word(value, bands):
    _check(isinstance(value, str) and value.strip() == value != '' and value.isprintable())
    return value


def _new_name(value, bands):
    # Cached images are kept under the name.
    _check(_word(value, bands).lower() not in (*SURVEYS, *ALIASES))
    return value


def _different_words(value, bands):
    _check(isinstance(value, list) and value and len(set(value)) == len(value))
    return tuple(_word(word, bands) for word in value)


def _some_bands(value, bands):
    _check(isinstance(value, list) and set(value) <= set(bands))
    return tuple(value)


def _three_bands(value, bands):
    _check(len(value) == 3)
    return _some_bands(value, bands)


def _number(value, bands):
    _check(isinstance(value, Real) and not isinstance(value, bool))
    return float(value)


def _each_band(value, bands):
    _check(isinstance(value, list) and len(value) == len(bands))
    numbers = np.array([_number(of_band, bands) for of_band in value])
    _check(not np.any(np.isinf(numbers)))
    return numbers


def _magnitudes(value, bands):
    magnitudes = _each_band(value, bands)
    _check(not np.any(np.abs(magnitudes) > _FAINTEST))
    return magnitudes


def _all_or_each_band(value, bands):
    number = (_each_band if isinstance(value, list) else _number)(value, bands)
    _check(np.all(np.abs(number) <= _FAINTEST))
    return number


def _angle(value, bands):
    _check(0 < _number(value, bands) < np.inf)
    return value * u.arcsec


def _angles(value, bands):
    angles = _each_band(value, bands)
    _check(not np.any(angles <= 0))
    return angles * u.arcsec


def _unit(value, bands):
    with warnings.catch_warnings():
        # Such as of several slashes.
        warnings.simplefilter('ignore', u.UnitsWarning)
        u.Unit(_word(value, bands))
    return value


def _texts_of_bands(value, bands):
    _check(isinstance(value, dict) and set(value) <= set(bands))
    return {band: _word(text, bands) for band, text in value.items()}


def _words(value, bands):
    _check(isinstance(value, list))
    return tuple(_word(word, bands) for word in value)


def _two_words(value, bands):
    _check(len(value) == 2)
    return _words(value, bands)


def _address(value, bands):
    _check(0 < len(value) <= 2)
    address, collection = (*_words(value, bands), None)[:2]
    return address, collection


def _table(value, bands):
    _check(isinstance(value, dict))
    return value


def _regions(value, bands):
    _check(isinstance(value, list) and value)
    return tuple(_region(of_region) for of_region in value)


def _region(value):
    kind, convert = (Circle, _degrees) if 'radius' in value else (Patch, _limits)
    return kind(**{key: convert(key, part) for key, part in value.items()})


def _degrees(key, value):
    degrees = _number(value, ())
    _check(np.abs(degrees) <= _LARGEST_ANGLES.get(key, 720))
    _check(key != 'radius' or degrees > 0)
    return degrees


def _limits(key, value):
    if key == 'latitude':
        return _degrees(key, value)
    lower, upper = (_degrees(key, limit) for limit in value)
    _check(key == 'ra' or lower < upper)
    return lower, upper


class _Key(NamedTuple):
    expected: str
    convert: Callable


_KEYS = {
    'service': _Key("the name of a class of astro_morph.cutouts, such as 'SiaImages'", _word),
    'bands': _Key('a list of different names', _different_words),
    'pixel_scale': _Key('a number of arcsec above 0', _angle),
    'name': _Key('a text that is not the name of another survey', _new_name),
    'title': _Key('a text', _text),
    'zero_point': _Key('an AB magnitude, or a list with one a band', _all_or_each_band),
    'unit': _Key("a unit of astropy, such as 'nJy' or 'MJy / sr'", _unit),
    'psf_fwhm': _Key('a list with a number of arcsec above 0 a band', _angles),
    'depth': _Key('a list with an AB magnitude a band', _magnitudes),
    'rgb': _Key('a list of three of the bands, red first', _three_bands),
    'nonlinear': _Key('a list of some of the bands', _some_bands),
    'hips': _Key('a table with the identifiers of bands', _texts_of_bands),
    'hips_color': _Key('a text', _word),
    'ids': _Key("a table, such as ids.sia = ['https://...', 'collection']", _table),
    'coverage': _Key(
        'a list of tables with ra, dec and radius, or with dec = [south, north], '
        'ra = [west, east] and latitude, in degrees',
        _regions,
    ),
    'access': _Key('a text', _text),
    'acknowledgement': _Key('a text', _text),
    'reference': _Key('a text', _text),
    'note': _Key('a text', _text),
}

# The names of a survey in the services of this package; those in others are passed as they are.
_TWO_TEXTS = _Key('a list of two texts, see surveys.Survey', _two_words)
_TEXT = _Key('a text', _word)
_OF_BANDS = _Key('a table with the names of bands', _texts_of_bands)
_IDS = {
    'ids.sia': _Key('a list of the address of the service and a collection', _address),
    'ids.esa': _TWO_TEXTS,
    'ids.hsc': _TWO_TEXTS,
    'ids.rubin': _TWO_TEXTS,
    'ids.wfau': _TWO_TEXTS,
    'ids.cloud': _TEXT,
    'ids.legacy': _TEXT,
    'ids.mast': _TEXT,
    'ids.panstarrs': _TEXT,
    'ids.dja': _OF_BANDS,
    'ids.skyview': _OF_BANDS,
}
