# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `DjaCutouts` with plain requests and a server on loopback."""

import io
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astro_morph import conf, decode_flags, surveys
from astro_morph.cutouts import DjaCutouts
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Answer, Server, faults
from astro_morph.simulation.services.direct.dja import HANDLERS
from astro_morph.simulation.services.rendering import true_planes
from astro_morph.tests.helpers import at_corners, cut_from_sky

# The filters for the bands g, r and i of the sky.
FILTERS = ('F115W', 'F277W', 'F444W')


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey(n_galaxies=9)


@pytest.fixture
def server(sky):
    with Server(sky, HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    http._host.cache_clear()
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


def make_source(server, survey='jwst-dja', **options):
    defaults = {'bands': FILTERS, 'pixel_scale': 0.396 * u.arcsec, 'cache': False}
    return DjaCutouts(survey, server=server.url, **defaults | options)


def test_pixels_bands_variance_and_mask_in_nanomaggies(sky, server):
    pixels = [(100, 90), (150, 130), (101, 200)]
    source = make_source(server, bands=('F444W', 'F115W'), planes=True)
    cutouts = source.fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('F444W', 'F115W')
    assert cutouts.zero_point.tolist() == [22.5, 22.5]
    assert cutouts.is_ok.all()
    # The sky has g, r and i.
    for (x, y), *found in zip(pixels, cutouts.images, cutouts.variance, cutouts.mask, strict=True):
        part = slice(y - 16, y + 16), slice(x - 16, x + 16)
        for i, band in enumerate('ig'):
            image, variance, mask = (plane[i] for plane in found)
            true_variance, is_bad = (plane[part] for plane in true_planes(sky, band))
            expected = cut_from_sky(sky, x, y, 32)[sky.bands.index(band)]
            np.testing.assert_array_equal(mask, is_bad)
            np.testing.assert_allclose(image[~is_bad], expected[~is_bad], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(variance[~is_bad], true_variance[~is_bad], rtol=0.05)


def test_a_field_is_one_request_of_half_its_width(sky, server):
    source = make_source(server)
    coords = at_corners(sky, (100, 90), (120, 100))
    assert source.plan(coords, size=32).n_requests == 1
    cutouts = source.fetch(coords, size=32)
    assert cutouts.is_ok.all()
    assert cutouts.variance is cutouts.mask is None
    (request,) = server.requests
    assert request.params['output'] == 'fits'
    assert request.params['filters'] == 'f115w-clear,f277w-clear,f444w-clear'
    # Twenty pixels apart, 32 wide, and a margin.
    assert 26 * 0.396 < float(request.params['size']) < 40 * 0.396


def test_coarse_cutouts_share_no_larger_fields(sky, server):
    # The archive sends pixels of 0.05 arcsec.
    coords = SkyCoord([150.0, 150.0135], [2.0, 2.0], unit='deg')
    for scale, n_requests in ((0.05, 1), (0.4, 2)):
        source = make_source(server, pixel_scale=scale * u.arcsec)
        assert source.plan(coords, size=16).n_requests == n_requests


def test_a_filter_without_image_is_flagged(sky, server):
    cutouts = make_source(server, bands=('F277W', 'F200W')).fetch(at_corners(sky, (100, 90)))
    assert cutouts.is_ok.all()
    assert np.isnan(cutouts.images[0, 1]).all()
    assert 'missing_band' in decode_flags(cutouts.flags[0])


def test_filters_of_other_cameras_are_named_in_the_survey(sky, server):
    miri = replace(surveys.get('jwst-dja'), bands=('MIRI',), ids={'dja': {'MIRI': 'f770w'}})
    sky = SimulatedSurvey(n_galaxies=4, bands='rz')
    with Server(sky, HANDLERS) as server:
        cutouts = make_source(server, miri, bands=None).fetch(at_corners(sky, (60, 60)), size=16)
    flux = cut_from_sky(sky, 60, 60, 16)[1]
    is_known = np.isfinite(cutouts.images[0, 0])
    assert is_known.mean() > 0.8
    np.testing.assert_allclose(cutouts.images[0, 0][is_known], flux[is_known], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('names', 'bands'),
    [
        ({'NIRCam': 'f277w-clear', 'NIRISS': 'clearp-f277w'}, 'ry'),
        ({'NIRISS': 'clearp-f277w', 'NIRCam': 'f277w-clear'}, 'yr'),
    ],
)
def test_filters_of_two_cameras_are_not_confused(names, bands):
    sky = SimulatedSurvey('panstarrs', n_galaxies=4, bands='ry')
    check_own_filters(sky, names, bands)


def test_a_filter_behind_another_has_a_name_of_its_own():
    sky = SimulatedSurvey(n_galaxies=4, bands='ui')
    check_own_filters(sky, {'F444W': 'f444w-clear', 'F466N': 'f444w-f466n'}, 'iu')


def check_own_filters(sky, names, bands):
    """Check that each band of a survey has the flux of that of the sky."""
    own = replace(surveys.get('jwst-dja'), bands=tuple(names), ids={'dja': names})
    with Server(sky, HANDLERS) as server:
        source = make_source(server, own, bands=None, pixel_scale=sky.pixel_scale)
        cutouts = source.fetch(at_corners(sky, (60, 60)), size=16)
    for image, band in zip(cutouts.images[0], bands, strict=True):
        flux = cut_from_sky(sky, 60, 60, 16)[sky.bands.index(band)]
        is_known = np.isfinite(image)
        assert is_known.mean() > 0.8
        np.testing.assert_allclose(image[is_known], flux[is_known], rtol=1e-4, atol=1e-4)


def test_no_coverage_is_remembered(sky, server, tmp_path):
    coords = SkyCoord([*at_corners(sky, (100, 90)), SkyCoord(10, 50, unit='deg')])
    for _ in range(2):
        source = make_source(server, cache=tmp_path / 'cutouts.sqlite', planes=True)
        assert source.fetch(coords).status.tolist() == ['ok', 'no_coverage']
        assert len(server.requests) == 2


def test_the_edge_of_a_mosaic(sky, server):
    cutouts = make_source(server, bands=['F277W'], planes=True).fetch(
        at_corners(sky, (10, 90)), size=32
    )
    assert cutouts.mask[0, 0, :, :6].all()
    assert np.isnan(cutouts.images[0, 0, :, :6]).all()
    assert 'partial_coverage' in decode_flags(cutouts.flags[0])


def in_unit(unit):
    """Return a fault that names another unit."""

    def fault(answer):
        with fits.open(io.BytesIO(answer.content)) as hdus:
            for hdu in hdus:
                hdu.header['BUNIT'] = unit
            content = io.BytesIO()
            hdus.writeto(content)
        return Answer(content.getvalue(), answer.content_type)

    return fault


def test_the_unit_of_the_header_is_used(sky, server):
    coords = at_corners(sky, (100, 90))
    source = make_source(server, bands=['F277W'], planes=True)
    ours = source.fetch(coords, size=16)
    server.faults = lambda request: in_unit('nJy')
    fainter = source.fetch(coords, size=16)
    np.testing.assert_allclose(10 * fainter.images, ours.images, rtol=1e-5)
    np.testing.assert_allclose(100 * fainter.variance, ours.variance, rtol=1e-5)


@pytest.mark.parametrize(
    ('fault', 'status', 'n_tries'),
    [
        (faults.status(429), 'http_429', 2),
        (faults.status(503), 'http_503', 2),
        (faults.status(400), 'http_400', 1),
        (faults.html(), 'not_an_image', 1),
        (faults.truncated(0.2), 'truncated', 1),
        (faults.broken(), 'connection', 2),
        (faults.reset(), 'connection', 2),
        (in_unit('electron/s'), 'not_calibrated', 1),
        (in_unit('MJy/sr'), 'not_calibrated', 1),
    ],
)
def test_faults(sky, server, fault, status, n_tries):
    server.faults = [fault] * n_tries
    source, coords = make_source(server, planes=True), at_corners(sky, (100, 90))
    assert source.fetch(coords).status.tolist() == [status]
    assert len(server.requests) == n_tries
    assert source.fetch(coords).is_ok.all()


def test_what_the_archive_has_not():
    with pytest.raises(ValueError, match=r"no name of \['F070W'\] in ids\['dja'\]"):
        DjaCutouts(bands=['F070W', 'F444W'])
    with pytest.raises(ValueError, match='no colour pictures'):
        DjaCutouts(bands='rgb')


@pytest.mark.remote_data
def test_live():
    """A field of CEERS, and a place that neither JWST nor HST saw."""
    coords = SkyCoord([214.91455, 10.0], [52.943023, -60.0], unit='deg')
    source = DjaCutouts(bands=['F200W', 'F444W'], planes=True, cache=False)
    cutouts = source.fetch(coords, size=64)
    assert cutouts.status.tolist() == ['ok', 'no_coverage']
    # Between 27 and 33 magnitudes a pixel.
    noise = np.sqrt(np.nanmedian(cutouts.variance[0], axis=(1, 2)))
    assert (noise > 1e-5).all()
    assert (noise < 1e-2).all()
    spread = np.nanstd(cutouts.images[0], axis=(1, 2))
    assert (spread > 0.3 * noise).all()
