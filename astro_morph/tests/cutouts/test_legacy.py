# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `LegacyCutouts` with plain requests and a server on loopback."""

import io
import itertools
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astro_morph import conf, decode_flags, surveys
from astro_morph.cutouts import LegacyCutouts
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Answer, Server, faults
from astro_morph.simulation.services.direct import legacy
from astro_morph.simulation.services.direct.legacy import HANDLERS
from astro_morph.simulation.services.rendering import true_planes
from astro_morph.tests.helpers import at_corners, cut_from_sky


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey('legacy', n_galaxies=9, bands='grz')


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


def make_source(server, survey='legacy-dr9', **options):
    return LegacyCutouts(survey, server=server.url, **{'cache': False} | options)


def middle(sky):
    """Return the position at which the grid of a cutout is that of the sky, and its pixel."""
    x, y = np.rint(sky.wcs.wcs.crpix - 1).astype(int)
    return sky.wcs.pixel_to_world([x], [y]), (x, y)


def test_pixels_bands_variance_and_mask(sky, server):
    coord, (x, y) = middle(sky)
    cutouts = make_source(server, bands='zg', planes=True).fetch(coord, size=33)
    assert cutouts.bands == ('z', 'g')
    assert cutouts.zero_point.tolist() == [22.5, 22.5]
    part = slice(y - 16, y + 17), slice(x - 16, x + 17)
    for i, band in enumerate('zg'):
        variance, is_bad = (plane[part] for plane in true_planes(sky, band))
        expected = sky.flux[sky.bands.index(band)][part]
        np.testing.assert_allclose(cutouts.images[0, i], expected, atol=1e-5)
        np.testing.assert_array_equal(cutouts.mask[0, i], is_bad)
        # The variance of every other bad pixel is not known.
        is_known = np.isfinite(cutouts.variance[0, i])
        np.testing.assert_allclose(cutouts.variance[0, i][is_known], variance[is_known], rtol=1e-5)
        assert is_bad.any()
        assert (~is_known & ~is_bad).sum() == 0
    assert decode_flags(cutouts.flags) == [['missing_pixels']]


def test_without_planes_none_are_asked_for(sky, server):
    cutouts = make_source(server).fetch(middle(sky)[0], size=16)
    assert cutouts.variance is cutouts.mask is None
    (request,) = server.requests
    assert request.params.keys() == {
        *('ra', 'dec', 'layer', 'pixscale', 'width', 'height', 'bands')
    }
    assert request.params['layer'] == 'ls-dr9'
    assert request.params['bands'] == 'grz'


def test_sources_share_one_request(sky, server):
    pixels = [(60, 70), (90, 80), (120, 100)]
    cutouts = make_source(server, planes=True).fetch(at_corners(sky, *pixels), size=32)
    assert len(server.requests) == 1
    for image, mask, (x, y) in zip(cutouts.images, cutouts.mask, pixels, strict=True):
        # Interpolation changes the noise, and not the galaxies.
        difference = np.nanstd(image - cut_from_sky(sky, x, y, 32), axis=(1, 2))
        noise = [np.sqrt(true_planes(sky, band)[0].mean()) for band in 'grz']
        assert (difference < 0.7 * np.array(noise)).all()
        columns = np.flatnonzero(true_planes(sky, 'g')[1][0, x - 16 : x + 16])
        assert mask[:, :, columns].mean() > 0.95
        assert np.isfinite(image).mean() > 0.85


@pytest.mark.parametrize('scale', [0.131, 0.3])
def test_flux_and_variance_are_those_of_a_pixel_of_the_cutout(sky, server, scale):
    coord, _ = middle(sky)
    native = make_source(server, planes=True).fetch(coord, size=33)
    cutouts = make_source(server, planes=True, pixel_scale=scale * u.arcsec).fetch(coord, size=33)
    area = (scale / 0.262) ** 2
    variances = [np.nanmedian(some.variance, axis=(2, 3)) for some in (cutouts, native)]
    # Finer pixels are not independent: a sum over as much sky has the same error.
    expected = area if area < 1 else area**2
    np.testing.assert_allclose(variances[0] / variances[1], expected, rtol=0.05)
    at_centre = cutouts.images[0, :, 16, 16], native.images[0, :, 16, 16]
    if scale < 0.262:
        np.testing.assert_allclose(at_centre[0] / at_centre[1], area, rtol=1e-3)


