# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the named surveys."""

import re

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_morph import cutouts, surveys
from astro_morph.surveys import SURVEYS, Circle, Patch


@pytest.fixture(params=SURVEYS)
def survey(request):
    return SURVEYS[request.param]


def test_figures_belong_to_the_bands(survey):
    for figures in (survey.psf_fwhm, survey.sky_noise):
        if figures is not None:
            assert figures.shape == (len(survey.bands),)
            assert not np.any(figures <= 0)
    if survey.psf_fwhm is not None:
        # Pixels sample the point-spread function, and are not far smaller. The sharpest bands may
        # have finer pixels of their own.
        assert survey.pixel_scale < np.median(survey.psf_fwhm)
        assert np.all(20 * survey.pixel_scale > survey.psf_fwhm)
    assert np.shape(survey.zero_point) in ((), (len(survey.bands),))


def test_colour_picture_has_the_longest_wavelength_in_red(survey):
    assert len(survey.rgb) == 3
    assert sorted(survey.rgb, key=survey.bands.index, reverse=True) == list(survey.rgb)


def test_name_is_its_key_and_plain(survey):
    assert SURVEYS[survey.name] is survey
    assert re.fullmatch(r'[a-z0-9-]+', survey.name)


def test_default_service_has_the_survey(survey):
    service = getattr(cutouts, survey.service)
    bands = 'rgb' if survey.service in survey.nonlinear else None
    assert isinstance(service(survey, bands=bands, cache=False), cutouts.RemoteSource)


def test_services_know_each_band_by_a_name_of_its_own(survey):
    for names in (survey.hips, *survey.ids.values()):
        if isinstance(names, dict):
            assert set(names) <= set(survey.bands)
            assert len(set(names.values())) == len(names)


def test_paper_finds_what_to_print(survey):
    assert survey.title
    assert len(survey.acknowledgement) > 50
    # A bibcode or DOI; the Hubble Advanced Products have no paper.
    known = re.fullmatch(r'\d{4}[\w.&]{15}|10\.\d+/\S+', survey.reference)
    assert known or survey.name == 'hst-hap'


@pytest.mark.parametrize(
    ('name', 'band', 'depth'),
    [
        ('legacy', 'r', 23.4),
        ('panstarrs', 'y', 21.4),
        ('euclid', 'J', 24.5),
        ('rubin', 'u', 24.55),
    ],
)
def test_noise_gives_the_published_depth(name, band, depth):
    survey = surveys.get(name)
    index = survey.bands.index(band)
    # Flux error of a fit of the Gaussian point-spread function, summed over pixels.
    sigma = (survey.psf_fwhm[index] / survey.pixel_scale).to_value(u.one) / 2.3548
    y, x = np.mgrid[-20:21, -20:21]
    psf = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    psf /= psf.sum()
    flux_error = survey.sky_noise[index] / np.sqrt(np.sum(psf**2))
    assert 22.5 - 2.5 * np.log10(5 * flux_error) == pytest.approx(depth, abs=0.01)


def test_noise_gives_the_published_depth_in_an_aperture():
    survey = surveys.get('des-dr2')
    n_pixels = np.pi * (0.975 / 0.263) ** 2
    flux_error = survey.sky_noise[survey.bands.index('i')] * np.sqrt(n_pixels)
    assert 22.5 - 2.5 * np.log10(10 * flux_error) == pytest.approx(23.8, abs=1e-6)


def test_table_says_what_the_surveys_are(survey):
    table = surveys.to_table()
    row = table[table['name'] == survey.name][0]
    assert row['bands'].split() == list(survey.bands)
    assert row['pixel_scale'] == survey.pixel_scale
    assert np.isnan(row['psf_fwhm']) == (survey.psf_fwhm is None)
    assert np.isnan(row['depth']) == (survey.depth is None)
    assert (row['service'], row['access']) == (survey.service, survey.access)


def test_table_is_read_in_a_terminal_of_80_characters():
    lines = surveys.to_table().pformat(max_lines=-1, max_width=80)
    assert len(lines) == len(SURVEYS) + 3
    assert not any('...' in line for line in lines)
    assert 'access' in lines[0]
    assert ' F090W to F444W ' in ''.join(lines)


def test_depth_is_the_published_one():
    np.testing.assert_allclose(surveys.get('legacy').depth, [24.0, 23.4, 23.0, 22.5])
    np.testing.assert_allclose(surveys.get('euclid').depth, [26.2, 24.5, 24.5, 24.5])
    assert np.isnan(surveys.get('candels').depth).tolist() == [True, True, True, False]
    assert surveys.get('dss2').depth is None


def test_wise_fluxes_are_of_the_vega_system():
    # 3.4 um: a Vega magnitude of zero is 309.540 Jy (Jarrett et al. 2011, ApJ 735, 112).
    expected = 22.5 + (309.540 * u.Jy).to_value(u.ABmag)
    assert surveys.get('unwise').zero_point[0] == pytest.approx(expected, abs=0.03)


