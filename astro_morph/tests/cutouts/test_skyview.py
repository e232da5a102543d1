# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `SkyView` with the real astroquery client and a server on loopback."""

import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_morph import conf
from astro_morph.catalog.flags import BITS
from astro_morph.cutouts.mosaics import Mosaics
from astro_morph.cutouts.services.skyview import SkyView
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.simulation.services import faults

FORM = '/current/cgi/basicform.pl'
QUERY = '/current/cgi/runquery.pl'
IMAGES = '/tempspace/fits/'

OUTSIDE = SkyCoord(180, 40, unit='deg')


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey(n_galaxies=9, random_state=2)


@pytest.fixture(scope='module')
def expected(sky, tmp_path_factory):
    """The same galaxies cut from files and centred on their positions, 32 pixels wide."""
    paths = sky.write(tmp_path_factory.mktemp('sky'))
    mosaics = Mosaics(dict(zip(sky.bands, paths, strict=True)), pixel_scale=sky.pixel_scale)
    return mosaics.fetch(sky.catalogue, size=32)


@pytest.fixture
def server(sky):
    limits = conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 1)
    with limits[0], limits[1], serve(sky) as server:
        yield server


@pytest.fixture
def source(server):
    return SkyView('sdss', bands='gri', server=server.url + FORM, cache=False)


def galaxy(sky):
    return SkyCoord(sky.catalogue['ra'][4], sky.catalogue['dec'][4])


def count(server, path):
    return sum(request.path.startswith(path) for request in server.requests)


def test_pixels_bands_and_places_are_right(source, sky, expected):
    # A row a call, so that each galaxy is in the middle of an image of its own.
    for row, image in enumerate(expected.images):
        cutouts = source.fetch(sky.catalogue[[row]], size=32)
        assert cutouts.status == 'ok'
        assert (cutouts.bands, cutouts.kind) == (('g', 'r', 'i'), 'flux')
        is_known = np.isfinite(image)
        # Splines through the whole sky and through a part of it differ by less than the noise.
        np.testing.assert_allclose(cutouts.images[0][is_known], image[is_known], atol=2e-3)


def test_larger_pixels_hold_the_sum_of_smaller_ones(server, sky):
    place = galaxy(sky).reshape(1)
    fine, coarse = (
        SkyView('sdss', bands='r', server=server.url + FORM, pixel_scale=scale, cache=False)
        for scale in ([1, 2] * sky.pixel_scale)
    )
    sums = fine.fetch(place, size=32).images.reshape(16, 2, 16, 2).sum(axis=(1, 3))
    cutouts = coarse.fetch(place, size=16)
    np.testing.assert_allclose(cutouts.images[0, 0], sums, atol=4e-3)
    assert u.isclose(cutouts.pixel_scale, 2 * sky.pixel_scale)


def test_galaxies_that_lie_together_share_an_image(source, sky, server):
    offsets = [0, 4.8, 9.6] * sky.pixel_scale
    together = galaxy(sky).directional_offset_by(0 * u.deg, offsets)
    cutouts = source.fetch(together, size=32)
    assert (cutouts.status == 'ok').all()
    assert (count(server, QUERY), count(server, IMAGES)) == (1, 3)
    # They are as they would be alone, but for the second interpolation.
    alone = source.fetch(together[[1]], size=32).images[0]
    assert np.std(cutouts.images[1] - alone) < 0.02 * np.ptp(alone)


def test_the_form_is_read_once(source, sky, server):
    with conf.set_temp('requests_at_once', 1):
        source.fetch(SkyCoord([galaxy(sky), OUTSIDE]), size=16)
    assert count(server, FORM) == 1
    assert (count(server, QUERY), count(server, IMAGES)) == (2, 6)


def test_outside_the_survey_there_is_no_coverage(source, sky):
    cutouts = source.fetch(SkyCoord([OUTSIDE, galaxy(sky)]), size=16)
    assert cutouts.status.tolist() == ['no_coverage', 'ok']


def only_for(path, fault):
    return lambda request: fault if request.path.startswith(path) else None


@pytest.mark.parametrize(
    ('path', 'fault', 'status'),
    [
        (FORM, faults.html(), 'not_an_image'),
        (FORM, faults.status(503), 'http_503'),
        (QUERY, faults.html(), 'not_an_image'),
        (QUERY, faults.status(400), 'http_400'),
        (QUERY, faults.reset(), 'connection'),
        (IMAGES, faults.html(), 'not_an_image'),
        (IMAGES, faults.truncated(), 'truncated'),
        (IMAGES, faults.status(403), 'http_403'),
        (IMAGES, faults.status(500), 'http_500'),
        (IMAGES, faults.all_nan(), 'no_coverage'),
        (IMAGES, faults.slow(0.5), 'timeout'),
    ],
)
def test_what_goes_wrong_is_told(source, sky, server, path, fault, status):
    server.faults = only_for(path, fault)
    with conf.set_temp('timeout', 0.3):
        assert source.fetch(sky.catalogue[:1], size=24).status == status
    server.faults = None
    assert source.fetch(sky.catalogue[:1], size=24).status == 'ok'


def test_a_client_gets_over_a_form_that_did_not_come(source, sky, server):
    server.faults = [faults.html()]
    with conf.set_temp('requests_at_once', 1):
        status = source.fetch(SkyCoord([galaxy(sky), OUTSIDE]), size=8).status
    # Requests are in no order, and the first was lost.
    assert set(status) in ({'not_an_image', 'no_coverage'}, {'ok', 'not_an_image'})


def test_one_band_may_be_missing(source, sky, server):
    nothing = faults.status(404)
    server.faults = lambda request: nothing if request.params.get('survey') == 'SDSSr' else None
    cutouts = source.fetch(galaxy(sky).reshape(1), size=8)
    assert cutouts.status == 'ok'
    assert cutouts.flags == BITS['missing_band']
    assert np.isnan(cutouts.images[0]).all(axis=(1, 2)).tolist() == [False, True, False]


def test_what_skyview_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"SkyView has no \['W1', 'W2'\] of unwise"):
        SkyView('unwise')
    with pytest.raises(ValueError, match='SkyView has no'):
        SkyView('sdss', bands='rgb')


def test_a_source_is_cheap_and_picklable():
    source = pickle.loads(pickle.dumps(SkyView('2mass', cache=False)))
    assert repr(source) == '<SkyView: 2mass in J, H, K>'


@pytest.mark.remote_data
@pytest.mark.parametrize(('survey', 'bands'), [('2mass', 'JHK'), ('sdss-dr9', 'gri')])
def test_live_skyview_shows_a_galaxy_where_it_is(survey, bands):
    nucleus = SkyCoord('10h47m49.6s +12d34m54s')  # of the elliptical galaxy NGC 3379
    cutouts = SkyView(survey, bands=bands, cache=False).fetch(nucleus.reshape(1), size=31)
    assert cutouts.status == 'ok'
    for image in cutouts.images[0]:
        y, x = np.unravel_index(np.argmax(image), image.shape)
        assert np.hypot(x - 15, y - 15) * cutouts.pixel_scale < 2 * u.arcsec