def test_coarse_cutouts_have_no_planes(sky, server):
    source = make_source(server, planes=True, pixel_scale=0.6 * u.arcsec)
    cutouts = source.fetch(middle(sky)[0], size=16)
    assert cutouts.is_ok.all()
    assert cutouts.variance is cutouts.mask is None


def test_the_edge_and_a_band_that_the_layer_lacks(sky, server):
    coords = at_corners(sky, (100, 90), (10, 90))
    cutouts = make_source(server, 'legacy-dr10', bands='gi', planes=True).fetch(coords, size=32)
    assert cutouts.is_ok.all()
    flags = decode_flags(cutouts.flags)
    assert {'missing_pixels', 'missing_band'} <= {*flags[0]}
    assert {'partial_coverage', 'missing_band'} <= {*flags[1]}
    assert np.isnan(cutouts.images[:, 1]).all()
    assert np.isnan(cutouts.images[1, 0, :, :6]).all()
    # What lies outside cannot be used.
    assert cutouts.mask[1, 0, :, 0].all()


@pytest.mark.parametrize(
    ('dec', 'status'), [(-89.0, 'no_coverage'), (80.0, 'http_500')], ids=['outside', 'inside']
)
def test_an_error_of_the_server_means_no_coverage_outside_of_the_outline(
    sky, server, tmp_path, dec, status
):
    # The viewer has no other answer for a place where it draws nothing.
    source = make_source(server, cache=tmp_path / 'cutouts.sqlite')
    coord = SkyCoord([180.0], [dec], unit='deg')
    for _ in range(2):
        assert source.fetch(coord).status.tolist() == [status]
    assert len(server.requests) == (1 if status == 'no_coverage' else 2)


def test_one_request_at_a_time(sky):
    # So far apart that each is a request.
    coords = SkyCoord([*at_corners(sky, (60, 70)), SkyCoord(181, 5, unit='deg')])
    coords = SkyCoord([*coords, SkyCoord(182, 5, unit='deg'), SkyCoord(183, 5, unit='deg')])
    with Server(sky, HANDLERS, delay=0.05) as server:
        make_source(server, bands='g').fetch(coords, size=8)
        times = sorted((request.started, request.ended) for request in server.requests)
    assert len(times) == 4
    # The end of an answer is logged after it was sent.
    assert all(first[0] + 0.05 <= second[0] for first, second in itertools.pairwise(times))


def test_an_image_that_the_server_makes_smaller_is_not_taken(sky, server, monkeypatch):
    monkeypatch.setattr(legacy, '_LARGEST', 20)
    assert make_source(server).fetch(middle(sky)[0], size=32).status.tolist() == ['wrong_size']


def change(edit):
    """Return a fault that edits the HDUs of the answer."""

    def fault(answer):
        with fits.open(io.BytesIO(answer.content)) as hdus:
            edit(hdus)
            content = io.BytesIO()
            hdus.writeto(content)
        return Answer(content.getvalue(), answer.content_type)

    return fault


def cut_plane(kind):
    def edit(hdus):
        (hdu,) = (hdu for hdu in hdus if hdu.header['IMAGETYP'] == kind)
        hdu.data = hdu.data[..., :5, :5]

    return edit


@pytest.mark.parametrize(
    ('edit', 'status'),
    [
        (lambda hdus: hdus[0].header.remove('BANDS'), 'not_an_image'),
        (lambda hdus: hdus[0].header.set('BANDS', 'g'), 'not_an_image'),
        (cut_plane('IMAGE'), 'wrong_size'),
        (cut_plane('INVVAR'), 'wrong_size'),
        (cut_plane('MASKBITS'), 'wrong_size'),
    ],
    ids=['no bands', 'few bands', 'image', 'inverse variance', 'mask'],
)
def test_an_answer_that_contradicts_itself_is_not_taken(sky, server, edit, status):
    server.faults = [change(edit)]
    source = make_source(server, bands='gr', planes=True)
    assert source.fetch(middle(sky)[0], size=16).status.tolist() == [status]


