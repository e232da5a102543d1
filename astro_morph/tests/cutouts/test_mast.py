# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `MastCutouts` with the real astroquery clients and a server on loopback."""

import io
import zipfile
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from astro_morph import conf, decode_flags
from astro_morph.cutouts import MastCutouts
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Answer, Server, faults
from astro_morph.simulation.services.mast import HANDLERS
from astro_morph.simulation.services.rendering import render
from astro_morph.tests.helpers import at_corners, cut_from_sky

# The filters for the bands of the sky.
FILTERS = ('F475W', 'F606W', 'F814W')

both_services = pytest.mark.parametrize('survey', ['hst-hap', 'candels'])


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey(n_galaxies=9)


@pytest.fixture
def server(sky):
    with Server(sky, HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


def make_source(server, survey='hst-hap', **options):
    defaults = {'bands': FILTERS, 'pixel_scale': 0.396 * u.arcsec, 'cache': False}
    return MastCutouts(survey, server=server.url, **defaults | options)


@both_services
def test_pixels_and_bands_in_nanomaggies(sky, server, survey):
    pixels = [(100, 90), (150, 130), (101, 200)]
    source = make_source(server, survey, bands=('F814W', 'F475W'))
    cutouts = source.fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('F814W', 'F475W')
    assert cutouts.kind == 'flux'
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        # The sky has g, r and i.
        np.testing.assert_allclose(image, cut_from_sky(sky, x, y, 32)[[2, 0]], rtol=1e-4)


@both_services
def test_grid_is_north_up_at_the_scale_asked_for(sky, server, survey):
    coord = SkyCoord(sky.catalogue['ra'][4], sky.catalogue['dec'][4], unit='deg')
    source = make_source(server, survey, pixel_scale=0.6 * u.arcsec)
    cutouts = source.fetch(SkyCoord([coord]), size=24)
    wcs = sky.wcs.deepcopy()
    wcs.wcs.crval = coord.ra.deg, coord.dec.deg
    wcs.wcs.cdelt = np.array([-0.6, 0.6]) / 3600
    wcs.wcs.crpix = 12.5, 12.5
    expected = render(sky, wcs, (24, 24), 'r') * (0.6 / 0.396) ** 2
    difference = cutouts.images[0, 1] - expected
    assert np.abs(difference).max() < 0.02 * expected.max()
    assert np.sum(cutouts.images[0, 1]) == pytest.approx(np.sum(expected), rel=0.01)


@both_services
def test_one_request_brings_all_bands_of_a_field(sky, server, survey):
    source = make_source(server, survey)
    coords = at_corners(sky, (100, 90), (120, 100))
    assert source.plan(coords, size=32).n_requests == 1
    assert source.fetch(coords, size=32).is_ok.all()
    assert len(server.requests) == 1


def test_a_filter_without_image_is_flagged(sky, server):
    cutouts = make_source(server, bands=('F606W', 'F160W')).fetch(at_corners(sky, (100, 90)))
    assert cutouts.is_ok.all()
    assert np.isnan(cutouts.images[0, 1]).all()
    assert decode_flags(cutouts.flags[0]) == ['missing_band']


@both_services
def test_no_coverage_is_remembered(sky, server, survey, tmp_path):
    coords = SkyCoord([*at_corners(sky, (100, 90)), SkyCoord(10, 50, unit='deg')])
    for _ in range(2):
        source = make_source(server, survey, cache=tmp_path / 'cutouts.sqlite')
        assert source.fetch(coords).status.tolist() == ['ok', 'no_coverage']
        assert len(server.requests) == 2


@both_services
def test_pixels_that_were_not_exposed_are_nan(sky, server, survey):
    cutouts = make_source(server, survey).fetch(at_corners(sky, (10, 90)), size=32)
    np.testing.assert_array_equal(np.isnan(cutouts.images[0]).all(axis=(0, 1)), np.arange(32) < 6)
    assert decode_flags(cutouts.flags[0]) == ['partial_coverage']


@both_services
@pytest.mark.parametrize(
    ('fault', 'status', 'n_tries'),
    [
        (faults.status(503), 'http_503', 2),
        (faults.status(400, {'msg': 'no'}), 'http_400', 1),
        (faults.html(), 'not_an_image', 1),
        (faults.truncated(), 'truncated', 1),
        (faults.reset(), 'connection', 2),
    ],
)
def test_faults(sky, server, survey, fault, status, n_tries):
    server.faults = [fault] * n_tries
    coords = at_corners(sky, (100, 90))
    cutouts = make_source(server, survey).fetch(coords)
    assert cutouts.status.tolist() == [status]
    assert len(server.requests) == n_tries
    assert make_source(server, survey).fetch(coords).is_ok.all()


def test_no_colour_pictures():
    with pytest.raises(ValueError, match='MastCutouts has no colour pictures'):
        MastCutouts('candels', bands='rgb')


def test_a_real_answer(sky):
    """The file that Zcut sent the authors of astroquery: GOODS-North, in pixels of 30 mas."""
    mast = pytest.importorskip('astroquery.mast')
    name = 'astrocut_189.49206_62.20615_100x100px_f.zip'
    path = Path(mast.__file__).parent / 'tests' / 'data' / name
    if not path.exists():
        pytest.skip('astroquery is installed without its tests')
    answer = Answer(path.read_bytes(), 'application/zip')
    with Server(sky, {'/zcut': lambda sky, request: answer}) as server:
        source = make_source(
            server, 'candels', bands=('F606W', 'F850LP'), pixel_scale=0.03 * u.arcsec
        )
        cutouts = source.fetch(SkyCoord([189.49206] * u.deg, [62.20615] * u.deg), size=64)
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    # Zero points that other authors use, which differ from those in the headers by 0.03 mag.
    for image, number, zero_point in zip(cutouts.images[0], (1, 3), (26.49, 24.84), strict=True):
        counts = _read_hdu(path, number)[18:82, 18:82]
        flux = counts.sum() * 10 ** (0.4 * (22.5 - zero_point))
        assert image.sum() == pytest.approx(flux, rel=0.04)


def _read_hdu(path, number):
    with zipfile.ZipFile(path) as archive:
        content = archive.read(archive.namelist()[0])
    with fits.open(io.BytesIO(content)) as hdus:
        return hdus[number].data


@pytest.mark.remote_data
@pytest.mark.parametrize(
    ('survey', 'band', 'ra', 'dec'),
    [('candels', 'F606W', 189.49206, 62.20615), ('hst-hap', 'F814W', 150.1163, 2.2010)],
)
def test_live(survey, band, ra, dec):
    cutouts = MastCutouts(survey, bands=[band], cache=False).fetch(
        SkyCoord([ra, 102.7], [dec, 70.5], unit='deg'), size=64
    )
    assert cutouts.status.tolist() == ['ok', 'no_coverage']
    image = cutouts.images[0, 0]
    # Fainter than 22nd magnitude a pixel, and no fainter than the deepest field.
    assert 1e-5 < np.nanstd(image) < 1.5
