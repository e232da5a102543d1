# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of units: surface brightness keeps its values at any pixel scale, flux its sum."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from astro_morph import conf, surveys
from astro_morph.cutouts import Hips2Fits, Mosaics, SiaImages, SkyView
from astro_morph.cutouts.services.mast import _calibrate
from astro_morph.cutouts.services.reprojection import cut_from_images
from astro_morph.simulation import serve
from astro_morph.tests.skies import coords_at, ramp_sky

CENTRE = SkyCoord([150.0], [2.0], unit='deg')

UNITS = ['MJy/sr', 'MJy sr-1', 'nJy/arcsec^2', 'ELECTRONS/S/ARCSEC**2', 'Jy/beam']


@pytest.fixture(autouse=True)
def _quick():
    with conf.set_temp('requests_per_second', 1000.0):
        yield


def image(values, *, scale, angle=0, **keywords):
    """Make an image, or one of a single value, around the centre."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = CENTRE.ra.deg[0], CENTRE.dec.deg[0]
    data = np.full((160, 160), values, np.float32) if np.ndim(values) == 0 else values
    wcs.wcs.crpix = (np.array(data.shape[::-1]) + 1) / 2
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-cosine, sine], [sine, cosine]])
    hdu = fits.PrimaryHDU(data, wcs.to_header())
    hdu.header.update(keywords)
    return hdu


def blob(*, scale, native=None, side=160):
    """Draw a source of unit flux in fluxes per pixel, or per pixel of another scale."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    density = np.exp(-(x**2 + y**2) * scale**2 / 2 / 0.2**2) / (2 * np.pi * 0.2**2)
    return (density * (native or scale) ** 2).astype(np.float32)


@pytest.mark.parametrize('unit', UNITS)
@pytest.mark.parametrize('pixel_scale', [None, 0.02 * u.arcsec, 0.1 * u.arcsec])
def test_a_constant_image_has_one_value_at_every_scale(tmp_path, unit, pixel_scale):
    image(5, scale=0.03, BUNIT=unit).writeto(tmp_path / 'j-F150W.fits')
    image(5, scale=0.06, BUNIT=unit, angle=20).writeto(tmp_path / 'j-F444W.fits')
    mosaics = Mosaics(tmp_path / 'j-{band}.fits', pixel_scale=pixel_scale)
    cutouts = mosaics.fetch(CENTRE, size=16)
    np.testing.assert_allclose(cutouts.images, 5, rtol=1e-5)


@pytest.mark.parametrize('unit', ['nanomaggy', 'ELECTRONS/S', '', 'nJy'])
def test_flux_per_pixel_is_conserved(tmp_path, unit):
    image(blob(scale=0.06), scale=0.06, BUNIT=unit).writeto(tmp_path / 'a.fits')
    for scale in (0.03, 0.06, 0.13):
        mosaics = Mosaics(tmp_path / 'a.fits', pixel_scale=scale * u.arcsec)
        images = mosaics.fetch(CENTRE, size=round(3 / scale)).images
        assert images.sum() == pytest.approx(1, abs=2e-3)


def test_the_zero_point_follows_the_pixels(tmp_path):
    image(1, scale=0.06, BUNIT='MJy/sr').writeto(tmp_path / 'sb-a.fits')
    image(1, scale=0.06, BUNIT='nJy').writeto(tmp_path / 'flux-a.fits')
    for scale in (0.06, 0.12):
        # The AB magnitude of 1 MJy/sr in a pixel of this size.
        expected = 8.9 - 2.5 * np.log10(1e6 * (scale * u.arcsec).to_value(u.rad) ** 2)
        for name, zero_point in {'sb': expected, 'flux': 31.4}.items():
            mosaics = Mosaics(tmp_path / f'{name}-{{band}}.fits', pixel_scale=scale * u.arcsec)
            cutouts = mosaics.fetch(CENTRE, size=8)
            assert cutouts.zero_point == pytest.approx(zero_point, abs=1e-3)
        given = Mosaics(tmp_path / 'sb-{band}.fits', pixel_scale=scale * u.arcsec, zero_point=28.0)
        # That of a pixel of the images.
        expected = 28 - 5 * np.log10(scale / 0.06)
        assert given.fetch(CENTRE, size=8).zero_point == pytest.approx(expected, abs=1e-3)


def test_a_total_flux_is_the_same_from_surface_brightness_and_from_flux(tmp_path):
    scale = 0.06
    area = ((scale * u.arcsec) ** 2).to_value(u.sr)
    flux = blob(scale=scale)  # of 1 Jy in all
    image(flux / area / 1e6, scale=scale, BUNIT='MJy/sr').writeto(tmp_path / 'b-sb.fits')
    image(flux * 1e9, scale=scale, BUNIT='nJy').writeto(tmp_path / 'b-flux.fits')
    cutouts = Mosaics(tmp_path / 'b-{band}.fits', pixel_scale=0.1 * u.arcsec).fetch(CENTRE, size=30)
    magnitudes = cutouts.zero_point - 2.5 * np.log10(cutouts.images[0].sum(axis=(1, 2)))
    np.testing.assert_allclose(magnitudes, 8.9, atol=5e-3)