def test_get_ignores_case_takes_short_names_and_passes_a_survey_through():
    survey = surveys.get('SDSS-DR9')
    assert surveys.get('sdss') is surveys.get(survey) is survey
    assert {name: surveys.get(name).name for name in ('legacy', 'panstarrs', 'Euclid')} == {
        'legacy': 'legacy-dr10',
        'panstarrs': 'panstarrs-dr1',
        'Euclid': 'euclid-q1',
    }


@pytest.mark.parametrize('name', ['kids', None, 3])
def test_unknown_survey_lists_known_ones(name):
    with pytest.raises(ValueError, match=rf"one of .*'legacy-dr10'.*18 in all\), got {name!r}"):
        surveys.get(name)
    assert not surveys.is_known(name)


def area(region):
    """Return the area in square degrees, from random points."""
    random = np.random.default_rng(0)
    z = random.uniform(-1, 1, 100_000)
    points = SkyCoord(random.uniform(0, 360, len(z)), np.degrees(np.arcsin(z)), unit='deg')
    return region.covers(points).mean() * 4 * np.degrees(np.degrees(np.pi))


class TestCoverage:
    def test_patch_may_pass_through_zero_hours_and_leaves_out_the_milky_way(self):
        coords = SkyCoord([359, 1, 20, 340, 10, 1], [0, 0, 0, 0, -31, 70], unit='deg')
        patch = Patch(dec=(-30, 80), ra=(350, 15), latitude=20)
        # The last one is 8 degrees from the galactic plane.
        assert patch.covers(coords).tolist() == [True, True, False, False, False, False]

    @pytest.mark.parametrize(
        ('region', 'expected'),
        [
            (Patch(), 41253),
            (Patch((-90, 0)), 41253 / 2),
            (Patch(latitude=30), 41253 / 2),
            (Patch((0, 90), ra=(270, 90)), 41253 / 4),
            (Circle(10, -60, 30), 41253 * (1 - np.cos(np.radians(30))) / 2),
        ],
        ids=str,
    )
    def test_regions_have_their_areas(self, region, expected):
        assert area(region) == pytest.approx(expected, rel=0.03)

    @pytest.mark.parametrize(
        ('name', 'published'),
        [
            ('sdss-dr9', 14_555),
            ('legacy-dr10', 0.67 * 41_253),  # the HiPS of colour pictures
            ('legacy-dr9', 20_000),
            ('des-dr2', 5_000),
            ('hsc-pdr3', 1_470),  # partly observed area included
            ('panstarrs-dr1', 30_000),
            ('skymapper', 26_000),
            ('vhs', 19_000),
        ],
    )
    def test_outlines_have_about_the_published_areas(self, name, published):
        assert 0.8 < area(surveys.get(name)) / published < 1.3

    @pytest.mark.parametrize(
        ('name', 'inside', 'outside'),
        [
            ('sdss-dr9', (180, 30), (180, -40)),
            ('legacy-dr10', (150, 2.2), (266, -29)),  # COSMOS, the galactic centre
            ('des-dr2', (53.1, -27.8), (180, 0)),
            ('panstarrs-dr1', (10.7, 41.3), (53, -50)),
            ('skymapper', (80, -69), (202, 47)),
            ('vhs', (10, -30), (10, 30)),
            ('ukidss-las', (180, 5), (180, -30)),
            ('candels', (53.12, -27.8), (53.12, -26.8)),
            ('euclid-q1', (53.12, -27.8), (150.1, 2.2)),
            ('hsc-pdr3', (150.1, 2.2), (53.12, -27.8)),
            ('jwst-dja', (214.9, 52.9), (214.9, 54)),
            ('rubin-dp1', (53.12, -27.8), (150.1, 2.2)),
        ],
    )
    def test_well_known_places(self, name, inside, outside):
        survey = surveys.get(name)
        assert survey.covers(SkyCoord(*inside, unit='deg'))
        assert not survey.covers(SkyCoord(*outside, unit='deg'))

    def test_positions_of_any_frame_and_shape(self):
        coords = SkyCoord([[10, 20], [30, 40]], [[60, -60], [60, -60]], unit='deg')
        covered = surveys.get('panstarrs-dr1').covers(coords)
        assert covered.tolist() == [[True, False], [True, False]]
        np.testing.assert_array_equal(surveys.get('panstarrs').covers(coords.galactic), covered)

    def test_proposals_cover_all_positions_best_first(self):
        south = SkyCoord(53.12, -27.8, unit='deg')
        assert surveys.for_position(south)[:6] == [
            'jwst-dja',
            'candels',
            'euclid-q1',
            'rubin-dp1',
            'des-dr2',
            'legacy-dr10',
        ]
        both = SkyCoord([53.12, 180], [-27.8, 30], unit='deg')
        assert surveys.for_position(both) == [
            'legacy-dr10',
            'legacy-dr9',
            'panstarrs-dr1',
            '2mass',
            'allwise',
            'unwise',
            'dss2',
        ]
