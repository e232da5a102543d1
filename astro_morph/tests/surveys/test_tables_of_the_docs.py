# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the tables of surveys and services in the documentation."""

import runpy
from pathlib import Path

import pytest

from astro_morph import cutouts
from astro_morph.surveys import SURVEYS

TABLES = Path(__file__).parents[3] / 'docs' / 'survey_tables.py'


@pytest.fixture(scope='module')
def tables():
    pytest.importorskip('docutils')
    if not TABLES.exists():
        pytest.skip('the sources are not a checkout')
    return runpy.run_path(str(TABLES))


def test_each_survey_has_a_row_with_each_band_and_all_services(tables):
    rows = tables['survey_rows']()
    for survey, row in zip(SURVEYS.values(), rows, strict=True):
        cells = dict(zip(tables['SURVEY_HEADER'], row, strict=True))
        assert survey.name in cells['Survey']
        assert [band.split()[0] for band in cells['Bands, depth'].split(', ')] == [*survey.bands]
        assert cells['Services'].startswith(f'`~astro_morph.cutouts.{survey.service}`')
        assert len(tables['services_of'](survey)) >= len(survey.ids.keys() - {'cloud'})


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('legacy-dr10', {'Bands, depth': 'g 24.0, r 23.4, i 23.0, z 22.5', 'Linear': 'yes'}),
        ('candels', {'Bands, depth': 'F606W, F814W, F125W, F160W 27.6'}),
        ('rubin-dp1', {'Asks for': 'token', 'Pixel, arcsec': '0.2', 'Seeing, arcsec': '1 to 1.5'}),
        ('unwise', {'Asks for': 'nothing', 'Tried live': 'never'}),
        ('dss2', {'Linear': 'no', 'Seeing, arcsec': ''}),
        ('panstarrs-dr1', {'Linear': 'not r, i, z, y of `~astro_morph.cutouts.Hips2Fits`'}),
    ],
)
def test_cells_say_what_the_survey_is(tables, name, expected):
    row = tables['survey_rows']()[list(SURVEYS).index(name)]
    cells = dict(zip(tables['SURVEY_HEADER'], row, strict=True))
    assert {key: cells[key] for key in expected} == expected


def test_each_service_has_a_row_and_a_survey(tables):
    rows = tables['service_rows']()
    names = [row[0].partition('`:')[0].rpartition('.')[2] for row in rows]
    assert set(names) == set(cutouts.inputs.find_services()) >= {'Hips2Fits', 'SiaImages'}
    assert all(row[-1] for row in rows)


@pytest.mark.parametrize(
    ('name', 'services'),
    [
        ('sdss-dr9', ['Hips2Fits', 'SkyView', 'SdssFrames']),
        ('euclid-q1', ['EuclidMosaics', 'EsaEuclid']),
        ('allwise', ['SiaImages', 'SkyView', 'Hips2Fits']),
    ],
)
def test_default_service_is_the_first(tables, name, services):
    assert tables['services_of'](SURVEYS[name]) == services
