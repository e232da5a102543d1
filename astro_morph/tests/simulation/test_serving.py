# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the local services: what astroquery's clients receive, and faults."""

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
import requests
from astropy.config import set_temp_cache
from astropy.coordinates import Angle, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astroquery import cache_conf
from astroquery.hips2fits import hips2fitsClass
from astroquery.skyview import SkyViewClass

from astro_morph import surveys
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.simulation.services import faults
from astro_morph.simulation.services.rendering import render

HIPS2FITS = '/hips-image-services/hips2fits'
SKYVIEW = '/current/cgi/basicform.pl'

# One round source, brighter in each redder band.
SOURCE = SkyCoord(150, 40, unit='deg')
WIDTH = 1.5 * u.arcsec
AMPLITUDES = {'g': 1.0, 'r': 2.0, 'i': 3.0}


def gaussian_light(wcs, shape, band):
    """Return the light at pixel centres, from their distance on the sky."""
    y, x = np.indices(shape)
    distance = wcs.pixel_to_world(x, y).icrs.separation(SOURCE)
    return AMPLITUDES[band] * np.exp(-((distance / WIDTH).to_value(u.one) ** 2) / 2)


def tangential(coords, *, shape, scale, frame='icrs', angle=0 * u.deg):
    """Return a pixel grid centred on a position."""
    wcs = WCS(naxis=2)
    axes = ('GLON', 'GLAT') if frame == 'galactic' else ('RA--', 'DEC-')
    wcs.wcs.ctype = [f'{axis}-TAN' for axis in axes]
    centre = coords.transform_to(frame).spherical
    wcs.wcs.crval = centre.lon.deg, centre.lat.deg
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2
    wcs.wcs.cdelt = np.array([-1, 1]) * scale.to_value(u.deg)
    wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    wcs.pixel_shape = shape[::-1]
    return wcs


@pytest.fixture(scope='module')
def gaussian_sky():
    """A sky without noise and with known light everywhere, on a rotated grid."""
    survey, shape = surveys.get('sdss'), (120, 100)
    wcs = tangential(SOURCE, shape=shape, scale=survey.pixel_scale, angle=20 * u.deg)
    flux = np.array([gaussian_light(wcs, shape, band) for band in AMPLITUDES], np.float32)
    return SimpleNamespace(survey=survey, bands=tuple(AMPLITUDES), wcs=wcs, flux=flux)


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey(n_galaxies=4)


@pytest.fixture
def hips2fits():
    """Return a client of a server."""

    def connect(server):
        client = hips2fitsClass()
        client.server = server.url + HIPS2FITS
        return client

    return connect


@pytest.fixture
def skyview(tmp_path):
    """Return a client of a server, whose cache is removed after the test."""

    def connect(server):
        client = SkyViewClass()
        client.URL = server.url + SKYVIEW
        return client

    with set_temp_cache(tmp_path), cache_conf.set_temp('cache_active', False):
        yield connect


GRIDS = {
    'half a pixel off': tangential(SOURCE, shape=(40, 41), scale=0.396 * u.arcsec),
    'turned': tangential(SOURCE, shape=(40, 40), scale=0.396 * u.arcsec, angle=75 * u.deg),
    'finer': tangential(SOURCE, shape=(40, 50), scale=0.15 * u.arcsec),
    'galactic': tangential(SOURCE, shape=(40, 40), scale=0.396 * u.arcsec, frame='galactic'),
}


@pytest.mark.parametrize('wcs', GRIDS.values(), ids=GRIDS.keys())
def test_sky_is_right_on_any_grid(gaussian_sky, wcs):
    expected = gaussian_light(wcs, wcs.array_shape, 'r')
    np.testing.assert_allclose(render(gaussian_sky, wcs, wcs.array_shape, 'r'), expected, atol=0.01)


