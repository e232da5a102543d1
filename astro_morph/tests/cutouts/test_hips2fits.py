# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `Hips2Fits` with the real astroquery client and a server on loopback."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_morph import conf, surveys
from astro_morph.cutouts import Hips2Fits
from astro_morph.cutouts.services import fields
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.simulation.services import faults
from astro_morph.tests.helpers import gaussian, moments
from astro_morph.tests.skies import coords_at, ramp_sky

PATH = '/hips-image-services/hips2fits'
X, Y = np.array([[150.0, 400.3, 467.8, 900.5, 1300.2], [200.0, 1100.6, 1030.1, 700.5, 450.9]])


@pytest.fixture(autouse=True)
def _quick():
    with conf.set_temp('requests_per_second', 1000.0):
        yield


@pytest.fixture(scope='module')
def sky():
    return ramp_sky()


def make_source(server, survey='sdss-dr9', *, bands='gr', cache=False, **options):
    return Hips2Fits(survey, bands=bands, server=server.url + PATH, cache=cache, **options)


@pytest.mark.parametrize('size', [32, 33])
def test_a_cutout_is_centred_on_its_source(sky, monkeypatch, size):
    monkeypatch.setattr(fields, '_COST_OF_REQUEST', 0)
    with serve(sky) as server:
        cutouts = make_source(server).fetch(coords_at(sky, X, Y), size=size)
        assert len(server.requests) == 2 * len(X)
    assert cutouts.shape == (len(X), 2, size, size)
    # North up, east left: the columns of the sky grow to the right, its rows upwards.
    steps = np.arange(size) - (size - 1) / 2
    # Away from its centre, the sky's own grid is turned: by 0.2 degrees at most.
    tolerance = 0.005 * size
    np.testing.assert_allclose(
        cutouts.images[:, 0].mean(axis=1), X[:, None] + steps, atol=tolerance
    )
    np.testing.assert_allclose(
        cutouts.images[:, 1].mean(axis=2), Y[:, None] + steps, atol=tolerance
    )
    np.testing.assert_allclose(cutouts.images.mean(axis=(2, 3)), np.stack([X, Y], 1), atol=2e-3)


def test_sources_in_a_shared_field_are_centred_too(sky):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(600, 900, (2, 20))
    with serve(sky) as server:
        cutouts = make_source(server).fetch(coords_at(sky, x, y), size=32)
        assert len(server.requests) == 2
    np.testing.assert_allclose(cutouts.images.mean(axis=(2, 3)), np.stack([x, y], 1), atol=5e-3)


def test_pixels_are_those_of_the_sky():
    sky = SimulatedSurvey(n_galaxies=4, bands='gri')
    # The sky's own grid and that of a cutout agree where they touch the sphere at one point.
    centre = SkyCoord(*sky.wcs.wcs.crval, unit='deg').reshape(1)
    with serve(sky) as server:
        cutouts = make_source(server, bands='irg').fetch(centre, size=33)
    expected = sky.fetch(centre, size=33).select_bands('irg')
    assert cutouts.bands == ('i', 'r', 'g')
    np.testing.assert_allclose(cutouts.images, expected.images, rtol=1e-6)


@pytest.mark.parametrize('scale', [0.2, 1.0])
def test_the_pixel_scale_is_that_asked_for(sky, scale):
    with serve(sky) as server:
        source = make_source(server, pixel_scale=scale * u.arcsec)
        cutouts = source.fetch(coords_at(sky, X[:1], Y[:1]), size=32)
    assert cutouts.pixel_scale == scale * u.arcsec
    # A pixel of another size has another share of the flux, and another step along the ramp.
    steps = np.diff(cutouts.images[0, 0].mean(axis=0))
    np.testing.assert_allclose(steps, (scale / 0.396) ** 3, rtol=1e-3)


def test_outside_and_at_the_edge(sky):
    coords = coords_at(sky, [3.0, 700.0], [700.0, 700.0])
    coords = SkyCoord([*coords, SkyCoord(10, -60, unit='deg')])
    with serve(sky) as server:
        cutouts = make_source(server).fetch(coords, size=32)
    assert list(cutouts.status) == ['ok', 'ok', 'no_coverage']
    assert np.isnan(cutouts.images[0]).mean() == pytest.approx(12 / 32, abs=0.04)
    assert list(cutouts.flags > 0) == [True, False, False]


def test_zeros_are_no_sky(sky):
    empty = ramp_sky(100)
    empty.flux *= 0
    with serve(empty) as server:
        cutouts = make_source(server).fetch(coords_at(empty, [50], [50]), size=16)
    assert list(cutouts.status) == ['no_coverage']


