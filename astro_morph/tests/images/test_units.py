# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the units of images, in the spellings that headers have."""

import astropy.units as u
import numpy as np
import pytest

from astro_morph.images.units import ImageUnit

SURFACE_BRIGHTNESS = """MJy/sr|MJy sr-1|MJy sr^-1|MJy.sr**-1|MJY/SR|Jy/sr|10**-7 Jy/sr|nJy/arcsec^2
nJy / arcsec2|uJy/arcsec**2|mJy per square arcsec|ELECTRONS/S/ARCSEC**2|counts/s/arcsec2
counts s-1 arcsec-2|Counts/(s arcsec^2)|(counts/s)/arcsec**2|counts/s/arcsec^{2}|DN/s/sq arcsec
e-/s/arcsec2|photons/s/cm2/arcsec2|counts/s/sterad|cts/s/arcmin**2|nanomaggies/arcsec^2
1e-17 erg/s/cm2/Angstrom/arcsec2|1E-17 erg s-1 cm-2 arcsec-2|erg/s/cm2/Hz/sr|W.m-2.sr-1
Jy/beam|JY/BEAM|mJy/beam|K|mK|K km/s|mjy/sr"""

FLUX = """|nanomaggy|nanomaggies|nmgy|NANOMAGGIES|counts|COUNTS/S|ELECTRONS/S|e-/s|e-|ADU|DN
Jy/pixel|MJy/pix|uJy|nJy|microJy|counts/sec|data number|flux|CPS|UNCALIB|None|sigma|mag|a (
erg/s/cm2/A|nanomaggy/pixel|1"""


def spellings(text):
    return [spelling for line in text.split('\n') for spelling in line.split('|')]


@pytest.mark.parametrize('text', spellings(SURFACE_BRIGHTNESS))
def test_surface_brightness_is_recognised(text):
    assert ImageUnit(text).is_surface_brightness


@pytest.mark.parametrize('text', spellings(FLUX))
def test_flux_per_pixel_is_recognised(text):
    assert not ImageUnit(text).is_surface_brightness


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('nanomaggy', 22.5),
        ('nJy', 31.4),
        ('uJy', 23.9),
        ('Jy/pixel', 8.9),
        # JWST: -6.10 - 2.5 log10(PIXAR_SR), of pixels of 0.031 arcsec.
        ('MJy/sr', -6.10 - 2.5 * np.log10((0.031 / 206_264.806) ** 2)),
        ('MJY/SR', 28.015),
        ('nJy/arcsec^2', 31.4 - 5 * np.log10(0.031)),
        ('nanomaggies/arcsec2', 22.5 - 5 * np.log10(0.031)),
    ],
)
def test_zero_points(text, expected):
    zero_point = ImageUnit(text).zero_point(0.031 * u.arcsec)
    assert zero_point == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize('text', ['', 'counts', 'Jy/beam', 'K', 'DN/s/arcsec2', 'mjy/sr', 'mag'])
def test_without_a_flux_density_there_is_no_zero_point(text):
    assert np.isnan(ImageUnit(text).zero_point(0.031 * u.arcsec))


def test_pixels_of_several_sizes_have_no_common_zero_point_in_surface_brightness():
    scales = [0.1, 0.2, np.nan] * u.arcsec
    assert np.isnan(ImageUnit('MJy/sr').zero_point(scales))
    assert ImageUnit('MJy/sr').zero_point(scales[[0, 2]]) == pytest.approx(25.472, abs=0.01)
    assert ImageUnit('nJy').zero_point(scales) == 31.4