def test_larger_pixels_show_the_mean_of_the_sky_under_them(gaussian_sky):
    coarse = tangential(SOURCE, shape=(16, 16), scale=4 * 0.396 * u.arcsec)
    fine = tangential(SOURCE, shape=(64, 64), scale=0.396 * u.arcsec)
    expected = gaussian_light(fine, (64, 64), 'g').reshape(16, 4, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(render(gaussian_sky, coarse, (16, 16), 'g'), expected, atol=0.005)


def test_outside_the_sky_there_is_nothing(sky):
    ny, nx = sky.flux.shape[1:]
    wcs = sky.wcs.deepcopy()
    wcs.wcs.crpix = wcs.wcs.crpix - [nx - 10, ny - 20]
    image = render(sky, wcs, (32, 32), 'r')
    np.testing.assert_array_equal(image[:20, :10], sky.flux[1, -20:, -10:])
    assert np.isnan(image[20:]).all()
    assert np.isnan(image[:, 10:]).all()
    antipode = tangential(SkyCoord(0, -5, unit='deg'), shape=(8, 8), scale=1 * u.arcsec)
    assert np.isnan(render(sky, antipode, (8, 8), 'r')).all()


def test_hips2fits_gives_the_very_pixels_of_a_band(sky, hips2fits):
    wcs = sky.wcs[30:50, 20:60]
    wcs.pixel_shape = 40, 20
    with serve(sky) as server:
        client = hips2fits(server)
        images = [client.query_with_wcs(f'CDS/P/SDSS9/{band}', wcs)[0] for band in sky.bands]
    assert images[0].data.dtype.newbyteorder('=') == np.float32
    for image, flux in zip(images, sky.flux, strict=True):
        np.testing.assert_array_equal(image.data, flux[30:50, 20:60])
        corner = WCS(image.header).pixel_to_world(0, 0)
        assert corner.separation(sky.wcs.pixel_to_world(20, 30)) < 1 * u.mas


def test_hips2fits_lays_a_grid_by_field_of_view(sky, hips2fits):
    ra, dec = sky.wcs.wcs.crval * u.deg
    x, y = np.round(sky.wcs.wcs.crpix).astype(int) - 1
    with serve(sky) as server:
        image = hips2fits(server).query(
            'CDS/P/SDSS9/r', 24, 16, 'TAN', ra, dec, Angle(24 * sky.pixel_scale)
        )[0]
    # As in the code of the service, the position is at the centre of pixel 12 of 1 to 24.
    np.testing.assert_array_equal(image.data, sky.flux[1, y - 7 : y + 9, x - 11 : x + 13])
    assert WCS(image.header).world_to_pixel(SkyCoord(ra, dec)) == pytest.approx((11, 7), abs=1e-6)


@pytest.mark.parametrize('coordsys', ['icrs', 'galactic'])
def test_hips2fits_turns_grids_as_it_says_in_the_header(gaussian_sky, hips2fits, coordsys):
    centre = SOURCE.transform_to(coordsys).spherical
    with serve(gaussian_sky) as server:
        image = hips2fits(server).query(
            'CDS/P/SDSS9/i',
            30,
            30,
            'SIN',
            centre.lon,
            centre.lat,
            Angle(10 * u.arcsec),
            coordsys=coordsys,
            rotation_angle=Angle(30 * u.deg),
        )[0]
    expected = gaussian_light(WCS(image.header), (30, 30), 'i')
    np.testing.assert_allclose(image.data, expected, atol=0.01)


def test_colour_pictures_are_as_cube_and_as_picture(sky, hips2fits):
    wcs = sky.wcs[10:60, 20:60]
    wcs.pixel_shape = 40, 50
    with serve(sky) as server:
        client = hips2fits(server)
        cube, png, jpeg = (
            client.query_with_wcs('CDS/P/SDSS9/color', wcs, format=name)
            for name in ('fits', 'png', 'jpg')
        )
    assert cube[0].data.shape == (3, 50, 40)
    # North is the last row of an image, and the first of a picture.
    np.testing.assert_array_equal(png, np.moveaxis(cube[0].data, 0, -1)[::-1])
    assert np.corrcoef(jpeg.mean(axis=-1).ravel(), png.mean(axis=-1).ravel())[0, 1] > 0.97
    # Red shows the reddest band.
    is_bright = sky.flux[2, 10:60, 20:60] > 10 * sky.survey.sky_noise[3]
    assert cube[0].data[0][is_bright].min() > 100 > np.median(cube[0].data[0])


def test_hips2fits_refuses_what_it_does_not_have(sky, hips2fits):
    with serve(sky) as server:
        with pytest.raises(AttributeError, match='Unknown HiPS CDS/P/SDSS9/W1'):
            hips2fits(server).query_with_wcs('CDS/P/SDSS9/W1', tangential_of(sky))
        assert server.requests[0].status == 400


def test_skyview_gives_the_bands_asked_for_with_their_grid(gaussian_sky, skyview):
    with serve(gaussian_sky) as server:
        client = skyview(server)
        assert client.survey_dict == {'sdss-dr9': ['SDSSg', 'SDSSr', 'SDSSi']}
        images = client.get_images(
            SOURCE,
            ['SDSSi', 'SDSSg'],
            pixels='50,40',
            width=20 * u.arcsec,
            height=16 * u.arcsec,
            show_progress=False,
        )
    for (image,), band in zip(images, 'ig', strict=True):
        assert image.header['SURVEY'] == f'SDSS{band}'
        expected = gaussian_light(WCS(image.header), (40, 50), band)
        np.testing.assert_allclose(image.data, expected, atol=0.01)
        middle = WCS(image.header).pixel_to_world(24.5, 19.5)
        # The client rounds positions to six digits.
        assert middle.icrs.separation(SOURCE) < 0.0005 * u.deg


def test_skyview_links_to_no_file_where_there_is_no_image(gaussian_sky, skyview):
    with serve(gaussian_sky) as server:
        client = skyview(server)
        far = SkyCoord(10, -10, unit='deg')
        (url,) = client.get_image_list(far, 'SDSSr', pixels='8', radius=2 * u.arcsec)
        assert requests.get(url, timeout=5).status_code == 404
        with pytest.raises(ValueError, match='not among the surveys'):
            client.get_image_list(SOURCE, 'DSS')


def tangential_of(sky):
    """Return a small grid at the centre of a sky."""
    centre = SkyCoord(*sky.wcs.wcs.crval, unit='deg')
    return tangential(centre, shape=(16, 16), scale=sky.pixel_scale)


def ask(server, **options):
    """Request a small image by plain HTTP."""
    params = {'hips': 'CDS/P/SDSS9/r', 'format': 'fits', 'width': 16, 'height': 16, 'fov': 0.002}
    params |= {'projection': 'TAN', 'coordsys': 'icrs', 'rotation_angle': 0}
    params |= {'ra': 180, 'dec': 5}
    get = options.pop('session', requests).get
    return get(server.url + HIPS2FITS, params=params, timeout=options.pop('timeout', 10), **options)


def test_faults_come_in_order_and_then_all_is_well(sky):
    sequence = [faults.status(503), None, faults.status(429, Retry_After=7), faults.html()]
    with serve(sky, faults=sequence) as server:
        answers = [ask(server) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [503, 200, 429, 200, 200]
    assert answers[2].headers['Retry-After'] == '7'
    assert answers[3].text.startswith('<html>')
    assert answers[4].content == answers[1].content
    assert fits.getdata(io.BytesIO(answers[4].content)).shape == (16, 16)


def test_faults_may_depend_on_the_request_and_change(sky):
    with serve(sky, faults=lambda request: request.path == HIPS2FITS and faults.html()) as server:
        assert ask(server).headers['Content-Type'] == 'text/html'
        assert requests.get(server.url, timeout=5).status_code == 404
        server.faults = [faults.status(400, {'title': 'Bad Request'})]
        answer = ask(server)
        assert (answer.status_code, answer.json()) == (400, {'title': 'Bad Request'})
        assert ask(server).status_code == 200


def test_content_may_be_cut_or_blank(sky):
    with serve(sky, faults=[None, faults.truncated(), faults.all_nan()]) as server:
        whole, truncated, blank = (ask(server).content for _ in range(3))
    assert truncated == whole[: len(whole) // 2]
    assert np.isnan(fits.getdata(io.BytesIO(blank))).all()
    assert len(blank) == len(whole)


@pytest.mark.parametrize('fault', [faults.broken(), faults.reset()], ids=['broken', 'reset'])
def test_connections_break_and_can_be_made_again(sky, fault):
    with serve(sky, faults=[fault]) as server, requests.Session() as session:
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            ask(server, session=session)
        assert ask(server, session=session).status_code == 200


def test_slow_answers_outlast_a_time_out_but_come(sky):
    with serve(sky, faults=[faults.slow(0.4), faults.slow(0.4)]) as server:
        with pytest.raises(requests.ReadTimeout):
            ask(server, timeout=0.2)
        started = time.monotonic()
        assert ask(server, timeout=5).status_code == 200
        assert time.monotonic() - started > 0.4


def test_every_request_is_logged(sky):
    with serve(sky, delay=0.1) as server:
        ask(server)
        requests.post(server.url + '/nothing?a=1&a=2', data=b'abc', timeout=5)
    first, second = server.requests
    assert (first.method, first.path, first.status) == ('GET', HIPS2FITS, 200)
    assert first.params['hips'] == 'CDS/P/SDSS9/r'
    assert 0.1 < first.ended - first.started < 1
    assert (second.method, second.path, second.status) == ('POST', '/nothing', 404)
    assert (second.lists, second.body) == ({'a': ['1', '2']}, b'abc')


def test_many_clients_are_served_at_once(sky):
    with serve(sky, delay=0.2) as server, ThreadPoolExecutor(64) as pool:
        ask(server)
        started = time.monotonic()
        codes = [answer.status_code for answer in pool.map(lambda _: ask(server), range(64))]
        # One by one, they would take 13 seconds.
        assert time.monotonic() - started < 5
    assert codes == [200] * 64


def test_the_end_closes_open_connections(sky):
    with requests.Session() as session:
        with serve(sky) as server:
            assert ask(server, session=session).status_code == 200
        with pytest.raises(requests.ConnectionError):
            ask(server, session=session)


def add_pid(answer):
    """A fault that reports the process in which it occurred."""
    return faults.status(503, str(os.getpid()))(answer)


def test_a_server_in_a_process_of_its_own_is_the_same(sky):
    with serve(sky) as server:
        expected = ask(server).content
    with serve(sky, faults=[None, add_pid, faults.slow(0.05)], process=True) as server:
        assert ask(server).content == expected
        assert int(ask(server).text) != os.getpid()
        assert [request.status for request in server.requests] == [200, 503]
        assert ask(server).status_code == 200
    assert [request.path for request in server.requests] == [HIPS2FITS] * 3
    with pytest.raises(requests.ConnectionError):
        ask(server)