@pytest.mark.parametrize('n', [1, 2], ids=['alone', 'shared'])
def test_a_colour_picture(n):
    sky = ramp_sky(200)
    # A blob in the north-east of the first source, redder than white.
    blob = gaussian(200, sigma=3.0, x=-10.0, y=20.0)
    sky.flux = np.stack([blob, 3 * blob]).astype(np.float32)
    coords = coords_at(sky, [99.5, 95.5][:n], [99.5, 95.5][:n])
    with serve(sky) as server:
        cutouts = make_source(server, bands='rgb').fetch(coords, size=64)
        (request,) = server.requests
    assert request.params['hips'] == 'CDS/P/SDSS9/color'
    assert request.params['format'] == 'jpg'
    assert cutouts.kind == 'picture'
    assert cutouts.bands == ('red', 'green', 'blue')
    assert cutouts.is_ok.all()
    red, _, blue = cutouts.images[0]
    assert red.max() > 200
    assert cutouts.images.min() >= 0
    assert red.sum() > 1.5 * blue.sum()
    np.testing.assert_allclose(moments(np.where(red > 50, red, 0))[0], [-10, 20], atol=0.6)


def test_the_picture_of_an_empty_place_is_no_picture():
    sky = ramp_sky(100)
    with serve(sky) as server:
        cutouts = make_source(server, bands='rgb').fetch(SkyCoord([10], [-60], unit='deg'))
    assert list(cutouts.status) == ['no_coverage']


def test_the_other_server_is_asked_where_one_does_not_answer(sky):
    coords = coords_at(sky, X[[0, 1, 3]], Y[[0, 1, 3]])
    with serve(sky, faults=lambda request: faults.reset()) as dead, serve(sky) as alive:
        servers = [dead.url + PATH, alive.url + PATH]
        source = Hips2Fits('sdss-dr9', bands='g', server=servers, cache=False)
        with conf.set_temp('requests_at_once', 1):
            cutouts = source.fetch(coords, size=32)
        assert cutouts.is_ok.all()
        assert len(dead.requests) == 1
        assert len(alive.requests) == 3


def test_both_servers_of_the_service_are_known():
    hosts = [server.split('/')[2] for server in Hips2Fits('sdss-dr9')._servers]
    assert hosts == ['alasky.cds.unistra.fr', 'alaskybis.cds.unistra.fr']


def test_an_image_of_another_shape_is_not_taken(sky):
    def answer_less(answer):
        return replace(answer, body=other)

    coords = coords_at(sky, X[:1], Y[:1])
    with serve(sky) as server:
        source = make_source(server, bands='g')
        source.fetch(coords, size=16)
        other = server.answer(server.requests[0]).content
        server.faults = lambda request: answer_less
        assert list(source.fetch(coords, size=32).status) == ['wrong_size']


@pytest.mark.parametrize(('bands', 'named'), [('gx', r"\['x'\]"), ('rgb', r"\['rgb'\]")])
def test_bands_that_the_survey_lacks(bands, named):
    survey = replace(surveys.get('sdss-dr9'), hips_color=None)
    with pytest.raises(ValueError, match=named):
        Hips2Fits(survey, bands=bands)


@pytest.mark.remote_data
def test_live_flux(tmp_path):
    # The nucleus of Messier 106, and a place that SDSS never saw.
    coords = SkyCoord([184.73958, 100.0], [47.30397, -80.0], unit='deg')
    cutouts = Hips2Fits('sdss-dr9', bands='gri', cache=tmp_path / 'c.sqlite').fetch(coords)
    assert list(cutouts.status) == ['ok', 'no_coverage']
    image = cutouts.images[0]
    rim = np.concatenate([image[:, :4].reshape(3, -1), image[:, -4:].reshape(3, -1)], axis=1)
    assert (image[:, 28:36, 28:36].mean(axis=(1, 2)) > 2 * np.median(rim, axis=1)).all()
    for band in image:
        peak = np.unravel_index(band.argmax(), band.shape)
        assert np.abs(np.subtract(peak, 31.5)).max() < 4


@pytest.mark.remote_data
def test_live_picture(tmp_path):
    coord = SkyCoord([184.73958], [47.30397], unit='deg')
    cutouts = Hips2Fits('sdss-dr9', bands='rgb', cache=tmp_path / 'c.sqlite').fetch(coord)
    assert list(cutouts.status) == ['ok']
    centre, rim = cutouts.images[0, :, 28:36, 28:36], cutouts.images[0, :, :4]
    assert (centre.mean(axis=(1, 2)) > rim.mean(axis=(1, 2))).all()