@pytest.mark.parametrize('pixel_scale', [None, 0.3 * u.arcsec])
def test_images_reprojected_by_another_tool(tmp_path, pixel_scale):
    # Interpolated from pixels of 0.2 to 0.06 arcsec, without a factor.
    image(blob(scale=0.06, native=0.2), scale=0.06).writeto(tmp_path / 'r.fits')
    mosaics = Mosaics(
        tmp_path / 'r.fits',
        zero_point=22.5,
        zero_point_scale=0.2 * u.arcsec,
        pixel_scale=pixel_scale,
    )
    cutouts = mosaics.fetch(CENTRE, size=60 if pixel_scale is None else 12)
    assert cutouts.images.sum() == pytest.approx(1, abs=5e-3)
    assert cutouts.zero_point == 22.5


def test_each_band_may_have_been_reprojected_from_its_own_scale(tmp_path):
    for band, native in {'g': 0.2, 'r': 0.4}.items():
        image(blob(scale=0.06, native=native), scale=0.06).writeto(tmp_path / f'x-{band}.fits')
    scales = [0.2, 0.4] * u.arcsec
    cutouts = Mosaics(tmp_path / 'x-{band}.fits', zero_point_scale=scales).fetch(CENTRE, size=60)
    np.testing.assert_allclose(cutouts.images.sum(axis=(2, 3)), 1, atol=5e-3)
    with pytest.raises(ValueError, match='zero_point_scale has 3 values, expected one, or one for'):
        Mosaics(tmp_path / 'x-{band}.fits', zero_point_scale=[0.2, 0.4, 1] * u.arcsec)


def test_downloads_of_surface_brightness():
    images = [image(5, scale=0.06, BUNIT='MJy/sr')]
    cutouts = cut_from_images(images, CENTRE, side=8, pixel_scale=0.2 * u.arcsec)
    np.testing.assert_allclose(cutouts, 5, rtol=1e-5)


def test_sia_images_of_surface_brightness():
    sky = ramp_sky(300)
    sky.flux[:] = 5
    coords = coords_at(sky, [150.0], [140.0])

    def in_surface_brightness(answer):
        return replace(answer, body=answer.content.replace(b"'nanomaggy'", b"'MJy/sr'   "))

    faults = lambda request: in_surface_brightness if '/ibe/' in request.path else None  # noqa: E731
    with serve(sky, faults=faults) as server:
        ids = {'sia': (f'{server.url}/SIA', None)}
        survey = replace(
            surveys.get('sdss'), ids=ids, service='SiaImages', zero_point=None, unit='MJy/sr'
        )
        source = SiaImages(survey, bands='g', pixel_scale=1 * u.arcsec, cache=False)
        cutouts = source.fetch(coords, size=8)
    np.testing.assert_allclose(cutouts.images, 5, rtol=1e-5)
    expected = 8.9 - 2.5 * np.log10(1e6 * (1 * u.arcsec).to_value(u.rad) ** 2)
    assert cutouts.zero_point == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize('service', ['hips2fits', 'skyview'])
@pytest.mark.parametrize(('unit', 'power'), [('MJy/sr', 0), ('', 2)])
def test_services_that_draw_on_any_grid(service, unit, power):
    sky = ramp_sky(300)
    coords = coords_at(sky, [150.0, 160.0], [140.0, 145.0])
    ids = {'skyview': {'g': 'SDSSg', 'r': 'SDSSr'}}
    survey = replace(surveys.get('sdss'), unit=unit, zero_point=None, ids=ids)
    sky.survey = survey
    with serve(sky) as server:
        make, path = {
            'hips2fits': (Hips2Fits, '/hips-image-services/hips2fits'),
            'skyview': (SkyView, '/current/cgi/basicform.pl'),
        }[service]
        options = {'bands': 'g', 'pixel_scale': 0.8 * u.arcsec, 'cache': False}
        cutouts = make(survey, server=server.url + path, **options).fetch(coords, size=16)
    expected = np.array([150, 160]) * (0.8 / 0.396) ** power
    np.testing.assert_allclose(cutouts.images.mean(axis=(1, 2, 3)), expected, rtol=1e-3)


def test_images_of_mast_in_surface_brightness_become_nanomaggies():
    hdu = _calibrate(image(5, scale=0.06, BUNIT='MJy/sr'), fits.Header())
    expected = (5 * u.MJy / u.sr * (0.06 * u.arcsec) ** 2).to_value(
        u.nmgy, u.zero_point_flux(3631 * u.Jy)
    )
    np.testing.assert_allclose(hdu.data, expected, rtol=1e-3)
    cutouts = cut_from_images([hdu], CENTRE, side=8, pixel_scale=0.12 * u.arcsec)
    np.testing.assert_allclose(cutouts, 4 * expected, rtol=1e-3)
