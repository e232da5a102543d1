# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the table of bands, and of the order, direction and dust computed from it."""

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS

from astro_morph import CutoutSet, surveys
from astro_morph.catalog.bands import (
    BANDS,
    band_extinctions,
    band_wavelength,
    runs_blue_to_red,
    sort_bands,
)
from astro_morph.cutouts import Mosaics
from astro_morph.learning.training.conditions import RandomConditions
from astro_morph.models.building import build_model

# Each from blue to red.
RUNS = [
    ('u', 'g', 'r', 'i', 'z', 'y'),
    ('g', 'r', 'z', 'Y', 'J', 'H', 'Ks'),
    ('U', 'B', 'V', 'R', 'I', 'Z', 'Y'),
    ('blue', 'green', 'red'),
    ('blue', 'red', 'NIR'),
    ('W1', 'W2', 'W3', 'W4'),
    ('K', 'W1', 'W2'),
    ('VIS', 'NIR_Y', 'NIR_J', 'NIR_H'),
    ('F275W', 'F336W', 'F435W', 'F606W', 'F775W', 'F814W', 'F850LP', 'F105W', 'F125W', 'F160W'),
    ('F070W', 'F090W', 'F115W', 'F150W', 'F200W', 'F277W', 'F356W', 'F410M', 'F444W', 'F770W'),
    ('F475W', 'F606W', 'F850LP', 'F098M', 'F140W', 'F200W', 'F300M', 'F560W', 'F1000W', 'F2550W'),
    ('F336W', 'F200LP', 'F350LP', 'F814W'),
    ('acs_f606w', 'acs_f814w', 'wfc3_f160w'),
]


@pytest.mark.parametrize('bands', RUNS, ids='-'.join)
def test_bands_are_sorted_by_wavelength_and_know_their_direction(bands):
    assert sort_bands(bands[::-1]) == list(bands)
    assert runs_blue_to_red(bands)
    assert not runs_blue_to_red(bands[::-1])


@pytest.mark.parametrize('survey', surveys.SURVEYS.values(), ids=str)
def test_bands_of_all_surveys_are_known(survey):
    assert sort_bands(survey.bands) == list(survey.bands)
    assert runs_blue_to_red(survey.bands)
    assert min(band_extinctions(survey.bands)) > 0


@pytest.mark.parametrize(
    ('band', 'wavelength'),
    [
        ('F606W', 0.606),
        ('F814W', 0.814),
        ('f275w', 0.275),
        ('F160W', 1.6),
        ('F098M', 0.98),
        ('F090W', 0.9),
        ('F115W', 1.15),
        ('F200W', 2.0),
        ('F322W2', 3.22),
        ('F1130W', 11.3),
        ('hst_F125W', 1.25),
        ('DECAM_g', 0.47),
    ],
)
def test_wavelength_is_read_from_the_name(band, wavelength):
    assert band_wavelength(band) == pytest.approx(wavelength, rel=0.05)


@pytest.mark.parametrize('band', ['', '0', 'k', 'x', 'exposure', 'F6W', 'CLEAR', 'W5', 'nothing'])
def test_unknown_bands_have_no_wavelength_direction_or_dust_and_come_first(band):
    assert np.isnan(band_wavelength(band))
    assert not runs_blue_to_red(['g', band, 'r'])
    assert sort_bands(['r', band, 'g']) == [band, 'g', 'r']
    assert band_extinctions(['g', band]) == (0, 0)


def test_one_band_has_no_direction():
    assert not runs_blue_to_red(['g'])
    assert not runs_blue_to_red(['g', 'g'])


def test_case_tells_single_letters_apart():
    assert band_wavelength('y') < band_wavelength('Y')
    assert band_wavelength('i') < band_wavelength('I')
    assert band_wavelength('nir') == band_wavelength('NIR')


class TestExtinction:
    def test_of_the_table(self):
        # Schlafly & Finkbeiner (2011), table 6.
        assert band_extinctions(['g', 'r', 'F606W']) == (3.303, 2.285, 2.471)

    def test_of_all_bands_falls_with_wavelength_as_dust_does(self):
        bands = [band for band in sort_bands(BANDS) if 'LP' not in band]
        found = np.array(band_extinctions(bands))
        assert np.all(found[1:] < 1.06 * found[:-1])

    @pytest.mark.parametrize(
        ('band', 'published'),
        # The same source, for bands that are not in the table of the module.
        [('F475W', 3.268), ('F775W', 1.629), ('F105W', 0.969), ('F140W', 0.613), ('F110W', 0.881)],
    )
    def test_between_the_bands_of_the_table_is_close_to_the_published(self, band, published):
        assert band not in BANDS
        assert band_extinctions([band])[0] == pytest.approx(published, rel=0.06)

    def test_reddens_what_it_did_not_before(self):
        nir, red, blue = RandomConditions.of(('NIR', 'red', 'blue')).extinction
        assert 1 < nir < red < blue < 4
        assert RandomConditions.of(('g', 'F115W')).extinction[0] == 3.303
        assert RandomConditions.of(('g', 'unknown')).extinction == (0, 0)


def write_tile(path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.cdelt = -1e-4, 1e-4
    fits.PrimaryHDU(np.ones((9, 9)), wcs.to_header()).writeto(path)


@pytest.mark.parametrize('bands', [('J', 'H', 'Ks'), ('f606w', 'f160w'), ('W1', 'W2'), ('a', 'g')])
def test_mosaics_order_the_bands_of_their_files(tmp_path, bands):
    for band in bands:
        write_tile(tmp_path / f't-{band}.fits')
    assert Mosaics(tmp_path / 't-{band}.fits').bands == bands


@pytest.fixture(scope='module')
def start():
    """A model with random weights and bands from red to blue, like those of pictures."""
    cutouts = CutoutSet(np.zeros((2, 3, 32, 32)), bands=('red', 'green', 'blue'), kind='picture')
    return build_model(cutouts, cutouts, architecture='resnet18', views=1)


def first_layer(bands, start):
    images = np.random.default_rng(0).normal(size=(4, len(bands), 32, 32))
    cutouts = CutoutSet(images, bands=bands)
    model = build_model(cutouts, cutouts, architecture='resnet18', start=start, views=1)
    return model.network.encoder.conv1.weight


@pytest.mark.parametrize(
    'bands',
    [
        ('g', 'r', 'i'),
        ('blue', 'red', 'NIR'),
        ('F606W', 'F814W', 'F160W'),
        ('W1', 'W2', 'W3'),
        ('J', 'H', 'Ks'),
    ],
    ids='-'.join,
)
def test_filters_of_an_encoder_are_turned_for_bands_from_blue_to_red(start, bands):
    learnt = start.network.encoder.conv1.weight
    assert torch.equal(first_layer(bands, start), learnt.flip(1))
    assert torch.equal(first_layer(bands[::-1], start), learnt)


@pytest.mark.parametrize('bands', [('F606W', 'F814W'), ('W1', 'W2')], ids='-'.join)
def test_filters_for_two_bands_are_turned_and_share_the_middle_one(start, bands):
    red, green, blue = start.network.encoder.conv1.weight.unbind(1)
    shared = torch.stack([blue + green / 2, red + green / 2], 1)
    assert torch.allclose(first_layer(bands, start), shared, atol=1e-6)
    assert torch.allclose(first_layer(bands[::-1], start), shared.flip(1), atol=1e-6)


def test_filters_stay_for_unknown_bands(start):
    learnt = start.network.encoder.conv1.weight
    assert torch.equal(first_layer(('a', 'b', 'c'), start), learnt)
