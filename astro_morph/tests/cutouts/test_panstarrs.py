# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `PanStarrsCutouts` with plain requests and a server on loopback."""

import io

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astro_morph import conf, decode_flags
from astro_morph.cutouts import PanStarrsCutouts
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Answer, Server, faults
from astro_morph.simulation.services.direct.panstarrs import HANDLERS, STACK
from astro_morph.simulation.services.rendering import true_planes
from astro_morph.tests.helpers import at_corners, cut_from_sky, moments


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey('panstarrs', n_galaxies=16)


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


def make_source(server, **options):
    return PanStarrsCutouts(server=server.url, **{'bands': 'gri', 'cache': False} | options)


def paths(server):
    return [request.path.rpartition('/')[2] for request in server.requests]


def truth(sky, x, y, side, bands):
    """Return the pixels around a corner: the image, the variance, and which of them are bad."""
    half = side // 2
    part = slice(y - half, y + half), slice(x - half, x + half)
    planes = [true_planes(sky, band) for band in bands]
    image = cut_from_sky(sky, x, y, side)[[sky.bands.index(band) for band in bands]]
    return image, *(np.stack([plane[i][part] for plane in planes]) for i in range(2))


def test_linear_pixels_bands_variance_and_mask(sky, server):
    source = make_source(server, bands='ig', planes=True)
    cutouts = source.fetch(at_corners(sky, (90, 80)), size=32)
    assert cutouts.bands == ('i', 'g')
    assert cutouts.zero_point.tolist() == [22.5, 22.5]
    image, variance, is_bad = truth(sky, 90, 80, 32, 'ig')
    np.testing.assert_array_equal(cutouts.mask[0], is_bad)
    # Masked pixels are not interpolated.
    is_known = np.isfinite(cutouts.images[0])
    assert is_known[~is_bad].all()
    np.testing.assert_allclose(cutouts.images[0][is_known], image[is_known], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(cutouts.variance[0], variance, rtol=1e-3)


def test_stacks_are_turned_to_north_up(sky, server):
    # The brightest galaxy in the second column of stacks, of which the first is not turned.
    flux = sky.flux[0][:, STACK : STACK + 200]
    y, x = np.unravel_index(flux.argmax(), flux.shape) + np.array([0, STACK])
    coords = at_corners(sky, (x, y))
    image, variance, is_bad = truth(sky, x, y, 32, 'ig')
    plain = make_source(server, bands='ig').fetch(coords, size=32)
    light = image.sum(axis=(1, 2))
    assert (light > 20 * np.sqrt(variance.sum(axis=(1, 2)))).all()
    np.testing.assert_allclose(plain.images[0].sum(axis=(1, 2)), light, rtol=0.02)
    centres = [moments(np.maximum(some, 0))[0] for some in (plain.images[0, 0], image[0])]
    np.testing.assert_allclose(*centres, atol=0.1)
    cutouts = make_source(server, bands='ig', planes=True).fetch(coords, size=32)
    np.testing.assert_allclose(
        np.nanmedian(cutouts.variance[0], axis=(1, 2)), np.median(variance, axis=(1, 2)), rtol=0.1
    )
    # Most of what a bad pixel touches is bad.
    assert cutouts.mask[0][is_bad].mean() > 0.5
    assert 0.5 * is_bad.mean() < cutouts.mask[0].mean() < 2 * is_bad.mean()


def test_one_list_for_all_bands_and_the_kinds_that_are_asked_for(sky, server):
    coords = at_corners(sky, (90, 80))
    with conf.set_temp('requests_at_once', 1):
        cutouts = make_source(server).fetch(coords, size=32)
        assert cutouts.variance is cutouts.mask is None
        assert paths(server) == ['ps1filenames.py', *['fitscut.cgi'] * 3]
        assert server.requests[0].params['type'] == 'stack'
        make_source(server, bands='g', planes=True).fetch(coords, size=32)
    assert paths(server)[4:] == ['ps1filenames.py', *['fitscut.cgi'] * 3]
    assert server.requests[4].params['type'] == 'stack,stack.wt,stack.mask'


def test_a_cutout_on_the_edge_of_a_stack_is_completed_from_the_next(sky, server):
    # Stacks meet half-way between their centres, where each has still some pixels.
    x = STACK - 42
    cutouts = make_source(server, bands='g').fetch(at_corners(sky, (x, 90)), size=64)
    files = {request.params.get('red') for request in server.requests} - {None}
    assert len(files) > 1
    assert not np.isnan(cutouts.images).any()
    image, variance, _ = truth(sky, x, 90, 64, 'g')
    assert np.std(cutouts.images[0] - image) < 0.6 * np.sqrt(variance.mean())


def test_outside_the_survey(sky, server, tmp_path):
    coords = SkyCoord([*at_corners(sky, (90, 80)), SkyCoord(180, -60, unit='deg')])
    source = make_source(server, cache=tmp_path / 'cutouts.sqlite', planes=True)
    cutouts = source.fetch(coords)
    assert cutouts.status.tolist() == ['ok', 'no_coverage']
    # No neighbour is looked for where there is no stack.
    assert paths(server).count('ps1filenames.py') == 2
    n_requests = len(server.requests)
    np.testing.assert_array_equal(source.fetch(coords).images, cutouts.images)
    assert len(server.requests) == n_requests


def in_asinh_stretch(answer):
    """Send counts as in the stacks that are downloaded whole."""
    with fits.open(io.BytesIO(answer.content)) as hdus:
        softening, offset = 30.0, 2.0
        hdus[0].data = 2.5 / np.log(10) * np.arcsinh((hdus[0].data - offset) / 2 / softening)
        hdus[0].header.update(BSOFTEN=softening, BOFFSET=offset)
        content = io.BytesIO()
        hdus.writeto(content)
    return Answer(content.getvalue(), answer.content_type)


def test_an_asinh_stretch_is_undone(sky, server):
    source, coords = make_source(server, bands='r', planes=True), at_corners(sky, (90, 80))
    linear = source.fetch(coords, size=32)
    is_stretched = ('.unconv.fits', '.wt.fits')
    server.faults = lambda request: (
        in_asinh_stretch if request.params.get('red', '').endswith(is_stretched) else None
    )
    stretched = source.fetch(coords, size=32)
    np.testing.assert_allclose(stretched.images, linear.images, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(stretched.variance, linear.variance, rtol=1e-3)
    np.testing.assert_array_equal(stretched.mask, linear.mask)


def without_exposure(answer):
    with fits.open(io.BytesIO(answer.content)) as hdus:
        del hdus[0].header['EXPTIME']
        content = io.BytesIO()
        hdus.writeto(content)
    return Answer(content.getvalue(), answer.content_type)


@pytest.mark.parametrize(
    ('path', 'fault', 'status'),
    [
        ('ps1filenames.py', faults.status(503), 'http_503'),
        ('ps1filenames.py', faults.html(), 'not_an_image'),
        ('ps1filenames.py', faults.status(200, ''), 'not_an_image'),
        ('ps1filenames.py', faults.status(200, b'\xff\xfe\x00'), 'not_an_image'),
        ('fitscut.cgi', faults.status(404), 'http_404'),
        ('fitscut.cgi', faults.status(429), 'http_429'),
        ('fitscut.cgi', faults.html(), 'not_an_image'),
        ('fitscut.cgi', faults.truncated(), 'truncated'),
        ('fitscut.cgi', faults.reset(), 'connection'),
        ('fitscut.cgi', without_exposure, 'no_zero_point'),
    ],
)
def test_faults(sky, server, path, fault, status):
    server.faults = lambda request: fault if request.path.endswith(path) else None
    coords = at_corners(sky, (90, 80))
    assert make_source(server, bands='r').fetch(coords).status.tolist() == [status]
    # A fault in one band leaves the others.
    server.faults = lambda request: fault if '.r.' in request.params.get('red', '') else None
    cutouts = make_source(server).fetch(coords)
    assert cutouts.is_ok.all()
    is_spared = path == 'ps1filenames.py' and fault is not None
    assert ('missing_band' in decode_flags(cutouts.flags)[0]) or is_spared


def test_sources_of_one_field_on_many_stacks():
    sky = SimulatedSurvey('panstarrs', n_galaxies=40, bands='r')
    with Server(sky, HANDLERS) as server:
        source = make_source(server, bands='r')
        assert source.plan(sky.catalogue, size=24).n_requests < 4
        cutouts = source.fetch(sky.catalogue, size=24)
        files = [request.params['red'] for request in server.requests if 'red' in request.params]
    assert cutouts.is_ok.all()
    # Each stack once a field.
    assert 6 < len(files) < 30


def test_coarse_cutouts_share_no_larger_fields(sky, server):
    coords = at_corners(sky, (60, 70), (260, 250))
    fine = make_source(server, bands='r', pixel_scale=0.25 * u.arcsec)
    assert fine.plan(coords, size=16).n_requests == 1
    coarse = make_source(server, bands='r', pixel_scale=15 * u.arcsec)
    assert coarse.plan(coords, size=16).n_requests == 2


def test_sources_on_both_sides_of_the_edge_of_the_survey(sky, server):
    # They share a field whose centre is outside.
    coords = sky.wcs.pixel_to_world([-150, 20], [60, 60])
    source = make_source(server, bands='r')
    assert source.plan(coords, size=16).n_requests == 1
    assert source.fetch(coords, size=16).status.tolist() == ['no_coverage', 'ok']


def test_what_the_archive_has_not():
    with pytest.raises(ValueError, match="has no 'panstarrs' in its ids"):
        PanStarrsCutouts('sdss-dr9')
    with pytest.raises(ValueError, match='no colour pictures'):
        PanStarrsCutouts(bands='rgb')
    with pytest.raises(ValueError, match=r"panstarrs-dr1 has no \['u'\], only \['g', 'r', 'i'"):
        PanStarrsCutouts(bands='ur')


@pytest.mark.remote_data
def test_live():
    """NGC 3044: 14 to 23 magnitudes an arcsec**2 in its middle; the far south has no stacks."""
    coords = SkyCoord([148.4204, 0.0], [1.5797, -60.0], unit='deg')
    cutouts = PanStarrsCutouts(bands='gr', planes=True, cache=False).fetch(coords)
    assert cutouts.status.tolist() == ['ok', 'no_coverage']
    middle = np.nanmean(cutouts.images[0, :, 28:36, 28:36], axis=(1, 2)) / 0.25**2
    assert (np.abs(22.5 - 2.5 * np.log10(middle) - 18.5) < 4.5).all()
    # The depth of the survey: noise of 0.01 to 0.2 nanomaggies a pixel.
    noise = np.sqrt(np.nanmedian(cutouts.variance[0], axis=(1, 2)))
    assert ((noise > 0.005) & (noise < 0.3)).all()
