# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests that images that are not linear in flux are made linear, or refused."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from astro_morph import MorphologyClassifier
from astro_morph.cutouts import Hips2Fits, ImageFiles, Mosaics, SkyView
from astro_morph.cutouts.services.reprojection import cut_from_images

CENTRE = SkyCoord([150.0], [2.0], unit='deg')

REFUSED = [
    (Hips2Fits, 'panstarrs-dr1', None),
    (Hips2Fits, 'panstarrs-dr1', 'gr'),
    (Hips2Fits, 'dss2', None),
    (Hips2Fits, 'dss2', ['red']),
    (SkyView, 'dss2', ['blue']),
]


@pytest.mark.parametrize(('service', 'survey', 'bands'), REFUSED)
def test_images_that_are_not_linear_are_refused_as_flux(service, survey, bands):
    with pytest.raises(ValueError, match=r'^bands.*not linear in flux, .*; use .*another survey'):
        service(survey, bands=bands)


def test_the_refusal_names_what_can_be_used():
    with pytest.raises(
        ValueError, match=r"in \['red'\] that.*use bands='rgb' for colour pictures or"
    ):
        Hips2Fits('dss2', bands=['red'])
    with pytest.raises(ValueError, match=r'or PanStarrsCutouts, whose images are linear'):
        Hips2Fits('panstarrs-dr1', bands='r')
    with pytest.raises(ValueError, match=r'not linear in flux'):
        MorphologyClassifier('dss2', verbose=0).fit(
            Table({'ra': [1.0, 2], 'dec': [2.0, 3]}), ['a', 'b']
        )


@pytest.mark.parametrize(
    ('survey', 'bands'), [('panstarrs-dr1', 'g'), ('panstarrs-dr1', 'rgb'), ('dss2', 'rgb')]
)
def test_pictures_and_linear_bands_are_served(survey, bands):
    assert Hips2Fits(survey, bands=bands).kind == ('picture' if bands == 'rgb' else 'flux')


@pytest.fixture(params=['float', 'compressed'])
def stack(request, tmp_path):
    """A stack of Pan-STARRS: its fluxes in nanomaggies, and its file in an asinh scaling."""
    flux = np.random.default_rng(0).normal(0, 2, (60, 60)) + 30 * np.eye(60)
    exposure, softening, offset = 720.0, 50.0, 4.0
    counts = flux * 10 * exposure
    values = 2.5 / np.log(10) * np.arcsinh((counts - offset) / 2 / softening)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = CENTRE.ra.deg[0], CENTRE.dec.deg[0]
    wcs.wcs.crpix = 30.5, 30.5
    wcs.wcs.cdelt = -0.25 / 3600, 0.25 / 3600
    header = wcs.to_header()
    header.update(BSOFTEN=softening, BOFFSET=offset, EXPTIME=exposure)
    hdus = {
        'float': [fits.PrimaryHDU(values.astype(np.float32), header)],
        'compressed': [
            fits.PrimaryHDU(),
            fits.CompImageHDU(values.astype(np.float32), header, quantize_level=1000),
        ],
    }[request.param]
    path = tmp_path / 'stack-r.fits'
    fits.HDUList(hdus).writeto(path)
    return flux, path


def test_stacks_of_panstarrs_are_read_as_flux(stack):
    flux, path = stack
    centred = flux[22:38, 22:38]
    cutouts = Mosaics(path.parent / 'stack-{band}.fits').fetch(CENTRE, size=16)
    np.testing.assert_allclose(cutouts.images[0, 0], centred, rtol=0.01, atol=0.05)
    assert cutouts.zero_point == pytest.approx(22.5)
    remote = Mosaics(path.as_uri()).fetch(CENTRE, size=16)
    np.testing.assert_allclose(remote.images, cutouts.images, rtol=1e-5)
    files = ImageFiles('path').fetch(Table({'path': [str(path)]}), size=16)
    np.testing.assert_allclose(files.images[0, 0], centred, rtol=0.01, atol=0.05)
    with fits.open(path) as hdus:
        downloaded = cut_from_images([hdus[-1]], CENTRE, side=16, pixel_scale=cutouts.pixel_scale)
    np.testing.assert_allclose(downloaded[0], centred, rtol=0.01, atol=0.05)
