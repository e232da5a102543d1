# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `WfauImages` with the real astroquery clients and a server on loopback."""

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astroquery import ukidss

from astro_morph import conf, decode_flags
from astro_morph.cutouts.fetching import http
from astro_morph.cutouts.services.wfau import WfauImages
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Answer, Server, faults
from astro_morph.simulation.services.wfau import DETECTOR, HANDLERS
from astro_morph.tests.helpers import at_corners, cut_from_sky


@pytest.fixture(scope='module')
def sky():
    """A sky of four bands, which stand for Y, J, H and K."""
    return SimulatedSurvey('legacy', n_galaxies=16, bands='griz')


@pytest.fixture
def server(sky):
    with Server(sky, HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


def make_source(server, sky, *, survey='ukidss-las', cache=False, **options):
    archive = 'wsa' if survey == 'ukidss-las' else 'vdfs'
    options = {'pixel_scale': sky.pixel_scale, 'server': f'{server.url}/{archive}'} | options
    return WfauImages(survey, cache=cache, **options)


def paths(server):
    return [request.path.rpartition('/')[2] for request in server.requests]


@pytest.mark.parametrize(('survey', 'last'), [('ukidss-las', 'K'), ('vhs', 'Ks')])
def test_pixels_bands_and_grid(sky, server, survey, last):
    """Counts above the sky of each multiframe become nanomaggies."""
    pixels = [(90, 80), (DETECTOR, 230)]
    cutouts = make_source(server, sky, survey=survey).fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('Y', 'J', 'H', last)
    assert cutouts.pixel_scale == sky.pixel_scale
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        np.testing.assert_allclose(image, cut_from_sky(sky, x, y, 32), rtol=5e-3, atol=5e-3)


def test_one_image_is_fetched_unless_it_ends_within_the_cutout(sky, server):
    make_source(server, sky, bands='J').fetch(at_corners(sky, (90, 80)), size=32)
    assert paths(server) == ['GetImage', 'getFImage.cgi']
    cutouts = make_source(server, sky, bands='J').fetch(at_corners(sky, (DETECTOR, 80)), size=32)
    assert paths(server)[2:] == ['GetImage', 'getFImage.cgi', 'getFImage.cgi']
    assert not cutouts.flags.any()


def test_outside_the_survey(sky, server, tmp_path):
    nx = sky.flux.shape[2]
    coords = SkyCoord(
        [*at_corners(sky, (90, 80), (nx + 5, 90), (nx - 10, 90)), SkyCoord('0d -60d')]
    )
    source = make_source(server, sky, bands='JH', cache=tmp_path / 'cutouts.sqlite')
    cutouts = source.fetch(coords)
    assert cutouts.status.tolist() == ['ok', 'no_coverage', 'ok', 'no_coverage']
    assert decode_flags(cutouts.flags)[2] == ['partial_coverage']
    n_requests = len(server.requests)
    np.testing.assert_array_equal(source.fetch(coords).images, cutouts.images)
    assert len(server.requests) == n_requests


def without(key):
    """Return a fault that removes a card of the image's header."""

    def fault(answer):
        with fits.open(io.BytesIO(answer.content)) as hdus:
            del hdus[1].header[key]
            content = io.BytesIO()
            hdus.writeto(content)
        return Answer(content.getvalue(), answer.content_type)

    return fault


def as_integers(answer):
    """Send scaled integers, as the archives do."""
    with fits.open(io.BytesIO(answer.content)) as hdus:
        hdus[1].scale('int32', bscale=0.01, bzero=500)
        content = io.BytesIO()
        hdus.writeto(content)
    return Answer(content.getvalue(), answer.content_type)


def test_scaled_integers(sky, server):
    server.faults = lambda request: as_integers if 'getFImage' in request.path else None
    cutouts = make_source(server, sky, bands='J').fetch(at_corners(sky, (90, 80)), size=32)
    np.testing.assert_allclose(
        cutouts.images[0, 0], cut_from_sky(sky, 90, 80, 32)[1], rtol=5e-3, atol=5e-3
    )


@pytest.mark.parametrize(
    ('path', 'fault', 'status'),
    [
        ('GetImage', faults.status(503), 'http_503'),
        ('GetImage', faults.html(), 'not_an_image'),
        ('GetImage', faults.status(200, '<h1>SQL Error:</h1> 0 rows'), 'not_an_image'),
        ('getFImage.cgi', faults.status(404), 'http_404'),
        ('getFImage.cgi', faults.html(), 'not_an_image'),
        ('getFImage.cgi', faults.truncated(), 'truncated'),
        ('getFImage.cgi', faults.reset(), 'connection'),
        ('getFImage.cgi', without('MAGZPT'), 'no_zero_point'),
    ],
)
def test_faults(sky, server, path, fault, status):
    # The filter of J, and the number of its band.
    is_broken = {'GetImage': {'filterID': '3'}, 'getFImage.cgi': {'band': '1'}}[path].items()
    server.faults = lambda request: fault if is_broken <= request.params.items() else None
    assert make_source(server, sky, bands='J').fetch(at_corners(sky, (90, 80))).status == [status]
    cutouts = make_source(server, sky, bands='JH').fetch(at_corners(sky, (90, 80)))
    assert cutouts.is_ok.all()
    assert decode_flags(cutouts.flags) == [['missing_band']]


def test_what_the_archives_have_not():
    with pytest.raises(ValueError, match="has no 'wfau' in its ids"):
        WfauImages('sdss-dr9')
    with pytest.raises(ValueError, match='no colour pictures'):
        WfauImages(bands='rgb')


def test_a_real_image_is_calibrated_by_its_header(server, sky):
    """The sky over M 1 in K, with 0.2 arcsec pixels: the file that astroquery tests itself with."""
    path = Path(ukidss.__file__).parent / 'tests' / 'data' / 'image.fits'
    if not path.exists():
        pytest.skip('astroquery was installed without its tests')
    server.handlers = {
        '/wsa/GetImage': lambda sky, request: Answer(
            f'1 row <a href="{request.url}/getImage.cgi?band=K">'
        ),
        '/getFImage.cgi': lambda sky, request: Answer(path.read_bytes(), 'image/fits'),
    }
    source = WfauImages(bands='K', server=f'{server.url}/wsa', cache=False)
    cutouts = source.fetch(SkyCoord(83.6330757, 22.014436, unit='deg'))
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    # By hand: zero point 24.053 of one count a second, 10 s, airmass 1.067, sky 6877.1.
    counts = np.median(fits.getdata(path)[86:214, 86:214]) - 6877.1
    flux = counts * 10 ** (0.4 * (22.5 - 24.053 - 2.5 - 1.900 + 0.05 * 0.067))
    assert np.median(cutouts.images) == pytest.approx(4 * flux, rel=0.03)


@pytest.mark.remote_data
@pytest.mark.parametrize('survey', ['ukidss-las', 'vhs'])
def test_live(survey):
    """NGC 4030: its middle has 15 to 17 Vega magnitudes an arcsec**2 in J."""
    cutouts = WfauImages(survey, bands='J', cache=False).fetch(SkyCoord('12h00m23.6s -1d06m00s'))
    assert cutouts.is_ok.all()
    middle = cutouts.images[0, 0, 28:36, 28:36].mean() / cutouts.pixel_scale.value**2
    assert 15 < 22.5 - 0.93 - 2.5 * np.log10(middle) < 17
