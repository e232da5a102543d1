# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the mosaics of JWST: by the pattern of their URLs, downloaded, and by image access."""

import gzip
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from astro_morph import conf, surveys
from astro_morph.cutouts import Mosaics, SiaImages
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import HANDLERS, Server
from astro_morph.simulation.services.rendering import fits_bytes, true_planes
from astro_morph.simulation.services.server import send_range
from astro_morph.tests.helpers import at_corners, cut_from_sky

# The filters for two bands of the sky.
FILTERS = {'F277W': 'g', 'F444W': 'r'}

X, Y, SIDE = 90, 80, 16


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey(n_galaxies=9)


def per_steradian(sky):
    """Return the surface brightness in MJy/sr of a nanomaggy in a pixel of the sky."""
    area = sky.pixel_scale.to_value(u.rad) ** 2
    return 3.631e-12 / area


def product(sky, name):
    """Return a resampled product of the pipeline of JWST, with its extensions."""
    band = FILTERS[name]
    variance, is_bad = true_planes(sky, band)
    unit = per_steradian(sky)
    error = np.where(is_bad, np.nan, np.sqrt(variance)) * unit
    extensions = {
        'SCI': sky.flux[sky.bands.index(band)] * unit,
        'ERR': error,
        'CON': np.ones((2, *error.shape)),
        'WHT': np.full(error.shape, 1000.0),
        'VAR_POISSON': error**2 / 2,
    }
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP='JWST', FILTER=name)
    hdus = [
        fits.ImageHDU(pixels.astype(np.float32), sky.wcs.to_header(), name=extension)
        for extension, pixels in extensions.items()
    ]
    hdus[0].header.update(BUNIT='MJy/sr')
    return fits_bytes([primary, *hdus])


@pytest.fixture(scope='module')
def server(sky):
    files = {f'/jwst/jw01345-o001_{name.lower()}_i2d.fits': product(sky, name) for name in FILTERS}
    handlers = dict(HANDLERS)
    for path, content in files.items():
        handlers[path] = lambda sky, request, content=content: send_range(content, request)
    # Image access sends these in place of the tiles of the sky.
    handlers['/images'] = handlers['/jwst/jw01345-o001_f277w_i2d.fits']
    with Server(sky, handlers) as server:
        yield server


def test_products_at_their_urls(sky, server):
    folder = f'{server.url}/jwst/jw01345-o001'
    source = Mosaics({name: f'{folder}_{name.lower()}_i2d.fits' for name in FILTERS})
    cutouts = source.fetch(at_corners(sky, (X, Y)), size=SIDE)
    assert cutouts.bands == ('F277W', 'F444W')
    unit = per_steradian(sky)
    expected = cut_from_sky(sky, X, Y, SIDE)[:2] * unit
    np.testing.assert_allclose(cutouts.images[0], expected, rtol=1e-4, atol=1e-4 * unit)
    # One MJy/sr in a pixel of this scale.
    np.testing.assert_allclose(cutouts.zero_point, 22.5 + 2.5 * np.log10(unit), atol=1e-3)
    part = slice(Y - SIDE // 2, Y + SIDE // 2), slice(X - SIDE // 2, X + SIDE // 2)
    for i, band in enumerate(FILTERS.values()):
        variance, is_bad = (plane[part] for plane in true_planes(sky, band))
        np.testing.assert_array_equal(np.isnan(cutouts.variance[0, i]), is_bad)
        known = ~is_bad
        np.testing.assert_allclose(
            cutouts.variance[0, i][known], variance[known] * unit**2, rtol=1e-4
        )


def test_mosaics_of_the_dawn_archive_that_are_downloaded(sky, tmp_path):
    ten_njy = np.float32(10 ** (0.4 * (28.9 - 22.5)))
    for name, band in FILTERS.items():
        variance, is_bad = true_planes(sky, band)
        planes = {
            'sci': np.where(is_bad, 0, sky.flux[sky.bands.index(band)] * ten_njy),
            'wht': np.where(is_bad, 0, 1 / (variance * ten_njy**2)),
        }
        for kind, pixels in planes.items():
            hdu = fits.PrimaryHDU(pixels.astype(np.float32), sky.wcs.to_header())
            hdu.header['BUNIT'] = '10.0*nanoJansky'
            path = tmp_path / f'gds-grizli-v7.2-{name.lower()}-clear_drc_{kind}.fits.gz'
            path.write_bytes(gzip.compress(fits_bytes([hdu])))
    source = Mosaics(
        {
            name: tmp_path / f'gds-grizli-v7.2-{name.lower()}-clear_drc_sci.fits.gz'
            for name in FILTERS
        }
    )
    cutouts = source.fetch(at_corners(sky, (X, Y)), size=SIDE)
    np.testing.assert_allclose(cutouts.zero_point, 28.9)
    part = slice(Y - SIDE // 2, Y + SIDE // 2), slice(X - SIDE // 2, X + SIDE // 2)
    expected = cut_from_sky(sky, X, Y, SIDE)[:2] * ten_njy
    for i, band in enumerate(FILTERS.values()):
        variance, is_bad = (plane[part] for plane in true_planes(sky, band))
        np.testing.assert_array_equal(cutouts.mask[0, i], is_bad)
        known = ~is_bad
        np.testing.assert_allclose(cutouts.images[0, i][known], expected[i][known], rtol=1e-4)
        np.testing.assert_allclose(
            cutouts.variance[0, i][known], variance[known] * ten_njy**2, rtol=1e-4
        )


def test_products_by_simple_image_access(sky, server):
    survey = replace(
        surveys.get('jwst-dja'),
        bands=('g',),
        pixel_scale=sky.pixel_scale,
        unit='MJy/sr',
        ids={'sia': (f'{server.url}/sia1', None)},
    )
    with conf.set_temp('requests_per_second', 1000.0):
        cutouts = SiaImages(survey, cache=False).fetch(at_corners(sky, (X, Y)), size=SIDE)
    unit = per_steradian(sky)
    expected = cut_from_sky(sky, X, Y, SIDE)[0] * unit
    np.testing.assert_allclose(cutouts.images[0, 0], expected, rtol=1e-4, atol=1e-4 * unit)


@pytest.mark.remote_data
def test_live():
    """A product of CEERS in the open data of MAST, in ranges."""
    url = (
        's3://stpubdata/jwst/public/jw01345/L3/t/o001/jw01345-o001_t021_nircam_clear-f444w_i2d.fits'
    )
    source = Mosaics({'F444W': url}, pixel_scale=0.06 * u.arcsec)
    tile = next(iter(source._tiles.values()))[0]
    centre = tile.image.to_sky(np.array([[n / 2 for n in tile.image.shape[::-1]]]))
    cutouts = source.fetch(centre, size=64)
    assert cutouts.is_ok.all()
    assert np.isfinite(cutouts.images).mean() > 0.5
    assert np.isfinite(cutouts.variance).mean() > 0.5