def test_bands_are_those_of_the_header(sky, server):
    coord, _ = middle(sky)
    expected = make_source(server, bands='rg').fetch(coord, size=16)
    # As when a layer lacks a band, and all are sent in its own order.
    server.faults = [change(lambda hdus: hdus[0].header.set('BANDS', 'rg'))]
    swapped = make_source(server, bands='gr').fetch(coord, size=16)
    np.testing.assert_array_equal(swapped.images, expected.images)


def test_a_layer_with_a_zero_point_of_its_own(sky, server):
    own = replace(surveys.get('legacy-dr9'), name='mine', zero_point=np.array([27.0, 26.0, 25.0]))
    cutouts = make_source(server, own, bands='zg').fetch(middle(sky)[0], size=16)
    assert cutouts.zero_point.tolist() == [25.0, 27.0]


@pytest.mark.parametrize('name', ['legacy-dr9', 'mine'])
def test_layers_of_one_name_are_cached_apart(sky, server, tmp_path, name):
    coord, _ = middle(sky)
    for layer in ('ls-dr9', 'ls-dr9-north', 'ls-dr9'):
        own = replace(surveys.get('legacy-dr9'), name=name, ids={'legacy': layer})
        make_source(server, own, cache=tmp_path / 'cutouts.sqlite').fetch(coord, size=16)
    assert [request.params['layer'] for request in server.requests] == ['ls-dr9', 'ls-dr9-north']


def test_planes_are_cached_apart(sky, server, tmp_path):
    cache, (coord, _) = tmp_path / 'cutouts.sqlite', middle(sky)
    for planes in (False, True):
        for _ in range(2):
            cutouts = make_source(server, planes=planes, cache=cache).fetch(coord, size=16)
            assert (cutouts.variance is not None) == planes
            assert (cutouts.mask is not None) == planes
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ('fault', 'status', 'n_tries'),
    [
        (faults.status(429), 'http_429', 2),
        (faults.status(503), 'http_503', 2),
        (faults.status(500), 'http_500', 1),
        (faults.status(400), 'http_400', 1),
        (faults.html(), 'not_an_image', 1),
        (faults.truncated(0.2), 'truncated', 1),
        (faults.broken(), 'connection', 2),
        (faults.reset(), 'connection', 2),
    ],
)
def test_faults(sky, server, fault, status, n_tries):
    server.faults = [fault] * n_tries
    source = make_source(server, planes=True)
    assert source.fetch(middle(sky)[0]).status.tolist() == [status]
    assert len(server.requests) == n_tries
    assert source.fetch(middle(sky)[0]).is_ok.all()


def test_what_the_viewer_has_not():
    with pytest.raises(ValueError, match="has no 'legacy' in its ids"):
        LegacyCutouts('sdss-dr9')
    with pytest.raises(ValueError, match='no colour pictures'):
        LegacyCutouts(bands='rgb')
    with pytest.raises(ValueError, match=r"legacy-dr9 has no \['i'\], only \['g', 'r', 'z'\]"):
        LegacyCutouts('legacy-dr9', bands='gi')
    unwise = replace(surveys.get('unwise'), ids={'legacy': 'unwise-neo7'})
    with pytest.raises(ValueError, match=r"bands has \['W1', 'W2'\], expected names of one letter"):
        LegacyCutouts(unwise)


@pytest.mark.remote_data
@pytest.mark.parametrize('survey', ['legacy-dr9', 'legacy-dr10'])
def test_live(survey):
    """NGC 3044 has 14 to 23 magnitudes an arcsec**2 in its middle; the south pole has no images."""
    coords = SkyCoord([148.4204, 0.0], [1.5797, -89.9], unit='deg')
    cutouts = LegacyCutouts(survey, bands='gr', planes=True, cache=False).fetch(coords)
    assert cutouts.status.tolist() == ['ok', 'no_coverage']
    middle = cutouts.images[0, :, 28:36, 28:36].mean(axis=(1, 2)) / 0.262**2
    assert (np.abs(22.5 - 2.5 * np.log10(middle) - 18.5) < 4.5).all()
    known = cutouts.variance[0][np.isfinite(cutouts.variance[0])]
    assert known.size > 0.5 * cutouts.variance[0].size
    assert 1e-3 < np.sqrt(np.median(known)) < 0.1
