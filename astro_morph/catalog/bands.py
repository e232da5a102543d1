# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The bands: wavelength, order from blue to red, and extinction of each."""

import re

import numpy as np

__all__ = [
    'BANDS',
    'band_extinctions',
    'band_wavelength',
    'runs_blue_to_red',
    'shorten_bands',
    'sort_bands',
]

#: Wavelength in micrometres by name, and extinction in magnitudes per magnitude of E(B-V), None
#: where it is interpolated. Extinction: Schlafly & Finkbeiner (2011, ApJ 737, 103, table 6,
#: R_V = 3.1), for Landolt (UBVRI), SDSS (ugriz), Pan-STARRS (y), DES (Y), UKIRT (J, H, K) and HST;
#: WISE: https://www.legacysurvey.org/dr10/catalogs. Another survey's differ by a few per cent.
BANDS = {
    'U': (0.35, 4.334),
    'u': (0.36, 4.239),
    'B': (0.43, 3.626),
    'blue': (0.45, None),
    'g': (0.47, 3.303),
    'G': (0.48, None),
    'F200LP': (0.49, None),
    'V': (0.54, 2.742),
    'green': (0.55, None),
    'F350LP': (0.58, None),
    'F606W': (0.60, 2.471),
    'r': (0.62, 2.285),
    'R': (0.64, 2.169),
    'red': (0.65, None),
    'VIS': (0.72, None),
    'F600LP': (0.74, None),
    'i': (0.75, 1.698),
    'I': (0.80, 1.505),
    'F814W': (0.81, 1.526),
    'NIR': (0.83, None),
    'Z': (0.88, None),
    'z': (0.89, 1.263),
    'F850LP': (0.90, None),
    'y': (0.96, 1.087),
    'Y': (0.99, 1.058),
    'J': (1.25, 0.709),
    'F125W': (1.25, 0.726),
    'F160W': (1.54, 0.512),
    'H': (1.65, 0.449),
    'Ks': (2.15, 0.302),
    'K': (2.20, 0.302),
    'W1': (3.4, 0.184),
    'W2': (4.6, 0.113),
    'W3': (12, 0.0241),
    'W4': (22, 0.0091),
}

# Three digits are nanometres above 200 and hundredths of a micrometre below, but for these filters
# of JWST. F410M is on Hubble too.
_LONG_FILTERS = re.compile(
    'F(200W|210M|212N|250M|277W|300M|322W2|323N|335M|356W|360M|405N|410M|430M|444W|460M|466N|470N|'
    '480M|560W|770W)'
)


def _key(name):
    """Return the last word of a name such as ``'NIR_Y'``; only single letters keep their case."""
    word = re.split(r'[\W_]', name)[-1]
    return word if len(word) == 1 else word.upper()


_BY_KEY = {_key(name): row for name, row in BANDS.items()}

_LAW = np.log(sorted(row for row in BANDS.values() if row[1] is not None)).T


def band_wavelength(name):
    """
    Return the wavelength of a band.

    Filters of Hubble and JWST such as ``'F606W'`` have it in their names.

    Parameters
    ----------
    name : str
        The band. Prefixes as in ``'DECAM_g'`` and, but for single letters, case make no difference.

    Returns
    -------
    wavelength : float
        Mean wavelength in micrometres; NaN for an unknown band.

    Examples
    --------
    >>> from astro_morph.catalog.bands import band_wavelength
    >>> band_wavelength('r'), band_wavelength('F475W'), band_wavelength('F140W')
    (0.62, 0.475, 1.4)
    """
    key = _key(name)
    if key in _BY_KEY:
        return _BY_KEY[key][0]
    digits = re.fullmatch(r'F(\d{3,4})(W2?|LP|M|N|X)', key)
    if digits is None:
        return np.nan
    number = int(digits[1])
    is_in_nanometres = 200 <= number < 1000 and not _LONG_FILTERS.fullmatch(key)
    return number / (1000 if is_in_nanometres else 100)


def shorten_bands(names):
    """
    Return the names of bands without those of their camera or column.

    Parameters
    ----------
    names : sequence of str
        The bands.

    Returns
    -------
    names : tuple of str
        The last word of each name; the names themselves if two would be the same.

    Examples
    --------
    >>> from astro_morph.catalog.bands import shorten_bands
    >>> shorten_bands(['des-g', 'des-r']), shorten_bands(['f090w', 'f115w'])
    (('g', 'r'), ('f090w', 'f115w'))
    """
    words = tuple(re.split(r'[\W_]', name)[-1] or name for name in names)
    return words if len({*words}) == len(words) else tuple(names)


def sort_bands(names):
    """Return bands sorted by wavelength, after unknown ones in alphabetical order."""
    return sorted(names, key=lambda name: (np.nan_to_num(band_wavelength(name)), name))


def runs_blue_to_red(names):
    """Check whether the last band is redder than the first; false if one of them is unknown."""
    wavelengths = [band_wavelength(name) for name in names]
    return not np.isnan(wavelengths).any() and wavelengths[:1] < wavelengths[-1:]


def band_extinctions(names):
    """
    Return the extinction of bands by dust.

    A band without a coefficient of its own gets one between those of its neighbours, by a power law
    of the wavelength.

    Parameters
    ----------
    names : sequence of str
        The bands.

    Returns
    -------
    extinctions : tuple of float
        Magnitudes by which a reddening E(B-V) of 1 dims each band; zero for all if one is unknown.

    Examples
    --------
    >>> from astro_morph.catalog.bands import band_extinctions
    >>> band_extinctions(['g', 'r'])
    (3.303, 2.285)
    """
    wavelengths = [band_wavelength(name) for name in names]
    if np.isnan(wavelengths).any():
        return (0.0,) * len(wavelengths)
    interpolated = np.exp(np.interp(np.log(wavelengths), *_LAW))
    known = [_BY_KEY.get(_key(name), (None, None))[1] for name in names]
    return tuple(own or float(other) for own, other in zip(known, interpolated, strict=True))
