# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the named surveys."""

import astropy.units as u
import numpy as np
import pytest

from astro_morph import surveys


@pytest.mark.parametrize('name', ['sdss', 'legacy', 'panstarrs'])
def test_survey_is_complete(name):
    survey = surveys.get(name)
    assert survey.name == name
    assert survey.psf_fwhm.shape == survey.sky_noise.shape == (len(survey.bands),)
    assert set(survey.rgb) <= set(survey.bands)
    # A colour picture shows the longest wavelength in red.
    assert sorted(survey.rgb, key=survey.bands.index, reverse=True) == list(survey.rgb)
    assert 0.2 * u.arcsec < survey.pixel_scale < 0.5 * u.arcsec
    assert np.all((survey.psf_fwhm > 0.5 * u.arcsec) & (survey.psf_fwhm < 2 * u.arcsec))


@pytest.mark.parametrize(
    ('name', 'band', 'depth'), [('legacy', 'r', 23.4), ('panstarrs', 'y', 21.4)]
)
def test_noise_gives_the_published_depth(name, band, depth):
    survey = surveys.get(name)
    index = survey.bands.index(band)
    # Error of a flux that is fitted with the Gaussian point-spread function, summed in pixels.
    sigma = (survey.psf_fwhm[index] / survey.pixel_scale).to_value(u.one) / 2.3548
    y, x = np.mgrid[-20:21, -20:21]
    psf = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    psf /= psf.sum()
    flux_error = survey.sky_noise[index] / np.sqrt(np.sum(psf**2))
    assert survey.zero_point - 2.5 * np.log10(5 * flux_error) == pytest.approx(depth, abs=0.01)


def test_get_ignores_case_and_passes_a_survey_through():
    survey = surveys.get('SDSS')
    assert surveys.get(survey) is survey


@pytest.mark.parametrize('name', ['euclid', None, 3])
def test_unknown_survey_lists_those_there_are(name):
    with pytest.raises(ValueError, match=r"one of \['legacy', 'panstarrs', 'sdss'\]"):
        surveys.get(name)
